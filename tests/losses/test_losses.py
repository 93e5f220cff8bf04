"""The contract of every loss, and worked values of each."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from maskwright.errors import RecipeError
from maskwright.losses import LOSSES, build_loss, cross_entropy, dice_loss
from maskwright.recipe.loss import CrossEntropySpec, DiceSpec, PythonLossSpec
from maskwright.types import IGNORE, Categories, Category

CATEGORIES = Categories(tuple(Category(i, n) for i, n in enumerate("abc")), frozenset({"a"}))
SPECS = {
    CrossEntropySpec: [CrossEntropySpec(), CrossEntropySpec(label_smoothing=0.1)],
    DiceSpec: [DiceSpec(), DiceSpec(smooth=1e-3)],
    PythonLossSpec: [PythonLossSpec(target="test_losses:squared", arguments={"scale": 2.0})],
}


def squared(categories: Categories, scale: float):
    """Bring your own: squared error of the probabilities, for the test of `kind: python`."""

    def loss(logits, labels):
        known = labels != IGNORE
        truth = functional.one_hot(torch.where(known, labels, 0), len(categories)).permute(0, 3, 1, 2)
        return scale * (((logits.softmax(1) - truth) ** 2) * known[:, None]).sum() / max(int(known.sum()), 1)

    return loss


def every_loss():
    assert set(SPECS) == set(LOSSES), "a new loss needs an example here"
    return [pytest.param(spec, id=f"{spec.kind}-{i}") for i, spec in enumerate(s for k in SPECS for s in SPECS[k])]


def batch(seed=0, n=2, height=6, width=5):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(n, 3, height, width, generator=generator)
    labels = torch.randint(0, 3, (n, height, width), generator=generator)
    labels[:, 0] = IGNORE
    return logits.requires_grad_(), labels


def value(spec, logits, labels):
    return sum(build_loss([spec], CATEGORIES)(logits, labels).values())


def sure(labels, strength=20.0):
    return functional.one_hot(torch.where(labels == IGNORE, 0, labels), 3).permute(0, 3, 1, 2).float() * strength


@pytest.mark.parametrize("spec", every_loss())
def test_the_truth_scores_lower_than_anything_else(spec):
    _, labels = batch()
    best = value(spec, sure(labels, 4.0 if getattr(spec, "label_smoothing", 0) else 20.0), labels)
    for seed in range(5):
        assert best < value(spec, batch(seed)[0], labels)
    if not getattr(spec, "label_smoothing", 0):
        assert best.item() == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("spec", every_loss())
@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_the_gradient_is_finite_and_leads_down(spec, scale):
    logits, labels = batch()
    large = (logits * scale).detach().requires_grad_()
    before = value(spec, large, labels)
    before.backward()
    assert torch.isfinite(large.grad).all()
    if scale == 1.0:
        assert value(spec, large - 0.1 * large.grad, labels) < before


@pytest.mark.parametrize("spec", every_loss())
def test_ignored_pixels_change_nothing(spec):
    logits, labels = batch()
    changed = logits.detach().clone()
    changed[:, :, 0] = torch.tensor([50.0, -7.0, 3.0])[None, :, None]  # row 0 is ignored
    assert value(spec, changed, labels).item() == pytest.approx(value(spec, logits, labels).item(), rel=1e-6)
    value(spec, logits, labels).backward()
    assert (logits.grad[:, :, 0] == 0).all()


@pytest.mark.parametrize("spec", every_loss())
@pytest.mark.parametrize("size", [(1, 1), (3, 5)])
def test_all_ignored_is_zero_with_a_graph(spec, size):
    logits = torch.randn(1, 3, *size, requires_grad=True)
    found = value(spec, logits, torch.full((1, *size), IGNORE))
    assert found.item() == 0
    found.backward()
    assert (logits.grad == 0).all()


@pytest.mark.parametrize("spec", every_loss())
def test_half_precision_logits_give_full_precision_losses(spec):
    logits, labels = batch()
    found = value(spec, logits.to(torch.bfloat16), labels)
    assert found.dtype == torch.float32 or isinstance(spec, PythonLossSpec)
    assert found.item() == pytest.approx(value(spec, logits, labels).item(), rel=0.02)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_is_that_of_a_loop(smoothing):
    logits, labels = batch()
    log = np.log(torch.softmax(logits, 1).detach().double().numpy())
    total, count = 0.0, 0
    for n, y, x in np.argwhere(labels.numpy() != IGNORE):
        target = np.full(3, smoothing / 3)
        target[labels[n, y, x]] += 1 - smoothing
        total, count = total - float(target @ log[n, :, y, x]), count + 1
    assert cross_entropy(logits, labels, label_smoothing=smoothing).item() == pytest.approx(total / count, rel=1e-5)


@pytest.mark.parametrize("positions", [None, [1, 2], [2]])
def test_dice_is_that_of_a_loop(positions):
    logits, labels = batch()
    p, y = torch.softmax(logits, 1).detach().double().numpy(), labels.numpy()
    known, scores = y != IGNORE, []
    for c in positions or range(3):
        overlap = (p[:, c] * (y == c)).sum()
        scores.append((2 * overlap + 1) / ((p[:, c] * known).sum() + (y == c).sum() + 1))
    assert dice_loss(logits, labels, positions=positions).item() == pytest.approx(1 - np.mean(scores), rel=1e-5)


def test_dice_worked_by_hand():
    # two pixels, two categories, probabilities of category 1: 3/4 and 1/4; truth 1 and 0; s = 1
    # category 1: (2·3/4 + 1) / (1 + 1 + 1) = 5/6; category 0 the same by symmetry → 1 − 5/6
    logits = torch.tensor([[[[0.0, math.log(3)]], [[math.log(3), 0.0]]]])
    assert dice_loss(logits, torch.tensor([[[1, 0]]])).item() == pytest.approx(1 / 6)


def test_categories_absent_from_the_labels_take_no_part_in_dice():
    logits, _ = batch()
    labels = torch.zeros(2, 6, 5, dtype=torch.int64)
    assert dice_loss(logits, labels).item() == pytest.approx(dice_loss(logits, labels, positions=[0]).item())
    found = dice_loss(logits, labels, positions=[1, 2])
    assert found.item() == 0
    found.backward()


def test_the_recipe_s_left_out_categories_take_no_part_in_dice():
    logits, labels = batch()
    assert value(DiceSpec(), logits, labels) == dice_loss(logits, labels, positions=[1, 2])


def test_terms_are_weighted_and_named_apart():
    logits, labels = batch()
    specs = [CrossEntropySpec(weight=2), DiceSpec(weight=0), DiceSpec(weight=0.5), DiceSpec()]
    terms = build_loss(specs, CATEGORIES)(logits, labels)
    assert list(terms) == ["cross_entropy", "dice", "dice_2", "dice_3"]
    assert terms["cross_entropy"].item() == pytest.approx(2 * cross_entropy(logits, labels).item())
    assert terms["dice"].item() == 0
    assert terms["dice_2"].item() == pytest.approx(terms["dice_3"].item() / 2)


@pytest.mark.parametrize("target", ["no_such_package:x", "test_losses:nothing", "test_losses", ":x"])
def test_a_target_that_is_not_there_is_named(target):
    with pytest.raises(RecipeError, match="PYTHONPATH"):
        build_loss([PythonLossSpec(target=target)], CATEGORIES)
