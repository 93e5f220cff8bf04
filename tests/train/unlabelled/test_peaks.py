"""Peaks of categories: counts are whole numbers, however many pixels there are."""

from __future__ import annotations

import pytest
import torch

from maskwright.recipe.unlabelled import AdaptiveThresholdSpec
from maskwright.train.unlabelled import peaks
from maskwright.train.unlabelled.peaks import Peaks


def test_more_pixels_than_a_float_can_count(monkeypatch):
    """A float32 counts to 2²⁴, which 16 crops of 1024² are: it is asked of the type, and the peak is what it was."""
    seen = []

    def summed(counted):
        seen.append(counted.dtype)
        return counted

    monkeypatch.setattr(peaks, "summed", summed)
    found = Peaks(2, AdaptiveThresholdSpec(percentile=0.9))
    found.update(torch.tensor([0.9, 0.1]).view(1, 2, 1, 1).expand(1, 2, 3, 5), torch.ones(1, 3, 5, dtype=torch.bool))
    assert seen == [torch.int64]
    assert float(found.value[0]) == pytest.approx(0.9, abs=0.01)
