"""Embedding loss of one image of 512×512 with 200 instances: memory and time, against the one-hot expansion.

The rival is the form in which SPOCO's repository computes the same terms: instances × channels × height × width. It is
measured on a crop of it that fits into memory, whose bytes grow with the pixels. Memory is the largest resident set of
a process of its own that does one forward and backward pass, less that of one that only makes the inputs. Values are
compared first. Times are of interleaved pairs: 200 instances against 10.
"""

import argparse
import math
import resource
import subprocess
import sys

import torch

from benchmarks import record
from benchmarks.record import Comparison, Row
from benchmarks.rig import PAIRS, compare
from maskwright.losses.embedding import EmbeddingLoss
from maskwright.recipe.embedding import EmbeddingLossSpec
from maskwright.recipe.margin import margin_at

SIDE, CHANNELS, MANY, FEW, CROWD = 512, 16, 200, 10, 500
RIVAL_SIDE = 96
LESS, LONGER = 10, 3


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks embedding_loss", description=__doc__)
    parser.add_argument("--pairs", type=int, default=PAIRS)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--measure", nargs=3, metavar=("WHAT", "SIDE", "INSTANCES"), help="one process's memory")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.measure:
        what, side, instances = arguments.measure
        print(peak(what, int(side), int(instances)))
        return
    check_values()
    rows = {f"memory, {count} instances": memory_row(count) for count in (MANY, CROWD)}
    rows[f"time, {MANY} instances"] = time_row(arguments.pairs, arguments.threads)
    record.write("embedding_loss", rows)


def inputs(side: int, instances: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (1, E, side, side) embeddings and a grid of instances with gaps between them, 0 there."""
    embeddings = torch.randn(1, CHANNELS, side, side, generator=torch.Generator().manual_seed(0))
    columns = math.ceil(math.sqrt(instances))
    rows = math.ceil(instances / columns)
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    ids = (y * rows // side) * columns + x * columns // side + 1
    gap = (y * rows % side < side // 4) | (x * columns % side < side // 4)
    return embeddings.requires_grad_(), torch.where(gap | (ids > instances), 0, ids)[None]


def ours(embeddings: torch.Tensor, instances: torch.Tensor, spec: EmbeddingLossSpec | None = None) -> torch.Tensor:
    loss = EmbeddingLoss(spec or EmbeddingLossSpec())
    return sum(loss(embeddings, instances, generator=torch.Generator().manual_seed(1)).values())


def expanded(embeddings: torch.Tensor, instances: torch.Tensor) -> torch.Tensor:
    """Return the same sum with every instance over every pixel."""
    spec = EmbeddingLossSpec()
    near, far = margin_at(spec.pull_margin, 0), margin_at(spec.push_margin, 0)
    count = int(instances.max())
    one_hot = (instances[0] == torch.arange(1, count + 1)[:, None, None]).float()  # (K, H, W)
    sizes = one_hot.sum((1, 2))
    spread = embeddings[0][None] * one_hot[:, None]  # (K, E, H, W)
    means = spread.sum((2, 3)) / sizes[:, None]
    apart = (embeddings[0][None] - means[:, :, None, None]).norm(dim=1)  # (K, H, W)
    pull = (((apart - near).clamp(min=0) ** 2 * one_hot).sum((1, 2)) / sizes).mean()
    distances = (means[:, None] - means[None] + 1e-12).norm(dim=2)
    hinges = (2 * far - distances).clamp(min=0) ** 2 * (1 - torch.eye(count))
    push = hinges.sum() / (count * (count - 1))
    unlabelled = (instances[0] == 0).float()
    rest = ((far - apart).clamp(min=0) ** 2 * unlabelled).sum() / unlabelled.sum() / count
    soft = torch.exp(-(apart**2) * -math.log(spec.threshold) / near**2)
    dice = 2 * (soft * one_hot).sum((1, 2)) / ((soft**2).sum((1, 2)) + sizes)
    return pull + push + rest + (1 - dice).mean() + spec.norm * means.norm(dim=1).mean()


def check_values() -> None:
    embeddings, instances = inputs(RIVAL_SIDE, FEW)
    found = [f(embeddings, instances).item() for f in (ours, expanded)]
    assert math.isclose(*found, rel_tol=1e-4), f"unequal values: {found}"


def peak(what: str, side: int, instances: int) -> int:
    """Return the largest resident set of this process, in KiB."""
    embeddings, ids = inputs(side, instances)
    embeddings.grad = torch.zeros_like(embeddings)  # of the network's, whatever the loss
    if what != "nothing":
        small, few = inputs(32, 4)
        ours(small, few).backward()  # what the first call loads isn't the loss's
        (ours if what == "ours" else expanded)(embeddings, ids).backward()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def added(what: str, side: int, instances: int) -> float:
    """Return the MiB that a loss adds."""
    base = ("ours", 32, 4)
    values = []
    for name, *sizes in ((what, side, instances), base):
        command = [sys.executable, "-m", "benchmarks", "embedding_loss", "--measure", name, *map(str, sizes)]
        values.append(int(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1]))
    return (values[0] - values[1]) / 1024


def memory_row(count: int) -> Row:
    """Return the row of the memory that one image of so many instances takes."""
    mine = added("ours", SIDE, count)
    rival = added("expanded", RIVAL_SIDE, count)
    whole = rival * (SIDE / RIVAL_SIDE) ** 2
    embeddings = SIDE * SIDE * CHANNELS * 4 / 2**20
    return Row(
        figure=round(mine, 1),
        unit="MiB",
        against=f"the one-hot expansion, × {(SIDE // RIVAL_SIDE) ** 2} from {RIVAL_SIDE}×{RIVAL_SIDE}",
        other=round(whole, 1),
        comparison=Comparison(kind="ratio", value=whole / mine, low=None, high=None, n=1),
        target=f"≥ {LESS} × less, of the order of pixels × channels",
        reached=whole / mine >= LESS and mine < 10 * embeddings,
        details={"embeddings_MiB": embeddings, "rival_MiB_measured": round(rival, 1)},
    )


def time_row(pairs: int, threads: int) -> Row:
    """Return the row of the time of many instances against few."""

    def step(instances: int):
        embeddings, ids = inputs(SIDE, instances)

        def once() -> None:
            embeddings.grad = None
            ours(embeddings, ids).backward()

        return once

    many, few, found = compare(step(MANY), step(FEW), pairs=pairs)
    return Row(
        figure=round(1000 * many, 1),
        unit="ms",
        against=f"{FEW} instances",
        other=round(1000 * few, 1),
        comparison=found,
        target=f"ratio of times ≤ {LONGER}",
        reached=found.high is not None and found.high <= LONGER,
        details={"threads": threads},
    )
