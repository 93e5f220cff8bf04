"""Objects that were found with little certainty, of runs that tell objects apart: by their scores, image by image."""

from __future__ import annotations

import csv
from dataclasses import dataclass

import numpy as np

from maskwright.data.formats.files import name_of
from maskwright.data.images import read_ids
from maskwright.errors import DataError
from maskwright.review.items import Box
from maskwright.review.source import Reviewed

LOW = 0.5
"""Score below which an object is doubted: how likely it is true (`instances.score`)."""


@dataclass(frozen=True)
class Doubted:
    """The predicted objects of an image of which at least one has a low score.

    Attributes:
        scores: number of each object in the instance map → its score, 0..1.
    """

    scores: dict[int, float]

    @property
    def score(self) -> float:
        """How many of the objects may be false: the sum of one minus the score."""
        return sum(1 - score for score in self.scores.values())

    @property
    def told(self) -> str:
        """What is known, in words."""
        low = sum(score < LOW for score in self.scores.values())
        least = min(self.scores.values())
        return (
            f"{low} of {len(self.scores)} objects have a score below {LOW:g}; the framed one has the least, {least:.2f}"
        )

    def box(self, run: Reviewed, image: str) -> Box | None:
        """Return left, top, right and bottom of the object with the lowest score; None where it isn't on the map."""
        path = run.folder.predictions / "instances" / f"{name_of(image)}.png"
        number = min(self.scores, key=lambda one: (self.scores[one], one))
        try:
            where = read_ids(path) == number
        except (DataError, OSError):
            return None
        if where.shape != run.size(image) or not where.any():
            return None
        rows, columns = np.flatnonzero(where.any(1)), np.flatnonzero(where.any(0))
        return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def doubted_objects(run: Reviewed) -> dict[str, Doubted]:
    """Return name of an image → its objects, of images with an object whose score is low; {} without objects."""
    path = run.folder.predictions / "instances" / "segments.csv"
    found = dict[str, dict[int, float]]()
    if not path.is_file():
        return {}
    try:
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                if row["score"]:
                    found.setdefault(row["name"], {})[int(row["id"])] = float(row["score"])
    except (KeyError, TypeError, ValueError):  # a damaged list is nobody's choice
        return {}
    return {name: Doubted(scores) for name, scores in found.items() if min(scores.values()) < LOW}
