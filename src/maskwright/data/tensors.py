"""From arrays to tensors: the one place where NumPy's (H, W, C) becomes torch's (C, H, W)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from maskwright.types import Array, LabelMap


def image_tensor(image: Array) -> torch.Tensor:
    """Return float32 (C, H, W) of a standardised (H, W, C) image."""
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))


def label_tensor(label: LabelMap) -> torch.Tensor:
    """Return int64 (H, W) of a uint8 label map."""
    return torch.from_numpy(label.astype(np.int64))


def share_tensor(shares: npt.NDArray[np.float32]) -> torch.Tensor:
    """Return float32 (C, H, W) shares of the categories as a tensor."""
    return torch.from_numpy(np.ascontiguousarray(shares))
