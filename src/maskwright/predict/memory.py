"""How much memory an image takes that is predicted whole, and what is said where there isn't as much."""

from __future__ import annotations

from pathlib import Path

from maskwright.data.images import LARGEST_PIXELS, size_of
from maskwright.data.intensity import Scale, working_size
from maskwright.errors import DataError, problem
from maskwright.processes import free_memory

_LOOK_FROM = 1 << 24
"""Pixels times categories from which on one looks how much memory there is."""
TIFF = (".tif", ".tiff")


def whole_bytes(size: tuple[int, int], working: tuple[int, int], channels: int, categories: int) -> int:
    """Return the bytes that predicting an image whole takes at the least, beside the image itself.

    The standardised image, sums and means of its tiles' probabilities, and these once more at the image's size, all
    float32.

    Args:
        size: (H, W) of the image.
        working: (h, w) that the network works at.
        channels: of the image as the network sees it.
        categories: C.
    """
    maps = working[0] * working[1] * (channels + 2 * categories + 1)
    return 4 * (maps + (0 if size == working else size[0] * size[1] * categories))


def check_memory(path: Path, size: tuple[int, int], working: tuple[int, int], channels: int, categories: int) -> None:
    """See that an image can be predicted whole.

    Raises:
        DataError: it takes more memory than there is.
    """
    if (short := _shortage(size, working, channels, categories)) is not None:
        raise DataError(
            problem(
                f"{short[0] / 1e9:.1f} GB of memory for the probabilities of {size[1]} × {size[0]} pixels",
                f"{short[1] / 1e9:.1f} GB",
                where=str(path),
                next_move="cut it into pieces"
                + ("" if path.suffix.lower() in TIFF else ", or write it as a TIFF: `predict` reads these by windows"),
            )
        )


def goes_by_windows(path: Path, scale: Scale, channels: int, categories: int) -> bool:
    """Tell from its header whether an image is too large to be read or predicted whole, and a TIFF.

    Args:
        path: the image.
        scale: of the working image.
        channels: as the network sees it.
        categories: C.
    """
    if path.suffix.lower() not in TIFF:
        return False
    try:
        height, width = size_of(path)[:2]
    except DataError:  # whoever reads it says what is wrong
        return False
    working = working_size((height, width), scale)
    return height * width > LARGEST_PIXELS or _shortage((height, width), working, channels, categories) is not None


def _shortage(
    size: tuple[int, int], working: tuple[int, int], channels: int, categories: int
) -> tuple[int, int] | None:
    """Return the bytes that are needed and those that are free, None if these are enough."""
    if max(size[0] * size[1], working[0] * working[1]) * categories < _LOOK_FROM:
        return None
    need, free = whole_bytes(size, working, channels, categories), free_memory()
    return (need, free) if free is not None and need > free else None
