"""A SAC step under Lightning against the sum of its bare forward and backward passes: what warping and fusion cost.

Batches lie in memory. The two are interleaved step by step in one process, as in `training_step`: a callback that runs
last takes a step of the bare loop after each of ours. A bare step sends the labelled crops and the noisy views through
the network, forward and backward, and the clean views through another one, forward; its loss is plain cross-entropy
with fixed labels, and it has an optimizer. Ours has the class prior, the fusion of the views, thresholds, focal loss,
counts of what is kept, clipping, curves and the rest of the frame besides.
"""

import argparse
import copy
import tempfile
import time
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch

from benchmarks import record
from benchmarks.record import Row
from benchmarks.rig import ratio
from benchmarks.training_step import WARM, InMemory, recipe_of
from maskwright.losses import thin_out
from maskwright.recipe import Recipe, apply_settings
from maskwright.recipe.sac import SacSpec
from maskwright.train.batch import Batch, PoolBatch
from maskwright.train.fit import build_module, build_trainer
from maskwright.train.unlabelled.sac.views import draw_zoom

CASES = {
    "resnet18, 4 crops and 2×4 views of 128²": ("resnet18", "[256, 128, 64, 32, 16]", 4, 128),
    "resnet18 at output stride 2, 4 crops and 2×4 views of 128²": ("resnet18", "[128, 64, 32, 16]", 4, 128),
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks sac_step", description=__doc__)
    parser.add_argument("--pairs", type=int, default=60)
    parser.add_argument("--precision", default="bfloat16", choices=["float32", "bfloat16"])
    arguments = parser.parse_args()
    rows = {}
    for name, (encoder, channels, batch, side) in CASES.items():
        recipe = recipe_of(encoder, channels, batch, side, precision=arguments.precision, steps=arguments.pairs + WARM)
        settings = ["selftrain.method={kind: sac, batch: 2, teacher_every: 100, watch_steps: 100}", "train.ema=0"]
        settings += ["model.output_stride=2"] if "stride" in name else []
        rows[name] = row(*times(apply_settings(recipe, settings), arguments.pairs))
    record.write("sac_step", rows)


class BarePasses(L.Callback):
    """Takes the bare passes of a step after each of ours, and times both."""

    def __init__(self, module: Any, batch: Batch, recipe: Recipe) -> None:
        self.network, self.teacher = copy.deepcopy(module.step.network), copy.deepcopy(module.step.network).eval()
        self.batch, self.spec = batch, recipe.train
        self.optimizer = torch.optim.AdamW(self.network.parameters(), lr=self.spec.lr, fused=True)
        assert batch.pool is not None
        self.clean, self.noisy = batch.pool.clean.flatten(0, 1), batch.pool.noisy.flatten(0, 1)
        self.guess = batch.labels[:1].expand(len(self.noisy), -1, -1)
        self.ours, self.bare, self.ended = list[float](), list[float](), 0.0

    def on_train_batch_end(self, *_: Any) -> None:
        started = time.perf_counter()
        if self.ended:
            self.ours.append(started - self.ended)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.spec.precision == "bfloat16"):
            loss = self._loss(self.batch.images, self.batch.labels) + self._loss(self.noisy, self.guess)
            with torch.no_grad():
                self.teacher(self.clean)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.ended = time.perf_counter()
        self.bare.append(self.ended - started)

    def _loss(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        logits = self.network(images)
        return torch.nn.functional.cross_entropy(logits, thin_out(labels, logits))


def times(recipe: Recipe, pairs: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the seconds of our steps and of the bare passes, paired."""
    spec = recipe.train
    assert spec.batch and spec.crop and spec.steps
    form = torch.channels_last if spec.channels_last else torch.contiguous_format
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(spec.batch, 3, *spec.crop, generator=generator).contiguous(memory_format=form)
    labels = torch.randint(0, 4, (spec.batch, *spec.crop), generator=generator)
    batch = Batch(images, labels, {}, pool=pool_of(recipe, generator))
    module = build_module(recipe, 0, pool=True)
    with tempfile.TemporaryDirectory() as folder:
        trainer = build_trainer(Path(folder), recipe, validates=False)
        bare = BarePasses(module, batch, recipe)
        trainer.callbacks.append(bare)
        trainer.fit(module, InMemory(batch, spec.steps))
    return np.array(bare.ours[-pairs + 1 :]), np.array(bare.bare[-pairs + 1 :])


def pool_of(recipe: Recipe, generator: torch.Generator) -> PoolBatch:
    """Return noise as views of images without labels, zoomed as the method's are."""
    method, crop = recipe.selftrain.method, recipe.train.crop
    assert isinstance(method, SacSpec) and method.batch and crop
    shape = (method.batch, method.views)
    rng = np.random.default_rng(0)
    zooms = [
        np.stack([np.eye(3), *(draw_zoom(method, rng, crop) for _ in range(shape[1] - 1))]) for _ in range(shape[0])
    ]
    matrices = torch.from_numpy(np.stack(zooms)[..., :2, :]).float()
    clean, noisy = (torch.randn(*shape, 3, *crop, generator=generator) for _ in range(2))
    return PoolBatch(clean, noisy, torch.ones(*shape, *crop, dtype=torch.bool), matrices, {})


def row(ours: np.ndarray, bare: np.ndarray) -> Row:
    found = ratio(ours, bare)
    assert found.high is not None
    return Row(
        figure=float(np.median(ours)),
        unit="s a step",
        against="its bare forward and backward passes",
        other=float(np.median(bare)),
        comparison=found,
        target="upper end of the ratio ≤ 1.10",
        reached=found.high <= 1.10,
    )
