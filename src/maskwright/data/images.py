"""Reading images and mask files as they are meant: EXIF orientation, palettes, bit depth, colour masks."""

from __future__ import annotations

import math
import re
import struct
import zlib
from pathlib import Path
from typing import Any, NamedTuple, cast

import cv2
import numpy as np
import tifffile
from PIL import Image, ImageOps

from maskwright.data.jpeg import is_jpeg, scan_start, size_and_orientation
from maskwright.errors import DataError, problem
from maskwright.types import Array

_set_log_level = cv2.setLogLevel if hasattr(cv2, "setLogLevel") else cv2.utils.logging.setLogLevel  # OpenCV 4, 5
_set_log_level(2)  # errors only: what is wrong with a file is said by us

COLOR = 1 << 24
"""Added to the colours of RGB masks, so that no colour is taken for a gray value."""

LARGEST_PIXELS = 1 << 28
"""Pixels up to which an image is read whole (16384 × 16384); windows of larger ones may still be read."""

Image.MAX_IMAGE_PIXELS = LARGEST_PIXELS  # Pillow's own limit is lower, and only warns up to its double

_JPEG = (".jpg", ".jpeg")
SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp")
_ORIENTATION = 0x0112
_TIFF = (".tif", ".tiff")
_BOMBS = (Image.DecompressionBombError, Image.DecompressionBombWarning)
_FAULTS = (OSError, SyntaxError, ValueError, LookupError, TypeError, struct.error, *_BOMBS, tifffile.TiffFileError)
_REDUCED = {
    8: cv2.IMREAD_REDUCED_GRAYSCALE_8,
    4: cv2.IMREAD_REDUCED_GRAYSCALE_4,
    2: cv2.IMREAD_REDUCED_GRAYSCALE_2,
}
_REDUCED_COLOR = {
    8: cv2.IMREAD_REDUCED_COLOR_8,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    2: cv2.IMREAD_REDUCED_COLOR_2,
}
_REDUCED_FLAGS = {flag | cv2.IMREAD_IGNORE_ORIENTATION for flag in (*_REDUCED.values(), *_REDUCED_COLOR.values())}
# EXIF orientation → quarter turns against the clock, then the axis that is mirrored
_TURNS = {2: (0, 1), 3: (2, None), 4: (0, 0), 5: (1, 0), 6: (3, None), 7: (3, 0), 8: (1, None)}


def read_image(path: Path) -> Array:
    """Return an image as (H, W, 1) or (H, W, 3), uint8, uint16 or float32; EXIF orientation applied, alpha dropped.

    Raises:
        DataError: the file is missing, truncated or no image.
    """
    if path.suffix.lower() in _TIFF:
        return as_hwc(_read_tiff(path), path)
    image = _decoded(path, _bytes(path), cv2.IMREAD_ANYDEPTH | cv2.IMREAD_ANYCOLOR)
    return as_hwc(_as_rgb(image), path)


class Preview(NamedTuple):
    """An image; of a JPEG a small version of it, which takes a fraction of the time to decode.

    Attributes:
        pixels: (h, w, 1), or (h, w, 3) in colour, of the type that `read_image` returns, not turned; TIFFs keep their
            channels.
        extent: height and width of the image in units of these pixels; the last ones may reach beyond its border.
        orientation: the EXIF orientation by which the pixels are still to be turned (`upright`).
        size: (H, W) of the whole image, upright.
    """

    pixels: Array
    extent: tuple[float, float]
    orientation: int
    size: tuple[int, int]


def read_preview(path: Path, side: int, *, color: bool = False) -> Preview:
    """Return an image with at least `side` pixels a side, where it has that many; in gray, or in colour if it has any.

    JPEGs are decoded at a half, a quarter or an eighth of their size if both sides are left with `side` pixels. All
    other files are read whole.

    Raises:
        DataError: the file is missing, truncated or no image.
    """
    if path.suffix.lower() in _TIFF:
        return _whole(read_image(path))
    data = _bytes(path)
    if not is_jpeg(data) or (header := size_and_orientation(data)) is None:
        flags = cv2.IMREAD_ANYDEPTH | (cv2.IMREAD_ANYCOLOR if color else cv2.IMREAD_GRAYSCALE)
        return _whole(_as_rgb(_decoded(path, data, flags)))
    (height, width), orientation = header
    part = next((part for part in _REDUCED if min(height, width) >= part * side), 1)
    flags = _REDUCED_COLOR.get(part, cv2.IMREAD_COLOR) if color else _REDUCED.get(part, cv2.IMREAD_GRAYSCALE)
    pixels = _as_rgb(_decoded(path, data, flags | cv2.IMREAD_IGNORE_ORIENTATION))
    size = (width, height) if orientation >= 5 else (height, width)
    return Preview(pixels, (height / part, width / part), orientation, size)


