"""One file explained: what it is, what it holds, what it looks like, which file it belongs to, and what reads it."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import tifffile
from PIL import Image

from maskwright.audit.appearance import Appearance, appearance, appearance_of_floats, recipe_lines
from maskwright.audit.exports import Export, called_beside, examine_export
from maskwright.data.categories import shown_value
from maskwright.data.formats.files import match_name
from maskwright.data.images import SUFFIXES, orientation_of, read_image, read_values, size_of
from maskwright.errors import DataError, problem

_MODES = {
    "1": "black and white",
    "L": "gray",
    "LA": "gray with alpha",
    "P": "palette",
    "I": "gray",
    "F": "gray",
    "RGB": "RGB",
    "RGBA": "RGB with alpha",
}
_SUFFIXES_OF = {
    "PNG": (".png",),
    "JPEG": (".jpg", ".jpeg"),
    "MPO": (".jpg", ".jpeg"),
    "TIFF": (".tif", ".tiff"),
    "BMP": (".bmp",),
    "WEBP": (".webp",),
}
_LOSSY = ("JPEG", "MPO")
_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"\x93NUMPY", "a NumPy array"),
    (b"PK\x03\x04", "a zip archive, as .npz and .zip are"),
    (b"\x1f\x8b", "a gzip archive, as .nii.gz is"),
    (b"\x89HDF", "an HDF5 file"),
    (b"%PDF", "a PDF"),
)
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_DECODERS = (
    OSError,
    SyntaxError,
    ValueError,
    LookupError,
    struct.error,
    tifffile.TiffFileError,
    Image.DecompressionBombError,
)


@dataclass(frozen=True)
class Header:
    """What a file says of itself before its pixels are read.

    Attributes:
        format: PNG, JPEG, TIFF …
        mode: palette, gray, RGB … in words.
        width: in pixels, as stored.
        height: in pixels, as stored.
        channels: stored for each pixel, alpha included.
        bits: of each channel.
        pages: pictures in the file.
        palette: colours of its palette, None if it has none.
    """

    format: str
    mode: str
    width: int
    height: int
    channels: int
    bits: int
    pages: int
    palette: int | None


@dataclass(frozen=True)
class Partner:
    """The file of the same name in a sibling folder.

    Attributes:
        path: where it lies.
        fits: None if one of the two can't be read.
        detail: its size, and how it compares, in words.
    """

    path: Path
    fits: bool | None
    detail: str


@dataclass(frozen=True)
class Diagnosis:
    """All that is said of one file.

    Attributes:
        path: the file.
        fault: why maskwright can't read it, in four parts; None if it can.
        header: None if it is no picture.
        orientation: EXIF orientation, 1 if there is none.
        values: (value as a recipe names it, pixels) from the most frequent on, at most `SHOWN`.
        distinct: number of different values; for float images of different fractions.
        appearance: what its pixels look like, None if they can't be read.
        partners: files of its name in sibling folders.
        names: what the listed values are called by classes.json or labelmap.txt beside, "" where they aren't.
        export: what it is if it holds annotations.
        recipe: lines of a recipe, `section.field: value`, that read it.
        advice: what to do, and what to know.
    """

    path: Path
    fault: str | None = None
    header: Header | None = None
    orientation: int = 1
    values: tuple[tuple[str, int], ...] = ()
    distinct: int = 0
    appearance: Appearance | None = None
    partners: tuple[Partner, ...] = ()
    names: tuple[str, ...] = ()
    export: Export | None = None
    recipe: tuple[str, ...] = ()
    advice: tuple[str, ...] = ()


SHOWN = 12
"""Values that are listed; of the others the number alone is said."""


def examine(path: Path) -> Diagnosis:
    """Explain an image or mask file. Raises nothing: what can't be read is a `fault`."""
    if os.path.isdir(path):
        next_move = f"maskwright audit --data {path}"
        return Diagnosis(path, problem("a file", "a folder", where=str(path), next_move=next_move))
    if os.path.exists(path) and not os.path.isfile(path):  # it may never end
        next_move = "save what it gives as a file"
        return Diagnosis(path, problem("a file", "a device or a pipe", where=str(path), next_move=next_move))
    try:
        header = _header(path)
    except _DECODERS:
        export = examine_export(path)
        return Diagnosis(path, _no_picture(path)) if export is None else Diagnosis(path, export.fault, export=export)
    partners, orientation = _partners(path), orientation_of(path)
    if path.suffix.lower() not in SUFFIXES:
        return Diagnosis(path, _other_type(path, header), header, orientation, partners=partners)
    try:
        image = read_image(path)
        values = None if image.dtype == np.float32 else read_values(path)
    except DataError as error:
        fault = _other_type(path, header) if _is_misnamed(path, header) else _with_pages(str(error), header)
        return Diagnosis(path, fault, header, orientation, partners=partners)
    found, pixels = np.unique(image if values is None else values, return_counts=True)
    names: Callable[..., str] = (
        (lambda value: f"{value:g}") if values is None else (lambda value: shown_value(int(value)))
    )
    order = np.argsort(-pixels, kind="stable")[:SHOWN]
    if values is None:
        seen, distinct = appearance_of_floats(image), set[int]()
    else:
        counts = {int(v): int(n) for v, n in zip(found, pixels, strict=True)}
        seen = appearance(values, counts, folder=_part(path)[1], lossy=header.format in _LOSSY)
        distinct = set(counts)
    shown = tuple((names(found[i]), int(pixels[i])) for i in order)
    called = () if _part(path)[1] in ("images", "instances") else called_beside(path, [value for value, _ in shown])
    return Diagnosis(
        path,
        None,
        header,
        orientation,
        shown,
        len(found),
        seen,
        partners,
        called,
        None,
        recipe_lines(seen, distinct, image),
        _advice(path, header, seen, orientation, partners, named=any(called)),
    )


