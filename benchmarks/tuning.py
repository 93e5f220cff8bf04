"""Tuning of the post-processing: time of 200 chains over the GlaS images, and how much of a naive gain is real.

No network is trained: the probabilities are made from the true masks. The mask, blurred by 6 pixels, gives the logit
6 × blurred - 3; to it comes smooth noise. Speckled and too low: minus .4, noise of standard deviation 1 at 1 pixel, .8
at 6 and .8 at 25 pixels, so that there is much to gain. Smooth: 1.5 at 25 pixels alone, so that there is little.

Time: full size, read from a probability store and PNGs, 5 folds that keep patients whole; the recipe's own candidates
and finer thresholds, so that there are about 200 chains or more; the seconds are stated for 200 of them.

Naive against nested: at a quarter of the size; a few patients' images are the folds, all others are held out. The same
search is scored on the images that it was fitted on (naive), on folds that it did not see (cross-fitted), and on the
held-out images. Repeats draw other patients and other noise; they share images, so the intervals are a little narrow.
"""

import argparse
import csv
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from benchmarks import record
from benchmarks.record import Comparison, Row
from maskwright.data.store import ProbabilityStore
from maskwright.processes import cores
from maskwright.recipe.predict import EvaluateSpec, PostprocessSpec
from maskwright.statistics import bootstrap
from maskwright.tune import Tuned, chain_gain, tune_chain
from maskwright.types import Categories, Category

Flaws = tuple[float, tuple[tuple[int, float], ...]]

CHAINS, SECONDS, FOLDS = 200, 180, 5
SPECKLED, SMOOTH = (-3.4, ((1, 1.0), (6, 0.8), (25, 0.8))), (-3.0, ((25, 1.5),))
"""What is added to the logit: a constant, and noise as (pixels, standard deviation)."""
WIDE = PostprocessSpec.model_validate(
    {
        "search": [
            *PostprocessSpec().search,
            {"kind": "threshold", "value": [round(0.2 + 0.02 * step, 2) for step in range(31)]},
        ]
    }
)
GLANDS = Categories((Category(0, "background"), Category(1, "gland")), frozenset({"background"}))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks tuning", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("MASKWRIGHT_DATA", "/nonexistent")))
    parser.add_argument("--images", type=int, default=85, help="that are timed")
    parser.add_argument(
        "--few", type=int, nargs="*", default=(8, 16, 40), help="images in the folds, naive against nested"
    )
    parser.add_argument("--repeats", type=int, default=12)
    arguments = parser.parse_args()
    masks, patients = glands(arguments.data / "glas", arguments.images)
    rows = {f"{CHAINS} chains, {len(masks)} images": timed(masks, patients)}
    small = [cv2.resize(mask, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_NEAREST) for mask in masks]
    for few in arguments.few:
        for name, flaws in (("speckled", SPECKLED), ("smooth", SMOOTH)):
            rows[f"{name}, {few} images in the folds"] = honest(small, patients, few, arguments.repeats, flaws)
    record.write("tuning", rows)


def timed(masks: Sequence[np.ndarray], patients: Sequence[str]) -> Row:
    """Return the seconds of a search, for 200 chains."""
    with tempfile.TemporaryDirectory() as folder:
        store = ProbabilityStore(Path(folder))
        for row, mask in enumerate(masks):
            store.write(str(row), soft(mask, np.random.default_rng(row)))
            Image.fromarray(mask).save(Path(folder) / f"{row}.png")

        def read(row: int) -> tuple[np.ndarray, np.ndarray]:
            return store.read(str(row)), np.asarray(Image.open(Path(folder) / f"{row}.png"))

        started, busy = time.perf_counter(), time.process_time()
        found = tuned(read, patients, [mask.size for mask in masks], WIDE)
        seconds, busy = time.perf_counter() - started, time.process_time() - busy
    details = {
        "seconds": round(seconds, 1),
        "chains": found.tried,
        "cores": cores(),
        "cpu_seconds": round(busy, 1),
        "naive_gain": found.naive_gain,
        "cross_fitted_gain": found.gain,
        "agreement": found.agreement,
    }
    figure = seconds * CHAINS / found.tried
    target = f"< {SECONDS} s"
    return Row(figure=round(figure, 1), unit="s", target=target, reached=figure < SECONDS, details=details)


