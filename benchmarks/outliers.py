"""Aliens planted among Mars terrain: average precision, recall at the default cut, false alarms; 100 000 feature rows.

Planted, all brought to the 128×64 gray pixels of `mars_gray` so that no size gives them away: X-rays of `teeth` and
tissue of `glas` (easy), another Mars camera from `marsdata_rocks`, and composites whose left side is one image of
`mars_gray` and whose right side another (hard). Each kind alone is planted among all 1049 images, about 5 %, and all
kinds together. The rival is the way of the source documents: the Mahalanobis distance of 30 principal components of
the pixels (32×32 thumbnails, Ledoit-Wolf); scikit-learn's isolation forest on our features stands in the details. False
alarms are what the default cut flags in sets in which nothing is planted: some of those images are odd indeed.
"""

import argparse
import os
import resource
import time
from pathlib import Path

import cv2
import numpy as np
from sklearn.covariance import LedoitWolf
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.metrics import average_precision_score

from benchmarks import record
from benchmarks.record import Row
from maskwright.audit.features import FEATURES, features
from maskwright.audit.hashing import thumbnail
from maskwright.audit.outliers import components, embed, mahalanobis, one_class_svm
from maskwright.data.images import SUFFIXES, read_image
from maskwright.recipe.outliers import OutlierSpec

SIZE, MOST = (128, 64), 50
EASY, FALSE_ALARMS, SECONDS = 0.9, 0.02, 300.0
CLEAN = ("mars_gray", "teeth", "camvid", "glas", "dsb2018")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks outliers", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("MASKWRIGHT_DATA", "/nonexistent")))
    parser.add_argument("--rows", type=int, default=100_000, help="of generated features")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    rows = {"generated feature rows": generated(arguments.rows)}
    if not (arguments.data / "mars_gray").is_dir():
        parser.error(f"expected mars_gray in {arguments.data}, found nothing: name its parent with --data")
    terrain = [cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) for path in files(arguments.data / "mars_gray")]
    aliens = planted(arguments.data, terrain)
    for name, pictures in aliens.items():
        rows[f"planted: {name}"] = found(terrain, pictures, easy="easy" in name)
    mixed = [picture for pictures in aliens.values() for picture in pictures[::4]]
    rows["planted: a quarter of each"] = found(terrain, mixed, easy=False)
    for name in CLEAN:
        rows[f"nothing planted: {name}"] = false_alarms(files(arguments.data / name))
    record.write("outliers", rows, rivals=("scikit-learn", "scipy"))


def files(folder: Path) -> list[Path]:
    """Return the images of a set, labelled and unlabelled."""
    parts = (folder / "images", folder / "unlabeled")
    return sorted(path for part in parts for path in part.rglob("*") if path.suffix.lower() in SUFFIXES)


def planted(data: Path, terrain: list[np.ndarray]) -> dict[str, list[np.ndarray]]:
    """Return the kinds of aliens, gray (64, 128)."""
    sources = {"X-rays (easy)": "teeth", "tissue (easy)": "glas", "another Mars camera (hard)": "marsdata_rocks"}
    kinds = {
        name: [squeezed(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)) for path in spread(files(data / folder))]
        for name, folder in sources.items()
    }
    rng = np.random.default_rng(0)
    composites = []
    for _ in range(MOST):
        left, right = rng.choice(len(terrain), 2, replace=False)
        seam = int(rng.integers(SIZE[0] // 3, 2 * SIZE[0] // 3))
        composites.append(np.concatenate([terrain[left][:, :seam], terrain[right][:, seam:]], axis=1))
    return kinds | {"composites of two terrains (hard)": composites}


def spread(paths: list[Path]) -> list[Path]:
    return [paths[i] for i in np.unique(np.linspace(0, len(paths) - 1, MOST).astype(int))]


def squeezed(image: np.ndarray) -> np.ndarray:
    """Return the middle of an image, cut to 2:1 and scaled."""
    height, width = image.shape
    rows = min(height, width // 2)
    top, left = (height - rows) // 2, (width - 2 * rows) // 2
    return cv2.resize(image[top : top + rows, left : left + 2 * rows], SIZE, interpolation=cv2.INTER_AREA)


def found(terrain: list[np.ndarray], aliens: list[np.ndarray], *, easy: bool) -> Row:
    """Return how well aliens are told from terrain."""
    everything = [*terrain, *aliens]
    truth = np.repeat([0, 1], [len(terrain), len(aliens)])
    table = np.stack([features(picture[..., None]) for picture in everything])
    spec = OutlierSpec()
    scores = components(table, spec)
    ranking, svm = mahalanobis(scores, spec), one_class_svm(scores, spec)
    precision = average_precision_score(truth, ranking.scores)
    return Row(
        figure=precision,
        unit="average precision",
        against="Mahalanobis distance of the pixels' principal components",
        other=average_precision_score(truth, by_pixels(everything)),
        target=f"≥ {EASY:g}" if easy else "",
        reached=bool(precision >= EASY) if easy else None,
        details={
            "aliens": len(aliens),
            "images": len(terrain),
            "recall at the default cut": float(ranking.flagged[truth == 1].mean()),
            "false alarms at the default cut": float(ranking.flagged[truth == 0].mean()),
            "one-class SVM, average precision": average_precision_score(truth, svm.scores),
            "isolation forest, average precision": average_precision_score(truth, by_forest(table)),
        },
    )


def by_pixels(images: list[np.ndarray]) -> np.ndarray:
    """Return the distances of the rival."""
    thumbnails = np.stack([thumbnail(image).ravel() for image in images])
    scores = PCA(30, random_state=0).fit_transform(thumbnails)
    return LedoitWolf().fit(scores).mahalanobis(scores)


def by_forest(table: np.ndarray) -> np.ndarray:
    return -IsolationForest(random_state=0).fit(table).score_samples(table)


def false_alarms(paths: list[Path]) -> Row:
    """Return what the default cut flags in a set as it is."""
    table = np.stack([features(read_image(path)) for path in paths])
    ranking = mahalanobis(components(table, OutlierSpec()), OutlierSpec())
    share = float(ranking.flagged.mean())
    return Row(
        figure=share,
        unit="of the images flagged",
        target=f"≤ {FALSE_ALARMS:g}",
        reached=share <= FALSE_ALARMS,
        details={"images": len(paths), "cut": ranking.about},
    )


def generated(count: int) -> Row:
    """Return how long both rankings and the maps take on so many rows."""
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(12, len(FEATURES))).astype(np.float32)
    table = rng.gamma(2, size=(count, 12)).astype(np.float32) @ mixing
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    scores = components(table, OutlierSpec())
    flagged = mahalanobis(scores, OutlierSpec()).flagged | one_class_svm(scores, OutlierSpec()).flagged
    embed(scores, flagged, rng)
    seconds = time.perf_counter() - start
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    details = {"rows": count, "features": len(FEATURES), "peak_memory_grown_mib": round(grown)}
    return Row(figure=seconds, unit="s", target=f"≤ {SECONDS:g}", reached=seconds <= SECONDS, details=details)
