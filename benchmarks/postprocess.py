"""The whole post-processing of the STAS solution on 942×1716 against the plain SciPy and scikit-image chain.

In the median case the first stage finds enough in a few large objects; in the worst case all four stages have the
whole image to work on. Masks are compared pixel by pixel.
"""

import argparse

import numpy as np
from scipy import ndimage
from skimage.morphology import remove_small_objects

from benchmarks import record, rig
from benchmarks.record import Row
from maskwright.postprocess import staged
from maskwright.recipe.steps import StagedSpec, StageSpec

SIZE, TARGET = (942, 1716), 10
_SQUARE = np.ones((3, 3), bool)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks postprocess", description=__doc__)
    parser.add_argument("--pairs", type=int, default=rig.PAIRS)
    arguments = parser.parse_args()
    spec = StagedSpec()
    rows = {}
    for name, foreground in {"median case": median_case(), "worst case": worst_case()}.items():
        found, stages = plain(foreground, spec)
        ours = staged(foreground, spec)
        assert np.array_equal(ours, found), "identical masks"
        mine, theirs, ratio = rig.compare(
            lambda f=foreground: staged(f, spec), lambda f=foreground: plain(f, spec), pairs=arguments.pairs
        )
        faster = rig.inverse(ratio)
        details = {"stages": stages, "foreground_pixels": int(ours.sum()), "identical_masks": True}
        rows[f"{name}, {stages} stage{'s' * (stages > 1)}"] = Row(
            figure=round(1000 * mine, 2),
            unit="ms",
            against="SciPy + scikit-image",
            other=round(1000 * theirs, 2),
            comparison=faster,
            target=f"≥ {TARGET} × as fast",
            reached=faster.low >= TARGET,
            details=details,
        )
    record.write("postprocess", rows, rivals=("scipy", "scikit-image"))


def median_case(size: tuple[int, int] = SIZE, seed: int = 0) -> np.ndarray:
    """Return probabilities of a few large objects, some of them at the edge, over a low and noisy ground."""
    rng = np.random.default_rng(seed)
    field = _field(rng, size, max(size) / 40)
    noise = _field(rng, size, 2)
    return (1 / (1 + np.exp(-4 * (field - 1.2) - 0.3 * noise))).astype(np.float32)


def worst_case(size: tuple[int, int] = SIZE, seed: int = 0) -> np.ndarray:
    """Return probabilities that are work for every stage: weak components all over, kept only by the last one.

    A small square in each corner passes from the first stage on, so that the box is the image; it is then dropped.
    """
    rng = np.random.default_rng(seed)
    field = _field(rng, size, 3)
    weak = np.where(field < -0.2, 0, 0.11 + 0.02 * np.clip(field, 0, 3)).astype(np.float32)
    for rows in (slice(0, 10), slice(-10, None)):
        for columns in (slice(0, 10), slice(-10, None)):
            weak[rows, columns] = 0
            weak[rows, columns][1:9, 1:9] = 0.9
    return weak


def plain(foreground: np.ndarray, spec: StagedSpec) -> tuple[np.ndarray, int]:
    """Return the mask of the chain as one writes it down with SciPy and scikit-image, and the stages it took."""
    for number, stage in enumerate(spec.stages, start=1):
        mask = plain_select(foreground, stage)
        if number == 1 and mask.sum() > spec.most * mask.size:
            return np.zeros(foreground.shape, np.uint8), number
        square = np.ones((spec.closing, spec.closing), bool)
        mask = ndimage.binary_erosion(ndimage.binary_dilation(mask, square), square, border_value=1)
        if spec.order == "fill_first":
            mask = remove_small_objects(plain_fill(mask, spec.edges), max_size=spec.pixels - 1, connectivity=2)
        else:
            mask = plain_fill(remove_small_objects(mask, max_size=spec.pixels - 1, connectivity=2), spec.edges)
        if mask.sum() >= spec.enough:
            break
    return mask.astype(np.uint8), number


def plain_select(foreground: np.ndarray, stage: StageSpec) -> np.ndarray:
    dropped = np.where(foreground < stage.drop, 0, foreground)
    numbered, count = ndimage.label(dropped > 0, _SQUARE)
    numbers = np.arange(1, count + 1)
    highest = ndimage.maximum(dropped, numbered, numbers)
    strong = ndimage.sum_labels(dropped > 0.9 * stage.high, numbered, numbers)
    sizes = ndimage.sum_labels(np.ones_like(dropped), numbered, numbers)
    kept = numbers[(np.asarray(highest) > stage.high) & (np.asarray(strong) / np.asarray(sizes) >= stage.ratio)]
    return np.isin(numbered, kept) & (dropped > stage.lower)


def plain_fill(mask: np.ndarray, edges: str) -> np.ndarray:
    """Pad one touched edge after the other (or only the first) with ones, fill, cut off; then fill without."""
    sides = (((0, 0), (1, 0)), ((0, 0), (0, 1)), ((1, 0), (0, 0)), ((0, 1), (0, 0)))
    lines = ((slice(None), 0), (slice(None), -1), (0, slice(None)), (-1, slice(None)))
    for side, line in zip(sides, lines, strict=True):
        if edges != "none" and mask[line].any():
            filled = ndimage.binary_fill_holes(np.pad(mask, side, constant_values=True), _SQUARE)
            (top, bottom), (left, right) = side
            mask = filled[top : len(filled) - bottom, left : filled.shape[1] - right]
            if edges == "first":
                break
    return ndimage.binary_fill_holes(mask, _SQUARE)


def _field(rng: np.random.Generator, size: tuple[int, int], sigma: float) -> np.ndarray:
    field = ndimage.gaussian_filter(rng.normal(size=size), sigma)
    return field / field.std()
