"""Images without labels: which comes next, and the views of it that a step learns from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Dataset

from maskwright.augment import Source
from maskwright.augment.occasion import Occasion
from maskwright.data.intensity import standardise
from maskwright.data.sampling import StreamSampler
from maskwright.data.tensors import image_tensor
from maskwright.errors import RecipeError, problem
from maskwright.recipe import Recipe
from maskwright.train.batch import PoolBatch
from maskwright.train.unlabelled.views import Draw, inside, whole_geometry
from maskwright.train.working import WorkingImages
from maskwright.types import Array

_POOL = 4
"""Which of a draw's generators; `crops` has 1 to 3."""
_STREAM = 500
"""What the stream of the pool has for a seed besides that of the labelled images: no run has so many folds."""


class PoolCrops(Dataset[PoolBatch]):
    """Views of images without labels; item (draw, row) is the same in every run of the same seed.

    Args:
        images: to learn from, at working size; of any size.
        recipe: resolved.
        draw: draws the views of one.
        draws: of the whole training.
    """

    def __init__(self, images: WorkingImages, recipe: Recipe, draw: Draw, *, draws: int) -> None:
        assert recipe.train.crop is not None
        self.images, self.crop, self.seed = images, recipe.train.crop, recipe.seed
        self.draw, self.draws = draw, draws
        self.names = recipe.data.to_categories().names

    def __getitem__(self, key: tuple[int, int]) -> PoolBatch:
        """Return the views for a draw of the stream; tensors without N."""
        number, row = key
        rng, image = np.random.default_rng((self.seed, _POOL, number)), self.images.image(row)
        size = (image.shape[0], image.shape[1])
        source = Source(names=self.names, stain=lambda: self.images.stain(row))
        occasion = Occasion(self.crop, image.shape[2], number / self.draws, source)
        views = self.draw(rng, size, occasion)
        clean = [view.apply_to_image(image) for view in views.clean]
        noisy = [view.apply_to_image(clean[s % len(clean)]) for s, view in enumerate(views.noisy)]
        if "cutout" in views.drawn:
            noisy = [_cut_out(one, box, rng) for one, box in zip(noisy, views.drawn["cutout"], strict=True)]
        if views.disturbed is not None:
            clean = [views.disturbed.apply(one) for one in clean]
        geometries = [whole_geometry(view) for view in views.clean]
        matrices = np.stack([geometry.matrix[:2] for geometry in geometries]).astype(np.float32)
        return PoolBatch(
            self._tensors(clean),
            self._tensors(noisy),
            torch.from_numpy(np.stack([inside(geometry, size) for geometry in geometries])),
            torch.from_numpy(matrices),
            {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in views.drawn.items()},
        )

    def _tensors(self, images: list[Array]) -> torch.Tensor:
        return torch.stack([image_tensor(standardise(image, self.images.intensity)) for image in images])


@dataclass(frozen=True)
class PoolStream:
    """Which images without labels come with which batch of labelled crops.

    Attributes:
        crops: gives the items.
        sampler: gives their keys, an epoch at a time.
        batch: items with each batch, on all devices together.
    """

    crops: PoolCrops
    sampler: StreamSampler
    batch: int

    @classmethod
    def of(
        cls,
        images: WorkingImages,
        recipe: Recipe,
        fold: int,
        draw: Draw,
        *,
        parts: int = 1,
        weights: npt.NDArray[np.float64] | None = None,
    ) -> PoolStream:
        """Return the stream of a training.

        Args:
            images: at least one.
            recipe: resolved, its method one of those that learn online.
            fold: changes the order.
            draw: draws the views of one.
            parts: batches that make one step.
            weights: (images,) mean number of times that each comes in a turn; None: once each.
        """
        train, batch = recipe.train, pool_batch(recipe)
        assert train.steps is not None and train.validate_every is not None
        crops = PoolCrops(images, recipe, draw, draws=train.steps * batch)
        seed = recipe.seed * 1000 + fold + _STREAM
        sampler = StreamSampler(len(images), train.validate_every * batch, seed, weights=weights)
        return cls(crops, sampler, batch // parts)

    def keys(self, epoch: int) -> list[tuple[int, int]]:
        """Return the (draw, row) of an epoch."""
        self.sampler.set_epoch(epoch)
        return list(self.sampler)


def pool_batch(recipe: Recipe) -> int:
    """Return how many images without labels a step has, of a recipe whose method learns online.

    Raises:
        RecipeError: they can't be shared out among the devices and the parts of a step.
    """
    train, batch = recipe.train, getattr(recipe.selftrain.method, "batch", None)
    assert train.batch is not None
    unit = train.devices * train.accumulate
    if batch is not None and batch % unit:
        raise RecipeError(
            problem(
                f"a multiple of devices × accumulate ({train.devices} × {train.accumulate})",
                f"{batch}",
                where="selftrain.method.batch",
                next_move=f"take {max(1, round(batch / unit)) * unit}, or null for as many as train.batch",
            )
        )
    return int(train.batch if batch is None else batch)


def _cut_out(image: Array, box: Array, rng: np.random.Generator) -> Array:
    """Return the image with noise in a (top, left, height, width) box; itself where the height is 0."""
    top, left, height, width = (int(side) for side in box)
    if not height:
        return image
    image = image.copy()
    noise = rng.integers(0, 256, (height, width, image.shape[2]), np.uint8)
    image[top : top + height, left : left + width] = noise
    return image
