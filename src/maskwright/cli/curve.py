"""What more labels, or the pool, would bring: `curve`."""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated

from maskwright.artifacts import read_json
from maskwright.cli.console import progress, result, say, table
from maskwright.cli.options import CurveOptions
from maskwright.cli.selftrain import with_method
from maskwright.cli.stages import Flag
from maskwright.errors import UsageError, problem
from maskwright.recipe import apply_settings


def curve(
    options: CurveOptions = CurveOptions(),  # noqa: B008
    *,
    shares: str = "1/16,1/8,1/4,1/2,1",
    repeats: int = 1,
    labels_only: Annotated[bool, Flag] = False,
) -> None:
    """Score against number of labels, with and without the pool, and what to do next: label more, or self-train.

    Trains on 1/16, 1/8, 1/4, 1/2 and all of the labels (each share inside the larger ones, groups whole, at least two),
    first on these labels alone, then with the pool: the images without labels, and those whose labels are not looked
    at. Every point has the same folds (two, or what --folds says) and the same number of steps, and is scored on the
    same held-out images (a quarter of the labelled ones, if neither --holdout nor the folder says which). A power law
    through the points says what twice the labels would bring. Writes curve.html, curve.png, curve.csv and curve.json.
    Interrupted, the same command goes on.

    Examples: maskwright curve --data teeth --classes binary --minutes 60
              maskwright curve --data slides --group patient --shares 1/8,1/4,1/2,1 --repeats 3 --out runs/slides-curve

    Args:
        options: what is trained, on what.
        shares: of the training images, comma-separated; those that leave fewer than two groups are left out.
        repeats: trainings of each point, each with another seed and another draw of the labels.
        labels_only: leave out the points with the pool.
    """
    from maskwright.pipeline.curve import FOLDS
    from maskwright.pipeline.curve import curve as draw

    recipe = options.to_recipe() if labels_only else with_method(options)
    if options.folds is None and options.recipe is None:
        recipe = apply_settings(recipe, [f"split.folds={1 if labels_only else FOLDS}"])
    wanted = options.folder(recipe)
    out = wanted if options.out is not None else wanted.with_name(f"{wanted.name}-curve")
    with progress():
        draw(recipe, out, shares=_shares(shares), repeats=repeats, pool=not labels_only, redo=options.redo)
    found = read_json(out / "curve.json")
    from maskwright.report.curve import score_rows

    table(f"{found['metric']} by number of labels, {found['images']} held-out images", *score_rows(found))
    for line in found["advice"]["words"]:
        say(line)
    say(f"page: {out / 'curve.html'}\nchart: {out / 'curve.png'}\ntable: {out / 'curve.csv'}")
    result(found, as_json=options.json)


def _shares(text: str) -> list[float]:
    try:
        return [float(Fraction(word.strip())) for word in text.split(",") if word.strip()]
    except (ValueError, ZeroDivisionError):
        next_move = "for example --shares 1/8,1/4,1/2,1"
        raise UsageError(problem("shares such as 1/8 or 0.5", text, where="--shares", next_move=next_move)) from None
