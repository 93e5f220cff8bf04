"""Atrous spatial pyramid pooling, and the U-Net that has it between encoder and decoder (source 3)."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from maskwright.errors import RecipeError, problem
from maskwright.models.custom_unet import CustomUNet, Layout, spread
from maskwright.models.layers import Style, make_activation, make_normalization, make_unit
from maskwright.recipe.networks import AsppUNetSpec

PUBLISHED = (6, 12, 18)
"""Rates of DeepLabV3 (Chen et al. 2017) …"""
MAP = 33
"""… which were chosen for maps of 33 × 33: crops of 513 pixels at stride 16."""


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
        rates=None if spec.rates == "auto" else spec.rates,
        allow_empty=spec.allow_empty_rates,
        stride=2**depth,
    )
    bottleneck = nn.Sequential(pyramid, nn.Dropout2d(spec.dropout))
    kind = f"{spec.kind} of depth {depth}"
    return CustomUNet(in_channels, classes, layout, style, levels=levels, kind=kind, bottleneck=bottleneck)


def fitting_rates(height: int, width: int) -> tuple[int, ...]:
    """Return the published rates, scaled down to a map as they were to one of 33 × 33; never scaled up, at least 1.

    Example:
        >>> fitting_rates(8, 16)  # of an image of 64 × 128 at stride 8
        (1, 3, 4)
    """
    scale = min(1.0, min(height, width) / MAP)
    return tuple(max(1, round(rate * scale)) for rate in PUBLISHED)


class ASPP(nn.Module):
    """A 1×1 convolution, 3×3 convolutions at several rates and the map's mean, concatenated, mixed by a 1×1.

    Chen et al. 2017 (DeepLabV3). The mean's convolution isn't normalised: its map is 1×1 pixel, on which batch
    normalisation of one image and instance normalisation have nothing to measure.

    Args:
        inputs: channels.
        outputs: channels, of each path and of the whole.
        style: what follows every convolution.
        rates: of the 3×3 convolutions; None: `fitting_rates` of the first map seen in training, kept in the state.
        allow_empty: take rates that reach beyond the map: such a convolution sees its row and column, or its centre.
        stride: of the map, for the message.
    """

    fitted: torch.Tensor

    def __init__(
        self,
        inputs: int,
        outputs: int,
        style: Style,
        *,
        rates: tuple[int, ...] | None = None,
        allow_empty: bool = False,
        stride: int = 1,
    ) -> None:
        super().__init__()
        self.rates, self.allow_empty, self.stride = rates, allow_empty, stride
        count = len(PUBLISHED if rates is None else rates)
        self.point = make_unit(inputs, outputs, style, kernel=1)
        self.paths = nn.ModuleList(
            AtrousConvolution(inputs, outputs, 3, bias=style.normalization == "none") for _ in range(count)
        )
        self.after = nn.ModuleList(
            nn.Sequential(make_normalization(style.normalization, outputs), make_activation(style.activation))
            for _ in range(count)
        )
        self.mean = make_unit(inputs, outputs, Style("none", style.activation), kernel=1)
        self.mix = make_unit(outputs * (count + 2), outputs, style, kernel=1)
        if rates is None:  # zeros: not yet known; a moving average copies them
            self.register_buffer("fitted", torch.zeros(count, dtype=torch.int64))

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Return (N, outputs, H, W).

        Raises:
            RecipeError: in training, a rate reaches beyond the map.
        """
        rates = self._rates(*maps.shape[2:])
        found = [self.point(maps)]
        for path, after, rate in zip(self.paths, self.after, rates, strict=True):
            found.append(after(path(maps, rate)))
        mean = self.mean(maps.mean((2, 3), keepdim=True))  # (N, outputs, 1, 1)
        found.append(mean.expand(-1, -1, *maps.shape[2:]))
        mixed: torch.Tensor = self.mix(torch.cat(found, 1))
        return mixed

    def _rates(self, height: int, width: int) -> tuple[int, ...]:
        """Return the rates for a map; in training, check them or settle them."""
        if self.rates is None:
            known = tuple(self.fitted.tolist())
            if any(known):
                self.rates = known
                return known
            fitting = fitting_rates(height, width)
            if self.training:
                self.fitted.copy_(torch.tensor(fitting))
                self.rates = fitting
            return fitting
        if self.training and not self.allow_empty and not hasattr(self, "fitted"):
            check_rates(self.rates, height, width, self.stride)
        return self.rates

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *arguments: Any) -> None:
        super()._load_from_state_dict(state, prefix, *arguments)
        if hasattr(self, "fitted"):
            self.rates = tuple(self.fitted.tolist()) if self.fitted.any() else None


class AtrousConvolution(nn.Conv2d):
    """A 3×3 convolution whose rate comes with the map."""

    def forward(self, maps: torch.Tensor, rate: int) -> torch.Tensor:  # type: ignore[override]
        """Return (N, outputs, H, W)."""
        return functional.conv2d(maps, self.weight, self.bias, padding=rate, dilation=rate)


def check_rates(rates: tuple[int, ...], height: int, width: int, stride: int) -> None:
    """Raise RecipeError if a rate is as large as a map's shorter side or larger: its outer taps then see padding alone.

    Args:
        rates: of 3×3 convolutions.
        height: of the map.
        width: of the map.
        stride: of the map.
    """
    most = min(height, width) - 1
    if max(rates) <= most:
        return
    sensible = ", ".join(map(str, fitting_rates(height, width)))
    raise RecipeError(
        problem(
            f"rates of at most {most}: crops of {height * stride} × {width * stride} make a map of {height} × {width}, "
            "and outer taps as far apart as that see padding alone",
            ", ".join(map(str, rates)),
            where="model.rates",
            next_move=f"use auto, here {sensible}, a smaller depth, larger crops, or model.allow_empty_rates=true",
        )
    )
