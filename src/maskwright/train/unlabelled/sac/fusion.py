"""One prediction from those of several views: warped to a common canvas, averaged there, and warped back."""

from __future__ import annotations

from typing import Literal

import torch
from torch.nn.functional import affine_grid, grid_sample

from maskwright.losses.step import thin_out_by

Pooling = Literal["mean", "min_entropy"]
"""How the predictions of the views that cover a pixel become one."""

_TINY = 1e-6


@torch.no_grad()
def fuse_views(
    probabilities: torch.Tensor,
    valid: torch.Tensor,
    matrices: torch.Tensor,
    *,
    pooling: Pooling = "mean",
    coverage: float = 0.1,
    stride: int = 1,
) -> torch.Tensor:
    """Return what all views together predict, seen in each of them.

    The canvas is that of the first view, at its size: what others show beyond it has no prediction. Sampling is
    bilinear; where a sample lies partly outside a view, the weights of the rest are scaled up to 1, so that no
    probability shrinks at a border. Pixel centres are integers, and corners aren't aligned: the matrices of
    `PoolBatch` hold as they are.

    Args:
        probabilities: (N, V, C, H, W) of the teacher; each pixel sums to 1.
        valid: (N, V, H, W) bool, pixels inside the image.
        matrices: (N, V, 2, 3) from (x, y) pixels of a view to those of the image.
        pooling: mean: over the views that cover a pixel, each by how far it does. min_entropy: of the view that is
            surest.
        coverage: of a pixel, from which on something is known of it (the public code: above .1).
        stride: return the pixels of each view that a network of such coarse outputs learns from (`thin_out_by`).

    Returns:
        (N, V, C, h, w) float32: each pixel sums to 1, or is 0 where nothing is known.
    """
    known = probabilities.float() * valid[:, :, None]
    if known.shape[1] == 1:
        return thin_out_by(known, stride)
    to_first, from_first = _between(matrices)
    warped = torch.cat([known[:, :1], warp(known[:, 1:], from_first)], 1)
    fused = (_surest if pooling == "min_entropy" else _mean)(warped, coverage)
    spread = fused[:, None].expand(-1, known.shape[1] - 1, -1, -1, -1)
    seen = _normalised(warp(spread, to_first, stride), coverage)
    returned = torch.cat([thin_out_by(fused, stride)[:, None], seen], 1)
    return returned.mul_(thin_out_by(valid, stride)[:, :, None])


def warp(values: torch.Tensor, matrices: torch.Tensor, stride: int = 1) -> torch.Tensor:
    """Return values seen through matrices, bilinear, 0 beyond the border.

    Args:
        values: (N, V, C, H, W) float32.
        matrices: (N, V, 2, 3) from (x, y) pixels of the result to those of the values.
        stride: return every so many pixels only, as `thin_out_by` does.

    Returns:
        (N, V, C, h, w).
    """
    count, views, channels, height, width = values.shape
    grid = affine_grid(
        _normalised_matrices(matrices, height, width).flatten(0, 1),
        [count * views, channels, height, width],
        align_corners=False,
    )[:, stride // 2 :: stride, stride // 2 :: stride]
    sampled = grid_sample(values.flatten(0, 1), grid, align_corners=False)
    return sampled.view(count, views, channels, *sampled.shape[2:])


def _between(matrices: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (N, V − 1, 2, 3) from pixels of the further views to those of the first, and back."""
    bottom = matrices.new_tensor([0.0, 0.0, 1.0]).expand(*matrices.shape[:2], 1, 3)
    whole = torch.cat([matrices, bottom], 2).double()
    to_first = _inverse(whole[:, :1]) @ whole[:, 1:]
    return to_first[:, :, :2].float(), _inverse(to_first)[:, :, :2].float()


def _inverse(matrices: torch.Tensor) -> torch.Tensor:
    """Return inverses without asking the device whether there are: geometry has one."""
    found: torch.Tensor = torch.linalg.inv_ex(matrices).inverse
    return found


def _normalised_matrices(matrices: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Return matrices between coordinates where the borders of the outer pixels are −1 and 1."""
    half = matrices.new_tensor([width / 2, height / 2])
    centre = half - 0.5
    linear = matrices[..., :2] * half[None] / half[:, None]
    shift = (matrices[..., :2] @ centre + matrices[..., 2] - centre) / half
    return torch.cat([linear, shift[..., None]], -1)


def _mean(warped: torch.Tensor, coverage: float) -> torch.Tensor:
    """Return (N, C, H, W): the sum over the views, scaled to 1 where enough is covered."""
    return _normalised(warped.sum(1), coverage)


def _surest(warped: torch.Tensor, coverage: float) -> torch.Tensor:
    """Return (N, C, H, W): at each pixel the prediction of the view with the least entropy, the first of equal ones."""
    each = _normalised(warped, coverage)
    entropy = -torch.special.xlogy(each, each).sum(2)
    entropy = torch.where(each.sum(2) > 0, entropy, torch.inf)
    chosen = entropy.argmin(1)[:, None, None].expand(-1, 1, *each.shape[2:])
    return each.gather(1, chosen)[:, 0]


def _normalised(values: torch.Tensor, coverage: float) -> torch.Tensor:
    """Return (…, C, H, W) probabilities scaled to sum to 1 where they sum to more than `coverage`, 0 elsewhere."""
    total = values.sum(-3, keepdim=True)
    scale = torch.where(total > coverage, 1 / total.clamp(min=_TINY), 0.0)
    return values * scale
