"""One binary mask a class: `labels/a_11.tif`, `labels/a_12.tif`, … of image `a`, or the pages of one TIFF."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np

from maskwright.data.formats import open_images
from maskwright.data.formats.conventions import mask_core
from maskwright.data.formats.files import find_images, first_file, in_number_order, match_name
from maskwright.data.formats.lookup import no_files
from maskwright.data.formats.rows import Content, Row, Source
from maskwright.data.formats.sidecars import meta_of, read_meta
from maskwright.data.images import SUFFIXES, read_values
from maskwright.data.pages import page_names, read_pages
from maskwright.errors import DataError, problem
from maskwright.types import Array, Category

READS = ("*",)
_FOLDERS = ("masks", "labels")
_TIFF = (".tif", ".tiff")
_LOOKED_AT = 16


def recognise(root: Path) -> bool:
    """Tell whether masks/ or labels/ holds several files named after one image, or TIFFs of several pages."""
    folder = _folder(root)
    if folder is None or open_images.recognise(root):
        return False
    first = first_file(folder)
    assert first is not None
    if first.suffix.lower() in _TIFF and len(page_names(first)) > 1:
        return True
    if _has_image(root, _name(first, folder)):
        return False
    names = [_name(path, folder) for path in islice(find_images(folder), _LOOKED_AT)]
    images = set(_images(root))
    return all(name not in images and _split(name, images) is not None for name in names)


def read(root: Path) -> Source:
    """Return the rows. A class is the end of a file's name (`a_11.tif`: 11), or a page's name or number from 1.

    Every pixel other than 0 is the class; each layer is an object too, with the number of its class as id. Where two
    layers overlap, the one that comes first keeps the pixels.

    Raises:
        DataError: layers of several sizes, or names that fit no image; a file that can't be read.
    """
    folder = _folder(root)
    if folder is None:
        raise no_files("masks/ or labels/ with image files", root)
    images = _images(root)
    layers: dict[str, list[tuple[str, Path, int | None]]] = {}
    leftovers = []
    for path in find_images(folder):
        stem = _name(path, folder)
        pages = page_names(path) if path.suffix.lower() in _TIFF else [""]
        owner = next((name for name in (stem, mask_core(stem)) if name in images), None)
        split = (owner, "") if owner is not None and len(pages) > 1 else _split(stem, set(images))
        if split is None:
            leftovers.append(path.relative_to(root).as_posix())
        elif len(pages) > 1:
            layers.setdefault(split[0], []).extend((name, path, page) for page, name in enumerate(pages))
        else:
            layers.setdefault(split[0], []).append((split[1], path, None))
    names = sorted({name for found in layers.values() for name, *_ in found}, key=in_number_order)
    ids = {name: number for number, name in enumerate(names, 1)}
    things = tuple(Category(ids[name], name, isthing=True, values=(ids[name],)) for name in names)
    meta = read_meta(root / "meta.csv")
    rows = []
    for name, path in sorted(images.items()):
        place = path.relative_to(root).as_posix()
        part = name.split("/", 1)[0] if "/" in name else None
        if name not in layers:
            rows.append(Row(place, None, None, part, meta_of(meta, name)))
            continue
        found = [(ids[label], file, page) for label, file, page in layers[name]]
        made = (f"@/masks/{name}.png", f"@/instances/{name}.png")
        rows.append(Row(place, *made, part, meta_of(meta, name), partial(_render, found)))
    background = Category(0, "background", (64, 64, 64), values=(0,))
    return Source("layers", rows, (background, *things), (), leftovers)


def _folder(root: Path) -> Path | None:
    return next((root / name for name in _FOLDERS if first_file(root / name) is not None), None)


def _images(root: Path) -> dict[str, Path]:
    base = root / "images" if (root / "images").is_dir() else root
    found = find_images(base)
    return {_name(path, base): path for path in found if path.relative_to(root).parts[0] not in _FOLDERS}


def _has_image(root: Path, name: str) -> bool:
    return any((root / "images" / f"{name}{suffix}").exists() for suffix in SUFFIXES)


def _name(path: Path, base: Path) -> str:
    return match_name(path.relative_to(base)).removesuffix(".ome")


def _split(name: str, images: set[str]) -> tuple[str, str] | None:
    """Return (image, class) of a mask's name `image_class`, the longest image's name that fits; None if none does."""
    for place in range(len(name) - 1, 0, -1):
        if name[place] in "_-" and name[:place] in images and place + 1 < len(name):
            label = name[place + 1 :]
            return (name[:place], label) if mask_core(name) != name[:place] else None
    return None


def _render(layers: Sequence[tuple[int, Path, int | None]]) -> Content:
    mask: Array | None = None
    opened: tuple[Path, Array] | None = None
    for number, path, page in layers:
        if page is None:
            layer = read_values(path)
        else:
            opened = opened if opened is not None and opened[0] == path else (path, read_pages(path))
            layer = opened[1][page]
        mask = np.zeros(layer.shape, np.int32) if mask is None else mask
        if layer.shape != mask.shape:
            got, next_move = f"{layer.shape} after {mask.shape}", "mend or remove the file"
            raise DataError(problem("layers of one size", got, where=str(path), next_move=next_move))
        mask[(layer != 0) & (mask == 0)] = number
    return Content(mask=mask, instances=mask)
