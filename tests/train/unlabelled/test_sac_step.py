"""One step of SAC against the whole of it written out in loops, with a network of one 1×1 convolution."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from test_sac_labels import slow_labels
from torch import nn

from maskwright.losses import build_levels
from maskwright.recipe import Recipe
from maskwright.recipe.data import DataSpec
from maskwright.recipe.mixing import ClassMixSpec
from maskwright.recipe.sac import SacSpec
from maskwright.recipe.train import TrainSpec
from maskwright.recipe.unlabelled import MaskedSpec, RampSpec
from maskwright.train.batch import Batch, PoolBatch
from maskwright.train.unlabelled.sac.step import SacStep
from maskwright.types import IGNORE, Category

SIZE = (6, 8)


def recipe():
    items = tuple(Category(i, f"c{i}", values=(i,)) for i in range(3))
    return Recipe(data=DataSpec(root=".", categories=items, channels=1), train=TrainSpec(steps=10))


def step_of(**fields):
    """Return the step of a method with one view, and of four stated; its network has three outputs."""
    torch.manual_seed(0)
    network = nn.Conv2d(1, 3, 1)
    nn.init.normal_(network.weight, std=2)
    spec = SacSpec(**{"views": 1, "ramp": None, "watch_steps": 0, **fields})
    loss = build_levels((), recipe().loss, recipe().data.to_categories())
    return SacStep(network, loss, recipe(), spec, momentum=0)


def batch_of(views=1, seed=0, drawn=None):
    rng = np.random.default_rng(seed)
    clean, noisy = (torch.from_numpy(rng.normal(0, 1, (2, views, 1, *SIZE))).float() for _ in range(2))
    valid = torch.from_numpy(rng.random((2, views, *SIZE)) < 0.8)
    matrices = torch.eye(3)[:2].expand(2, views, 2, 3)
    images = torch.from_numpy(rng.normal(0, 1, (2, 1, *SIZE))).float()
    labels = torch.from_numpy(rng.integers(0, 3, (2, *SIZE)))
    labels[0, 0] = IGNORE
    return Batch(images, labels, {}, pool=PoolBatch(clean, noisy, valid, matrices, drawn or {}))


def probabilities_of(step, images):
    """Return (N, C, H, W) of the network, in NumPy."""
    weight, bias = (p.detach().double().numpy() for p in step.network.parameters())
    logits = weight[:, 0, 0, 0][:, None, None] * images.double().numpy() + bias[:, None, None]
    shares = np.exp(logits - logits.max(1, keepdims=True))
    return shares / shares.sum(1, keepdims=True)


def slow_target(step, images, labels, confidence, prior, divisor):
    total, shares = 0.0, probabilities_of(step, images)
    for n, y, x in zip(*np.nonzero(labels != IGNORE), strict=True):
        c = labels[n, y, x]
        total -= confidence[n, y, x] * (1 - prior[c]) ** 3 * math.log(shares[n, c, y, x])
    return total / divisor


def expected_guess(step, batch):
    """Return labels, confidence and χ after the first step: χ is the mean probability over the valid pixels."""
    clean, valid = batch.pool.clean[:, 0], batch.pool.valid[:, 0].numpy()
    told = probabilities_of(step, clean)
    prior = np.array([told[:, c][valid].mean() for c in range(3)])
    assert {int(c) for c in told.argmax(1)[valid]} == {0, 1, 2}  # all were seen
    labels, confidence, _ = slow_labels(told, valid, prior, 0.75, 1e-3, 0.2)
    return labels, confidence, prior


def test_a_step_is_what_its_parts_come_to():
    step, batch = step_of(), batch_of()
    found = step.losses(batch, 0.5)
    labels, confidence, prior = expected_guess(step, batch)
    assert 0 < (labels != IGNORE).sum() < batch.pool.valid.sum()
    expected = slow_target(step, batch.pool.noisy[:, 0], labels, confidence, prior, labels.size)
    assert found["target"].item() == pytest.approx(5 * expected, rel=1e-4)
    assert step.prior.value.numpy() == pytest.approx(prior, rel=1e-5)
    assert set(found) == {"cross_entropy", "dice", "target"}


@pytest.mark.parametrize(("progress", "factor"), [(0.0, 0.0), (0.05, 0.5), (0.1, 1.0), (0.9, 1.0)])
def test_the_weight_rises(progress, factor):
    whole = step_of().losses(batch_of(), progress)["target"].item()
    ramped = step_of(ramp=RampSpec(shape="linear", until=0.1)).losses(batch_of(), progress)["target"].item()
    assert ramped == pytest.approx(factor * whole)


def test_pasted_categories_bring_their_labels():
    # image 0 of the pool gets category 1 of labelled crop 0 (its three categories, half of them: two, 1 and 2); image 1
    # gets nothing
    order = torch.tensor([[[2.0, 0.0, 1.0]], [[np.inf] * 3]])
    step, batch = step_of(mix=ClassMixSpec()), batch_of(drawn={"order": order})
    found = step.losses(batch, 0.5)["target"].item()
    labels, confidence, prior = expected_guess(step, batch)
    truth = batch.labels.numpy()
    pasted = np.zeros_like(labels, bool)
    pasted[0] = np.isin(truth[0], (1, 2))
    images = torch.where(torch.from_numpy(pasted)[:, None], batch.images, batch.pool.noisy[:, 0])
    expected = slow_target(
        step, images, np.where(pasted, truth, labels), np.where(pasted, 1, confidence), prior, labels.size
    )
    assert found == pytest.approx(5 * expected, rel=1e-4)


def test_hidden_blocks_learn_the_labels_of_the_whole():
    hidden = torch.tensor([[[True, False], [False, True]], [[False, False], [False, False]]])
    step, batch = step_of(masked=MaskedSpec(block=4, weight=0.5)), batch_of(drawn={"masked": hidden})
    found = step.losses(batch, 0.5)["masked"].item()
    labels, confidence, prior = expected_guess(step, batch)
    images = batch.pool.noisy[:, 0].clone()
    images[0, :, :4, :4] = images[0, :, 4:6, 4:8] = 0  # 6 × 8 in blocks of 4: the lower ones are cut off
    expected = slow_target(step, images, labels, confidence, prior, labels.size)
    assert found == pytest.approx(5 * 0.5 * expected, rel=1e-4)


def test_the_teacher_labels_before_it_moves_for_the_first_time_and_then_in_its_turn():
    step = step_of(teacher_every=2, teacher_momentum=0.9)
    weights = []
    for number in range(5):
        step.losses(batch_of(seed=number), 0.5)
        step.losses(batch_of(seed=number), 0.5)  # another part of the same step: nothing moves twice
        weights.append((step.network.weight.detach().clone(), step.teacher.network.weight.clone()))
        with torch.no_grad():
            step.network.weight += 1
        step.after_update()
    own, teacher = zip(*weights, strict=True)
    # the network's weight is w, w + 1, … at steps 0, 1, …; the teacher's moves at steps 0, 2 and 4, before it labels
    expected = [own[0], own[0], torch.lerp(own[0], own[2], 0.1)]
    expected += [expected[2], torch.lerp(expected[2], own[4], 0.1)]
    assert all(torch.allclose(a, b) for a, b in zip(teacher, expected, strict=True))


def test_half_the_trust_is_half_the_weight():
    step = step_of()
    step.kept.trust.mul_(0.5)
    whole, half = (one.losses(batch_of(), 0.5) for one in (step_of(), step))
    assert half["target"].item() == pytest.approx(whole["target"].item() / 2)
    assert half["dice"].item() == whole["dice"].item()


def test_nothing_known_of_a_batch():
    step, batch = step_of(), batch_of()
    batch = batch._replace(pool=batch.pool._replace(valid=torch.zeros_like(batch.pool.valid)))
    found = step.losses(batch, 0.5)
    torch.stack(list(found.values())).sum().backward()
    assert found["target"].item() == 0
    assert step.network.weight.grad.isfinite().all()
    assert step.prior.value.tolist() == pytest.approx([1e-3] * 3)


def test_the_step_goes_on_from_its_state():
    one, two = step_of(teacher_every=2), step_of(teacher_every=2)
    for number in range(3):
        one.losses(batch_of(seed=number), 0.5)
        one.after_update()
    two.load_state_dict(one.state_dict())
    for step in (one, two):
        with torch.no_grad():
            step.network.weight.mul_(1.1)
    assert one.losses(batch_of(seed=9), 0.5)["target"].item() == two.losses(batch_of(seed=9), 0.5)["target"].item()
    assert one.steps == two.steps == 3