def upright(array: Array, orientation: int) -> Array:
    """Return an array (H, W, …) turned as an EXIF orientation says; values that are none change nothing."""
    if orientation not in _TURNS:
        return array
    quarter, axis = _TURNS[orientation]
    turned = np.rot90(array, quarter)
    return np.ascontiguousarray(turned if axis is None else np.flip(turned, axis))


def read_values(path: Path, *, like: Path | None = None) -> Array:
    """Return a mask file's values as (H, W) int32: palette index, gray value, or `COLOR` + 0xRRGGBB of an RGB mask.

    Args:
        path: the mask file.
        like: the image it belongs to. If that has an EXIF orientation and the mask has none of its own, the mask is
            turned with the image, unless it already has the turned image's size.

    Raises:
        DataError: the file can't be read.
    """
    if path.suffix.lower() in _TIFF:
        values, turned = _read_tiff(path), False
    else:
        try:
            with Image.open(path) as file:
                check_pixels(path, file.height, file.width)
                own = file.getexif().get(_ORIENTATION, 1)
                oriented = ImageOps.exif_transpose(file) if own != 1 else file
                values = np.asarray(oriented.convert("RGB") if oriented.mode in ("RGBA", "CMYK") else oriented)
        except _FAULTS as error:
            raise _unreadable(path, error) from None
        turned = own != 1
    return _pack(values if turned or like is None else turn_like(values, like), path)


def read_objects(path: Path, *, like: Path | None = None) -> Array:
    """Return the objects' numbers in a file as (H, W) int32: its values, or those of its colours, black being none.

    Raises:
        DataError: the file can't be read, or is a JPEG.
    """
    check_exact(path)
    return numbers_of(read_values(path, like=like))


def numbers_of(values: Array) -> Array:
    """Return mask values as the numbers of objects: colours are theirs, black none."""
    return values & (COLOR - 1) if values.size and values.max() >= COLOR else values


def read_ids(path: Path) -> Array:
    """Return the numbers of segments in a file as (H, W) uint32 or int32: R + 256 G + 65536 B of colours, else values.

    Alpha is dropped; a palette's indices are the numbers.

    Raises:
        DataError: the file can't be read, or is a JPEG.
    """
    check_exact(path)
    if path.suffix.lower() == ".png" and _png_colors(data := _bytes(path)):
        pixels = _decoded(path, data, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        with_alpha = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGBA)  # 4 bytes a pixel are read as one number
        return cast(Array, with_alpha.view("<u4")[..., 0] & np.uint32(COLOR - 1))
    values = read_values(path)
    if values.size and values.max() >= COLOR:
        return (values >> 16 & 255) | (values & 0xFF00) | ((values & 255) << 16)
    return values


def check_exact(path: Path) -> None:
    """Raise a DataError for a file whose type doesn't keep numbers as they are."""
    if path.suffix.lower() in _JPEG:
        raise _unreadable(path, "a JPEG, whose numbers aren't those that were drawn: export them as PNG or TIFF")


def turn_like(values: Array, like: Path) -> Array:
    """Return labels (H, W) turned as their image is by its EXIF orientation, unless they have the upright size alone.

    Args:
        values: as a file beside the image holds them.
        like: the image.
    """
    orientation = orientation_of(like)
    if orientation not in _TURNS:
        return values
    size = size_of(like)[:2]
    if values.shape[:2] == size and stored_size(like) != size:
        return values
    return upright(values, orientation)


