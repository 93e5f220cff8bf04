"""An encoder, a decoder and heads: one network of one or several outputs."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional

_STRIDE = 32


class EncoderDecoder(nn.Module):
    """Images to logits; in training a list of them, the finest first, if there are heads on coarser levels.

    Args:
        encoder: images → feature maps.
        decoder: feature maps → one map.
        segmentation_head: this map → the finest logits.
        level_heads: on the maps that the decoder's inner modules return, the finest first.
        taps: names of these modules in the decoder.
        smallest: sides below this are padded by repeating the border.
    """

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        segmentation_head: nn.Module,
        level_heads: Sequence[nn.Module] = (),
        taps: Sequence[str] = (),
        smallest: int = _STRIDE,
    ) -> None:
        super().__init__()
        self.encoder, self.decoder, self.segmentation_head = encoder, decoder, segmentation_head
        self.level_heads, self.taps, self.smallest = nn.ModuleList(level_heads), tuple(taps), smallest

    @property
    def after_encoder(self) -> tuple[nn.Module, ...]:
        """The decoder and what makes the finest logits of its map."""
        return self.decoder, self.segmentation_head

    def forward(self, images: torch.Tensor) -> torch.Tensor | list[torch.Tensor]:
        """Return the (N, classes, H, W) logits of (N, C, H, W) images, H and W in 32s."""
        padded = self._padded(images)
        return self._logits(self.encoder(padded), images, padded)

    def _padded(self, images: torch.Tensor) -> torch.Tensor:
        """Return the images, filled up where they are smaller than the decoder can take."""
        if self.smallest <= _STRIDE:
            return images
        height, width = images.shape[2:]
        more = (0, max(0, self.smallest - width), 0, max(0, self.smallest - height))
        return functional.pad(images, more, mode="replicate") if any(more) else images

    def _logits(self, features: Any, images: torch.Tensor, padded: torch.Tensor) -> torch.Tensor | list[torch.Tensor]:
        """Return what the decoder and the heads make of the encoder's maps."""
        if not (self.training and self.taps):
            return self._cut(self.segmentation_head(self._decode(features)), images, padded)
        kept: dict[str, torch.Tensor] = {}
        tapped = [self.decoder.get_submodule(name) for name in self.taps]
        handles = [
            module.register_forward_hook(functools.partial(_keep, kept, name))
            for name, module in zip(self.taps, tapped, strict=True)
        ]
        try:
            finest = self.segmentation_head(self._decode(features))
        finally:
            for handle in handles:
                handle.remove()
        coarser = [head(kept[name]) for name, head in zip(self.taps, self.level_heads, strict=True)]
        return [self._cut(logits, images, padded) for logits in (finest, *coarser)]

    def _decode(self, features: Any) -> torch.Tensor:
        return decode(self.decoder, features)

    @staticmethod
    def _cut(logits: torch.Tensor, images: torch.Tensor, padded: torch.Tensor) -> torch.Tensor:
        """Return the part of the logits that stands for the image as it came."""
        if padded is images:
            return logits
        stride = padded.shape[2] // logits.shape[2]
        return logits[..., : images.shape[2] // stride, : images.shape[3] // stride]


def decode(decoder: nn.Module, features: Any) -> torch.Tensor:
    """Return the map that a decoder makes of an encoder's maps."""
    found: torch.Tensor = decoder(*features) if isinstance(features, tuple) else decoder(features)
    return found


def _keep(kept: dict[str, torch.Tensor], name: str, module: nn.Module, inputs: Any, output: torch.Tensor) -> None:
    kept[name] = output


class UpsampleOutsideTraining(nn.Module):
    """Logits at the input's size, bilinear, and embeddings of the nearest cell: between two instances lies no third.
    In training they stay coarse, and the loss thins out the labels instead.

    Cell i stands for pixel factor · i + factor // 2, in training (`thin_out`) and here alike.

    Args:
        factor: on height and width.
        logits: number of channels that are such, which come first; the others are embeddings. None: all are logits.
    """

    def __init__(self, factor: int, logits: int | None = None) -> None:
        super().__init__()
        self.factor, self.logits = factor, logits

    def forward(self, outputs: torch.Tensor) -> torch.Tensor:
        """Return (N, C, H · factor, W · factor), or the outputs as they are in training."""
        if self.training:
            return outputs
        first = outputs.shape[1] if self.logits is None else self.logits
        parts = [self._between(outputs[:, :first])] if first else []
        if first < outputs.shape[1]:
            parts.append(functional.interpolate(outputs[:, first:], scale_factor=self.factor, mode="nearest"))
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)

    def _between(self, logits: torch.Tensor) -> torch.Tensor:
        factor, (height, width) = self.factor, logits.shape[2:]
        size = (factor * (height - 1) + 1, factor * (width - 1) + 1)
        between = functional.interpolate(logits.float(), size, mode="bilinear", align_corners=True)
        before, after = factor // 2, factor - 1 - factor // 2
        return functional.pad(between, (before, after, before, after), mode="replicate")
