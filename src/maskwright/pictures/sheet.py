"""A contact sheet: rows of pictures with their captions below."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from maskwright.types import Array

_TEXT, _GAP = 12, 6


def contact_sheet(rows: Sequence[Sequence[tuple[Array, str]]]) -> Array:
    """Return pictures in rows on white, each with its caption below, broken into lines of its width.

    Args:
        rows: of (uint8 RGB picture (h, w, 3), caption); lengths and sizes may differ.

    Returns:
        uint8 RGB (H, W, 3).
    """
    font = _font()
    drawn = [[_captioned(picture, caption, font) for picture, caption in row] for row in rows]
    heights = [max(cell.shape[0] for cell in row) for row in drawn]
    widths = [sum(cell.shape[1] + _GAP for cell in row) for row in drawn]
    sheet = np.full((sum(heights) + _GAP * len(rows) + _GAP, max(widths) + _GAP, 3), 255, np.uint8)
    top = _GAP
    for row, height in zip(drawn, heights, strict=True):
        left = _GAP
        for cell in row:
            sheet[top : top + cell.shape[0], left : left + cell.shape[1]] = cell
            left += cell.shape[1] + _GAP
        top += height + _GAP
    return sheet


def _captioned(picture: Array, caption: str, font: ImageFont.FreeTypeFont) -> Array:
    lines = _broken(caption, font, max(picture.shape[1], 8 * _TEXT))
    text = Image.new("RGB", (max(picture.shape[1], 8 * _TEXT), (_TEXT + 3) * len(lines)), "white")
    draw = ImageDraw.Draw(text)
    for number, line in enumerate(lines):
        draw.text((0, number * (_TEXT + 3)), line, "black", font)
    cell = np.full((picture.shape[0] + text.height, text.width, 3), 255, np.uint8)
    cell[: picture.shape[0], : picture.shape[1]] = picture
    cell[picture.shape[0] :] = np.asarray(text)
    return cell


def _broken(caption: str, font: ImageFont.FreeTypeFont, width: int) -> list[str]:
    """Return the caption in lines that are no wider, but for words that are."""
    lines: list[str] = []
    for word in caption.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and font.getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def _font() -> ImageFont.FreeTypeFont:
    import matplotlib

    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"), _TEXT)
