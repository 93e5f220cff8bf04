"""Geometry: image and label move together, invert, and stay inside. Gray values encode the label."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskwright.augment import Geometry, draw_geometry
from maskwright.recipe.augment import AffineSpec, ColourSpec, FlipSpec

STRONG = (FlipSpec(vertical=0.5), AffineSpec(probability=1, rotate=180, scale=(0.5, 2), stretch=0.3, shift=0.3))
RNG = np.random.default_rng(0)


def blobs(height=90, width=120):
    """Return a label map of large patches."""
    return np.kron(np.arange(12).reshape(3, 4), np.ones((height // 3, width // 4))).astype(np.uint8)


def identity(size, crop):
    return draw_geometry([], np.random.default_rng(0), size=size, crop=crop)


@pytest.mark.parametrize("seed", range(20))
def test_image_and_label_move_together(seed):
    label = blobs()
    geometry = draw_geometry(STRONG, np.random.default_rng(seed), size=label.shape, crop=(64, 96))
    image, moved = geometry.apply_to_image((label * 20)[..., None])[..., 0], geometry.apply_to_label(label)
    assert moved.shape == image.shape == (64, 96)
    inside = np.abs(image.astype(int) - moved.astype(int) * 20) <= 1
    # bilinear and nearest differ along the borders between patches only
    borders = np.zeros(moved.shape, bool)
    borders[:, 1:] |= moved[:, 1:] != moved[:, :-1]
    borders[1:] |= moved[1:] != moved[:-1]
    wide = np.pad(borders, 2)
    near = np.any([wide[i : i + 64, j : j + 96] for i in range(5) for j in range(5)], axis=0)
    assert inside[~near].all()


@pytest.mark.parametrize("dtype", [np.uint16, np.int32])
@pytest.mark.parametrize("seed", range(30))
def test_instances_move_with_the_label_pixel_by_pixel(seed, dtype):
    label = np.random.default_rng(seed).integers(0, 200, (70 + seed, 100)).astype(np.uint8)
    ids = np.random.default_rng(1).integers(0, np.iinfo(dtype).max, 200, endpoint=True).astype(dtype)
    specs = STRONG if seed % 3 else STRONG[:1]  # also flips alone
    geometry = draw_geometry(specs, np.random.default_rng(seed), size=label.shape, crop=(64, 80))
    moved = geometry.apply_to_instances(ids[label])
    assert moved.dtype == dtype
    assert np.array_equal(moved, ids[geometry.apply_to_label(label)])


def test_ids_are_copied_bit_by_bit():
    geometry = Geometry(np.array([[1, 0.01, -3.2], [0.02, -1, 250.3], [0, 0, 1]]), (256, 256))
    ids = RNG.integers(-(2**31), 2**31, (256, 256)).astype(np.int32)  # as floats some are NaN, some tiny
    label = (ids & 255).astype(np.uint8)
    moved = geometry.apply_to_instances(ids)
    assert np.array_equal((moved & 255).astype(np.uint8), geometry.apply_to_label(label))
    assert np.isin(moved, ids).all()


@pytest.mark.parametrize("dtype", [np.int64, np.uint8, np.float32])
def test_other_types_of_instance_maps_are_refused(dtype):
    with pytest.raises(TypeError, match=f"got {np.dtype(dtype)}"):
        identity((8, 8), (8, 8)).apply_to_instances(np.zeros((8, 8), dtype))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", [1, 3])
def test_images_of_every_type_are_opencvs_warp(dtype, channels):
    image = RNG.integers(0, 256, (70, 90, channels)).astype(dtype)
    for seed in range(10):
        geometry = draw_geometry(STRONG, np.random.default_rng(seed), size=(70, 90), crop=(48, 64))
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        oracle = cv2.warpAffine(image, geometry.matrix[:2], (64, 48), flags=flags, borderMode=cv2.BORDER_REFLECT_101)
        assert np.abs(geometry.apply_to_image(image).astype(float) - oracle.reshape(48, 64, channels)).max() <= 1


@pytest.mark.parametrize("mirror", [(1, 1), (-1, 1), (1, -1), (-1, -1)])
@pytest.mark.parametrize("corner", [(0, 0), (5, 3), (40, 22), (41, 3), (-1, 0), (5, 23)])  # the last three reach out
def test_a_flipped_crop_is_the_warp(mirror, corner):
    image, (width, height) = RNG.integers(0, 256, (30, 48, 3), np.uint8), (8, 8)
    first = [c if m > 0 else c + n - 1 for c, m, n in zip(corner, mirror, (width, height), strict=True)]
    matrix = np.array([[mirror[0], 0, first[0]], [0, mirror[1], first[1]], [0, 0, 1.0]])
    crop = Geometry(matrix, (height, width)).apply_to_image(image)
    padded = np.pad(image, ((8, 8), (8, 8), (0, 0)), mode="reflect")
    expected = padded[corner[1] + 8 : corner[1] + 16, corner[0] + 8 : corner[0] + 16][:: mirror[1], :: mirror[0]]
    assert np.array_equal(crop, expected)
    assert not np.shares_memory(crop, image)


@given(st.integers(0, 10_000), st.integers(3, 40), st.integers(3, 40))
def test_the_inverse_leads_back(seed, height, width):
    geometry = draw_geometry(STRONG, np.random.default_rng(seed), size=(height, width), crop=(32, 32))
    back = geometry.inverse((height, width))
    assert back.size == (height, width)
    assert back.matrix @ geometry.matrix == pytest.approx(np.eye(3), abs=1e-9)


def test_a_warp_and_its_inverse_keep_the_middle_of_the_label():
    label = blobs()
    spec = AffineSpec(probability=1, rotate=30, scale=(0.8, 0.8), stretch=0, shift=0)
    geometry = draw_geometry([spec], np.random.default_rng(3), size=label.shape, crop=(90, 120))
    back = geometry.inverse(label.shape).apply_to_label(geometry.apply_to_label(label))
    middle = (slice(30, 60), slice(40, 80))
    assert (back[middle] == label[middle]).mean() > 0.93


@pytest.mark.parametrize(
    ("flip", "axes"),
    [
        (FlipSpec(horizontal=1), (1,)),
        (FlipSpec(horizontal=0, vertical=1), (0,)),
        (FlipSpec(horizontal=1, vertical=1), (0, 1)),
        (FlipSpec(horizontal=0), ()),
    ],
)
@pytest.mark.parametrize("size", [(7, 9), (8, 10), (1, 1), (3, 5)])
def test_a_flip_alone_is_exact(flip, axes, size):
    image = RNG.integers(0, 255, (*size, 3), np.uint8)
    label = RNG.integers(0, 9, size, np.uint8)
    geometry = draw_geometry([flip], np.random.default_rng(0), size=size, crop=size)
    assert np.array_equal(geometry.apply_to_image(image), np.flip(image, axes))
    assert np.array_equal(geometry.apply_to_label(label), np.flip(label, axes))


@pytest.mark.parametrize("channels", [1, 3])
def test_nothing_drawn_changes_nothing(channels):
    image = RNG.integers(0, 255, (9, 7, channels), np.uint8)
    assert np.array_equal(identity((9, 7), (9, 7)).apply_to_image(image), image)
    quiet = [FlipSpec(horizontal=0), AffineSpec(probability=0), ColourSpec()]
    geometry = draw_geometry(quiet, np.random.default_rng(0), size=(9, 7), crop=(9, 7))
    shift = geometry.matrix[:2, 2]  # only the place of the crop may be drawn
    assert geometry.matrix[:2, :2] == pytest.approx(np.eye(2))
    assert np.abs(shift).max() <= 0.1 * 9 + 1e-9


@pytest.mark.parametrize("seed", range(30))
def test_a_crop_lies_inside_where_the_image_is_large_enough(seed):
    spec = AffineSpec(probability=1, rotate=0, scale=(0.8, 1.5), stretch=0.2, shift=0.2)
    geometry = draw_geometry([FlipSpec(), spec], np.random.default_rng(seed), size=(200, 300), crop=(64, 96))
    corners = np.array([[0, 0, 1], [95, 0, 1], [0, 63, 1], [95, 63, 1]]).T
    x, y, _ = geometry.matrix @ corners
    assert x.min() >= -1
    assert y.min() >= -1
    assert x.max() <= 300
    assert y.max() <= 200


def test_crops_without_changes_reach_every_corner():
    found = [
        draw_geometry([], np.random.default_rng(s), size=(40, 60), crop=(32, 32)).matrix[:2, 2] for s in range(300)
    ]
    low, high = np.min(found, 0), np.max(found, 0)
    assert low == pytest.approx([0, 0], abs=0.6)
    assert high == pytest.approx([28, 8], abs=0.6)  # 60 − 32 and 40 − 32
    assert low.min() >= -1e-9


def test_draws_stay_within_the_bounds_of_the_recipe():
    spec = AffineSpec(probability=1, rotate=20, scale=(0.5, 2.0), stretch=0, shift=0.1)
    zooms, angles = [], []
    for seed in range(400):
        geometry = draw_geometry([spec], np.random.default_rng(seed), size=(64, 64), crop=(64, 64))
        linear = geometry.matrix[:2, :2]
        zooms.append(1 / math.sqrt(abs(np.linalg.det(linear))))
        angles.append(math.degrees(math.atan2(linear[1, 0], linear[0, 0])))
    assert 0.5 - 1e-9 <= min(zooms) < 0.55
    assert 1.8 < max(zooms) <= 2 + 1e-9
    assert np.median(zooms) == pytest.approx(1, abs=0.12)  # log-uniform: as often half as double
    assert -20 - 1e-9 <= min(angles) < -18
    assert 18 < max(angles) <= 20 + 1e-9


def test_probabilities_are_shares():
    specs = [FlipSpec(horizontal=0.3), AffineSpec(probability=0.5, rotate=10)]
    drawn = [draw_geometry(specs, np.random.default_rng(s), size=(32, 32), crop=(32, 32)) for s in range(1000)]
    flipped = np.mean([np.linalg.det(g.matrix) < 0 for g in drawn])
    changed = np.mean([not np.allclose(np.abs(g.matrix[:2, :2]), np.eye(2)) for g in drawn])
    assert flipped == pytest.approx(0.3, abs=0.05)  # 3.4 standard deviations
    assert changed == pytest.approx(0.5, abs=0.055)


def test_the_same_generator_draws_the_same():
    one, two = (draw_geometry(STRONG, np.random.default_rng(5), size=(50, 60), crop=(32, 32)) for _ in range(2))
    assert np.array_equal(one.matrix, two.matrix)


def test_small_images_are_mirrored_from_inside():
    label = np.full((3, 5), 4, np.uint8)
    geometry = identity((3, 5), (32, 32))
    assert isinstance(geometry, Geometry)
    assert (geometry.apply_to_label(label) == 4).all()
    assert geometry.apply_to_image(np.zeros((3, 5, 1), np.float32)).shape == (32, 32, 1)
