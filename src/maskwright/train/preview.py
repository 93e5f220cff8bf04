"""What the network will see: training crops beside the images that they were drawn from."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from maskwright.data.formats import renders
from maskwright.data.index import Index, build_index
from maskwright.data.intensity import Intensity, unstandardise
from maskwright.pictures.images import fit, overlay, to_rgb8
from maskwright.pictures.sheet import contact_sheet
from maskwright.progress import track
from maskwright.recipe import Recipe
from maskwright.train.crops import TrainingCrops
from maskwright.train.probe import DEFAULT_STEPS, plan_sizes
from maskwright.train.working import WorkingImages
from maskwright.types import IGNORE, Array

_LONGEST = 320


def preview(recipe: Recipe, *, count: int = 6, draws: int = 4, progress: float = 0.0) -> Array:
    """Return a picture of training crops, as the loader makes them, with what was drawn for each.

    Two rows an image: the image and its crops; the same with the label drawn over them, striped where it is ignored.

    Args:
        recipe: resolved, or with open fields: data, sizes and steps are then found as a run finds them.
        count: images, evenly spread over the labelled ones.
        draws: crops of each.
        progress: of the training, from 0 to 1.

    Returns:
        uint8 RGB (H, W, 3).

    Raises:
        MaskwrightError: bad data or recipe.
    """
    with tempfile.TemporaryDirectory() as folder:
        imported = Path(folder) if recipe.data.further or renders(Path(recipe.data.root), recipe.data.format) else None
        found, data, _ = build_index(recipe.data, imported)
        shown = _spread(found.labelled, count)
        recipe = plan_sizes(
            recipe.model_copy(update={"data": data.narrowed(recipe.instances.only)}), found.labelled, []
        )
        steps = recipe.train.steps or DEFAULT_STEPS
        recipe = recipe.model_copy(update={"train": recipe.train.model_copy(update={"steps": steps})})
        assert recipe.train.scale is not None
        train, told = recipe.train, recipe.tells_instances
        images = WorkingImages(shown, Intensity.of(data), scale=recipe.train.scale, cache=train.cache, instances=told)
        return _sheet(TrainingCrops(images, recipe), draws, progress)


def _spread(index: Index, count: int) -> Index:
    rows = np.linspace(0, len(index) - 1, min(count, len(index))).round().astype(int)
    return index.only([index.images[row] for row in rows])


def _sheet(crops: TrainingCrops, draws: int, progress: float) -> Array:
    rows: list[list[tuple[Array, str]]] = []
    images = crops.images
    palette = images.index.categories.palette()
    binary = (0,) if images.index.categories.binary else ()
    for row in track(range(len(images)), "draw", len(images)):
        image, label = images[row]
        entries = np.flatnonzero(crops.turn.rows == row)
        if not len(entries):  # an image that `sampling` never draws
            continue
        plain = [(fit(to_rgb8(image), _LONGEST), images.index.images[row])]
        marked = [(overlay(fit(to_rgb8(image), _LONGEST), fit(label, _LONGEST), palette, skip=binary), "label")]
        for number in range(draws):
            draw = round(progress * crops.draws) + row * draws + number
            key = (draw, int(entries[number % len(entries)]))
            standardised = crops[key].images.numpy().transpose(1, 2, 0)
            seen = np.clip(unstandardise(standardised, images.intensity), 0, 255).round().astype(np.uint8)
            seen = fit(to_rgb8(seen), _LONGEST)
            small = fit(crops.seen(key).label, _LONGEST)
            plain.append((seen, str(crops.drawn(key))))
            marked.append((_hatched(overlay(seen, small, palette, skip=binary), small == IGNORE), ""))
        rows += [plain, marked]
    return contact_sheet(rows)


def _hatched(picture: Array, ignored: Array) -> Array:
    """Return the picture with stripes where no loss sees it."""
    diagonal = np.arange(picture.shape[0])[:, None] + np.arange(picture.shape[1])
    return np.where((ignored & (diagonal // 4 % 2 == 0))[..., None], np.uint8(150), picture)
