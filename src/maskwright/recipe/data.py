"""What the data is: where, which categories, what is ignored, how images become numbers."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from maskwright.recipe.outliers import BalanceSpec, OutlierSpec
from maskwright.recipe.spec import Spec
from maskwright.types import Categories, Category

FormatName = Literal[
    "auto",
    "folder",
    "coco",
    "coco_panoptic",
    "labelme",
    "labelme_xml",
    "via",
    "cvat",
    "voc",
    "label_studio",
    "geojson",
    "imagescope",
    "yolo",
    "pairs",
    "layers",
    "cityscapes",
    "gtav",
    "synthia",
    "bdd100k",
    "kitti",
    "mapillary",
    "mots",
    "ade20k",
    "open_images",
    "unity_solo",
    "dicom",
    "nnunet",
    "dsb2018",
    "rle_csv",
    "npz",
]
"""The layouts of `data.formats.FORMATS`; auto: recognised."""


class FurtherSpec(Spec):
    """A data folder besides the main one, such as a synthetic twin; its categories are those of the main by name."""

    root: str
    """The folder."""
    format: FormatName = "auto"
    """Its layout."""
    map: dict[str, str | None] | None = None
    """As `data.map`, to the names of the main folder's categories."""
    domain: str | None = None
    """What the domain of its images is called."""
    part: str | None = None
    """Part that all of its images belong to; null: as the folder has them."""
    holds: tuple[str, ...] = ()
    """Take only its labelled images that hold these categories (names as in the main folder): what another source
    lacks. Source 4 takes the 948 images of GTA-V with both truck and train beside SYNTHIA. Empty: all images."""
    holds_rule: Literal["all", "any"] = "all"
    """all: an image must hold every one of `holds`; any: one of them is enough."""
    holds_share: float = Field(0.0, ge=0, lt=1)
    """Share of an image's pixels above which it holds a category; 0: from one pixel on."""


