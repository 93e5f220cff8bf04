"""Turning images by any angle, and maps back: student and momentum network see the same pixel differently."""

from __future__ import annotations

import torch
from torch.nn import functional

_INSIDE = 0.999
"""Share of a pixel that must lie inside."""


def draw_degrees(count: int, bounds: tuple[float, float], generator: torch.Generator) -> torch.Tensor:
    """Return (count,) float32 degrees, evenly distributed between the bounds."""
    low, high = bounds
    return low + (high - low) * torch.rand(count, generator=generator, device=generator.device)


def rotate(maps: torch.Tensor, degrees: torch.Tensor) -> torch.Tensor:
    """Return (N, C, H, W) maps turned about the image's centre, counterclockwise, bilinear, 0 outside.

    Half-precision maps come back as float32: coordinates in bfloat16 are off by up to a pixel at a side of 512.

    Args:
        maps: (N, C, H, W) floats.
        degrees: (N,).
    """
    maps = maps.to(torch.promote_types(maps.dtype, torch.float32))
    return functional.grid_sample(maps, _grid(maps, degrees), mode="bilinear", align_corners=False)


def rotate_back(maps: torch.Tensor, degrees: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return maps of turned images as those of the images, and where they are known.

    Args:
        maps: (N, C, H, W) floats, of images that `rotate` turned.
        degrees: (N,), those it was given.

    Returns:
        (N, C, H, W), and (N, H, W) bool: the pixel and all that it was interpolated from lay inside both images.
    """
    inside = rotate(maps.new_ones(len(maps), 1, *maps.shape[2:], dtype=torch.float32), degrees)
    back = rotate(torch.cat([maps, inside], 1), -degrees)
    return back[:, :-1], back[:, -1] > _INSIDE


def _grid(maps: torch.Tensor, degrees: torch.Tensor) -> torch.Tensor:
    """Return (N, H, W, 2): where each pixel of the result comes from, in the coordinates of `grid_sample`."""
    height, width = maps.shape[2:]
    angle = torch.deg2rad(degrees.to(maps.device, torch.float64))
    cosine, sine, none = angle.cos(), angle.sin(), torch.zeros_like(angle)
    # a pixel of the result is turned clockwise to its source; x and y are in halves of width and height
    rows = [[cosine, -sine * height / width, none], [sine * width / height, cosine, none]]
    matrices = torch.stack([torch.stack(row, 1) for row in rows], 1)  # (N, 2, 3)
    return functional.affine_grid(matrices, [len(maps), 1, height, width], align_corners=False).to(maps.dtype)
