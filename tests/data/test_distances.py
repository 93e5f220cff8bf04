"""Signed distances against Kervadec's own formula by SciPy, and golden values."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.ndimage import distance_transform_edt

from maskwright.data.distances import signed_distances
from maskwright.types import IGNORE


@pytest.mark.parametrize(
    ("mask", "expected"),
    [
        ([0, 0, 1, 1, 0], [2, 1, 0, 0, 1]),  # methods 3.5
        ([0, 1, 1, 1, 0], [1, 0, -1, 0, 1]),
        ([0, 0, 0, 1, 1, 1, 1, 1], [3, 2, 1, 0, -1, -2, -3, -4]),
    ],
)
def test_golden_values(mask, expected):
    found = signed_distances(np.array([mask], np.uint8), 2)
    assert found[1, 0].tolist() == expected
    assert found.dtype == np.float32


@given(arrays.arrays(np.uint8, st.tuples(st.integers(1, 12), st.integers(1, 12)), elements=st.integers(0, 3)))
def test_it_is_kervadec_s_formula(label):
    found = signed_distances(label, 4)
    for category in range(4):
        mask = label == category
        if mask.any() and not mask.all():
            expected = distance_transform_edt(~mask) * ~mask - (distance_transform_edt(mask) - 1) * mask
            np.testing.assert_allclose(found[category], expected, rtol=1e-6)
        else:
            assert (found[category] == 0).all()


@pytest.mark.parametrize("resolution", [(2.0, 2.0), (2.0, 1.0), (0.5, 3.0)])
def test_pixels_that_are_not_of_side_one(resolution):
    label = np.random.default_rng(0).integers(0, 3, (9, 11), np.uint8)
    found = signed_distances(label, 3, resolution=resolution)
    for category in range(3):
        mask = label == category
        inside = distance_transform_edt(mask, resolution) - min(resolution)
        expected = np.where(mask, -inside, distance_transform_edt(~mask, resolution))
        np.testing.assert_allclose(found[category], expected, rtol=1e-6)


def test_ignored_pixels_are_no_boundary():
    found = signed_distances(np.array([[0, 0, 1, 1, 1, IGNORE]], np.uint8), 3)
    assert found[1, 0].tolist() == [2, 1, 0, -1, -2, 0]  # with 0 beyond: 2 1 0 −1 0
    assert found[0, 0].tolist() == [-1, 0, 1, 2, 3, 0]
    assert (found[2] == 0).all()


@pytest.mark.parametrize(
    "label", [np.full((3, 3), 1), np.full((3, 3), IGNORE), np.array([[1, IGNORE]]), np.ones((1, 1))]
)
def test_nothing_beside_it_is_no_boundary(label):
    assert (signed_distances(label.astype(np.uint8), 2) == 0).all()