class DataSpec(Spec):
    """The data section. Fields that are null are recognised from the folder and written into the resolved recipe."""

    root: str
    """The data folder; every path of the index is relative to it."""
    format: FormatName = "auto"
    """The layout; `folder` is images/ with masks/ and/or instances/."""
    map: dict[str, str | None] | None = None
    """Name of a category in the folder → its name here, null to ignore its pixels; names that are mapped to the same
    one become one. Each category that the folder has must be mentioned. Null: as they are."""
    further: tuple[FurtherSpec, ...] = ()
    """Folders whose images are added, labels mapped by the names of the categories."""
    classes: Literal["all", "binary"] | tuple[str, ...] = "all"
    """all: as found. binary: everything but 0 is foreground. Names: these, the rest becomes background."""
    task: Literal["auto", "semantic", "instances", "panoptic"] = "auto"
    """semantic: the category of each pixel. instances: one category of objects, told apart, as instances/ has them.
    panoptic: the categories of masks/, of which things are told apart by instances/. auto: instances where there are
    instance maps and no masks, panoptic where there are both and some category is a thing, as long as neither `classes`
    nor `categories` nor `target` is stated; else semantic."""
    target: Literal["auto", "masks", "instances"] = "auto"
    """Which label files are learned from; auto: masks where there are any."""
    drawn: float = Field(1.0, gt=0, le=1)
    """Share of the objects that instance maps hold, roughly; below 1 annotation is partial. Pixels of no object may
    then be of one that nobody drew: embeddings take them as unlabelled. Where instance maps are the labels, no score
    counts these pixels, and drawn / (2 - drawn) of them, others in each crop, are learned as background: so many that
    objects are found as if all were drawn (Elkan and Noto 2008), if what they look like doesn't decide which are."""
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
    label_source: str | None = None
    """Column of meta.csv that says who or what labelled an image; the audit compares the styles of the sources."""
    channels: Literal[1, 3] | None = None
    """Channels the network sees: 1 gray, 3 RGB; null: 1 if every image is gray."""
    value_range: tuple[float, float] | None = None
    """Raw values of images deeper than 8 bits that become 0 and 1 (8-bit ones use 0 and 255); null: what is found."""
    mean: tuple[float, ...] | None = None
    """Mean per channel after `value_range`; null: measured on the labelled images."""
    std: tuple[float, ...] | None = None
    """Standard deviation per channel after `value_range`; null: measured."""
    spacing: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]] | None = None
    """Height and width of a pixel of all images in millimetres, for `measure`; null: what TIFF and DICOM state."""

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

    def narrowed(self, things: Collection[str] | None) -> DataSpec:
        """Return the resolved section in which only the named things are such, where objects are told apart: the others
        are stuff in all that is learned, scored and written. None, or others' names, which a recipe refuses: as it is.
        """
        known = {one.name for one in self.categories or () if one.isthing}
        if things is None or self.task not in ("instances", "panoptic") or not known.issuperset(things):
            return self
        assert self.categories is not None, "there are things"
        found = (replace(one, isthing=one.isthing and one.name in things) for one in self.categories)
        return self.model_copy(update={"categories": tuple(found)})

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
    outliers: OutlierSpec = OutlierSpec()
    balance: BalanceSpec = BalanceSpec()
    crops: bool = True
    """Look for images that are cut out of others (40 to 97 percent of them), too, among at most 5000 images; takes
    several times as long as the rest of the audit."""
    conflicts: Literal["keep_finer", "keep_both", "drop_both", "consensus", "ask"] = "keep_finer"
    """What becomes of one picture with masks that contradict each other. keep_finer: the finest mask stays, the others
    go with their images. keep_both: all stay, in one fold. drop_both: all go. consensus: one image stays with what most
    masks say, the rest is ignored. ask: stop until a person has decided in decisions.jsonl."""
    fineness: str | None = None
    """Function (image, mask) → number that is higher for finer masks, as `package.module:name`; null: the length of
    outlines, counted by the image's edges under them (`audit.fineness.fineness`)."""
    duplicates: Literal["keep", "drop"] = "keep"
    """Other copies of a picture. keep: they stay, in one fold. drop: one image a picture stays, labelled if one is."""
    inherit: bool = True
    """An unlabelled copy of a labelled image takes over its mask; it is learned from with its twin, never scored."""
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
    area_bins: tuple[float, ...] = (0.01, 0.02, 0.03, 0.04, 0.05, 0.1)
    """Inner borders of the bins of each category's share of an image, by which images are stratified, too."""
    labelled: float | int | None = None
    """Learn from only so many of the training images: below 1 a share, else a number; the labels of the rest are not
    looked at, and it is predicted as unlabelled images are. Smaller subsets lie inside larger ones."""
    seed: int | None = Field(None, ge=0)
    """Of folds and held-out part; null: that of the recipe."""
    labelled_seed: int | None = Field(None, ge=0)
    """Of the labelled subset alone, the held-out part stays; null: `seed`."""
    file: str | None = None
    """Fold file that decides instead: CSV (image or name; fold, or part: train, val …; group), or nnU-Net's
    splits_final.json."""
    unlisted: Literal["stop", "pool", "hold_out"] = "stop"
    """What becomes of labelled images that `file` doesn't name (or, in a list of nnU-Net, validates nowhere)."""
    allow_crossing: bool = False
    """Use a file's folds, or the folder's parts, though groups or duplicates lie on two sides; the certificate lists
    them."""
    previous: str | None = "auto"
    """An earlier folds.csv whose images stay where they are. auto: that of the run folder, where --redo cuts the same
    folds of other images; null: none."""

    @field_validator("area_bins")
    @classmethod
    def _ascend(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        edges = (0.0, *value, 1.0)
        if not all(low < high for low, high in pairwise(edges)):
            raise ValueError("borders ascend, above 0 and below 1")
        return value

    @field_validator("labelled", mode="before")
    @classmethod
    def _share_or_number(cls, value: object) -> object:
        if isinstance(value, str):
            try:
                value = float(Fraction(value)) if "/" in value else json.loads(value)
            except (ValueError, ZeroDivisionError):
                raise ValueError("a share such as 0.125 or 1/8, or a number of images such as 40") from None
        if isinstance(value, bool) or (isinstance(value, float) and not 0 < value < 1):
            raise ValueError("a share above 0 and below 1, or a whole number of images")
        if isinstance(value, int) and value < 1:
            raise ValueError("at least 1 image")
        return value

    @model_validator(mode="after")
    def _one_source(self) -> SplitSpec:
        if self.file is not None and (self.holdout is not None or self.use_parts):
            raise ValueError("a file says what is held out: leave holdout and use_parts null")
        return self
