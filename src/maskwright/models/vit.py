"""Plain vision transformers as encoders: images of any size in, and a feature pyramid on top of one map."""

from __future__ import annotations

import importlib
import math
from collections.abc import Mapping
from typing import Any

import timm
import torch
from torch import nn

from maskwright.models.layers import GroupNorm

_PATCH = 16
"""Patches of other sizes that are no power of two (14) are resampled to this one, so that sides in 32s fit."""


class PlainViT(nn.Module):
    """A plain ViT of timm. Position embeddings are resampled to the image's size, whatever it is.

    Args:
        name: in timm.
        in_channels: of the images.
        arguments: more ones of timm.create_model.
    """

    model: Any

    def __init__(self, name: str, in_channels: int, arguments: Mapping[str, object]) -> None:
        super().__init__()
        patch = _patch_of(name)
        given: dict[str, Any] = {"in_chans": in_channels, "num_classes": 0, **arguments}
        if patch & (patch - 1):
            given = {"patch_size": _PATCH, **given}
        if not _is_sam(name):  # which takes any size as it is
            given = {"dynamic_img_size": True, **given}
        model: Any = timm.create_model(name, **given)
        if hasattr(model, "fc_norm"):
            model.fc_norm = nn.Identity()  # of the pooled map alone
        self.prefix = int(getattr(model, "num_prefix_tokens", 0))
        about: Any = model.feature_info[-1]
        self.stride, self.width = int(about["reduction"]), int(about["num_chs"])
        self.channels = int(model.num_features)  # behind SAM's neck, elsewhere the same
        self.model = model

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the last layer's map, (N, channels, H / stride, W / stride)."""
        found: list[torch.Tensor]
        found = self.model.forward_intermediates(images, indices=1, norm=True, intermediates_only=True)
        return found[0]

    def layers(self, images: torch.Tensor, count: int) -> tuple[list[torch.Tensor], list[torch.Tensor | None]]:
        """Return the maps of `count` layers, evenly spaced, the last one included, with their prefix tokens."""
        blocks = len(self.model.blocks)
        indices = [blocks * (k + 1) // count - 1 for k in range(count)]
        options: dict[str, Any] = {"return_prefix_tokens": True} if self.prefix else {}
        found = self.model.forward_intermediates(images, indices=indices, intermediates_only=True, **options)
        return ([f[0] for f in found], [f[1] for f in found]) if self.prefix else (found, [None] * count)

    def converted(self, state: Mapping[str, torch.Tensor]) -> Mapping[str, torch.Tensor]:
        """Return a published state dict for this network: names, patch size and position embeddings changed to it."""
        module = importlib.import_module(type(self.model).__module__)
        found: Mapping[str, torch.Tensor] = module.checkpoint_filter_fn(dict(state), self.model)
        return found


class SimplePyramid(nn.Module):
    """Maps at strides 4, 8, 16 and 32 made of a plain ViT's last map alone (Li et al. 2022, ViTDet).

    Args:
        vit: images → (N, vit.channels, H / vit.stride, W / vit.stride).
        depth: 5 for all four; fewer leave the coarsest out.
        channels: of each.
    """

    def __init__(self, vit: nn.Module, *, depth: int, channels: int) -> None:
        super().__init__()
        self.vit = vit
        strides = [2**level for level in range(2, depth + 1)]
        self.levels = nn.ModuleList(_level(vit.channels, channels, vit.stride / stride) for stride in strides)  # type: ignore[arg-type]
        self.out_channels = [_input_channels(vit), 0, *(channels for _ in strides)]

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Return the image, a map without channels at stride 2, and the pyramid, finest first."""
        found = self.vit(images)
        empty = images.new_empty(images.shape[0], 0, images.shape[2] // 2, images.shape[3] // 2)
        return [images, empty, *(level(found) for level in self.levels)]


def _level(inputs: int, channels: int, factor: float) -> nn.Sequential:
    """Return what makes a map `factor` times as large, with the pyramid's channels."""
    parts: list[nn.Module] = []
    for step in range(round(math.log2(factor)) if factor > 1 else 0):
        parts += [*([GroupNorm(1, inputs), nn.GELU()] if step else []), nn.ConvTranspose2d(inputs, inputs // 2, 2, 2)]
        inputs //= 2
    parts += [nn.MaxPool2d(2) for _ in range(round(-math.log2(factor)) if factor < 1 else 0)]
    parts += [nn.Conv2d(inputs, channels, 1, bias=False), GroupNorm(1, channels)]
    parts += [nn.Conv2d(channels, channels, 3, padding=1, bias=False), GroupNorm(1, channels)]
    return nn.Sequential(*parts)


def _patch_of(name: str) -> int:
    with torch.device("meta"):
        model: Any = timm.create_model(name)
    return int(model.feature_info[-1]["reduction"])


def _is_sam(name: str) -> bool:
    return name.startswith("samvit")


def _input_channels(vit: nn.Module) -> int:
    return int(next(m for m in vit.modules() if isinstance(m, nn.Conv2d)).in_channels)