def honest(masks: Sequence[np.ndarray], patients: Sequence[str], few: int, repeats: int, flaws: Flaws) -> Row:
    """Return the naive gain against that on held-out images, means over draws of the images in the folds."""
    gains, adopted = np.empty((repeats, 3)), 0
    for repeat in range(repeats):
        rng = np.random.default_rng((few, repeat))
        items = [(soft(mask, rng, flaws), mask) for mask in masks]
        order = rng.permutation(sorted(set(patients)))
        inside: list[int] = []
        for patient in order:
            inside += [row for row, own in enumerate(patients) if own == patient] if len(inside) < few else []
        inside = inside[:few]
        held = [row for row, own in enumerate(patients) if own not in {patients[row] for row in inside}]
        spec = PostprocessSpec()
        names = [str(row) for row in inside]  # images of a patient are resampled alone: few patients are too few
        found = tuned(lambda row, i=inside, n=items: n[i[row]], names, [masks[row].size for row in inside], spec)
        outside = chain_gain(
            found.best,
            lambda row, h=held, n=items: n[h[row]],
            [patients[row] for row in held],
            GLANDS,
            metric="mean_dice",
            evaluate=EvaluateSpec(),
        )
        gains[repeat] = found.naive_gain["value"], found.gain["value"], outside["value"]
        adopted += found.adopted
    naive, nested, real = gains.mean(axis=0)
    lost = gains[:, 0] - gains[:, 2]
    interval = bootstrap(lambda w: w @ lost / w.sum(1), repeats, samples=2000, rng=np.random.default_rng(0))
    return Row(
        figure=round(float(naive), 4),
        unit="Dice gained, naive",
        against="held out",
        other=round(float(real), 4),
        comparison=Comparison(kind="difference", value=interval.value, low=interval.low, high=interval.high, n=repeats),
        details={
            "cross_fitted": round(float(nested), 4),
            "share_of_naive_that_vanishes": round(float(1 - real / naive), 3),
            "cross_fitted_minus_held_out": round(float(nested - real), 4),
            "adopted": adopted,
            "repeats": repeats,
        },
    )


def tuned(read, groups: Sequence[str], areas: Sequence[int], spec: PostprocessSpec) -> Tuned:
    """Tune on folds that keep groups whole, as even as that goes."""
    names = sorted(set(groups))
    place = {name: number % FOLDS for number, name in enumerate(names)}
    folds = [place[group] for group in groups]
    return tune_chain(read, folds, groups, areas, spec, GLANDS, metric="mean_dice", evaluate=EvaluateSpec())


def soft(mask: np.ndarray, rng: np.random.Generator, flaws: Flaws = SPECKLED) -> np.ndarray:
    """Return (2, H, W) float32 probabilities of a mask, rounded as a store rounds them."""
    scale = max(mask.shape) / 775  # blur and noise are those of the full size
    constant, noises = flaws
    logit = 6 * cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 6 * scale) + constant
    for sigma, strength in noises:
        noise = cv2.GaussianBlur(rng.normal(size=mask.shape).astype(np.float32), (0, 0), max(sigma * scale, 0.3))
        logit += strength * noise / noise.std()
    foreground = 1 / (1 + np.exp(-logit))
    return np.stack([1 - foreground, foreground]).astype(np.float16).astype(np.float32)


def glands(root: Path, count: int) -> tuple[list[np.ndarray], list[str]]:
    """Return (H, W) uint8 masks, 1 in a gland, and the patient of each."""
    if not root.is_dir():
        raise SystemExit(f"expected the set in {root}, found nothing: name its parent with --data or MASKWRIGHT_DATA")
    with open(root / "meta.csv", encoding="utf-8", newline="") as file:
        patients = {row["name"]: row["patient ID"] for row in csv.DictReader(file)}
    files = sorted((root / "instances").glob("*.png"))[:count]
    return [(np.asarray(Image.open(f)) > 0).astype(np.uint8) for f in files], [patients[f.stem] for f in files]


if __name__ == "__main__":
    main()
