"""Worked values of the Lovász-softmax loss."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from maskwright.losses import lovasz_softmax
from maskwright.types import IGNORE

# methods 3.7: p = (.7,.2,.1), (.1,.8,.1), (.3,.6,.1), (.2,.2,.6), y = 0, 1, 0, 1
GOLDEN = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.3, 0.6, 0.1], [0.2, 0.2, 0.6]]).log().T.reshape(1, 3, 2, 2)
LABELS = torch.tensor([[[0, 1], [0, 1]]])


def jaccard(wrong, truth):
    """Return 1 − IoU where the given pixels are wrong: a true one is lost, another one is found."""
    found = truth ^ wrong
    union = (truth | found).sum()
    return 0.0 if union == 0 else 1 - (truth & found).sum() / union


def loop(p, truth):
    """Return the Lovász extension by its definition: errors times the growth of 1 − IoU, one pixel after the other."""
    errors, wrong, total, before = np.where(truth, 1 - p, p), np.zeros(len(p), bool), 0.0, 0.0
    for place in np.argsort(-errors, kind="stable"):
        wrong[place] = True
        now = jaccard(wrong, truth)
        total, before = total + errors[place] * (now - before), now
    return total


def test_golden_values():
    assert lovasz_softmax(GOLDEN, LABELS).item() == pytest.approx(0.533333, abs=1e-6)
    assert lovasz_softmax(GOLDEN, LABELS, classes="all").item() == pytest.approx(0.555556, abs=1e-6)
    for category, expected in enumerate([0.5, 0.566667, 0.6]):
        only = torch.eye(3)[category]
        found = lovasz_softmax(GOLDEN, LABELS, classes="all", class_weights=only)
        assert found.item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("classes", ["present", "all"])
@pytest.mark.parametrize("per_image", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_it_is_that_of_the_definition(classes, per_image, seed):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, 4, 5, 6, generator=generator)
    labels = torch.randint(0, 2 if seed == 0 else 4, (2, 5, 6), generator=generator)
    labels[0, :seed] = IGNORE
    p, y = logits.softmax(1).double().numpy(), labels.numpy()
    parts = [(p[n], y[n]) for n in range(2)] if per_image else [(p.transpose(1, 0, 2, 3), y)]
    values = [
        loop(probabilities[c][truth != IGNORE], (truth == c)[truth != IGNORE])
        for probabilities, truth in parts
        for c in range(4)
        if classes == "all" or (truth == c).any()
    ]
    found = lovasz_softmax(logits, labels, classes=classes, per_image=per_image)
    assert found.item() == pytest.approx(np.mean(values), rel=1e-5)


def test_exactly_one_pixel_that_counts():
    logits = torch.zeros(1, 2, 2, 2, requires_grad=True)
    labels = torch.full((1, 2, 2), IGNORE)
    labels[0, 0, 0] = 1
    found = lovasz_softmax(logits, labels)  # p = ½, its error makes the IoU 0: ½ · 1
    assert found.item() == pytest.approx(0.5)
    found.backward()


def test_an_absent_category_costs_its_largest_probability():
    logits = torch.tensor([[[[2.0, 0.0]], [[0.0, 1.0]]]])
    labels = torch.zeros(1, 1, 2, dtype=torch.int64)
    found = lovasz_softmax(logits, labels, classes="all", class_weights=torch.tensor([0.0, 1]))
    assert found.item() == pytest.approx(logits.softmax(1)[0, 1].max().item())
