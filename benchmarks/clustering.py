"""Mean-shift+ against scikit-learn's MeanShift on embeddings of half-trained networks: time, agreement, growth.

Both get all pixels of an image, the ground being one instance more, and the same bandwidth, that by which a run tells
objects apart unless its recipe says otherwise; ours merges means as such a run does, too. Times are those of the
processor: ours are medians of runs before and after the rival's run. scikit-learn's MeanShift has its faster way,
`bin_seeding`, unless a row says otherwise. As it comes, it starts at every pixel: on 64×128 that is measured once an
image, with how well its two ways agree with each other.
Agreement is the adjusted Rand index of labels before merging (modes), and of both after the same merging.

On 256×512 scikit-learn is fitted on 2 000 pixels and the others go to the nearest centre; ours is told to look among
the same pixels. With ours left at its own sample, the index says what drawing other pixels changes; so it does between
two fits of scikit-learn, which is noted beside it.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
from sklearn.cluster import MeanShift
from sklearn.metrics import adjusted_rand_score

from benchmarks import half_trained, record, rig
from benchmarks.half_trained import Case
from benchmarks.record import Row
from maskwright.cluster import build_clusterer, mean_shift, merge_near, stable_instances
from maskwright.recipe.embedding import EmbeddingLossSpec
from maskwright.recipe.instances import InstancesSpec

SHIPPED = InstancesSpec(loss=EmbeddingLossSpec(pull_margin=half_trained.PULL, push_margin=half_trained.PUSH))
CLUSTER = SHIPPED.filled_in().cluster
BANDWIDTH, MERGE = CLUSTER.bandwidth, CLUSTER.merge
FASTER, SAME, FITTED = 100, 0.97, 2000
COUNTS = (5, 15, 50)
SIZES = ((64, 128), (128, 256), (256, 512))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks clustering", description=__doc__)
    parser.add_argument("--steps", type=int, default=300, help="of the networks' training")
    parser.add_argument("--channels", type=int, nargs="+", default=[8, 16], help="other rows of the results stay")
    parser.add_argument("--runs", type=int, default=6, help="of ours for each of the rival's")
    arguments = parser.parse_args()
    rows = record.read("clustering")
    for channels in arguments.channels:
        network = half_trained.trained(channels, arguments.steps, seed=0)
        cases = {size: half_trained.cases(network, size, COUNTS, np.random.default_rng(1)) for size in SIZES}
        for size in SIZES[:2]:
            rows[f"{size[0]}×{size[1]}, E {channels}"] = against_full(cases[size], arguments.runs)
            record.write("clustering", rows, rivals=("scikit-learn", "scipy"))
        rows[f"{SIZES[0][0]}×{SIZES[0][1]}, E {channels}, every pixel a seed"] = against_all(cases[SIZES[0]])
        rows[f"{SIZES[2][0]}×{SIZES[2][1]}, E {channels}"] = against_fitted(cases[SIZES[2]], arguments.runs)
        rows[f"growth, E {channels}"] = growth(cases, arguments.runs)
        rows[f"stable instances, 256×512, 50 instances, E {channels}"] = stable(cases[SIZES[2]][-1], arguments.runs)
        record.write("clustering", rows, rivals=("scikit-learn", "scipy"))


def against_full(cases: list[Case], runs: int) -> Row:
    """Return time and agreement against scikit-learn on all pixels."""
    details, mine, theirs = [], [], []
    for count, case in zip(COUNTS, cases, strict=True):
        points = points_of(case)
        ours, rival, labels = paired(lambda p=points: plus(p), lambda p=points: sklearn_labels(p), runs)
        mine.append(ours)
        theirs.append(rival)
        details.append({"instances": count, "ratio": round(rival / ours, 1), **agreement(points, labels, case)})
    speed = rig.inverse(rig.ratio(np.array(mine), np.array(theirs)))
    lowest = min(min(d["same"], d["same_merged"]) for d in details)
    return Row(
        figure=round(1000 * float(np.median(mine)), 1),
        unit="ms an image",
        against="scikit-learn",
        other=round(1000 * float(np.median(theirs)), 1),
        comparison=speed,
        target=f"≥ {FASTER} × as fast for each of {COUNTS} instances, adjusted Rand index ≥ {SAME}",
        reached=min(d["ratio"] for d in details) >= FASTER and lowest >= SAME,
        details={"cases": details, "lowest_agreement": lowest},
    )


def against_all(cases: list[Case]) -> Row:
    """Return time and agreement against scikit-learn as it comes: every pixel is a seed."""
    details, mine, theirs = [], [], []
    for count, case in zip(COUNTS, cases, strict=True):
        points = points_of(case)
        ours, rival, labels = paired(lambda p=points: plus(p), lambda p=points: sklearn_labels(p, bins=False), 2)
        mine.append(ours)
        theirs.append(rival)
        own = round(adjusted_rand_score(labels, sklearn_labels(points)), 4)
        found = {"ratio": round(rival / ours, 1), **agreement(points, labels, case), "scikit_learn_with_bins": own}
        details.append({"instances": count, **found})
    lowest = min(min(d["same"], d["same_merged"]) for d in details)
    return Row(
        figure=round(1000 * float(np.median(mine)), 1),
        unit="ms an image",
        against="scikit-learn, every pixel a seed",
        other=round(1000 * float(np.median(theirs)), 1),
        comparison=rig.inverse(rig.ratio(np.array(mine), np.array(theirs))),
        target=f"≥ {FASTER} × as fast for each of {COUNTS} instances, adjusted Rand index ≥ {SAME}",
        reached=min(d["ratio"] for d in details) >= FASTER and lowest >= SAME,
        details={"cases": details, "lowest_agreement": lowest},
    )


def against_fitted(cases: list[Case], runs: int) -> Row:
    """Return agreement with scikit-learn fitted on some pixels, and both times."""
    details, mine, theirs = [], [], []
    for count, case in zip(COUNTS, cases, strict=True):
        points = points_of(case)
        drawn, others = (
            np.sort(np.random.default_rng(seed).choice(len(points), FITTED, replace=False)) for seed in (0, 1)
        )
        ours, rival, labels = paired(
            lambda p=points: plus(p, FITTED), lambda p=points, d=drawn: sklearn_labels(p, d), runs
        )
        mine.append(ours)
        theirs.append(rival)
        found = agreement(points, labels, case, sample=FITTED)
        own = agreement(points, labels, case)
        again = sklearn_labels(points, others)
        found |= {
            "ratio": round(rival / ours, 1),
            "same_with_own_sample": own["same"],
            "same_merged_with_own_sample": own["same_merged"],
            "scikit_learn_with_other_pixels": round(adjusted_rand_score(labels, again), 4),
        }
        details.append({"instances": count, **found})
    lowest = min(min(d["same"], d["same_merged"]) for d in details)
    return Row(
        figure=round(lowest, 4),
        unit="adjusted Rand index, the lowest",
        against="scikit-learn fitted on 2 000 pixels",
        target=f"≥ {SAME} for each of {COUNTS} instances",
        reached=lowest >= SAME,
        details={
            "cases": details,
            "ms": round(1000 * float(np.median(mine)), 1),
            "scikit_learn_ms": round(1000 * float(np.median(theirs)), 1),
        },
    )


def growth(cases: dict[tuple[int, int], list[Case]], runs: int) -> Row:
    """Return how much more a pixel costs in the dearest size than in the smallest, by default settings."""
    seconds = {size: [] for size in cases}
    points = {size: [points_of(case) for case in found] for size, found in cases.items()}
    for _ in range(runs):
        for size, found in points.items():
            seconds[size].append(sum(processor_seconds(lambda p=one: plus(p)) for one in found))
    pixels = {size: size[0] * size[1] * len(COUNTS) for size in cases}
    each = {size: float(np.median(seconds[size])) / pixels[size] for size in cases}
    figure = max(each.values()) / each[SIZES[0]]
    return Row(
        figure=round(figure, 2),
        unit="times the smallest size's time for a pixel, in the dearest of three",
        target="≤ 1.2 (linear)",
        reached=figure <= 1.2,
        details={f"{h}×{w}": {"µs_a_pixel": round(1e6 * each[h, w], 2)} for h, w in cases},
    )


def stable(case: Case, runs: int) -> Row:
    """Return the time of the filter by anchors; a copy with noise stands for the momentum network."""
    noise = np.random.default_rng(0).normal(0, 0.05, case.embeddings.shape).astype(np.float32)
    other = case.embeddings + noise
    took = [processor_seconds(lambda: stable_instances(case.truth, other, half_trained.PULL)) for _ in range(runs)]
    kept = np.unique(stable_instances(case.truth, other, half_trained.PULL))
    found = np.unique(case.truth)
    return Row(
        figure=round(1000 * float(np.median(took)), 1),
        unit="ms an image",
        details={"true_instances": len(found), "kept": int(np.isin(found, kept).sum())},
    )


def points_of(case: Case) -> np.ndarray:
    return np.ascontiguousarray(case.embeddings.reshape(len(case.embeddings), -1).T)


def plus(points: np.ndarray, sample: int | None = None) -> np.ndarray:
    sampled = {} if sample is None else {"sample": sample}
    return build_clusterer(CLUSTER.model_copy(update=sampled))(points)


def sklearn_labels(points: np.ndarray, drawn: np.ndarray | None = None, *, bins: bool = True) -> np.ndarray:
    fitted = MeanShift(bandwidth=BANDWIDTH, bin_seeding=bins).fit(points if drawn is None else points[drawn])
    return fitted.labels_ if drawn is None else fitted.predict(points)


def agreement(points: np.ndarray, theirs: np.ndarray, case: Case, sample: int | None = None) -> dict[str, float]:
    """Return the adjusted Rand index with the rival's labels before and after merging, and of both with the truth."""
    sampled = {} if sample is None else {"sample": sample}
    modes = mean_shift(points, BANDWIDTH, **sampled).labels
    merged, rival = merge_near(points, modes, MERGE), merge_near(points, theirs, MERGE)
    return {
        "clusters": len(np.unique(theirs)),
        "same": round(adjusted_rand_score(theirs, modes), 4),
        "same_merged": round(adjusted_rand_score(rival, merged), 4),
        "same_merged_as_unmerged": round(adjusted_rand_score(theirs, merged), 4),
        "truth": round(adjusted_rand_score(case.truth.ravel(), merged), 4),
        "truth_scikit_learn": round(adjusted_rand_score(case.truth.ravel(), theirs), 4),
    }


def paired(ours: Callable[[], object], rival: Callable[[], np.ndarray], runs: int) -> tuple[float, float, np.ndarray]:
    """Return processor seconds of ours and of the rival, and what the rival returned."""
    ours()
    before = [processor_seconds(ours) for _ in range(runs // 2)]
    started = time.process_time()
    labels = rival()
    took = time.process_time() - started
    after = [processor_seconds(ours) for _ in range(runs - runs // 2)]
    return float(np.median(before + after)), took, labels


def processor_seconds(function: Callable[[], object]) -> float:
    started = time.process_time()
    function()
    return time.process_time() - started
