"""BASNet: predict, then refine (Qin et al. 2019), for any number of classes and any ResNet."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from maskwright.errors import RecipeError, problem
from maskwright.models.blocks import Residual
from maskwright.models.encoders import build_encoder
from maskwright.models.heads import check_levels, enlarge
from maskwright.models.layers import Style, make_unit, start_kaiming
from maskwright.models.replace import replace_layers
from maskwright.recipe.networks import BASNetSpec

OUTPUTS = 8


def build_basnet(spec: BASNetSpec, *, in_channels: int, classes: int, levels: int) -> nn.Module:
    """Return the BASNet of a spec."""
    check_levels(levels, OUTPUTS, spec.kind)
    encoder = build_encoder(spec, in_channels=in_channels)
    keep_size(encoder, str(spec.encoder))
    if spec.replace_in == "network":
        replace_layers(encoder, spec)
    return BASNet(
        encoder,
        classes,
        spec.width,
        spec.refine_width,
        Style(spec.normalization or "batch", spec.activation or "relu"),
        levels=levels,
        full_size=spec.full_size_outputs,
    )


def keep_size(encoder: Any, name: str) -> None:
    """Let a ResNet begin with a 3×3 convolution of stride 1 and no pooling: its stages then have strides 1, 2, 4, 8.

    Raises:
        RecipeError: the encoder is no ResNet.
    """
    model = getattr(encoder, "model", None)
    if not (isinstance(model, nn.ModuleDict) and {"conv1", "maxpool", "layer4"} <= set(model)):
        next_move = "use resnet18, resnet34, resnet50 or the like"
        raise RecipeError(problem("a ResNet of timm", name, where="model.encoder", next_move=next_move))
    stem = [layer for layer in model["conv1"].modules() if isinstance(layer, nn.Conv2d)]
    model["conv1"] = nn.Conv2d(stem[0].in_channels, stem[-1].out_channels, 3, padding=1, bias=False)
    model["maxpool"] = nn.Identity()
    start_kaiming(model["conv1"])


class BASNet(nn.Module):
    """(N, in_channels, H, W) → logits (N, classes, H, W), H and W of at least 32.

    In training with several levels: the refined logits, those they were refined from, then those of decoder levels 2
    to 6 and of the bridge.
    """

    def __init__(
        self,
        encoder: Any,
        classes: int,
        width: int,
        refine_width: int,
        style: Style,
        *,
        levels: int,
        full_size: bool,
    ) -> None:
        super().__init__()
        deep, (one, two, three, four) = 8 * width, encoder.out_channels[2:]
        self.levels, self.full_size, self.encoder = levels, full_size, encoder
        self.five, self.six = _stage(four, deep, style), _stage(deep, deep, style)
        self.bridge = _three(deep, deep, deep, style, dilations=(2, 2, 2))
        self.decoder = nn.ModuleList(  # level 6 first
            [
                _three(2 * deep, deep, deep, style, dilations=(1, 2, 2)),
                _three(2 * deep, deep, deep, style),
                _three(deep + four, deep, deep // 2, style),
                _three(deep // 2 + three, deep // 2, deep // 4, style),
                _three(deep // 4 + two, deep // 4, width, style),
                _three(width + one, width, width, style),
            ]
        )
        channels = [width, width, deep // 4, deep // 2, deep, deep, deep]  # decoder levels 1 to 6, the bridge
        self.heads = nn.ModuleList(nn.Conv2d(c, classes, 3, padding=1) for c in channels[: max(1, levels - 1)])
        self.refine = Refine(classes, refine_width, style)
        for part in (self.five, self.six, self.bridge, self.decoder, self.heads, self.refine):
            start_kaiming(part)

    def forward(self, images: torch.Tensor) -> torch.Tensor | list[torch.Tensor]:
        """Return logits; in training with several levels, a list of them, the finest first."""
        skips = list(self.encoder(images)[2:])  # without image and stem: at strides 1, 2, 4, 8
        skips.append(self.five(functional.max_pool2d(skips[-1], 2)))  # (N, 8 · width, H / 16, W / 16)
        skips.append(self.six(functional.max_pool2d(skips[-1], 2)))  # (N, 8 · width, H / 32, W / 32)
        maps = [self.bridge(skips[-1])]
        for level in self.decoder:
            maps.append(level(_beside(maps[-1], skips.pop())))  # level 6 at stride 32 … level 1 at stride 1
        coarse: torch.Tensor = self.heads[0](maps[-1])  # (N, classes, H, W)
        refined: torch.Tensor = self.refine(coarse)
        if not (self.training and self.levels > 1):
            return refined
        others = [head(level) for head, level in zip(self.heads[1:], maps[-2::-1], strict=False)]
        outputs = [refined, coarse, *others]
        return enlarge(outputs, images) if self.full_size else outputs


class Refine(nn.Module):
    """A narrow U-Net that adds what is missing: logits (N, classes, H, W) → same, H and W of at least 16."""

    def __init__(self, classes: int, width: int, style: Style) -> None:
        super().__init__()
        self.first = nn.Conv2d(classes, width, 3, padding=1)
        self.encoder = nn.ModuleList(make_unit(width, width, style) for _ in range(4))
        self.bottleneck = make_unit(width, width, style)
        self.decoder = nn.ModuleList(make_unit(2 * width, width, style) for _ in range(4))
        self.last = nn.Conv2d(width, classes, 3, padding=1)

    def forward(self, logits: torch.Tensor) -> torch.Tensor:
        """Return the refined logits."""
        maps, skips = self.first(logits), []
        for level in self.encoder:
            skips.append(level(maps))  # (N, width, H / 2^k, W / 2^k)
            maps = functional.max_pool2d(skips[-1], 2)
        maps = self.bottleneck(maps)  # (N, width, H / 16, W / 16)
        for level in self.decoder:
            maps = level(_beside(maps, skips.pop()))
        refined: torch.Tensor = logits + self.last(maps)
        return refined


def _beside(coarse: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
    """Return the coarse map at the skip's size, bilinear, beside the skip."""
    large = functional.interpolate(coarse, skip.shape[2:], mode="bilinear", align_corners=False)
    return torch.cat([large, skip], 1)


def _stage(inputs: int, outputs: int, style: Style) -> nn.Sequential:
    return nn.Sequential(*(Residual(inputs if i == 0 else outputs, outputs, style) for i in range(3)))


def _three(
    inputs: int, middle: int, outputs: int, style: Style, *, dilations: tuple[int, int, int] = (1, 1, 1)
) -> nn.Sequential:
    sizes = [inputs, middle, middle, outputs]
    return nn.Sequential(*(make_unit(sizes[i], sizes[i + 1], style, dilation=dilations[i]) for i in range(3)))
