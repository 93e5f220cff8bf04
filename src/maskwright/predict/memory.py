"""How much memory an image takes that is predicted whole, and what is said where there isn't as much."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from maskwright.data.images import LARGEST_PIXELS, size_of
from maskwright.data.intensity import Scale, working_size
from maskwright.errors import DataError, problem
from maskwright.processes import free_memory

_LOOK_FROM = 1 << 24
"""Pixels times categories and channels of embeddings from which on one looks how much memory there is."""
TIFF = (".tif", ".tiff")


@dataclass(frozen=True)
class Need:
    """What decides how much memory an image takes, besides its size.

    Attributes:
        scale: of the working image.
        channels: as the network sees it.
        categories: C.
        scales: factors on the working size that are predicted, as in the recipe.
        embeddings: channels of the embeddings of all networks together, where objects are told apart.
    """

    scale: Scale
    channels: int
    categories: int
    scales: tuple[float, ...] = (1.0,)
    embeddings: int = 0


def whole_bytes(size: tuple[int, int], need: Need) -> int:
    """Return the bytes that predicting an image whole takes at the least, beside the image itself.

    The standardised image, sums and means of its tiles' probabilities, and these once more at the image's size, all
    float32. At other scales than 1 also the image at the largest of them, whose tiles' sums these are, and the sum over
    the scales. Embeddings of all networks are there three times: as maps, as points, and as points in radii.

    Args:
        size: (H, W) of the image.
        need: of the networks.
    """
    working = working_size(size, need.scale)
    height, width = working_size(working, max(need.scales))
    values = height * width * (need.channels + 2 * need.categories + 1)
    if need.scales != (1.0,):
        values += working[0] * working[1] * (need.channels + (need.categories if len(need.scales) > 1 else 0))
    values += 3 * working[0] * working[1] * need.embeddings
    return 4 * (values + (0 if size == working else size[0] * size[1] * need.categories))


def check_memory(path: Path, size: tuple[int, int], need: Need) -> None:
    """See that an image can be predicted whole.

    Raises:
        DataError: it takes more memory than there is.
    """
    if (short := _shortage(size, need)) is not None:
        raise DataError(
            problem(
                f"{short[0] / 1e9:.1f} GB of memory for the probabilities of {size[1]} × {size[0]} pixels",
                f"{short[1] / 1e9:.1f} GB",
                where=str(path),
                next_move=("predict fewer or smaller predict.scales, or " if max(need.scales) > 1 else "")
                + "cut it into pieces"
                + ("" if path.suffix.lower() in TIFF else ", or write it as a TIFF: `predict` reads these by windows"),
            )
        )


def goes_by_windows(path: Path, need: Need) -> bool:
    """Tell from its header whether an image is too large to be read or predicted whole, and a TIFF.

    Args:
        path: the image.
        need: of the networks.
    """
    if path.suffix.lower() not in TIFF:
        return False
    try:
        height, width = size_of(path)[:2]
    except DataError:  # whoever reads it says what is wrong
        return False
    return height * width > LARGEST_PIXELS or _shortage((height, width), need) is not None


def _shortage(size: tuple[int, int], need: Need) -> tuple[int, int] | None:
    """Return the bytes that are needed and those that are free, None if these are enough."""
    working = working_size(working_size(size, need.scale), max(need.scales))
    if max(size[0] * size[1], working[0] * working[1]) * (need.categories + need.embeddings) < _LOOK_FROM:
        return None
    wanted, free = whole_bytes(size, need), free_memory()
    return (wanted, free) if free is not None and wanted > free else None
