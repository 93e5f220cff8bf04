"""Suspect labels: planted errors in made-up masks beside cleanlab, memory on a large store, shifted masks of real data.

Planted: scenes of a sky, ground, and objects of further categories; the probabilities are the true masks', blurred,
with outlines that are a pixel or two off and smooth noise, as a network's. In a fifth of the images is an error: an
object not drawn, drawn as another category, or the whole mask moved. Scored by average precision: of pixels, over all
images together, and of images. cleanlab gets the same arrays: its quality scores of images and pixels
(`segmentation.rank.get_label_quality_scores`, softmin).

Store: as many images as asked, 512 × 512 with 10 categories, in `ProbabilityStore`; some files stand behind the names
by links. Real: the table of a run on `marsdata_rocks` whose folds are grouped by frame (--run), its 45 relabelled
copies; the nine `_tup` masks are shifted.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import polars as pl
from sklearn.metrics import average_precision_score

from benchmarks import record
from benchmarks.record import Row
from maskwright.audit.suspects import find_suspects, suspect_pixels
from maskwright.data.store import ProbabilityStore
from maskwright.recipe.suspects import SuspectSpec

SIZE, COPIES = (512, 512), ("rccw", "rcw", "sup", "tup", "warp")
Item = tuple[str, np.ndarray, np.ndarray]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks suspects", description=__doc__)
    parser.add_argument("--run", type=Path, help="run folder on marsdata_rocks, grouped by frame")
    parser.add_argument("--planted", type=int, default=60, help="images with planted errors and without")
    parser.add_argument("--images", type=int, default=1000, help="images of the large store; 0: none")
    parser.add_argument("--only-store", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    if arguments.only_store:
        read_store(arguments.only_store)
        return
    rows = record.read("suspects") | planted(arguments.planted)
    if arguments.images:
        rows |= large_store(arguments.images)
    if arguments.run:
        rows |= shifted_rocks(arguments.run)
    record.write("suspects", rows, rivals=("cleanlab",))


def scene(rng: np.random.Generator, categories: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Return a label map: sky, ground and 3 to 8 blobs of the other categories."""
    height, width = size
    label = np.zeros(size, np.uint8)
    label[: int(height * rng.uniform(0.2, 0.5))] = 1
    for _ in range(int(rng.integers(3, 9))):
        centre = int(rng.integers(width)), int(rng.integers(height // 4, height))
        axes = tuple(int(a) for a in rng.integers(height // 40, height // 8, 2))
        cv2.ellipse(label, centre, axes, float(rng.uniform(0, 180)), 0, 360, int(rng.integers(2, categories)), -1)
    return label


def predicted(label: np.ndarray, categories: int, rng: np.random.Generator) -> np.ndarray:
    """Return (C, H, W) probabilities that a network might give whose truth is `label`."""
    height, width = label.shape
    grid = rng.normal(0, 2, (2, height // 32, width // 32)).astype(np.float32)
    shift = [cv2.resize(plane, (width, height), interpolation=cv2.INTER_CUBIC) for plane in grid]
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    moved = cv2.remap(label, columns + shift[0], rows + shift[1], cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
    scores = np.empty((categories, height, width), np.float32)
    for c in range(categories):
        noise = rng.normal(0, 1.2, (height // 16, width // 16)).astype(np.float32)
        sure = cv2.GaussianBlur((moved == c).astype(np.float32), (0, 0), 2)
        scores[c] = 6 * sure + cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
    scores -= scores.max(0)
    np.exp(scores, out=scores)
    return scores / scores.sum(0)


def with_error(kind: str, label: np.ndarray, categories: int, rng: np.random.Generator) -> np.ndarray:
    """Return the mask with one planted error."""
    drawn = label.copy()
    if kind == "shifted":
        return np.roll(
            drawn, (int(rng.choice([-1, 1])) * int(rng.integers(12, 26)), int(rng.integers(-10, 11))), (0, 1)
        )
    kinds = [c for c in range(2, categories) if (label == c).any()]
    chosen = int(rng.choice(kinds))
    _, numbered, stats, _ = cv2.connectedComponentsWithStats((label == chosen).astype(np.uint8))
    largest = numbered == 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())
    others = [c for c in range(2, categories) if c != chosen]
    drawn[largest] = 0 if kind == "dropped" else int(rng.choice(others))
    return drawn


def planted_items(count: int, kind: str, categories: int = 6, size: tuple[int, int] = (256, 256)) -> Iterator[Item]:
    """Yield images; every fifth has an error of that kind, its name ends with `!`."""
    for k in range(count):
        rng = np.random.default_rng((k, len(kind)))
        label = scene(rng, categories, size)
        probabilities = predicted(label, categories, rng)
        if k % 5 == 0:
            yield f"{k}!", with_error(kind, label, categories, rng), probabilities
        else:
            yield f"{k}", label, probabilities


def planted(count: int) -> dict[str, Row]:
    """Return average precisions beside cleanlab's, and the time of both on the same arrays."""
    from cleanlab.segmentation.rank import get_label_quality_scores

    rows = {}
    for kind in ("dropped", "swapped", "shifted"):
        items = list(planted_items(count, kind))
        names = [f"c{c}" for c in range(items[0][2].shape[0])]
        started = time.process_time()
        found = find_suspects(items, names, SuspectSpec())
        ours = time.process_time() - started
        labels, maps = np.stack([label for _, label, _ in items]), np.stack([p for *_, p in items])
        started = time.process_time()
        theirs_image, theirs_pixel = get_label_quality_scores(labels, maps, verbose=False)
        theirs = time.process_time() - started
        wrong = np.array([name.endswith("!") for name, *_ in items])
        place = {image: -rank for rank, image in enumerate(found.images["image"])}
        truth = np.stack([scene_truth(k, kind) for k in range(count)]) != labels
        doubts = np.stack([suspect_pixels(label, p, found.thresholds) for _, label, p in items])
        ours_image = average_precision_score(wrong, [place[name] for name, *_ in items])
        rows[f"{kind}: images"] = Row(
            figure=ours_image,
            unit="average precision",
            against="cleanlab softmin",
            other=average_precision_score(wrong, -theirs_image),
            details={"images": count, "with_error": int(wrong.sum())},
        )
        rows[f"{kind}: pixels"] = Row(
            figure=average_precision_score(truth[:, ::2, ::2].ravel(), doubts[:, ::2, ::2].ravel()),
            unit="average precision",
            against="cleanlab's pixel scores",
            other=average_precision_score(truth[:, ::2, ::2].ravel(), -theirs_pixel[:, ::2, ::2].ravel()),
            details={
                "wrong_share": float(truth.mean()),
                "processor_seconds": round(ours, 2),
                "cleanlab_seconds": round(theirs, 2),
            },
        )
        if kind != "shifted":
            first = found.regions.head(int(wrong.sum()))["image"].str.ends_with("!")
            rows[f"{kind}: first regions"] = Row(
                figure=float(first.mean() or 0), unit="of as many regions as errors lie in an image with one"
            )
    return rows


def scene_truth(k: int, kind: str, categories: int = 6, size: tuple[int, int] = (256, 256)) -> np.ndarray:
    return scene(np.random.default_rng((k, len(kind))), categories, size)


def large_store(count: int) -> dict[str, Row]:
    """Return peak memory and time of a process that reads a store of that many maps."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        store = ProbabilityStore(folder / "oof")
        for k in range(20):
            rng = np.random.default_rng(k)
            label = scene(rng, 10)
            store.write(f"file{k}", predicted(label, 10, rng))
            cv2.imwrite(str(folder / f"{k}.png"), with_error("dropped", label, 10, rng) if k % 5 == 0 else label)
        for k in range(count):
            os.symlink(store.path(f"file{k % 20}"), store.path(f"{k:05d}"))
        words = [sys.executable, "-m", "benchmarks", "suspects", "--only-store", temporary]
        out = subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()
    megabytes, seconds, reads, images = (float(word) for word in out[-4:])
    details = {"images": int(images), "maps_read": int(reads), "processor_seconds": round(seconds, 1)}
    details["milliseconds_an_image"] = round(1000 * seconds / images, 1)
    return {
        f"{count} × 512×512 × 10: peak memory": Row(
            figure=round(megabytes / 1000, 3),
            unit="GB",
            target="< 1 GB, each map read once",
            reached=megabytes < 1000 and reads == images,
            details=details,
        )
    }


def read_store(folder: Path) -> None:
    """Print peak megabytes, processor seconds, maps read and images."""
    store, reads = ProbabilityStore(folder / "oof"), 0
    names = sorted(path.stem for path in store.folder.glob("[0-9]*.npz"))

    def items() -> Iterator[Item]:
        nonlocal reads
        for name in names:
            reads += 1
            label = cv2.imread(str(folder / f"{int(name) % 20}.png"), cv2.IMREAD_UNCHANGED)
            yield name, label, store.read(name)

    started = time.process_time()
    found = find_suspects(items(), [f"c{c}" for c in range(10)])
    seconds = time.process_time() - started
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000, seconds, reads, found.images.height)


def shifted_rocks(run: Path) -> dict[str, Row]:
    """Return the average precision of the nine shifted masks among the 45 relabelled copies."""
    table = pl.read_parquet(run / "suspects" / "images.parquet")
    copies = table.filter(pl.col("image").str.contains(rf"_({'|'.join(COPIES)})\.\w+$"))
    wrong = copies["image"].str.contains("_tup").to_list()
    figure = average_precision_score(wrong, -np.arange(copies.height))
    details = {
        "copies": copies.height,
        "shifted": sum(wrong),
        "called_shifted_of_all": int(table["shifted"].sum()),
        "images": table.height,
        "by_score_alone": average_precision_score(wrong, copies["score"].to_list()),
    }
    return {
        "marsdata_rocks: shifted masks first": Row(
            figure=figure, unit="average precision", target="≥ 0.8", reached=figure >= 0.8, details=details
        )
    }
