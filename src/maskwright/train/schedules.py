"""Learning rates and parameter groups."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from torch import nn


def warmup_cosine(step: int, *, steps: int, warmup: float) -> float:
    """Return the factor on the peak rate at a step: a linear rise over `warmup` of the steps, then a cosine to 0.

    Example:
        >>> [round(warmup_cosine(s, steps=10, warmup=0.2), 2) for s in (0, 1, 2, 6, 10)]
        [0.5, 1.0, 1.0, 0.5, 0.0]
    """
    rising = min(steps - 1, max(1, round(steps * warmup))) if warmup > 0 else 0
    if step < rising:
        return (step + 1) / rising
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - rising) / max(1, steps - rising))))


def decay_groups(network: nn.Module, weight_decay: float) -> Iterable[dict[str, Any]]:
    """Return AdamW's groups: weights of two and more axes decay; norms and biases don't."""
    trained = [p for p in network.parameters() if p.requires_grad]
    return [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
