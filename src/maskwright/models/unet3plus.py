"""UNet 3+: skips between all scales (Huang et al. 2020)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

from maskwright.models.blocks import DoubleConvolution
from maskwright.models.heads import Heads, enlarge
from maskwright.models.layers import Style, make_unit, start_kaiming
from maskwright.recipe.networks import UNet3PlusSpec


def build_unet3plus(spec: UNet3PlusSpec, *, in_channels: int, classes: int, levels: int) -> nn.Module:
    """Return the UNet 3+ of a spec."""
    style = Style(spec.normalization, spec.activation)
    return UNet3Plus(
        in_channels,
        classes,
        spec.width,
        spec.depth,
        style,
        levels=levels,
        full_size=spec.full_size_outputs,
    )


class UNet3Plus(nn.Module):
    """Encoder levels 0 (finest) to depth; each decoder level but the deepest fuses one map of every scale.

    Decoder level k sees the encoder levels up to k, pooled, and the decoder levels beyond k, enlarged; the deepest
    decoder level is the deepest encoder level. Each is reduced to `width` channels, and their concatenation is mixed by
    a 3×3 convolution of as many channels.
    """

    def __init__(
        self,
        in_channels: int,
        classes: int,
        width: int,
        depth: int,
        style: Style,
        *,
        levels: int,
        full_size: bool,
    ) -> None:
        super().__init__()
        channels = [width * 2**level for level in range(depth + 1)]
        fused = width * (depth + 1)
        decoded = [*[fused] * depth, channels[-1]]  # channels of the decoder's levels
        before = [in_channels, *channels[:-1]]
        self.full_size = full_size
        self.encoder = nn.ModuleList(DoubleConvolution(i, o, style) for i, o in zip(before, channels, strict=True))
        self.decoder = nn.ModuleList(  # the finest first
            FullScaleLevel([*channels[: k + 1], *decoded[k + 1 :]], width, style) for k in range(depth)
        )
        self.heads = Heads(decoded, classes, levels=levels, kind="unet3plus", kernel=3)
        start_kaiming(self)

    def forward(self, images: torch.Tensor) -> torch.Tensor | list[torch.Tensor]:
        """Return (N, classes, H, W) logits; in training with several levels, a list of them, the finest first."""
        encoded = [self.encoder[0](images)]
        for level in self.encoder[1:]:
            encoded.append(level(functional.max_pool2d(encoded[-1], 2)))  # (N, width · 2^k, H / 2^k, W / 2^k)
        decoded = [encoded[-1]]  # the deepest first
        for k in reversed(range(len(self.decoder))):
            size = encoded[k].shape[2:]
            finer = [functional.max_pool2d(encoded[i], 2 ** (k - i)) for i in range(k)]
            coarser = [functional.interpolate(m, size, mode="bilinear", align_corners=False) for m in decoded[::-1]]
            decoded.append(
                self.decoder[k]([*finer, encoded[k], *coarser])
            )  # (N, width · (depth + 1), H / 2^k, W / 2^k)
        found: torch.Tensor | list[torch.Tensor] = self.heads(decoded[::-1])
        return enlarge(found, images) if self.full_size else found


class FullScaleLevel(nn.Module):
    """Reduce a map of every scale to `width` channels each, and mix them."""

    def __init__(self, channels: Sequence[int], width: int, style: Style) -> None:
        super().__init__()
        self.reduce = nn.ModuleList(make_unit(c, width, style) for c in channels)
        self.mix = make_unit(width * len(channels), width * len(channels), style)

    def forward(self, maps: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return (N, width · scales, h, w) of as many maps (N, C, h, w)."""
        reduced = [reduce(seen) for reduce, seen in zip(self.reduce, maps, strict=True)]
        mixed: torch.Tensor = self.mix(torch.cat(reduced, 1))
        return mixed
