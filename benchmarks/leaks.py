"""Leaks across parts: the real one of camvid, planted ones, and false alarms on clean partitions.

Found: camvid's own train and val (a sequence is cut), with meta.csv and by file names alone; patients of glas put into
two parts at random; image 028 of cwfid copied into the other part. False alarms: partitions that keep groups whole: of
made-up sequences (with groups in their names, without, and as one film), of glas by patient, mars_gray by panorama,
marsdata_rocks by frame, camvid by sequence.
"""

import argparse
import csv
import os
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from benchmarks import record
from benchmarks.record import Row
from maskwright.audit.duplicates import find_duplicates
from maskwright.audit.hashing import hashes, thumbnail
from maskwright.audit.inspect import read_thumbnail
from maskwright.audit.leaks import Leak, find_leaks

GROUPS = {"glas": "patient ID", "mars_gray": "panorama", "marsdata_rocks": "group", "camvid": "sequence"}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks leaks", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("MASKWRIGHT_DATA", "/nonexistent")))
    parser.add_argument("--partitions", type=int, default=20, help="clean partitions of each kind")
    arguments = parser.parse_args()
    if not (arguments.data / "camvid" / "images").is_dir():
        parser.error(f"expected the sets in {arguments.data}, found nothing: name it with --data or MASKWRIGHT_DATA")
    sets = {name: Set(arguments.data / name) for name in (*GROUPS, "cwfid")}
    rows = found_rows(sets)
    rows["false alarms, made-up sequences"] = alarms(made_up(arguments.partitions))
    for name, column in GROUPS.items():
        rows[f"false alarms, {name} by {column}"] = alarms(clean(sets[name], column, arguments.partitions))
    record.write("leaks", rows)


class Set:
    """A data set: paths, thumbnails, columns of meta.csv."""

    def __init__(self, root: Path) -> None:
        files = sorted(path for path in (root / "images").rglob("*") if path.is_file())
        self.images = [path.relative_to(root).as_posix() for path in files]
        self.thumbnails = [read_thumbnail(path)[0] for path in files]
        with open(root / "meta.csv", encoding="utf-8") as file:
            table = {row["name"]: row for row in csv.DictReader(file)}
        rows = [table[path.stem] for path in files]
        self.columns = {key: [row[key] for row in rows] for key in rows[0] if key != "name"}


def found_rows(sets: dict[str, Set]) -> dict[str, Row]:
    """Return how much of each known leak is found."""
    camvid, glas, cwfid = sets["camvid"], sets["glas"], sets["cwfid"]
    own = [image.split("/")[1] for image in camvid.images]
    rows = {}
    for kind, columns in (("column", camvid.columns), ("names alone", {})):
        leaks = find_leaks(camvid.images, own, columns=columns, thumbnails=camvid.thumbnails)
        told = [leak.detail for leak in leaks if leak.kind == "leak_group"]
        right = sum(detail.startswith("0016E5 ") for detail in told)
        rows[f"camvid's cut sequence, {kind}"] = found(right, 1, others=len(leaks) - right, example=told[:1])
    patients, parts = glas.columns["patient ID"], at_random(len(glas.images), 0)
    crossing = {p for p in patients if len({part for q, part in zip(patients, parts, strict=True) if q == p}) == 2}
    leaks = find_leaks(glas.images, parts, columns=glas.columns, thumbnails=glas.thumbnails)
    told = [leak.detail for leak in leaks if leak.kind == "leak_group"]
    right = len(crossing & {detail.split(" ")[0] for detail in told})
    rows["glas, patients in two parts"] = found(right, len(crossing), others=len(leaks) - right, example=told[:1])
    rows["cwfid, image 028 in two parts"] = copied(cwfid)
    return rows


def copied(cwfid: Set) -> Row:
    """Copy image 028 into the part where it isn't."""
    images = [*cwfid.images, "images/028_again.jpg"]
    place = next(k for k, image in enumerate(images) if "/028" in image)
    thumbnails = [*cwfid.thumbnails, cwfid.thumbnails[place]]
    parts = at_random(len(cwfid.images), 1)
    parts.append("train" if parts[place] == "val" else "val")
    stack = np.stack(thumbnails)
    pairs = [(d.first, d.second, d.correlation) for d in find_duplicates(stack, hashes(stack))]
    leaks = find_leaks(images, parts, duplicates=pairs, thumbnails=thumbnails)
    right = [
        leak for leak in leaks if (leak.kind, leak.first, leak.second) == ("leak_duplicate", place, len(images) - 1)
    ]
    return found(len(right), 1, others=len(leaks) - len(right), example=[leak.detail for leak in right])


def found(right: int, total: int, *, others: int, example: list[str]) -> Row:
    return Row(
        figure=right / total,
        unit="of the leaks",
        target="1, nothing else",
        reached=right == total and others == 0,
        details={"leaks": total, "other_findings": others, "says": example},
    )


def at_random(count: int, seed: int, share: float = 0.3) -> list[str]:
    return ["val" if r < share else "train" for r in np.random.default_rng(seed).random(count)]


def whole_groups(groups: list[str], seed: int, share: float = 0.3) -> list[str]:
    """Return parts that keep groups whole; one group at least is held out."""
    order, held = np.random.default_rng(seed).permutation(sorted(set(groups))), set[str]()
    while sum(group in held for group in groups) < share * len(groups) and len(held) < len(order) - 1:
        held.add(order[len(held)])
    return ["val" if group in held else "train" for group in groups]


def clean(data: Set, column: str, count: int) -> Iterator[list[Leak]]:
    """Yield what is found in partitions by a column, with meta.csv and with images and names alone."""
    names = [f"images/{image.rsplit('/', 1)[-1]}" for image in data.images]
    for seed in range(count):
        parts = whole_groups(data.columns[column], seed)
        yield find_leaks(names, parts, part_column="part", columns=data.columns, thumbnails=data.thumbnails)
        yield find_leaks(names, parts, part_column="part", thumbnails=data.thumbnails)


def made_up(count: int, sequences: int = 20, length: int = 8) -> Iterator[list[Leak]]:
    """Yield what is found in partitions of drifting pictures, by three ways of naming them."""
    groups = [f"{k // length:02d}" for k in range(sequences * length)]
    for seed in range(count):
        rng = np.random.default_rng(seed)
        pictures, change = [], rng.uniform(0.05, 0.4)
        for _ in range(sequences):
            picture = smooth(rng)
            for _ in range(length):
                picture = np.sqrt(1 - change**2) * picture + change * smooth(rng)
                pictures.append(thumbnail(picture))
        parts = whole_groups(groups, seed)
        for names in (
            [f"images/run{group}_{k:04d}.png" for k, group in enumerate(groups)],
            [f"images/{n:06x}.png" for n in rng.permutation(1 << 20)[: len(groups)]],
            [f"images/film_{7 * k:05d}.png" for k in range(len(groups))],
        ):
            yield find_leaks(names, parts, thumbnails=pictures)


def smooth(rng: np.random.Generator) -> np.ndarray:
    return cv2.resize(rng.normal(size=(6, 6)).astype(np.float32), (64, 64), interpolation=cv2.INTER_CUBIC)


def alarms(partitions: Iterator[list[Leak]]) -> Row:
    flagged = list(partitions)
    wrong = sum(bool(leaks) for leaks in flagged)
    return Row(
        figure=wrong / len(flagged),
        unit="of the clean partitions flagged",
        target="0",
        reached=wrong == 0,
        details={"partitions": len(flagged), "says": [leaks[0].detail for leaks in flagged if leaks][:3]},
    )
