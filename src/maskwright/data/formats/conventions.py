"""Names by which masks are told from images: `a_mask`, `gt_a`, `img2d` beside `mask2d`."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

from maskwright.errors import DataError, problem

_MASK = r"masks?|labels?|segmentation|seg|gt|anno|annotation"
_IMAGE = r"images?|img|im"
_MASK_END = re.compile(rf"[_\-. ]({_MASK})$", re.IGNORECASE)
_MASK_START = re.compile(rf"^({_MASK})([_\-. ]|(?=\d))", re.IGNORECASE)
_IMAGE_END = re.compile(rf"[_\-. ]({_IMAGE})$", re.IGNORECASE)
_IMAGE_START = re.compile(rf"^({_IMAGE})([_\-. ]|(?=\d))", re.IGNORECASE)


def mask_core(name: str) -> str | None:
    """Return what a mask's name is without what says that it is a mask, None if nothing says so.

    Example:
        >>> mask_core("train/a_mask"), mask_core("gt_7"), mask_core("a")
        ('train/a', '7', None)
    """
    return _without(name, _MASK_END, _MASK_START)


def image_core(name: str) -> str:
    """Return an image's name without what says that it is an image.

    Example:
        >>> image_core("image_7"), image_core("train/a")
        ('7', 'train/a')
    """
    return _without(name, _IMAGE_END, _IMAGE_START) or name


def match_labels(labels: dict[str, str], images: dict[str, str], root: Path) -> dict[str, str]:
    """Return label files under the names of their images: the same name, else the same core; others as they are.

    Args:
        labels: {name: path}.
        images: {name: path}.
        root: the data folder, for the message.

    Raises:
        DataError: two label files belong to one image, or one to two images.
    """
    if all(name in images for name in labels):
        return labels
    cores: dict[str, list[str]] = {}
    for name in images:
        cores.setdefault(image_core(name), []).append(name)
    found: dict[str, str] = {}
    for name, path in labels.items():
        core = mask_core(name)
        if name in images:
            owners = [name]
        elif core in images:
            owners = [core]
        else:
            owners = cores.get(core, cores.get(name, [])) if core is not None else cores.get(name, [])
        if len(owners) > 1 or (owners and owners[0] in found):
            raise DataError(
                problem(
                    "one label file an image",
                    f"{path} for {', '.join(owners)}" if len(owners) > 1 else f"{found[owners[0]]} and {path}",
                    where=str(root),
                    next_move="give masks the names of their images",
                )
            )
        found[owners[0] if owners else name] = path
    return found


def _without(name: str, end: re.Pattern[str], start: re.Pattern[str]) -> str | None:
    place = PurePosixPath(name)
    for pattern in (end, start):
        stem, count = pattern.subn("", place.name, count=1)
        if count and stem:
            return str(place.with_name(stem))
    return None