def _header(path: Path) -> Header:
    with open(path, "rb") as raw:
        start = raw.read(32)
    if start.startswith(_TIFF):
        return _tiff_header(path)
    with Image.open(path) as file:
        kind, mode = str(file.format), file.mode
        palette = file.getpalette() if mode == "P" else None
        bits = 1 if mode == "1" else 16 if mode.startswith("I;16") else 32 if mode in ("I", "F") else 8
        if kind == "PNG":
            bits = start[24]  # Pillow shows 16-bit RGB as 8-bit, and palettes of 16 colours as 8-bit
        words = _MODES.get(mode, "gray" if mode.startswith("I;16") else mode)
        pages, channels = int(getattr(file, "n_frames", 1)), len(file.getbands())
        width, height = file.size
    return Header(kind, words, width, height, channels, bits, pages, None if palette is None else len(palette) // 3)


def _tiff_header(path: Path) -> Header:
    with tifffile.TiffFile(path) as file:
        page = cast(Any, file.pages[0])
        channels, bits = int(page.samplesperpixel), page.bitspersample
        palette = page.colormap is not None
        words = "palette" if palette else "RGB" if channels > 2 else "gray"
        words += " with alpha" if channels in (2, 4) else ""
        bits = int(bits) if isinstance(bits, int) else int(bits[0])
        width, height, pages = int(page.imagewidth), int(page.imagelength), len(file.pages)
    return Header("TIFF", words, width, height, channels, bits, pages, 1 << bits if palette else None)


def _no_picture(path: Path) -> str:
    """Return the fault of a file that no decoder knows."""
    try:
        with open(path, "rb") as file:
            data = file.read(4096)
    except OSError as error:
        return problem("a file that can be read", str(error), where=str(path), next_move="check the path")
    got = next((what for magic, what in _MAGIC if data.startswith(magic)), None)
    if not data:
        got = "an empty file"
    elif data[128:132] == b"DICM":
        got = "a DICOM file"
    elif got is None:
        got = "text" if _is_text(data) else "bytes that are no picture, or one whose beginning is lost"
    next_move = f"export it as one of {', '.join(SUFFIXES)}; masks as index PNG, deep images as 16-bit PNG or TIFF"
    return problem("an image", got, where=str(path), next_move=next_move)


def _is_text(data: bytes) -> bool:
    try:
        return data[: data.rfind(b"\n") + 1 or None].decode().isprintable() or b"\0" not in data
    except UnicodeDecodeError:
        return False


def _is_misnamed(path: Path, header: Header) -> bool:
    return path.suffix.lower() not in _SUFFIXES_OF.get(header.format, ())


def _other_type(path: Path, header: Header) -> str:
    """Return the fault of a file of a type that isn't read, or whose name promises another type."""
    if (known := _SUFFIXES_OF.get(header.format)) is None:
        next_move = "save it as PNG (masks: index PNG, without smoothing)"
        return problem(f"one of {', '.join(SUFFIXES)}", f"a {header.format} file", where=str(path), next_move=next_move)
    got = f"{path.suffix or 'no suffix'} on a {header.format} file"
    next_move = f"rename it to {path.with_suffix(known[0]).name}"
    return problem(f"a name that ends in {known[0]}", got, where=str(path), next_move=next_move)


def _with_pages(fault: str, header: Header) -> str:
    if header.pages == 1:
        return fault
    return (
        fault.rsplit("next:", 1)[0] + f"next:  it is a stack of {header.pages} pages: export each as a file of its own"
    )


def _part(path: Path) -> tuple[Path, str | None, Path]:
    """Return (data folder, images | masks | instances, path below it); (folder, None, name) if it lies in none."""
    whole = path.absolute()
    for parent in whole.parents:
        if parent.name in ("images", "masks", "instances"):
            return parent.parent, parent.name, whole.relative_to(parent)
    return whole.parent, None, Path(whole.name)


def _partners(path: Path) -> tuple[Partner, ...]:
    root, part, inner = _part(path)
    others = ("masks", "instances") if part == "images" else ("images",) if part else ()
    found = list[Partner]()
    for other in others:
        folder = (root / other / inner).parent
        files = sorted(folder.iterdir()) if folder.is_dir() else []
        found += [
            _compare(path, file) if part == "images" else _compare(file, path, partner=file)
            for file in files
            if file.suffix.lower() in SUFFIXES and match_name(Path(file.name)) == match_name(Path(inner.name))
        ]
    own = root / "images" / f"{root.name}.png"  # DSB-2018 keeps the masks of one image in a folder called as it is
    if not found and part == "masks" and own.is_file():
        found = [_compare(own, path, partner=own)]
    return tuple(found)


def _compare(image: Path, mask: Path, *, partner: Path | None = None) -> Partner:
    """Return how an image and its label file fit; `partner` is the one that is told about, by default the mask."""
    partner = mask if partner is None else partner
    try:
        size = size_of(image)[:2]
        turned = read_values(mask, like=image).shape
        stored = size_of(mask)[:2]
    except DataError:
        return Partner(partner, None, "can't be compared: one of the two can't be read")
    if turned != size:
        return Partner(partner, False, f"another size: the image {_shown(size)}, the mask {_shown(turned)}")
    if orientation_of(image) == 1:
        return Partner(partner, True, f"the same size, {_shown(size)}")
    how = "is turned with its image" if stored != size else "stands upright or is turned with its image"
    return Partner(partner, True, f"the same size, {_shown(size)}; the mask {how}")


def _shown(size: tuple[int, ...]) -> str:
    return f"{size[1]}×{size[0]}"


def _advice(
    path: Path, header: Header, seen: Appearance, orientation: int, partners: tuple[Partner, ...], *, named: bool
) -> tuple[str, ...]:
    said = {
        "index mask": "list the names of the values in classes.json, or in data.categories of the recipe",
        "colour mask": "list the colours in classes.json, or in data.categories of the recipe",
        "instance map": "put it into instances/: --task instances tells its objects apart, --classes binary learns "
        "object and background; beside masks/, --task panoptic",
        "probability map": "no recipe reads it as a mask: threshold it, and save an index PNG",
        "mask with blurred values": "values that nobody drew: export the mask again as PNG, or threshold it",
    }
    _, part, inner = _part(path)
    if part == "instances":
        said["instance map"] = said["instance map"].removeprefix("put it into instances/: ")
    lines = [said[seen.kind]] if seen.kind in said and not (named and "classes.json" in said[seen.kind]) else []
    if seen.kind == "one value only" and part == "masks":
        lines.append("an empty mask: nothing is learned from it but where nothing is")
    if part == "masks" and seen.kind == "image":
        lines.append("it lies in masks/ but looks like an image")
    if part == "images" and seen.kind not in ("image", "one value only"):
        lines.append("it lies in images/ but doesn't look like an image")
    if orientation != 1:
        lines.append(f"its EXIF orientation {orientation} is applied whenever it is read")
    if part in ("masks", "instances") and not partners:
        lines.append(f"no image of its name: there is no images/{match_name(inner)}")
    if any(partner.fits is False for partner in partners):
        lines.append("export the mask at the image's own size, by the nearest pixel")
    if header.mode.endswith("alpha"):
        lines.append("its alpha channel is dropped")
    if header.pages > 1:
        lines.append(f"it is a stack of {header.pages} pages, read as the channels of one picture")
    if _is_misnamed(path, header):
        lines.append(f"its name says {path.suffix}, but it holds {header.format}")
    return tuple(lines)
