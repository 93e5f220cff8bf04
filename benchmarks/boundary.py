"""HD95 of 512×512 pairs of masks against MONAI's `compute_hausdorff_distance`, the same values.

Smooth objects whose border is moved a little, and objects that have little to do with each other. Both on one thread
of this machine; MONAI gets its tensors ready made.
"""

import argparse
import warnings

import cv2
import numpy as np
import torch
from monai.metrics import compute_hausdorff_distance
from scipy import ndimage

from benchmarks import record, rig
from benchmarks.record import Row
from maskwright.metrics import hd95, surface_distances

SIZE, TARGET, MASKS = (512, 512), 3, 8


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks boundary", description=__doc__)
    parser.add_argument("--pairs", type=int, default=rig.PAIRS)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", FutureWarning)  # of MONAI about itself
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    rows = {}
    for name, sigma, change in (
        ("large objects, borders moved", 24, 0.1),
        ("small objects, borders moved", 8, 0.1),
        ("objects elsewhere", 16, 3),
    ):
        masks = [pair(seed, sigma, change) for seed in range(MASKS)]
        tensors = [tuple(torch.from_numpy(m)[None, None].float() for m in of) for of in masks]
        apart = max(abs(ours(of) - monai(same)) for of, same in zip(masks, tensors, strict=True))
        assert apart < 1e-4, "the same values"
        mine, theirs, ratio = rig.compare(
            lambda of=masks: [ours(one) for one in of],
            lambda of=tensors: [monai(one) for one in of],
            pairs=arguments.pairs,
        )
        faster = rig.inverse(ratio)
        rows[name] = Row(
            figure=round(1000 * mine / MASKS, 3),
            unit="ms a pair",
            against="MONAI",
            other=round(1000 * theirs / MASKS, 3),
            comparison=faster,
            target=f"≥ {TARGET} × as fast",
            reached=faster.low >= TARGET,
            details={"masks": MASKS, "largest_difference": apart},
        )
    record.write("boundary", rows, rivals=("monai", "scipy"))


def pair(seed: int, sigma: float, change: float) -> tuple[np.ndarray, np.ndarray]:
    """Return a truth and a prediction."""
    rng = np.random.default_rng(seed)
    truth, other = (ndimage.gaussian_filter(rng.normal(size=SIZE), s) for s in (sigma, sigma / 2))
    truth, other = truth / truth.std(), other / other.std()
    return truth > 0.5, truth + change * other > 0.5


def ours(masks: tuple[np.ndarray, np.ndarray]) -> float:
    return hd95(surface_distances(*masks))


def monai(tensors: tuple[torch.Tensor, torch.Tensor]) -> float:
    truth, prediction = tensors
    return float(compute_hausdorff_distance(prediction, truth, include_background=True, percentile=95))
