"""DICOM: a file an image, or an image a frame; windowed as stated. Read by pydicom, the extra `dicom`."""

from __future__ import annotations

from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from maskwright.data.formats.files import by_name, find_files, match_name, top_folder
from maskwright.data.formats.rows import Content, Row, Source
from maskwright.data.formats.sidecars import meta_of, read_classes, read_meta
from maskwright.data.images import check_pixels
from maskwright.errors import DataError, problem
from maskwright.types import Array

READS = ("*",)
SUFFIXES = (".dcm", ".dicom", ".ima")
_SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"


def recognise(root: Path) -> bool:
    """Tell whether one of the files there begins as DICOM does."""
    place = root / "images" if (root / "images").is_dir() else root
    first = next((path for path in find_files(place) if _is_named(path)), None)
    if first is None:
        return False
    try:
        with open(first, "rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def read(root: Path) -> Source:
    """Return the rows: `a` of a.dcm, `a/0001` … of its frames; masks are those of masks/ under the same names.

    Columns `patient`, `study` and `series` are the file's identifiers, `modality` what made it.

    Raises:
        DataError: pydicom isn't installed, or a file can't be read.
    """
    place = root / "images" if (root / "images").is_dir() else root
    masks, instances = by_name(root, "masks"), by_name(root, "instances")
    meta = read_meta(root / "meta.csv")
    rows = []
    for path in find_files(place):
        if not _is_named(path):
            continue
        name = match_name(path.relative_to(place))
        header = read_header(path)
        if header.get("SOPClassUID") == _SEGMENTATION:
            next_move = "write its frames as PNG into masks/, under the names of the images"
            raise DataError(problem("images", "a DICOM SEG object", where=str(path), next_move=next_move))
        frames = int(header.get("NumberOfFrames") or 1)
        columns = {
            key: str(header.get(field, ""))
            for key, field in (
                ("patient", "PatientID"),
                ("study", "StudyInstanceUID"),
                ("series", "SeriesInstanceUID"),
                ("modality", "Modality"),
            )
        }
        for frame in range(frames):
            own = name if frames == 1 else f"{name}/{frame + 1:04d}"
            known = columns | meta_of(meta, own)
            part = top_folder(name)
            render = partial(_render, path, frame)
            rows.append(Row(f"@/images/{own}.png", masks.pop(own, None), instances.pop(own, None), part, known, render))
    categories, ignore = read_classes(root / "classes.json")
    return Source(
        "dicom", sorted(rows, key=lambda r: r.image), categories, ignore, sorted([*masks.values(), *instances.values()])
    )


def read_frame(path: Path, frame: int = 0) -> Array:
    """Return a frame as a display shows it: (H, W) gray or (H, W, 3) RGB.

    Stored values are rescaled and mapped by the first window that the file states, to 0..255 for up to 8 bits and to
    0..65535 for more; without a window they stay as they are, float32 where they don't fit. MONOCHROME1 is inverted.

    Raises:
        DataError: pydicom isn't installed, the file can't be read, or its compression needs another package.
    """
    pydicom = _pydicom(path)
    pixel_tools: Any = import_module("pydicom.pixels")
    try:
        data = pydicom.dcmread(path, stop_before_pixels=True)
        check_pixels(path, int(data.Rows), int(data.Columns))
        kind = str(data.PhotometricInterpretation)
        array = pixel_tools.pixel_array(path, index=frame)
        if kind == "PALETTE COLOR":
            return _as_bytes(pixel_tools.apply_color_lut(array, data))
        if array.ndim == 3:
            return _as_bytes(array)
        return _windowed(array, data, pixel_tools, inverted=kind == "MONOCHROME1")
    except DataError:
        raise
    except Exception as error:
        raise _unreadable(path, error) from None


def _windowed(array: Array, data: Any, pixel_tools: Any, *, inverted: bool) -> Array:
    values = pixel_tools.apply_modality_lut(array, data)
    bits = int(data.BitsStored)
    if data.get("WindowWidth") or "VOILUTSequence" in data:
        # pydicom maps a window to the range that the stored bits can have after rescaling
        shown = np.asarray(pixel_tools.apply_voi_lut(values, data, index=0), np.float64)
        low, high = _window_range(data, bits)
        share = np.clip((shown - low) / (high - low), 0, 1)
        share = 1 - share if inverted else share
        return np.rint(share * 255).astype(np.uint8) if bits <= 8 else np.rint(share * 65535).astype(np.uint16)
    if inverted:
        low, high = _window_range(data, bits)
        values = low + high - values
    whole = np.asarray(values)
    if whole.min() < 0 or whole.max() > 65535 or not np.array_equal(whole, np.trunc(whole)):
        return whole.astype(np.float32)
    return whole.astype(np.uint8 if bits <= 8 and whole.max() < 256 else np.uint16)


def _window_range(data: Any, bits: int) -> tuple[float, float]:
    """Return the lowest and the highest value that a pixel can have after rescaling."""
    if "VOILUTSequence" in data:
        return 0.0, float(2 ** int(data.VOILUTSequence[0].LUTDescriptor[2]) - 1)
    signed = int(data.PixelRepresentation) == 1
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    slope, intercept = float(data.get("RescaleSlope", 1)), float(data.get("RescaleIntercept", 0))
    return low * slope + intercept, high * slope + intercept


def _render(path: Path, frame: int) -> Content:
    return Content(image=read_frame(path, frame))


def _is_named(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES


def read_header(path: Path) -> Any:
    """Return what a file states of its image, without the pixels.

    Raises:
        DataError: pydicom isn't installed, or the file can't be read.
    """
    pydicom = _pydicom(path)
    try:
        return pydicom.dcmread(path, stop_before_pixels=True)
    except Exception as error:
        raise _unreadable(path, error) from None


def _pydicom(path: Path) -> Any:
    try:
        import pydicom
    except ImportError:
        next_move = "pip install 'maskwright[dicom]'"
        raise DataError(
            problem("pydicom, which reads DICOM", "none installed", where=str(path), next_move=next_move)
        ) from None
    return pydicom


def _as_bytes(array: Array) -> Array:
    """Return colours of 16 bits as they are if they use them, else of 8."""
    return array if array.dtype == np.uint8 or array.max() > 255 else array.astype(np.uint8)


def _unreadable(path: Path, error: Exception) -> DataError:
    text = " ".join(str(error).split())
    missing = "plugin" in text or "decompress" in text.lower()
    next_move = (
        "install the package that is named, or decompress the file" if missing else "replace the file, or move it out"
    )
    return DataError(problem("a readable DICOM file", text[:400], where=str(path), next_move=next_move))
