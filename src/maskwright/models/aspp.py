"""Atrous spatial pyramid pooling, and the U-Net that has it between encoder and decoder (source 3)."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import nn
from torch.nn import functional

from maskwright.errors import RecipeError, problem
from maskwright.models.custom_unet import CustomUNet, Layout, spread
from maskwright.models.layers import Style, make_activation, make_normalization, make_unit
from maskwright.recipe.networks import AsppUNetSpec

DEEPLAB_V3 = ((6, 12, 18), 33)
"""Rates of DeepLabV3 (Chen et al. 2017), and the side of the map they were chosen for: crops of 513 at stride 16."""
DEEPLAB_V2 = ((6, 12, 18, 24), 41)
"""The same of DeepLabV2 (Chen et al. 2016): crops of 321 at stride 8."""


def build_aspp_unet(spec: AsppUNetSpec, *, in_channels: int, classes: int, levels: int) -> nn.Module:
    """Return the U-Net of a spec."""
    depth, style = spec.depth, Style(spec.normalization, spec.activation)
    layout = Layout(
        encoder=spread(spec.block, depth),
        decoder=spread(spec.block, depth),
        upsampling=spread(spec.upsampling, depth),
        width=spec.width,
        block_dropout=spec.block_dropout,
    )
    pyramid = ASPP(
        layout.channels[-2],
        layout.channels[-1],
        style,
        Rates(spec.rates, DEEPLAB_V3, allow_empty=spec.allow_empty_rates, stride=2**depth),
    )
    bottleneck = nn.Sequential(pyramid, nn.Dropout2d(spec.dropout))
    return CustomUNet(in_channels, classes, layout, style, levels=levels, kind=spec.kind, bottleneck=bottleneck)


def fitting_rates(height: int, width: int, published: tuple[tuple[int, ...], int] = DEEPLAB_V3) -> tuple[int, ...]:
    """Return published rates, scaled down to a map as they were to the one they were chosen for; at least 1.

    Args:
        height: of the map.
        width: of the map.
        published: rates, and the side of the map they were chosen for; to larger maps they aren't scaled up.

    Example:
        >>> fitting_rates(8, 16)  # of an image of 64 × 128 at stride 8
        (1, 3, 4)
    """
    rates, side = published
    scale = min(1.0, min(height, width) / side)
    return tuple(max(1, round(rate * scale)) for rate in rates)


class Rates(nn.Module):
    """Dilation rates: given ones, checked against the maps of training, or fitted to the first of these.

    Args:
        given: the rates, or auto: fitted ones, which are kept in the state.
        published: what `fitting_rates` scales.
        allow_empty: take rates that reach beyond the map: such a convolution sees its row or column, or its centre.
        stride: of the map, for the message.
    """

    fitted: torch.Tensor

    def __init__(
        self,
        given: Literal["auto"] | tuple[int, ...],
        published: tuple[tuple[int, ...], int] = DEEPLAB_V3,
        *,
        allow_empty: bool = False,
        stride: int = 1,
    ) -> None:
        super().__init__()
        self.auto = given == "auto"
        self.known = None if given == "auto" else given
        self.published, self.allow_empty, self.stride = published, allow_empty, stride
        self.count = len(published[0] if given == "auto" else given)
        if self.auto:  # zeros: not yet known; a moving average copies them
            self.register_buffer("fitted", torch.zeros(self.count, dtype=torch.int64))

    def forward(self, height: int, width: int) -> tuple[int, ...]:
        """Return the rates for a map.

        Raises:
            RecipeError: in training, given rates reach beyond the map.
        """
        # a moving average finds what it copied here; a tracer can't look, and needn't: what is loaded knows
        if self.known is None and not torch.compiler.is_compiling() and self.fitted.any():
            self.known = tuple(self.fitted.tolist())
        if self.known is None:
            fitting = fitting_rates(height, width, self.published)
            if self.training:
                self.fitted.copy_(torch.tensor(fitting))
                self.known = fitting
            return fitting
        if self.training and not self.auto and not self.allow_empty:
            check_rates(self.known, height, width, self.stride, self.published)
        return self.known

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *arguments: Any) -> None:
        super()._load_from_state_dict(state, prefix, *arguments)
        if self.auto:
            self.known = tuple(self.fitted.tolist()) if self.fitted.any() else None


class AtrousConvolution(nn.Conv2d):
    """A 3×3 convolution whose rate comes with the map."""

    def forward(self, maps: torch.Tensor, rate: int) -> torch.Tensor:  # type: ignore[override]
        """Return (N, outputs, H, W)."""
        return functional.conv2d(maps, self.weight, self.bias, padding=rate, dilation=rate)


class ASPP(nn.Module):
    """A 1×1 convolution, 3×3 convolutions at several rates and the map's mean, concatenated, mixed by a 1×1.

    Chen et al. 2017 (DeepLabV3). The mean's convolution isn't normalised: its map is 1×1 pixel, on which batch
    normalisation of one image and instance normalisation have nothing to measure.

    Args:
        inputs: channels.
        outputs: channels, of each path and of the whole.
        style: what follows every convolution.
        rates: of the 3×3 convolutions.
    """

    def __init__(self, inputs: int, outputs: int, style: Style, rates: Rates) -> None:
        super().__init__()
        self.rates = rates
        self.point = make_unit(inputs, outputs, style, kernel=1)
        self.paths = nn.ModuleList(
            AtrousConvolution(inputs, outputs, 3, bias=style.normalization == "none") for _ in range(rates.count)
        )
        self.after = nn.ModuleList(
            nn.Sequential(make_normalization(style.normalization, outputs), make_activation(style.activation))
            for _ in range(rates.count)
        )
        self.mean = make_unit(inputs, outputs, Style("none", style.activation), kernel=1)
        self.mix = make_unit(outputs * (rates.count + 2), outputs, style, kernel=1)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Return (N, outputs, H, W)."""
        size = maps.shape[2:]
        found = [self.point(maps)]
        for path, after, rate in zip(self.paths, self.after, self.rates(*size), strict=True):
            found.append(after(path(maps, rate)))
        mean = self.mean(maps.mean((2, 3), keepdim=True))  # (N, outputs, 1, 1)
        found.append(mean.expand(-1, -1, *size))
        mixed: torch.Tensor = self.mix(torch.cat(found, 1))  # of (N, outputs · (rates + 2), H, W)
        return mixed


