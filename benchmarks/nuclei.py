"""Generated nuclei with their objects, and real images without: the data folder of recipes/nuclei.yaml.

Nuclei are ellipses with wavy outlines and a texture, many of them touching, behind blur and noise; in `stained` dark on
a bright tissue of uneven pink. Of the real folder only images are taken, those whose `kind` in meta.csv is the same.
"""

import argparse
import csv
import os
import shutil
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from maskwright.labels import relabel_consecutive

KINDS = ("fluorescence", "stained")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks nuclei", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("MASKWRIGHT_DATA", "")))
    parser.add_argument("--folder", default="dsb2018", help="of --data")
    parser.add_argument("--kind", choices=KINDS, default=KINDS[0])
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    if not (arguments.data / arguments.folder / "meta.csv").is_file():
        parser.error(f"no meta.csv in {arguments.data / arguments.folder}: give the folder of the sets with --data")
    if arguments.out.exists():
        parser.error(f"{arguments.out} is there: give a new folder with --out")
    write_generated(arguments.out, arguments.kind, arguments.count, arguments.size, arguments.seed)
    pool = write_pool(arguments.out, arguments.data / arguments.folder, arguments.kind)
    print(f"{arguments.count} generated and {pool} real images in {arguments.out}")


def write_generated(out: Path, kind: str, count: int, size: int, seed: int) -> None:
    """Write images/ and instances/."""
    for name in ("images", "instances"):
        (out / name).mkdir(parents=True)
    for number in range(count):
        image, ids = draw(np.random.default_rng((seed, number)), kind, size)
        Image.fromarray(image).save(out / "images" / f"generated{number:04}.png")
        Image.fromarray(ids.astype(np.uint16)).save(out / "instances" / f"generated{number:04}.png")


def write_pool(out: Path, real: Path, kind: str) -> int:
    """Copy the real images of a kind, without their objects, into unlabeled/; return how many."""
    (out / "unlabeled").mkdir()
    with (real / "meta.csv").open(encoding="utf-8") as file:
        names = [row["name"] for row in csv.DictReader(file) if row["kind"] == kind]
    found = [path for name in names if (path := real / "images" / f"{name}.png").is_file()]
    for path in found:
        shutil.copy(path, out / "unlabeled" / path.name)
    return len(found)


def draw(rng: np.random.Generator, kind: str, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return an image (size, size) or (size, size, 3) uint8 and the ids of its nuclei, later ones on top."""
    ids, light = np.zeros((size, size), np.int32), np.zeros((size, size), np.float32)
    radius, crowds = rng.uniform(5, 20), rng.uniform(0.2, 0.8)
    middles = list[np.ndarray]()
    for number in range(1, int(rng.integers(3, 60)) + 1):
        near = len(middles) > 0 and rng.random() < crowds  # beside another one
        middle = middles[rng.integers(len(middles))] + rng.normal(0, 2 * radius, 2) if near else rng.uniform(0, size, 2)
        middles.append(middle)
        inside = nucleus(rng, middle, radius * rng.uniform(0.6, 1.4), size)
        ids[inside], light[inside] = number, rng.uniform(0.4, 1.0)
    light *= 1 + 0.35 * cloud(rng, size, 4)
    light = cv2.GaussianBlur(light, (0, 0), rng.uniform(0.5, 2)) + 0.1 * cloud(rng, size, 40)
    light += rng.normal(0, rng.uniform(0.01, 0.06), light.shape)
    ids = relabel_consecutive(ids)  # some lie beneath others
    if kind == "fluorescence":
        return (255 * (rng.uniform(0.15, 0.7) * light + rng.uniform(0.02, 0.1)).clip(0, 1)).astype(np.uint8), ids
    tissue, stain = np.array([0.92, 0.75, 0.85]), np.array([0.45, 0.3, 0.6])
    share = light.clip(0, 1)[..., None]
    image = (tissue + 0.12 * cloud(rng, size, 12)[..., None]) * (1 - share) + stain * share
    return (255 * image.clip(0, 1)).astype(np.uint8), ids


def nucleus(rng: np.random.Generator, middle: np.ndarray, radius: float, size: int) -> np.ndarray:
    """Return (size, size) bool: an ellipse whose outline waves."""
    y, x = np.mgrid[:size, :size] - middle[:, None, None]
    turn, long = rng.uniform(0, np.pi), rng.uniform(1, 1.8)
    along, across = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    angle = np.arctan2(across, along)
    wave = 1 + sum(rng.normal(0, 0.06) * np.cos(k * angle + rng.uniform(0, 6.3)) for k in (2, 3, 4))
    return np.hypot(along / long, across) < radius * wave


def cloud(rng: np.random.Generator, size: int, grain: float) -> np.ndarray:
    """Return (size, size) smooth noise of standard deviation 1."""
    found = cv2.GaussianBlur(rng.normal(0, 1, (size, size)).astype(np.float32), (0, 0), grain)
    return found / max(float(found.std()), 1e-6)
