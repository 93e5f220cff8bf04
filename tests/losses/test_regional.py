"""Worked values of the ratios of region sums: Dice, IoU, Tversky."""

from __future__ import annotations

import math

import pytest
import torch

from maskwright.losses import dice_loss, iou_loss, tversky_loss
from maskwright.types import IGNORE

# two pixels, two categories, probabilities of category 1: 3/4 and 1/4; truth 1 and 0
PAIR = torch.tensor([[[[0.0, math.log(3)]], [[math.log(3), 0.0]]]])
TRUTH = torch.tensor([[[1, 0]]])


def batch(seed=0):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 3, (2, 6, 5), generator=generator)
    labels[:, 0] = IGNORE
    labels[0] = torch.where(labels[0] == 2, 1, labels[0])  # image 0 is without category 2
    return torch.randn(2, 3, 6, 5, generator=generator), labels


def loop(logits, labels, ratio, *, per_image=False, absent="skip", weights=(1.0, 1.0, 1.0)):
    """Return the weighted mean of ratio(p, y) of flat arrays of known pixels, over categories (and images)."""
    p, y = torch.softmax(logits, 1).double().numpy(), labels.numpy()
    parts = [(p[n], y[n]) for n in range(2)] if per_image else [(p.transpose(1, 0, 2, 3), y)]
    found, number = 0.0, 0.0
    for probabilities, truth in parts:
        known = truth != IGNORE
        for c, weight in enumerate(weights):
            true = (truth == c)[known].astype(float)
            if absent == "count" or true.any():
                found, number = found + weight * ratio(probabilities[c][known], true), number + weight
    return found / number


def dice_ratio(p, y, smooth=1.0, power=1):
    return 1 - (2 * (p * y).sum() + smooth) / ((p**power).sum() + (y**power).sum() + smooth)


@pytest.mark.parametrize("weights", [(1.0, 1.0, 1.0), (0.0, 1.0, 1.0), (0.0, 0.0, 1.0), (0.5, 1.0, 3.0)])
@pytest.mark.parametrize("per_image", [False, True])
@pytest.mark.parametrize("absent", ["skip", "count"])
def test_dice_is_that_of_a_loop(weights, per_image, absent):
    logits, labels = batch()
    expected = loop(logits, labels, dice_ratio, per_image=per_image, absent=absent, weights=weights)
    options = {"class_weights": torch.tensor(weights), "per_image": per_image, "absent": absent}
    assert dice_loss(logits, labels, **options).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("per_image", [False, True])
def test_squared_dice_is_that_of_a_loop(per_image):
    logits, labels = batch()
    expected = loop(logits, labels, lambda p, y: dice_ratio(p, y, 0.1, 2), per_image=per_image)
    assert dice_loss(logits, labels, per_image=per_image, squared=True, smooth=0.1).item() == pytest.approx(
        expected, rel=1e-5
    )


@pytest.mark.parametrize("squared", [False, True])
def test_dice_of_two_categories_is_that_of_a_loop(squared):
    logits, labels = batch()
    labels = torch.where(labels == 2, 0, labels)
    expected = loop(logits[:, :2], labels, lambda p, y: dice_ratio(p, y, 1, 1 + squared), weights=(1.0, 1.0))
    assert dice_loss(logits[:, :2], labels, squared=squared).item() == pytest.approx(expected, rel=1e-5)


def test_dice_worked_by_hand():
    # s = 1; category 1: (2·3/4 + 1) / (1 + 1 + 1) = 5/6; category 0 the same by symmetry → 1 − 5/6
    assert dice_loss(PAIR, TRUTH).item() == pytest.approx(1 / 6)
    # squares: (2·3/4 + 1) / (9/16 + 1/16 + 1 + 1) = 2.5 / 2.625
    assert dice_loss(PAIR, TRUTH, squared=True).item() == pytest.approx(1 - 2.5 / 2.625)


def test_dice_of_one_ratio_worked_by_hand():
    # both categories: overlap 3/4 + 3/4, Σ p = Σ y = 2: 1 − (2·3/2 + 1) / (2 + 2 + 1) = 1/5
    assert dice_loss(PAIR, TRUTH, one_ratio=True).item() == pytest.approx(1 / 5)
    # category 1 alone by weights: (2·3/4 + 1) / 3
    assert dice_loss(PAIR, TRUTH, one_ratio=True, class_weights=torch.tensor([0.0, 1])).item() == pytest.approx(1 / 6)


@pytest.mark.parametrize(
    ("alpha", "beta", "exponent"), [(0.3, 0.7, 1.0), (0.3, 0.7, 0.75), (1.0, 0.0, 1.0), (0.5, 2.0, 2.0)]
)
@pytest.mark.parametrize("per_image", [False, True])
def test_tversky_is_that_of_a_loop(alpha, beta, exponent, per_image):
    def ratio(p, y):
        hit = (p * y).sum()
        wrong = alpha * (p * (1 - y)).sum() + beta * ((1 - p) * y).sum()
        return (1 - (hit + 0.5) / (hit + wrong + 0.5)) ** exponent

    logits, labels = batch()
    found = tversky_loss(logits, labels, alpha=alpha, beta=beta, exponent=exponent, smooth=0.5, per_image=per_image)
    assert found.item() == pytest.approx(loop(logits, labels, ratio, per_image=per_image), rel=1e-5)


def test_tversky_worked_by_hand():
    # TP 3/4, FP 1/4, FN 1/4, α 0.2, β 0.6: T = 0.75 / (0.75 + 0.05 + 0.15) without smoothing; both categories alike
    options = {"alpha": 0.2, "beta": 0.6, "smooth": 1e-9}
    assert tversky_loss(PAIR, TRUTH, **options).item() == pytest.approx(0.2 / 0.95)
    assert tversky_loss(PAIR, TRUTH, **options, exponent=0.75).item() == pytest.approx((0.2 / 0.95) ** 0.75)


def test_iou_is_the_overlap_over_the_union():
    logits, labels = batch()

    def ratio(p, y):
        return 1 - ((p * y).sum() + 1) / ((p + y - p * y).sum() + 1)

    assert iou_loss(logits, labels).item() == pytest.approx(loop(logits, labels, ratio), rel=1e-5)
    # by hand: (3/4) / (1 + 1 − 3/4)
    assert iou_loss(PAIR, TRUTH, smooth=1e-9).item() == pytest.approx(1 - 0.75 / 1.25)


def test_tversky_of_halves_is_dice():
    logits, labels = batch()
    half = tversky_loss(logits, labels, alpha=0.5, beta=0.5, smooth=0.5)
    assert half.item() == pytest.approx(dice_loss(logits, labels, smooth=1.0).item(), rel=1e-6)


@pytest.mark.parametrize("loss", [dice_loss, iou_loss, tversky_loss])
def test_categories_absent_from_the_labels_take_no_part(loss):
    logits, _ = batch()
    labels = torch.zeros(2, 6, 5, dtype=torch.int64)
    only = loss(logits, labels, class_weights=torch.tensor([1.0, 0, 0]))
    assert loss(logits, labels).item() == pytest.approx(only.item())
    logits.requires_grad_()
    found = loss(logits, labels, class_weights=torch.tensor([0.0, 1, 1]))
    assert found.item() == 0
    found.backward()


def test_the_focal_tversky_root_has_a_finite_gradient_at_the_truth():
    logits = torch.zeros(1, 2, 2, 2)
    logits[:, 1] = 200
    logits.requires_grad_()
    tversky_loss(logits, torch.ones(1, 2, 2, dtype=torch.int64), exponent=0.5).backward()
    assert torch.isfinite(logits.grad).all()
