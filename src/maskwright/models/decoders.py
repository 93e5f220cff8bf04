"""The decoders of segmentation-models-pytorch: what each takes from the encoder and where it can be tapped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from segmentation_models_pytorch.base import SegmentationHead
from segmentation_models_pytorch.decoders.deeplabv3.decoder import DeepLabV3Decoder, DeepLabV3PlusDecoder
from segmentation_models_pytorch.decoders.dpt.decoder import DPTDecoder, DPTSegmentationHead
from segmentation_models_pytorch.decoders.fpn.decoder import FPNDecoder
from segmentation_models_pytorch.decoders.linknet.decoder import LinknetDecoder
from segmentation_models_pytorch.decoders.manet.decoder import MAnetDecoder
from segmentation_models_pytorch.decoders.pan.decoder import PANDecoder
from segmentation_models_pytorch.decoders.pspnet.decoder import PSPDecoder
from segmentation_models_pytorch.decoders.segformer.decoder import SegformerDecoder
from segmentation_models_pytorch.decoders.unet.decoder import UnetDecoder, UnetDecoderBlock
from segmentation_models_pytorch.decoders.unetplusplus.decoder import UnetPlusPlusDecoder
from segmentation_models_pytorch.decoders.upernet.decoder import UPerNetDecoder
from torch import nn
from torch.nn import functional

from maskwright.recipe.encoder import EncoderSpec
from maskwright.recipe.model import (
    DeepLabV3PlusSpec,
    DeepLabV3Spec,
    DPTSpec,
    FPNSpec,
    LinkNetSpec,
    MAnetSpec,
    PANSpec,
    PSPNetSpec,
    SegformerSpec,
    UNetPlusPlusSpec,
    UNetSpec,
    UPerNetSpec,
)

_LINKNET_LAST = 32


class Tap(NamedTuple):
    """A level of a decoder: the module that returns its map, the map's channels and stride."""

    module: str
    channels: int
    stride: int


@dataclass(frozen=True)
class Decoding:
    """A decoder and what follows it.

    Attributes:
        decoder: feature maps → one map.
        head: this map → logits as large as the image.
        taps: levels besides the finest, the finest first.
        kernel: of the heads on them.
        dropout: share of channels dropped before each head, where the decoder itself drops none.
        smallest: side of an image that the decoder can take.
    """

    decoder: nn.Module
    head: nn.Module
    taps: list[Tap] = field(default_factory=list)
    kernel: int = 3
    dropout: float = 0.0
    smallest: int = 32


