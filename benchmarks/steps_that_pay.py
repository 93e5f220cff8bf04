"""Which steps of prediction earn their time: one network, all folds, scales, views, weights, post-processing, CRF.

For each finished run: the held-out images where it has some, predicted as new images are; else the out-of-fold ones,
each by its fold's network (the row of folds is then left out). Each step keeps what the steps before it brought. A row
holds the score with its interval, its paired difference to the step before (groups resampled together), and the
seconds that an image takes: prediction of decoded images to the most probable categories, median.

One network: each fold's alone; the score is the mean of theirs. Fitted weights: `maskwright fuse` over the scales of
the same run, with what it ships (weights, or the mean, or one scale); out of fold with each fold's own. Tuned
post-processing: the best chain that `fuse` found on those maps, whether it ships or not; out of fold, each fold's is
the one that was searched on the others. CRF: with its default settings, which nothing was fitted to, before that chain.
The row of the naive tuning says what the chain gains on the images that it was searched on, beside what it gains on
folds that the search did not see.

A new step is one more entry of `steps`: its members, and what makes labels of their probabilities.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks import record
from benchmarks.record import Comparison, Row
from maskwright.artifacts import RunFolder, read_folds, read_json, read_table
from maskwright.data.images import read_image
from maskwright.data.index import Index, load_index
from maskwright.fusion import FUSIONS
from maskwright.metrics import SUMMARIES, Counts, EmptyCases, overlap_table
from maskwright.pipeline.fuse import fuse
from maskwright.pipeline.stages import read_chain, scored
from maskwright.postprocess import apply_chain, most_probable
from maskwright.predict.ensembles import Member, load_member
from maskwright.predict.files import to_full_size
from maskwright.recipe import load_recipe
from maskwright.recipe.predict import PostprocessStep, PredictSpec
from maskwright.recipe.steps import CrfSpec
from maskwright.split import HELD_OUT
from maskwright.statistics import bootstrap, paired_difference
from maskwright.types import Array, LabelMap, Probabilities

Label = Callable[[Probabilities, Array, int], LabelMap]
"""From fused probabilities, image and fold to labels."""


@dataclass(frozen=True)
class Step:
    """A way to predict.

    Attributes:
        name: of its row.
        alternatives: from a fold (-1: held out) to ensembles, each a list of members; their scores are averaged.
        label: what follows the probabilities.
    """

    name: str
    alternatives: Callable[[int], list[list[Member]]]
    label: Label = lambda probabilities, image, fold: most_probable(probabilities)


@dataclass(frozen=True)
class Measured:
    """The counts of a step: (alternatives) × (images, C), and seconds an image."""

    counts: list[Counts]
    seconds: float


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks steps_that_pay", description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path, help="finished run folders with several folds")
    parser.add_argument("--scales", nargs="+", type=float, default=[0.75, 1.0, 1.25])
    parser.add_argument("--images", type=int, help="at most; default: all")
    parser.add_argument("--out", type=Path, help="for the fused folders; default: RUN-fused")
    arguments = parser.parse_args()
    rows = record.read("steps_that_pay")
    for run in arguments.runs:
        out = (arguments.out or run.parent) / f"{run.name}-fused"
        rows |= rows_of(RunFolder(run), tuple(arguments.scales), arguments.images, out)
    record.write("steps_that_pay", rows)


def rows_of(run: RunFolder, scales: tuple[float, ...], limit: int | None, out: Path) -> dict[str, Row]:
    """Return a row for each step of one run."""
    recipe, folds = load_recipe(run.recipe), read_folds(run.folds).drop_nulls("fold")
    held = bool((folds["fold"] == HELD_OUT).any())
    index = replace(load_index(run.index, recipe.data), table=read_table(run.decided / "images.parquet"))
    rows = scored(index, folds.filter((pl.col("fold") == HELD_OUT) == held)).head(limit or folds.height)
    fused = fuse([run.root], out, scales=scales)
    metric, cases = SUMMARIES[recipe.metric()].function, EmptyCases.of(recipe.evaluate)
    options = {"groups": rows["group"].to_list(), "samples": recipe.evaluate.samples}
    found: dict[str, Row] = {}
    before: Measured | None = None
    for step in steps(run, recipe.predict, recipe.split.folds, scales, fused, held=held):
        measured = measure(step, index, rows)

        def score(weights: Array, counts: Sequence[Counts] = measured.counts) -> Array:
            return np.mean([metric(each, index.categories.evaluated, weights, cases) for each in counts], axis=0)

        own = bootstrap(score, rows.height, rng=np.random.default_rng(0), **options)
        comparison = None
        if before is not None:
            gain = paired_difference(
                score,
                lambda weights, counts=before.counts: score(weights, counts),
                rows.height,
                rng=np.random.default_rng(0),
                **options,
            )
            low, high = known(gain.low), known(gain.high)
            comparison = Comparison(kind="difference", value=gain.value, low=low, high=high, n=gain.n)
        found[f"{run.root.name}: {step.name}"] = Row(
            figure=own.value,
            unit=recipe.metric(),
            interval=(known(own.low), known(own.high)),
            against="" if before is None else "the step before",
            comparison=comparison,
            details={
                "seconds_an_image": round(measured.seconds, 4),
                "more_seconds": None if before is None else round(measured.seconds - before.seconds, 4),
                "images": rows.height,
                "part": "held out" if held else "out of fold",
            },
        )
        before = measured
    found[f"{run.root.name}: + fitted weights"].details |= shipped(fused)
    return found | naive(run.root.name, fused)


def steps(
    run: RunFolder, spec: PredictSpec, folds: int, scales: tuple[float, ...], fused: RunFolder, *, held: bool
) -> list[Step]:
    """Return the steps in their order, each with what the ones before it brought."""
    bare = spec.model_copy(update={"tta": ("identity",), "scales": (1.0,), "scale_weights": None})
    scaled = bare.model_copy(update={"scales": scales})
    viewed = scaled.model_copy(update={"tta": spec.tta})

    def networks(wanted: PredictSpec) -> Callable[[int], list[list[Member]]]:
        def of(fold: int) -> list[list[Member]]:
            paths = run.all_checkpoints(wanted.checkpoint, folds)
            return [[load_member(paths if fold == HELD_OUT else run.checkpoints(fold, wanted.checkpoint), wanted)]]

        return of

    def alone(fold: int) -> list[list[Member]]:
        numbers = range(folds) if fold == HELD_OUT else (fold,)
        return [[load_member(run.checkpoints(number, bare.checkpoint), bare)] for number in numbers]

    about, tuned = read_json(fused.fused), read_json(fused.tuned)["weights"]

    def weighted(fold: int) -> list[list[Member]]:
        weights = tuned["members"] if fold == HELD_OUT else tuned["fold_weights"][str(fold)]
        paths = run.all_checkpoints(spec.checkpoint, folds)
        if fold != HELD_OUT:
            paths = run.checkpoints(fold, spec.checkpoint)
        wanted = {m["name"]: PredictSpec.model_validate(m["predict"]) for m in about["members"]}
        return [[load_member(paths, wanted[name], weight) for name, weight in weights.items() if weight > 0]]

    def chained(*first: PostprocessStep) -> Label:
        return lambda p, image, fold: apply_chain(p, (*first, *chain_of(fused, fold)), image=image)

    found = [Step("one network", alone)]
    found += [Step("+ folds", networks(bare))] if held else []
    return [
        *found,
        Step("+ scales", networks(scaled)),
        Step("+ views", networks(viewed)),
        Step("+ fitted weights", weighted),
        Step("+ tuned post-processing", weighted, chained()),
        Step("+ CRF", weighted, chained(CrfSpec())),
    ]


def chain_of(fused: RunFolder, fold: int) -> tuple[PostprocessStep, ...]:
    """Return the best chain that the images of a fold had no say in; -1: of all folds."""
    tuned = read_json(fused.tuned)
    if "folds" not in tuned:  # stated in the recipe, or nothing to search
        return read_chain(tuned["chain"])
    own = {choice["fold"]: choice["chain"] for choice in tuned["folds"]}
    return read_chain(tuned["best"] if fold == HELD_OUT else own[fold])


def naive(name: str, fused: RunFolder) -> dict[str, Row]:
    """Return what tuning on the images that are scored claims, against what it brings on other folds."""
    tuned = read_json(fused.tuned)
    if "naive_gain" not in tuned:
        return {}
    claimed, true = tuned["naive_gain"], tuned["gain"]
    row = Row(
        figure=claimed["value"],
        unit=f"gain in {tuned['metric']} of the best chain, on the images that it was searched on",
        interval=(known(claimed["low"]), known(claimed["high"])),
        against="its gain on folds that the search did not see",
        other=true["value"],
        details={"gain": true, "adopted": tuned["adopted"], "tried": tuned["tried"], "best": tuned["best"]},
    )
    return {f"{name}: tuning the naive way": row}


def measure(step: Step, index: Index, rows: pl.DataFrame) -> Measured:
    """Predict and count all images by a step."""
    images = index.only(rows["image"].to_list())
    counts: dict[int, list[Counts]] = {}
    taken, loaded = [], dict[int, list[list[Member]]]()
    order = np.argsort(rows["fold"].to_numpy(), kind="stable")
    for row in order.tolist():
        fold = int(rows["fold"][row])
        if fold not in loaded:  # one fold's networks at a time
            loaded = {fold: step.alternatives(fold)}
        image, truth = read_image(images.path(images.images[row])), images.read_label(row)
        for number, members in enumerate(loaded[fold]):
            started = time.perf_counter()
            label = step.label(fused_map(members, image), image, fold)
            taken.append(time.perf_counter() - started)
            table = overlap_table(truth, label, len(index.categories))
            counts.setdefault(number, []).append(Counts.from_table(table))
    back = np.argsort(order)
    stacked = [Counts.stack([each[k] for k in back]) for each in counts.values()]
    return Measured(stacked, float(np.median(taken)))


def fused_map(members: Sequence[Member], image: Array) -> Probabilities:
    """Return an image's probabilities by several members."""
    fusion = FUSIONS["mean"]()
    for member in members:
        found = member.networks().probabilities(image)
        fusion.add(to_full_size(found, (image.shape[0], image.shape[1])), member.weight)
    return fusion.result()


def known(value: float) -> float | None:
    return None if np.isnan(value) else value


def shipped(fused: RunFolder) -> dict[str, object]:
    """Return what `fuse` found out of fold."""
    about = read_json(fused.fused)
    weights = {member["name"]: round(member["weight"], 4) for member in about["members"]}
    return {"shipped": about["shipped"], "weights": weights, "gain_out_of_fold": about["gain"]}


if __name__ == "__main__":
    main()
