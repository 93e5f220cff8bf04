"""From a decoder's maps to logits, at as many levels as are supervised."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

from maskwright.errors import RecipeError, problem


class Heads(nn.ModuleList):
    """A convolution to logits for each supervised map, the finest first.

    In training with several maps the call returns the list of their logits, else the finest logits alone.

    Args:
        channels: of the maps that there are, the finest first; the first `levels` get a head.
        classes: channels of the logits.
        levels: how many are supervised.
        kind: of the network, for the message.
        kernel: 1 or 3.

    Raises:
        RecipeError: more levels than maps.
    """

    def __init__(self, channels: Sequence[int], classes: int, *, levels: int, kind: str, kernel: int = 1) -> None:
        check_levels(levels, len(channels), kind)
        super().__init__(nn.Conv2d(width, classes, kernel, padding=kernel // 2) for width in channels[:levels])

    def forward(self, maps: Sequence[torch.Tensor]) -> torch.Tensor | list[torch.Tensor]:
        """Return logits (N, classes, h, w) of each (N, C, h, w) map, or of the first alone."""
        if self.training and len(self) > 1:
            return [head(level) for head, level in zip(self, maps, strict=False)]
        finest: torch.Tensor = self[0](maps[0])
        return finest


def check_levels(levels: int, most: int, kind: str) -> None:
    """Raise RecipeError if a network has fewer outputs than are to be supervised."""
    if levels > most:
        raise RecipeError(
            problem(
                f"at most {most} supervised outputs of a {kind}",
                str(levels),
                where="levels",
                next_move="leave the last levels out, or take a network with more of them, such as basnet with 8",
            )
        )


def enlarge(outputs: torch.Tensor | list[torch.Tensor], images: torch.Tensor) -> torch.Tensor | list[torch.Tensor]:
    """Return each of the logits at the images' height and width, bilinear."""
    if isinstance(outputs, list):
        return [_enlarge(logits, images) for logits in outputs]
    return _enlarge(outputs, images)


def _enlarge(logits: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
    return functional.interpolate(logits, images.shape[2:], mode="bilinear", align_corners=False)
