"""The image encoder of Segment Anything through transformers: the one door to that package, which is an extra."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from maskwright.errors import RecipeError, UsageError, problem
from maskwright.models.weights import HUB, load_fitting, read_state

_SIZES: dict[str, dict[str, Any]] = {
    "base": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "global": (2, 5, 8, 11)},
    "large": {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "global": (5, 11, 17, 23)},
    "huge": {"hidden_size": 1280, "num_hidden_layers": 32, "num_attention_heads": 16, "global": (7, 15, 23, 31)},
}
"""Kirillov et al. 2023; the last part of facebook/sam-vit-base, -large and -huge."""


class SamEncoder(nn.Module):
    """SAM's image encoder for images of any size in 16s: position embeddings are resampled.

    Args:
        encoder: transformers' SamVisionEncoder.
        channels: of its neck's output.
    """

    stride = 16

    def __init__(self, encoder: nn.Module, channels: int) -> None:
        super().__init__()
        self.model, self.channels = encoder, channels

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the map behind the neck, (N, channels, H / 16, W / 16)."""
        model: Any = self.model
        found = model.patch_embed.projection(images).permute(0, 2, 3, 1)
        if model.pos_embed is not None:
            found = found + _resampled(model.pos_embed, (found.shape[1], found.shape[2])).to(found.dtype)
        for layer in model.layers:
            found = layer(found)
            found = found[0] if isinstance(found, tuple) else found
        return model.neck(found)  # type: ignore[no-any-return]


def load_sam(name: str, in_channels: int, path: str | None, arguments: Mapping[str, object]) -> nn.Module:
    """Return SAM's image encoder.

    Args:
        name: hf:OWNER/NAME; its last part is base, large or huge.
        in_channels: of the images.
        path: of the weights, None for none.
        arguments: fields of transformers' SamVisionConfig that are to differ.

    Raises:
        UsageError: transformers isn't installed.
        RecipeError: another name, or weights that don't fit.
    """
    try:
        from transformers import SamVisionConfig
        from transformers.models.sam.modeling_sam import SamVisionEncoder
    except ImportError as error:
        raise UsageError(
            problem(
                "the package transformers",
                str(error),
                where=f"model.encoder: {name}",
                next_move="pip install 'maskwright[hf]', or use timm's encoder samvit_base_patch16",
            )
        ) from None
    size = name.rpartition("-")[2]
    if size not in _SIZES:
        known = ", ".join(f"{HUB}facebook/sam-vit-{known}" for known in _SIZES)
        raise RecipeError(problem("an encoder of SAM", name, where="model.encoder", next_move=f"known: {known}"))
    fields = {key: value for key, value in _SIZES[size].items() if key != "global"}
    indexes = list(_SIZES[size]["global"])
    config = SamVisionConfig(
        **{"global_attn_indexes": indexes, "num_channels": in_channels, **fields, **arguments},
        attn_implementation="eager",
    )
    config._attn_implementation = "eager"
    encoder: nn.Module = SamVisionEncoder(config)
    if path is not None:
        state = {key.removeprefix("vision_encoder."): value for key, value in read_state(path).items()}
        load_fitting(encoder, state, path=path, in_channels=in_channels)
    return SamEncoder(encoder, config.output_channels)


def _resampled(embedding: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Return (1, H, W, C) position embeddings at another size, bicubic."""
    if embedding.shape[1:3] == size:
        return embedding
    maps = functional.interpolate(embedding.permute(0, 3, 1, 2).float(), size, mode="bicubic", antialias=True)
    return maps.permute(0, 2, 3, 1)
