"""What a user would have stitched together, on the very images of a run: a paired difference with its interval.

smp U-Net resnet18 from scratch, albumentations, 256×256, cross-entropy + Dice, AdamW, one cycle, in the precision
that the run's probe found faster: trained for the
run's minutes on the run's training images (kept in memory at 256×256, so that it never waits for the disk), scored on
its held-out images at their own size, by the same definition.

Needs run folders of `main_job --setting "one fold" --keep DIR`. Resumable: what the result file has is not run again.
"""

import argparse
import statistics
import time
from pathlib import Path

import albumentations as A
import cv2
import numpy as np
import segmentation_models_pytorch as smp
import torch
from albumentations.pytorch import ToTensorV2

from benchmarks import record
from benchmarks.main_job import JOBS, Job, run_name
from benchmarks.record import Comparison, Row
from maskwright.artifacts import RunFolder, read_folds, read_table
from maskwright.data.index import Index, load_index
from maskwright.data.intensity import resize, resize_label, to_channels
from maskwright.evaluate import Overlaps
from maskwright.metrics import SUMMARIES, Counts, EmptyCases
from maskwright.postprocess import most_probable
from maskwright.predict import to_full_size
from maskwright.recipe import load_recipe
from maskwright.split import HELD_OUT
from maskwright.statistics import paired_difference
from maskwright.types import IGNORE, Array, LabelMap

SIDE, BATCH, RATE, DECAY = 256, 8, 1e-3, 1e-2


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks plain_script", description=__doc__)
    parser.add_argument("runs", type=Path, help="the folder that main_job kept its runs in")
    parser.add_argument("--only", nargs="*", default=list(JOBS), choices=list(JOBS))
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rows = record.read("plain_script")
    for name in arguments.only:
        key = f"{name}, seed {arguments.seed}"
        if key not in rows:
            rows[key] = compare(arguments.runs / run_name(name, "one fold", arguments.seed), JOBS[name], arguments.seed)
            record.write("plain_script", rows, rivals=("albumentations",))


def compare(root: Path, job: Job, seed: int) -> Row:
    """Train and score the plain script on a run's images; return both scores and their paired difference."""
    run, recipe = RunFolder(root), load_recipe(root / "recipe.yaml")
    index, folds = load_index(run.index, recipe.data), read_folds(run.folds)
    held, rest = folds.filter(fold=HELD_OUT), folds.filter(folds["fold"] != HELD_OUT)
    assert recipe.train.minutes is not None
    fast = recipe.train.precision == "bfloat16"
    training = index.only(rest["image"].to_list())
    network, steps = trained(training, minutes=recipe.train.minutes, fast=fast, seed=seed)
    overlaps = scored(network, index.only(held["image"].to_list()), fast=fast)
    counts = {"maskwright": own_counts(run, overlaps), "plain": overlaps.stacked()}
    function, places, cases = (
        SUMMARIES[job.metric].function,
        index.categories.evaluated,
        EmptyCases.of(recipe.evaluate),
    )
    ours, plain = (lambda w, c=c: function(c, places, w, cases) for c in counts.values())
    groups, ones = held["group"].to_list(), np.ones((1, held.height))
    found = paired_difference(ours, plain, held.height, groups=groups, rng=np.random.default_rng(seed))
    details = {
        "groups": len(set(groups)),
        "minutes": recipe.train.minutes,
        "steps": {"maskwright": recipe.train.steps, "plain": steps},
    }
    return Row(
        figure=float(ours(ones)[0]),
        unit=job.metric,
        against="the plain script on the same images",
        other=float(plain(ones)[0]),
        comparison=Comparison(kind="difference", value=found.value, low=found.low, high=found.high, n=found.n),
        target="better: lower end of the difference > 0",
        reached=found.low > 0,  # not with NaN, where one group gives no interval
        details=details,
    )


