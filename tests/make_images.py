"""Small image files of every kind that users bring, for the tests of readers; each function returns what it wrote."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import tifffile
from PIL import Image

HEIGHT, WIDTH = 12, 16
PALETTE = ((0, 0, 0), (220, 20, 60), (0, 130, 200), (60, 180, 75))
ORIENTATION = 0x0112


def pattern(height: int = HEIGHT, width: int = WIDTH, top: int = 255) -> np.ndarray:
    """Return (height, width) uint16 in 0..top that differs under every flip and turn: bright to the right and down."""
    ys, xs = np.mgrid[:height, :width]
    return np.round(top * (2 * xs / max(width - 1, 1) + ys / max(height - 1, 1)) / 3).astype(np.uint16)


def label(height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """Return (height, width) uint8 with 0, a column of 1 at the left, a row of 2 at the top and a corner of 3."""
    values = np.zeros((height, width), np.uint8)
    values[:, : max(width // 4, 1)] = 1
    values[: max(height // 4, 1)] = 2
    values[0, 0] = 3
    return values


def gray_png(folder: Path, name: str = "gray", height: int = HEIGHT, width: int = WIDTH) -> Path:
    """Write an 8-bit gray PNG of `pattern`."""
    return _save(Image.fromarray(pattern(height, width).astype(np.uint8)), folder, f"{name}.png")


def rgb_png(folder: Path, name: str = "rgb", height: int = HEIGHT, width: int = WIDTH) -> Path:
    """Write an RGB PNG: `pattern`, `pattern` upside down, 40."""
    return _save(Image.fromarray(_rgb(height, width)), folder, f"{name}.png")


def rgba_png(folder: Path, name: str = "rgba") -> Path:
    """Write the RGB picture with opacity 0 in the left half and 255 in the right."""
    alpha = np.zeros((HEIGHT, WIDTH, 1), np.uint8)
    alpha[:, WIDTH // 2 :] = 255
    return _save(Image.fromarray(np.concatenate([_rgb(), alpha], axis=2)), folder, f"{name}.png")


def palette_png(folder: Path, name: str = "palette", values: np.ndarray | None = None) -> Path:
    """Write an index PNG of `label`, or of the given (H, W) uint8 values, with the colours of `PALETTE`."""
    image = Image.fromarray(label() if values is None else values)
    image.putpalette([channel for color in PALETTE for channel in color])
    return _save(image, folder, f"{name}.png")


def gray16_png(folder: Path, name: str = "gray16") -> Path:
    """Write a 16-bit gray PNG of `pattern` in 0..40000."""
    return _save(Image.fromarray(pattern(top=40_000)), folder, f"{name}.png")


def gray16_tiff(folder: Path, name: str = "gray16") -> Path:
    """Write a 16-bit gray TIFF of `pattern` in 0..40000."""
    folder.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(folder / f"{name}.tif", pattern(top=40_000))
    return folder / f"{name}.tif"


def id_png(folder: Path, name: str = "ids", height: int = 300, width: int = 300) -> Path:
    """Write a 16-bit instance map in which every pixel is an object of its own: ids 0, 1, 2 … (modulo 65536)."""
    ids = (np.arange(height * width) % 65_536).reshape(height, width).astype(np.uint16)
    return _save(Image.fromarray(ids), folder, f"{name}.png")


def turned_jpeg(images: Path, masks: Path, name: str = "turned", *, mask_upright: bool = False) -> tuple[Path, Path]:
    """Write a JPEG that is stored lying (12×16) with EXIF orientation 6, so that it's shown standing (16×12); its mask.

    Args:
        images: folder of the JPEG.
        masks: folder of the mask, an index PNG without EXIF.
        name: stem of both.
        mask_upright: the mask is as the image is shown, (16, 12) `label` turned clockwise; else as it is stored.
    """
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    picture = Image.fromarray(pattern().astype(np.uint8))
    image = _save(picture, images, f"{name}.jpg", exif=exif, quality=95)
    values = np.ascontiguousarray(np.rot90(label(), -1)) if mask_upright else label()
    return image, palette_png(masks, name, values)


def truncated_png(folder: Path, name: str = "truncated") -> Path:
    """Write a PNG that stops in the middle of its pixels, as after a broken download."""
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)
    path = _save(Image.fromarray(noise), folder, f"{name}.png")
    path.write_bytes(path.read_bytes()[:2000])
    return path


def tiny_png(folder: Path, name: str = "tiny") -> Path:
    """Write a 3×5 gray PNG."""
    return gray_png(folder, name, 3, 5)


def wrong_size(images: Path, masks: Path, name: str = "wrong") -> tuple[Path, Path]:
    """Write a 12×16 image and a mask that is one row too high."""
    return gray_png(images, name), palette_png(masks, name, label(HEIGHT + 1))


def binary_mask(folder: Path, name: str = "binary") -> Path:
    """Write an 8-bit gray mask with 0 and 255."""
    return _save(Image.fromarray(np.where(label() > 0, 255, 0).astype(np.uint8)), folder, f"{name}.png")


def color_mask(folder: Path, name: str = "colors") -> Path:
    """Write `label` as an RGB PNG in the colours of `PALETTE`."""
    return _save(Image.fromarray(np.array(PALETTE, np.uint8)[label()]), folder, f"{name}.png")


def bgr_jpeg(folder: Path, name: str = "photo", height: int = HEIGHT, width: int = WIDTH) -> Path:
    """Write the RGB picture as a JPEG, through OpenCV."""
    folder.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(folder / f"{name}.jpg"), _rgb(height, width)[..., ::-1])
    return folder / f"{name}.jpg"


def _rgb(height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    gray = pattern(height, width).astype(np.uint8)
    return np.stack([gray, gray[::-1], np.full_like(gray, 40)], axis=2)


def _save(image: Image.Image, folder: Path, name: str, **options: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    image.save(folder / name, **options)
    return folder / name
