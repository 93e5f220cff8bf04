"""Source 1's post-processing: worked by hand, and against the plain SciPy and scikit-image chain."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from benchmarks import postprocess as plain
from maskwright.errors import DataError
from maskwright.postprocess import select, staged
from maskwright.recipe.steps import StagedSpec, StageSpec

STAGE = StageSpec(drop=0.1, high=0.35, lower=0.25, ratio=0.4)
levels = st.sampled_from([0, 0.005, 0.04, 0.05, 0.08, 0.1, 0.2, 0.25, 0.3, 0.31, 0.32, 0.35, 0.36, 0.9, 1])
shapes = array_shapes(min_dims=2, max_dims=2, max_side=14)
foregrounds = arrays(np.float32, shapes, elements=levels)


def picture(*rows):
    return np.array([[int(c) for c in row] for row in rows], np.float32) / 10


def only(stage=STAGE, **changes):
    """One stage, nothing but the selection."""
    return StagedSpec(**{"stages": (stage,), "closing": 1, "edges": "none", "pixels": 1, "most": 1, **changes})


def test_selection_by_hand():
    foreground = picture(
        "404000004",
        "040002200",  # the cross of five fours touches over corners: kept; 2 is not above lower
        "404000000",
        "000000000",
        "430000033",  # 4 3: one of two above .9 * .35 = .315 is a share of .5; 3 3: none above .35
        "000004330",  # one of three above .315: a share of a third, below .4
    )
    expected = np.zeros(foreground.shape, int)
    expected[[0, 0, 1, 2, 2], [0, 2, 1, 0, 2]] = 1
    expected[0, 8] = 1
    expected[4, :2] = 1
    expected[5, 5:8] = expected[4, 7:] = 0
    assert select(foreground, STAGE).tolist() == expected.tolist()


def test_drop_and_high_and_ratio_are_exact():
    stage = StageSpec(drop=0.1, high=0.35, lower=0.0, ratio=0.5)
    # drop keeps the value itself; high and lower don't: 0.1 is in the component, 0.35 is no peak
    assert select(np.float32([[0.36, 0.1, 0, 0.35, 0.35]]), stage).tolist() == [[1, 1, 0, 0, 0]]
    assert select(np.float32([[0.36, 0.1, 0.1]]), stage).tolist() == [[0, 0, 0]]  # one of three strong
    assert select(np.float32([[0.36, 0.316, 0.1, 0.1]]), stage).tolist() == [[1, 1, 1, 1]]  # two of four are enough


@settings(deadline=None, max_examples=150)
@given(foregrounds, st.sampled_from(StagedSpec().stages))
def test_selection_is_that_of_scipy(foreground, stage):
    assert np.array_equal(select(foreground, stage), plain.plain_select(foreground, stage))


@settings(deadline=None, max_examples=250)
@given(
    foregrounds,
    st.sampled_from(["none", "each", "first"]),
    st.sampled_from(["fill_first", "drop_first"]),
    st.sampled_from([1, 3, 9]),
    st.integers(1, 12),
    st.integers(0, 60),
    st.sampled_from([0.5, 1]),
)
def test_the_whole_is_that_of_scipy_and_scikit_image(foreground, edges, order, closing, pixels, enough, most):
    spec = StagedSpec(edges=edges, order=order, closing=closing, pixels=pixels, enough=enough, most=most)
    assert np.array_equal(staged(foreground, spec), plain.plain(foreground, spec)[0])


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("edges", ["none", "each", "first"])
@pytest.mark.parametrize("case", [plain.median_case, plain.worst_case])
def test_blobs_at_all_edges(seed, edges, case):
    foreground = case((90, 130), seed)
    for spec in (StagedSpec(edges=edges, pixels=20), StagedSpec(edges=edges, pixels=20, most=1, enough=10**6)):
        assert np.array_equal(staged(foreground, spec), plain.plain(foreground, spec)[0])


def test_the_worst_case_takes_four_stages():
    assert plain.plain(plain.worst_case((190, 260)), StagedSpec())[1] == 4


def test_the_table_of_the_report():
    # high .35 .30 .20 .10; lower .25 .10 .05 .01; drop .10 .10 .05 .01; ratio .40 .20 .20 .20
    table = [(s.high, s.lower, s.drop, s.ratio) for s in StagedSpec().stages]
    assert table == [(0.35, 0.25, 0.1, 0.4), (0.3, 0.1, 0.1, 0.2), (0.2, 0.05, 0.05, 0.2), (0.1, 0.01, 0.01, 0.2)]


@pytest.mark.parametrize(("value", "found"), [(0.36, True), (0.31, True), (0.22, True), (0.11, True), (0.09, False)])
def test_each_stage_finds_what_the_one_before_misses(value, found):
    # a square of 40 × 40 = 1600 pixels, above the high threshold of stage 1, 2, 3, 4 and of none
    foreground = np.zeros((100, 100), np.float32)
    foreground[30:70, 30:70] = value
    expected = np.zeros((100, 100), int)
    expected[30:70, 30:70] = found
    assert np.array_equal(staged(foreground), expected)


def test_after_the_last_stage_its_result_stands():
    # 20 × 20 = 400 pixels, below 1000 in every stage: the code of the solution runs out of stages here
    foreground = np.zeros((100, 100), np.float32)
    foreground[30:50, 30:50] = 0.9
    assert staged(foreground).sum() == 400
    foreground[70:75, 70:75] = 0.15  # passes the last stage alone; 25 pixels are dropped
    assert staged(foreground).sum() == 400
    assert staged(foreground, StagedSpec(pixels=25)).sum() == 425


def test_more_than_half_is_nothing():
    foreground = np.zeros((40, 100), np.float32)
    foreground[:, :50] = 0.9  # exactly half
    assert staged(foreground).sum() == 2000
    foreground[0, 50] = 0.9
    assert staged(foreground).sum() == 0


def test_closing_sees_ones_outside_of_the_image():
    # a pixel 2 from the left edge: dilated by 9 × 9 to columns 0..6, the erosion keeps what lies within 4 of those
    # columns and of the outside: columns 0..2
    foreground = np.zeros((30, 30), np.float32)
    foreground[15, 2] = 0.9
    assert np.argwhere(staged(foreground, only(closing=9))).tolist() == [[15, 0], [15, 1], [15, 2]]


def test_a_gap_of_eight_is_closed_one_of_nine_is_not():
    foreground = np.zeros((40, 60), np.float32)
    foreground[15:25, 10:20] = foreground[15:25, 28:38] = 0.9
    assert staged(foreground, only(closing=9)).sum() == 10 * 28
    foreground[15:25, 28:38] = 0
    foreground[15:25, 29:39] = 0.9
    assert staged(foreground, only(closing=9)).sum() == 200


@pytest.mark.parametrize(("order", "left"), [("fill_first", 25), ("drop_first", 0)])
def test_a_ring_is_measured_before_or_after_it_is_filled(order, left):
    foreground = np.zeros((20, 20), np.float32)
    foreground[5:10, 5:10] = 0.9
    foreground[6:9, 6:9] = 0  # 16 pixels around 9
    assert staged(foreground, only(order=order, pixels=20)).sum() == left


@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (1, 1), (1, 9), (3, 5)])
@pytest.mark.parametrize("value", [0, 0.2, 1])
def test_images_with_nothing_and_all(shape, value):
    foreground = np.full(shape, value, np.float32)
    before = foreground.copy()
    assert staged(foreground).shape == shape
    assert not staged(foreground).any()  # full is more than half, and too small
    assert np.array_equal(staged(foreground, only()), np.full(shape, value > 0.35))
    assert np.array_equal(foreground, before)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_every_precision(dtype):
    foreground = plain.median_case((60, 80)).astype(dtype)
    assert np.array_equal(staged(foreground), plain.plain(foreground, StagedSpec())[0])


@pytest.mark.parametrize(
    ("value", "message"), [(np.nan, "1 values that aren't finite"), (1.5, "to 1.5"), (-3, "from -3"), (np.inf, "inf")]
)
def test_what_is_no_probability(value, message):
    foreground = np.zeros((4, 4), np.float32)
    foreground[1, 2] = value
    for function in (staged, lambda f: select(f, STAGE)):
        with pytest.raises(DataError, match=message):
            function(foreground)
