"""A U-Net whose every part is chosen; other networks are put together from it."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import nn
from torch.nn import functional

from maskwright.models.blocks import AttentionGate, SqueezeExcitation, make_block, make_bottleneck
from maskwright.models.heads import Heads
from maskwright.models.layers import Style, make_unit, start_kaiming
from maskwright.recipe.networks import BlockKind, BottleneckKind, CustomUNetSpec, Upsampling

T = TypeVar("T")


def build_custom_unet(spec: CustomUNetSpec, *, in_channels: int, classes: int, levels: int) -> nn.Module:
    """Return the U-Net of a spec."""
    depth = spec.depth
    layout = Layout(
        encoder=spread(spec.encoder_blocks, depth),
        bottleneck=spec.bottleneck,
        decoder=spread(spec.decoder_blocks, depth),
        upsampling=spread(spec.upsampling, depth),
        width=spec.width,
        attention=spec.attention,
        gating=spec.gating,
        squeeze_excitation=spec.squeeze_excitation,
        dropout=spec.dropout,
        block_dropout=spec.block_dropout,
    )
    style = Style(spec.normalization, spec.activation)
    return CustomUNet(in_channels, classes, layout, style, levels=levels, kind=spec.kind)


def spread(value: T | tuple[T, ...], depth: int) -> tuple[T, ...]:
    """Return one value for each level: the value itself, again and again, or those that were given."""
    return value if isinstance(value, tuple) else (value,) * depth


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What a U is put together from; the number of encoder blocks is its depth. See `CustomUNetSpec`."""

    encoder: tuple[BlockKind, ...]
    bottleneck: BottleneckKind = "simple"
    decoder: tuple[BlockKind, ...]
    upsampling: tuple[Upsampling, ...]
    width: int
    attention: bool = False
    gating: bool = False
    squeeze_excitation: bool = False
    dropout: float = 0.0
    block_dropout: float = 0.0

    @property
    def channels(self) -> list[int]:
        """Of the maps that a U returns: the finest first, the bottleneck last."""
        return [self.width * 2**level for level in range(len(self.encoder) + 1)]


class CustomUNet(nn.Module):
    """A U and its heads: (N, in_channels, H, W) → logits (N, classes, H, W), any H and W of at least 2^depth."""

    def __init__(
        self,
        in_channels: int,
        classes: int,
        layout: Layout,
        style: Style,
        *,
        levels: int,
        kind: str,
        bottleneck: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.u = U(in_channels, layout, style, bottleneck=bottleneck)
        self.heads = Heads(layout.channels, classes, levels=levels, kind=kind)
        start_kaiming(self)

    def forward(self, images: torch.Tensor) -> torch.Tensor | list[torch.Tensor]:
        """Return logits; in training with several levels, a list of them, the finest first."""
        found: torch.Tensor | list[torch.Tensor] = self.heads(self.u(images))
        return found


class U(nn.Module):
    """Encoder, bottleneck and decoder with skips: images → the maps of all decoder levels and of the bottleneck.

    Args:
        in_channels: of the images.
        layout: what it is put together from.
        style: what follows every convolution.
        bottleneck: takes the place of the layout's own: (N, width · 2^(depth − 1), h, w) → (N, width · 2^depth, h, w).
    """

    def __init__(self, in_channels: int, layout: Layout, style: Style, *, bottleneck: nn.Module | None = None) -> None:
        super().__init__()
        channels = layout.channels
        before = [in_channels, *channels[:-2]]
        self.encoder = nn.ModuleList(
            _make_level(kind, inputs, outputs, layout, style)
            for kind, inputs, outputs in zip(layout.encoder, before, channels[:-1], strict=True)
        )
        if bottleneck is None:
            dropout = layout.dropout
            bottleneck = make_bottleneck(layout.bottleneck, channels[-2], channels[-1], style, dropout=dropout)
        self.bottleneck = bottleneck
        coarsest_first = list(itertools.pairwise(channels))[::-1]
        self.decoder = nn.ModuleList(
            DecoderLevel(kind, upsampling, coarse, channels, layout, style)
            for kind, upsampling, (channels, coarse) in zip(
                layout.decoder, layout.upsampling, coarsest_first, strict=True
            )
        )

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Return maps (N, width · 2^k, H / 2^k, W / 2^k) for k from 0 to depth: decoder levels, then the bottleneck."""
        maps, skips = images, []
        for level in self.encoder:
            skips.append(level(maps))  # (N, width · 2^k, H / 2^k, W / 2^k)
            maps = functional.max_pool2d(skips[-1], 2)  # half the size
        found = [self.bottleneck(maps)]  # (N, width · 2^depth, H / 2^depth, W / 2^depth)
        for level in self.decoder:
            found.append(level(found[-1], skips.pop()))  # twice the size, half the channels
        return found[::-1]


class DecoderLevel(nn.Module):
    """Enlarge the coarser map, lay the skip beside it, and pass both through a block."""

    def __init__(
        self,
        kind: BlockKind,
        upsampling: Upsampling,
        coarse: int,
        channels: int,
        layout: Layout,
        style: Style,
    ) -> None:
        super().__init__()
        self.gating = make_unit(coarse, coarse, style, kernel=1) if layout.gating else nn.Identity()
        self.gate = AttentionGate(channels, coarse, style) if layout.attention else None
        self.enlarge = nn.ConvTranspose2d(coarse, channels, 2, 2) if upsampling == "transposed" else None
        enlarged = channels if upsampling == "transposed" else coarse
        self.block = _make_level(kind, enlarged + channels, channels, layout, style)

    def forward(self, coarse: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        """Return (N, channels, H, W) of a coarse map (N, coarse, H // 2, W // 2) and a skip (N, channels, H, W)."""
        if self.gate is not None:
            skip = self.gate(skip, self.gating(coarse))
        if self.enlarge is None:
            large = functional.interpolate(coarse, skip.shape[2:], mode="nearest")  # (N, coarse, H, W)
        else:
            large = self.enlarge(coarse, output_size=skip.shape[2:])  # (N, channels, H, W)
        found: torch.Tensor = self.block(torch.cat([skip, large], 1))
        return found


def _make_level(kind: BlockKind, inputs: int, outputs: int, layout: Layout, style: Style) -> nn.Module:
    layers = [make_block(kind, inputs, outputs, style)]
    if layout.squeeze_excitation:
        layers.append(SqueezeExcitation(outputs, style))
    if layout.block_dropout:
        layers.append(nn.Dropout2d(layout.block_dropout))
    return nn.Sequential(*layers)
