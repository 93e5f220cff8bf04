"""The soft IoU loss."""

from __future__ import annotations

import torch

from maskwright.losses.tversky import tversky_loss


def iou_loss(
    logits: torch.Tensor,
    labels: torch.Tensor,
    *,
    class_weights: torch.Tensor | None = None,
    smooth: float = 1.0,
    per_image: bool = False,
    absent: str = "skip",
) -> torch.Tensor:
    """Return 1 − mean soft IoU, (Σ p·y + s) / (Σ p + Σ y − Σ p·y + s) per category: Tversky with α = β = 1.

    The arguments are those of `tversky_loss`.
    """
    options = {"class_weights": class_weights, "smooth": smooth, "per_image": per_image, "absent": absent}
    return tversky_loss(logits, labels, alpha=1.0, beta=1.0, **options)  # type: ignore[arg-type]
