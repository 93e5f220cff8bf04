"""A point of a learning curve."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Point:
    """One training of the curve, or what the pool makes of it.

    Attributes:
        share: of the training images whose labels are learned from.
        labels: number of labelled images learned from.
        groups: in them.
        pool: images that are used without labels; 0: a supervised training.
        repeat: number of the seed, and of the draw of the labels.
        folder: of its run, relative to that of the curve.
    """

    share: float
    labels: int
    groups: int
    pool: int
    repeat: int
    folder: str

    @property
    def name(self) -> str:
        """Name of its task."""
        return "point-" + Path(self.folder).name
