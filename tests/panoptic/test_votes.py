"""Votes of instances against a loop over them; ties, void and nothing worked by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from maskwright.errors import DataError
from maskwright.panoptic import count_votes, vote_labels

labels = arrays(np.uint8, (5, 6), elements=st.sampled_from([0, 1, 2, 7, 255]))
ids = arrays(np.int32, (5, 6), elements=st.sampled_from([0, 1, 4, 70000]))


@settings(deadline=None, max_examples=100)
@given(labels, ids, st.sampled_from([None, [1, 2], [7]]))
def test_votes_like_a_bincount_of_each_instance(label, instances, among):
    expected = label.copy()
    for number in np.unique(instances[instances > 0]):
        own = label[instances == number]
        allowed = own[(own != 255) & np.isin(own, range(255) if among is None else among)]
        if len(allowed):
            expected[instances == number] = np.bincount(allowed).argmax()
    assert np.array_equal(vote_labels(label, instances, among=among), expected)


def test_ties_void_and_nothing():
    label = np.uint8([[2, 1, 255, 255, 2]])
    assert vote_labels(label, np.int32([[3, 3, 3, 0, 0]])).tolist() == [[1, 1, 1, 255, 2]]  # one vote each: the lower
    assert vote_labels(label, np.int32([[0, 0, 3, 3, 0]])).tolist() == [[2, 1, 255, 255, 2]]  # only void: stays
    assert vote_labels(label, np.zeros((1, 5), np.int32)).tolist() == label.tolist()
    votes = count_votes(label, np.int32([[9, 9, 9, 8, 9]]))
    assert votes.ids.tolist() == [8, 9] and votes.counts[1, [1, 2, 255]].tolist() == [1, 2, 1]
    assert votes.winners().tolist() == [255, 2] and votes.winners([1]).tolist() == [255, 1]


def test_wrong_maps():
    with pytest.raises(DataError, match="of one shape"):
        vote_labels(np.zeros((2, 2), np.uint8), np.zeros((2, 3), np.int32))
    with pytest.raises(DataError, match="uint8 labels"):
        vote_labels(np.zeros((2, 2), np.int64), np.zeros((2, 2), np.int32))
