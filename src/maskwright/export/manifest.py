"""What an export says of itself: everything around the networks, in manifest.json. Imports without torch."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from maskwright.artifacts import MANIFEST, read_json, write_json
from maskwright.data.intensity import Intensity
from maskwright.errors import DataError, problem
from maskwright.recipe.predict import PostprocessStep, PredictSpec
from maskwright.recipe.spec import Spec
from maskwright.types import Categories, Category

SCHEMA = 1
"""Version of the form of manifests."""
Format = Literal["onnx", "openvino"]
Precision = Literal["fp32", "bf16", "int8"]
INPUT, OUTPUT = "images", "probabilities"
"""Names of a graph's one input, (N, C, H, W) standardised float32, and of its output, (N, K, H, W), softmax applied."""


class GraphSpec(Spec):
    """One network."""

    file: str
    """In the export folder."""
    sha256: dict[str, str]
    """File → SHA-256, of the graph and of the files that hold its weights."""
    fold: int
    """Which fold's network it is."""
    checkpoint: str
    """The checkpoint's path inside the run folder."""
    checkpoint_sha256: str
    """Its SHA-256."""


class CheckSpec(Spec):
    """How the runner's results compare with those of the networks under torch."""

    images: int
    """Of the run, that were compared."""
    largest_difference: float
    """Of any probability, to torch in float32, at working size."""
    bound: float | None
    """What that may be at most; None: the precision is lower, and the loss is what counts."""
    labels_differ: float
    """Share of the pixels whose category differs, after the chain."""
    clear_labels_differ: float
    """The same of those pixels whose two most probable categories are at least `margin` apart, before the chain."""
    margin: float
    """In probability."""
    recipe_precision: str
    """What `maskwright predict` runs the networks in."""
    predict_labels_differ: float
    """Share of the pixels whose category differs from what `maskwright predict` writes in that precision."""


class LossSpec(Spec):
    """What a lower precision costs: mean Dice of the same images, by fp32 and by this export, under torch-free runners.

    Paired: the difference, not the level, is what the numbers tell; on images of `part` "oof" each network is scored on
    the fold that it never saw.
    """

    part: Literal["holdout", "oof", "training"]
    images: int
    dice: float
    fp32: float
    change: float
    """Of the mean Dice, points of 1; negative: lost."""
    low: float
    high: float
    """Ends of the change's 95 % interval over groups of images."""


class Manifest(Spec):
    """All that using the graphs rightly needs."""

    schema_number: Literal[1] = Field(alias="schema")
    maskwright: str
    """Version that made the export."""
    versions: dict[str, str]
    """Of what else made it."""
    made: str
    """When, ISO 8601."""
    format: Format
    precision: Precision
    runs_in: str
    """What the arithmetic really was on the machine that checked it, as the runtime says."""
    graphs: tuple[GraphSpec, ...] = Field(..., min_length=1)
    channels: int
    """Of the images: 1 or 3, RGB."""
    value_range: tuple[float, float]
    """Of the values of images deeper than 8 bits; stretched to 0..255."""
    mean: tuple[float, ...]
    std: tuple[float, ...]
    """By channel, of values in 0..1: what standardises an image."""
    scale: float | tuple[int, int]
    """Factor from an image's size to the networks', or that size (height, width)."""
    multiple: int
    """Sides are filled up to a multiple of this, as `predict.pad` says, below and to the right."""
    smallest: int
    """Sides that are below this after that are filled up by repeating the border, and cut back: the graphs need it."""
    fixed_size: tuple[int, int] | None
    """(height, width) where the graphs take no other; None: any multiple."""
    fixed_batch: int | None
    """Images in one call, where the graphs take no other number."""
    predict: PredictSpec
    """Tiles, overlap, views and the like: as in the recipe."""
    chain: tuple[PostprocessStep, ...]
    """Post-processing."""
    categories: tuple[dict[str, Any], ...]
    """id, name, color, isthing, in the order of the channels."""
    left_out: tuple[str, ...]
    """Categories whose scores don't count."""
    check: CheckSpec | None = None
    loss: LossSpec | None = None
    licence: str
    """What to look at before the files are passed on."""

    @property
    def intensity(self) -> Intensity:
        """How images are prepared."""
        return Intensity(self.channels, self.value_range, self.mean, self.std)

    def to_categories(self) -> Categories:
        """Return the categories in the order of the channels."""
        items = tuple(
            Category(c["id"], c["name"], tuple(c["color"]), c["isthing"], (c["id"],)) for c in self.categories
        )
        return Categories(items, frozenset(self.left_out))


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write manifest.json; last, so that a folder with one is whole."""
    write_json(folder / MANIFEST, manifest.model_dump(mode="json", by_alias=True))


def read_manifest(folder: Path) -> Manifest:
    """Return the manifest of an export folder, its files checked.

    Raises:
        DataError: no export, one of another form, or a file is missing or isn't the one that was written.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise _wrong("an export folder", f"no {MANIFEST}", folder, "make one: maskwright export RUN --out FOLDER")
    try:
        tree = read_json(path)
    except (ValueError, OSError) as error:
        raise _wrong(f"a whole {MANIFEST}", str(error), path, "export again") from None
    if not isinstance(tree, dict) or tree.get("schema") != SCHEMA:
        found = tree.get("schema") if isinstance(tree, dict) else "none"
        raise _wrong(f"a manifest of form {SCHEMA}", f"form {found}", path, "export again with this version")
    try:
        manifest = Manifest.model_validate(tree)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise _wrong("a manifest as it was written", f"{place}: {first['msg']}", path, "export again") from None
    for graph in manifest.graphs:
        for name, expected in graph.sha256.items():
            _check_file(folder / name, expected)
    return manifest


def sha256(path: Path) -> str:
    """Return a file's SHA-256."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_file(path: Path, expected: str) -> None:
    if not path.is_file():
        raise _wrong("the export's files", "none of this name", path, "copy the whole folder, or export again")
    if sha256(path) != expected:
        raise _wrong("the file that was exported", "another or a cut-off one", path, "copy it again, or export again")


def _wrong(expected: str, got: str, where: Path, next_move: str) -> DataError:
    return DataError(problem(expected, got, where=str(where), next_move=next_move))
