"""Joined label and instance maps by hand, and by pairs of their values."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from maskwright.errors import DataError
from maskwright.metrics import panoptic_map

LABELS = np.array([[0, 0, 1, 1, 1, 2, 255]], np.uint8)
INSTANCES = np.array([[0, 9, 4, 5, 0, 4, 4]])


# categories 0 stuff, 1 and 2 things, n = 3: id = 1 + label + 3 * instance of things; instance 9 on stuff is not read
@pytest.mark.parametrize(
    ("loose", "ids", "categories", "crowd"),
    [
        ("crowd", [1, 1, 14, 17, 2, 15, 0], [0, 1, 1, 2, 1], [False, True, False, False, False]),
        ("void", [1, 1, 14, 17, 0, 15, 0], [0, 1, 2, 1], [False] * 4),
    ],
)
def test_by_hand(loose, ids, categories, crowd):
    found, segments = panoptic_map(LABELS, INSTANCES, 3, things=[1, 2], loose=loose)
    assert found.tolist() == [ids]
    assert segments.ids.tolist() == sorted({i for i in ids if i})
    assert segments.categories.tolist() == categories
    assert segments.crowd.tolist() == crowd


@given(
    arrays(np.uint8, (3, 5), elements=st.sampled_from([0, 1, 2, 255])),
    arrays(np.uint16, (3, 5), elements=st.sampled_from([0, 1, 2, 65_535])),
)
def test_a_segment_is_a_pair_of_category_and_instance(labels, instances):
    ids, segments = panoptic_map(labels, instances, 3, things=[2])
    pairs = {(c, i if c == 2 else 0) for c, i in zip(labels.flat, instances.flat, strict=True) if c != 255}
    assert len(segments) == len(pairs) == len(set(ids.flat) - {0})
    assert np.array_equal(ids == 0, labels == 255)
    of_id = dict(zip(segments.ids.tolist(), segments.categories.tolist(), strict=True))
    assert all(of_id[i] == c for i, c in zip(ids.flat, labels.flat, strict=True) if i)


@pytest.mark.parametrize("shape", [(0, 0), (1, 1)])
def test_small_and_ignored(shape):
    ids, segments = panoptic_map(np.full(shape, 255, np.uint8), np.zeros(shape, np.uint16), 3, things=[])
    assert (ids == 0).all()
    assert len(segments) == 0


@pytest.mark.parametrize(
    ("labels", "instances", "message"),
    [
        (LABELS, INSTANCES[:, 1:], r"one shape, got uint8 \(1, 7\) and int64 \(1, 6\)"),
        (LABELS.astype(int), INSTANCES, "got int64"),
        (LABELS, INSTANCES / 2, "and float64"),
        (LABELS + np.uint8(2), INSTANCES, r"labels 0\.\.2 or 255.*got labels \[3, 4\]"),
        (LABELS, INSTANCES - 1, "got instances -1 to 8"),
        (LABELS, INSTANCES + 2**30, r"instances 0\.\.715827881, got instances 1073741824 to"),
    ],
)
def test_maps_that_can_not_be_joined(labels, instances, message):
    with pytest.raises(DataError, match=message):
        panoptic_map(labels, instances, 3, things=[1, 2], where="a/b.png")
