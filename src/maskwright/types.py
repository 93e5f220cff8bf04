"""The values that every stage speaks: categories, samples, predictions. Checked when made, trusted after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from maskwright.errors import DataError, RecipeError, problem

IGNORE = 255
"""The label of pixels that no loss and no metric sees, in every uint8 label map of category positions."""

MAX_CATEGORIES = 254

Array = npt.NDArray[Any]
LabelMap = npt.NDArray[np.uint8]
Probabilities = npt.NDArray[np.float32]
Spacing = tuple[float, float]
"""Height and width of a pixel, in millimetres or another unit; (1, 1) where lengths are in pixels."""


@dataclass(frozen=True)
class Category:
    """One category: what its pixels are called, drawn as, and stored as.

    Attributes:
        id: the value that `predict` writes for it.
        name: its name; the only place that knows it.
        color: RGB, 0..255 each.
        isthing: True for countable objects, False for stuff.
        values: the values in mask files that mean this category: integers, `"#rrggbb"` colours of RGB masks,
            or `"rest"` for every value that no other category and no ignore value claims.
    """

    id: int
    name: str
    color: tuple[int, int, int] = (128, 128, 128)
    isthing: bool = False
    values: tuple[int | str, ...] | Literal["rest"] = ()

    # read by pydantic where a recipe holds categories: unknown keys are errors there as everywhere
    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}


@dataclass(frozen=True)
class Categories:
    """The categories of a data set, in the order of the network's outputs; position p is channel p.

    Attributes:
        items: the categories, at most 254.
        left_out: names whose scores are left out of every mean. Their pixels are still learned and still
            count as mistakes of other categories; for pixels that don't count at all use the ignore values.
        ignore: values in mask files that no loss and no metric sees.
    """

    items: tuple[Category, ...]
    left_out: frozenset[str] = field(default_factory=frozenset)
    ignore: tuple[int | str, ...] = ()

    def __post_init__(self) -> None:
        names, ids = self.names, self.ids
        if not 1 <= len(self.items) <= MAX_CATEGORIES:
            raise DataError(
                problem(
                    f"1 to {MAX_CATEGORIES} categories",
                    f"{len(self.items)}",
                    where="categories",
                    next_move="merge categories with --classes, or list fewer in data.categories",
                )
            )
        if wrong := [i for i in ids if not 0 <= i < 65535]:
            next_move = "give these categories other ids"
            raise DataError(problem("ids from 0 to 65534", f"{wrong}", where="categories", next_move=next_move))
        doubles = sorted({n for n in names if names.count(n) > 1} | {str(i) for i in ids if ids.count(i) > 1})
        if doubles:
            raise DataError(
                problem(
                    "distinct names and ids", f"{', '.join(doubles)} twice", where="categories", next_move="rename one"
                )
            )
        if unknown := sorted(self.left_out - set(names)):
            raise DataError(
                problem(
                    f"names among {', '.join(names)}",
                    ", ".join(unknown),
                    where="left-out categories (--leave-out)",
                    next_move="use the names above",
                )
            )
        if not self.evaluated:
            raise DataError(
                problem("at least one category that counts", "none", where="--leave-out", next_move="leave out fewer")
            )

    def __len__(self) -> int:
        return len(self.items)

    @property
    def names(self) -> list[str]:
        """Names in channel order."""
        return [c.name for c in self.items]

    @property
    def ids(self) -> list[int]:
        """Ids in channel order: what label files hold."""
        return [c.id for c in self.items]

    @property
    def evaluated(self) -> list[int]:
        """Positions of the categories that metric means are taken over."""
        return [p for p, c in enumerate(self.items) if c.name not in self.left_out]

    @property
    def things(self) -> list[int]:
        """Positions of the categories that are things."""
        return [position for position, category in enumerate(self.items) if category.isthing]

    @property
    def binary(self) -> bool:
        """True for one background and one foreground category, the background left out of the metric."""
        return len(self.items) == 2 and self.evaluated == [1]

    def positions(self, names: Sequence[str], *, where: str) -> list[int]:
        """Return the positions of named categories.

        Args:
            names: of categories.
            where: the recipe field that names them, for the error.

        Raises:
            RecipeError: a name that no category has.
        """
        if unknown := [name for name in names if name not in self.names]:
            raise RecipeError(
                problem(
                    f"names among {', '.join(self.names)}",
                    ", ".join(unknown),
                    where=where,
                    next_move="use the names above",
                )
            )
        return [self.names.index(name) for name in names]

    def palette(self) -> Array:
        """Colours as uint8 (256, 3), position p in row p, `IGNORE` black."""
        table = np.zeros((256, 3), np.uint8)
        table[: len(self)] = [c.color for c in self.items]
        return table


@dataclass(frozen=True)
class Sample:
    """An image with what is known of it.

    Attributes:
        name: the image's path inside its data folder, without suffix; unique there.
        image: (H, W, C) uint8, uint16 or float32.
        label: (H, W) uint8 map of category positions with `IGNORE`, or None where there is no mask.
    """

    name: str
    image: Array
    label: LabelMap | None = None

    def __post_init__(self) -> None:
        if self.image.ndim != 3 or (self.label is not None and self.label.shape != self.image.shape[:2]):
            label = None if self.label is None else self.label.shape
            raise DataError(
                problem(
                    "an (H, W, C) image and an (H, W) label",
                    f"{self.image.shape} and {label}",
                    where=self.name,
                    next_move="give the mask the image's size",
                )
            )


@dataclass(frozen=True)
class Prediction:
    """What a network says of one image.

    Attributes:
        name: as `Sample.name`.
        probabilities: (C, H, W) float32 in 0..1, summing to 1 over C.
    """

    name: str
    probabilities: Probabilities

    def __post_init__(self) -> None:
        if self.probabilities.ndim != 3:
            raise DataError(
                problem(
                    "(C, H, W) probabilities",
                    f"{self.probabilities.shape}",
                    where=self.name,
                    next_move="add the missing axis",
                )
            )

    @property
    def label(self) -> LabelMap:
        """(H, W) uint8: the position of the most probable category."""
        label: LabelMap = self.probabilities.argmax(0).astype(np.uint8)
        return label
