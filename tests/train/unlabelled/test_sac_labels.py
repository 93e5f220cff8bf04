"""Class prior, thresholds, pseudo-labels and their loss against values by hand and a slow plain version."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from maskwright.train.unlabelled.sac.labels import class_thresholds, pseudo_labels
from maskwright.train.unlabelled.sac.loss import focal_pseudo_loss
from maskwright.train.unlabelled.sac.prior import ClassPrior
from maskwright.types import IGNORE


def drawn(seed, shape=(2, 4, 5, 7), sharp=3.0):
    """Return (N, C, H, W) probabilities and (N, H, W) validity."""
    rng = np.random.default_rng(seed)
    logits = torch.from_numpy(rng.normal(0, sharp, shape)).float()
    valid = torch.from_numpy(rng.random((shape[0], *shape[2:])) < 0.8)
    return logits.softmax(1), valid


def test_thresholds_have_the_public_codes_values():
    # ζ m (1 − exp(−χ / β)) with ζ .75, m .9, β .001: .675 · (1, 1 − e^-5, 1 − e^-1, 1 − e^-.3 = .2592 → .1749 → floor)
    found = class_thresholds(torch.full((1, 4), 0.9), torch.tensor([0.3, 5e-3, 1e-3, 3e-4]))
    assert found[0].tolist() == pytest.approx([0.675, 0.670452, 0.426681, 0.2], abs=1e-6)


def test_focal_weights_have_the_public_codes_values():
    prior = ClassPrior(3)
    prior.value.copy_(torch.tensor([0.3, 5e-3, 1e-3]))
    assert prior.focal_weights(3).tolist() == pytest.approx([0.343, 0.985075, 0.997003], abs=1e-6)
    assert prior.focal_weights(0).tolist() == [1, 1, 1]


def slow_prior(batches, momentum, start, categories):
    """Return χ after some batches, pixel by pixel."""
    value, seen = np.full(categories, start, np.float64), np.zeros(categories, bool)
    for probabilities, valid in batches:
        total, number, argmax = np.zeros(categories), 0, np.zeros(categories, bool)
        for n, y, x in np.ndindex(valid.shape):
            if valid[n, y, x]:
                pixel = probabilities[n, :, y, x]
                total, number = total + pixel, number + 1
                argmax[pixel.argmax()] = True
        for c in range(categories):
            if not number:
                continue
            if seen[c]:
                value[c] = momentum * value[c] + (1 - momentum) * total[c] / number
            elif argmax[c]:
                value[c], seen[c] = total[c] / number, True
    return value


@given(st.integers(0, 1000), st.sampled_from([0.0, 0.5, 0.99, 1.0]), st.booleans())
def test_the_prior_is_a_moving_mean_of_what_was_seen(seed, momentum, padded):
    batches = [drawn(seed + i) for i in range(3)]
    prior = ClassPrior(4, momentum=momentum, start=1e-3)
    for probabilities, valid in batches:
        prior.update(probabilities, None if padded else valid)
    plain = [(p.numpy(), np.ones(v.shape, bool) if padded else v.numpy()) for p, v in batches]
    assert prior.value.numpy() == pytest.approx(slow_prior(plain, momentum, 1e-3, 4), abs=1e-6)


def test_an_unseen_category_keeps_the_start_value_and_then_takes_what_is_found():
    prior = ClassPrior(2, momentum=0.9, start=1e-3)
    sure = torch.tensor([0.75, 0.25]).reshape(1, 2, 1, 1).expand(1, 2, 3, 5)
    for _ in range(2):
        prior.update(sure)
    assert prior.value.tolist() == pytest.approx([0.75, 1e-3])  # .25 of a category that is never the likeliest
    prior.update(sure.flip(1))
    assert prior.value.tolist() == pytest.approx([0.9 * 0.75 + 0.1 * 0.25, 0.75])
    prior.update(sure)  # seen once, it moves on, though it isn't predicted
    assert prior.value[1] == pytest.approx(0.9 * 0.75 + 0.1 * 0.25)


def test_a_batch_of_padding_moves_nothing():
    prior, (probabilities, valid) = ClassPrior(4), drawn(0)
    prior.update(probabilities, torch.zeros_like(valid))
    assert prior.value.tolist() == pytest.approx([1e-3] * 4)
    assert not prior.seen.any()


def test_the_prior_resumes():
    one, two = ClassPrior(4), ClassPrior(4)
    one.update(*drawn(0))
    two.load_state_dict(one.state_dict())
    for prior in (one, two):
        prior.update(*drawn(1))
    assert torch.equal(one.value, two.value)


def slow_labels(probabilities, valid, prior, upper, beta, floor):
    """Return labels, confidence and guesses by loops over the pixels."""
    count, categories, height, width = probabilities.shape
    labels = np.full((count, height, width), IGNORE)
    confidence = np.zeros((count, height, width))
    guess = labels.copy()
    for n in range(count):
        peaks = np.zeros(categories)
        for y, x in np.ndindex(height, width):
            pixel = probabilities[n, :, y, x]
            if valid[n, y, x] and pixel.max() > 0:
                peaks[pixel.argmax()] = max(peaks[pixel.argmax()], pixel.max())
        for y, x in np.ndindex(height, width):
            pixel = probabilities[n, :, y, x]
            if not valid[n, y, x] or pixel.max() == 0:
                continue
            c, confidence[n, y, x] = pixel.argmax(), pixel.max()
            guess[n, y, x] = c
            if pixel[c] > max(upper * peaks[c] * (1 - math.exp(-prior[c] / beta)), floor):
                labels[n, y, x] = c
    return labels, confidence, guess


@given(st.integers(0, 1000), st.sampled_from([0.3, 1.0, 4.0]), st.sampled_from([0.0, 0.2, 0.5]))
def test_pseudo_labels_equal_the_plain_version(seed, sharp, floor):
    probabilities, valid = drawn(seed, sharp=sharp)
    probabilities[0, :, 0] = 0  # nothing is known of a row
    prior = torch.tensor([0.3, 1e-3, 3e-4, 0.0])
    found = pseudo_labels(probabilities, valid, prior, upper=0.75, beta=1e-3, floor=floor)
    plain = slow_labels(probabilities.numpy(), valid.numpy(), prior.tolist(), 0.75, 1e-3, floor)
    assert np.array_equal(found.labels, plain[0])
    assert found.confidence.numpy() == pytest.approx(plain[1])
    assert np.array_equal(found.guess, plain[2])
    assert np.array_equal(found.kept, plain[0] != IGNORE)


def test_a_pixel_at_its_threshold_is_not_kept():
    half = torch.full((1, 2, 1, 2), 0.5)
    found = pseudo_labels(half, torch.ones(1, 1, 2, dtype=torch.bool), torch.ones(2), upper=1.0, floor=0.2)
    assert (found.labels == IGNORE).all()  # each is as sure as the surest: not above it
    assert (found.guess == 0).all()


def test_nothing_is_kept_of_padding():
    probabilities, valid = drawn(3)
    found = pseudo_labels(probabilities, torch.zeros_like(valid), torch.ones(4))
    assert (found.labels == IGNORE).all()
    assert not found.confidence.any()
    assert (found.guess == IGNORE).all()


def loss_case():
    logits = torch.zeros(1, 2, 1, 4, requires_grad=True)  # p = 1/2 for both: −log p = ln 2 at every pixel
    labels = torch.tensor([[[0, 1, IGNORE, IGNORE]]])
    weights, confidence = torch.tensor([0.343, 1.0]), torch.tensor([[[0.8, 0.5, 0.9, 0.0]]])
    valid = torch.tensor([[[True, True, True, False]]])
    return logits, labels, weights, confidence, valid


@pytest.mark.parametrize(("denominator", "number"), [("all", 4), ("valid", 3), ("kept", 2)])
def test_the_loss_by_hand(denominator, number):
    case = loss_case()
    expected = (0.8 * 0.343 + 0.5 * 1) * math.log(2) / number
    assert focal_pseudo_loss(*case, denominator=denominator).item() == pytest.approx(expected)
    without = focal_pseudo_loss(*case[:3], None, case[4], denominator=denominator)
    assert without.item() == pytest.approx((0.343 + 1) * math.log(2) / number)


@pytest.mark.parametrize("denominator", ["all", "valid", "kept"])
def test_a_step_without_labels_has_a_loss_of_zero_with_a_gradient(denominator):
    logits, labels, weights, confidence, valid = loss_case()
    labels, valid = torch.full_like(labels, IGNORE), torch.zeros_like(valid)
    loss = focal_pseudo_loss(logits, labels, weights, confidence, valid, denominator=denominator)
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(logits.grad, torch.zeros_like(logits))


def test_ignored_pixels_change_nothing():
    logits, labels, weights, confidence, valid = loss_case()
    focal_pseudo_loss(logits, labels, weights, confidence, valid).backward()
    assert not logits.grad[..., 2:].any()
    assert logits.grad[..., :2].all()


def test_the_loss_is_least_where_the_student_agrees():
    _, labels, weights, confidence, valid = loss_case()
    agreeing = torch.zeros(1, 2, 1, 4)
    agreeing[0, 0, 0, 0] = agreeing[0, 1, 0, 1] = 50
    assert float(focal_pseudo_loss(agreeing, labels, weights, confidence, valid)) < 1e-6