def palette_of(path: Path) -> dict[int, tuple[int, int, int]] | None:
    """Return {index: RGB} of a palette image, None for any other file."""
    try:
        with Image.open(path) as file:
            if file.mode != "P" or (flat := file.getpalette()) is None:
                return None
    except _FAULTS:
        return None
    return {i: (flat[3 * i], flat[3 * i + 1], flat[3 * i + 2]) for i in range(len(flat) // 3)}


def orientation_of(path: Path) -> int:
    """Return the EXIF orientation, 1 if there is none."""
    if path.suffix.lower() not in (".jpg", ".jpeg", ".png", ".webp"):
        return 1
    try:
        with Image.open(path) as file:
            return int(file.getexif().get(_ORIENTATION, 1))
    except _FAULTS:
        return 1


def size_of(path: Path) -> tuple[int, int, int, str]:
    """Return (height, width, channels, dtype) from the header, orientation applied; alpha and palette not counted.

    Raises:
        DataError: the file is missing or no image.
    """
    try:
        if path.suffix.lower() in _TIFF:
            with tifffile.TiffFile(path) as tiff:
                page = cast(Any, tiff.pages[0])
                channels = 3 if page.samplesperpixel >= 3 else 1
                return int(page.imagelength), int(page.imagewidth), channels, str(page.dtype)
        with Image.open(path) as file:
            width, height = file.size
            if file.getexif().get(_ORIENTATION, 1) >= 5:
                width, height = height, width
            gray = file.mode in ("1", "L", "F") or file.mode.startswith("I")
            deep = file.mode.startswith("I;16") or file.mode == "I" or (file.format == "PNG" and _png_bits(path) == 16)
            return height, width, 1 if gray else 3, "uint16" if deep else "uint8"
    except _FAULTS as error:
        raise _unreadable(path, error) from None


def stored_size(path: Path) -> tuple[int, int]:
    """Return (height, width) from the header as the pixels are stored, EXIF orientation not applied.

    Raises:
        DataError: the file is missing or no image.
    """
    height, width, _, _ = size_of(path)
    return (width, height) if orientation_of(path) >= 5 else (height, width)


def check_pixels(path: Path, height: int, width: int) -> None:
    """See that an image isn't too large to be read whole.

    Raises:
        DataError: it has more than `LARGEST_PIXELS`.
    """
    if height * width > LARGEST_PIXELS:
        raise too_large(path, f"{width} × {height}")


def _png_bits(path: Path) -> int:
    """Return the bits of a sample, which Pillow doesn't tell of RGB: byte 24, in the header chunk."""
    with open(path, "rb") as file:
        return file.read(25)[24]


def _png_colors(data: bytes) -> bool:
    """Tell whether a PNG holds 8-bit colours, with alpha or without: bytes 24 and 25, in the header chunk."""
    return data.startswith(b"\x89PNG") and data[24:25] == b"\x08" and data[25:26] in (b"\x02", b"\x06")


def color_value(text: str) -> int:
    """Return the mask value of `"#rrggbb"`: `COLOR` + 0xRRGGBB.

    Example:
        >>> color_value("#ff0001") == COLOR + 0xFF0001
        True
    """
    if not re.fullmatch(r"#[0-9a-fA-F]{6}", text):
        raise DataError(
            problem(
                "a colour like #ff0000", repr(text), where="data.categories.*.values", next_move="write six hex digits"
            )
        )
    return COLOR + int(text[1:], 16)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise _unreadable(path, str(error)) from None


def _whole(image: Array) -> Preview:
    height, width = image.shape[:2]
    return Preview(image, (height, width), 1, (height, width))


def _decoded(path: Path, data: bytes, flags: int) -> Array:
    if (size := stated_size(data)) is not None and flags not in _REDUCED_FLAGS:
        check_pixels(path, *size)
    image = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if data else None
    if image is None or _is_truncated(path, data):
        raise _unreadable(path, "is truncated or not an image")
    return image


def stated_size(data: bytes) -> tuple[int, int] | None:
    """Return (H, W) as the header of a PNG, JPEG or BMP has it, without decoding; a WebP is never too large."""
    if data.startswith(b"\x89PNG\r\n\x1a\n") and len(data) >= 24:
        width, height = struct.unpack(">II", data[16:24])
        return height, width
    if data.startswith(b"BM") and len(data) >= 26:
        width, height = struct.unpack("<ii", data[18:26])
        return abs(height), abs(width)
    header = size_and_orientation(data) if is_jpeg(data) else None
    return None if header is None else header[0]


def _as_rgb(image: Array) -> Array:
    """Return what OpenCV decoded as (H, W, 1) or (H, W, 3) RGB."""
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB) if image.ndim == 3 else image[..., None]


def _is_truncated(path: Path, data: bytes) -> bool:
    """OpenCV fills the missing part of a cut-off file with gray and says nothing."""
    suffix = path.suffix.lower()
    if suffix == ".png":
        return b"IEND" not in data[-64:]
    if suffix in (".jpg", ".jpeg"):
        return b"\xff\xd9" not in data[scan_start(data) :]
    return False


def _read_tiff(path: Path) -> Array:
    try:
        array = _decode_tiff(path)
    except (OSError, ValueError, LookupError, struct.error, zlib.error, tifffile.TiffFileError) as error:
        raise _unreadable(path, error) from None
    if array.ndim > 2 and array.shape[-1] == 1:
        array = array[..., 0]
    while array.ndim > 2 and array.shape[0] == 1 and array.shape[-1] not in (3, 4):  # pages; one row of RGB stays
        array = array[0]
    if array.ndim == 3 and array.shape[0] in (3, 4) and array.shape[2] not in (3, 4):
        array = np.moveaxis(array, 0, 2)
    return array


def _decode_tiff(path: Path) -> Array:
    try:
        with tifffile.TiffFile(path) as tiff:
            page = cast(Any, tiff.pages[0])
            check_pixels(path, int(page.imagelength), int(page.imagewidth))
            if sum(math.prod(series.shape) for series in tiff.series[:1]) > 4 * LARGEST_PIXELS:
                raise too_large(path, " × ".join(map(str, tiff.series[0].shape)))
            return np.asarray(tiff.asarray())
    except ValueError as error:  # LZW and the like, which tifffile leaves to a package that isn't required
        if "imagecodecs" not in str(error):
            raise
    with Image.open(path) as file:
        return np.asarray(file)


def as_hwc(image: Array, path: Path) -> Array:
    """Return decoded pixels as `read_image` returns an image; see there.

    Args:
        image: (H, W) or (H, W, C).
        path: where it is from, for the message.

    Raises:
        DataError: another shape, or values that are NaN or infinite.
    """
    if image.ndim == 2:
        image = image[..., None]
    if image.ndim != 3 or image.shape[2] not in (1, 3, 4):
        raise _unreadable(path, f"has the shape {image.shape}")
    image = image[..., :3]
    if image.dtype == np.bool_:
        image = image.astype(np.uint8) * 255
    if image.dtype not in (np.uint8, np.uint16, np.float32):
        image = image.astype(np.float32)
    if image.dtype == np.float32 and not np.isfinite(image).all():
        raise _unreadable(path, f"holds {int((~np.isfinite(image)).sum())} values that are NaN or infinite")
    return np.ascontiguousarray(image)


def _pack(values: Array, path: Path) -> Array:
    if values.ndim == 3 and values.shape[2] == 2:  # gray with alpha
        values = values[..., 0]
    if values.ndim == 3 and values.shape[2] in (3, 4):
        channels = values[..., :3].astype(np.int32)
        return COLOR + ((channels[..., 0] << 16) | (channels[..., 1] << 8) | channels[..., 2])
    whole = values.dtype.kind in "biu" or (  # some programs save labels as floats
        values.dtype.kind == "f" and bool((np.abs(values) < 2**31).all() and (values == np.rint(values)).all())
    )
    if values.ndim != 2 or not whole:
        size = "×".join(map(str, (values.shape[1], values.shape[0], *values.shape[2:])))
        fault = "" if whole else " with fractions" if np.isfinite(values).all() else " with values that aren't finite"
        got = f"{size}, {values.dtype}{fault}"
        raise _unreadable(path, f"no label map, which holds whole numbers in one channel, or colours: {got}")
    return values.astype(np.int32)


def _unreadable(path: Path, why: str | Exception) -> DataError:
    if isinstance(why, _BOMBS):
        return too_large(path, str(why))
    return DataError(
        problem(
            "a readable image", str(why), where=str(path), next_move="replace the file, or move it out of the folder"
        )
    )


def too_large(path: Path, got: str) -> DataError:
    """Return the error about an image of more than `LARGEST_PIXELS`."""
    next_move = "cut it into tiles, or move it out of the folder"
    return DataError(problem(f"images of at most {LARGEST_PIXELS:,} pixels", got, where=str(path), next_move=next_move))
