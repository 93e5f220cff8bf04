"""Shapes: COCO's polygons against pycocotools and by hand, Pillow's on a whole canvas, what is painted over what."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from maskwright.data.formats.shapes import (
    NOTHING,
    Drawn,
    Region,
    bitmap,
    coco_polygon,
    ellipse,
    from_pairs,
    line,
    paint,
    polygon,
    rectangle,
    to_points,
    union,
    without,
)
from maskwright.errors import DataError

SIZE = (12, 17)
coordinates = st.one_of(st.floats(-9, 26), st.integers(-9, 26), st.integers(-90, 260).map(lambda n: n / 10))
outlines = st.lists(st.tuples(coordinates, coordinates), min_size=3, max_size=9).map(lambda p: np.array(p, float))


def whole(drawn: Drawn, size=SIZE):
    canvas = np.zeros(size, bool)
    height, width = drawn.pixels.shape
    canvas[drawn.top : drawn.top + height, drawn.left : drawn.left + width] = drawn.pixels
    return canvas


@given(outlines)
def test_polygons_as_pycocotools_fills_them(points):
    oracle = pytest.importorskip("pycocotools.mask")
    expected = oracle.decode(oracle.frPyObjects([points.ravel().tolist()], *SIZE))[..., 0].astype(bool)
    assert np.array_equal(whole(coco_polygon(points, SIZE)), expected)


@pytest.mark.parametrize(
    ("points", "rows", "columns"),
    [
        # centres lie at .5: from 1 to 4 are those of the columns 1, 2, 3; from 1 to 3 those of the rows 1 and 2
        ([(1, 1), (4, 1), (4, 3), (1, 3)], [1, 2], [1, 2, 3]),
        # outside is cut off
        ([(-5, -5), (2, -5), (2, 3), (-5, 3)], [0, 1, 2], [0, 1]),
        ([(15, 10), (99, 10), (99, 99), (15, 99)], [10, 11], [15, 16]),
        ([(20, 1), (24, 1), (24, 3), (20, 3)], [], []),
        ([(-9, -9), (-3, -9), (-3, -3)], [], []),
        # without area
        ([(1, 1), (4, 1), (1, 1)], [], []),
        ([(2, 2), (2, 2), (2, 2)], [], []),
    ],
)
def test_coco_polygons_by_hand(points, rows, columns):
    expected = np.zeros(SIZE, bool)
    expected[np.ix_(rows, columns)] = True
    assert np.array_equal(whole(coco_polygon(np.array(points, float), SIZE)), expected)


def test_what_a_polygon_winds_around_twice_is_outside():
    # a square of 6 and, as part of the same outline, one of 2 inside of it: 36 - 4 pixels
    points = [(1, 1), (7, 1), (7, 7), (1, 7), (1, 1), (3, 3), (5, 3), (5, 5), (3, 5), (3, 3)]
    assert coco_polygon(np.array(points, float), SIZE).pixels.sum() == 36 - 4


@pytest.mark.parametrize("count", [0, 1, 2])
@pytest.mark.parametrize("draw", [polygon, coco_polygon])
def test_fewer_than_three_points_are_nothing(draw, count):
    assert draw(np.ones((count, 2)), SIZE).pixels.size == 0


def drawn_by_pillow(how):
    canvas = Image.new("L", SIZE[::-1], 0)
    how(ImageDraw.Draw(canvas))
    return np.array(canvas) > 0


# thousandths: where a line of Pillow's passes a pixel by less, the window's other origin may round it otherwise
thousandths = st.integers(-9000, 26000).map(lambda n: n / 1000)


@given(st.lists(st.tuples(st.integers(-9, 26), st.integers(-9, 26)), min_size=3, max_size=9))
def test_polygons_and_lines_as_pillow_draws_them(corners):
    points = np.array(corners, float)
    flat = [tuple(p) for p in points.tolist()]
    expected = drawn_by_pillow(lambda draw: draw.polygon(flat, fill=1, outline=1))
    assert np.array_equal(whole(polygon(points, SIZE)), expected)
    expected = drawn_by_pillow(lambda draw: draw.line(flat, fill=1, width=10))
    assert np.array_equal(whole(line(points, SIZE)), expected)


@given(thousandths, thousandths, st.integers(0, 9))
def test_boxes_and_circles_as_pillow_draws_them(x, y, radius):
    corners = [(x - radius, y - radius), (x + radius, y + radius)]
    expected = drawn_by_pillow(lambda draw: draw.rectangle(corners, fill=1, outline=1))
    assert np.array_equal(whole(rectangle(np.array(corners[::-1]), SIZE)), expected)
    expected = drawn_by_pillow(lambda draw: draw.ellipse(corners, fill=1, outline=1))
    assert np.array_equal(whole(ellipse((x, y), (radius, radius), SIZE)), expected)


def test_holes_leave_their_outline():
    outer, inner = np.array([(1, 1), (9, 1), (9, 9), (1, 9)]), np.array([(3, 3), (7, 3), (7, 7), (3, 7)])
    drawn = whole(polygon(outer, SIZE, holes=[inner, inner[:2]]))
    assert drawn.sum() == 9 * 9 - 3 * 3  # corners 1..9 and, inside of the outline, 4..6
    assert drawn[3, 3] and not drawn[4, 4]


@pytest.mark.parametrize(("top", "left", "pixels"), [(-1, -2, 1), (10, 15, 4), (0, 0, 6), (12, 0, 0), (-3, 0, 0)])
def test_bitmaps_are_cut_to_the_image(top, left, pixels):
    # 2 rows, 3 columns: at (-1, -2) one pixel is left, at (10, 15) two columns of two
    drawn = bitmap(np.ones((2, 3), bool), SIZE, top=top, left=left)
    assert drawn.pixels.sum() == pixels
    assert whole(drawn).sum() == pixels


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 14), st.integers(0, 3), st.integers(0, 3)), max_size=4))
def test_union_and_difference_are_those_of_whole_masks(boxes):
    pieces = [bitmap(np.ones((h, w), bool), SIZE, top=top, left=left) for top, left, h, w in boxes]
    expected = np.logical_or.reduce([whole(piece) for piece in pieces]) if pieces else np.zeros(SIZE, bool)
    assert np.array_equal(whole(union(pieces)), expected)
    middle = bitmap(np.ones((6, 6), bool), SIZE, top=3, left=4)
    assert np.array_equal(whole(without(union(pieces), middle)), expected & ~whole(middle))


def box(left, right, top=0, bottom=1):
    return bitmap(np.ones((bottom - top, right - left), bool), (1, 8), top=top, left=left)


def test_later_regions_lie_on_top():
    regions = [
        Region("a", box(0, 4)),
        Region("b", box(2, 6), object=5),
        Region("a", box(3, 4), ignored=True),
        Region("s", box(5, 6), isthing=False),
        Region("b", box(7, 8), object=5),  # the same object as before
        Region("a", NOTHING),
    ]
    content = paint(regions, (1, 8), {"a": 1, "b": 2, "s": 9}, ignore=255, background=7)
    assert content.mask.tolist() == [[1, 1, 2, 255, 2, 9, 7, 2]]
    assert content.instances.tolist() == [[1, 1, 2, 0, 2, 0, 0, 2]]


@pytest.mark.parametrize(
    "values", [[1, 2, 3], ["a", "b"], [float("nan"), 1], [1e9, 1], None, [[1, 2], [3]], [True, {}]]
)
def test_points_that_are_none(values):
    with pytest.raises(DataError, match="shape 4"):
        to_points(values, where="a.json, shape 4")


def test_points_in_pairs_and_flat():
    assert to_points([1, 2, 3, 4], where="").tolist() == to_points([[1, 2], [3, 4]], where="").tolist()


@given(
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    runs=st.lists(st.tuples(st.integers(0, 80), st.integers(0, 12)), max_size=5),
)
def test_pairs_in_a_window_are_those_of_the_whole_mask(size, runs):
    """Also where runs overlap, touch, are empty or go on in the next column."""
    whole = size[0] * size[1]
    kept = [(start % whole, min(length, whole - start % whole)) for start, length in runs]
    text = " ".join(f"{start + 1} {length}" for start, length in kept)
    expected = np.zeros(whole, bool)
    for start, length in kept:
        expected[start : start + length] = True
    top, left, pixels = from_pairs(text, size, where="")
    drawn = np.zeros(size, bool)
    drawn[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
    assert np.array_equal(drawn, expected.reshape(size[::-1]).T)


@pytest.mark.parametrize(("top", "left"), [(0, 0), (3, 4), (-2, -1), (5, 6)])
def test_a_bitmap_keeps_what_is_in_it(top, left):
    part = np.zeros((6, 7), bool)
    part[2:4, 3:5] = True
    expected = np.zeros((40, 50), bool)
    ys, xs = np.argwhere(part).T + np.array([[top], [left]])
    expected[ys, xs] = True
    drawn = bitmap(part, (40, 50), top=top, left=left)
    assert (drawn.top, drawn.left, drawn.pixels.shape) == (2 + top, 3 + left, (2, 2))
    assert drawn.pixels.all() and expected.sum() == 4
    assert expected[drawn.top : drawn.top + 2, drawn.left : drawn.left + 2].all()
    assert drawn.pixels.base is None, "the mask that it was cut from can go"
    assert bitmap(part, (40, 50), top=-9).pixels.size == 0


def test_a_thousand_objects_cost_what_their_windows_cost():
    size = (1000, 1000)
    places = [(y, x) for y in range(0, 990, 30) for x in range(0, 990, 30)][:1000]
    tracemalloc.start()
    regions = [
        Region("a", from_pairs(f"{x * 1000 + y + 1} 9 {x * 1000 + y + 1001} 9", size, where="")) for y, x in places
    ]
    content = paint(regions, size, {"a": 1}, ignore=255)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert content.instances.max() == 1000
    assert (content.mask == 1).sum() == 18 * 1000
    assert peak < 30e6, "two maps of four bytes a pixel are 8 MB; a mask an object would be 1 GB"
