"""Numbers of objects against scikit-image, and by hand."""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.spatial.distance import pdist
from skimage.draw import disk, ellipse
from skimage.measure import find_contours, label, regionprops
from skimage.measure import perimeter as perimeter_of_skimage

from maskwright.measure import feret, measure_objects, perimeter

DATA = Path(os.environ.get("MASKWRIGHT_DATA", "/nonexistent")) / "fixtures"
MASKS = arrays.arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 12)))


def drawn():
    canvas = np.zeros((90, 120), np.int32)
    canvas[disk((20, 25), 14.3)] = 5
    canvas[ellipse(60, 60, 12, 41.5, rotation=0.5)] = 9
    canvas[70:88, 3:9] = 70_000
    canvas[disk((20, 25), 5)] = 0  # a hole
    canvas[0, 119] = 2
    return canvas


@pytest.mark.parametrize("side", [1.0, 0.25])
def test_objects_are_those_of_scikit_image(side):
    ids = drawn()
    found = {shape.object: shape for shape in measure_objects(ids, (side, side))}
    expected = {region.label: region for region in regionprops(ids, spacing=(side, side))}
    assert list(found) == list(expected) == [2, 5, 9, 70_000]
    for number, shape in found.items():
        region = expected[number]
        assert shape.area == pytest.approx(region.area)
        assert shape.perimeter == pytest.approx(region.perimeter)
        assert shape.equivalent_diameter == pytest.approx(region.equivalent_diameter_area)
        assert np.allclose(np.array(shape.centroid) * side, region.centroid)
        top, left, height, width = shape.box
        assert (top, left, top + height, left + width) == region.bbox
        # scikit-image measures the hull's pixels, whose own outline can lie half a pixel outside of the hull
        assert shape.feret_max == pytest.approx(region.feret_diameter_max, abs=0.5 * side)


@given(MASKS)
def test_perimeters_are_those_of_scikit_image(mask):
    assert perimeter(mask) == pytest.approx(perimeter_of_skimage(mask, neighborhood=4))


@given(MASKS, st.floats(0.1, 5), st.floats(0.1, 5))
def test_the_longest_distance_is_that_of_all_points_of_the_outline(mask, high, wide):
    if not mask.any():
        assert feret(mask) == (0, 0)
        return
    points = np.concatenate(find_contours(np.pad(mask, 1).astype(float), 0.5)) * (high, wide)
    longest, narrowest = feret(mask, (high, wide))
    assert longest == pytest.approx(pdist(points).max())
    # the narrowest band over many directions is no narrower, and with enough of them hardly wider
    angles = np.linspace(0, math.pi, 2000, endpoint=False)
    across = points @ np.stack([np.cos(angles), np.sin(angles)])
    assert narrowest <= np.ptp(across, axis=0).min() + 1e-6
    assert narrowest == pytest.approx(np.ptp(across, axis=0).min(), abs=2e-3 * longest)


def test_by_hand():
    (one,) = measure_objects(np.ones((1, 1), int))
    # the middles of a pixel's sides are a square on its corner, of side 1/√2
    assert (one.area, one.perimeter, one.feret_max) == (1, 0, 1)
    assert one.feret_min == pytest.approx(1 / math.sqrt(2))
    # 3 rows of 10: from (0, -.5) to (2, 9.5), and the like: 10 long and 2 high at the extreme middles
    (bar,) = measure_objects(np.ones((3, 10), int), (0.5, 0.5))
    assert bar.area == 7.5
    assert bar.feret_max == pytest.approx(0.5 * math.hypot(10, 2))
    assert bar.feret_min == pytest.approx(0.5 * 3)
    assert bar.equivalent_diameter == pytest.approx(math.sqrt(30 / math.pi))
    (wide,) = measure_objects(np.ones((1, 10), int), (2, 0.5))  # one pixel of 2 mm by ten of .5 mm
    assert (wide.area, wide.feret_max) == (10, 5)
    assert math.isnan(wide.perimeter)  # defined for square pixels alone


def test_nothing_is_nothing():
    assert list(measure_objects(np.zeros((4, 5), int))) == []
    assert perimeter(np.zeros((4, 5), bool)) == 0
    assert list(measure_objects(np.zeros((0, 5), int))) == []


def test_components_and_ids_agree():
    ids = drawn()
    shapes = sorted(measure_objects(label(ids > 0, connectivity=2)), key=lambda s: s.area)
    own = sorted(measure_objects(ids), key=lambda s: s.area)
    assert [s.area for s in shapes] == [s.area for s in own]


@pytest.mark.realdata
@pytest.mark.skipif(not DATA.is_dir(), reason="MASKWRIGHT_DATA names no folder with fixtures")
def test_real_nuclei_are_those_of_scikit_image():
    ids = tifffile.imread(DATA / "stardist_tiff" / "mask2d.tif").astype(np.int32)
    found, expected = list(measure_objects(ids)), regionprops(ids)
    assert len(found) == len(expected) > 50
    for shape, region in zip(found, expected, strict=True):
        assert (shape.object, shape.area) == (region.label, region.area)
        assert shape.perimeter == pytest.approx(region.perimeter)
        assert shape.feret_max == pytest.approx(
            pdist(np.concatenate(find_contours(np.pad(region.image, 1) * 1.0, 0.5))).max()
        )