class SummedASPP(nn.Module):
    """3×3 convolutions at several rates to logits, summed (DeepLabV2); weights start from N(0, 0.01²), as published."""

    def __init__(self, inputs: int, classes: int, rates: Rates) -> None:
        super().__init__()
        self.rates = rates
        self.paths = nn.ModuleList(AtrousConvolution(inputs, classes, 3) for _ in range(rates.count))
        for path in self.paths:
            assert isinstance(path, AtrousConvolution) and path.bias is not None
            nn.init.normal_(path.weight, std=0.01)
            nn.init.zeros_(path.bias)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Return (N, classes, H, W)."""
        rates = self.rates(*maps.shape[2:])
        return torch.stack([path(maps, rate) for path, rate in zip(self.paths, rates, strict=True)]).sum(0)


def check_rates(
    rates: tuple[int, ...],
    height: int,
    width: int,
    stride: int,
    published: tuple[tuple[int, ...], int] = DEEPLAB_V3,
) -> None:
    """Raise RecipeError if a rate is as large as a map's shorter side or larger: its outer taps then see padding alone.

    Args:
        rates: of 3×3 convolutions.
        height: of the map.
        width: of the map.
        stride: of the map.
        published: what the message's proposal is scaled from.
    """
    most = min(height, width) - 1
    if max(rates) <= most:
        return
    sensible = ", ".join(map(str, fitting_rates(height, width, published)))
    raise RecipeError(
        problem(
            f"rates of at most {most}: crops of {height * stride} × {width * stride} make a map of {height} × {width}, "
            "and outer taps as far apart as that see padding alone",
            ", ".join(map(str, rates)),
            where="model.rates",
            next_move=f"use auto, here {sensible}, larger crops, or model.allow_empty_rates=true",
        )
    )
