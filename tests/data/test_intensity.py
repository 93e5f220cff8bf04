"""Intensity: what is measured agrees with NumPy; gray, deep and scaled images keep their meaning."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskwright.data.intensity import (
    Intensity,
    measure,
    resize,
    resize_label,
    standardise,
    to_channels,
    to_working,
    unstandardise,
    working_size,
)

RNG = np.random.default_rng(0)
EIGHT = Intensity(3, (0.0, 255.0), (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))


def test_mean_and_deviation_are_those_of_all_pixels():
    images = [RNG.integers(0, 255, (20, 30, 3), np.uint8), RNG.integers(100, 200, (7, 5, 3), np.uint8)]
    pixels = np.concatenate([i.reshape(-1, 3) for i in images]) / 255
    found = measure(images)
    assert found.channels == 3
    assert found.mean == pytest.approx(pixels.mean(0), abs=1e-5)
    assert found.std == pytest.approx(pixels.std(0), abs=1e-5)


def test_one_image_in_colour_makes_three_channels():
    gray = np.repeat(RNG.integers(0, 255, (4, 4, 1), np.uint8), 3, 2)
    assert measure([gray]).channels == 1
    assert measure([gray, RNG.integers(0, 255, (4, 4, 3), np.uint8)]).channels == 3
    assert measure([gray], channels=3).channels == 3


def test_twelve_bits_in_sixteen_do_not_become_black():
    image = RNG.integers(200, 4000, (100, 100, 1)).astype(np.uint16)
    found = measure([image])
    assert found.value_range == pytest.approx((200, 4000), abs=20)
    working = to_working(image, found)
    assert working.dtype == np.float32
    assert 0 <= working.min() <= 1
    assert 254 <= working.max() <= 255


def test_constant_images_have_a_deviation_that_can_be_divided_by():
    for image in (np.zeros((3, 5, 1), np.uint8), np.full((3, 5, 1), 700, np.uint16), np.zeros((1, 1, 1), np.float32)):
        found = measure([image])
        assert found.std[0] >= 1e-3
        assert np.isfinite(standardise(to_working(image, found), found)).all()


def test_the_given_range_is_kept():
    assert measure([np.zeros((2, 2, 1), np.uint16)], value_range=(5.0, 9.0)).value_range == (5.0, 9.0)


def test_gray_is_rec_601_and_keeps_the_type():
    image = RNG.integers(0, 255, (9, 8, 3), np.uint8)
    oracle = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(int)
    assert np.abs(to_channels(image, 1)[..., 0] - oracle).max() <= 1
    deep = to_channels(image.astype(np.uint16) * 200, 1)
    assert deep.dtype == np.uint16
    small = to_channels(image.astype(np.float32) / 255, 1)  # must not be rounded to 0 and 1
    assert small[..., 0] == pytest.approx(oracle / 255, abs=0.005)


def test_gray_becomes_rgb_by_repeating():
    image = RNG.integers(0, 255, (3, 5, 1), np.uint8)
    assert np.array_equal(to_channels(image, 3), np.repeat(image, 3, 2))
    assert np.array_equal(to_channels(np.repeat(image, 3, 2), 1), image)


def test_an_eight_bit_image_at_its_own_size_is_not_touched():
    image = RNG.integers(0, 255, (9, 8, 3), np.uint8)
    assert to_working(image, EIGHT) is image


def test_standardised_pixels_are_deviations_from_the_mean():
    image = np.full((1, 1, 3), 255, np.uint8)
    assert standardise(image, EIGHT) == pytest.approx(np.full((1, 1, 3), 2.0))  # (1 − 0.5) / 0.25


@given(st.integers(1, 40), st.integers(1, 40), st.floats(0.02, 3))
def test_any_size_can_be_scaled(height, width, scale):
    size = working_size((height, width), scale)
    assert min(size) >= 1
    for channels in (1, 3):
        assert resize(np.full((height, width, channels), 7, np.uint8), size).shape == (*size, channels)
    assert (resize_label(np.full((height, width), 7, np.uint8), size) == 7).all()


def test_shrinking_averages_and_labels_are_never_mixed():
    image = np.tile(np.array([[0, 100], [200, 60]], np.uint8), (4, 4))[..., None]
    assert (resize(image, (4, 4)) == 90).all()
    label = RNG.choice([0, 3, 255], (40, 40)).astype(np.uint8)
    assert set(np.unique(resize_label(label, (17, 23)))) <= {0, 3, 255}


def test_label_and_image_stay_aligned_when_shrunk():
    """A mask's centre of mass must not move against the image's by more than a fraction of a pixel."""
    yy, xx = np.mgrid[:96, :96]
    disc = (yy - 40) ** 2 + (xx - 55) ** 2 < 400
    image = resize((disc * 255).astype(np.uint8)[..., None], (32, 32))[..., 0] / 255
    label = resize_label(disc.astype(np.uint8), (32, 32))
    grid = np.mgrid[:32, :32]
    for axis in grid:
        assert (axis * image).sum() / image.sum() == pytest.approx((axis * label).sum() / label.sum(), abs=0.15)


def test_mixed_depths_keep_their_contrast():
    """An 8-bit and a 16-bit picture of one scene look alike to the network."""
    rng = np.random.default_rng(0)
    shallow = rng.integers(0, 256, (20, 30, 1), dtype=np.uint8)
    deep = (shallow.astype(np.uint16) * 200 + 1000).astype(np.uint16)
    found = measure([shallow, deep])
    assert found.value_range[0] == pytest.approx(1000, abs=300)
    working = [to_working(image, found).astype(float) for image in (shallow, deep)]
    assert np.abs(working[0] - working[1]).max() < 3
    assert working[0].std() > 60


@pytest.mark.parametrize("channels", [1, 3])
def test_eight_bit_images_are_standardised_like_floats_and_back(channels):
    intensity = Intensity(channels, (0.0, 255.0), (0.4, 0.5, 0.6)[:channels], (0.2, 0.1, 0.3)[:channels])
    image = np.random.default_rng(0).integers(0, 256, (5, 7, channels), np.uint8)
    found = standardise(image, intensity)
    assert found.dtype == np.float32
    assert np.array_equal(found, standardise(image.astype(np.float32), intensity))
    oracle = (image / 255 - np.array(intensity.mean)) / np.array(intensity.std)
    assert found == pytest.approx(oracle, abs=1e-5)
    assert unstandardise(found, intensity) == pytest.approx(image, abs=1e-3)
