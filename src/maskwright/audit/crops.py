"""Images that are cut out of other images, or out of one as tiles are: features propose, pixels decide."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from maskwright.audit.hashing import gray_of
from maskwright.audit.overlaps import Overlap, shared_strip
from maskwright.data.images import read_image, read_preview, size_of, upright
from maskwright.errors import DataError
from maskwright.progress import track
from maskwright.types import Array

MOST = 5000
"""Images up to which crops are looked for: their features take 20 kB each."""

_SIDE = 320
"""Pixels of the longer side at which features are taken and pictures compared."""

_FEATURES, _PROPOSED = 150, 8
"""Features of an image, and other images that it is compared with: the cost grows with both, not with all pairs."""

_TABLES, _BITS = 4, 13
"""Words that a feature votes for, and the bits of one: signs of as many random projections of its descriptor."""

_COMMON = 0.2
"""Share of the images above which a word says nothing, and is left out."""

_RATIO, _PLACE, _TRIES, _INLIERS = 0.8, 2.0, 200, 10
"""Lowe's ratio; pixels by which a feature may be off its place; scales and shifts tried; features that must agree."""

_STRIP_INLIERS = 5
"""Features that must agree on a shift before a strip is compared at full size, where its pixels decide."""

_LEAST, _WHOLE, _OVER = 0.4, 0.97, 0.03
"""Share of the whole that a crop covers: below it isn't looked for, above it is the whole; how far it may stick out, as
a share of a side."""

_IN_MEMORY, _PIXELS = 8, 1 << 26
"""Images in memory at full size while strips are compared, and their pixels together where two have fewer."""

Box = tuple[float, float, float, float]
Places = npt.NDArray[np.float64]
Matches = tuple[Places, Places]
Features = tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]]


@dataclass(frozen=True)
class Crop:
    """An image that shows a part of another one.

    Attributes:
        whole: position of the image that shows all.
        part: position of the one that shows a part of it.
        box: left, top, right, bottom of the part in the whole, as shares of its width and height.
        correlation: of their pixels inside the box, -1..1.
    """

    whole: int
    part: int
    box: Box
    correlation: float

    @property
    def area(self) -> float:
        """Share of the whole that the part covers."""
        left, top, right, bottom = self.box
        return (right - left) * (bottom - top)


def find_crops(paths: Sequence[Path], *, correlation: float = 0.98) -> list[Crop]:
    """Return the pairs of which one image is cut out of the other, the first of what `find_shared` finds."""
    return find_shared(paths, correlation=correlation)[0]


def find_shared(paths: Sequence[Path], *, correlation: float = 0.98) -> tuple[list[Crop], list[Overlap]]:
    """Return the pairs of which one image is cut out of the other, and those that share a strip.

    Flips and turns are not looked for, strips at the same size only. Images vote by the words of their SIFT features
    for the few others that share most of them; those pairs are matched feature by feature, and a scale and a shift that
    agree are sought. Then the pixels inside the box must correlate, or those of the strip at full size be the same.

    Args:
        paths: image files; those that can't be read are passed over. At most `MOST` are searched.
        correlation: from which two pictures inside a box are one.

    Returns:
        Crops that cover 40 to 97 percent of the whole, and overlaps of 3 percent or more, sorted by position; none for
        more than `MOST` images.
    """
    if len(paths) > MOST:
        return [], []
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        pictures = list(track(pool.map(_picture, paths), "look for crops", len(paths)))
    features = [_features(picture) for picture in pictures]
    read = lru_cache(_kept(paths, pictures))(lambda position: gray_of(read_image(paths[position])).astype(np.float32))
    crops, overlaps = [], []
    for first, second in _proposed(features):
        pictured = pictures[first], pictures[second]
        assert pictured[0] is not None and pictured[1] is not None
        matches = _matches(features[first], features[second])
        if matches is None:
            continue
        placed = _placed(*matches)
        crop = None if placed is None else _crop(pictured[0], pictured[1], *placed)
        if crop is not None and crop[2] >= correlation:
            crops.append(Crop(*((second, first) if crop[0] else (first, second)), crop[1], crop[2]))
        elif (strip := _strip(paths, (first, second), (pictured[0], pictured[1]), matches, read)) is not None:
            overlaps.append(Overlap(first, second, *strip))
    return sorted(crops, key=lambda c: (c.whole, c.part)), sorted(overlaps, key=lambda o: (o.first, o.second))


