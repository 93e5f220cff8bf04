"""What a lower precision costs: Dice of the same images by the networks in float32 and by the export, paired."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl

from maskwright.artifacts import RunFolder, read_folds
from maskwright.checkpoint import Trained
from maskwright.data.images import read_image
from maskwright.data.index import Index, scored
from maskwright.data.intensity import standardise, to_working
from maskwright.errors import DataError, problem
from maskwright.export.check import in_float32
from maskwright.export.manifest import LossSpec
from maskwright.export.runner import Runner, filled_up, grown
from maskwright.export.variants import spread
from maskwright.inference import STRIDE
from maskwright.metrics import SUMMARIES, Counts, EmptyCases, overlap_table
from maskwright.predict.files import predict_files
from maskwright.progress import track
from maskwright.recipe import Recipe
from maskwright.recipe.predict import PredictSpec
from maskwright.selftrain import kept_apart
from maskwright.split import HELD_OUT
from maskwright.statistics import paired_difference
from maskwright.types import Array

CALIBRATION = 16
"""Images that the ranges of 8-bit activations are measured on."""
_SCORED = 100
_Jobs = list[tuple[list[int], list[int]]]


def calibration_images(
    folder: RunFolder, index: Index, trained: Trained, spec: PredictSpec, fold: int, smallest: int
) -> Iterator[Array]:
    """Yield (1, C, H, W) standardised, padded images that a fold's network learned from; of large ones the middle."""
    folds = read_folds(folder.folds)
    learned = folds.filter((pl.col("fold") != HELD_OUT) & (pl.col("fold") != fold))
    names = (learned if learned.height else folds.filter(pl.col("fold") != HELD_OUT))["image"].to_list()
    for place in spread(CALIBRATION, len(names)):
        image = to_working(read_image(index.path(names[place])), trained.intensity, trained.scale)
        (top, height), (left, width) = (_middle(side, spec.tile) for side in image.shape[:2])
        seen = standardise(np.ascontiguousarray(image[top : top + height, left : left + width]), trained.intensity)
        yield grown(filled_up(seen.transpose(2, 0, 1)[None], STRIDE, spec.pad), smallest)


def measure_loss(
    folder: RunFolder, index: Index, recipe: Recipe, trained: Sequence[Trained], folds: Sequence[int], export: Path
) -> LossSpec:
    """Return the loss in mean Dice: of the held-out part, or of each fold by the network that never saw it.

    Copies that took over a twin's mask are not scored, as nowhere, nor are images that a round moved into the training
    of their own fold; the interval is one over groups.

    Raises:
        DataError: no image with a mask.
    """
    counts: tuple[list[Counts], list[Counts]] = ([], [])
    known = read_folds(folder.folds)
    apart = kept_apart(folder, known) if folder.adopted_round else set[str]()  # what is exported learned from these
    table = scored(index, known).filter(~pl.col("image").is_in(list(apart)))
    part, jobs = _jobs(table, index, folds)
    for members, rows in jobs:
        runner = Runner(export, members=members)
        files = [(str(row), index.path(index.images[row])) for row in rows]
        networks = [one for one, fold in zip(trained, folds, strict=True) if fold in members]
        exact = predict_files(in_float32(networks), files, recipe.predict, accelerator="cpu")
        paths = dict(files)
        for (name, size, found), (_, _, expected) in track(
            zip(runner.files(files), exact, strict=True), "loss", len(files)
        ):
            truth = index.read_label(int(name))
            assert truth is not None, "folds hold labelled images"
            for kept, probabilities in zip(counts, (found, expected), strict=True):
                label = runner.finish(probabilities, size, partial(read_image, paths[name]))
                kept.append(Counts.from_table(overlap_table(truth, label, len(runner.categories))))
    if not counts[0]:
        raise DataError(
            problem("an image with a mask", "none", where=str(folder.root), next_move="export with --check 0")
        )
    evaluated, cases = trained[0].categories.evaluated, EmptyCases.of(recipe.evaluate)
    stacked = [Counts.stack(kept) for kept in counts]
    cheap, exact32 = (partial(_mean_dice, kept, evaluated, cases) for kept in stacked)
    n = len(counts[0])
    values = [float(one(np.ones((1, n)))[0]) for one in (cheap, exact32)]
    group_of = dict(table.select("image", "group").iter_rows())
    groups = [group_of[index.images[row]] for _, rows in jobs for row in rows]
    change = paired_difference(cheap, exact32, n, groups=groups, rng=np.random.default_rng((recipe.seed, 6)))
    return LossSpec(
        part=part, images=n, dice=values[0], fp32=values[1], change=change.value, low=change.low, high=change.high
    )


def _mean_dice(counts: Counts, evaluated: Sequence[int], cases: EmptyCases, weights: Array) -> Array:
    return SUMMARIES["mean_dice"].function(counts, evaluated, weights, cases)


def _jobs(
    table: pl.DataFrame, index: Index, folds: Sequence[int]
) -> tuple[Literal["holdout", "oof", "training"], _Jobs]:
    """Return the part that is scored, and the networks of which folds predict which rows of it."""
    places = {image: row for row, image in enumerate(index.images)}
    held = table.filter(pl.col("fold") == HELD_OUT)["image"].to_list()
    everyone = sorted(set(folds))
    if held:
        return "holdout", [(everyone, [places[held[k]] for k in spread(_SCORED, len(held))])]
    if table["fold"].drop_nulls().n_unique() == 1:
        seen = table.drop_nulls("fold")["image"].to_list()
        return "training", [(everyone, [places[seen[k]] for k in spread(_SCORED, len(seen))])]
    jobs = []
    for fold in everyone:
        own = table.filter(pl.col("fold") == fold)["image"].to_list()
        jobs.append(([fold], [places[own[k]] for k in spread(max(1, _SCORED // len(everyone)), len(own))]))
    return "oof", jobs


def _middle(side: int, most: int) -> tuple[int, int]:
    """Return where the middle `most` pixels of a side begin, and how many there are."""
    length = min(side, most)
    return (side - length) // 2, length
