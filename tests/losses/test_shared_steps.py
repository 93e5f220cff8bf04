"""Each loss on two processes with half a batch each: the value and the gradient of the whole batch."""

from __future__ import annotations

import pytest
import torch
from test_losses import CATEGORIES, SPECS, batch, targets_of
from torch import distributed, multiprocessing

from maskwright.losses import build_loss
from maskwright.recipe.loss import PythonLossSpec

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
OURS = [spec for specs in SPECS.values() for spec in specs if not isinstance(spec, PythonLossSpec)]


def found(spec, rows):
    """Return value and gradient of some of the images of a batch in which the images differ in what they hold."""
    logits, labels = batch(n=4)
    labels[0, :5] = 255
    labels[1] = torch.where(labels[1] == 2, 1, labels[1])
    leaf, targets = logits.detach()[rows].requires_grad_(), targets_of(spec, labels)
    halves = {name: target[rows] for name, target in targets.items()}
    total = sum(build_loss([spec], CATEGORIES)(leaf, labels[rows], halves).values())
    total.backward()
    return total.detach(), leaf.grad


def share(rank, folder):
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    torch.save([found(spec, slice(2 * rank, 2 * rank + 2)) for spec in OURS], f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


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
