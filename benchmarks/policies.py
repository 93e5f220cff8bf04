"""All of source 1's augmentation on one thread, against the same policy written with Pillow and NumPy.

The policy: stain images (haematoxylin .05, normalised .05), one of the 25 sub-policies (.4), brightness (.1), noise
(.1), flips (.5 each), mirrored padding to a multiple of 32, standardisation. Both draw and do the same: the rival takes
what was drawn and does it with Pillow and NumPy (flips, padding and standardisation as views and float32 arithmetic).
Timed, its noise is `Generator.standard_normal`; compared, it is ours, so that outputs can be equal. Rows without stain
are for those who keep stain images as files; rows "sub-policy always" have no other change of gray values.
"""

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from benchmarks import record
from benchmarks.record import Row
from benchmarks.rig import compare, inverse
from maskwright.augment import Colour, Geometry, Source, View, draw_view, fit_stains
from maskwright.augment.pixels import Enhance, Noise, Restain
from maskwright.augment.stain import LIGHT, REFERENCE, REFERENCE_MOST
from maskwright.data.intensity import Intensity, resize, resize_label, standardise
from maskwright.recipe.augment import AutoAugmentSpec, BrightnessSpec, FlipSpec, NoiseSpec, StainSpec

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
FLIPS = FlipSpec(horizontal=0.5, vertical=0.5)
WITHOUT_STAIN = (FLIPS, AutoAugmentSpec(probability=0.4), BrightnessSpec(), NoiseSpec())
POLICIES = {
    "all parts": (StainSpec(norm=0.05, hematoxylin=0.05), *WITHOUT_STAIN),
    "without stain": WITHOUT_STAIN,
    "sub-policy always": (FLIPS, AutoAugmentSpec(probability=1)),
}
SIZES = {"942 × 1716": (942, 1716), "512 × 512": (512, 512)}
DRAWS = 12
Noises = Callable[[Noise, tuple[int, ...]], np.ndarray]


class Pair(NamedTuple):
    """An image, its mask, and the crop's (height, width)."""

    image: np.ndarray
    mask: np.ndarray
    crop: tuple[int, int]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks policies", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("MASKWRIGHT_DATA", "/nonexistent")))
    parser.add_argument("--pairs", type=int, default=30)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    rows = {}
    for size_name, size in SIZES.items():
        pair = taken(arguments.data, size)
        for name, specs in POLICIES.items():
            rows[f"{size_name}, {name}"] = measured(pair, specs, arguments.pairs)
            print(f"{size_name}, {name}", rows[f"{size_name}, {name}"].comparison, flush=True)
    record.write("policies", rows, rivals=("pillow",))


def measured(pair: Pair, specs: tuple[Any, ...], pairs: int) -> Row:
    """Return images a second, the ratio of speeds, and how far the outputs agree; each pair has draws of its own."""
    intensity = Intensity(3, (0.0, 255.0), MEAN, STD)
    fit = fit_stains(pair.image)
    source = Source(pair.mask, ("background", "target"), lambda: fit)
    turns = {"ours": 0, "theirs": 0}

    def drawn(seed: int) -> View:
        rng = np.random.default_rng(seed)
        return draw_view(specs, rng, size=pair.mask.shape, crop=pair.crop, channels=3, source=source)

    def ours() -> None:
        turns["ours"] += 1
        for seed in range(DRAWS):
            maskwrights(drawn(turns["ours"] * DRAWS + seed), pair, intensity)

    def theirs() -> None:
        turns["theirs"] += 1
        for seed in range(DRAWS):
            pillows(drawn(turns["theirs"] * DRAWS + seed), pair, numpys_noise)

    mine, other, found = compare(ours, theirs, pairs=pairs)
    details = agreement([drawn(seed) for seed in range(150)], pair, intensity)
    speed = inverse(found)
    return Row(
        figure=DRAWS / mine,
        unit="images a second and core",
        against="Pillow and NumPy",
        other=DRAWS / other,
        comparison=speed,
        target="≥ 3 × its speed, gray levels within 1",
        reached=speed.value >= 3 and details["mean_difference"] <= 1 and details["within_1"] >= 0.99,
        details=details,
    )


def maskwrights(view: View, pair: Pair, intensity: Intensity) -> tuple[np.ndarray, np.ndarray]:
    """Return what a network is given, (3, h, w) float32, and the label."""
    image = standardise(view.apply_to_image(pair.image), intensity)
    return np.ascontiguousarray(image.transpose(2, 0, 1)), view.apply_to_label(pair.mask)


def pillows(view: View, pair: Pair, noise: Noises) -> tuple[np.ndarray, np.ndarray]:
    """Return the same of the same draw."""
    image, mask = (flipped_and_padded(part, view.geometry) for part in (pair.image, pair.mask))
    picture, label = Image.fromarray(image), Image.fromarray(mask)
    values: np.ndarray | None = None
    for step in view.steps:
        if isinstance(step, Restain):
            picture = Image.fromarray(restained(np.asarray(picture), step))
        elif isinstance(step, Enhance):
            picture = enhanced(picture, step)
        elif isinstance(step, Geometry):
            picture, label = moved(picture, step, step.outside.fill), moved(label, step, step.outside.label)
        elif isinstance(step, Colour):  # brightness
            values = np.clip(np.asarray(picture, np.float32) * np.float32(step.matrix[0, 0]), 0, 255)
        elif isinstance(step, Noise):
            values = np.asarray(picture, np.float32) if values is None else values
            values = np.clip(values + noise(step, values.shape), 0, 255)
    values = np.asarray(picture, np.float32) if values is None else values
    values = (values / 255 - np.float32(MEAN)) / np.float32(STD)
    return np.ascontiguousarray(values.transpose(2, 0, 1)), np.asarray(label)