def own_counts(run: RunFolder, overlaps: Overlaps) -> Counts:
    """Return the counts of the run's held-out images, in the order of the script's."""
    table = read_table(run.predictions / "per_image.parquet").filter(part="holdout")
    size = len(overlaps.categories)
    assert table["image"].to_list()[::size] == overlaps.images
    return Counts(*(table[name].to_numpy().reshape(-1, size) for name in ("tp", "fp", "fn")))


def trained(training: Index, *, minutes: float, fast: bool, seed: int) -> tuple[torch.nn.Module, int]:
    """Return the script's network after the steps that the minutes hold, and their number."""
    pairs = [small(training, row) for row in range(len(training))]
    _, seconds = fitted(pairs, len(training.categories), 12, fast=fast, seed=seed)
    steps = int(60 * minutes / statistics.median(seconds[2:]))  # fixed beforehand: a busy machine doesn't change it
    return fitted(pairs, len(training.categories), steps, fast=fast, seed=seed)[0], steps


def fitted(
    pairs: list[tuple[Array, LabelMap]], classes: int, steps: int, *, fast: bool, seed: int
) -> tuple[torch.nn.Module, list[float]]:
    """Train from scratch for some steps; return the network and the seconds of each step.

    Args:
        pairs: images with labels, all of one size.
        classes: output channels.
        steps: optimiser steps.
        fast: bfloat16 and channels-last; else float32, for processors that emulate bfloat16.
        seed: of everything.
    """
    form = torch.channels_last if fast else torch.contiguous_format
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    recipe = [
        A.HorizontalFlip(),
        A.Affine(scale=(0.8, 1.2), translate_percent=0.06, rotate=(-15, 15), border_mode=cv2.BORDER_REFLECT_101),
        A.RandomBrightnessContrast(),
        A.HueSaturationValue(),
        A.Normalize(),
        ToTensorV2(),
    ]
    vary = A.Compose(recipe, seed=seed)
    network = smp.Unet("resnet18", encoder_weights=None, classes=classes)
    network = network.to(memory_format=form).train()
    dice = smp.losses.DiceLoss("multiclass", ignore_index=IGNORE)
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps, pct_start=0.1)
    order, seconds = list[int](), list[float]()
    for _ in range(steps):
        started = time.perf_counter()
        order = order if len(order) >= BATCH else rng.permutation(len(pairs)).tolist()
        taken, order = order[:BATCH], order[BATCH:]
        batch = [vary(image=pairs[i][0], mask=pairs[i][1]) for i in taken]
        images = torch.stack([item["image"] for item in batch]).contiguous(memory_format=form)
        labels = torch.stack([item["mask"] for item in batch]).long()
        with torch.autocast("cpu", torch.bfloat16, enabled=fast):
            logits = network(images)
        logits = logits.float()
        loss = torch.nn.functional.cross_entropy(logits, labels, ignore_index=IGNORE) + dice(logits, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        seconds.append(time.perf_counter() - started)
    return network.eval(), seconds


def small(images: Index, row: int) -> tuple[Array, LabelMap]:
    """Return an image in RGB and its label, both 256×256."""
    sample = images.read(row)
    assert sample.image.dtype == np.uint8
    assert sample.label is not None
    return resize(to_channels(sample.image, 3), (SIDE, SIDE)), resize_label(sample.label, (SIDE, SIDE))


def scored(network: torch.nn.Module, held: Index, *, fast: bool) -> Overlaps:
    """Return the overlaps of the network's predictions with the truth, at the truth's own size."""
    overlaps, ready = Overlaps(held.categories), A.Compose([A.Normalize(), ToTensorV2()])
    for row, image in enumerate(held.images):
        pixels, truth = small(held, row)[0], held.read_label(row)
        assert truth is not None
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=fast):
            logits = network(ready(image=pixels)["image"][None])
        probabilities = logits.float().softmax(1)[0].numpy()
        overlaps.add(image, truth, most_probable(to_full_size(probabilities, (truth.shape[0], truth.shape[1]))))
    return overlaps
