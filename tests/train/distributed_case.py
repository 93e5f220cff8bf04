"""What the processes of test_distributed.py do; a module of its own, so that they can import it."""

from __future__ import annotations

import os

import torch
from torch import nn


class GroupNormNet(nn.Module):
    """A small network whose normalisation sees one image at a time."""

    def __init__(self, in_channels: int, classes: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(in_channels, 8, 3, padding=1), nn.GroupNorm(2, 8), nn.ReLU(), nn.Conv2d(8, classes, 3, padding=1)
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.layers(images)


class Failing(GroupNormNet):
    """Raises in the process of rank 1."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if os.environ.get("RANK") == "1":
            raise ValueError("one of two failed")
        return super().forward(images)
