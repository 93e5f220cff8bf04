"""Networks out of segmentation-models-pytorch's decoders and timm's encoders."""

from __future__ import annotations

from typing import Any

import torch
from segmentation_models_pytorch.base import SegmentationHead
from segmentation_models_pytorch.base.initialization import initialize_decoder, initialize_head
from torch import nn

from maskwright.errors import RecipeError, problem
from maskwright.models.decoders import DECODERS, Decoding, decode_vit
from maskwright.models.embedding import TwoDecoders
from maskwright.models.encoders import build_encoder, build_vit
from maskwright.models.heads import check_levels
from maskwright.models.network import EncoderDecoder, UpsampleOutsideTraining
from maskwright.models.replace import allow_single_values, replace_layers
from maskwright.models.vit import PlainViT
from maskwright.recipe.encoder import EncoderSpec
from maskwright.recipe.model import BlocksSpec, DPTSpec, PSPNetSpec, UNetSpec

_STAGES = 5
"""Of an encoder."""
_SIDE = 32


def build_library(spec: EncoderSpec, *, in_channels: int, classes: int, levels: int) -> nn.Module:
    """Return the network of a resolved spec, its encoder pretrained if the spec says so and the weights are here.

    Raises:
        RecipeError: the encoder doesn't exist or fit, or the decoder has fewer levels.
    """
    encoder = _encoder(spec, in_channels)
    network = _assembled(spec, encoder, _decoding(spec, encoder, classes), classes, levels)
    if spec.embedding is not None:
        channels = spec.embedding.channels
        second = _assembled(spec, encoder, _decoding(spec, encoder, channels), channels, 1)
        network = TwoDecoders(network, second, channels)
    for part in (network,) if spec.replace_in == "network" else network.after_encoder:
        replace_layers(part, spec)
    if not isinstance(spec, DPTSpec) and _depth(spec) < _STAGES:
        _freeze_unused(network, in_channels)
    return network


def _encoder(spec: EncoderSpec, in_channels: int) -> nn.Module:
    if not isinstance(spec, DPTSpec):
        return build_encoder(spec, in_channels=in_channels, depth=_depth(spec), stride=_stride(spec))
    vit = build_vit(spec, in_channels)
    if not isinstance(vit, PlainViT):
        raise RecipeError(
            problem(
                "a ViT of timm",
                str(spec.encoder),
                where="model.encoder",
                next_move="take model.kind=unet, fpn or upernet for it",
            )
        )
    return _Layers(vit, len(spec.reassembled))


def _decoding(spec: EncoderSpec, encoder: Any, classes: int) -> Decoding:
    """Return a decoder and head on an encoder, initialised."""
    if isinstance(spec, DPTSpec):
        vit = encoder.vit
        decoding = decode_vit(spec, vit.width, vit.stride, prefix=vit.prefix > 0, classes=classes)
    else:
        decoding = DECODERS[type(spec)](spec, encoder.out_channels, classes)
    initialize_decoder(decoding.decoder)
    initialize_head(decoding.head)
    allow_single_values(decoding.decoder)
    return decoding


def _freeze_unused(network: EncoderDecoder, in_channels: int) -> None:
    """Don't train what no output depends on: stages of the encoder that timm keeps beyond those that are used."""
    parameters = list(network.encoder.parameters())
    with torch.enable_grad():
        logits = network.eval()(torch.zeros(1, in_channels, _SIDE, _SIDE))
        gradients = torch.autograd.grad(logits.sum(), parameters, allow_unused=True)
    network.train()
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.requires_grad_(gradient is not None)


class _Layers(nn.Module):
    """Several layers of a ViT, with their prefix tokens: what DPT decodes."""

    def __init__(self, vit: PlainViT, count: int) -> None:
        super().__init__()
        self.vit, self.count = vit, count
        vit.model.norm = nn.Identity()  # of the last layer's map alone, which isn't asked for

    def forward(self, images: torch.Tensor) -> tuple[list[torch.Tensor], list[torch.Tensor | None]]:
        """Return maps and prefix tokens."""
        return self.vit.layers(images, self.count)


def _depth(spec: EncoderSpec) -> int:
    """Return how many stages of the encoder a decoder uses."""
    if isinstance(spec, UNetSpec | BlocksSpec):
        assert spec.decoder_channels, "the recipe is not resolved"
        return len(spec.decoder_channels)
    return spec.depth if isinstance(spec, PSPNetSpec) else _STAGES


def _stride(spec: EncoderSpec) -> int:
    """Return the stride of the encoder's last stage."""
    return int(getattr(spec, "encoder_stride", 16 if spec.kind == "pan" else 32))  # type: ignore[attr-defined]


def _assembled(spec: EncoderSpec, encoder: nn.Module, decoding: Decoding, classes: int, levels: int) -> EncoderDecoder:
    """Return the network with its heads; a U-Net's decoder may stop early."""
    head, taps = decoding.head, decoding.taps
    stride = spec.output_stride if isinstance(spec, UNetSpec) else None
    if stride not in (None, 1):
        dropped = stride.bit_length() - 1
        decoding.decoder.blocks = decoding.decoder.blocks[:-dropped]  # type: ignore[index]
        finest, taps = taps[dropped - 1], taps[dropped:]
        coarse = SegmentationHead(finest.channels, classes, kernel_size=3)
        head = nn.Sequential(coarse, UpsampleOutsideTraining(stride))
    check_levels(levels, len(taps) + 1, spec.kind)  # type: ignore[attr-defined]
    heads = [SegmentationHead(tap.channels, classes, kernel_size=decoding.kernel) for tap in taps[: levels - 1]]
    if decoding.dropout:
        head = nn.Sequential(nn.Dropout2d(decoding.dropout), head)
        heads = [nn.Sequential(nn.Dropout2d(decoding.dropout), one) for one in heads]
    named = [tap.module for tap in taps[: levels - 1]]
    return EncoderDecoder(encoder, decoding.decoder, head, heads, named, decoding.smallest)
