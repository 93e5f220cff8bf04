"""Kervadec's boundary loss worked by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from maskwright.data.distances import signed_distances
from maskwright.losses import kervadec_boundary
from maskwright.types import IGNORE


def test_worked_by_hand():
    # label 0 0 1 1 0: D of category 1 is 2 1 0 0 1, of category 0 it is −1 0 1 1 0; p = ½ everywhere:
    # category 1: ½ · 4, category 0: ½ · 1; mean over 2 · 5
    labels = torch.tensor([[[0, 0, 1, 1, 0]]])
    distances = torch.from_numpy(signed_distances(labels[0].numpy().astype(np.uint8), 2))[None]
    logits = torch.zeros(1, 2, 1, 5)
    assert kervadec_boundary(logits, labels, distances).item() == pytest.approx(2.5 / 10)
    only = torch.tensor([0.0, 1])
    assert kervadec_boundary(logits, labels, distances, class_weights=only).item() == pytest.approx(2 / 5)
    # the last pixel ignored (its neighbour is at the border of what is known): 1 · ½ less, 4 pixels
    labels[..., -1] = IGNORE
    assert kervadec_boundary(logits, labels, distances, class_weights=only).item() == pytest.approx(1.5 / 4)


def test_the_minimum_is_negative():
    label = np.zeros((9, 9), np.uint8)
    label[2:7, 2:7] = 1
    distances = torch.from_numpy(signed_distances(label, 2))[None]
    logits = torch.nn.functional.one_hot(torch.from_numpy(label).long(), 2).permute(2, 0, 1)[None] * 50.0
    found = kervadec_boundary(logits, torch.from_numpy(label).long()[None], distances)
    # by hand: category 1 inside: 16 edge pixels 0, 8 of −1, 1 of −2: −10; category 0 inside: 24 pixels beside the
    # square (20 of distance 1 are its neighbours: 0, 4 corners 1 − √2), 32 at the border: 1 − 2 beside its sides
    # (20), 1 − √5 beside them (8), 1 − √8 in the corners (4)
    outside = 4 * (1 - np.sqrt(2)) - 20 + 8 * (1 - np.sqrt(5)) + 4 * (1 - np.sqrt(8))
    assert found.item() == pytest.approx((outside - 10) / (2 * 81), rel=1e-5)


def test_nothing_to_learn_without_a_boundary():
    logits = torch.randn(1, 2, 3, 3, requires_grad=True)
    labels = torch.ones(1, 3, 3, dtype=torch.int64)
    distances = torch.from_numpy(signed_distances(labels[0].numpy().astype(np.uint8), 2))[None]
    found = kervadec_boundary(logits, labels, distances)
    found.backward()
    assert found.item() == 0
    assert (logits.grad == 0).all()
