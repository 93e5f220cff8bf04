"""Writing images, masks and id maps without loss, in files that other tools read."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import tifffile

from maskwright.artifacts import atomic
from maskwright.data.images import orientation_of, read_image
from maskwright.errors import DataError, problem
from maskwright.types import Array


def place_image(folder: Path, name: str, image: Path | Array) -> Path:
    """Copy an image file, or write pixels, under a name without suffix; return the path.

    An image that its EXIF orientation turns is written upright, as the labels beside it are: which of them are turned
    already could not be told from their files.
    """
    if not isinstance(image, Path):
        return write_array(folder / f"{name}.png", image)
    if orientation_of(image) != 1:
        return write_array(folder / f"{name}.png", read_image(image))
    target = folder / f"{name}{image.suffix.lower()}"
    with atomic(target) as temporary:
        shutil.copyfile(image, temporary)
    return target


def write_array(path: Path, array: Array) -> Path:
    """Write an image, mask or id map without loss; return its path: PNG, or TIFF for what PNG can't hold.

    Args:
        path: where to; its suffix is replaced.
        array: (H, W) or (H, W, C) of whole numbers or float32.

    Raises:
        DataError: an array of a shape that is no image.
    """
    if array.ndim not in (2, 3) or array.size == 0 or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)):
        raise DataError(
            problem("an (H, W) or (H, W, C) image", f"{array.shape}", where=str(path), next_move="mend the source")
        )
    packed = _packed(array)
    if packed.dtype in (np.uint8, np.uint16):
        channels = packed[..., ::-1] if packed.ndim == 3 and packed.shape[2] == 3 else packed
        channels = channels[..., [2, 1, 0, 3]] if packed.ndim == 3 and packed.shape[2] == 4 else channels
        whole, data = cv2.imencode(".png", np.ascontiguousarray(channels))
        assert whole
        with atomic(path.with_suffix(".png")) as temporary:
            temporary.write_bytes(data.tobytes())
        return path.with_suffix(".png")
    with atomic(path.with_suffix(".tif")) as temporary:
        tifffile.imwrite(temporary, packed, compression="zlib")
    return path.with_suffix(".tif")


def _packed(array: Array) -> Array:
    """Return whole numbers in the smallest type that holds them; pixel types stay as they are."""
    if array.dtype in (np.uint8, np.uint16, np.float32) or array.dtype.kind not in "biu":
        return array.astype(np.float32) if array.dtype.kind == "f" else array
    highest, lowest = (int(array.max()), int(array.min())) if array.size else (0, 0)
    if lowest < 0:
        return array.astype(np.int32)
    return array.astype(np.uint8 if highest < 256 else np.uint16 if highest < 65536 else np.uint32)
