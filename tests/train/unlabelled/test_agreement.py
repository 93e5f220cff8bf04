"""How far a student is from a teacher's labels, against loops over single pixels."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from maskwright.train.unlabelled.agreement import Guess, disagreement, hard_labels, known_guess
from maskwright.types import IGNORE

N, C, H, W = 2, 3, 4, 5
LOSSES = ("cross_entropy", "soft", "mse", "dice", "cross_entropy_dice")


@pytest.fixture
def case():
    """Logits, a teacher's probabilities, and which pixels are valid."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(N, C, H, W, generator=generator)
    probabilities = (2 * torch.randn(N, C, H, W, generator=generator)).softmax(1)
    return logits, probabilities, torch.rand(N, H, W, generator=generator) < 0.8


def softmax(values):
    raised = [math.exp(v) for v in values]
    return [v / sum(raised) for v in raised]


def plain_total(logits, probabilities, valid, threshold, loss):
    """Return the sum over kept pixels, how many are valid and how many kept, pixel by pixel."""
    total, inside, kept = 0.0, 0, 0
    for n in range(N):
        for y in range(H):
            for x in range(W):
                if not valid[n, y, x]:
                    continue
                inside += 1
                told = [float(probabilities[n, c, y, x]) for c in range(C)]
                if max(told) < threshold:
                    continue
                kept += 1
                own = softmax([float(logits[n, c, y, x]) for c in range(C)])
                if loss == "cross_entropy":
                    total -= math.log(own[told.index(max(told))])
                elif loss == "soft":
                    total -= sum(t * math.log(o) for t, o in zip(told, own, strict=True))
                else:
                    total += sum((t - o) ** 2 for t, o in zip(told, own, strict=True)) / C
    return total, inside, kept


@pytest.mark.parametrize("loss", ["cross_entropy", "soft", "mse"])
@pytest.mark.parametrize("threshold", [0.0, 0.8])
def test_pixelwise_losses_with_each_denominator(case, loss, threshold):
    logits, probabilities, valid = case
    guess, *_ = Guess.of(probabilities, valid, threshold=threshold)
    total, inside, kept = plain_total(logits, probabilities, valid, threshold, loss)
    assert kept < inside or threshold == 0
    for denominator, number in {"valid": inside, "kept": kept, "all": N * H * W}.items():
        found = disagreement(logits, guess, loss=loss, denominator=denominator)
        assert float(found) == pytest.approx(total / number, rel=1e-5)


def test_dice_is_that_of_the_medical_variant(case):
    """1 − (2 Σ p·y + 1e-5) / (Σ p² + Σ y² + 1e-5) over kept pixels, the mean over all categories."""
    logits, probabilities, valid = case
    guess, confidence, _ = Guess.of(probabilities, valid, threshold=0.8)
    kept = (valid & (confidence >= 0.8)).numpy()
    own, labels = logits.softmax(1).numpy(), probabilities.argmax(1).numpy()
    terms = []
    for c in range(C):
        p, y = own[:, c][kept].astype(float), (labels == c)[kept].astype(float)
        terms.append(1 - (2 * (p * y).sum() + 1e-5) / ((p * p).sum() + (y * y).sum() + 1e-5))
    found = float(disagreement(logits, guess, loss="dice"))
    assert found == pytest.approx(np.mean(terms), rel=1e-5)
    both = disagreement(logits, guess, loss="cross_entropy_dice")
    assert float(both) == pytest.approx((found + float(disagreement(logits, guess, loss="cross_entropy"))) / 2)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("denominator", ["valid", "kept", "all"])
@pytest.mark.parametrize("nothing", ["valid", "kept"])
def test_no_pixel_counts(case, loss, denominator, nothing):
    logits, probabilities, valid = case
    logits.requires_grad_()
    if nothing == "valid":
        guess, *_ = Guess.of(probabilities, torch.zeros_like(valid), threshold=0.0)
    else:
        guess, *_ = Guess.of(probabilities, valid, threshold=0.999999)
    found = disagreement(logits, guess, loss=loss, denominator=denominator)
    found.backward()
    assert float(found.detach()) == 0
    assert torch.equal(logits.grad, torch.zeros_like(logits))


@pytest.mark.parametrize("loss", LOSSES)
def test_what_is_not_valid_changes_nothing(case, loss):
    logits, probabilities, valid = case
    other = torch.where(valid[:, None], logits, 50.0)
    guess, *_ = Guess.of(probabilities, valid, threshold=0.5)
    first, second = (disagreement(one, guess, loss=loss) for one in (logits, other))
    assert float(first) == pytest.approx(float(second))


def test_one_weight_an_image(case):
    """DACS: an image weighs the share of its valid pixels that reach the threshold, at every valid pixel."""
    _, probabilities, valid = case
    guess, confidence, _ = Guess.of(probabilities, valid, threshold=0.8, weighting="image")
    for n in range(N):
        inside = [(y, x) for y in range(H) for x in range(W) if valid[n, y, x]]
        share = sum(float(confidence[n, y, x]) >= 0.8 for y, x in inside) / len(inside)
        for y in range(H):
            for x in range(W):
                assert float(guess.weights[n, y, x]) == pytest.approx(share if (y, x) in inside else 0)


def test_two_categories_reach_one_half_whatever_is_said():
    """The trap of binary tasks: a threshold up to .5 keeps all pixels, and a high one the sure background alone."""
    foreground = torch.linspace(0, 1, 11).reshape(1, 1, 11)
    probabilities = torch.stack([1 - foreground, foreground], 1)
    valid = torch.ones(1, 1, 11, dtype=torch.bool)
    assert Guess.of(probabilities, valid, threshold=0.5)[0].weights.sum() == 11
    assert Guess.of(probabilities, valid, threshold=0.95)[0].weights.sum() == 2  # 0 and 1 themselves


def test_boxes_are_pasted_with_labels_weights_and_what_is_not_valid(case):
    _, probabilities, valid = case
    guess, *_ = Guess.of(probabilities, valid, threshold=0.6)
    mask = torch.zeros(N, H, W, dtype=torch.bool)
    mask[0, 1:3, 2:5] = True
    found = guess.pasted(mask, guess.rolled())
    for n in range(N):
        for y in range(H):
            for x in range(W):
                source = (n - 1) % N if n == 0 and 1 <= y < 3 and 2 <= x < 5 else n
                assert int(found.labels[n, y, x]) == int(guess.labels[source, y, x])
                assert float(found.weights[n, y, x]) == float(guess.weights[source, y, x])
                assert torch.equal(found.probabilities[n, :, y, x], probabilities[source, :, y, x])
    without = guess.without(mask)
    assert (without.labels[mask] == IGNORE).all()
    assert (without.weights[mask] == 0).all()
    assert torch.equal(without.labels[~mask], guess.labels[~mask])


def test_labels_that_are_certain():
    labels = torch.tensor([[[0, 2, IGNORE]]])
    guess = known_guess(labels, 3)
    assert guess.weights.tolist() == [[[1, 1, 0]]]
    assert guess.probabilities.tolist() == [[[[1, 0, 0]], [[0, 0, 0]], [[0, 1, 0]]]]
    shares = torch.tensor([[[[0.25, 0.0]], [[0.75, 0.0]]]])
    assert hard_labels(shares).tolist() == [[[1, IGNORE]]]
    assert hard_labels(labels) is labels
