"""Images and label maps as pictures: overlays, error maps, sizes, encoded bytes.

Pictures are uint8 RGB (H, W, 3) from `to_rgb8` on; label maps are (H, W) category positions with `IGNORE`.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Literal

import cv2
import numpy as np

from maskwright.errors import DataError, problem
from maskwright.labels import borders
from maskwright.pictures.colors import Color
from maskwright.types import IGNORE, Array, LabelMap

FALSE_POSITIVE: Color = (213, 94, 0)
FALSE_NEGATIVE: Color = (86, 180, 233)


def to_rgb8(image: Array) -> Array:
    """Return an image as uint8 RGB (H, W, 3).

    uint8 stays as it is and bool becomes 0 and 255; anything else is stretched from its 1st to its 99th percentile
    (of finite values, all channels together; minimum to maximum where these two are equal, mid gray where the image
    is constant). NaN becomes black. One or two channels are shown as gray (the first one), of more the first three.

    Args:
        image: (H, W, C) of any real dtype.

    Raises:
        DataError: the array has no channel axis or no channel.
    """
    if image.ndim != 3 or image.shape[2] == 0:
        raise DataError(
            problem("an (H, W, C) image", f"shape {image.shape}", where="to_rgb8", next_move="add the axis")
        )
    image = image[..., :3] if image.shape[2] >= 3 else image[..., :1]
    if image.dtype == np.bool_:
        image = image.astype(np.uint8) * 255
    elif image.dtype != np.uint8:
        image = _stretch(image)
    return np.ascontiguousarray(np.broadcast_to(image, (*image.shape[:2], 3)))


def _stretch(image: Array) -> Array:
    values = image.astype(np.float64)
    thin = values[:: 1 + image.shape[0] // 1000, :: 1 + image.shape[1] // 1000]
    thin = thin[np.isfinite(thin)]
    if thin.size == 0:
        return np.zeros(image.shape, np.uint8)
    low, high = np.percentile(thin, (1, 99))
    if high <= low:
        low, high = thin.min(), thin.max()
    if high <= low:
        low, high = low - 1, high + 1
    scaled: Array = np.nan_to_num(np.clip((values - low) * (255 / (high - low)), 0, 255), nan=0)
    return scaled.round().astype(np.uint8)


def overlay(
    image: Array,
    label: LabelMap,
    palette: Array,
    alpha: float = 0.45,
    outline: bool = True,
    *,
    skip: Sequence[int] = (),
) -> Array:
    """Return the image tinted by category, uint8 (H, W, 3); `IGNORE` stays untinted.

    Args:
        image: (H, W, C) of any dtype.
        label: (H, W) category positions.
        palette: uint8 (256, 3), position p in row p.
        alpha: weight of the category's colour, 0..1.
        outline: draw borders between categories one pixel wide in the full colour.
        skip: positions that stay untinted too, such as the background.

    Raises:
        DataError: image and label differ in size.
    """
    picture = to_rgb8(image)
    _same_size(picture, label, "overlay")
    tinted = ~np.isin(label, [IGNORE, *skip])
    color = palette[label]
    mixed = picture * (1 - alpha) + color * alpha
    result = np.where(tinted[..., None], mixed.round().astype(np.uint8), picture)
    if outline:
        edge = borders(label) & tinted
        result[edge] = color[edge]
    return result


def framed(picture: Array, boxes: Sequence[tuple[int, int, int, int]], color: Color = (255, 0, 255)) -> Array:
    """Return a uint8 RGB picture with boxes drawn around their pixels.

    Args:
        picture: (H, W, 3) uint8.
        boxes: top, left, height, width in pixels.
        color: RGB.
    """
    found, thickness = picture.copy(), 1 + max(picture.shape) // 200
    for top, left, height, width in boxes:
        cv2.rectangle(found, (left - 1, top - 1), (left + width, top + height), color, thickness)
    return found


def error_map(
    truth: LabelMap, prediction: LabelMap, palette: Array, *, image: Array | None = None, binary: bool = False
) -> Array:
    """Return where a prediction is wrong, uint8 (H, W, 3).

    Correct pixels are dim gray (the image's, if given), ignored ones hatched. A wrong pixel has the colour of its
    true category, white where that colour is itself nearly gray. With `binary`, wrong pixels are `FALSE_POSITIVE`
    where position 0 is true and `FALSE_NEGATIVE` elsewhere.

    Args:
        truth: (H, W) category positions; `IGNORE` is not judged.
        prediction: (H, W) category positions.
        palette: uint8 (256, 3).
        image: (H, W, C), shown dimmed where the prediction is right.
        binary: use the scheme for one background and one foreground category.

    Raises:
        DataError: the sizes differ.
    """
    _same_size(prediction, truth, "error_map")
    if image is None:
        result = np.full((*truth.shape, 3), 70, np.uint8)
    else:
        _same_size(image, truth, "error_map")
        gray = to_rgb8(image).mean(-1, keepdims=True)
        result = np.repeat((20 + 0.4 * gray).astype(np.uint8), 3, axis=-1)
    wrong, ignored = (truth != prediction) & (truth != IGNORE), truth == IGNORE
    if binary:
        result[wrong] = np.where((truth[wrong] == 0)[:, None], FALSE_POSITIVE, FALSE_NEGATIVE)
    else:
        grayish = np.ptp(palette.astype(int), axis=1) < 40
        result[wrong] = np.where(grayish[:, None], 255, palette)[truth[wrong]]
    diagonal = np.arange(truth.shape[0])[:, None] + np.arange(truth.shape[1])
    hatch = np.where(diagonal // 4 % 2, 150, 105).astype(np.uint8)
    result[ignored] = hatch[ignored][:, None]
    return result


def _same_size(first: Array, second: Array, where: str) -> None:
    if first.shape[:2] != second.shape[:2]:
        got = f"{first.shape[:2]} and {second.shape[:2]}"
        raise DataError(problem("arrays of one height and width", got, where=where, next_move="bring both to one size"))


def side_by_side(images: Sequence[Array], gap: int = 4) -> Array:
    """Return uint8 RGB images in one row, aligned at the top on white, `gap` pixels apart.

    Args:
        images: at least one (H, W, 3) uint8; sizes may differ.
        gap: pixels.

    Raises:
        DataError: there is no image.
    """
    if not images:
        raise DataError(problem("at least one image", "none", where="side_by_side", next_move="pass one"))
    height, width = max(i.shape[0] for i in images), sum(i.shape[1] for i in images) + gap * (len(images) - 1)
    row = np.full((height, width, 3), 255, np.uint8)
    left = 0
    for image in images:
        row[: image.shape[0], left : left + image.shape[1]] = image
        left += image.shape[1] + gap
    return row


def fit(image: Array, longest: int) -> Array:
    """Return an image or label map whose longer side is at most `longest` pixels; never enlarges.

    Args:
        image: (H, W, C) is averaged over areas; (H, W) is a label map and takes the nearest value.
        longest: pixels.
    """
    height, width = image.shape[:2]
    scale = longest / max(height, width, 1)
    if scale >= 1:
        return image
    size = max(1, round(height * scale)), max(1, round(width * scale))
    if image.ndim == 2:
        rows, columns = (_nearest(new, old) for new, old in zip(size, image.shape, strict=True))
        label: Array = image[rows[:, None], columns]
        return label
    native = image.dtype in (np.uint8, np.uint16, np.int16, np.float32, np.float64)
    source = image if native else image.astype(np.float32)
    # one channel at a time: OpenCV averages at most four together
    planes = [np.ascontiguousarray(source[..., c]) for c in range(image.shape[2])]
    small = [cv2.resize(p, size[::-1], interpolation=cv2.INTER_AREA) for p in planes]
    return np.stack(small, axis=-1)


def _nearest(new: int, old: int) -> Array:
    centres: Array = ((np.arange(new) + 0.5) * old / new).astype(np.intp)
    return centres


def encode(image: Array, format: Literal["webp", "jpeg", "png"] = "webp", quality: int = 80) -> bytes:
    """Return a uint8 RGB (H, W, 3) or gray (H, W) picture as the bytes of a file.

    Args:
        image: pixels.
        format: webp and jpeg lose detail, png doesn't.
        quality: 1..100; png ignores it.

    Raises:
        DataError: the picture is empty or too large for the format.
    """
    options = {
        "webp": [cv2.IMWRITE_WEBP_QUALITY, quality],
        "jpeg": [cv2.IMWRITE_JPEG_QUALITY, quality],
        "png": [],
    }[format]
    pixels = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2BGR) if image.size else image
    done, data = cv2.imencode(f".{format}", pixels, options) if image.size else (False, None)
    if not done or data is None:
        raise DataError(
            problem(f"a picture that {format} can hold", f"shape {image.shape}", where="encode", next_move="use fit")
        )
    return bytes(data.tobytes())


def data_uri(data: bytes, mime: str) -> str:
    """Return bytes as a `data:` address that a page can hold.

    Example:
        >>> data_uri(b"hi", "text/plain")
        'data:text/plain;base64,aGk='
    """
    return f"data:{mime};base64,{base64.b64encode(data).decode('ascii')}"
