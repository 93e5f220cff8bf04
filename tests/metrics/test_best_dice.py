"""SBD against its loops over pairs, and by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.distance import dice as dissimilarity

from maskwright.metrics import count_difference, segment_overlaps, symmetric_best_dice

id_maps = arrays(np.uint16, (4, 6), elements=st.integers(0, 4))


def best_dice(one, other):
    """Return what CVPPP calls BD, with SciPy's Dice dissimilarity of each pair of masks."""
    found = [
        max(
            (1 - dissimilarity((one == i).ravel(), (other == j).ravel()) for j in np.unique(other[other > 0])),
            default=0,
        )
        for i in np.unique(one[one > 0])
    ]
    return float(np.mean(found)) if found else 0.0


@given(id_maps, id_maps)
def test_sbd_is_the_lower_mean_of_the_best_of_each(truth, prediction):
    table = segment_overlaps(truth, prediction)
    if not truth.any() and not prediction.any():
        assert math.isnan(symmetric_best_dice(table))
        assert symmetric_best_dice(table, empty=1) == 1
    else:
        expected = min(best_dice(truth, prediction), best_dice(prediction, truth))
        assert symmetric_best_dice(table) == pytest.approx(expected, abs=1e-9)
    assert symmetric_best_dice(segment_overlaps(prediction, truth), empty=1) == symmetric_best_dice(table, empty=1)
    assert count_difference(table) == len(set(prediction.flat) - {0}) - len(set(truth.flat) - {0})


def test_by_hand():
    # truth 1 1 1 1 2 2, prediction 1 1 2 2 3 0. True 1: best 2*2/(4+2) = 2/3; true 2: 2*1/(2+1) = 2/3: mean 2/3.
    # Predicted 1 and 2: 2/3 each, 3: 2/3: mean 2/3. With 3 elsewhere (on nothing) the mean is (2/3 + 2/3 + 0) / 3
    assert symmetric_best_dice(
        segment_overlaps(np.array([[1, 1, 1, 1, 2, 2, 0]]), np.array([[1, 1, 2, 2, 3, 0, 0]]))
    ) == pytest.approx(2 / 3)
    table = segment_overlaps(np.array([[1, 1, 1, 1, 0, 0]]), np.array([[1, 1, 2, 2, 3, 0]]))
    assert symmetric_best_dice(table) == pytest.approx(4 / 9)
    assert count_difference(table) == 2


@pytest.mark.parametrize("swap", [False, True])
def test_one_side_empty(swap):
    maps = [np.zeros((3, 5), int), np.ones((3, 5), int)]
    table = segment_overlaps(*(reversed(maps) if swap else maps))
    assert symmetric_best_dice(table) == 0
    assert count_difference(table) == (-1 if swap else 1)
