"""Augmentation of image, mask and instance map on one thread, against albumentations: speed, and equal outputs.

Both mirror, rotate, zoom, shear and shift by the same fixed amounts, then change contrast, brightness and gamma (and
saturation, in rows of their own) by the same amounts. albumentations runs as its users write it: one `Compose` of
its own transforms, bilinear, mirrored borders, mask and instance map as its targets, cropped first. Ours draws from a
recipe of the same kinds, as training does, and then applies the fixed amounts, so that drawing is timed for both.
The rows "drawn" have no fixed amounts: the recipe's defaults, beside transforms with the same ranges and probabilities.
"""

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import albumentations as A
import cv2
import numpy as np

from benchmarks import record
from benchmarks.record import Row
from benchmarks.rig import compare, inverse
from maskwright.augment import Colour, Geometry, draw_colour, draw_geometry
from maskwright.data.scenes import draw_layout, draw_views, render
from maskwright.recipe.augment import AffineSpec, ColourSpec, FlipSpec

SCALE, ANGLE, SHEAR, SHIFT = 1.15, 12.0, 4.0, (9, -6)
CONTRAST, BRIGHTNESS, GAMMA, SATURATION = 0.85, 0.04, 1.1, 1.25
SPECS = (FlipSpec(), AffineSpec(), ColourSpec())
DRAWS = 8
Parts = tuple[np.ndarray, np.ndarray, np.ndarray]


class Case(NamedTuple):
    """An image's (height, width), and the crop's place (x, y) and (height, width) in it."""

    size: tuple[int, int]
    place: tuple[int, int]
    crop: tuple[int, int]


CASES = {
    "256 × 256": Case((256, 256), (0, 0), (256, 256)),
    "512 × 512": Case((512, 512), (0, 0), (512, 512)),
    "256 × 256 out of 775 × 522": Case((522, 775), (300, 140), (256, 256)),
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks augmentation", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("MASKWRIGHT_DATA", "/nonexistent")))
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    rows = {}
    for name, case in CASES.items():
        for dtype in (np.uint16, np.int32):
            parts = taken(arguments.data, case.size, dtype)
            for saturated in (False, True) if dtype is np.int32 else (False,):
                key = f"{name}, {np.dtype(dtype)} instances" + (", saturation" if saturated else "")
                rows[key] = fixed(parts, case, saturated)
        rows[f"{name}, drawn"] = drawn(taken(arguments.data, case.size, np.int32), case)
    record.write("augmentation", rows, rivals=("albumentations", "albucore"))


def fixed(parts: Parts, case: Case, saturated: bool) -> Row:
    """Return the ratio of speeds with fixed amounts, and how far the outputs agree."""
    geometry, colour = Geometry(matrix_of(case), case.crop), colour_of(saturated)
    rng = np.random.default_rng(0)

    def ours() -> Parts:
        draw_geometry(SPECS, rng, size=case.size, crop=case.crop)
        draw_colour(SPECS, rng, channels=3)
        return applied(geometry, colour, parts)

    theirs = called(fixed_transforms(case, saturated), parts)
    return timed(ours, theirs, 1.0, agreement(ours(), theirs(), case))


def drawn(parts: Parts, case: Case) -> Row:
    """Return the ratio of speeds with the recipe's defaults and transforms of the same ranges."""
    rng = np.random.default_rng(0)

    def ours() -> Parts:
        geometry = draw_geometry(SPECS, rng, size=case.size, crop=case.crop)
        return applied(geometry, draw_colour(SPECS, rng, channels=3), parts)

    return timed(ours, called(drawn_transforms(case), parts), 1.0, {"recipe": "its defaults"})


def timed(ours: Callable[[], Parts], theirs: Callable[[], Parts], target: float, details: dict[str, Any]) -> Row:
    """Compare calls; a call of the comparison is `DRAWS` of them."""
    mine, other, found = compare(
        lambda: [ours() for _ in range(DRAWS)], lambda: [theirs() for _ in range(DRAWS)], pairs=60
    )
    speed = inverse(found)
    parity = details.get("mean_difference", 0.0)
    return Row(
        figure=1000 * mine / DRAWS,
        unit="ms",
        against="albumentations",
        other=1000 * other / DRAWS,
        comparison=speed,
        target=f"≥ {target:g} × its speed" + (", grey levels within 1" if "mean_difference" in details else ""),
        reached=speed.value >= target and parity <= 1,
        details=details,
    )


def applied(geometry: Geometry, colour: Colour, parts: Parts) -> Parts:
    image, mask, instances = parts
    return (
        colour.apply(geometry.apply_to_image(image)),
        geometry.apply_to_label(mask),
        geometry.apply_to_instances(instances),
    )


def called(transforms: list[A.BasicTransform], parts: Parts) -> Callable[[], Parts]:
    """Return what calls the transforms as a pipeline; masks are what its users give instance maps as."""
    pipeline = A.Compose(transforms, additional_targets={"instances": "mask"}, seed=0)
    image, mask, instances = parts

    def call() -> Parts:
        out = pipeline(image=image, mask=mask, instances=instances)
        return out["image"], out["mask"], out["instances"]

    return call


def fixed_transforms(case: Case, saturated: bool) -> list[A.BasicTransform]:
    (x, y), (height, width) = case.place, case.crop
    affine = A.Affine(
        scale=(SCALE, SCALE),
        rotate=(ANGLE, ANGLE),
        shear={"x": (SHEAR, SHEAR), "y": (0, 0)},
        translate_px={"x": (SHIFT[0], SHIFT[0]), "y": (SHIFT[1], SHIFT[1])},
        interpolation=cv2.INTER_LINEAR,
        mask_interpolation=cv2.INTER_NEAREST,
        border_mode=cv2.BORDER_REFLECT_101,
        p=1,
    )
    bright = A.RandomBrightnessContrast((BRIGHTNESS, BRIGHTNESS), (CONTRAST - 1, CONTRAST - 1), p=1)
    vivid = A.ColorJitter((1, 1), (1, 1), (SATURATION, SATURATION), (0, 0), p=1)
    gamma = A.RandomGamma((100 * GAMMA, 100 * GAMMA), p=1)
    cropped = [] if case.crop == case.size else [A.Crop(x, y, x + width, y + height)]
    return [*cropped, A.HorizontalFlip(p=1), affine, bright, *([vivid] if saturated else []), gamma]


def drawn_transforms(case: Case) -> list[A.BasicTransform]:
    flip, affine, colour = SPECS
    low, high = (100 / (1 + colour.gamma), 100 * (1 + colour.gamma))
    return [
        *([] if case.crop == case.size else [A.RandomCrop(*case.crop)]),
        A.HorizontalFlip(p=flip.horizontal),
        A.Affine(
            scale=affine.scale,
            rotate=(-affine.rotate, affine.rotate),
            translate_percent=(-affine.shift, affine.shift),
            border_mode=cv2.BORDER_REFLECT_101,
            p=affine.probability,
        ),
        A.ColorJitter(
            (1 - colour.brightness, 1 + colour.brightness),
            (1 - colour.contrast, 1 + colour.contrast),
            (1 - colour.saturation, 1 + colour.saturation),
            (0, 0),
            p=colour.probability,
        ),
        A.RandomGamma((low, high), p=colour.probability),
    ]


def matrix_of(case: Case) -> np.ndarray:
    """Return output pixel to input pixel of: mirrored, zoomed, turned, sheared, moved, all about the middle."""
    (x, y), (height, width) = case.place, case.crop
    middle = np.array([[1, 0, (width - 1) / 2], [0, 1, (height - 1) / 2], [0, 0, 1]])
    cos, sin = np.cos(np.deg2rad(ANGLE)), np.sin(np.deg2rad(ANGLE))
    turn = np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]])
    shear = np.array([[1, -np.tan(np.deg2rad(SHEAR)), 0], [0, 1, 0], [0, 0, 1]])  # its shear has the other sign
    move = np.array([[1, 0, SHIFT[0]], [0, 1, SHIFT[1]], [0, 0, 1]])
    change = move @ shear @ turn @ np.diag([SCALE, SCALE, 1]) @ np.diag([-1, 1, 1])
    forward = middle @ change @ np.linalg.inv(middle)
    return np.array([[1, 0, x], [0, 1, y], [0, 0, 1]]) @ np.linalg.inv(forward)


