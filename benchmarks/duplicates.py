"""Duplicates among Mars rocks: recall, precision and time on made flips and quarter turns, and on the set's own copies.

Made: each of the 48 frames under all eight flips and quarter turns and once more as it is, each written as a JPEG of
its own quality, one in three scaled; two files of one frame are a true pair. The set's own: 48 frames with 109 copies.
What is true there is said by pixels, not by names: two files are a true pair if under some flip or turn they differ by
at most `GRAY` grey levels a pixel on average, at full size. The copies rotated by some degrees, warped or relabelled
are no such pairs; how many of them are found is told without a target. imagededup has no flips; it runs with its own
threshold of 10 bits. cleanvision has neither flips nor a threshold: equal hashes are its near duplicates. The times are
from a folder of files to pairs, one process each, interleaved.
"""

import argparse
import contextlib
import io
import itertools
import logging
import os
import tempfile
from pathlib import Path

import cv2
import numpy as np
from cleanvision import Imagelab
from imagededup.methods import DHash, PHash

from benchmarks import record
from benchmarks.record import Row
from benchmarks.rig import compare, inverse
from maskwright.audit.duplicates import find_duplicates
from maskwright.audit.hashing import hashes
from maskwright.audit.inspect import read_thumbnail
from maskwright.augment.dihedral import DIHEDRAL, apply
from maskwright.recipe.data import AuditSpec

GRAY, TARGET = 6.0, 0.95
Pairs = set[tuple[int, int]]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks duplicates", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("MASKWRIGHT_DATA", "/nonexistent")))
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    logging.disable(logging.INFO)  # imagededup's
    root = arguments.data / "marsdata_rocks"
    if not (root / "images").is_dir():
        parser.error(f"expected the set in {root}, found nothing: name its parent with --data or MASKWRIGHT_DATA")
    frames = sorted((root / "images").iterdir())
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        made, truth = made_copies(frames, folder / "made")
        rows = scored("made", made, truth) | timed(made)
        own = [linked(path, folder / "own") for path in [*frames, *sorted((root / "duplicates" / "images").iterdir())]]
        rows |= scored("the set's own", own, same_by_pixels(own))
        rows["the set's own, rotated, warped or relabelled"] = others_found(own, len(frames))
    record.write("duplicates", rows, rivals=("imagededup", "cleanvision"))


def scored(kind: str, paths: list[Path], truth: Pairs) -> dict[str, Row]:
    """Return recall and precision of the audit's search, beside imagededup's."""
    ours = found_pairs(paths)
    rivals = {make.__name__: deduplicated(paths, make) for make in (PHash, DHash)}
    cleaned = cleanvision_pairs(paths)
    details = {"files": len(paths), "true_pairs": len(truth), "found": len(ours)}
    rows = {}
    for name, score in (("recall", recall), ("precision", precision)):
        figure = score(ours, truth)
        rows[f"{kind}: {name}"] = Row(
            figure=figure,
            unit="of the pairs",
            against="imagededup PHash",
            other=score(rivals["PHash"], truth),
            target=f"≥ {TARGET:g}",
            reached=figure >= TARGET,
            details={
                **details,
                "imagededup DHash": score(rivals["DHash"], truth),
                "cleanvision": score(cleaned, truth),
            },
        )
    return rows


def timed(paths: list[Path]) -> dict[str, Row]:
    """Return how long the search takes, beside the two others'."""
    rows = {}
    for name, rival in (
        ("imagededup PHash", lambda: deduplicated(paths, PHash)),
        ("cleanvision", lambda: cleanvision_pairs(paths)),
    ):
        ours, theirs, found = compare(lambda: found_pairs(paths), rival)
        rows[f"made: time beside {name}"] = Row(
            figure=ours, unit="s", against=name, other=theirs, comparison=inverse(found), details={"files": len(paths)}
        )
    return rows


def recall(found: Pairs, truth: Pairs) -> float:
    return len(found & truth) / len(truth)


def precision(found: Pairs, truth: Pairs) -> float:
    """Return the share of what was found that is true; 1 if nothing was found."""
    return len(found & truth) / len(found) if found else 1.0


