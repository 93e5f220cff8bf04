"""The segment overlap table against scikit-learn's contingency matrix and plain masks; maps and masks agree."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics.cluster import contingency_matrix

from maskwright.errors import DataError
from maskwright.metrics import Segments, mask_overlaps, segment_overlaps, segments

LARGEST = 2**31 - 1
id_maps = arrays(np.int64, (4, 6), elements=st.sampled_from([0, 0, 1, 2, 70_000, LARGEST]))
voids = arrays(bool, (4, 6))


def dense(table):
    shared = np.zeros((len(table.truth_ids), len(table.prediction_ids)), np.int64)
    shared[table.truth, table.prediction] = table.pixels
    return shared


def same(one, other):
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in vars(one))


def by_masks(truth, prediction, void):
    """Return what the table should hold, pixel mask by pixel mask."""
    t_ids, p_ids = np.unique(truth[~void & (truth > 0)]), np.unique(prediction[prediction > 0])
    shared = [[((truth == t) & ~void & (prediction == p)).sum() for p in p_ids] for t in t_ids]
    return t_ids, p_ids, np.array(shared, np.int64).reshape(len(t_ids), len(p_ids))


@given(id_maps, id_maps, voids)
def test_table_is_that_of_masks(truth, prediction, void):
    table = segment_overlaps(truth, prediction, void=void)
    t_ids, p_ids, shared = by_masks(truth, prediction, void)
    assert np.array_equal(table.truth_ids, t_ids)
    assert np.array_equal(table.prediction_ids, p_ids)
    assert np.array_equal(dense(table), shared)
    assert (table.pixels > 0).all()
    assert table.truth_area.tolist() == [((truth == t) & ~void).sum() for t in t_ids]
    assert table.prediction_area.tolist() == [(prediction == p).sum() for p in p_ids]
    assert table.on_zero.tolist() == [((prediction == p) & (truth == 0) & ~void).sum() for p in p_ids]
    assert table.on_void.tolist() == [((prediction == p) & void).sum() for p in p_ids]


@pytest.mark.parametrize("block", [7, 100, 1 << 18])
@pytest.mark.parametrize("limit", [1, 64, 1 << 20])  # pairs are sorted, or counted in a full table
@pytest.mark.parametrize("factors", [segments._FACTORS, ()])  # ids are hashed, or sorted
@pytest.mark.parametrize("largest", [5, 300, 2**24, LARGEST])
def test_table_is_scikit_learns_contingency_matrix(monkeypatch, block, limit, factors, largest):
    monkeypatch.setattr(segments, "_BLOCK", block)
    monkeypatch.setattr(segments, "_TABLE", limit)
    monkeypatch.setattr(segments, "_FACTORS", factors)
    truth, prediction = np.random.default_rng(largest).integers(1, largest, (2, 23, 31), endpoint=True)
    prediction[:12] = 4
    table = segment_overlaps(truth.astype(np.uint32), prediction)
    assert np.array_equal(dense(table), contingency_matrix(truth.ravel(), prediction.ravel()))


@given(id_maps, id_maps, voids)
def test_masks_that_do_not_overlap_give_the_table_of_their_map(truth, prediction, void):
    of_map = segment_overlaps(truth, prediction, void=void)
    predicted = np.array([prediction == i for i in of_map.prediction_ids], bool).reshape(-1, *truth.shape)
    true = np.array([truth == i for i in of_map.truth_ids], bool).reshape(-1, *truth.shape)
    for given_truth, ids in ((truth, of_map.truth_ids), (true, np.arange(1, len(true) + 1))):
        table = mask_overlaps(given_truth, predicted, void=void)
        assert np.array_equal(table.truth_ids, ids)
        assert table.prediction_ids.tolist() == list(range(1, len(predicted) + 1))
        assert np.array_equal(dense(table), dense(of_map))
        for name in ("truth_area", "prediction_area", "on_zero", "on_void"):
            assert np.array_equal(getattr(table, name), getattr(of_map, name)), name


def test_masks_that_overlap_by_hand():
    # truth 1 1 1 0, masks 1 1 0 0 and 0 1 1 1 and an empty one; the second pixel is void
    masks = np.array([[[1, 1, 0, 0]], [[0, 1, 1, 1]], [[0, 0, 0, 0]]], bool)
    table = mask_overlaps(np.array([[9, 9, 9, 0]]), masks, void=np.array([[False, True, False, False]]))
    assert table.truth_ids.tolist() == [9]
    assert table.truth_area.tolist() == [2]
    assert table.prediction_area.tolist() == [2, 3, 0]
    assert dense(table).tolist() == [[1, 1, 0]]
    assert table.on_zero.tolist() == [0, 1, 0]
    assert table.on_void.tolist() == [1, 1, 0]


def test_true_masks_that_overlap():
    truth = np.array([[[1, 1, 0]], [[0, 1, 1]]], bool)
    table = mask_overlaps(truth, np.array([[[1, 1, 1]]], bool))
    assert table.truth_area.tolist() == [2, 2]
    assert dense(table).tolist() == [[2], [2]]
    assert table.on_zero.tolist() == [0]


def test_seventy_thousand_instances():
    truth = np.arange(1, 70_001, dtype=np.uint32).reshape(200, 350).repeat(2, 1)
    table = segment_overlaps(truth, np.roll(truth, 1, 1))
    # each of two pixels; one stays, one goes to the right neighbour, the last of a row to its first
    assert len(table.pixels) == 140_000
    assert (table.pixels == 1).all()
    assert (table.truth_area == 2).all()
    assert table.truth_ids[-1] == 70_000


@pytest.mark.parametrize("shape", [(0, 0), (1, 1), (3, 5)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.uint32, np.int64, np.uint64])
def test_maps_without_segments(shape, dtype):
    table = segment_overlaps(np.zeros(shape, dtype), np.zeros(shape, dtype))
    assert all(not len(getattr(table, name)) for name in vars(table))
    assert same(table, mask_overlaps(np.zeros(shape, dtype), np.zeros((0, *shape), bool)))


def test_one_pixel_and_all_void():
    one = np.array([[LARGEST]])
    assert segment_overlaps(one, one).pixels.tolist() == [1]
    table = segment_overlaps(one, one, void=np.array([[True]]))
    assert (table.truth_ids.tolist(), table.pixels.tolist(), table.on_void.tolist()) == ([], [], [1])


def test_views_that_are_not_contiguous():
    drawn = np.random.default_rng(0).integers(0, 9, (2, 40, 60))
    truth, prediction = drawn[0, ::2, ::-1], drawn[1, 20:, :]
    assert same(segment_overlaps(truth, prediction), segment_overlaps(truth.copy(), prediction.copy()))


@pytest.mark.parametrize(
    ("truth", "prediction", "message"),
    [
        (np.zeros((2, 3), int), np.zeros((3, 2), int), r"one shape.*got int64 \(2, 3\) and int64 \(3, 2\)"),
        (np.zeros((2, 3)), np.zeros((2, 3), int), r"got float64 \(2, 3\)"),
        (np.zeros((2, 3), bool), np.zeros((2, 3), int), r"got bool"),
        (np.array([[-1, 5]]), np.zeros((1, 2), int), r"0 to 2147483647, got -1 to 5 in the truth"),
        (np.zeros((1, 2), int), np.array([[0, 2**31]]), r"got 0 to 2147483648 in the prediction"),
        (np.zeros((1, 2), np.uint64), np.array([[0, 2**64 - 1]], np.uint64), r"in the prediction"),
    ],
)
def test_maps_that_can_not_be_compared(truth, prediction, message):
    with pytest.raises(DataError, match=message) as caught:
        segment_overlaps(truth, prediction, where="a/b.png")
    assert "where: a/b.png" in str(caught.value)


@pytest.mark.parametrize(
    ("truth", "masks", "void", "message"),
    [
        (np.zeros((2, 3), int), np.zeros((1, 3, 2), bool), None, r"masks \(K, 2, 3\), got bool \(1, 3, 2\)"),
        (np.zeros((2, 3), int), np.zeros((1, 2, 3), int), None, r"got int64 \(1, 2, 3\)"),
        (np.zeros((1, 2, 3), int), np.zeros((1, 2, 3), bool), None, r"got int64 \(1, 2, 3\)"),
        (np.zeros((2, 3)), np.zeros((1, 2, 3), bool), None, r"integer type.*got float64"),
        (np.zeros((2, 3), int), np.zeros((1, 2, 3), bool), np.zeros((3, 2), bool), r"void bool \(3, 2\)"),
        (np.full((2, 3), -4), np.zeros((1, 2, 3), bool), None, r"got -4 to -4 in the truth"),
    ],
)
def test_masks_that_can_not_be_compared(truth, masks, void, message):
    with pytest.raises(DataError, match=message):
        mask_overlaps(truth, masks, void=void)


@pytest.mark.parametrize("ids", [[1, 1], [0], [-3], [2**31]])
def test_ids_of_no_segment(ids):
    with pytest.raises(DataError, match="distinct segment ids from 1 to 2147483647"):
        Segments.of(ids, 0)


def test_segments_of_sequences():
    made = Segments.of([3, 1], [0, 2], crowd=[True, False], scores=[0.5, 1])
    assert (made.ids.tolist(), made.categories.tolist(), made.crowd.tolist()) == ([3, 1], [0, 2], [True, False])
    assert np.isnan(Segments.of([3], 0).scores).all()
    assert len(Segments.of([], 0)) == 0
