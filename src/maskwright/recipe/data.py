"""What the data is: where, which categories, what is ignored, how images become numbers."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, field_validator

from maskwright.recipe.spec import Spec
from maskwright.types import Categories, Category

FormatName = Literal[
    "auto",
    "folder",
]
"""The layouts of `data.formats.FORMATS`; auto: recognised."""


class DataSpec(Spec):
    """The data section. Fields that are null are recognised from the folder and written into the resolved recipe."""

    root: str
    """The data folder; every path of the index is relative to it."""
    format: FormatName = "auto"
    """The layout; `folder` is images/ with masks/ and/or instances/."""
    map: dict[str, str | None] | None = None
    """Name of a category in the folder → its name here, null to ignore its pixels; names that are mapped to the same
    one become one. Each category that the folder has must be mentioned. Null: as they are."""
    classes: Literal["all", "binary"] | tuple[str, ...] = "all"
    """all: as found. binary: everything but 0 is foreground. Names: these, the rest becomes background."""
    target: Literal["auto", "masks", "instances"] = "auto"
    """Which label files are learned from; auto: masks where there are any."""
    categories: tuple[Category, ...] | None = None
    """The categories in channel order; null: from classes.json, the palette, or the values found."""
    ignore: tuple[int | str, ...] | None = None
    """Mask values (or category names) that no loss and no metric sees; null: what classes.json says."""
    leave_out: tuple[str, ...] | None = None
    """Categories left out of metric means and region losses; null: the background of a binary task."""
    group: str | None = None
    """Column of meta.csv whose images must stay in one fold."""
    group_regex: str | None = None
    """Regular expression on the image's name; its first group (or whole match) is the fold group."""
    domain: str | None = None
    """Column of meta.csv that says which domain an image belongs to."""
    channels: Literal[1, 3] | None = None
    """Channels the network sees: 1 gray, 3 RGB; null: 1 if every image is gray."""
    value_range: tuple[float, float] | None = None
    """Raw values of images deeper than 8 bits that become 0 and 1 (8-bit ones use 0 and 255); null: what is found."""
    mean: tuple[float, ...] | None = None
    """Mean per channel after `value_range`; null: measured on the labelled images."""
    std: tuple[float, ...] | None = None
    """Standard deviation per channel after `value_range`; null: measured."""

    @field_validator("value_range")
    @classmethod
    def _rises(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        if value is not None and not value[0] < value[1]:
            raise ValueError("the first value must be below the second")
        return value

    @field_validator("group_regex")
    @classmethod
    def _compiles(cls, value: str | None) -> str | None:
        try:
            re.compile(value or "")
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from None
        return value

    def to_categories(self) -> Categories:
        """Return the categories of a resolved recipe."""
        assert self.categories is not None, "the recipe is not resolved"
        return Categories(self.categories, frozenset(self.leave_out or ()), tuple(self.ignore or ()))


class AuditSpec(Spec):
    """What the audit looks for."""

    on_error: Literal["stop", "drop"] = "stop"
    """Files that can't be used: stop and list them, or drop them from everything that follows."""
    duplicate_radius: int = Field(6, ge=0, le=16)
    """Bits (of 64) by which the perceptual hashes of near-duplicates may differ."""
    duplicate_correlation: float = Field(0.985, gt=0, le=1)
    """Correlation of the 32×32 thumbnails from which a candidate pair is a duplicate."""
    parts: str | None = None
    """Column of meta.csv whose values are the parts that leaks are looked for across; null: folders such as
    images/train and images/val, else a column called part, split or fold."""
    pictures: bool = True
    """Write the charts."""


class SplitSpec(Spec):
    """How labelled images are cut into folds and a held-out part."""

    folds: int = Field(5, ge=1)
    """Folds; 1 trains one network on everything that isn't held out."""
    holdout: float | None = Field(None, ge=0, lt=1)
    """Share of labelled images held out; null: 0.15 from 100 labelled images on, else 0."""
    use_parts: bool | None = None
    """Train on images/train and hold out images/val as the folder says; null: when both parts are there."""
    group_duplicates: bool = True
    """Keep the duplicates that the audit found in one fold."""
