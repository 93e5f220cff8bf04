"""Which image a crop is mixed with: drawn inside the item, so that it depends on the draw alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from maskwright.augment.mixing import pasted_positions
from maskwright.recipe.mixing import CopyPasteSpec, MixSpec
from maskwright.types import Categories


class Partner(NamedTuple):
    """An image to mix with.

    Attributes:
        row: of the image.
        focus: a category on a pixel of which its crop is centred; None: it lies anywhere.
    """

    row: int
    focus: int | None


@dataclass(frozen=True)
class Partners:
    """The images that one item of the recipe's `mix` draws from.

    Attributes:
        rows: of the images, ascending.
        held: (rows, K) which of K wanted categories each holds.
        positions: (K,) of these; none wanted: any image will do.
    """

    rows: npt.NDArray[np.int64]
    held: npt.NDArray[np.bool_]
    positions: npt.NDArray[np.int64]

    @classmethod
    def of(
        cls,
        spec: MixSpec,
        pixels: npt.NDArray[np.int64],
        categories: Categories,
        among: npt.NDArray[np.bool_] | None = None,
    ) -> Partners:
        """Return the partners of an item.

        Args:
            spec: the item.
            pixels: (images, C) pixels of each category.
            categories: what the columns mean.
            among: (images,) those that can be partners; None: all.

        Raises:
            RecipeError: the item names a category that isn't there.
        """
        wanted: list[Any] = pasted_positions(spec, categories) if isinstance(spec, CopyPasteSpec) else []
        positions = np.array(wanted, np.int64)
        held = pixels[:, positions] > 0
        possible = held.any(axis=1) if wanted else np.ones(len(pixels), bool)
        rows = np.flatnonzero(possible if among is None else possible & among)
        return cls(rows, held[rows], positions)

    def draw(self, row: int, rng: np.random.Generator) -> Partner | None:
        """Return a partner for an image: another one, or itself in another view if there is no other.

        None if no image holds a wanted category.
        """
        if len(self.rows) == 0:
            return None
        own = int(np.searchsorted(self.rows, row))
        listed = own < len(self.rows) and self.rows[own] == row
        place = int(rng.integers(max(1, len(self.rows) - listed)))
        if listed and len(self.rows) > 1 and place >= own:
            place += 1
        held = self.positions[self.held[place]]
        return Partner(int(self.rows[place]), int(rng.choice(held)) if len(held) else None)
