"""Whether an export gives what its run gives: the runner beside the networks under torch, on images of the run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from maskwright.checkpoint import Trained
from maskwright.data.images import read_image
from maskwright.errors import DataError, problem
from maskwright.export.manifest import CheckSpec
from maskwright.export.runner import Runner
from maskwright.postprocess import most_probable
from maskwright.postprocess.chain import Image
from maskwright.predict.files import predict_files, to_full_size
from maskwright.progress import track
from maskwright.types import Array, Probabilities

MARGIN = 1e-3
"""Pixels whose two most probable categories are less than this apart may fall to either side."""


def in_float32(trained: Sequence[Trained]) -> list[Trained]:
    """Return the networks to be run in float32, whatever the recipe's precision is."""
    return [replace(one, precision="float32") for one in trained]


def compare(
    runner: Runner, trained: Sequence[Trained], files: Sequence[tuple[str, Path]], bound: float | None
) -> CheckSpec:
    """Predict images by the runner and by the networks, and return how far apart they are.

    Args:
        runner: of the export.
        trained: the networks that were exported.
        files: (name, image file) of the run.
        bound: that no probability may be further than from torch's in float32; None: nothing is asked.

    Raises:
        DataError: it is.
    """
    spec, margins, paths = runner.manifest.predict, _Differences(), dict(files)
    precision = trained[0].precision
    streams = [runner.files(files), predict_files(in_float32(trained), files, spec, accelerator="cpu")]
    if precision != "float32":
        streams.append(predict_files(trained, files, spec, accelerator="cpu"))
    for (name, size, found), (_, _, exact), *recipe in track(zip(*streams, strict=True), "check", len(files)):
        image = partial(read_image, paths[name])
        margins.add(runner, size, image, found, exact, recipe[0][2] if recipe else exact)
        if bound is not None and margins.largest > bound:
            raise DataError(
                problem(
                    f"probabilities within {bound:g} of the run's networks",
                    f"{margins.largest:.3g} apart",
                    where=f"image {name}, {runner.runs_in}",
                    next_move="export with other versions of onnx and onnxruntime, and report this with the recipe",
                )
            )
    return CheckSpec(
        images=len(files),
        largest_difference=margins.largest,
        bound=bound,
        labels_differ=margins.differ / margins.pixels,
        clear_labels_differ=margins.clear / margins.pixels,
        margin=MARGIN,
        recipe_precision=precision,
        predict_labels_differ=margins.recipe / margins.pixels,
    )


class _Differences:
    """Sums over images."""

    def __init__(self) -> None:
        self.largest = 0.0
        self.pixels = self.differ = self.clear = self.recipe = 0

    def add(
        self,
        runner: Runner,
        size: tuple[int, int],
        image: Image,
        found: Probabilities,
        exact: Probabilities,
        recipe: Probabilities,
    ) -> None:
        self.largest = max(self.largest, float(np.abs(found - exact).max()))
        label = runner.finish(found, size, image)
        self.pixels += label.size
        self.differ += int((label != runner.finish(exact, size, image)).sum())
        self.recipe += int((label != runner.finish(recipe, size, image)).sum())
        full = to_full_size(exact, size)
        other = most_probable(to_full_size(found, size)) != most_probable(full)
        self.clear += int((other & (_margin(full) >= MARGIN)).sum())


def _margin(probabilities: Probabilities) -> Array:
    """Return (H, W): by how much the most probable category leads."""
    if len(probabilities) == 1:
        return np.ones(probabilities.shape[1:], np.float32)
    top: Array = np.partition(probabilities, -2, axis=0)[-2:]
    margin: Array = top[1] - top[0]
    return margin
