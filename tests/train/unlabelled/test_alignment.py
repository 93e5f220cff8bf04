"""What a teacher says comes to the shares that categories have among the labels: worked by hand."""

from __future__ import annotations

import copy

import pytest
import torch

from maskwright.train.unlabelled.alignment import Alignment
from maskwright.types import IGNORE

LEAST = 1e-3


def told(*shares):
    return torch.tensor(shares).reshape(1, -1, 1, 1).expand(1, len(shares), 2, 2)


def labels(*values):
    return torch.tensor(values).reshape(1, 1, -1)


ALL = torch.ones(1, 2, 2, dtype=torch.bool)


def test_one_step_worked_by_hand():
    """Labels are half and half, the teacher says .8 and .2: aligned in full it says half, but for `LEAST`."""
    found = Alignment(2, 1.0)(told(0.8, 0.2), ALL, labels(0, 1, IGNORE))
    weights = [0.8 * (0.5 + LEAST) / (0.8 + LEAST), 0.2 * (0.5 + LEAST) / (0.2 + LEAST)]
    assert found[0, :, 1, 1].tolist() == pytest.approx([w / sum(weights) for w in weights])
    assert found.sum(1).flatten().tolist() == pytest.approx([1] * 4)
    half = Alignment(2, 0.5)(told(0.8, 0.2), ALL, labels(0, 1))[0, :, 0, 0].tolist()
    roots = [(0.8 * (0.5 + LEAST) / (0.8 + LEAST) * 0.8) ** 0.5, (0.2 * (0.5 + LEAST) / (0.2 + LEAST) * 0.2) ** 0.5]
    assert half == pytest.approx([r / sum(roots) for r in roots])


def test_shares_are_means_over_steps_and_pixels_that_do_not_count_are_left_out():
    """2 / 11 of the first step's share stay at the second, as in (1 + t) / (10 + t)."""
    aligned = Alignment(2, 1.0)
    aligned(told(0.8, 0.2), ALL, labels(0, 0))
    mixed = torch.cat([told(0.4, 0.6)[..., :1], told(0.1, 0.9)[..., :1]], 3)
    aligned(mixed, torch.tensor([[[True, False]] * 2]), labels(0, 1, 1, IGNORE))
    assert aligned.labelled.tolist() == pytest.approx([1 / 3 + 2 / 11 * (1 - 1 / 3), 2 / 3 - 2 / 11 * 2 / 3])
    assert aligned.predicted.tolist() == pytest.approx([0.4 + 2 / 11 * 0.4, 0.6 - 2 / 11 * 0.4])
    before = copy.deepcopy(aligned.state_dict())
    aligned(told(0.8, 0.2), ~ALL, labels(0, 1))
    aligned(told(0.8, 0.2), ALL, labels(IGNORE))
    assert all(torch.equal(before[name], value) for name, value in aligned.state_dict().items())
    again = Alignment(2, 1.0)
    again.load_state_dict(before)  # a resumed training aligns alike
    assert torch.equal(again(told(0.7, 0.3), ALL, labels(0)), aligned(told(0.7, 0.3), ALL, labels(0)))


def test_before_any_label_was_seen_nothing_changes():
    probabilities = told(0.8, 0.2)
    aligned = Alignment(2, 1.0)
    assert torch.allclose(aligned(probabilities, ALL, labels(IGNORE)), probabilities)
    assert (aligned.steps, aligned.labelled.tolist(), aligned.predicted.tolist()) == (0, [0, 0], [0, 0])
