"""Strokes: what they cover, one over the other, and what is refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.path import Path

from maskwright.errors import UsageError
from maskwright.review.drawing import draw, painted
from maskwright.review.reply import Stroke, read_reply

coordinate = st.floats(-5, 25, width=32)
points = st.lists(st.tuples(coordinate, coordinate), min_size=1, max_size=5)


def blank(height=15, width=20):
    return np.zeros((height, width), np.uint8)


@given(points, st.floats(0.25, 6, width=32))
def test_a_brush_covers_what_is_within_its_radius(line, radius):
    found = draw(blank(), [Stroke(tool="brush", category=1, points=line, radius=radius)], 2)
    y, x = np.mgrid[:15, :20] + 0.5
    nearest = np.full(found.shape, np.inf)
    for a, b in zip(line, line[1:] or line, strict=False):
        for t in np.linspace(0, 1, 201):  # many points of the line, each a disc
            nearest = np.minimum(nearest, np.hypot(x - a[0] - t * (b[0] - a[0]), y - a[1] - t * (b[1] - a[1])))
    sure = abs(nearest - radius) > 0.05
    assert np.array_equal(found[sure] == 1, (nearest <= radius)[sure])


@given(st.lists(st.tuples(coordinate, coordinate), min_size=3, max_size=3))
def test_a_triangle_covers_what_lies_inside(corners):
    found = draw(blank(), [Stroke(tool="polygon", category=1, points=corners)], 2)
    centres = np.stack(np.mgrid[:15, :20][::-1], -1).reshape(-1, 2) + 0.5
    (ax, ay), (bx, by), (cx, cy) = corners
    turn = np.sign((bx - ax) * (cy - ay) - (by - ay) * (cx - ax))
    if turn == 0:
        return
    inside = Path(corners).contains_points(centres, radius=-1e-9).reshape(15, 20)
    # the outline belongs to it and is as wide as a pixel: surely inside is 1 px away from every side, surely outside 2
    sides = [np.subtract(q, p) for p, q in zip(corners, [*corners[1:], corners[0]], strict=True)]
    away = [
        np.hypot(*(centres - p - np.clip((centres - p) @ s / max(s @ s, 1e-12), 0, 1)[:, None] * s).T)
        for p, s in zip(corners, sides, strict=True)
    ]
    near = np.min(away, 0).reshape(15, 20)
    assert (found[inside & (near > 1)] == 1).all()
    assert (found[~inside & (near > 2)] == 0).all()


def test_later_strokes_lie_on_top_and_ignored_is_a_stroke_too():
    square = [(2, 2), (10, 2), (10, 10), (2, 10)]
    strokes = [
        Stroke(tool="polygon", category=1, points=square),
        Stroke(tool="brush", category=255, points=[(5.5, 5.5)], radius=0.5),
        Stroke(tool="brush", category=0, points=[(7.5, 7.5)], radius=0.5),
    ]
    found = draw(blank(), strokes, 2)
    assert (found[5, 5], found[7, 7], found[4, 4], found[14, 14]) == (255, 0, 1, 0)


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (1, 400)])
def test_any_size_and_nothing_outside(size):
    far = [(-1e6, -1e6), (1e6, -1e6), (1e6, 1e6), (-1e6, 1e6)]
    assert (draw(blank(*size), [Stroke(tool="polygon", category=1, points=far)], 2) == 1).all()
    away = Stroke(tool="brush", category=1, points=[(1e6, 1e6), (1e6 + 5, 1e6)], radius=3)
    assert not draw(blank(*size), [away], 2).any()


def test_a_category_that_there_is_not():
    with pytest.raises(UsageError, match="a category from 0 to 1"):
        draw(blank(), [Stroke(tool="brush", category=2, points=[(1, 1)])], 2)


def test_what_would_take_minutes_is_refused_at_once():
    """20 000 pieces, each of which covers all of 3000 × 4000 pixels."""
    mad = Stroke(tool="brush", category=1, points=[(k % 2 * 3000, 0) for k in range(20_000)], radius=10_000)
    with pytest.raises(UsageError, match="strokes that cover"):
        draw(blank(3000, 4000), [mad], 2)
    long = Stroke(tool="brush", category=1, points=[(k / 10, 5) for k in range(20_000)], radius=60)
    assert draw(blank(20, 2000), [long], 2).all()


def test_what_strokes_cover_is_told_from_what_they_change():
    found, covered = painted(blank(3, 5), [Stroke(tool="brush", category=0, points=[(1.5, 1.5)], radius=0.5)], 2)
    assert not found.any()
    assert covered.sum() == 1 and covered[1, 1]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"item": "../../x"}, "item"),
        ({"by": "policy:keep_finer"}, "a person's name"),
        ({"by": " \n\t "}, "a person's name"),
        ({"by": "A" * 81}, "by"),
        ({"id": "<script>"}, "id"),
        ({"answer": "DROP TABLE"}, "answer"),
        ({"base": 7}, "base"),
        ({"region": [1, 2, 3]}, "region"),
        ({"strokes": [{"tool": "knife", "category": 1, "points": [[1, 1]]}]}, "tool"),
        ({"strokes": [{"tool": "brush", "category": 1, "points": [["NaN", 1]]}]}, "points"),
        ({"strokes": [{"tool": "brush", "category": 1, "points": [[float("inf"), 1]]}]}, "points"),
        ({"strokes": [{"tool": "brush", "category": 1, "points": []}]}, "points"),
        ({"strokes": [{"tool": "brush", "category": 1, "points": [[1, 1]], "radius": 1e9}]}, "radius"),
        ({"file": "/etc/passwd"}, "Extra inputs"),
        ({"time": "<b>"}, "time"),
    ],
)
def test_answers_are_checked(change, said):
    whole = {"item": "0" * 16, "answer": "a", "by": "Anna"}
    read_reply(whole)
    with pytest.raises(UsageError, match=said):
        read_reply(whole | change)


@pytest.mark.parametrize("value", [None, [], "text", 3, {}])
def test_what_is_no_answer(value):
    with pytest.raises(UsageError, match="an answer"):
        read_reply(value)


def test_a_name_is_one_line_of_what_can_be_printed():
    whole = {"item": "0" * 16, "answer": "a", "by": " Anna\n\u202e  Maria\x00 "}
    assert read_reply(whole).by == "Anna Maria"