def colour_of(saturated: bool) -> Colour:
    """Return the same change of colour: contrast from black, brightness; distance from luma; gamma."""
    luma = np.tile([0.299, 0.587, 0.114], (3, 1))
    mix = SATURATION * np.eye(3) + (1 - SATURATION) * luma if saturated else np.eye(3)
    return Colour(np.column_stack([CONTRAST * mix, np.full(3, 255 * BRIGHTNESS)]), GAMMA)


def agreement(ours: Parts, theirs: Parts, case: Case) -> dict[str, Any]:
    """Compare outputs where both saw the same pixels: not where one mirrors the crop and the other sees beyond it."""
    height, width = case.crop
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    source = matrix_of(case)[:2] @ np.stack([x.ravel(), y.ravel(), np.ones(x.size)])
    source = (source - np.array(case.place)[:, None]).reshape(2, height, width)
    inside = (source >= 0).all(axis=0) & (source[0] <= width - 1) & (source[1] <= height - 1)
    if case.crop == case.size:
        inside[:] = True
    difference = np.abs(ours[0].astype(int) - theirs[0].astype(int))[inside]
    return {
        "mean_difference": round(float(difference.mean()), 3),
        "largest_difference": int(difference.max()),
        "equal_mask_pixels": round(float((ours[1] == theirs[1])[inside].mean()), 5),
        "equal_instance_pixels": round(float((ours[2] == theirs[2])[inside].mean()), 5),
        "compared_share": round(float(inside.mean()), 3),
    }


def taken(data: Path, size: tuple[int, int], dtype: Any) -> Parts:
    """Return an image with mask and instances: glands of the first `glas` image, or a made-up scene without data."""
    if (data / "glas").is_dir():
        path = sorted((data / "glas" / "images").iterdir())[0]
        image = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
        instances = cv2.imread(str(next((data / "glas" / "instances").glob(f"{path.stem}.*"))), cv2.IMREAD_UNCHANGED)
        mask = (instances > 0).astype(np.uint8)
    else:
        rng = np.random.default_rng(0)
        (view,) = draw_views(1, rng)
        scene = render(draw_layout(rng), view, size, rng)
        image, mask, instances = scene.image, scene.mask, scene.instances
    height, width = size
    image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    mask, instances = (
        cv2.resize(part, (width, height), interpolation=cv2.INTER_NEAREST_EXACT) for part in (mask, instances)
    )
    return np.ascontiguousarray(image), mask, instances.astype(dtype)
