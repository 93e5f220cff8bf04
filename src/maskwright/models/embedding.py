"""Networks that give out an embedding for each pixel beside the logits.

Called, they return logits as every network does, so that prediction, export and validation see no difference;
`both` returns logits and embeddings of one pass.
"""

from __future__ import annotations

import re
from typing import Protocol, runtime_checkable

import torch
from torch import nn

from maskwright.models.network import EncoderDecoder, UpsampleOutsideTraining, decode

Logits = torch.Tensor | list[torch.Tensor]


@runtime_checkable
class EmbeddingNetwork(Protocol):
    """A network with embeddings."""

    def both(self, images: torch.Tensor) -> tuple[Logits, torch.Tensor]:
        """Return what the call returns, and embeddings (N, E, H, W); in training these may be coarser by a factor."""
        ...


_OVER_ALL = re.compile("Attention|SqueezeExcit|SEModule|EffectiveSE|GlobalContext|Adaptive|GroupNorm|InstanceNorm")
"""Names of layers that look at all of what a network sees at once."""


def sees_whole_tile(network: nn.Module) -> bool:
    """Return whether embeddings of an object depend on the whole tile: by attention, pooling or norms over it."""
    return any(_OVER_ALL.search(type(module).__name__) and not _does_nothing(module) for module in network.modules())


def _does_nothing(module: nn.Module) -> bool:
    inside = list(module.children())
    return bool(inside) and all(isinstance(own, nn.Identity) for own in inside)


class TwoDecoders(EncoderDecoder):
    """A network with a second decoder on its encoder, for the embeddings.

    The first one's tensors have the names that they have without a second: a semantic network's state fits.

    Args:
        semantic: the network without embeddings.
        embedding: one of as many classes as embeddings have channels, on the same encoder.
        channels: E.
    """

    def __init__(self, semantic: EncoderDecoder, embedding: EncoderDecoder, channels: int) -> None:
        assert embedding.encoder is semantic.encoder, "one encoder"
        heads = tuple(semantic.level_heads)
        super().__init__(
            semantic.encoder, semantic.decoder, semantic.segmentation_head, heads, semantic.taps, semantic.smallest
        )
        self.embedding_channels = channels
        self.embedding_decoder, self.embedding_head = embedding.decoder, embedding.segmentation_head
        _upsample_embeddings(self.embedding_head, logits=0)

    @property
    def after_encoder(self) -> tuple[nn.Module, ...]:
        """Both decoders and heads."""
        return *super().after_encoder, self.embedding_decoder, self.embedding_head

    def both(self, images: torch.Tensor) -> tuple[Logits, torch.Tensor]:
        """Return logits and embeddings of one pass through the encoder."""
        padded = self._padded(images)
        features = self.encoder(padded)
        embeddings = self.embedding_head(decode(self.embedding_decoder, features))
        return self._logits(features, images, padded), self._cut(embeddings, images, padded)


class SharedDecoder(nn.Module):
    """A network whose last outputs are the embeddings.

    Args:
        network: (N, C, H, W) → (N, classes + E, H, W).
        classes: channels of the logits.
        channels: E.
    """

    def __init__(self, network: nn.Module, classes: int, channels: int) -> None:
        super().__init__()
        self.network, self.classes, self.embedding_channels = network, classes, channels
        _upsample_embeddings(network, logits=classes)

    def forward(self, images: torch.Tensor) -> Logits:
        """Return the logits."""
        return self.both(images)[0]

    def both(self, images: torch.Tensor) -> tuple[Logits, torch.Tensor]:
        """Return logits and embeddings of one pass; the embeddings are of the finest output."""
        outputs = self.network(images)
        if isinstance(outputs, list):
            return [level[:, : self.classes] for level in outputs], outputs[0][:, self.classes :]
        return outputs[:, : self.classes], outputs[:, self.classes :]


def _upsample_embeddings(network: nn.Module, *, logits: int) -> None:
    """Have what enlarges outputs treat the channels after the logits as embeddings."""
    for module in network.modules():
        if isinstance(module, UpsampleOutsideTraining):
            module.logits = logits
