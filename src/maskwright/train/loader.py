"""Batches of training crops and of whole images."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch.utils.data import BatchSampler, DataLoader, Dataset

from maskwright.data.intensity import standardise
from maskwright.data.sampling import StreamSampler
from maskwright.data.tensors import image_tensor, label_tensor
from maskwright.recipe import Recipe
from maskwright.train.batch import Batch, PoolBatch, parts_of_step
from maskwright.train.crops import TrainingCrops
from maskwright.train.unlabelled.pool import PoolStream
from maskwright.train.working import WorkingImages

Pair = tuple[torch.Tensor, torch.Tensor]
Keys = list[tuple[int, int]]


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
        parts: batches that make one step; all of them are there before the first is handed out, for what their labels
            hold together.
        share: (this device's number, number of devices); a device takes every n-th item of a batch.
        workers: threads; 0 prepares each batch when it is asked for.
        pool: images without labels that come with each batch.
    """

    def __init__(
        self,
        crops: TrainingCrops,
        sampler: StreamSampler,
        *,
        batch: int,
        parts: int = 1,
        share: tuple[int, int] = (0, 1),
        workers: int,
        pool: PoolStream | None = None,
    ) -> None:
        self.crops, self.sampler, self.pool = crops, sampler, pool
        self.batch, self.parts, self.share, self.workers = batch, parts, share, workers

    def __len__(self) -> int:
        return len(self.sampler) // self.batch

    def __iter__(self) -> Iterator[Batch]:
        made = self._made()
        if self.parts == 1:
            yield from made
        while self.parts > 1 and (step := list(itertools.islice(made, self.parts))):
            yield from parts_of_step(step, len(self.crops.categories))

    def _made(self) -> Iterator[Batch]:
        groups = self._groups(list(self.sampler), self.batch)
        others: list[Keys] = [[]] * len(groups)
        if self.pool is not None:
            others = self._groups(self.pool.keys(self.sampler.epoch), self.pool.batch)
        if self.workers == 0:
            yield from map(self._make, groups, others)
            return
        ahead = max(2 * self.workers + 1, self.parts if self.parts > 1 else 0)
        with ThreadPoolExecutor(self.workers, "batches") as pool:
            pending: deque[Future[Batch]] = deque()
            for group, other in zip(groups, others, strict=True):
                pending.append(pool.submit(self._make, group, other))
                if len(pending) > ahead:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()

    def _groups(self, keys: Keys, batch: int) -> list[Keys]:
        """Return this device's keys of each batch."""
        rank, devices = self.share
        return [keys[i + rank : i + batch : devices] for i in range(0, len(keys), batch)]

    def _make(self, keys: Keys, others: Keys) -> Batch:
        batch = Batch.of([self.crops[key] for key in keys])
        if self.pool is None:
            return batch
        return batch._replace(pool=PoolBatch.of([self.pool.crops[key] for key in others]))


def training_batches(
    images: WorkingImages,
    recipe: Recipe,
    fold: int,
    *,
    parts: int = 1,
    rank: int = 0,
    pool: PoolStream | None = None,
) -> Ahead:
    """Return the loader whose epoch is `validate_every` steps of the stream.

    Args:
        images: to learn from.
        recipe: resolved.
        fold: changes the order.
        parts: batches that make one step.
        rank: which device's share of each batch.
        pool: images without labels that come with each batch.
    """
    train = recipe.train
    assert train.batch is not None
    assert train.validate_every is not None
    crops, length = TrainingCrops(images, recipe), train.validate_every * train.batch
    sampler = StreamSampler(len(crops.turn), length, seed=recipe.seed * 1000 + fold, weights=crops.turn.weights)
    return Ahead(
        crops,
        sampler,
        batch=train.batch // parts,
        parts=parts,
        share=(rank, train.devices),
        workers=train.workers,
        pool=pool,
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
