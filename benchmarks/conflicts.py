"""Conflicts, recompressed copies and crops: planted among real images, and the real ones that are known.

Planted conflicts: `--images` teeth, each with a copy that is flipped or turned and recompressed; half of the copies
have a coarser mask (polygons with a tolerance of .5 to 2 % of the side, convex hulls, half of the objects forgotten),
the others the same mask. A conflict is true if the copy's mask is the coarser one; the choice is right if the
original stays. Inherited masks: the copies without masks, compared with the masks they would have. Recompressed: one
JPEG of quality 30 to 90 an image, two in three scaled by .5 to .9. Crops: 50 to 90 % of the area, one in two scaled
by .6 to 1.4, recompressed; whatever else is found counts as false, real overlaps too.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import polars as pl

from benchmarks import record
from benchmarks.duplicates import Pairs, found_pairs, precision, recall
from benchmarks.record import Row
from maskwright.audit import audit_index
from maskwright.audit.crops import find_crops
from maskwright.audit.replay import replay
from maskwright.augment.dihedral import DIHEDRAL, apply
from maskwright.data.index import build_index
from maskwright.decisions import settled
from maskwright.recipe.data import AuditSpec, DataSpec

TARGET = 0.95
COPIES = 40
SETS = {"marsdata_rocks": "images/*", "teeth": "images/*", "camvid": "images/val/*", "mars_gray": "images/*"}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks conflicts", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("MASKWRIGHT_DATA", "/nonexistent")))
    parser.add_argument(
        "--images", type=int, default=60, help="teeth with planted copies; at most this many a set else"
    )
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    if not (arguments.data / "teeth" / "images").is_dir():
        parser.error(f"expected the sets in {arguments.data}, found no teeth: name it with --data or MASKWRIGHT_DATA")
    rows = planted_conflicts(arguments.data / "teeth", arguments.images) | real_conflict(arguments.data / "teeth")
    for name, pattern in SETS.items():
        files = sorted(arguments.data.joinpath(name).glob(pattern))
        rows |= recompressed(name, files[: 4 * arguments.images]) | cropped(name, files[: 4 * arguments.images])
    record.write("conflicts", rows)


def planted_conflicts(teeth: Path, count: int) -> dict[str, Row]:
    """Return how many conflicts are found, how often the finer mask stays, and how well inherited masks fit."""
    rng = np.random.default_rng(0)
    masks = sorted((teeth / "masks").iterdir())[:count]
    with tempfile.TemporaryDirectory() as temporary:
        root, coarse = Path(temporary) / "data", set[str]()
        for folder in ("images", "masks", "unlabeled"):
            (root / folder).mkdir(parents=True)
        truth = {}
        for number, path in enumerate(masks):
            mask = np.minimum(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE), 1)
            image = cv2.imread(str(next((teeth / "images").glob(f"{path.stem}.*"))), cv2.IMREAD_GRAYSCALE)
            cv2.imwrite(str(root / "images" / f"{number:03d}.png"), image)
            cv2.imwrite(str(root / "masks" / f"{number:03d}.png"), mask)
            turn = DIHEDRAL[rng.integers(8)]
            quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(50, 96))]
            cv2.imwrite(str(root / "images" / f"{number:03d}_copy.jpg"), apply(image, turn), quality)
            other = coarser(mask, rng) if number % 2 else mask
            coarse |= {f"images/{number:03d}.png"} if number % 2 else set()
            cv2.imwrite(str(root / "masks" / f"{number:03d}_copy.png"), apply(other, turn))
            turn = DIHEDRAL[rng.integers(8)]
            cv2.imwrite(str(root / "unlabeled" / f"{number:03d}.jpg"), apply(image, turn), quality)
            truth[f"unlabeled/{number:03d}.jpg"] = apply(mask, turn)
        index, _, _ = build_index(DataSpec(root=str(root), classes="binary"), Path(temporary) / "imported")
        audit = audit_index(index, AuditSpec())
        found = set(audit.findings.filter(pl.col("kind") == "conflict")["image"])
        gone = {d.image for d in audit.decisions if d.action == "drop"}
        decided = replay(index, settled(audit.decisions))
        scores = inherited_iou(index, decided.table, truth, coarse)
    right = sum(image.replace(".png", "_copy.jpg") in gone and image not in gone for image in coarse)
    return {
        "planted conflicts, teeth: recall": _share(len(found & coarse), len(coarse), "of the conflicts"),
        "planted conflicts, teeth: precision": _share(len(found & coarse), len(found), "of those found"),
        "planted conflicts, teeth: the finer mask stays": _share(right, len(coarse), "of the conflicts"),
        "unlabelled copies, teeth: mask inherited": _share(len(scores), len(truth), "of the copies"),
        "unlabelled copies, teeth: worst IoU of an inherited mask": Row(
            figure=min(scores, default=0.0),
            unit="IoU",
            target=f"≥ {TARGET}",
            reached=min(scores, default=0.0) >= TARGET,
        ),
    }


def coarser(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the mask as a hurried annotator draws it."""
    outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    way = rng.integers(3)
    if way == 0:
        tolerance = rng.uniform(0.005, 0.02) * mask.shape[0]
        outlines = [cv2.approxPolyDP(outline, tolerance, True) for outline in outlines]
    elif way == 1:
        outlines = [cv2.convexHull(outline) for outline in outlines]
    else:
        largest = sorted(outlines, key=cv2.contourArea)
        outlines = largest[len(largest) // 2 :] if len(largest) > 1 else [cv2.convexHull(largest[0])]
    return cv2.fillPoly(np.zeros_like(mask), list(outlines), 1)


def inherited_iou(index, table: pl.DataFrame, truth: dict[str, np.ndarray], coarse: set[str]) -> list[float]:
    """Return the IoU of each inherited mask with the one that was hidden."""
    scores = []
    replaced = type(index)(index.root, table, index.categories, index.target, index.imported)
    for row, image in enumerate(table["image"]):
        if image in truth and (label := replaced.read_label(row)) is not None:
            union = ((label == 1) | (truth[image] == 1)).sum()
            scores.append(float(((label == 1) & (truth[image] == 1)).sum() / union) if union else 1.0)
    return scores


def real_conflict(teeth: Path) -> dict[str, Row]:
    """Return whether the one real conflict of the set is found, and nothing else."""
    index, _, _ = build_index(DataSpec(root=str(teeth), classes="binary"))
    audit = audit_index(index, AuditSpec())
    rows = audit.findings.filter(pl.col("kind") == "conflict").to_dicts()
    names = {Path(row["image"]).stem for row in rows} | {Path(row["other_image"]).stem for row in rows}
    found = names == {"cate4-00101", "cate4-00107"}
    details = {"detail": rows[0]["detail"], "dropped": [d.image for d in audit.decisions]} if rows else {}
    return {
        "real conflict, teeth: the one, and nothing else": Row(
            figure=float(found), unit="of 1", target="1", reached=found, details={"conflicts": len(rows), **details}
        )
    }


def recompressed(name: str, files: list[Path]) -> dict[str, Row]:
    """Return how many JPEG copies, some of them smaller, the hashes find."""
    rng = np.random.default_rng(1)
    with tempfile.TemporaryDirectory() as temporary:
        paths, truth = list(files), set[tuple[int, int]]()
        for number in rng.permutation(len(files))[:COPIES].tolist():
            image = cv2.imread(str(files[number]))
            if rng.random() < 2 / 3:
                factor = rng.uniform(0.5, 0.9)
                image = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
            paths.append(_jpeg(image, Path(temporary), number, int(rng.integers(30, 91))))
            truth.add((number, len(paths) - 1))
        copies = found_pairs(paths)
    own = {pair for pair in copies if max(pair) < len(files)}  # the set's own
    return _scored(f"recompressed, {name}", copies - own, truth, {"files": len(files), "own_pairs": len(own)})


def cropped(name: str, files: list[Path]) -> dict[str, Row]:
    """Return how many crops the features find."""
    rng = np.random.default_rng(2)
    with tempfile.TemporaryDirectory() as temporary:
        paths, truth = list(files), set[tuple[int, int]]()
        for number in rng.permutation(len(files))[:COPIES].tolist():
            image = cv2.imread(str(files[number]))
            size, share = np.array(image.shape[:2]), np.sqrt(rng.uniform(0.5, 0.9))
            stretch = np.exp(rng.uniform(-0.1, 0.1))
            height, width = np.minimum(size, size * share * [stretch, 1 / stretch]).astype(int)
            top, left = (int(rng.integers(room + 1)) for room in size - (height, width))
            part = image[top : top + height, left : left + width]
            if rng.random() < 1 / 2:
                factor = rng.uniform(0.6, 1.4)
                part = cv2.resize(part, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
            paths.append(_jpeg(part, Path(temporary), number, int(rng.integers(50, 96))))
            truth.add((number, len(paths) - 1))
        started = time.process_time()
        found = {(crop.whole, crop.part) for crop in find_crops(paths)}
        milliseconds = 1000 * (time.process_time() - started) / len(paths)
    details = {"files": len(files), "found": len(found), "processor_ms_an_image": round(milliseconds, 1)}
    return _scored(f"crops, {name}", found, truth, details)


def _scored(kind: str, found: Pairs, truth: Pairs, details: dict[str, object]) -> dict[str, Row]:
    rows = {}
    for name, score in (("recall", recall), ("precision", precision)):
        figure = score(found, truth)
        rows[f"{kind}: {name}"] = Row(
            figure=figure, unit="of the pairs", target=f"≥ {TARGET:g}", reached=figure >= TARGET, details=details
        )
    return rows


def _share(part: int, whole: int, unit: str) -> Row:
    figure = part / whole if whole else 0.0
    return Row(figure=figure, unit=unit, target=f"≥ {TARGET:g}", reached=figure >= TARGET, details={"of": whole})


def _jpeg(image: np.ndarray, folder: Path, number: int, quality: int) -> Path:
    path = folder / f"{number:04d}.jpg"
    cv2.imwrite(str(path), image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return path
