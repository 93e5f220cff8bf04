"""TIFF files that hold several planes: what they are called, and their values."""

from __future__ import annotations

import math
import struct
import zlib
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import tifffile
from PIL import Image, ImageSequence

from maskwright.data.images import check_pixels
from maskwright.errors import DataError, problem
from maskwright.types import Array

_FAULTS = (OSError, ValueError, LookupError, struct.error, zlib.error, tifffile.TiffFileError)


def page_names(path: Path) -> list[str]:
    """Return the names of a TIFF's planes: the channels' own (OME), else numbers from 1; [""] for a file of one plane.

    The samples of an RGB image are one plane. A file that can't be read counts as one plane.
    """
    try:
        with tifffile.TiffFile(path) as tiff:
            series = tiff.series[0]
            count = _planes(series.shape, series.axes)
            named = _channel_names(tiff.ome_metadata)
    except _FAULTS:
        return [""]
    if count == 1:
        return [""]
    return named if len(named) == count == len(set(named)) else [str(number) for number in range(1, count + 1)]


def read_pages(path: Path) -> Array:
    """Return the planes of a TIFF as (P, H, W).

    Raises:
        DataError: it can't be read, or a plane is too large.
    """
    try:
        with tifffile.TiffFile(path) as tiff:
            series = tiff.series[0]
            height, width = (series.shape[series.axes.index(axis)] for axis in "YX")
            check_pixels(path, height * _planes(series.shape, series.axes), width)
            return _unstacked(path, tiff, series.axes)
    except _FAULTS as error:
        next_move = "replace the file, or move it out of the folder"
        raise DataError(problem("a readable TIFF", str(error), where=str(path), next_move=next_move)) from None


def _planes(shape: tuple[int, ...], axes: str) -> int:
    rgb = "S" in axes and shape[axes.index("S")] in (3, 4)
    return math.prod(n for n, axis in zip(shape, axes, strict=True) if axis not in ("YXS" if rgb else "YX"))


def _unstacked(path: Path, tiff: tifffile.TiffFile, axes: str) -> Array:
    try:
        array = np.asarray(tiff.asarray())
    except ValueError as error:  # as in data.images: LZW needs a package that isn't required
        if "imagecodecs" not in str(error):
            raise
        with Image.open(path) as file:
            return np.stack([np.asarray(page) for page in ImageSequence.Iterator(file)])
    ordered = np.moveaxis(array, (axes.index("Y"), axes.index("X")), (-2, -1))
    return ordered.reshape(-1, *ordered.shape[-2:])


def _channel_names(metadata: str | None) -> list[str]:
    if metadata is None or "<!ENTITY" in metadata:
        return []
    try:
        tree = ElementTree.fromstring(metadata)
    except ElementTree.ParseError:
        return []
    return [str(node.get("Name")) for node in tree.iter() if node.tag.endswith("}Channel") and node.get("Name")]
