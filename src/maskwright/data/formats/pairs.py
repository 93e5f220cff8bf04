"""Images with their masks beside them in one folder: `a.png` and `a_mask.png`, `img2d.tif` and `mask2d.tif`."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

from maskwright.data.formats.conventions import image_core, mask_core
from maskwright.data.formats.files import by_name, top_folder
from maskwright.data.formats.rows import Row, Source
from maskwright.data.formats.sidecars import meta_of, read_classes, read_dataset_meta, read_meta
from maskwright.data.images import SUFFIXES
from maskwright.errors import DataError, problem

READS = ("*",)
_OWN = ("images", "masks", "instances", "labels", "unlabeled", "annotations")
_DEPTH = 2


def recognise(root: Path) -> bool:
    """Tell whether a folder (the root, or up to two levels below) holds an image and a mask named after it.

    Folders that keep masks apart, and images with a JSON of their own, are of other layouts.
    """
    if any((root / name).is_dir() for name in _OWN):
        return False
    for folder, inner, files in os.walk(root):
        deep = len(Path(folder).relative_to(root).parts) >= _DEPTH
        inner[:] = [] if deep else sorted(name for name in inner if not name.startswith("."))
        stems = {Path(name).stem for name in files if Path(name).suffix.lower() in SUFFIXES}
        if any(f"{stem}.json" in files for stem in stems):
            return False
        if stems:
            return bool(_owners(dict.fromkeys(stems, "")))
    return False


def read(root: Path) -> Source:
    """Return the rows; a file that is named as the mask of another is its mask, every other one is an image.

    Raises:
        DataError: an image with two masks.
    """
    files = by_name(root, ".")
    owners = _owners(files)
    masks: dict[str, str] = {}
    for mask, image in sorted(owners.items()):
        if image in masks:
            next_move = "leave one of the two in the folder"
            got = f"{masks[image]} and {files[mask]}"
            raise DataError(problem("one mask an image", got, where=str(root), next_move=next_move))
        masks[image] = files[mask]
    meta = read_meta(root / "meta.csv")
    rows = [
        Row(path, masks.get(name), None, top_folder(name), meta_of(meta, name))
        for name, path in sorted(files.items())
        if name not in owners
    ]
    categories, ignore = read_classes(root / "classes.json")
    return Source("pairs", rows, categories or read_dataset_meta(root / "dataset_meta.json"), ignore)


def _owners(names: dict[str, str]) -> dict[str, str]:
    """Return {mask's name: image's name} of the names that belong together."""
    cores = {image_core(name): name for name in names if mask_core(name) is None and image_core(name) != name}
    found = {}
    for name in names:
        core = mask_core(name)
        if core is not None and core in names:
            found[name] = core
        elif core is not None and core in cores and cores[core] != name:
            found[name] = cores[core]
    return {mask: image for mask, image in found.items() if PurePosixPath(image).parent == PurePosixPath(mask).parent}
