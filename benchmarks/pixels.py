"""Confusion matrix and Dice of label maps against torchmetrics, the same numbers.

Made-up maps of 1024×2048 pixels and 19 categories with void pixels, blocky like street scenes. Both on one thread of
this machine; torchmetrics gets its tensors ready made, for Dice without void pixels, which it doesn't know.
"""

import argparse

import cv2
import numpy as np
import torch
from torchmetrics.functional.classification import multiclass_confusion_matrix
from torchmetrics.functional.segmentation import dice_score

from benchmarks import record, rig
from benchmarks.record import Row
from maskwright.metrics import Counts, dice, overlap_table
from maskwright.types import IGNORE

SIZE, CATEGORIES, TARGET, MAPS = (1024, 2048), 19, 5, 2
Pair = tuple[np.ndarray, np.ndarray]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks pixels", description=__doc__)
    parser.add_argument("--pairs", type=int, default=rig.PAIRS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    rows = {}
    for name, ours, theirs, void in (("confusion matrix", table, confusion, True), ("Dice", ours_dice, dices, False)):
        maps = [drawn(seed, void=void) for seed in range(MAPS)]
        tensors = [tuple(torch.from_numpy(one.astype(np.int64))[None] for one in pair) for pair in maps]
        for pair, same in zip(maps, tensors, strict=True):
            assert np.allclose(ours(pair), np.asarray(theirs(same)), rtol=0, atol=1e-6), name
        mine, other, ratio = rig.compare(
            lambda of=maps, f=ours: [f(one) for one in of],
            lambda of=tensors, f=theirs: [f(one) for one in of],
            pairs=arguments.pairs,
        )
        faster = rig.inverse(ratio)
        rows[name] = Row(
            figure=round(1000 * mine / MAPS, 3),
            unit="ms a pair of 1024×2048",
            against="torchmetrics",
            other=round(1000 * other / MAPS, 3),
            comparison=faster,
            target=f"≥ {TARGET} × as fast",
            reached=faster.low is not None and faster.low >= TARGET,
        )
    record.write("pixels", rows, rivals=("torchmetrics",))


def drawn(seed: int, *, void: bool) -> Pair:
    """Return truth and prediction as uint8 positions."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, CATEGORIES, (SIZE[0] // 32, SIZE[1] // 32), np.uint8)
    truth = blocks.repeat(32, 0).repeat(32, 1)
    prediction = np.roll(truth, (3, -4), (0, 1))
    truth[-90:] = IGNORE if void else truth[-90:]
    return truth, prediction


def table(pair: Pair) -> np.ndarray:
    return overlap_table(*pair, CATEGORIES)[:, :CATEGORIES]


def confusion(pair: tuple[torch.Tensor, ...]) -> torch.Tensor:
    truth, prediction = pair
    return multiclass_confusion_matrix(prediction, truth, CATEGORIES, ignore_index=IGNORE)


def ours_dice(pair: Pair) -> np.ndarray:
    return dice(Counts.from_table(overlap_table(*pair, CATEGORIES)))


def dices(pair: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """Return the Dice of each category of one image."""
    truth, prediction = pair
    return dice_score(prediction, truth, CATEGORIES, average="none", input_format="index")[0]


if __name__ == "__main__":
    main()
