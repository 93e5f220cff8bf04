"""Each loss, forward and backward at 8×C×256×256, against the fastest implementations that give equal values.

Rivals: segmentation-models-pytorch, MONAI, PyTorch itself, and for Lovász-softmax its author's file (`--lovasz PATH`,
pytorch/lovasz_losses.py of github.com/bermanmaxim/LovaszSoftmax). Before a pair is timed the two values are compared.
What no rival has at equal values is missing: smp's focal loss is that of sigmoids. Distance maps are made of a crop of
256² with 5 categories, against the formula of Kervadec's repository in SciPy.
"""

import argparse
import importlib.util
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import monai.losses
import numpy as np
import segmentation_models_pytorch as smp
import torch
from scipy.ndimage import distance_transform_edt
from torch.nn import functional

from benchmarks import record
from benchmarks.record import Row
from benchmarks.rig import PAIRS, compare, inverse
from maskwright import losses
from maskwright.data.distances import signed_distances

BATCH, SIDE = 8, 256
Value = Callable[[torch.Tensor], torch.Tensor]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks losses", description=__doc__)
    parser.add_argument("--pairs", type=int, default=PAIRS)
    parser.add_argument("--categories", type=int, nargs="+", default=[2, 5, 19])
    parser.add_argument("--only", nargs="+", help="names of losses; the other rows of the file stay")
    parser.add_argument("--lovasz", type=Path, help="Berman's lovasz_losses.py")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    warnings.simplefilter("ignore")
    rows = record.read("losses") if arguments.only else {}
    for count in arguments.categories:
        for name, rival, ours, theirs in cases(count, arguments.lovasz):
            if not arguments.only or name in arguments.only:
                rows[f"{name}, {count} categories, {rival}"] = measured(ours, theirs, count, rival, arguments)
    if not arguments.only or "distance maps" in arguments.only:
        rows["distance maps, 5 categories"] = distance_row(arguments.pairs)
    record.write("losses", rows, rivals=("monai", "scipy"))


def cases(count: int, lovasz: Path | None) -> Iterator[tuple[str, str, Value, Value]]:
    """Yield the loss's name, the rival's, and both as functions of logits."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, count, (BATCH, SIDE, SIDE), generator=generator)
    distances = torch.randn(BATCH, count, SIDE, SIDE, generator=generator)
    weights = torch.linspace(0.5, 2, count)
    yield from _pixelwise(labels, weights, count)
    yield from _regional(labels)
    ours = {"present": lambda x: losses.lovasz_softmax(x, labels)}
    yield "lovasz", "smp", ours["present"], on(smp.losses.LovaszLoss("multiclass"), labels)
    if lovasz is not None:
        theirs = loaded(lovasz).lovasz_softmax
        yield "lovasz", "Berman's", ours["present"], lambda x: theirs(x.softmax(1), labels)
    truth = functional.one_hot(labels, count).permute(0, 3, 1, 2).float()
    ssim = monai.losses.SSIMLoss(spatial_dims=2)
    yield (
        "ssim",
        "MONAI",
        lambda x: losses.ssim_loss(x, labels, padding="valid"),
        lambda x: ssim(x.softmax(1), truth),
    )
    yield (
        "kervadec_boundary",
        "the formula",
        lambda x: losses.kervadec_boundary(x, labels, distances),
        lambda x: (x.softmax(1) * distances).mean(),
    )


def _pixelwise(labels: torch.Tensor, weights: torch.Tensor, count: int) -> Iterator[tuple[str, str, Value, Value]]:
    ours: Value = lambda x: losses.cross_entropy(x, labels)  # noqa: E731
    yield "cross_entropy", "smp", ours, on(smp.losses.SoftCrossEntropyLoss(smooth_factor=0.0), labels)
    yield "cross_entropy", "PyTorch", ours, lambda x: functional.cross_entropy(x, labels, ignore_index=255)
    yield (
        "weighted cross_entropy",
        "PyTorch",
        lambda x: losses.cross_entropy(x, labels, class_weights=weights),
        lambda x: functional.cross_entropy(x, labels, weight=weights, ignore_index=255),
    )
    focal = monai.losses.FocalLoss(use_softmax=True, to_onehot_y=True)  # its mean is over the channels, too
    yield "focal", "MONAI", lambda x: losses.focal_loss(x, labels), lambda x: focal(x, labels[:, None]) * count


def _regional(labels: torch.Tensor) -> Iterator[tuple[str, str, Value, Value]]:
    form = {"softmax": True, "to_onehot_y": True}
    one = form | {"smooth_nr": 1.0, "smooth_dr": 1.0, "batch": True}
    halves = form | {"smooth_nr": 2.0, "smooth_dr": 2.0, "batch": True}
    with_channel = labels[:, None]
    dice: Value = lambda x: losses.dice_loss(x, labels)  # noqa: E731
    yield "dice", "smp", dice, on(smp.losses.DiceLoss("multiclass", smooth=1.0), labels)
    yield "dice", "MONAI", dice, on(monai.losses.DiceLoss(**one), with_channel)
    yield (
        "dice per image",
        "MONAI",
        lambda x: losses.dice_loss(x, labels, per_image=True, absent="count", smooth=1e-5),
        on(monai.losses.DiceLoss(**form), with_channel),
    )
    yield (
        "squared dice",
        "MONAI",
        lambda x: losses.dice_loss(x, labels, squared=True),
        on(monai.losses.DiceLoss(**one, squared_pred=True), with_channel),
    )
    iou: Value = lambda x: losses.iou_loss(x, labels)  # noqa: E731
    yield "iou", "smp", iou, on(smp.losses.JaccardLoss("multiclass", smooth=1.0), labels)
    yield "iou", "MONAI", iou, on(monai.losses.DiceLoss(**halves, jaccard=True), with_channel)
    tversky: Value = lambda x: losses.tversky_loss(x, labels)  # noqa: E731
    sides = {"alpha": 0.3, "beta": 0.7}
    yield "tversky", "smp", tversky, on(smp.losses.TverskyLoss("multiclass", smooth=1.0, **sides), labels)
    yield "tversky", "MONAI", tversky, on(monai.losses.TverskyLoss(**one, **sides), with_channel)


def on(loss: Any, labels: torch.Tensor) -> Value:
    """Return a rival's loss as a function of logits."""
    return lambda logits: loss(logits, labels)


