"""Images and labels of an index at working size, cached in memory where they fit."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from maskwright.augment import StainFit, fit_stains
from maskwright.data.index import Index
from maskwright.data.intensity import Intensity, Scale, resize_instances, resize_label, to_working, working_size
from maskwright.errors import DataError, problem
from maskwright.labels import InstanceMap
from maskwright.progress import track
from maskwright.recipe import Recipe
from maskwright.recipe.executor import LocalSpec, at_a_time
from maskwright.types import Array, LabelMap


class WorkingImages:
    """Images at working size, (h, w, C) in 0..255, with (h, w) labels where they are read, by row number.

    Args:
        index: labelled rows; any rows where labels aren't read.
        intensity: how pixel values are prepared.
        scale: factor on the images' size, or the size of all.
        cache: share of free memory that they may take; above it each is read at every use.
        labels: read the labels, too.
        instances: read the instance maps, too.
    """

    def __init__(
        self,
        index: Index,
        intensity: Intensity,
        *,
        scale: Scale,
        cache: float,
        labels: bool = True,
        instances: bool = False,
    ) -> None:
        self.index, self.intensity, self.scale, self.labels = index, intensity, scale, labels
        self.has_instances = instances
        self._pairs: list[tuple[Array, LabelMap | None]] | None = None
        self._stains: dict[int, StainFit | None] = {}
        self._instances: list[InstanceMap] | None = None
        if self._bytes() <= cache * _free_memory():
            with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
                self._pairs = list(track(pool.map(self._read, range(len(index))), "read images", len(index)))
                if instances:
                    self._instances = list(pool.map(self._read_instances, range(len(index))))

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, row: int) -> tuple[Array, LabelMap]:
        """Return image and label of a row."""
        image, label = self._read(row) if self._pairs is None else self._pairs[row]
        assert label is not None
        return image, label

    def image(self, row: int) -> Array:
        """Return the image of a row alone."""
        return (self._read(row) if self._pairs is None else self._pairs[row])[0]

    def label(self, row: int) -> LabelMap:
        """Return the label of a row alone."""
        if self._pairs is not None:
            return self[row][1]
        label = self.index.read_label(row)
        assert label is not None
        return resize_label(label, working_size((label.shape[0], label.shape[1]), self.scale))

    def instances(self, row: int) -> InstanceMap:
        """Return the (h, w) int32 objects of a row, 0 for none; nothing but 0 where it has no instance map.

        Raises:
            DataError: the map's size isn't the image's.
        """
        return self._read_instances(row) if self._instances is None else self._instances[row]

    def stain(self, row: int) -> StainFit | None:
        """Return the stains of a row's whole image, None where it shows too little; fitted once, when first asked."""
        if row not in self._stains:  # two threads may both fit: they find the same
            self._stains[row] = fit_stains(self.image(row))
        return self._stains[row]

    def size(self, row: int) -> tuple[int, int]:
        """Return (h, w) of a row without reading it."""
        return working_size((self.index.table["height"][row], self.index.table["width"][row]), self.scale)

    def _read(self, row: int) -> tuple[Array, LabelMap | None]:
        if not self.labels:
            return to_working(self.index.read_image(row), self.intensity, self.scale), None
        sample = self.index.read(row)
        assert sample.label is not None
        image = to_working(sample.image, self.intensity, self.scale)
        return image, resize_label(sample.label, (image.shape[0], image.shape[1]))

    def _read_instances(self, row: int) -> InstanceMap:
        found, table = self.index.read_instances(row), self.index.table
        stated = table["height"][row], table["width"][row]
        if found is None:
            return np.zeros(self.size(row), np.int32)
        if found.shape != stated:
            raise DataError(
                problem(
                    f"an instance map of the image's size {stated[1]}×{stated[0]}",
                    f"{found.shape[1]}×{found.shape[0]}",
                    where=str(self.index.path(table["instances"][row])),
                    next_move="give the map the image's size",
                )
            )
        return resize_instances(found, self.size(row))

    def _bytes(self) -> int:
        value_bytes = 1 if self.intensity.value_range == (0.0, 255.0) else 4
        per_pixel = self.intensity.channels * value_bytes + 1 + 4 * self.has_instances
        return sum(height * width * per_pixel for height, width in map(self.size, range(len(self))))


def cache_of(recipe: Recipe) -> float:
    """Return the share of free memory that the images of one process may take, of those that run here at a time.

    Args:
        recipe: resolved; of trainings that other machines run, nothing is known of what else runs there.
    """
    executor, folds = recipe.executor, recipe.split.folds
    trainings = at_a_time(executor, folds) if isinstance(executor, LocalSpec) else 1
    return recipe.train.cache / (recipe.train.devices * trainings)


def _free_memory() -> int:
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return 4 << 30
