"""Worked values of the losses of single pixels: cross-entropy and focal."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from maskwright.losses import cross_entropy, focal_loss
from maskwright.types import IGNORE

WEIGHTS = torch.tensor([0.5, 2.0, 3.0])


def batch(seed=0):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 3, (2, 6, 5), generator=generator)
    labels[:, 0] = IGNORE
    return torch.randn(2, 3, 6, 5, generator=generator), labels


def loop(logits, labels, of_pixel, weights):
    """Return Σ w_y · value / Σ w_y over the pixels that aren't ignored."""
    p, total, number = torch.softmax(logits, 1).double().numpy(), 0.0, 0.0
    for n, y, x in np.argwhere(labels.numpy() != IGNORE):
        true = labels[n, y, x]
        total, number = total + of_pixel(p[n, :, y, x], int(true)), number + float(weights[true])
    return total / number


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_cross_entropy_is_that_of_a_loop(smoothing, weights):
    logits, labels = batch()
    table = np.ones(3) if weights is None else weights.numpy()

    def of_pixel(p, true):
        target = np.full(3, smoothing / 3)
        target[true] += 1 - smoothing
        return -(table * target * np.log(p)).sum()

    found = cross_entropy(logits, labels, class_weights=weights, label_smoothing=smoothing)
    assert found.item() == pytest.approx(loop(logits, labels, of_pixel, table), rel=1e-5)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_cross_entropy_with_soft_labels_is_pytorch_s(smoothing, weights):
    logits, _ = batch()
    soft = torch.rand(2, 3, 6, 5).softmax(1)
    theirs = torch.nn.functional.cross_entropy(logits, soft, weight=weights, label_smoothing=smoothing, reduction="sum")
    number = soft.sum() if weights is None else (soft * weights[:, None, None]).sum()  # theirs divides by the pixels
    found = cross_entropy(logits, soft, class_weights=weights, label_smoothing=smoothing)
    assert found.item() == pytest.approx((theirs / number).item(), rel=1e-5)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0, 3.0])
@pytest.mark.parametrize("alpha", [1.0, 0.25, (0.1, 1.0, 2.0)])
@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_focal_is_that_of_a_loop(gamma, alpha, weights):
    logits, labels = batch()
    table = np.ones(3) if weights is None else weights.numpy()
    alphas = np.broadcast_to(alpha, 3)

    def of_pixel(p, true):
        return -table[true] * alphas[true] * (1 - p[true]) ** gamma * math.log(p[true])

    given = torch.tensor(alpha) if isinstance(alpha, tuple) else alpha
    found = focal_loss(logits, labels, gamma=gamma, alpha=given, class_weights=weights)
    assert found.item() == pytest.approx(loop(logits, labels, of_pixel, table), rel=1e-5)


def test_focal_worked_by_hand():
    # one pixel, p of its category ½: ¼ · (1 − ½)² · log 2
    found = focal_loss(torch.zeros(1, 2, 1, 1), torch.ones(1, 1, 1, dtype=torch.int64), alpha=0.25)
    assert found.item() == pytest.approx(0.25 * 0.25 * math.log(2))


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_focal_without_gamma_is_cross_entropy(weights):
    logits, labels = batch()
    found = focal_loss(logits, labels, gamma=0.0, class_weights=weights)
    assert found.item() == pytest.approx(cross_entropy(logits, labels, class_weights=weights).item(), rel=1e-6)
