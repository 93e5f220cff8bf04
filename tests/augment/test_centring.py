"""A crop is moved over a pixel and nothing else of it changes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskwright.augment import draw_geometry
from maskwright.augment.centring import centred_on
from maskwright.recipe.augment import AffineSpec, FlipSpec

FLIPS = (FlipSpec(vertical=0.5),)
STRONG = (*FLIPS, AffineSpec(probability=1, rotate=180, scale=(1.1, 2), stretch=0.2))


def moved(specs, seed, pixel, size, crop):
    drawn = draw_geometry(specs, np.random.default_rng(seed), size=size, crop=crop)
    return drawn, centred_on(drawn, pixel, size)


@given(st.integers(0, 999), st.integers(0, 59), st.integers(0, 79), st.sampled_from([(32, 32), (9, 33), (60, 16)]))
def test_the_pixel_is_in_the_crop_and_the_crop_in_the_image(seed, y, x, crop):
    label = np.zeros((60, 80), np.uint8)
    label[y, x] = 1
    drawn, centred = moved(FLIPS, seed, (y, x), (60, 80), crop)
    assert np.array_equal(centred.matrix[:2, :2], drawn.matrix[:2, :2])
    assert np.array_equal(centred.matrix, np.round(centred.matrix))
    assert centred.apply_to_label(label).sum() == 1
    corners = centred.matrix @ np.array([[0, 0, 1], [crop[1] - 1, crop[0] - 1, 1]]).T
    assert corners[:2].min() >= 0
    assert corners[0].max() <= 79
    assert corners[1].max() <= 59


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("crop", [(9, 13), (16, 8)])
def test_a_pixel_in_the_middle_of_the_image_is_in_the_middle_of_the_crop(seed, crop):
    _, centred = moved(FLIPS, seed, (30, 41), (60, 80), crop)
    x, y, _ = np.linalg.inv(centred.matrix) @ (41, 30, 1)
    # odd sides have a middle; of even ones it lies between two pixels
    assert abs(y - (crop[0] - 1) / 2) == (0 if crop[0] % 2 else 0.5)
    assert abs(x - (crop[1] - 1) / 2) == (0 if crop[1] % 2 else 0.5)


@pytest.mark.parametrize("seed", range(20))
def test_turned_and_zoomed_crops_are_centred_too(seed):
    drawn, centred = moved(STRONG, seed, (100, 90), (200, 200), (33, 33))
    assert np.array_equal(centred.matrix[:2, :2], drawn.matrix[:2, :2])
    assert centred.matrix @ (16, 16, 1) == pytest.approx([90, 100, 1])


@pytest.mark.parametrize("size", [(3, 5), (1, 1), (32, 32)])
def test_a_crop_that_covers_the_image_stays_where_it_was_drawn(size):
    drawn, centred = moved(FLIPS, 1, (0, 0), size, (32, 32))
    assert np.array_equal(centred.matrix, drawn.matrix)
