"""A training step under Lightning against a bare PyTorch loop: what the frame costs.

Batches lie in memory. The two are interleaved step by step in one process: a callback that runs last takes a step of
the bare loop after each of ours; ours lasts from its end to its next start, so that everything of the frame is in it:
loader, hooks, curves, schedule, clipping, averaging.
"""

import argparse
import copy
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch

from benchmarks import record
from benchmarks.record import Comparison, Row
from benchmarks.rig import ratio
from maskwright.recipe import Recipe, apply_settings
from maskwright.recipe.data import DataSpec
from maskwright.statistics import bootstrap
from maskwright.train.batch import Batch
from maskwright.train.fit import build_module, build_trainer

WARM = 8
DATA = DataSpec.model_validate(
    {
        "root": "none",
        "channels": 3,
        "value_range": (0, 255),
        "mean": (0.5,) * 3,
        "std": (0.25,) * 3,
        "categories": [{"id": i, "name": f"c{i}", "color": [i, i, i], "values": [i]} for i in range(4)],
        "ignore": [],
        "leave_out": [],
    }
)
CASES = {
    "resnet18, 8×128²": ("resnet18", "[256, 128, 64, 32, 16]", 8, 128),
    "tiny, 2×32²": ("resnet10t", "[16, 16, 8]", 2, 32),
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks training_step", description=__doc__)
    parser.add_argument("--pairs", type=int, default=60)
    parser.add_argument("--precision", default="bfloat16", choices=["float32", "bfloat16"])
    arguments = parser.parse_args()
    rows = {}
    for name, (encoder, channels, batch, side) in CASES.items():
        for same in (False, True):
            recipe = recipe_of(
                encoder, channels, batch, side, precision=arguments.precision, steps=arguments.pairs + WARM
            )
            ours, bare = times(recipe, arguments.pairs, same=same)
            key = f"{name}, bare loop {'that also clips and averages' if same else 'alone'}"
            rows[key] = ratio_row(ours, bare) if side == 128 else difference_row(ours, bare)
    record.write("training_step", rows)


def recipe_of(encoder: str, channels: str, batch: int, side: int, *, precision: str, steps: int) -> Recipe:
    """Return a resolved recipe for a U-Net on RGB images of four categories."""
    settings = {
        "model.encoder": encoder,
        "model.decoder_channels": channels,
        "model.output_stride": 1,
        "model.encoder_weights": "none",
        "train.steps": steps,
        "train.validate_every": steps,
        "train.batch": batch,
        "train.crop": f"[{side}, {side}]",
        "train.scale": 1,
        "train.precision": precision,
        "train.channels_last": str(precision == "bfloat16").lower(),
    }
    return apply_settings(Recipe(data=DATA), [f"{key}={value}" for key, value in settings.items()])


class InMemory:
    """The same batch again and again."""

    def __init__(self, batch: Batch, count: int) -> None:
        self.batch, self.count = batch, count

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Batch]:
        return iter([self.batch] * self.count)


class BareLoop(L.Callback):
    """Takes a step of a plain loop after each of ours, and times both."""

    def __init__(self, module: Any, batch: Batch, recipe: Recipe, *, same: bool) -> None:
        self.network = copy.deepcopy(module.step.network)
        self.average = copy.deepcopy(module.step.average) if same else None
        self.loss, self.batch, self.spec = module.step.loss, batch, recipe.train
        self.optimizer = torch.optim.AdamW(self.network.parameters(), lr=self.spec.lr, fused=True)
        self.ours, self.bare, self.ended = list[float](), list[float](), 0.0

    def on_train_batch_end(self, *_: Any) -> None:
        started = time.perf_counter()
        if self.ended:
            self.ours.append(started - self.ended)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.spec.precision == "bfloat16"):
            logits = self.network(self.batch.images)
            loss = sum(self.loss([logits], self.batch.labels, {}, 0.0).values())
        self.optimizer.zero_grad()
        loss.backward()
        if self.average is not None:
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.spec.clip)
        self.optimizer.step()
        if self.average is not None:
            self.average.update(self.network)
        self.ended = time.perf_counter()
        self.bare.append(self.ended - started)


def times(recipe: Recipe, pairs: int, *, same: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return the seconds of our steps and of the bare ones, paired."""
    spec = recipe.train
    assert spec.batch and spec.crop and spec.steps
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(spec.batch, 3, *spec.crop, generator=generator)
    labels = torch.randint(0, 4, (spec.batch, *spec.crop), generator=generator)
    form = torch.channels_last if spec.channels_last else torch.contiguous_format
    batch = Batch(images.contiguous(memory_format=form), labels, {})
    module = build_module(recipe, 0)
    with tempfile.TemporaryDirectory() as folder:
        trainer = build_trainer(Path(folder), recipe, validates=False)
        bare = BareLoop(module, batch, recipe, same=same)
        trainer.callbacks.append(bare)
        trainer.fit(module, InMemory(batch, spec.steps))
    return np.array(bare.ours[-pairs + 1 :]), np.array(bare.bare[-pairs + 1 :])


def ratio_row(ours: np.ndarray, bare: np.ndarray) -> Row:
    found = ratio(ours, bare)
    assert found.high is not None
    return Row(
        figure=float(np.median(ours)),
        unit="s a step",
        against="a bare loop",
        other=float(np.median(bare)),
        comparison=found,
        target="upper end of the ratio ≤ 1.05",
        reached=found.high <= 1.05,
    )


def difference_row(ours: np.ndarray, bare: np.ndarray) -> Row:
    more = 1000 * (ours - bare)

    def median(weights: np.ndarray) -> np.ndarray:
        return np.array([np.median(np.repeat(more, row.astype(int))) for row in weights])

    found = bootstrap(median, len(more), samples=1000, rng=np.random.default_rng(0))
    return Row(
        figure=1000 * float(np.median(ours)),
        unit="ms a step",
        against="a bare loop",
        other=1000 * float(np.median(bare)),
        comparison=Comparison(kind="difference", value=found.value, low=found.low, high=found.high, n=found.n),
        target="upper end of the difference ≤ 1.5 ms",
        reached=found.high <= 1.5,
    )