class UNetBlock(UnetDecoderBlock):  # type: ignore[misc]
    """The block of smp's U-Net with a learned up-sampling, a residual path or dropout."""

    def __init__(self, inputs: int, skip: int, outputs: int, spec: UNetSpec) -> None:
        mode = spec.interpolation if spec.interpolation != "transposed" else "nearest"
        super().__init__(inputs, skip, outputs, attention_type=spec.attention, interpolation_mode=mode)
        self.up = nn.ConvTranspose2d(inputs, inputs, 2, 2) if spec.interpolation == "transposed" else None
        self.shortcut = nn.Conv2d(inputs + skip, outputs, 1, bias=False) if spec.residual else None
        self.dropout = nn.Dropout2d(spec.dropout)

    def forward(
        self, feature_map: torch.Tensor, height: int, width: int, skip_connection: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return the (N, outputs, height, width) map."""
        if self.up is not None:
            found = self.up(feature_map)
        else:
            found = functional.interpolate(feature_map, (height, width), mode=self.interpolation_mode)
        if skip_connection is not None:
            found = self.attention1(torch.cat([found, skip_connection], 1))
        mixed = self.attention2(self.conv2(self.conv1(found)))
        if self.shortcut is not None:
            mixed = mixed + self.shortcut(found)
        return self.dropout(mixed)  # type: ignore[no-any-return]


class UNetDecoder(UnetDecoder):  # type: ignore[misc]
    """The decoder of smp's U-Net, whose last block may see the image itself."""

    def __init__(self, channels: Sequence[int], spec: UNetSpec) -> None:
        assert spec.decoder_channels is not None
        seen = [channels[0], *channels] if spec.image_skip else list(channels)
        super().__init__(seen, spec.decoder_channels, len(spec.decoder_channels), attention_type=spec.attention)
        if spec.residual or spec.dropout or spec.interpolation != "nearest":
            inputs = (channels[-1], *spec.decoder_channels[:-1])
            skips = [*seen[1:-1][::-1], 0][: len(inputs)]
            sizes = zip(inputs, skips, spec.decoder_channels, strict=True)
            self.blocks = nn.ModuleList(UNetBlock(*size, spec) for size in sizes)
        self.image_skip = spec.image_skip
        if not spec.image_skip:
            self.blocks[-1].attention1 = nn.Identity()  # of a skip connection that it hasn't got

    def forward(self, features: list[torch.Tensor]) -> torch.Tensor:
        """Return the finest map."""
        found: torch.Tensor = super().forward([features[0], *features] if self.image_skip else features)
        return found


def _unet(spec: UNetSpec, channels: Sequence[int], classes: int) -> Decoding:
    assert spec.decoder_channels is not None
    head = SegmentationHead(spec.decoder_channels[-1], classes, kernel_size=3)
    return Decoding(UNetDecoder(channels, spec), head, _block_taps(spec.decoder_channels))


def _unetplusplus(spec: UNetPlusPlusSpec, channels: Sequence[int], classes: int) -> Decoding:
    assert spec.decoder_channels is not None
    own = spec.decoder_channels
    decoder = UnetPlusPlusDecoder(
        channels, own, len(own), attention_type=spec.attention, interpolation_mode=spec.interpolation
    )
    decoder.blocks[f"x_0_{len(own) - 1}"].attention1 = nn.Identity()  # of a skip connection that it hasn't got
    taps = [tap._replace(module=tap.module.replace(".", ".x_0_")) for tap in _block_taps(own)]
    return Decoding(decoder, SegmentationHead(own[-1], classes, kernel_size=3), taps, dropout=spec.dropout)


def _manet(spec: MAnetSpec, channels: Sequence[int], classes: int) -> Decoding:
    assert spec.decoder_channels is not None
    own = spec.decoder_channels
    decoder = MAnetDecoder(
        list(channels),
        list(own),
        len(own),
        pab_channels=spec.attention_channels,
        interpolation_mode=spec.interpolation,
    )
    head = SegmentationHead(own[-1], classes, kernel_size=3)
    return Decoding(decoder, head, _block_taps(own), dropout=spec.dropout)


def _linknet(spec: LinkNetSpec, channels: Sequence[int], classes: int) -> Decoding:
    decoder = LinknetDecoder(channels, _LINKNET_LAST, len(channels) - 1)
    outputs = [block.block[-1][0].out_channels for block in decoder.blocks]
    head = SegmentationHead(_LINKNET_LAST, classes, kernel_size=1)
    return Decoding(decoder, head, _block_taps(outputs), kernel=1, dropout=spec.dropout)


def _block_taps(channels: Sequence[int]) -> list[Tap]:
    """Return the levels of a decoder of blocks, each of which doubles the size, the last one left out."""
    last = len(channels) - 1
    return [Tap(f"blocks.{k}", channels[k], 2 ** (last - k)) for k in range(last - 1, -1, -1)]


def _fpn(spec: FPNSpec, channels: Sequence[int], classes: int) -> Decoding:
    decoder = FPNDecoder(
        list(channels), 5, spec.channels, spec.segmentation_channels, spec.dropout, "add", spec.interpolation
    )
    decoder.dropout = nn.Dropout2d(spec.dropout)  # smp's works in place, on what autograd needs
    head = SegmentationHead(decoder.out_channels, classes, kernel_size=1, upsampling=4)
    taps = [Tap(f"p{level}", spec.channels, 2**level) for level in (2, 3, 4, 5)]
    return Decoding(decoder, head, taps, kernel=1)


def _pspnet(spec: PSPNetSpec, channels: Sequence[int], classes: int) -> Decoding:
    decoder = PSPDecoder(list(channels), out_channels=spec.channels, dropout=spec.dropout)
    return Decoding(decoder, SegmentationHead(spec.channels, classes, kernel_size=3, upsampling=2**spec.depth))


def _pan(spec: PANSpec, channels: Sequence[int], classes: int) -> Decoding:
    decoder = PANDecoder(channels, 5, spec.channels, spec.interpolation)
    taps = [Tap("gau2", spec.channels, 8), Tap("gau3", spec.channels, 16)]
    head = SegmentationHead(spec.channels, classes, kernel_size=3, upsampling=4)
    return Decoding(decoder, head, taps, dropout=spec.dropout, smallest=128)  # 128 / 16 is halved three times


def _deeplabv3(spec: DeepLabV3Spec, channels: Sequence[int], classes: int) -> Decoding:
    decoder = DeepLabV3Decoder(channels[-1], spec.channels, spec.rates, spec.separable, spec.dropout)
    return Decoding(decoder, SegmentationHead(spec.channels, classes, kernel_size=1, upsampling=spec.encoder_stride))


def _deeplabv3plus(spec: DeepLabV3PlusSpec, channels: Sequence[int], classes: int) -> Decoding:
    decoder = DeepLabV3PlusDecoder(
        channels, 5, spec.channels, spec.rates, spec.encoder_stride, spec.separable, spec.dropout
    )
    return Decoding(decoder, SegmentationHead(spec.channels, classes, kernel_size=1, upsampling=4))


def _upernet(spec: UPerNetSpec, channels: Sequence[int], classes: int) -> Decoding:
    decoder = UPerNetDecoder(channels, 5, spec.channels)
    taps = [Tap(f"fpn_conv_blocks.{2 - k}", spec.channels, 4 * 2**k) for k in range(3)]
    head = SegmentationHead(spec.channels, classes, kernel_size=1, upsampling=4)
    return Decoding(decoder, head, [*taps, Tap("psp", spec.channels, 32)], kernel=1, dropout=spec.dropout)


def _segformer(spec: SegformerSpec, channels: Sequence[int], classes: int) -> Decoding:
    head = SegmentationHead(spec.channels, classes, kernel_size=1, upsampling=4)
    return Decoding(SegformerDecoder(list(channels), 5, spec.channels), head, dropout=spec.dropout)


DECODERS: dict[type[EncoderSpec], Callable[[Any, Sequence[int], int], Decoding]] = {
    UNetSpec: _unet,
    UNetPlusPlusSpec: _unetplusplus,
    MAnetSpec: _manet,
    LinkNetSpec: _linknet,
    FPNSpec: _fpn,
    PSPNetSpec: _pspnet,
    PANSpec: _pan,
    DeepLabV3Spec: _deeplabv3,
    DeepLabV3PlusSpec: _deeplabv3plus,
    UPerNetSpec: _upernet,
    SegformerSpec: _segformer,
}


def decode_vit(spec: DPTSpec, width: int, stride: int, *, prefix: bool, classes: int) -> Decoding:
    """Return DPT's decoder.

    Args:
        spec: of the network.
        width: channels of the ViT's layers.
        stride: of their maps.
        prefix: they come with a class token.
        classes: channels of the logits.
    """
    count = len(spec.reassembled)
    decoder = DPTDecoder(
        [width] * count,
        [stride] * count,
        prefix,
        spec.readout if prefix else "ignore",
        spec.reassembled,
        spec.channels,
    )
    taps = [Tap(f"fusion_blocks.{k}", spec.channels, 2 ** (count - k)) for k in range(count - 2, -1, -1)]
    return Decoding(decoder, DPTSegmentationHead(spec.channels, classes), taps, kernel=1)
