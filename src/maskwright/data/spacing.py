"""How large a pixel is: what image files state of it in millimetres, and nothing where they state nothing."""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import tifffile

from maskwright.data.formats import dicom
from maskwright.errors import DataError, problem
from maskwright.types import Spacing

TIFF = (".tif", ".tiff")
DICOM = dicom.SUFFIXES
_PRINTED = (1.0, 72.0, 96.0)
"""Dots per inch that programs write where they know nothing: of screens and printers, not of what is in the image."""
_MILLIMETRES = {
    "nm": 1e-6,
    "µm": 1e-3,
    "um": 1e-3,
    "micron": 1e-3,
    "microns": 1e-3,
    "μm": 1e-3,
    "mm": 1.0,
    "cm": 10.0,
    "m": 1000.0,
    "inch": 25.4,
    "in": 25.4,
}
_INCH, _CENTIMETRE = 2, 3


def read_spacing(path: Path) -> Spacing | None:
    """Return the height and width of a pixel as a file states them; None where it doesn't.

    TIFF: OME's PhysicalSizeY and PhysicalSizeX, ImageJ's unit with the resolution tags, or the resolution tags in
    inches or centimetres, but for 1, 72 and 96 dots an inch, which say nothing of the image. DICOM: PixelSpacing. Other
    files state how they are to be printed, if anything.

    Raises:
        DataError: a TIFF or DICOM file that can't be read, or a size that is no length.
    """
    if path.suffix.lower() in DICOM:
        return _of_dicom(path)
    return _of_tiff(path) if path.suffix.lower() in TIFF else None


def parse_spacing(text: str) -> Spacing:
    """Return height and width of `0.5`, or of `0.5,0.25`, in millimetres.

    Raises:
        DataError: another text, or sizes that aren't positive.

    Example:
        >>> parse_spacing("0.5"), parse_spacing("0.5, 0.25")
        ((0.5, 0.5), (0.5, 0.25))
    """
    words = text.split(",")
    try:
        numbers = [float(word) for word in words]
    except ValueError:
        numbers = []
    if len(numbers) not in (1, 2):
        raise _wrong(repr(text), "--spacing")
    return _checked((numbers[0], numbers[-1]), "--spacing")


def _of_dicom(path: Path) -> Spacing | None:
    header = dicom.read_header(path)
    stated = header.get("PixelSpacing")
    if stated is None:
        shared = header.get("SharedFunctionalGroupsSequence") or [{}]
        stated = (shared[0].get("PixelMeasuresSequence") or [{}])[0].get("PixelSpacing")
    return None if stated is None else _checked((float(stated[0]), float(stated[1])), str(path))


def _of_tiff(path: Path) -> Spacing | None:
    try:
        with tifffile.TiffFile(path) as file:
            page: Any = file.pages[0]
            ome, imagej = file.ome_metadata, file.imagej_metadata
            tags = {name: page.tags[name].value for name in ("XResolution", "YResolution") if name in page.tags}
            unit = int(page.tags["ResolutionUnit"].value) if "ResolutionUnit" in page.tags else _INCH
    except (OSError, ValueError, LookupError, struct.error, tifffile.TiffFileError) as error:
        next_move = "replace the file, or move it out of the folder"
        raise DataError(problem("a readable TIFF", str(error), where=str(path), next_move=next_move)) from None
    if (stated := _of_ome(ome)) is not None:
        return _checked(stated, str(path))
    if len(tags) < 2 or not all(value[0] and value[1] for value in tags.values()):
        return None
    per_unit = tags["YResolution"][0] / tags["YResolution"][1], tags["XResolution"][0] / tags["XResolution"][1]
    if imagej and (named := _MILLIMETRES.get(str(imagej.get("unit")))) is not None:
        return _checked((named / per_unit[0], named / per_unit[1]), str(path))
    if unit not in (_INCH, _CENTIMETRE) or (unit == _INCH and any(round(dots, 3) in _PRINTED for dots in per_unit)):
        return None
    millimetres = 25.4 if unit == _INCH else 10.0
    return _checked((millimetres / per_unit[0], millimetres / per_unit[1]), str(path))


def _of_ome(metadata: str | None) -> Spacing | None:
    if metadata is None or "<!ENTITY" in metadata:
        return None
    try:
        tree = ElementTree.fromstring(metadata)
    except ElementTree.ParseError:
        return None
    for node in tree.iter():
        if node.tag.endswith("}Pixels") and (node.get("PhysicalSizeX") and node.get("PhysicalSizeY")):
            sizes = []
            for side in ("Y", "X"):
                factor = _MILLIMETRES.get(node.get(f"PhysicalSize{side}Unit", "µm"))
                if factor is None:  # pixels, reference frames
                    return None
                sizes.append(float(node.get(f"PhysicalSize{side}", "nan")) * factor)
            return sizes[0], sizes[1]
    return None


def _checked(spacing: Spacing, where: str) -> Spacing:
    if not all(math.isfinite(side) and side > 0 for side in spacing):
        raise _wrong(f"{spacing[0]:g} × {spacing[1]:g}", where)
    return spacing


def _wrong(got: str, where: str) -> DataError:
    next_move = "give the millimetres of a pixel, as --spacing 0.5, or its height and width, as --spacing 0.5,0.25"
    return DataError(problem("the size of a pixel", got, where=where, next_move=next_move))
