"""Batches: images and labels of an index at working size, cached in memory where they fit, cropped and varied."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from torch.utils.data import BatchSampler, DataLoader, Dataset

from maskwright.augment import draw_colour, draw_geometry
from maskwright.data.index import Index
from maskwright.data.intensity import Intensity, resize_label, standardise, to_working, working_size
from maskwright.data.sampling import StreamSampler
from maskwright.data.tensors import image_tensor, label_tensor
from maskwright.progress import track
from maskwright.recipe import Recipe
from maskwright.types import Array, LabelMap

Pair = tuple[torch.Tensor, torch.Tensor]


class WorkingImages:
    """Labelled images at working size, (h, w, C) in 0..255 with (h, w) labels, by row number.

    Args:
        index: its labelled rows.
        intensity: how pixel values are prepared.
        scale: factor on the images' size.
        cache: share of free memory that they may take; above it each is read at every use.
    """

    def __init__(self, index: Index, intensity: Intensity, *, scale: float, cache: float) -> None:
        self.index, self.intensity, self.scale = index, intensity, scale
        self._pairs: list[tuple[Array, LabelMap]] | None = None
        if self._bytes() <= cache * _free_memory():
            with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
                self._pairs = list(track(pool.map(self._read, range(len(index))), "read images", len(index)))

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, row: int) -> tuple[Array, LabelMap]:
        """Return image and label of a row."""
        return self._read(row) if self._pairs is None else self._pairs[row]

    def size(self, row: int) -> tuple[int, int]:
        """Return (h, w) of a row without reading it."""
        return working_size((self.index.table["height"][row], self.index.table["width"][row]), self.scale)

    def _read(self, row: int) -> tuple[Array, LabelMap]:
        sample = self.index.read(row)
        assert sample.label is not None
        image = to_working(sample.image, self.intensity, self.scale)
        return image, resize_label(sample.label, (image.shape[0], image.shape[1]))

    def _bytes(self) -> int:
        value_bytes = 1 if self.intensity.value_range == (0.0, 255.0) else 4
        per_pixel = self.intensity.channels * value_bytes + 1
        return sum(height * width * per_pixel for height, width in map(self.size, range(len(self))))


class TrainingCrops(Dataset[Pair]):
    """Varied crops; item (draw, row) is the same in every run of the same seed."""

    def __init__(self, images: WorkingImages, recipe: Recipe) -> None:
        assert recipe.train.crop is not None
        self.images, self.crop = images, recipe.train.crop
        self.specs, self.seed = recipe.augment, recipe.seed

    def __getitem__(self, key: tuple[int, int]) -> Pair:
        """Return (image (C, h, w), label (h, w)) for a draw of the stream."""
        draw, row = key
        rng = np.random.default_rng((self.seed, 1, draw))
        image, label = self.images[row]
        geometry = draw_geometry(self.specs, rng, size=(label.shape[0], label.shape[1]), crop=self.crop)
        colour = draw_colour(self.specs, rng, channels=image.shape[2])
        varied = colour.apply(geometry.apply_to_image(image))
        tensor = image_tensor(standardise(varied, self.images.intensity))
        return tensor, label_tensor(geometry.apply_to_label(label))


class WholeImages(Dataset[Pair]):
    """Whole images with labels, as they are."""

    def __init__(self, images: WorkingImages) -> None:
        self.images = images

    def __getitem__(self, row: int) -> Pair:
        """Return (image (C, h, w), label (h, w))."""
        image, label = self.images[row]
        return image_tensor(standardise(image, self.images.intensity)), label_tensor(label)


class SameSize(BatchSampler):
    """Batches of rows, in order of size, that never mix sizes."""

    def __init__(self, images: WorkingImages, batch: int) -> None:
        order = sorted(range(len(images)), key=images.size)
        self.batches: list[list[int]] = []
        for row in order:
            last = self.batches[-1] if self.batches else []
            if last and len(last) < batch and images.size(last[0]) == images.size(row):
                last.append(row)
            else:
                self.batches.append([row])

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self.batches)


class Ahead:
    """Batches prepared by threads while the network is busy; OpenCV and NumPy let go of the interpreter.

    Threads rather than processes: nothing is copied or pickled, the cache exists once, and no process is forked from
    one that has threads already.

    Args:
        crops: gives the items.
        sampler: gives their keys; its `set_epoch` is called by the loop.
        batch: items in a batch, on all devices together.
        share: (this device's number, number of devices); a device takes every n-th item of a batch.
        workers: threads; 0 prepares each batch when it is asked for.
    """

    def __init__(
        self,
        crops: TrainingCrops,
        sampler: StreamSampler,
        *,
        batch: int,
        share: tuple[int, int] = (0, 1),
        workers: int,
    ) -> None:
        self.crops, self.sampler = crops, sampler
        self.batch, self.share, self.workers = batch, share, workers

    def __len__(self) -> int:
        return len(self.sampler) // self.batch

    def __iter__(self) -> Iterator[Pair]:
        keys = list(self.sampler)
        rank, devices = self.share
        groups = [keys[i + rank : i + self.batch : devices] for i in range(0, len(keys), self.batch)]
        if self.workers == 0:
            yield from map(self._make, groups)
            return
        with ThreadPoolExecutor(self.workers, "batches") as pool:
            pending: deque[Future[Pair]] = deque()
            for group in groups:
                pending.append(pool.submit(self._make, group))
                if len(pending) > 2 * self.workers + 1:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()

    def _make(self, keys: list[tuple[int, int]]) -> Pair:
        images, labels = zip(*(self.crops[key] for key in keys), strict=True)
        return torch.stack(images), torch.stack(labels)


def training_batches(images: WorkingImages, recipe: Recipe, fold: int, *, parts: int = 1, rank: int = 0) -> Ahead:
    """Return the loader whose epoch is `validate_every` steps of the stream.

    Args:
        images: to learn from.
        recipe: resolved.
        fold: changes the order.
        parts: batches that make one step.
        rank: which device's share of each batch.
    """
    train = recipe.train
    assert train.batch is not None
    assert train.validate_every is not None
    sampler = StreamSampler(len(images), train.validate_every * train.batch, seed=recipe.seed * 1000 + fold)
    return Ahead(
        TrainingCrops(images, recipe),
        sampler,
        batch=train.batch // parts,
        share=(rank, train.devices),
        workers=train.workers,
    )


def validation_batches(images: WorkingImages, recipe: Recipe, *, parts: int = 1, rank: int = 0) -> DataLoader[Pair]:
    """Return the loader of whole images, batched by size; of several devices each takes every n-th batch.

    Where there are fewer batches than devices, each takes all: none may be without, and all counting each image as
    often leaves the scores what they are.
    """
    sampler, devices = SameSize(images, max(1, recipe.predict.batch // parts)), recipe.train.devices
    if len(sampler) >= devices:
        sampler.batches = sampler.batches[rank::devices]
    return DataLoader(WholeImages(images), batch_sampler=sampler)


def _free_memory() -> int:
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return 4 << 30
