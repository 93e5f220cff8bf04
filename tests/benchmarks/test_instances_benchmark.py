"""The rival and the figures of `python -m benchmarks instances`, worked by hand."""

from __future__ import annotations

import numpy as np
import pytest
from benchmarks.instances import _figures, shed


def discs(*middles, radius=8, size=(40, 60)):
    y, x = np.mgrid[: size[0], : size[1]]
    ids = np.zeros(size, np.int32)
    for number, (row, column) in enumerate(middles, 1):
        ids[(y - row) ** 2 + (x - column) ** 2 <= radius**2] = number
    return ids


def test_the_rival_parts_discs_that_touch():
    ids = discs((15, 14), (15, 28), (30, 50))
    found = shed(ids > 0, 5)
    assert found.max() == 3
    pairs = [np.bincount(found[ids == number]).max() / (ids == number).sum() for number in (1, 2, 3)]
    assert min(pairs) > 0.9
    assert shed(ids > 0, 40).max() == 2  # peaks of one component alone are compared


def test_f1_and_pq_by_hand():
    """Two images of one true disc: found, and missed beside a made-up one: F1 is 2 · 1 / (1 + 1 + 1 + 1), PQ ½."""
    true = [discs((15, 14)), discs((15, 14))]
    objects = [(true[0], np.array([0.9])), (discs((15, 44)), np.array([0.4]))]
    figures, ones = _figures(objects, true), np.ones((1, 2))
    assert figures["f1_50"](ones)[0] == pytest.approx(0.5)
    assert figures["f1_90"](ones)[0] == pytest.approx(0.5)
    assert figures["pq"](ones)[0] == pytest.approx(0.5)
    assert figures["f1_50"](np.array([[2.0, 0.0]]))[0] == pytest.approx(1)
