"""Tiles that share a strip, cut from real frames: how many neighbours are found, and what is found where nothing is.

Every frame is cut into 2 × 3 tiles that overlap by a share of their side, each written as a JPEG of quality 90 or as
PNG. Two tiles side by side, or above each other, are a true pair; two that touch at a corner are neither counted as
missed nor as false. The frames themselves, uncut, hold no true pair: they come from films, one second apart.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import cv2

from benchmarks import record
from benchmarks.record import Row
from maskwright.audit.crops import find_shared

ROWS, COLUMNS = 2, 3


class Tile(NamedTuple):
    """A tile's file, its frame, and its place in the grid."""

    path: Path
    frame: int
    row: int
    column: int


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks tiles", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("MASKWRIGHT_DATA", "/nonexistent")))
    parser.add_argument("--frames", type=int, default=40, help="that are cut, evenly spaced over the set")
    parser.add_argument("--shares", type=float, nargs="+", default=[0.5, 0.25, 0.15])
    arguments = parser.parse_args()
    frames = sorted((arguments.data / "camvid" / "images").rglob("*.*g"))
    if not frames:
        parser.error(f"expected camvid in {arguments.data}, found none: name its parent with --data or MASKWRIGHT_DATA")
    spaced = frames[:: max(1, len(frames) // arguments.frames)][: arguments.frames]
    rows = {"camvid, whole frames": measured([Tile(path, k, 0, 0) for k, path in enumerate(frames)])}
    for share in arguments.shares:
        for suffix, quality in ((".png", []), (".jpg", [cv2.IMWRITE_JPEG_QUALITY, 90])):
            with tempfile.TemporaryDirectory() as folder:
                tiles = [t for k, path in enumerate(spaced) for t in cut(path, k, share, Path(folder), suffix, quality)]
                rows[f"camvid, tiles that overlap by {share:.0%}, {suffix[1:].upper()}"] = measured(tiles)
    record.write("tiles", rows)


def cut(path: Path, frame: int, share: float, folder: Path, suffix: str, quality: list[int]) -> list[Tile]:
    """Write the tiles of a frame."""
    picture = cv2.imread(str(path))
    height, width = (
        int(side / (count - (count - 1) * share))
        for side, count in zip(picture.shape[:2], (ROWS, COLUMNS), strict=True)
    )
    tiles = []
    for row in range(ROWS):
        for column in range(COLUMNS):
            y, x = int(row * height * (1 - share)), int(column * width * (1 - share))
            tiles.append(Tile(folder / f"{frame:03d}-{row}{column}{suffix}", frame, row, column))
            cv2.imwrite(str(tiles[-1].path), picture[y : y + height, x : x + width], quality)
    return tiles


def measured(tiles: list[Tile]) -> Row:
    """Return the share of neighbours that is found, with what is found besides."""
    started = time.process_time()
    crops, overlaps = find_shared([tile.path for tile in tiles])
    seconds = time.process_time() - started
    found = {(o.first, o.second) for o in overlaps} | {(min(c.whole, c.part), max(c.whole, c.part)) for c in crops}
    beside, corners = pairs(tiles, 1), pairs(tiles, 2)
    return Row(
        figure=len(found & beside) / len(beside) if beside else len(found),
        unit="of the neighbours" if beside else "pairs found, none is true",
        details={
            "tiles": len(tiles),
            "neighbours": len(beside),
            "corners": len(corners),
            "corners_found": len(found & corners),
            "false": len(found - beside - corners),
            "cpu_seconds": round(seconds, 1),
        },
    )


def pairs(tiles: list[Tile], steps: int) -> set[tuple[int, int]]:
    """Return the pairs of a frame's tiles that lie so many steps apart, at most one each way."""
    return {
        (i, j)
        for j, tile in enumerate(tiles)
        for i, other in enumerate(tiles[:j])
        if tile.frame == other.frame
        and max(abs(tile.row - other.row), abs(tile.column - other.column)) == 1
        and abs(tile.row - other.row) + abs(tile.column - other.column) == steps
    }


if __name__ == "__main__":
    main()
