"""Which image comes next: an endless, seeded stream that can be entered at any point."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler


class StreamSampler(Sampler[tuple[int, int]]):
    """Yields (draw number, image index); draw n is the same in every run of the same seed.

    All images come once before any comes twice. One epoch is `length` draws, not one pass over the images, so that a
    resumed run enters the stream where it left it (`set_epoch`).

    Args:
        images: how many there are.
        length: draws in an epoch.
        seed: seed of the order.
    """

    def __init__(self, images: int, length: int, seed: int) -> None:
        self.images, self.length, self.seed = images, length, seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Enter the stream at the beginning of an epoch (called by the loop)."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[tuple[int, int]]:
        order, current = np.empty(0, int), -1
        for draw in range(self.epoch * self.length, (self.epoch + 1) * self.length):
            turn, place = divmod(draw, self.images)
            if turn != current:
                order, current = np.random.default_rng((self.seed, turn)).permutation(self.images), turn
            yield draw, int(order[place])
