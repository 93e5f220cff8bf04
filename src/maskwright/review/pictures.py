"""Pictures of an item as a browser shows them: scaled, encoded afresh, without what else their files hold."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
from PIL import Image

from maskwright.audit.masks import Answers
from maskwright.augment.dihedral import DIHEDRAL, apply
from maskwright.pictures import encode, fit, to_rgb8
from maskwright.review.items import Item
from maskwright.review.source import Reviewed

LARGEST = 2048
"""Longest side that is served, in pixels."""


def image_bytes(run: Reviewed, item: Item, which: int, side: int) -> bytes:
    """Return an item's first or second image as a JPEG, the second as it looks like the first.

    Args:
        run: what is reviewed.
        item: whose image.
        which: 0 or 1.
        side: of the longer side, in pixels.

    Raises:
        DataError: it can't be read.
    """
    pixels = to_rgb8(fit(run.picture(item.images[which]), max(1, min(side, LARGEST))))
    if which and item.transform in DIHEDRAL:
        pixels = apply(pixels, item.transform)
    return encode(pixels, "jpeg", 88)


def label_bytes(run: Reviewed, item: Item, place: int, answers: Answers, side: int) -> bytes:
    """Return a suggestion of an item as a gray PNG of category positions, 255 ignored.

    Args:
        run: what is reviewed.
        item: whose suggestion.
        place: 0 or 1; of an item without suggestions, 0 is the mask that counts now.
        answers: as `settled` returns them.
        side: of the longer side, in pixels.

    Raises:
        DataError: it can't be read.
    """
    if item.suggestions:
        label = run.suggestion(item, item.suggestions[place], answers)
    else:
        label = run.mask(item.image, answers)
    return png(np.ascontiguousarray(fit(label, max(1, min(side, LARGEST)))))


def digest_shown(run: Reviewed, item: Item, place: int, answers: Answers) -> str:
    """Return the digest of what `label_bytes` shows, empty of an item without suggestions."""
    return run.digest(item.suggestions[place], answers) if item.suggestions else ""


def png(values: npt.NDArray[np.uint8]) -> bytes:
    """Return an (H, W) map as a gray PNG, which holds nothing else."""
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "PNG")
    return buffer.getvalue()