def found_pairs(paths: list[Path]) -> Pairs:
    """Return the pairs that the audit finds with its defaults."""
    thumbnails, spec = np.stack([read_thumbnail(path)[0] for path in paths]), AuditSpec()
    found = find_duplicates(
        thumbnails, hashes(thumbnails), radius=spec.duplicate_radius, correlation=spec.duplicate_correlation
    )
    return {(pair.first, pair.second) for pair in found}


def deduplicated(paths: list[Path], make: type) -> Pairs:
    """Return the pairs that imagededup finds in the folder with its defaults."""
    places = {path.name: place for place, path in enumerate(paths)}
    found = make(verbose=False).find_duplicates(image_dir=paths[0].parent, num_enc_workers=1, num_dist_workers=1)
    pairs = ((places[name], places[other]) for name, others in found.items() for other in others)
    return {(min(pair), max(pair)) for pair in pairs}


def cleanvision_pairs(paths: list[Path]) -> Pairs:
    """Return the pairs that cleanvision calls exact or near duplicates, with its defaults."""
    lab = Imagelab(filepaths=[str(path) for path in paths], verbose=False)
    kinds = ("exact_duplicates", "near_duplicates")
    with contextlib.redirect_stderr(io.StringIO()):  # its progress bars, which `verbose` leaves on
        lab.find_issues({kind: {} for kind in kinds}, n_jobs=1, verbose=False)
    places = {str(path): place for place, path in enumerate(paths)}
    groups = [sorted(places[name] for name in group) for kind in kinds for group in lab.info[kind]["sets"]]
    return {pair for group in groups for pair in itertools.combinations(group, 2)}


def made_copies(frames: list[Path], folder: Path) -> tuple[list[Path], Pairs]:
    """Write every frame in all eight ways; return the files and the pairs of one frame."""
    folder.mkdir()
    rng, paths, frame_of = np.random.default_rng(0), list[Path](), list[int]()
    for number, frame in enumerate(frames):
        picture = cv2.imread(str(frame))
        for way, name in enumerate((*DIHEDRAL, "identity")):
            turned = apply(picture, name)
            if rng.random() < 1 / 3:
                factor = rng.uniform(0.5, 0.9)
                turned = cv2.resize(turned, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
            paths.append(folder / f"{number:03d}-{way}.jpg")
            cv2.imwrite(str(paths[-1]), turned, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(60, 96))])
            frame_of.append(number)
    first, second = np.triu_indices(len(paths), 1)
    same = np.array(frame_of)[first] == np.array(frame_of)[second]
    return paths, set(zip(first[same].tolist(), second[same].tolist(), strict=True))


def linked(path: Path, folder: Path) -> Path:
    """Return a link to the file in one folder with all others, which imagededup asks for."""
    folder.mkdir(exist_ok=True)
    link = folder / path.name
    link.symlink_to(path.absolute())
    return link


def same_by_pixels(paths: list[Path]) -> Pairs:
    """Return the pairs that differ by at most `GRAY` levels a pixel on average under some flip or quarter turn."""
    images = [cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) for path in paths]
    pairs = set()
    for j, image in enumerate(images):
        turned = [apply(image, name) for name in DIHEDRAL]
        for i, other in enumerate(images[:j]):
            alike = (cv2.norm(other, way, cv2.NORM_L1) / way.size for way in turned if way.shape == other.shape)
            if min(alike, default=np.inf) <= GRAY:
                pairs.add((i, j))
    return pairs


def others_found(paths: list[Path], frames: int) -> Row:
    """Return how many of the copies that are no flips are found with the frame they were made from."""
    ours, stems = found_pairs(paths), [path.stem for path in paths[:frames]]
    copies = [
        (next(k for k, stem in enumerate(stems) if path.stem.startswith(stem)), j)
        for j, path in enumerate(paths)
        if path.stem.rsplit("_", 1)[-1] in ("rccw", "rcw", "sup", "tup", "warp")
    ]
    return Row(figure=recall(ours, set(copies)), unit="of the copies", details={"copies": len(copies)})
