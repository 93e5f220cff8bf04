"""The figures of `python -m benchmarks adaptation`, worked by hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from benchmarks.adaptation import ROWS, SOURCE, UPPER, to_row
from benchmarks.adaptation_sets import SETS

DOMAINS: Any = SimpleNamespace(
    groups=["a", "b"], source=SimpleNamespace(categories=SimpleNamespace(names=("it",)))
)  # what rows ask of the domains


def tables(right):
    """One seed and two images of one class of 8 pixels, of which so many are right and the others nothing."""
    return np.array([[[[right, 8 - right]]] * 2])


def test_the_gain_and_its_share_of_the_gap():
    done = dict.fromkeys(ROWS, tables(4)) | {SOURCE: tables(2), UPPER: tables(8)}
    row = to_row("SAC", done, DOMAINS, (5, 5), [0], SETS["camvid"])
    assert row.figure == pytest.approx(0.5) and row.comparison.value == pytest.approx(0.25)
    assert row.details["share of the gap"]["value"] == pytest.approx((0.5 - 0.25) / (1 - 0.25))
    assert "share of the gap" not in to_row(UPPER, done, DOMAINS, (5, 5), [0], SETS["camvid"]).details
    assert row.details["IoU of each category"] == {"it": pytest.approx(0.5)}


def test_there_is_no_share_of_a_gap_that_is_not_shown():
    done = dict.fromkeys(ROWS, tables(4)) | {SOURCE: tables(2), UPPER: tables(2)}
    assert "share of the gap" not in to_row("SAC", done, DOMAINS, (5, 5), [0], SETS["camvid"]).details