def measured(ours: Value, theirs: Value, count: int, rival: str, arguments: argparse.Namespace) -> Row:
    """Return the row of one loss against one rival."""
    logits = torch.randn(BATCH, count, SIDE, SIDE, generator=torch.Generator().manual_seed(1), requires_grad=True)
    values = ours(logits).item(), theirs(logits).item()
    assert np.isclose(*values, rtol=1e-3, atol=1e-5), f"unequal values: {values}"

    def step(loss: Value) -> Callable[[], object]:
        def once() -> None:
            logits.grad = None
            loss(logits).backward()

        return once

    seconds, other, found = compare(step(ours), step(theirs), pairs=arguments.pairs)
    speed = inverse(found)
    return Row(
        figure=1000 * seconds,
        unit="ms",
        against=rival,
        other=1000 * other,
        comparison=speed,
        target="ratio of speeds ≥ 1.0",
        reached=speed.value >= 1,
        details={"values": [round(value, 6) for value in values], "threads": arguments.threads},
    )


def distance_row(pairs: int) -> Row:
    """Return the row of the maps of one crop of glands, each of them of another category."""
    label = blobs(np.random.default_rng(0))

    def kervadec() -> np.ndarray:
        found = np.zeros((5, *label.shape), np.float32)
        for category in range(5):
            mask = label == category
            found[category] = distance_transform_edt(~mask) * ~mask - (distance_transform_edt(mask) - 1) * mask
        return found

    np.testing.assert_allclose(signed_distances(label, 5), kervadec(), rtol=1e-5)
    seconds, other, found = compare(lambda: signed_distances(label, 5), kervadec, pairs=pairs)
    return Row(
        figure=1000 * seconds,
        unit="ms a crop",
        against="Kervadec's formula in SciPy",
        other=1000 * other,
        comparison=inverse(found),
        target="ratio of speeds ≥ 1.0",
        reached=inverse(found).value >= 1,
    )


def blobs(rng: np.random.Generator) -> np.ndarray:
    """Return a (256, 256) label map: 40 discs of categories 1 to 4 on 0."""
    y, x = np.mgrid[:SIDE, :SIDE]
    label = np.zeros((SIDE, SIDE), np.uint8)
    for place in range(40):
        row, column, radius = rng.integers(0, SIDE), rng.integers(0, SIDE), rng.integers(5, 25)
        label[(y - row) ** 2 + (x - column) ** 2 <= radius**2] = 1 + place % 4
    return label


def loaded(path: Path) -> Any:
    """Return a file as a module; it lies outside of the repository."""
    spec = importlib.util.spec_from_file_location("rival_lovasz", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    main()
