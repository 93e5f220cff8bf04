"""Masks on the device from what was drawn in the loader: boxes, categories, blocks."""

from __future__ import annotations

import torch

from maskwright.types import IGNORE


def box_masks(boxes: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Return (…, h, w) bool: inside of the (…, 4) boxes, top, left, height and width in pixels of (h, w)."""
    top, left, height, width = (side[..., None] for side in boxes.unbind(-1))
    rows, columns = (torch.arange(side, device=boxes.device) for side in size)
    down = (rows >= top) & (rows < top + height)
    along = (columns >= left) & (columns < left + width)
    return down[..., :, None] & along[..., None, :]


def half_of_categories(labels: torch.Tensor, order: torch.Tensor) -> torch.Tensor:
    """Return (N, h, w) bool: the pixels of half of each image's own categories, ⌈n / 2⌉ of n (ClassMix).

    Args:
        labels: (N, h, w) int64 with `IGNORE`, which is never chosen.
        order: (N, C), by which they are chosen, the smallest first; infinite: not at all.
    """
    count = order.shape[1]
    present = (labels[:, None] == torch.arange(count, device=labels.device)[:, None, None]).any(3).any(2)  # (N, C)
    ranks = torch.where(present, order, torch.inf).argsort(1).argsort(1)
    wanted = (present.sum(1, keepdim=True) + 1) // 2
    chosen = (ranks < wanted) & present & torch.isfinite(order)
    known = labels != IGNORE
    safe = torch.where(known, labels, 0)
    return chosen.gather(1, safe.flatten(1)).view_as(labels) & known


def block_masks(blocks: torch.Tensor, side: int, size: tuple[int, int]) -> torch.Tensor:
    """Return (N, h, w): (N, rows, columns) blocks of `side` pixels, cut off at the end."""
    return blocks.repeat_interleave(side, 1).repeat_interleave(side, 2)[:, : size[0], : size[1]]
