"""DeepLabV2: a dilated ResNet and the sum of dilated convolutions (Chen et al. 2016)."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from maskwright.models.aspp import DEEPLAB_V2, Rates, SummedASPP
from maskwright.models.encoders import build_encoder
from maskwright.models.heads import check_levels, enlarge
from maskwright.models.replace import replace_layers
from maskwright.recipe.networks import DeepLabV2Spec

STRIDE = 8


def build_deeplabv2(spec: DeepLabV2Spec, *, in_channels: int, classes: int, levels: int) -> nn.Module:
    """Return the DeepLabV2 of a spec."""
    check_levels(levels, 1, spec.kind)
    rates = Rates(spec.rates, DEEPLAB_V2, allow_empty=spec.allow_empty_rates, stride=STRIDE)
    encoder = build_encoder(spec, in_channels=in_channels, stride=STRIDE)
    if spec.replace_in == "network":
        replace_layers(encoder, spec)
    return DeepLabV2(encoder, classes, rates)


class DeepLabV2(nn.Module):
    """(N, in_channels, H, W) → logits (N, classes, H, W), bilinear from stride 8, for any H and W."""

    def __init__(self, encoder: Any, classes: int, rates: Rates) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = SummedASPP(encoder.out_channels[-1], classes, rates)

    def forward(self, images: torch.Tensor) -> torch.Tensor | list[torch.Tensor]:
        """Return the logits."""
        deepest = self.encoder(images)[-1]  # (N, channels, H / 8, W / 8)
        return enlarge(self.head(deepest), images)
