"""Colour operations: the same gray values as Pillow's, pixel by pixel; gray, float and unkind images."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from maskwright.augment.enhance import ENHANCE
from maskwright.augment.policies import amount_of

RNG = np.random.default_rng(0)
FACTORS = [1 + sign * amount_of("color", m) for m in range(10) for sign in (1, -1)] + [0.123, 1.7654321]
CASES = [
    *(("solarize", amount_of("solarize", m)) for m in range(10)),
    *(("posterize", amount_of("posterize", m)) for m in range(10)),
    *((name, factor) for name in ("color", "contrast", "brightness", "sharpness") for factor in FACTORS),
    ("autocontrast", 0),
    ("equalize", 0),
    ("invert", 0),
]


def pillow(name, picture, amount):
    if name in ("color", "contrast", "brightness", "sharpness"):
        return getattr(ImageEnhance, name.capitalize())(picture).enhance(amount)
    if name in ("solarize", "posterize"):
        return getattr(ImageOps, name)(picture, amount)
    return getattr(ImageOps, name)(picture)


def images():
    """Return pictures whose histograms differ: noise, a dark ramp, few levels, one level, one pixel, thin ones."""
    ramp = np.linspace(30, 110, 61 * 47).reshape(61, 47, 1).astype(np.uint8)
    return {
        "noise": RNG.integers(0, 256, (64, 80, 3), np.uint8),
        "ramp": np.concatenate([ramp, ramp // 2, 200 - ramp], axis=2),
        "levels": RNG.choice(np.array([3, 90, 250], np.uint8), (33, 20, 3)),
        "white": np.full((9, 7, 3), 255, np.uint8),
        "black": np.zeros((9, 7, 3), np.uint8),
        "pixel": RNG.integers(0, 256, (1, 1, 3), np.uint8),
        "thin": RNG.integers(0, 256, (2, 30, 3), np.uint8),
    }


@pytest.mark.parametrize(("name", "amount"), CASES)
@pytest.mark.parametrize("channels", [1, 3])
def test_eight_bit_images_are_pillows(name, amount, channels):
    for what, image in images().items():
        given = np.ascontiguousarray(image[..., :channels])
        picture = Image.fromarray(given[..., 0] if channels == 1 else given)
        oracle = np.asarray(pillow(name, picture, amount)).reshape(given.shape)
        found = ENHANCE[name](given, amount)
        assert found.dtype == np.uint8
        assert np.array_equal(found, oracle), f"{what}: {np.abs(found.astype(int) - oracle).max()}"


@pytest.mark.parametrize("factor", FACTORS)
def test_every_pair_of_gray_levels_blends_as_in_pillow(factor):
    """Colour of (a, a, b): luma and channels take all pairs; brightness and sharpness use the same table."""
    first, second = np.meshgrid(np.arange(256, dtype=np.uint8), np.arange(256, dtype=np.uint8))
    image = np.stack([first, first, second], axis=-1)
    oracle = np.asarray(ImageEnhance.Color(Image.fromarray(image)).enhance(factor))
    assert np.array_equal(ENHANCE["color"](image, factor), oracle)


@pytest.mark.parametrize(("name", "amount"), [*CASES[::5], *CASES[-3:]])
@pytest.mark.parametrize("channels", [1, 3])
def test_float_images_follow_the_eight_bit_ones(name, amount, channels):
    given = images()["ramp"][..., :channels]
    found = ENHANCE[name](given.astype(np.float32), amount)
    assert found.dtype == np.float32
    assert found.min() >= 0
    assert found.max() <= 255
    eight = ENHANCE[name](np.ascontiguousarray(given), amount)
    # rounding down, and a mean of luma that is not rounded: within a gray level and its share of the factor
    assert np.abs(found - eight).max() <= 2.5


def test_an_image_is_not_changed_in_place():
    image = images()["noise"]
    before = image.copy()
    for name in ENHANCE:
        ENHANCE[name](image, 4)
    assert np.array_equal(image, before)
