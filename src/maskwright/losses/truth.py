"""The two forms of labels under one set of names.

Hard labels are (N, H, W) int64 with `IGNORE`. Soft labels are (N, C, H, W) floats: each category's share of a pixel;
a pixel whose shares sum to 0 is ignored, one whose shares sum to less than 1 weighs that much.
"""

from __future__ import annotations

import torch

from maskwright.types import IGNORE


def is_soft(labels: torch.Tensor) -> bool:
    """Tell soft labels from hard ones."""
    return labels.ndim == 4


def full_precision(logits: torch.Tensor) -> torch.Tensor:
    """Return logits as float32, or float64 where they are."""
    return logits if logits.dtype == torch.float64 else logits.float()


def known(labels: torch.Tensor) -> torch.Tensor:
    """Return how much each pixel weighs: (N, H, W), bool for hard labels, float for soft ones."""
    return labels.sum(1) if is_soft(labels) else labels != IGNORE


def may_be_ignored(valid: torch.Tensor) -> bool:
    """Tell whether any pixel is ignored; True where to ask would stop a device or a compiler.

    Args:
        valid: (N, H, W) bool, False where ignored.
    """
    return valid.device.type != "cpu" or torch.compiler.is_compiling() or not bool(valid.all())


def at_truth(values: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the (N, H, W) values of the true category, or their mean by the shares times the pixel's weight.

    Args:
        values: (N, C, H, W) or (C,).
        labels: hard or soft; ignored pixels give 0.
    """
    if is_soft(labels):
        table = values[None, :, None, None] if values.ndim == 1 else values
        return (table * labels).sum(1)
    valid = labels != IGNORE
    safe = torch.where(valid, labels, 0)
    picked = values[safe] if values.ndim == 1 else values.gather(1, safe[:, None])[:, 0]
    return torch.where(valid, picked, 0.0)


def shares(labels: torch.Tensor, count: int, dtype: torch.dtype) -> torch.Tensor:
    """Return (N, C, H, W): soft labels as they are, hard ones one-hot, 0 at ignored pixels."""
    if is_soft(labels):
        return labels.to(dtype)
    return (labels[:, None] == torch.arange(count, device=labels.device)[:, None, None]).to(dtype)
