"""How the crops that are learned from were predicted: the IoU curves of the training part."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from maskwright.metrics import Counts, overlap_table, pooled_iou
from maskwright.recipe import Recipe, apply_settings
from maskwright.recipe.data import DataSpec
from maskwright.train.memory import Parts
from maskwright.train.module import SegmentationModule
from maskwright.train.steps import TrainedOn
from maskwright.types import IGNORE, Categories, Category


def drawn(seed, count=2, categories=3, side=16):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, categories, (count, side, side), generator=generator)
    labels[:, :3] = IGNORE
    return torch.randn(count, categories, side, side, generator=generator), labels


def test_every_second_pixel_is_counted_as_metrics_count_it():
    found, plain = TrainedOn(), np.zeros((3, 3), np.int64)
    for seed in (0, 1):
        logits, labels = drawn(seed)
        found.add(logits, labels)
        for own, said in zip(labels.numpy()[:, ::2, ::2], logits.argmax(1).numpy()[:, ::2, ::2], strict=True):
            plain += overlap_table(own.astype(np.uint8), said.astype(np.uint8), 3)[:, :3]
    assert found.take().tolist() == plain.tolist()
    assert found.take() is None


def test_shares_count_as_the_category_that_has_the_most_and_none_as_ignored():
    logits, labels = drawn(2)
    shares = torch.zeros(2, 3, 16, 16)
    for category in range(3):
        shares[:, category] = torch.where(labels == category, 0.7, 0.15) * (labels != IGNORE)
    hard, soft = TrainedOn(), TrainedOn()
    hard.add(logits, labels)
    soft.add(logits, shares)
    assert soft.take().tolist() == hard.take().tolist()


def test_labels_are_thinned_out_to_coarser_logits():
    logits, _ = drawn(3, side=8)
    labels = torch.full((2, 16, 16), IGNORE)
    labels[:, 1::4, 1::4] = 1  # every second of the pixels that logits at half the size stand for
    found = TrainedOn()
    found.add(logits, labels)
    assert found.take().sum() == 2 * 4 * 4


def test_scores_are_pooled_and_leave_out_what_the_metric_leaves_out():
    logits, labels = drawn(4)
    step = SimpleNamespace(predictor=torch.nn.Identity(), trained_on=TrainedOn())
    categories = Categories(tuple(Category(i, f"c{i}") for i in range(3)), left_out=frozenset({"c0"}))
    module = SegmentationModule(step, apply_settings(Recipe(data=DataSpec(root=".")), []), categories, {}, Parts())
    module._trainer = SimpleNamespace(strategy=SimpleNamespace(reduce=lambda table, reduce_op: table))
    assert module.training_scores() == {}
    step.trained_on.add(logits, labels)
    table = np.stack(
        [
            overlap_table(own.astype(np.uint8), said.astype(np.uint8), 3)
            for own, said in zip(labels.numpy()[:, ::2, ::2], logits.argmax(1).numpy()[:, ::2, ::2], strict=True)
        ]
    ).sum(0)
    each = pooled_iou(Counts.from_table(table))
    scores = module.training_scores()
    assert [scores[f"train_iou_c{i}"] for i in range(3)] == pytest.approx(each.tolist())
    assert scores["train_pooled_miou"] == pytest.approx(each[1:].mean())