def _kept(paths: Sequence[Path], pictures: Sequence[Array | None]) -> int:
    """Return how many images are kept in memory at full size: two of a pair at least."""
    sizes = [size_of(path)[:2] for path, picture in zip(paths, pictures, strict=True) if picture is not None]
    largest = max((height * width for height, width in sizes), default=1)
    return max(2, min(_IN_MEMORY, _PIXELS // max(largest, 1)))


def _strip(
    paths: Sequence[Path],
    pair: tuple[int, int],
    pictures: tuple[Array, Array],
    matches: Matches,
    read: Callable[[int], Array],
) -> tuple[tuple[int, int], float, float] | None:
    """Return what two images share at full size, where a few matches agree on a shift of pixels of one size."""
    sizes = [size_of(paths[position])[:2] for position in pair]
    factors = [picture.shape[1] / size[1] for picture, size in zip(pictures, sizes, strict=True)]
    shifts = matches[0] / factors[0] - matches[1] / factors[1]
    doubt = _PLACE * sum(1 / factor for factor in factors)
    near = np.abs(shifts[:, None] - shifts[None]).max(axis=2) <= doubt
    agreeing = near[int(near.sum(axis=1).argmax())]
    if len(np.unique(matches[1][agreeing].round(), axis=0)) < _STRIP_INLIERS:
        return None
    x, y = np.median(shifts[agreeing], axis=0).tolist()
    return shared_strip((sizes[0], sizes[1]), (lambda: read(pair[0]), lambda: read(pair[1])), (x, y), doubt + 1)


def _picture(path: Path) -> Array | None:
    """Return an image in gray, uint8, upright, at most `_SIDE` pixels a side."""
    try:
        preview = read_preview(path, _SIDE * 3 // 4)
    except DataError:  # the audit names it
        return None
    gray = gray_of(preview.pixels)
    factor = min(1.0, _SIDE / max(gray.shape))
    size = tuple(max(1, round(n * factor)) for n in gray.shape[::-1])
    small = np.asarray(cv2.resize(gray.astype(np.float32), size, interpolation=cv2.INTER_AREA))
    low, high = np.percentile(small, (0.5, 99.5))
    stretched = np.clip((small - low) * (255 / max(float(high - low), 1e-9)), 0, 255)
    return upright(stretched.astype(np.uint8), preview.orientation)


def _features(picture: Array | None) -> Features:
    nothing: Features = (np.zeros((0, 2), np.float32), np.zeros((0, 128), np.uint8))
    if picture is None or min(picture.shape) < 16:
        return nothing
    points, descriptors = cv2.SIFT.create(nfeatures=_FEATURES, contrastThreshold=0.02).detectAndCompute(picture, None)
    if not points:
        return nothing
    return np.array([point.pt for point in points], np.float32), descriptors.astype(np.uint8)


def _proposed(features: Sequence[Features]) -> Iterator[tuple[int, int]]:
    """Yield pairs of images, each once, of which one is among those that share most words with the other."""
    owner = np.repeat(np.arange(len(features)), [len(points) for points, _ in features])
    if not len(owner):
        return
    words = _words(np.concatenate([descriptors for _, descriptors in features]))
    columns = (words + (np.arange(_TABLES) << _BITS)).ravel()
    shape = (len(features), _TABLES << _BITS)
    table = csr_array((np.ones(columns.size, np.float32), (np.repeat(owner, _TABLES), columns)), shape=shape)
    table.data[:] = 1
    frequency = np.bincount(table.indices, minlength=shape[1])
    weight = np.where(
        frequency > max(_COMMON * len(features), 8), 0, np.log((len(features) + 1) / np.maximum(frequency, 1))
    )
    weighted = csr_array(table.multiply(np.sqrt(weight.astype(np.float32))[None]))
    seen: set[tuple[int, int]] = set()
    for row in range(len(features)):
        votes = (weighted @ weighted[[row]].T).toarray().ravel()
        votes[row] = 0
        for other in np.argsort(-votes, kind="stable")[:_PROPOSED].tolist():
            pair = (min(row, other), max(row, other))
            if votes[other] > 0 and pair not in seen:
                seen.add(pair)
                yield pair


def _words(descriptors: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """Return (K, `_TABLES`) words of descriptors (K, 128)."""
    projections = np.random.default_rng(0).normal(size=(128, _TABLES * _BITS)).astype(np.float32)
    found = []
    mean = descriptors.mean(axis=0, dtype=np.float64).astype(np.float32)
    for start in range(0, len(descriptors), 1 << 16):
        signs = ((descriptors[start : start + (1 << 16)] - mean) @ projections > 0).reshape(-1, _TABLES, _BITS)
        found.append(signs @ (1 << np.arange(_BITS)))
    return np.concatenate(found).astype(np.int64)


def _matches(first: Features, second: Features) -> Matches | None:
    """Return the places of matching features in the first and in the second image, (M, 2) each; None for too few."""
    if min(len(first[0]), len(second[0])) < _STRIP_INLIERS:
        return None
    matches = cv2.BFMatcher(cv2.NORM_L2).knnMatch(second[1].astype(np.float32), first[1].astype(np.float32), k=2)
    good = [best for best, next_best in matches if best.distance < _RATIO * next_best.distance]
    if len(good) < _STRIP_INLIERS:
        return None
    here = np.array([first[0][match.trainIdx] for match in good], np.float64)
    return here, np.array([second[0][match.queryIdx] for match in good], np.float64)


def _placed(here: Places, there: Places) -> tuple[float, float, float] | None:
    """Return scale and shift (x, y) that take the second image's features to their places in the first one's."""
    if len(here) < _INLIERS:
        return None
    one, other = np.random.default_rng(0).integers(0, len(here), (2, _TRIES))
    apart = np.linalg.norm(there[one] - there[other], axis=1)
    usable = apart > 10
    scales = np.linalg.norm(here[one] - here[other], axis=1)[usable] / apart[usable]
    shifts = here[one][usable] - scales[:, None] * there[one][usable]
    if not len(scales):
        return None
    off = np.abs(here[None] - scales[:, None, None] * there[None] - shifts[:, None]).max(axis=2)
    best = int((off <= _PLACE).sum(axis=1).argmax())
    inliers = off[best] <= _PLACE
    if len(np.unique(there[inliers].round(), axis=0)) < _INLIERS:
        return None
    centre, target = there[inliers].mean(axis=0), here[inliers].mean(axis=0)
    spread = ((there[inliers] - centre) ** 2).sum()
    if spread == 0:
        return None
    scale = float(((there[inliers] - centre) * (here[inliers] - target)).sum() / spread)
    shift = target - scale * centre
    return scale, float(shift[0]), float(shift[1])


def _crop(first: Array, second: Array, scale: float, x: float, y: float) -> tuple[bool, Box, float] | None:
    """Return whether the first is the part, the box in the whole, and the correlation; None for no crop."""
    if scale <= 0:
        return None
    box = _inside(first.shape, second.shape, scale, x, y)
    if box is not None:
        return False, box, _correlation(first, second, box)
    box = _inside(second.shape, first.shape, 1 / scale, -x / scale, -y / scale)
    return None if box is None else (True, box, _correlation(second, first, box))


def _inside(whole: tuple[int, ...], part: tuple[int, ...], scale: float, x: float, y: float) -> Box | None:
    """Return where the part lies in the whole, as shares; None if it sticks out, is too small, or is all of it."""
    height, width = whole[:2]
    edges = x / width, y / height, (x + scale * part[1]) / width, (y + scale * part[0]) / height
    if min(edges) < -_OVER or max(edges) > 1 + _OVER:
        return None
    left, top, right, bottom = (min(max(edge, 0.0), 1.0) for edge in edges)
    return (left, top, right, bottom) if _LEAST <= (right - left) * (bottom - top) <= _WHOLE else None


def _correlation(whole: Array, part: Array, box: Box) -> float:
    """Return the correlation of the part with what the whole shows inside the box, both without gradual shades."""
    height, width = part.shape
    rows, columns = whole.shape
    factor = (box[2] - box[0]) * columns / width, (box[3] - box[1]) * rows / height
    matrix = np.array([[factor[0], 0, box[0] * columns], [0, factor[1], box[1] * rows]], np.float64)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    shown = cv2.warpAffine(
        whole.astype(np.float32), matrix, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE
    )
    a, b = (_detail(picture) for picture in (shown, part.astype(np.float32)))
    norm = np.sqrt((a * a).sum() * (b * b).sum())
    return float((a * b).sum() / norm) if norm > 0 else 0.0


def _detail(picture: Array) -> Array:
    """Return what is left of a slightly smoothed picture when its gradual shades are taken away."""
    smooth = cv2.GaussianBlur(picture, (0, 0), 1.5)
    return np.asarray(smooth - cv2.GaussianBlur(picture, (0, 0), max(picture.shape) / 10), np.float64)
