"""Windows of resized images: those of OpenCV's resize of the whole."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskwright.data import resample
from maskwright.data.intensity import resize
from maskwright.data.resample import enlarged, needed, resized_window, taps
from maskwright.tiling import Tile

RNG = np.random.default_rng(0)
SIZES = {
    "same": ((60, 80), (60, 80)),
    "half": ((60, 80), (30, 40)),
    "a third by a quarter": ((60, 80), (20, 20)),
    "0.37": ((61, 83), (23, 31)),
    "0.9": ((61, 83), (55, 75)),
    "larger": ((31, 23), (64, 50)),
    "longer": ((60, 80), (90, 70)),
    "wider and lower": ((61, 23), (20, 50)),
    "half as wide, higher": ((31, 90), (40, 45)),
    "wider and lower, larger": ((30, 23), (29, 50)),
    "one pixel": ((61, 83), (1, 1)),
}


def windows_of(size):
    height, width = size
    yield Tile(0, 0, height, width)
    yield Tile(height // 3, width // 4, max(1, height // 2), max(1, width // 3))
    yield Tile(height - 1, width - 1, 1, 1)


@pytest.mark.parametrize("piece", [1 << 22, 50])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", SIZES)
def test_a_window_is_that_of_the_resized_whole(name, channels, dtype, piece, monkeypatch):
    monkeypatch.setattr(resample, "_PIECE", piece)  # pixels of the source at a time
    (size, target), seen = SIZES[name], []
    image = RNG.integers(0, 256, (*size, channels)).astype(dtype)
    whole = resize(image, target).astype(np.float64)

    def read(window):
        seen.append(window.height * window.width)
        return image[window.slices]

    for window in windows_of(target):
        found = resized_window(read, size, target, window)
        assert found.dtype == dtype
        apart = np.abs(found - whole[window.slices])
        exact = name in ("same", "half", "a third by a quarter")
        # OpenCV rounds 8 bits from fixed-point numbers where it interpolates; float32 has 24 bits for 255
        assert apart.max() <= (0 if exact else 1 if dtype == np.uint8 else 2e-4)


@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from(["area", "linear"]))
def test_weights_sum_to_one_and_any_part_is_a_part_of_all(size, target, kind):
    if kind == "area" and target > size:
        return
    start, whole = taps(0, target, size, target, kind)
    assert np.allclose(whole.sum(axis=1), 1, atol=1e-3)
    dense = np.zeros((target, size))
    dense[:, start : start + whole.shape[1]] = whole.toarray()
    for first in (0, target // 2, target - 1):
        begin, part = taps(first, target - first, size, target, kind)
        assert np.array_equal(part.toarray(), dense[first:, begin : begin + part.shape[1]])


@given(st.tuples(st.integers(1, 9), st.integers(1, 9)), st.tuples(st.integers(1, 30), st.integers(1, 30)))
def test_enlarged_maps_are_those_of_opencv_from_the_rows_that_are_needed(size, target):
    maps = RNG.random((2, *size), np.float32)
    whole = (
        maps
        if size == target
        else np.stack([cv2.resize(m, target[::-1], interpolation=cv2.INTER_LINEAR) for m in maps])
    )
    for window in windows_of(target):
        height = min(window.height, target[0] - window.top)
        window = Tile(window.top, window.left, height, min(window.width, target[1] - window.left))
        first, last = needed(window.top, window.height, size[0], target[0])
        found = enlarged(maps[:, first:last], first, size, target, window)
        assert np.abs(found - whole[:, *window.slices]).max() <= 2e-6


@pytest.mark.parametrize("size", [(8, 60), (40, 20)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_an_axis_that_shrinks_is_averaged_even_if_the_other_grows(size, dtype):
    """Stripes of one pixel: all of them are in the mean of four; bilinear would take two of four."""
    image = np.zeros((32, 40, 1) if size[0] == 8 else (20, 80, 1), dtype)
    stripes = image if size[0] == 8 else image.transpose(1, 0, 2)
    stripes[::4] = 200
    assert (resize(image, size) == 50).all()
