"""KL divergence and squared error of soft labels, against PyTorch, scikit-learn and plain loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from maskwright.losses import cross_entropy, kl_divergence, squared_error
from maskwright.types import IGNORE


def soft_batch(seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, 3, 5, 4, generator=generator, dtype=torch.float64).requires_grad_()
    labels = torch.randn(2, 3, 5, 4, generator=generator, dtype=torch.float64).mul(2).softmax(1)
    return logits, labels


def test_kl_is_that_of_pytorch():
    logits, labels = soft_batch()
    expected = functional.kl_div(logits.log_softmax(1), labels, reduction="sum") / (2 * 5 * 4)
    torch.testing.assert_close(kl_divergence(logits, labels), expected)


def test_kl_has_the_gradient_of_cross_entropy_and_is_zero_at_the_labels():
    logits, labels = soft_batch()
    (one,) = torch.autograd.grad(kl_divergence(logits, labels), logits)
    (other,) = torch.autograd.grad(cross_entropy(logits, labels), logits)
    torch.testing.assert_close(one, other)
    assert kl_divergence(labels.log(), labels).item() == pytest.approx(0, abs=1e-12)


def test_kl_of_hard_labels_is_cross_entropy():
    logits, _ = soft_batch()
    labels = torch.randint(0, 3, (2, 5, 4), generator=torch.Generator().manual_seed(1))
    labels[0, 0] = IGNORE
    torch.testing.assert_close(kl_divergence(logits, labels), cross_entropy(logits, labels))
    weights = torch.tensor([0.5, 1.0, 3.0])
    torch.testing.assert_close(
        kl_divergence(logits, labels, class_weights=weights), cross_entropy(logits, labels, class_weights=weights)
    )


def test_squared_error_is_the_brier_score():
    logits, _ = soft_batch()
    labels = torch.randint(0, 3, (2, 5, 4), generator=torch.Generator().manual_seed(2))
    labels[1, :, 1] = IGNORE
    p, total, pixels = logits.detach().softmax(1).numpy(), 0.0, 0
    for (n, y, x), label in np.ndenumerate(labels.numpy()):
        if label != IGNORE:
            truth = np.eye(3)[label]
            total, pixels = total + ((p[n, :, y, x] - truth) ** 2).sum(), pixels + 1
    assert squared_error(logits, labels).item() == pytest.approx(total / pixels)


def test_pixels_without_shares_change_nothing():
    logits, labels = soft_batch()
    labels[:, :, 0] = 0
    for loss in (kl_divergence, squared_error):
        torch.testing.assert_close(loss(logits, labels), loss(logits[:, :, 1:], labels[:, :, 1:]))
        nothing = loss(logits, torch.zeros_like(labels))
        assert nothing.item() == 0 and torch.autograd.grad(nothing, logits)[0].abs().sum() == 0


def test_squared_error_of_soft_labels_by_hand():
    # p = (.5, .5), t = (.75, .25): 2 · .25² = .125
    labels = torch.tensor([0.75, 0.25]).reshape(1, 2, 1, 1)
    assert squared_error(torch.zeros(1, 2, 1, 1), labels).item() == pytest.approx(0.125)
