"""What a step on many instances takes of the memory, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SIDE, COUNT = 256, 1000
STEP = f"""
import torch
from pathlib import Path
from maskwright.losses.embedding import EmbeddingLoss
from maskwright.recipe.embedding import EmbeddingLossSpec

def peak():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))

def step(side, count):
    for zero in ("unlabelled", "background"):
        ids = (torch.arange(side * side) // (side * side // count) + 1).reshape(1, side, side)
        ids[:, :, ::7] = 0
        drawn = torch.Generator().manual_seed(0)
        embeddings = torch.randn(1, 8, side, side, generator=drawn).requires_grad_()
        sum(EmbeddingLoss(EmbeddingLossSpec(zero=zero))(embeddings, ids, generator=drawn).values()).backward()

torch.set_num_threads(1)
step(32, 10)
before = peak()
step({SIDE}, {COUNT})
print(peak() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="the peak is read from /proc")
def test_a_thousand_instances_take_less_than_a_mask_each():
    """A mask of one byte a pixel of each instance would be 64 MiB, one of each embedding 2 GiB."""
    done = subprocess.run([sys.executable, "-c", STEP], capture_output=True, text=True, check=True)
    assert int(done.stdout) * 1024 < SIDE**2 * COUNT
