"""WNet (source 2): two U-Nets, one after the other."""

from __future__ import annotations

import dataclasses

import torch
from torch import nn

from maskwright.models.custom_unet import Layout, U
from maskwright.models.heads import Heads
from maskwright.models.layers import Style, start_kaiming
from maskwright.recipe.networks import WNetSpec

_THREE = Layout(
    encoder=("simple",) * 3,
    bottleneck="inception",
    decoder=("simple",) * 3,
    upsampling=("transposed",) * 3,
    width=32,
)
_FOUR = Layout(
    encoder=("simple", "simple", "inception", "inception"),
    bottleneck="parallel",
    decoder=("residual", "residual", "simple", "simple"),
    upsampling=("transposed",) * 4,
    width=32,
)
FORMS = {
    "simplified": (
        _THREE,
        dataclasses.replace(_THREE, bottleneck="pointwise", decoder=("residual", "simple", "simple")),
    ),
    "full": (_FOUR, dataclasses.replace(_FOUR, bottleneck="dual")),
}
"""The two U-Nets of each form; encoders the finest first, decoders the coarsest first."""


def build_wnet(spec: WNetSpec, *, in_channels: int, classes: int, levels: int) -> nn.Module:
    """Return the WNet of a spec."""
    chosen = {
        key: getattr(spec, key) for key in ("width", "attention", "squeeze_excitation", "dropout", "block_dropout")
    }
    first, second = (
        dataclasses.replace(layout, **chosen, upsampling=(spec.upsampling,) * len(layout.encoder))
        for layout in FORMS[spec.form]
    )
    return WNet(in_channels, classes, first, second, Style(spec.normalization, spec.activation), levels=levels)


class WNet(nn.Module):
    """A U that sees the image, and one that sees the image and the first one's finest map.

    Its supervised outputs, in this order: the end of the second U, the end of the first, the bottleneck of the first.
    """

    def __init__(
        self, in_channels: int, classes: int, first: Layout, second: Layout, style: Style, *, levels: int
    ) -> None:
        super().__init__()
        self.first = U(in_channels, first, style)
        self.second = U(in_channels + first.width, second, style)
        self.heads = Heads([second.width, first.width, first.channels[-1]], classes, levels=levels, kind="wnet")
        start_kaiming(self)

    def forward(self, images: torch.Tensor) -> torch.Tensor | list[torch.Tensor]:
        """Return (N, classes, H, W) logits; in training with several levels: high, inter, and low at stride 2^depth."""
        rough = self.first(images)  # of every level, the finest first: (N, width, H, W) …, the bottleneck last
        fine = self.second(torch.cat([images, rough[0]], 1))
        found: torch.Tensor | list[torch.Tensor] = self.heads([fine[0], rough[0], rough[-1]])
        return found
