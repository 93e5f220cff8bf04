"""What `python -m benchmarks objectness` counts, by hand."""

from __future__ import annotations

import argparse

import numpy as np
import pytest
from benchmarks.objectness import by_objectness, by_thresholds, to_row


def objects(*rows):
    """Return (true, objectness, ln area, spread) of objects."""
    true, judged, area, spread = zip(*rows, strict=True)
    return np.array(true), np.array(judged, float), np.array(area, float), np.array(spread, float)


@pytest.fixture
def seeds():
    """Two images of one seed: ten true objects, and four false ones: large ones with little spread, unlike nothing."""
    true = [(True, 0.9 - 0.01 * k, 3 + 0.1 * k, 0.2) for k in range(10)]
    false = [(False, 0.1, 3.55, 0.2), (False, 0.2, 3.45, 0.2), (False, 0.3, 1.0, 0.2), (False, 0.4, 3.5, 0.9)]
    return [[objects(*true[:5], *false[:2]), objects(*true[5:], *false[2:])]]


def test_what_no_threshold_can_tell_objectness_can(seeds):
    ones = np.ones((1, 2))
    for loss in (0.0, 0.1):
        assert by_objectness(seeds).false_at(loss)(ones)[0] == 0
    # a least area of e³ and a largest spread of .2 take two of the false ones; the others lie among the true ones
    assert by_thresholds(seeds).false_at(0.0)(ones)[0] == 1
    assert by_thresholds(seeds).all_true.tolist() == [5, 5]


def test_more_may_be_lost_where_it_pays(seeds):
    """Losing half of the true objects, those below e^3.5, takes the false one at 3.45 with them."""
    plain = by_thresholds(seeds)
    ones = np.ones((1, 2))
    assert plain.false_at(0.5)(ones)[0] == 0.5
    assert plain.false_at(0.4)(ones)[0] == 1


def test_weights_are_those_of_images(seeds):
    plain = by_thresholds(seeds)
    assert plain.false_at(0.0)(np.array([[1.0, 0.0], [0.0, 1.0]])).tolist() == [2, 0]


def test_the_row_says_what_is_left(seeds):
    row = to_row(by_thresholds(seeds), by_objectness(seeds), 0.0, argparse.Namespace(seeds=[0]))
    assert row.figure == 0 and row.other == 1
    assert row.comparison.value == -1
    assert row.details["false objects an image without a threshold"] == 2
    assert row.details["true objects an image"] == 5
