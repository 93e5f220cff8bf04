"""From image files to hashes with all flips and turns, against imagededup and against decoding alone, on one thread.

The files are written anew from real images (`--data`), or from made-up scenes without them: the same pictures as JPEG
and as PNG. imagededup runs as its users call it, `encode_images` on a folder, with one worker; it makes one hash an
image, we make eight. The recall rows say what JPEGs decoded at a fraction of their size cost: how many copies (turned,
scaled, compressed again) are still found, against thumbnails of all pixels.
"""

import argparse
import logging
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
from imagededup.methods import DHash, PHash

from benchmarks import record
from benchmarks.record import Row
from benchmarks.rig import compare, inverse
from maskwright.audit.duplicates import find_duplicates
from maskwright.audit.hashing import hashes, thumbnail
from maskwright.audit.inspect import read_thumbnail
from maskwright.augment.dihedral import DIHEDRAL, apply
from maskwright.data.images import read_image
from maskwright.data.scenes import draw_layout, draw_views, render

SETS = ("glas/images", "camvid/images", "marsdata_rocks/images", "cwfid/images", "quip_synth_he/images")
RIVALS = {"PHash": PHash, "DHash": DHash}
JPEG, PNG = 3.0, 0.9


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks hashing", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("MASKWRIGHT_DATA", "/nonexistent")))
    parser.add_argument("--images", type=int, default=40)
    parser.add_argument("--quality", type=int, default=92, help="of the JPEGs")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    logging.disable(logging.INFO)  # imagededup's
    pictures = list(taken(arguments.data, arguments.images))
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        jpegs = written(pictures, root / "jpeg", ".jpg", arguments.quality)
        pngs = written(pictures, root / "png", ".png")
        rows = {**against_imagededup("JPEG", jpegs, JPEG), **against_imagededup("PNG", pngs, None)}
        phash = PHash(verbose=False)
        rows["JPEG, against PHash without its pool"] = speeds(
            jpegs, lambda: [phash.encode_image(path) for path in jpegs], "imagededup PHash.encode_image", JPEG
        )
        rows["JPEG, against decoding"] = against_decoding(jpegs, None)
        rows["PNG, against decoding"] = against_decoding(pngs, PNG)
        rows |= recalls(pictures, root)
    details = {"images": len(pictures), "sizes": sorted({f"{p.shape[1]}×{p.shape[0]}" for p in pictures})}
    rows = {key: row.model_copy(update={"details": {**details, **row.details}}) for key, row in rows.items()}
    record.write("hashing", rows, rivals=("imagededup", "pillow"))


def hashed(paths: list[Path]) -> np.ndarray:
    """Return (N, 8) hashes of files, as the audit makes them."""
    return hashes(np.stack([read_thumbnail(path)[0] for path in paths]))


def against_imagededup(kind: str, paths: list[Path], target: float | None) -> dict[str, Row]:
    """Return a row for each of its hashes."""
    rows = {}
    for name, make in RIVALS.items():
        rival = make(verbose=False)
        rows[f"{kind}, against {name}"] = speeds(
            paths,
            lambda rival=rival: rival.encode_images(paths[0].parent, num_enc_workers=1),
            f"imagededup {name}",
            target,
        )
    return rows


def against_decoding(paths: list[Path], target: float | None) -> Row:
    """Compare with `cv2.imread` of the same files."""
    return speeds(paths, lambda: [cv2.imread(path) for path in map(str, paths)], "cv2.imread", target)


def speeds(paths: list[Path], rival: Callable[[], object], name: str, target: float | None) -> Row:
    """Return the ratio of our images per second to the rival's."""
    ours, theirs, found = compare(lambda: hashed(paths), rival)
    speed = inverse(found)
    return Row(
        figure=len(paths) / ours,
        unit="images/s",
        against=name,
        other=len(paths) / theirs,
        comparison=speed,
        target="" if target is None else f"≥ {target:g} × its speed",
        reached=None if target is None else speed.value >= target,
    )


def recalls(pictures: list[np.ndarray], root: Path) -> dict[str, Row]:
    """Return how many copies are found with previews, and with all pixels."""
    rng = np.random.default_rng(0)
    originals = written(pictures, root / "originals", ".jpg", 92)
    turned = [apply(picture, DIHEDRAL[rng.integers(8)]) for picture in pictures]
    scaled = [scaled_down(picture, rng.uniform(0.4, 0.95)) for picture in turned]
    kinds = {
        "quality 40": written(pictures, root / "poor", ".jpg", 40),
        "turned": written(turned, root / "turned", ".jpg", 85),
        "turned and scaled": written(scaled, root / "scaled", ".jpg", 85),
        "turned and scaled, PNG": written(scaled, root / "scaled-png", ".png"),
    }
    rows = {}
    for kind, copies in kinds.items():
        paths = originals + copies
        ours, whole = (found_copies(paths, read) for read in (read_small, read_whole))
        rows[f"copies found: {kind}"] = Row(
            figure=ours,
            unit="of the copies",
            against="thumbnails of all pixels",
            other=whole,
            target="as many",
            reached=ours >= whole,
        )
    return rows


def found_copies(paths: list[Path], read: Callable[[Path], np.ndarray]) -> float:
    """Return the share of the second half of the files that is found as a duplicate of its twin in the first."""
    thumbnails, half = np.stack([read(path) for path in paths]), len(paths) // 2
    found = {(d.first, d.second) for d in find_duplicates(thumbnails, hashes(thumbnails))}
    return sum((k, half + k) in found for k in range(half)) / half


def read_small(path: Path) -> np.ndarray:
    return read_thumbnail(path)[0]


def read_whole(path: Path) -> np.ndarray:
    return thumbnail(read_image(path))


def scaled_down(picture: np.ndarray, factor: float) -> np.ndarray:
    return cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)


def taken(data: Path, count: int) -> Iterator[np.ndarray]:
    """Yield BGR pictures, as many of each real set, or made-up scenes if there is no data."""
    if not data.is_dir():
        rng = np.random.default_rng(0)
        for _ in range(count):
            (view,) = draw_views(1, rng)
            yield render(draw_layout(rng), view, (480, 640), rng).image[..., ::-1]
        return
    for folder in SETS:
        paths = sorted(path for path in (data / folder).rglob("*") if path.is_file())
        for path in paths[:: max(len(paths) * len(SETS) // count, 1)][: count // len(SETS)]:
            yield cv2.imread(str(path))


def written(pictures: list[np.ndarray], folder: Path, suffix: str, quality: int = 0) -> list[Path]:
    """Write pictures as files of their own folder."""
    folder.mkdir()
    paths = [folder / f"{number:05d}{suffix}" for number in range(len(pictures))]
    for path, picture in zip(paths, pictures, strict=True):
        cv2.imwrite(str(path), picture, [cv2.IMWRITE_JPEG_QUALITY, quality] if quality else [])
    return paths
