"""How much of what there is: objects an image, their sizes, area ratios, the border, parts and domains and their shift.

All tables are plain counts over usable images; nothing is estimated but the shift.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from maskwright.audit.features import FEATURES, Features
from maskwright.audit.inspect import Inspection
from maskwright.audit.permutation import energy_difference, permutation_p, units
from maskwright.data.index import Index
from maskwright.recipe.outliers import BalanceSpec

OBJECTS_SCHEMA = {
    "image": pl.String,
    "category": pl.String,
    "pixels": pl.Int64,
    "share": pl.Float64,
    "objects": pl.Int64,
    "touching": pl.Int64,
    "smallest": pl.Int64,
    "median": pl.Float64,
    "largest": pl.Int64,
}
PARTS_SCHEMA = {
    "column": pl.String,
    "name": pl.String,
    "images": pl.Int64,
    "labelled": pl.Int64,
    "unlabelled": pl.Int64,
    "width": pl.Float64,
    "height": pl.Float64,
    "brightness": pl.Float64,
    "contrast": pl.Float64,
    "redness": pl.Float64,
    "yellowness": pl.Float64,
    "colour": pl.Float64,
    "shift": pl.Float64,
    "p": pl.Float64,
}
_COMPARED = 400
"""Images of each side between which a shift is measured."""
_PARTS = 24
"""Parts or domains that are listed, the largest."""
_LOOKS = ("tone_mean", "tone_spread", "colour_red", "colour_blue", "colour_strength")


def object_table(index: Index, inspections: Sequence[Inspection]) -> pl.DataFrame:
    """Return one row an image and category that it holds, columns `OBJECTS_SCHEMA`.

    `share` is of the pixels that are not ignored; `touching` are the objects that the image's border cuts off. The
    background of numbered objects holds none: its areas are null.
    """
    rows = []
    for image, found in zip(index.images, inspections, strict=True):
        if not found.usable or found.pixels is None:
            continue
        valid = max(int(found.pixels.sum()), 1)
        for c in np.flatnonzero(found.pixels).tolist():
            areas, pixels = found.areas[c], int(found.pixels[c])
            sizes = (int(areas.min()), float(np.median(areas)), int(areas.max())) if len(areas) else (None, None, None)
            name, touching = index.categories.names[c], int(found.touching[c])
            rows.append((image, name, pixels, pixels / valid, len(areas), touching, *sizes))
    return pl.DataFrame(rows, schema=OBJECTS_SCHEMA, orient="row")


def size_table(index: Index, inspections: Sequence[Inspection]) -> pl.DataFrame:
    """Return a box plot's numbers of the objects' areas in pixels, one row a category that has objects.

    Columns category, objects, smallest, low, q1, median, q3, high, largest, touching, touching_share; low and high are
    the outermost areas within 1.5 interquartile ranges of the box (Tukey 1977).
    """
    usable = [found for found in inspections if found.usable and found.pixels is not None]
    rows = []
    for c, name in enumerate(index.categories.names):
        areas = np.concatenate([found.areas[c] for found in usable] or [np.empty(0, np.int64)])
        if len(areas) == 0:
            continue
        smallest, q1, median, q3, largest = np.quantile(areas, [0, 0.25, 0.5, 0.75, 1]).tolist()
        low, high = (
            float(areas[areas >= q1 - 1.5 * (q3 - q1)].min()),
            float(areas[areas <= q3 + 1.5 * (q3 - q1)].max()),
        )
        touching = sum(int(found.touching[c]) for found in usable)
        box = (smallest, low, q1, median, q3, high, largest)
        rows.append((name, len(areas), *box, touching, touching / len(areas)))
    numbers = ("smallest", "low", "q1", "median", "q3", "high", "largest")
    schema = {"category": pl.String, "objects": pl.Int64, **dict.fromkeys(numbers, pl.Float64)}
    schema |= {"touching": pl.Int64, "touching_share": pl.Float64}
    return pl.DataFrame(rows, schema=schema, orient="row")


def ratio_table(index: Index, inspections: Sequence[Inspection], edges: Sequence[float]) -> pl.DataFrame:
    """Return how many images hold how much of each category.

    Columns category, low, high, images. A bin holds low ≤ share < high, the last one its end too; images without the
    category are a row of their own with low and high 0.
    """
    usable = [found.pixels for found in inspections if found.usable and found.pixels is not None]
    pixels = np.stack(usable) if usable else np.zeros((0, len(index.categories)), np.int64)
    shares = pixels / np.maximum(pixels.sum(axis=1, keepdims=True), 1)
    rows = []
    for c, name in enumerate(index.categories.names):
        there = pixels[:, c] > 0
        counts = np.histogram(shares[there, c], np.array(edges, float))[0]
        rows.append((name, 0.0, 0.0, int((~there).sum())))
        rows += [
            (name, float(low), float(high), int(n)) for low, high, n in zip(edges, edges[1:], counts, strict=False)
        ]
    schema = {"category": pl.String, "low": pl.Float64, "high": pl.Float64, "images": pl.Int64}
    return pl.DataFrame(rows, schema=schema, orient="row")


def part_table(
    index: Index,
    inspections: Sequence[Inspection],
    table: Features,
    rows: npt.NDArray[np.int64],
    spec: BalanceSpec,
    rng: np.random.Generator,
) -> pl.DataFrame:
    """Return size and looks of labelled and unlabelled images, of each given part and of each domain.

    Looks are medians over the part's images: brightness and contrast (mean and standard deviation of the gray, as a
    share of the type's range), redness (red − green), yellowness (yellow − blue) and colour (strongest − weakest
    channel). `shift` is the energy coefficient of the part's images and all others of the same column on standardised
    features, 0 to 1, on at most 400 of each; `p` says how often shuffled images are as far apart, whole groups at a
    time.

    Args:
        index: all images.
        inspections: of each.
        table: (n, F) features of the readable images.
        rows: (n,) their rows in the index.
        spec: the recipe's section: permutations.
        rng: generator.

    Returns:
        Columns `PARTS_SCHEMA`; the first row is everything, without a shift. Of more than 24 parts or domains the
        largest.
    """
    labelled = index.table[index.label_column].is_not_null().to_numpy()
    kinds = ["labelled" if one else "unlabelled" for one in labelled]
    columns = {"labels": kinds, "part": index.table["part"].to_list(), "domain": index.table["domain"].to_list()}
    looks = np.full((len(index), len(_LOOKS)), np.nan)
    looks[rows] = table[:, [FEATURES.index(name) for name in _LOOKS]]
    groups = index.table["group"].to_list()
    scaled = _standardised(table)
    found = [("all", "all", *_part(index, np.ones(len(index), bool), labelled, looks), None, None)]
    for column, values in columns.items():
        counts = Counter(str(value) for value in values if value not in (None, ""))
        if len(counts) < 2:
            continue
        names = sorted(name for name, _ in counts.most_common(_PARTS))
        given = np.array([value not in (None, "") for value in values])
        for name in names:
            inside = np.array([str(value) == name for value in values])
            kind, known = inside[rows].astype(np.int64), given[rows]
            shift = _shift(scaled[known], kind[known], [groups[i] for i in rows[known]], spec, rng)
            found.append((column, name, *_part(index, inside, labelled, looks), *shift))
            if len(counts) == 2:  # the other one's shift is the same
                other = given & ~inside
                found.append((column, names[1], *_part(index, other, labelled, looks), *shift))
                break
    return pl.DataFrame(found, schema=PARTS_SCHEMA, orient="row")


def _part(
    index: Index, inside: npt.NDArray[np.bool_], labelled: npt.NDArray[np.bool_], looks: npt.NDArray[np.float64]
) -> tuple[int | float | None, ...]:
    table = index.table.filter(pl.Series(inside))
    sizes = [_number(table[side].median()) for side in ("width", "height")]
    medians = [_median(looks[inside, k]) for k in range(len(_LOOKS))]
    return (table.height, int(labelled[inside].sum()), int((~labelled[inside]).sum()), *sizes, *medians)


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _median(values: npt.NDArray[np.float64]) -> float | None:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else None


def _standardised(table: Features) -> npt.NDArray[np.float64]:
    rows = table.astype(np.float64)
    spread = rows.std(axis=0)
    varied = spread > 1e-6 * (np.abs(rows).max(axis=0, initial=0) + 1e-6)
    return np.asarray(np.clip((rows[:, varied] - rows[:, varied].mean(axis=0)) / spread[varied], -6, 6))


def _shift(
    points: npt.NDArray[np.float64],
    kinds: npt.NDArray[np.int64],
    groups: Sequence[str | None],
    spec: BalanceSpec,
    rng: np.random.Generator,
) -> tuple[float | None, float | None]:
    """Return how far apart the images of kind 1 and the others are, and how often chance does that."""
    chosen = np.concatenate([rng.permutation(np.flatnonzero(kinds == kind))[:_COMPARED] for kind in (0, 1)])
    if min((kinds[chosen] == kind).sum() for kind in (0, 1)) < 2 or points.shape[1] == 0:
        return None, None
    unit = units([groups[i] for i in chosen], kinds[chosen])
    return permutation_p(energy_difference(points[chosen]), kinds[chosen], unit, samples=spec.samples, rng=rng)
