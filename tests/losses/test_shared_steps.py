"""Each loss on two processes, in parts of a step, and both: the value and the gradient of the whole batch."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch
from test_losses import CATEGORIES, SPECS, batch, one_hot, targets_of
from torch import distributed, multiprocessing

from maskwright.losses import PixelCounts, build_levels, build_loss, count_labels
from maskwright.recipe.loss import DiceSpec, LevelSpec, LovaszSpec, PythonLossSpec, SSIMSpec, TverskySpec

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
IN_PARTS = [
    *(spec for specs in SPECS.values() for spec in specs if build_loss([spec], CATEGORIES).terms[0].number is not None),
    DiceSpec(per_image=True, one_ratio=True, leave_out=("c",)),
    LovaszSpec(per_image=True, classes="all", class_weights=(1.0, 0.5, 2.0)),
]
"""Losses whose parts make up a step: all but sums over the batch."""
OURS = [spec for specs in SPECS.values() for spec in specs if not isinstance(spec, PythonLossSpec)]


def uneven():
    """Return a batch in which the images differ in what they hold, and how much."""
    logits, labels = batch(n=4)
    labels[0, :5] = 255
    labels[1] = torch.where(labels[1] == 2, 1, labels[1])
    return logits, labels


def found(spec, rows):
    """Return value and gradient of some of the images of an uneven batch."""
    logits, labels = uneven()
    leaf, targets = logits.detach()[rows].requires_grad_(), targets_of(spec, labels)
    halves = {name: target[rows] for name, target in targets.items()}
    total = sum(build_loss([spec], CATEGORIES)(leaf, labels[rows], halves).values())
    total.backward()
    return total.detach(), leaf.grad


def in_parts(loss, levels, logits, labels, targets, parts):
    """Return value and gradient of a step that is taken in parts, as the loop adds them up."""
    leaf = logits.detach().requires_grad_()
    counted = torch.stack([count_labels(label, 3) for label in labels])
    function, total, size = build_levels(levels, loss, CATEGORIES), 0.0, len(labels) // parts
    for start in range(0, len(labels), size):
        rows = slice(start, start + size)
        halves = {name: target[rows] for name, target in targets.items()}
        counts = PixelCounts(counted[rows], counted) if parts > 1 else None
        outputs = [leaf[rows], torch.nn.functional.max_pool2d(leaf[rows], 2)][: len(levels) or 1]
        part = sum(function(outputs, labels[rows], halves, 0.0, counts).values()) / parts
        part.backward()
        total += part.detach()
    return total, leaf.grad


def share(rank, folder):
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    torch.save([found(spec, slice(2 * rank, 2 * rank + 2)) for spec in OURS], f"{folder}/{rank}.pt")
    logits, labels = uneven()
    own = slice(2 * rank, 2 * rank + 2)
    parts = [in_parts([spec], (), logits[own], labels[own], targets_of(spec, labels[own]), 2) for spec in IN_PARTS]
    torch.save(parts, f"{folder}/parts-{rank}.pt")
    group = weakref.ref(distributed.group.WORLD)
    distributed.destroy_process_group()
    gc.collect()
    assert group() is None  # what holds it has threads that may abort the process as it ends


def test_two_processes_give_the_value_and_gradient_of_one(tmp_path):
    multiprocessing.spawn(share, (str(tmp_path),), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    for spec, one, other in zip(OURS, first, second, strict=True):
        value, gradient = found(spec, slice(0, 4))
        torch.testing.assert_close(
            (one[0] + other[0]) / 2, value, rtol=1e-5, atol=1e-7, msg=lambda m, s=spec: f"{s}: {m}"
        )
        both = torch.cat([one[1], other[1]]) / 2  # the loop takes the mean of the gradients
        torch.testing.assert_close(both, gradient, rtol=1e-4, atol=1e-7, msg=lambda m, s=spec: f"{s}: {m}")
    first, second = (torch.load(tmp_path / f"parts-{rank}.pt", weights_only=True) for rank in (0, 1))
    for spec, one, other in zip(IN_PARTS, first, second, strict=True):
        logits, labels = uneven()
        value, gradient = in_parts([spec], (), logits, labels, targets_of(spec, labels), 1)
        torch.testing.assert_close((one[0] + other[0]) / 2, value, rtol=1e-5, atol=1e-7)
        torch.testing.assert_close(torch.cat([one[1], other[1]]) / 2, gradient, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("parts", [2, 4])
@pytest.mark.parametrize("spec", [pytest.param(spec, id=f"{spec.kind}-{i}") for i, spec in enumerate(IN_PARTS)])
@pytest.mark.parametrize("soft", [False, True])
def test_parts_add_up_to_the_step(spec, parts, soft):
    logits, labels = uneven()
    labels[3] = 255  # a part without any pixel
    targets = targets_of(spec, labels)
    if soft:
        if spec.hard_only:
            pytest.skip("takes hard labels")
        shares = one_hot(labels)
        labels, targets = 0.7 * shares + 0.3 * shares.flip(0), {}
    levels = [LevelSpec(), LevelSpec(weight=0.5)]
    value, gradient = in_parts([spec], levels, logits, labels, targets, 1)
    cut, of_parts = in_parts([spec], levels, logits, labels, targets, parts)
    torch.testing.assert_close(cut, value, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(of_parts, gradient, rtol=1e-4, atol=1e-7)


def test_sums_over_the_batch_stay_those_of_a_part():
    of_batches = [DiceSpec(), TverskySpec(), LovaszSpec(), SSIMSpec(padding="valid"), DiceSpec(absent="count")]
    assert [build_loss([spec], CATEGORIES).terms[0].number for spec in of_batches] == [None] * len(of_batches)
