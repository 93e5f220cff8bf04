"""What every step asks of its input."""

from __future__ import annotations

import numpy as np

from maskwright.errors import DataError, UsageError, problem
from maskwright.types import Array


def check_probabilities(probabilities: Array) -> None:
    """Raise a DataError unless all values are numbers in 0..1; a millionth beyond is rounding."""
    if probabilities.size == 0:
        return
    low, high = float(probabilities.min()), float(probabilities.max())  # NaN if any value is
    if low >= -1e-6 and high <= 1 + 1e-6:
        return
    found = f"{np.count_nonzero(~np.isfinite(probabilities))} values that aren't finite" if low != low else ""
    raise DataError(
        problem(
            "probabilities in 0..1",
            found or f"values from {low:.6g} to {high:.6g}",
            where="post-processing",
            next_move="give softmax or sigmoid outputs, not logits; look for NaN in the network's weights or the image",
        )
    )


def check_window(size: int, where: str) -> None:
    """Raise a UsageError unless a window of that side has a middle."""
    if size < 1 or size % 2 == 0:
        raise UsageError(
            problem("an odd number of pixels", f"{size}", where=where, next_move="use the next odd number")
        )
