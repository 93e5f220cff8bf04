"""The eight flips and quarter turns against NumPy, the group axioms and OpenCV's warp."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from maskwright.augment.dihedral import DIHEDRAL, apply, compose, inverse, matrix

NAMES = st.sampled_from(DIHEDRAL)
ORACLE = {
    "identity": lambda a: a,
    "flip_lr": np.fliplr,
    "flip_ud": np.flipud,
    "rotate_90": np.rot90,
    "rotate_180": lambda a: np.rot90(a, 2),
    "rotate_270": lambda a: np.rot90(a, 3),
    "transpose": np.transpose,
    "transpose_anti": lambda a: np.rot90(a, 2).T,
}


@st.composite
def maps(draw):
    height, width = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    return np.random.default_rng(draw(st.integers(0, 99))).integers(0, 9, (height, width), np.uint8)


@given(maps(), NAMES)
def test_apply_equals_numpy(array, name):
    result = apply(array, name)
    assert_array_equal(result, ORACLE[name](array))
    assert result.flags.c_contiguous


@given(maps(), NAMES)
def test_inverse_undoes(array, name):
    assert_array_equal(apply(apply(array, name), inverse(name)), array)


@given(maps(), NAMES, NAMES)
def test_compose_equals_one_after_the_other(array, first, second):
    assert_array_equal(apply(array, compose(first, second)), apply(apply(array, first), second))


def test_they_are_a_group():
    assert len(set(DIHEDRAL)) == 8
    for a in DIHEDRAL:
        assert compose(a, "identity") == compose("identity", a) == a
        assert compose(a, inverse(a)) == compose(inverse(a), a) == "identity"
        assert {compose(a, b) for b in DIHEDRAL} == set(DIHEDRAL)
        for b in DIHEDRAL:
            for c in DIHEDRAL:
                assert compose(compose(a, b), c) == compose(a, compose(b, c))


@given(maps(), NAMES)
def test_matrix_says_where_each_pixel_came_from(array, name):
    result = apply(array, name)
    ys, xs = np.indices(result.shape)
    x, y, one = matrix(name, *array.shape) @ np.stack([xs.ravel(), ys.ravel(), np.ones(xs.size)])
    assert_array_equal(array[y.astype(int), x.astype(int)], result.ravel())
    assert_array_equal(one, 1)


@pytest.mark.parametrize("name", DIHEDRAL)
def test_matrix_is_what_warp_affine_takes(name):
    image = np.random.default_rng(0).integers(0, 255, (7, 11, 3), np.uint8)
    expected = apply(image, name)
    flags = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
    warped = cv2.warpAffine(image, matrix(name, 7, 11)[:2], expected.shape[1::-1], flags=flags)
    assert_array_equal(warped, expected)


@pytest.mark.parametrize("name", DIHEDRAL)
@pytest.mark.parametrize("axes", [(1, 2), (-2, -1)])
def test_axes_choose_rows_and_columns(name, axes):
    stack = np.random.default_rng(1).random((2, 4, 5))
    assert_array_equal(apply(stack, name, axes), np.stack([apply(plane, name) for plane in stack]))


def test_an_empty_array_keeps_its_axes():
    assert apply(np.zeros((0, 3, 5)), "rotate_90", (1, 2)).shape == (0, 5, 3)


def test_an_unknown_name_is_an_error():
    with pytest.raises(KeyError, match="rotate_45"):
        apply(np.zeros((2, 2)), "rotate_45")
