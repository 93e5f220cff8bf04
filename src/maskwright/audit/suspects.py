"""Masks that are probably wrong: where out-of-fold predictions surely say something else. Each map is read once.

Confident learning (Northcutt, Jiang and Chuang 2021) on pixels. A category's threshold is the mean probability that
the networks give it where the mask says so. A pixel is suspect if the most probable category is another one than the
mask's, at or above its own threshold. Its weight grows from 0 on a border of the mask to 1 at the tolerance, for
nobody draws a border to the pixel. Regions are connected candidates, pixels with one category given and one other most
probable; they keep sums by probability, from which their scores follow when the thresholds are known at the end.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import polars as pl

from maskwright.audit.displacement import Displacement, displacement
from maskwright.audit.findings import FINDINGS_SCHEMA
from maskwright.errors import DataError, problem
from maskwright.labels import borders, components
from maskwright.recipe.suspects import SuspectSpec
from maskwright.types import IGNORE, Array, LabelMap, Probabilities

REGION_SCHEMA = {
    "image": pl.String,
    "top": pl.Int64,
    "left": pl.Int64,
    "height": pl.Int64,
    "width": pl.Int64,
    "area": pl.Float64,
    "given": pl.String,
    "suggested": pl.String,
    "score": pl.Float64,
}
IMAGE_SCHEMA = {
    "image": pl.String,
    "shifted": pl.Boolean,
    "score": pl.Float64,
    "share": pl.Float64,
    "regions": pl.Int64,
    "shift_down": pl.Int64,
    "shift_right": pl.Int64,
    "shift_gain": pl.Float64,
}

_BINS, _PER_HALVING = 20, 2
"""Bins of the probability of the suggested category, in which a region keeps its sums: two for each halving of what is
missing to 1, for that is where thresholds lie; the last from 0.9986 on."""

_FLOOR = 1e-3
"""Smallest probability whose logarithm is taken: what is more certain than that counts as just that."""

Sums = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Suspects:
    """What is suspect, the most suspect first.

    Attributes:
        regions: columns `REGION_SCHEMA`: box in pixels, `area` of the suspect pixels in it, categories by name, `score`
            in nats: the sum over the suspect pixels of weight times log(probability of the suggested / of the given).
        images: columns `IMAGE_SCHEMA`. `shifted` masks come first, the greatest gain on top: they are wrong as a whole.
            `score` is Σ nats of a category's regions / √(pixels of the category · pixels of all): between nats a pixel,
            in which small categories vanish, and their mean over the categories, which one small object decides;
            `share` that of suspect pixels, weighted, among those not ignored (null where every pixel is);
            `shift_down`, `shift_right` how many pixels the mask must move to fit best, `shift_gain` the share of the
            log loss that this takes away; null where no shift was looked for.
        thresholds: (C,) mean self-confidence of each category, NaN where no mask holds it.
    """

    regions: pl.DataFrame
    images: pl.DataFrame
    thresholds: Sums


def find_suspects(
    items: Iterable[tuple[str, LabelMap, Probabilities]], names: Sequence[str], spec: SuspectSpec | None = None
) -> Suspects:
    """Rank images and regions by how surely their masks are wrong.

    One image is in memory at a time, and of each a bounded number of regions is kept. Pixels that the mask ignores
    never count.

    Args:
        items: (image, (H, W) uint8 category positions with `IGNORE`, (C, H, W) probabilities of networks that never
            saw the image's mask).
        names: of the C categories.
        spec: tolerance, least area, how much is kept.

    Raises:
        DataError: map and probabilities differ in size, or hold what they can't.

    Example:
        >>> drawn = np.zeros((64, 64), np.uint8)
        >>> drawn[20:40, 20:40] = 1
        >>> rock = np.where(drawn == 1, np.float32(0.95), np.float32(0.05))
        >>> surely, forgotten = np.stack([1 - rock, rock]), np.zeros((64, 64), np.uint8)
        >>> found = find_suspects([("a", forgotten, surely), ("b", drawn, surely)], ["ground", "rock"])
        >>> found.regions.select("image", "top", "left", "given", "suggested").rows()
        [('a', 20, 20, 'ground', 'rock')]
    """
    spec = spec or SuspectSpec()
    confidence, pixels = np.zeros(len(names)), np.zeros(len(names))
    seen: list[_Image] = []
    for image, label, probabilities in items:
        _check(image, label, probabilities, len(names))
        doubts = _Doubts.of(label, probabilities)
        confidence += np.bincount(doubts.known_labels, doubts.given[doubts.known], len(names))
        pixels += np.bincount(doubts.known_labels, minlength=len(names))
        seen.append(_kept(image, label, probabilities, doubts, spec))
    with np.errstate(invalid="ignore"):
        thresholds = confidence / pixels
    return Suspects(_region_table(seen, thresholds, names), _image_table(seen, thresholds, spec), thresholds)


def suspect_pixels(
    label: LabelMap, probabilities: Probabilities, thresholds: Sums, *, tolerance: float = 0.005
) -> npt.NDArray[np.float32]:
    """Return the doubt in each pixel: weight times log(probability of the most probable / of the given category).

    Args:
        label: (H, W) uint8 category positions with `IGNORE`.
        probabilities: (C, H, W) in 0..1.
        thresholds: (C,) as `Suspects` has them; a category whose threshold is NaN has none.
        tolerance: as `SuspectSpec.tolerance`.

    Returns:
        (H, W) in nats, 0 where nothing is suspect and where the mask is ignored.
    """
    _check("suspect_pixels", label, probabilities, len(probabilities))
    doubts = _Doubts.of(label, probabilities)
    found = np.zeros(label.size, np.float32)
    sure = doubts.pixels[doubts.highest >= _limits(thresholds)[doubts.suggested]]
    found[doubts.pixels] = doubts.nats
    result = np.zeros(label.size, np.float32)
    result[sure] = found[sure] * border_weights(label, _tolerance(label, tolerance)).ravel()[sure]
    return result.reshape(label.shape)


def suspect_findings(found: Suspects, spec: SuspectSpec) -> pl.DataFrame:
    """Return the findings, columns `FINDINGS_SCHEMA`: shifted masks, and the first regions of all images together."""
    rows: list[tuple[object, ...]] = [
        (row["image"], "mask_shifted", "warning", None, row["shift_gain"], _moved(row), "kept")
        for row in found.images.filter("shifted").iter_rows(named=True)
    ]
    rows += [
        (row["image"], "suspect_label", "note", None, row["score"], _described(row), "kept")
        for row in found.regions.head(spec.listed).iter_rows(named=True)
    ]
    return pl.DataFrame(rows, schema=FINDINGS_SCHEMA, orient="row")


def _moved(row: dict[str, Any]) -> str:
    ways = (("down", "up", row["shift_down"]), ("right", "left", row["shift_right"]))
    steps = " and ".join(f"{abs(n)} px {more if n > 0 else less}" for more, less, n in ways if n)
    return f"moved {steps}, the mask fits its prediction best: {row['shift_gain']:.0%} less log loss"


def _described(row: dict[str, Any]) -> str:
    bottom, end = row["top"] + row["height"] - 1, row["left"] + row["width"] - 1
    return (
        f"drawn as {row['given']}, predicted as {row['suggested']}: {row['area']:.0f} px "
        f"in rows {row['top']}–{bottom}, columns {row['left']}–{end}"
    )


def border_weights(label: LabelMap, tolerance: float) -> npt.NDArray[np.float32]:
    """Return (H, W) weights: 0 at a border between two values of the label map, rising to 1 at `tolerance` pixels."""
    inside = ~borders(label)
    if tolerance <= 0 or inside.all():
        return np.ones(label.shape, np.float32)
    distance = cv2.distanceTransform(inside.view(np.uint8), cv2.DIST_L2, 3)
    return np.asarray(np.minimum(distance / tolerance, 1), np.float32)


@dataclass
class _Doubts:
    """The pixels where another category than the given one is the most probable, as flat positions.

    Attributes:
        known: pixels that are not ignored.
        known_labels: their categories.
        given: of every pixel the probability of its own category, 0 where ignored.
        pixels: doubted ones, (P,).
        labels, suggested: their given and their most probable category.
        highest: probability of that.
        nats: log(highest / given).
    """

    known: Array
    known_labels: Array
    given: Array
    pixels: Array
    labels: Array
    suggested: Array
    highest: Array
    nats: Array

    @classmethod
    def of(cls, label: LabelMap, probabilities: Probabilities) -> _Doubts:
        table = probabilities.reshape(len(probabilities), -1).astype(np.float32, copy=False)
        flat = label.ravel()
        known = np.flatnonzero(flat != IGNORE)
        given = np.zeros(flat.size, np.float32)
        given[known] = table[flat[known], known]
        pixels = known[table.max(0)[known] > given[known]]
        suggested = table[:, pixels].argmax(0)
        highest = table[suggested, pixels]
        nats = np.log(np.maximum(highest, _FLOOR) / np.maximum(given[pixels], _FLOOR))
        return cls(known, flat[known], given, pixels, flat[pixels].astype(np.int64), suggested, highest, nats)


@dataclass
class _Image:
    """What is kept of an image: plain columns of its regions, and their sums by the suggested category's probability.

    Attributes:
        weight: (C,) weighted pixels of each category.
        shift: where the mask fits best, None if not looked for.
        boxes: (R, 4) top, left, height, width.
        given, suggested: (R,) categories.
        area, doubted, nats: (R, _BINS) pixels, weighted pixels and weighted nats.
    """

    name: str
    weight: Array
    shift: Displacement | None
    boxes: Array
    given: Array
    suggested: Array
    area: Array
    doubted: Array
    nats: Array

    def above(self, thresholds: Sums) -> tuple[Sums, Sums, Sums]:
        """Return (R,) pixels, weighted pixels and nats at or above the thresholds; bins are taken for even inside."""
        limit = _place(_limits(thresholds)[self.suggested])[:, None]
        share = np.clip(np.arange(1, _BINS + 1) - limit, 0, 1)
        return (self.area * share).sum(1), (self.doubted * share).sum(1), (self.nats * share).sum(1)


def _place(probability: Array) -> Sums:
    """Return where probabilities lie among the bins, 0.._BINS; its whole part is the bin's number."""
    missing = np.maximum(1 - np.asarray(probability, np.float64), 2.0 ** -(_BINS / _PER_HALVING))
    return np.asarray(np.minimum(-_PER_HALVING * np.log2(missing), _BINS - 1e-6))


def _limits(thresholds: Sums) -> Sums:
    """Return from where a category is suggested: nothing where it has no threshold, and what is certain always."""
    return np.asarray(np.minimum(np.nan_to_num(thresholds, nan=0.0), 1 - 2.0 ** (-(_BINS - 1) / _PER_HALVING)))


def _tolerance(label: LabelMap, share: float) -> float:
    return share * float(np.hypot(*label.shape))


def _kept(image: str, label: LabelMap, probabilities: Probabilities, doubts: _Doubts, spec: SuspectSpec) -> _Image:
    """Return what is kept of an image."""
    tolerance = _tolerance(label, spec.tolerance)
    weights = border_weights(label, tolerance).ravel()
    region, kinds = _regions(label, doubts, len(probabilities), spec.minimum_area)
    nats = weights[doubts.pixels] * doubts.nats
    total = np.bincount(region, nats, len(kinds))[1:]
    best = np.flatnonzero(total > 0)
    best = best[np.argsort(-total[best], kind="stable")[: spec.regions]] + 1
    place = np.full(len(kinds), -1)
    place[best] = np.arange(len(best))
    own = np.flatnonzero(place[region] >= 0)
    row = place[region[own]]
    bins = row * _BINS + _place(doubts.highest[own]).astype(np.int64)

    def summed(values: Array | None) -> Array:
        return np.bincount(bins, values, len(best) * _BINS).reshape(-1, _BINS).astype(np.float32)

    return _Image(
        image,
        np.bincount(doubts.known_labels, weights[doubts.known], len(probabilities)),
        displacement(label, probabilities, largest=spec.largest_shift, tolerance=2 * tolerance)
        if spec.largest_shift > 0
        else None,
        _boxes(doubts.pixels[own], row, len(best), label.shape[1]),
        kinds[best] // len(probabilities),
        kinds[best] % len(probabilities),
        summed(None),
        summed(weights[doubts.pixels[own]]),
        summed(nats[own]),
    )


def _regions(label: LabelMap, doubts: _Doubts, count: int, minimum_area: float) -> tuple[Array, Array]:
    """Number the regions of at least that share of the image.

    Returns:
        (P,) number of each doubted pixel's region, 0 without, and (R + 1,) given * C + suggested of regions 0..R.
    """
    kind = doubts.labels * count + doubts.suggested
    least = max(minimum_area * label.size, 1)
    region, kinds = np.zeros(len(kind), np.int64), [0]
    several, pixels = np.unique(kind, return_counts=True)
    for one in several[pixels >= least]:
        inside = np.flatnonzero(kind == one)
        mask = np.zeros(label.size, np.uint8)
        mask[doubts.pixels[inside]] = 1
        number = components(mask.reshape(label.shape))[0].ravel()[doubts.pixels[inside]]
        areas = np.bincount(number)
        large = areas >= least
        large[0] = False
        renumbered = np.where(large, len(kinds) - 1 + np.cumsum(large), 0)
        region[inside] = renumbered[number]
        kinds += [int(one)] * int(large.sum())
    return region, np.array(kinds)


def _boxes(pixels: Array, region: Array, count: int, width: int) -> Array:
    """Return (count, 4) top, left, height, width of regions that have a pixel at least each."""
    rows, columns = np.divmod(pixels, width)
    first, last = np.full((2, count), np.iinfo(np.int64).max), np.full((2, count), -1)
    for axis, place in enumerate((rows, columns)):
        np.minimum.at(first[axis], region, place)
        np.maximum.at(last[axis], region, place)
    return np.concatenate([first, last - first + 1]).T


def _region_table(seen: Sequence[_Image], thresholds: Sums, names: Sequence[str]) -> pl.DataFrame:
    def rows() -> Iterator[tuple[object, ...]]:
        for image in seen:
            area, _, nats = image.above(thresholds)
            for k in np.flatnonzero(nats > 0):
                given, suggested = names[image.given[k]], names[image.suggested[k]]
                yield (image.name, *image.boxes[k].tolist(), float(area[k]), given, suggested, float(nats[k]))

    table = pl.DataFrame(list(rows()), schema=REGION_SCHEMA, orient="row")
    return table.sort("score", descending=True, maintain_order=True)


def _image_table(seen: Sequence[_Image], thresholds: Sums, spec: SuspectSpec) -> pl.DataFrame:
    rows = []
    for image in seen:
        _, doubted, nats = image.above(thresholds)
        score = share = None
        if (weight := float(image.weight.sum())) > 0:
            present = image.weight > 0
            of_category = np.bincount(image.given, nats, len(image.weight))[present]
            score = float((of_category / np.sqrt(image.weight[present] * weight)).sum())
            share = float(doubted.sum()) / weight
        shift = image.shift
        shifted = shift is not None and shift.gain >= spec.shift_gain
        moved = (None, None, None) if shift is None else (shift.down, shift.right, shift.gain)
        rows.append((image.name, shifted, score, share, int((nats > 0).sum()), *moved))
    table = pl.DataFrame(rows, schema=IMAGE_SCHEMA, orient="row")
    gain = pl.when("shifted").then("shift_gain").otherwise(0.0)
    return table.sort(gain, "score", descending=True, nulls_last=True, maintain_order=True)


def _check(image: str, label: LabelMap, probabilities: Probabilities, categories: int) -> None:
    """Raise DataError if a mask and probabilities can't be compared."""
    expected = f"({categories}, {', '.join(map(str, label.shape))}) probabilities"
    if label.ndim != 2 or probabilities.shape != (categories, *label.shape):
        got = f"{probabilities.shape} beside a mask of {label.shape}"
    elif not np.isfinite(probabilities).all():
        got = "values that are not finite"
    elif (strange := label[(label >= categories) & (label != IGNORE)]).size:
        expected, got = f"categories 0 to {categories - 1} and {IGNORE}", f"{int(strange[0])}"
    else:
        return
    raise DataError(problem(expected, got, where=image, next_move="predict this image again, at its mask's size"))