def flipped_and_padded(part: np.ndarray, geometry: Geometry) -> np.ndarray:
    (height, width), (rows, columns) = part.shape[:2], geometry.size
    part = part[:, ::-1] if geometry.matrix[0, 0] < 0 else part
    part = part[::-1] if geometry.matrix[1, 1] < 0 else part
    top, left = (rows - height) // 2, (columns - width) // 2
    beside = ((top, rows - height - top), (left, columns - width - left), (0, 0))
    return np.ascontiguousarray(np.pad(part, beside[: part.ndim], mode="reflect"))


def moved(picture: Image.Image, geometry: Geometry, fill: float) -> Image.Image:
    """Pillow's affine transform counts from pixels' corners; moves by whole pixels need no interpolation."""
    linear, shift = geometry.matrix[:2, :2], geometry.matrix[:2, 2]
    corner = shift + 0.5 - linear @ [0.5, 0.5]
    whole = np.array_equal(linear, np.eye(2)) or picture.mode == "L"
    data = (*linear[0], corner[0], *linear[1], corner[1])
    colour = int(fill) if picture.mode == "L" else (int(fill),) * 3
    resample = Image.NEAREST if whole else Image.BILINEAR
    return picture.transform(picture.size, Image.AFFINE, data, resample, fillcolor=colour)


def enhanced(picture: Image.Image, step: Enhance) -> Image.Image:
    if step.operation in ("color", "contrast", "brightness", "sharpness"):
        return getattr(ImageEnhance, step.operation.capitalize())(picture).enhance(step.amount)
    if step.operation in ("solarize", "posterize"):
        return getattr(ImageOps, step.operation)(picture, step.amount)
    return getattr(ImageOps, step.operation)(picture)


def restained(image: np.ndarray, step: Restain) -> np.ndarray:
    density = -np.log((image.reshape(-1, 3).astype(np.float32) + 1) / np.float32(LIGHT))
    shown = {"norm": slice(0, 2), "hematoxylin": slice(0, 1), "eosin": slice(1, 2)}[step.shown]
    unmixing = np.linalg.pinv(step.fit.stains) * (REFERENCE_MOST / step.fit.most)[:, None]
    matrix = (REFERENCE[:, shown] @ unmixing[shown]).astype(np.float32)
    light = np.float32(LIGHT) * np.exp(-density @ matrix.T)
    return np.clip(light.round(), 0, 255).astype(np.uint8).reshape(image.shape)


def numpys_noise(step: Noise, shape: tuple[int, ...]) -> np.ndarray:
    rng = np.random.default_rng(step.seed)
    return np.float32(step.sigma) * rng.standard_normal(shape, np.float32)


def our_noise(step: Noise, shape: tuple[int, ...]) -> np.ndarray:
    return Noise(step.sigma, step.seed, clip=False).apply(np.zeros(shape, np.float32))


def agreement(views: list[View], pair: Pair, intensity: Intensity) -> dict[str, Any]:
    """Compare gray levels of the outputs.

    Pillow's warp rounds down, ours to the nearest; a change of brightness after it rounds once more, which is why a
    few draws differ by over 1.
    """
    means, shares, labels, largest = [], [], [], 0.0
    std = 255 * np.array(STD)[:, None, None]
    for view in views:
        (image, label), (other, other_label) = maskwrights(view, pair, intensity), pillows(view, pair, our_noise)
        difference = np.abs(image - other) * std
        means.append(difference.mean())
        shares.append((difference <= 1.001).mean())
        largest = max(largest, float(difference.max()))
        labels.append((label == other_label).mean())
    return {
        "mean_difference": round(float(np.mean(means)), 4),
        "within_1": round(float(np.mean(shares)), 6),
        "largest_difference": round(largest, 2),
        "equal_mask_pixels": round(float(np.mean(labels)), 6),
        "draws": len(views),
    }


def taken(data: Path, size: tuple[int, int]) -> Pair:
    """Return a slide of that size: the first `glas` image enlarged, or a made-up texture without data."""
    if (data / "glas").is_dir():
        path = sorted((data / "glas" / "images").iterdir())[0]
        image = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
        instances = cv2.imread(str(next((data / "glas" / "instances").glob(f"{path.stem}.*"))), cv2.IMREAD_UNCHANGED)
        mask = (instances > 0).astype(np.uint8)
    else:
        rng = np.random.default_rng(0)
        strength = cv2.resize(rng.uniform(0.2, 1.5, (30, 40, 2)).astype(np.float32), (775, 522))
        image = np.clip(240 * np.exp(-strength @ REFERENCE.T.astype(np.float32)), 0, 255).astype(np.uint8)
        mask = (strength[..., 0] > 0.9).astype(np.uint8)
    crop = tuple(-(-side // 32) * 32 for side in size)
    return Pair(np.ascontiguousarray(resize(image, size)), resize_label(mask, size), crop)
