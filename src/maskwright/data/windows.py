"""TIFF files too large to be held: read by windows, of which only the tiles or strips are decoded, written by tiles."""

from __future__ import annotations

import math
import struct
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, cast

import numpy as np
import tifffile

from maskwright.artifacts import atomic
from maskwright.data.images import as_hwc
from maskwright.data.segments import decode_segment
from maskwright.errors import DataError, problem
from maskwright.tiling import Tile
from maskwright.types import Array

BLOCK = 512
"""Side of the tiles that are written, in pixels."""

_FAULTS = (OSError, ValueError, LookupError, struct.error, zlib.error, NotImplementedError, tifffile.TiffFileError)
_LARGEST_SEGMENT = 1 << 28
_RECOMPRESS = "write it anew with tiles: tifffile.imwrite(path, image, tile=(512, 512), compression='zlib')"


class TiffWindows:
    """The full resolution of a tiled or striped TIFF or BigTIFF; the smaller levels of a pyramid are not looked at.

    Args:
        path: the file; open until `close`.
        keep: bytes of decoded tiles or strips that are kept for the next window.

    Attributes:
        size: (H, W).
        channels: 1, or 3 (an alpha channel is dropped).
        dtype: of the stored values.

    Raises:
        DataError: no TIFF, cut off, several pages or planes, a compression that nothing here decodes, or one strip for
            all of a compressed image.
    """

    def __init__(self, path: Path, *, keep: int = 1 << 28) -> None:
        self.path, self.keep = path, keep
        self._slots: OrderedDict[int, int] = OrderedDict()
        self._pool: Array | None = None
        try:
            self._file = tifffile.TiffFile(path)
        except _FAULTS as error:
            raise _unreadable(path, str(error)) from None
        try:
            self._page = cast(Any, self._file.pages[0])
            self._look()
        except _FAULTS as error:
            self.close()
            raise _unreadable(path, str(error)) from None
        except DataError:
            self.close()
            raise

    def __enter__(self) -> TiffWindows:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._slots.clear()
        self._pool = None
        self._file.close()

    def read(self, window: Tile) -> Array:
        """Return the (height, width, 1 or 3) pixels of a window as `read_image` returns an image.

        Raises:
            DataError: a tile or strip can't be decoded.
        """
        try:
            pixels = self._mapped(window) if self._memory is not None else self._decoded(window)
        except _FAULTS as error:
            raise _unreadable(self.path, str(error)) from None
        return as_hwc(pixels, self.path)

    def _look(self) -> None:
        """Find out how the image lies in the file."""
        page = self._page
        separate, depth, height, width, contiguous = page.shaped
        samples = int(page.samplesperpixel)
        if depth != 1 or samples not in (1, 3, 4) or len(self._file.series[0].levels[0].pages) != 1:
            got = f"{' × '.join(map(str, self._file.series[0].shape))} ({self._file.series[0].axes})"
            raise DataError(
                problem(
                    "one page of gray or RGB, where a TIFF is read by windows",
                    got,
                    where=str(self.path),
                    next_move="write the channels of a pixel side by side into one page, or cut the image into tiles",
                )
            )
        self.size, self.dtype = (int(height), int(width)), np.dtype(page.dtype)
        self.channels = 1 if samples == 1 else 3
        self._planes = int(separate)
        self._samples = int(contiguous)
        rows = min(int(page.tilelength or page.rowsperstrip), int(height))
        columns = int(page.tilewidth) if page.is_tiled else int(width)
        self._segment = (rows if not page.is_tiled else int(page.tilelength), columns)
        ends = (o + n for o, n in zip(page.dataoffsets, page.databytecounts, strict=True))
        if max(ends, default=0) > (size := self.path.stat().st_size):
            raise _unreadable(self.path, f"it is cut off after {size:,} bytes")
        self._memory = self._map() if page.is_memmappable else None
        weight = rows * columns * self._samples * self.dtype.itemsize
        if self._memory is None and weight > _LARGEST_SEGMENT:
            raise DataError(
                problem(
                    f"a TIFF with tiles or strips of at most {_LARGEST_SEGMENT >> 20} MiB",
                    f"one of {weight >> 20} MiB, which can only be decoded whole",
                    where=str(self.path),
                    next_move=_RECOMPRESS,
                )
            )

    def _map(self) -> Array:
        order = np.dtype(self._page.dtype).newbyteorder(self._file.byteorder)
        return np.memmap(self.path, order, "r", int(self._page.dataoffsets[0]), self._page.shaped)

    def _mapped(self, window: Tile) -> Array:
        assert self._memory is not None
        rows, columns = window.slices
        part = np.asarray(self._memory[:, 0, rows, columns])
        return self._joined(part.astype(self.dtype))

    def _decoded(self, window: Tile) -> Array:
        height, width = self._segment
        across, down = -(-self.size[1] // width), -(-self.size[0] // height)
        out = np.zeros((self._planes, window.height, window.width, self._samples), self.dtype)
        for plane in range(self._planes):
            for row in range(window.top // height, -(-(window.top + window.height) // height)):
                for column in range(window.left // width, -(-(window.left + window.width) // width)):
                    segment = self._decode((plane * down + row) * across + column)
                    _paste(out[plane], segment, row * height - window.top, column * width - window.left)
        return self._joined(out)

    def _joined(self, parts: Array) -> Array:
        """Return (h, w, samples) of (planes, h, w, samples), one of which is 1."""
        return np.moveaxis(parts[..., 0], 0, 2) if self._planes > 1 else parts[0]

    def _decode(self, index: int) -> Array:
        """Return (h, w, samples) of a tile or strip; those that were used last are kept."""
        if index in self._slots and self._pool is not None:
            self._slots.move_to_end(index)
            known: Array = self._pool[self._slots[index]]
            return known
        segment, shape = self._read_segment(index), (*self._segment, self._samples)
        # one piece of memory for all: many small ones that live long leave gaps between large ones that don't
        if self._pool is None:
            weight = math.prod(shape) * self.dtype.itemsize
            slots = min(len(self._page.dataoffsets), max(1, self.keep // weight))
            self._pool = np.empty((slots, *shape), self.dtype)
        slot = len(self._slots) if len(self._slots) < len(self._pool) else self._slots.popitem(last=False)[1]
        self._pool[slot][: segment.shape[0], : segment.shape[1]] = segment
        self._slots[index] = slot
        kept: Array = self._pool[slot]
        return kept

    def _read_segment(self, index: int) -> Array:
        """Return (h, w, samples) of a tile or strip, without what of it may lie outside of the image."""
        count, size = int(self._page.databytecounts[index]), self._shape_of(index)
        if count == 0:  # a sparse file leaves out what is empty
            return np.full((*size, self._samples), self._page.nodata, self.dtype)
        handle = self._file.filehandle
        handle.seek(int(self._page.dataoffsets[index]))
        tables = {"jpegtables": self._page.jpegtables} if self._page.jpegtables is not None else {}
        data = handle.read(count)
        try:
            segment: Array = np.asarray(self._page.decode(data, index, **tables)[0])[0]
            return segment
        except ValueError as error:
            if "imagecodecs" not in str(error):
                raise
            try:
                return decode_segment(self._page, data, size)
            except (OSError, SyntaxError):
                raise error from None

    def _shape_of(self, index: int) -> tuple[int, int]:
        """Return (h, w) of a segment: a tile is whole, the last strip may be shorter."""
        height, width = self._segment
        row = index % -(-self.size[0] // height)
        return (height, width) if self._page.is_tiled else (min(height, self.size[0] - row * height), width)


def write_tiled(
    path: Path,
    rows: Iterator[Array],
    size: tuple[int, int],
    dtype: np.dtype[Any] | type,
    *,
    before: Callable[[], None] | None = None,
) -> None:
    """Write a map that comes from top to bottom as one deflated TIFF of `BLOCK` x `BLOCK` tiles, whole or not at all.

    Args:
        path: where to.
        rows: (h, W), each `BLOCK` rows high but the last.
        size: (H, W) of all; a BigTIFF where that is 2 GiB or more.
        dtype: of the values.
        before: called when all of it is written, before the file appears.
    """
    with atomic(path) as temporary:
        tifffile.imwrite(
            temporary,
            _blocks(rows, size[1]),
            shape=size,
            dtype=dtype,
            tile=(BLOCK, BLOCK),
            compression="zlib",
            photometric="minisblack",
            bigtiff=size[0] * size[1] * np.dtype(dtype).itemsize >= 1 << 31,
            maxworkers=1,
            metadata=None,
        )
        if before is not None:
            before()


def _blocks(rows: Iterator[Array], width: int) -> Iterator[Array]:
    for part in rows:
        for left in range(0, width, BLOCK):
            block = part[:, left : left + BLOCK]
            yield np.pad(block, [(0, BLOCK - side) for side in block.shape])


def _paste(out: Array, segment: Array, top: int, left: int) -> None:
    """Write what of a segment lies inside of a window."""
    height, width = segment.shape[:2]
    rows = slice(max(top, 0), min(top + height, out.shape[0]))
    columns = slice(max(left, 0), min(left + width, out.shape[1]))
    out[rows, columns] = segment[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]


def _unreadable(path: Path, why: str) -> DataError:
    if "imagecodecs" in why:
        next_move = f"pip install imagecodecs, which decodes it, or {_RECOMPRESS}"
        expected = "a TIFF that tifffile or Pillow decodes"
        return DataError(problem(expected, why, where=str(path), next_move=next_move))
    next_move = "replace the file, or move it out of the folder"
    return DataError(problem("a readable TIFF", why, where=str(path), next_move=next_move))
