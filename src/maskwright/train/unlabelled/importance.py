"""Which images of the pool come more often: those that hold more of what the starting network predicts rarely."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
from torch import nn

from maskwright.artifacts import write_table
from maskwright.data.intensity import standardise
from maskwright.inference import infer_stream, pick_device
from maskwright.progress import track
from maskwright.recipe import Recipe
from maskwright.train.working import WorkingImages

_WAIT = 0.1
"""Seconds between two looks at what another process writes; where that fails, the training ends for all."""

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


def importance_weights(pixels: Integers, share: float, drawn: Sequence[int] | None = None) -> Floats:
    """Return how often each image comes in a turn, on average.

    Categories come by turns. For each, the image is drawn evenly with probability 1 − `share`, else by its share of all
    pixels that are predicted as the category (visinf/da-sac: tools/compute_IS_weights.py).

    Args:
        pixels: (images, C) predicted as each category.
        share: .75 in the public code.
        drawn: categories by which images are chosen; the others, and those that are predicted nowhere, choose evenly.
            None: all.

    Returns:
        (images,) which sum to their number.

    Example:
        >>> importance_weights(np.array([[90, 0], [10, 20]]), 0.75)
        array([0.925, 1.075])
    """
    images, categories = pixels.shape
    total = pixels.sum(0)
    chooses = total > 0
    if drawn is not None:
        chooses &= np.isin(np.arange(categories), drawn)
    by_class = np.divide(pixels, total, out=np.zeros(pixels.shape), where=chooses)
    each = (1 - share) / images + share * np.where(chooses, by_class, 1 / images)
    return np.asarray(each.mean(1) * images)


def pool_weights(
    path: Path, network: nn.Module, images: WorkingImages, recipe: Recipe, share: float, *, write: bool = True
) -> Floats:
    """Return the weights of the pool's images by what a network predicts; a table of an earlier attempt is taken over.

    The table has one row an image: `image`, `weight`, and the predicted pixels of each category. It is part of the
    stream: a resumed training reads it, though its network is another one by now.

    Args:
        path: of the table.
        network: the training starts from it.
        images: of the pool, at working size.
        recipe: resolved.
        share: of the draws, see `importance_weights`.
        write: this process predicts and keeps the table; another one, of the same training, waits for it.
    """
    names, categories = images.index.images, recipe.data.to_categories()
    while (known := _known(path, names)) is None:
        if not write:
            time.sleep(_WAIT)
            continue
        pixels = predicted_pixels(network, images, recipe)
        weights = importance_weights(pixels, share, categories.evaluated)
        counted = {f"pixels_{name}": pixels[:, c] for c, name in enumerate(categories.names)}
        write_table(path, pl.DataFrame({"image": names, "weight": weights} | counted))
    return known


def _known(path: Path, names: list[str]) -> Floats | None:
    """Return the weights in a table of these images, None where there is none."""
    if not path.is_file():
        return None
    table = pl.read_csv(path, schema_overrides={"image": pl.String})
    return table["weight"].to_numpy() if table["image"].to_list() == names else None


def predicted_pixels(network: nn.Module, images: WorkingImages, recipe: Recipe) -> Integers:
    """Return (images, C) pixels at working size that a network predicts as each category, one image after the other."""
    spec, device = recipe.predict, pick_device(recipe.train.accelerator)
    pixels = np.zeros((len(images), len(recipe.data.to_categories())), np.int64)
    arrays = ((row, standardise(images.image(row), images.intensity)) for row in range(len(images)))
    modes = [(module, module.training) for module in network.modules()]
    network.to(device).eval()
    found = infer_stream(
        [network],
        arrays,
        device=device,
        tile=spec.tile,
        overlap=spec.overlap,
        batch=spec.batch,
        pad=spec.pad,
        precision=str(recipe.train.precision),
        channels_last=bool(recipe.train.channels_last),
    )
    for row, probabilities in track(found, "predict the pool", len(images)):
        pixels[row] = np.bincount(probabilities.argmax(0).ravel(), minlength=pixels.shape[1])
    for module, training in modes:  # one by one: some of a network that trains may be frozen
        module.training = training
    return pixels
