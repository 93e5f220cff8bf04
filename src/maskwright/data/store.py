"""Probability maps on disk: one compressed, chunked float16 file an image, read by windows, readable by any NumPy.

Each file is an `.npz` whose members `R_C` are blocks of `BLOCK` x `BLOCK` pixels, and `shape`, the (C, H, W) of all.
"""

from __future__ import annotations

import io
import shutil
import threading
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from maskwright.artifacts import atomic
from maskwright.errors import DataError, problem
from maskwright.types import Array, Probabilities

BLOCK = 512
_TYPICAL_RATIO = 0.6
_PARSING = threading.Lock()
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, KeyError, ValueError)


class ProbabilityStore:
    """Probability maps of many images below one folder.

    Values are float16: in 0..1 their error is at most 0.00025, and below 0.01 at most 0.000004, so that low
    thresholds keep their meaning (8-bit files have steps of 0.004).

    Args:
        folder: of the files.
        quantised: write 8-bit files, half as large, for maps that no low threshold follows. Both are read alike.
    """

    def __init__(self, folder: Path, *, quantised: bool = False) -> None:
        self.folder, self.quantised = folder, quantised

    def path(self, name: str) -> Path:
        """Return the file of an image's map."""
        return self.folder / f"{name}.npz"

    def __contains__(self, name: str) -> bool:
        return self.path(name).is_file()

    def write(self, name: str, probabilities: Probabilities) -> None:
        """Write a (C, H, W) map whole or not at all."""
        _, height, width = probabilities.shape
        values = np.rint(probabilities * 255).astype(np.uint8) if self.quantised else probabilities.astype(np.float16)
        with (
            atomic(self.path(name)) as temporary,
            zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file,
        ):
            _add(file, "shape", np.array(probabilities.shape, np.int64))
            for row in range(0, height, BLOCK):
                for column in range(0, width, BLOCK):
                    block = values[:, row : row + BLOCK, column : column + BLOCK]
                    _add(file, f"{row // BLOCK}_{column // BLOCK}", np.ascontiguousarray(block))

    def read(self, name: str, window: tuple[int, int, int, int] | None = None) -> Probabilities:
        """Return the (C, h, w) float32 map, or its window (top, left, height, width); reads only the blocks it needs.

        Raises:
            DataError: there is no such map, or its file is damaged.
        """
        path = self.path(name)
        if not path.is_file():
            raise self._gone(path, "none")
        try:
            return _read(path, window)
        except _DAMAGED as error:
            raise self._gone(path, f"a damaged one: {error}") from error

    def _gone(self, path: Path, got: str) -> DataError:
        next_move = f"delete {self.folder}, and run the same command with --redo: its images are predicted anew"
        return DataError(problem("a probability map", got, where=str(path), next_move=next_move))

    def check_room(self, shapes: Sequence[tuple[int, int, int]]) -> None:
        """See that the disk can hold maps of these (C, H, W) shapes, before the first is written.

        Raises:
            DataError: there is less room.
        """
        need, free = self.forecast(shapes), shutil.disk_usage(self.folder).free
        if need > free:
            raise DataError(
                problem(
                    f"{need / 1e9:.1f} GB of disk for probability maps",
                    f"{free / 1e9:.1f} GB",
                    where=str(self.folder),
                    next_move="free some room, or put the run on another disk with --out",
                )
            )

    @staticmethod
    def forecast(shapes: Sequence[tuple[int, int, int]]) -> int:
        """Return the bytes that maps of these (C, H, W) shapes will take, from a typical compression."""
        return round(sum(2 * c * h * w for c, h, w in shapes) * _TYPICAL_RATIO)


def _read(path: Path, window: tuple[int, int, int, int] | None) -> Probabilities:
    with zipfile.ZipFile(path) as file:
        channels, height, width = unpack(file.read("shape.npy")).tolist()
        top, left, h, w = window or (0, 0, height, width)
        out = np.empty((channels, h, w), np.float32)
        for row in range(top // BLOCK, -(-(top + h) // BLOCK)):
            for column in range(left // BLOCK, -(-(left + w) // BLOCK)):
                block = _values(unpack(file.read(f"{row}_{column}.npy")))
                _paste(out, block, row * BLOCK - top, column * BLOCK - left)
    return out


def unpack(raw: bytes) -> Array:
    """Return the array of a .npy file's bytes, one at a time of all threads.

    Its header is a Python literal, and CPython up to 3.11.8 and 3.12.1 may fail with a SystemError where two threads
    parse one at once (python/cpython#106905).
    """
    with _PARSING:
        found: Array = np.lib.format.read_array(io.BytesIO(raw), allow_pickle=False)
    return found


def _add(file: zipfile.ZipFile, name: str, array: Array) -> None:
    with file.open(f"{name}.npy", "w", force_zip64=True) as member:
        np.lib.format.write_array(member, array)


def _values(block: Array) -> Array:
    """Return the probabilities of a block, whichever way it was written."""
    return block.astype(np.float32) / np.float32(255) if block.dtype == np.uint8 else block


def _paste(out: Probabilities, block: Array, top: int, left: int) -> None:
    _, height, width = block.shape
    rows = slice(max(top, 0), min(top + height, out.shape[1]))
    columns = slice(max(left, 0), min(left + width, out.shape[2]))
    out[:, rows, columns] = block[:, rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
