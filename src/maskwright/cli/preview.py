"""What the network will see: `preview`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from maskwright.cli.console import progress as shown_progress
from maskwright.cli.console import result, say
from maskwright.cli.options import Options
from maskwright.errors import UsageError, problem


def preview(
    recipe: Path | None = None,
    *,
    data: Path | None = None,
    out: Path = Path("preview.png"),
    count: int = 6,
    draws: int = 4,
    progress: float = 0.0,
    settings: Annotated[tuple[str, ...], Parameter(name=["--set"], negative=())] = (),
    classes: str | None = None,
    seed: int | None = None,
    redo: Annotated[bool, Parameter(negative=())] = False,
    json: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Draw what the network will see: training crops with their labels, and what was drawn for each.

    Made by the code that training uses, so it shows what a recipe's `augment` does before an hour is spent on it:
    labels that don't move with the image, colours no camera makes, objects that are cropped away. Trains nothing.

    Examples: maskwright preview --data teeth
              maskwright preview runs/teeth/recipe.yaml --progress 0.9
              maskwright preview --data slides --set 'augment=[{kind: stain, norm: 0.5}, {kind: auto_augment}]'

    Args:
        recipe: recipe file.
        data: data folder, instead of a recipe or of the one that it names.
        out: picture to write, PNG.
        count: images, evenly spread over the labelled ones.
        draws: crops of each image.
        progress: point of the training, from 0 to 1; schedules of probabilities follow it.
        settings: any field of the recipe as key.path=value, such as train.scale=0.5; may be repeated.
        classes: all; binary (everything but 0 is foreground); or names, comma-separated.
        seed: seed of everything that is drawn (default 0).
        redo: replace the picture.
        json: write its path as JSON to stdout.
    """
    _check(out, {"--count": count >= 1, "--draws": draws >= 1, "--progress": 0 <= progress <= 1}, redo=redo)
    found = Options(data=data, recipe=recipe, settings=settings, classes=classes, seed=seed).to_recipe()
    from maskwright.artifacts import write_bytes
    from maskwright.pictures.images import encode
    from maskwright.train.preview import preview as drawn

    with shown_progress():
        picture = drawn(found, count=count, draws=draws, progress=progress)
    write_bytes(out, encode(picture, "png"))
    say(f"preview: {out}")
    result({"out": str(out), "width": picture.shape[1], "height": picture.shape[0]}, as_json=json)


def _check(out: Path, right: dict[str, bool], *, redo: bool) -> None:
    if wrong := [name for name, good in right.items() if not good]:
        next_move = "--count and --draws are at least 1, --progress lies between 0 and 1"
        raise UsageError(problem("numbers in their range", ", ".join(wrong), where="preview", next_move=next_move))
    if out.exists() and not redo:
        next_move = "give another name with --out, or --redo to replace it"
        raise UsageError(problem("a new file", "one that exists", where=str(out), next_move=next_move))
