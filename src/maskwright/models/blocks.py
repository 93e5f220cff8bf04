"""The block kit: what our own networks are put together from. Each block keeps H and W."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional

from maskwright.models.layers import Style, make_activation, make_convolution, make_normalization, make_unit
from maskwright.recipe.networks import BlockKind, BottleneckKind

DILATIONS = (1, 2, 4)
"""Rates of the parallel dilated convolutions."""
BINS = (1, 2, 3, 6)
"""Cells a side of the pyramid pooling (Zhao et al. 2017)."""


def make_block(kind: BlockKind, inputs: int, outputs: int, style: Style) -> nn.Module:
    """Return an encoder's or decoder's block: (N, inputs, H, W) → (N, outputs, H, W)."""
    return _BLOCKS[kind](inputs, outputs, style)


def make_bottleneck(kind: BottleneckKind, inputs: int, outputs: int, style: Style, *, dropout: float) -> nn.Module:
    """Return what stands between encoder and decoder: (N, inputs, H, W) → (N, outputs, H, W).

    Dropout acts between the two halves of a simple or residual bottleneck, and after any other.
    """
    if kind == "simple":
        return DoubleConvolution(inputs, outputs, style, dropout=dropout)
    if kind == "residual":
        return nn.Sequential(Residual(inputs, outputs, style), nn.Dropout2d(dropout), Residual(outputs, outputs, style))
    return nn.Sequential(_BOTTLENECKS[kind](inputs, outputs, style), nn.Dropout2d(dropout))


class DoubleConvolution(nn.Sequential):
    """Two 3×3 convolutions, each normalised and activated (Ronneberger et al. 2015), dropout between them."""

    def __init__(self, inputs: int, outputs: int, style: Style, *, dropout: float = 0.0) -> None:
        between = [nn.Dropout2d(dropout)] if dropout else []
        super().__init__(make_unit(inputs, outputs, style), *between, make_unit(outputs, outputs, style))


class Residual(nn.Module):
    """Two 3×3 convolutions and a shortcut, activated after the sum (He et al. 2016, the basic block).

    The shortcut is the input itself, or a normalised 1×1 convolution of it where the number of channels changes.
    """

    def __init__(self, inputs: int, outputs: int, style: Style) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            make_unit(inputs, outputs, style),
            make_convolution(outputs, outputs, style),
            make_normalization(style.normalization, outputs),
        )
        plain = Style(style.normalization, "none")
        self.shortcut = nn.Identity() if inputs == outputs else make_unit(inputs, outputs, plain, kernel=1)
        self.activation = make_activation(style.activation)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Return (N, outputs, H, W)."""
        found: torch.Tensor = self.activation(self.convolutions(maps) + self.shortcut(maps))
        return found


class Inception(nn.Module):
    """Four paths side by side, concatenated: 1×1; 3×3; 5×5 as two 3×3; 3×3 maximum (Szegedy et al. 2015, 2016).

    Each path has a quarter of the outputs and begins, but for the last, with a 1×1 convolution that reduces to it.
    """

    def __init__(self, inputs: int, outputs: int, style: Style) -> None:
        super().__init__()
        quarter = outputs // 4
        self.point = make_unit(inputs, outputs - 3 * quarter, style, kernel=1)
        self.small = nn.Sequential(make_unit(inputs, quarter, style, kernel=1), make_unit(quarter, quarter, style))
        self.large = nn.Sequential(
            make_unit(inputs, quarter, style, kernel=1),
            make_unit(quarter, quarter, style),
            make_unit(quarter, quarter, style),
        )
        self.pooled = nn.Sequential(nn.MaxPool2d(3, 1, 1), make_unit(inputs, quarter, style, kernel=1))

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Return (N, outputs, H, W)."""
        return torch.cat([self.point(maps), self.small(maps), self.large(maps), self.pooled(maps)], 1)


class ParallelDilated(nn.Module):
    """3×3 convolutions at several rates side by side, concatenated, mixed by a 1×1 convolution."""

    def __init__(self, inputs: int, outputs: int, style: Style, rates: tuple[int, ...] = DILATIONS) -> None:
        super().__init__()
        each = max(1, outputs // len(rates))
        self.paths = nn.ModuleList(make_unit(inputs, each, style, dilation=rate) for rate in rates)
        self.mix = make_unit(each * len(rates), outputs, style, kernel=1)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Return (N, outputs, H, W)."""
        paths = torch.cat([path(maps) for path in self.paths], 1)  # (N, rates · each, H, W)
        found: torch.Tensor = self.mix(paths)
        return found


class PyramidPooling(nn.Module):
    """Means over grids of 1, 2, 3 and 6 cells a side, laid beside the input, mixed by a 3×3 convolution.

    Zhao et al. 2017. The grid of one cell isn't normalised: a map of 1×1 pixel has no spread of its own. Where a map
    has fewer pixels than a grid has cells, cells repeat.
    """

    def __init__(self, inputs: int, outputs: int, style: Style, bins: tuple[int, ...] = BINS) -> None:
        super().__init__()
        each, plain = max(1, inputs // len(bins)), Style("none", style.activation)
        self.bins = bins
        self.paths = nn.ModuleList(make_unit(inputs, each, plain if b == 1 else style, kernel=1) for b in bins)
        self.mix = make_unit(inputs + each * len(bins), outputs, style)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Return (N, outputs, H, W)."""
        found = [maps]
        for cells, path in zip(self.bins, self.paths, strict=True):
            means = path(functional.adaptive_avg_pool2d(maps, cells))  # (N, each, cells, cells)
            found.append(functional.interpolate(means, maps.shape[2:], mode="bilinear", align_corners=False))
        mixed: torch.Tensor = self.mix(torch.cat(found, 1))
        return mixed


class Parallel(nn.Module):
    """A 1×1, a 3×3 and two chained 3×3 convolutions side by side, concatenated, mixed by a 1×1. Our own choice."""

    def __init__(self, inputs: int, outputs: int, style: Style) -> None:
        super().__init__()
        self.point = make_unit(inputs, outputs, style, kernel=1)
        self.once = make_unit(inputs, outputs, style)
        self.twice = DoubleConvolution(inputs, outputs, style)
        self.mix = make_unit(3 * outputs, outputs, style, kernel=1)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Return (N, outputs, H, W)."""
        paths = torch.cat([self.point(maps), self.once(maps), self.twice(maps)], 1)  # (N, 3 · outputs, H, W)
        found: torch.Tensor = self.mix(paths)
        return found


class Dual(nn.Module):
    """A near path of two 3×3 convolutions and a far one of two at rate 2, added. Our own choice."""

    def __init__(self, inputs: int, outputs: int, style: Style) -> None:
        super().__init__()
        self.near = DoubleConvolution(inputs, outputs, style)
        self.far = nn.Sequential(
            make_unit(inputs, outputs, style, dilation=2), make_unit(outputs, outputs, style, dilation=2)
        )

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Return (N, outputs, H, W)."""
        found: torch.Tensor = self.near(maps) + self.far(maps)
        return found


class SqueezeExcitation(nn.Module):
    """Channels weighted by what the whole map holds (Hu et al. 2018), from 0 to 1; the bottleneck isn't normalised."""

    def __init__(self, channels: int, style: Style, *, reduction: int = 16) -> None:
        super().__init__()
        plain = Style("none", style.activation)
        self.squeeze = make_unit(channels, max(4, channels // reduction), plain, kernel=1)
        self.excite = nn.Conv2d(max(4, channels // reduction), channels, 1)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Return the (N, C, H, W) maps weighted."""
        squeezed = self.squeeze(maps.mean((2, 3), keepdim=True))  # (N, C / reduction, 1, 1)
        weight: torch.Tensor = self.excite(squeezed).sigmoid()  # (N, C, 1, 1)
        return maps * weight


class AttentionGate(nn.Module):
    """A skip connection's pixels weighted by what the coarser map asks for (Oktay et al. 2018, additive).

    weight = sigmoid(ψ(σ(θ(skip) + φ(coarse)))): θ is a 2×2 convolution with stride 2, φ and ψ are 1×1, σ the style's
    activation. Weights are made at the coarser map's size and enlarged bilinearly.
    """

    def __init__(self, channels: int, coarse: int, style: Style) -> None:
        super().__init__()
        hidden = max(1, channels // 2)
        self.theta = nn.Conv2d(channels, hidden, 2, 2, bias=False)
        self.phi = nn.Conv2d(coarse, hidden, 1)
        self.activation = make_activation(style.activation)
        self.psi = nn.Conv2d(hidden, 1, 1)

    def forward(self, skip: torch.Tensor, coarse: torch.Tensor) -> torch.Tensor:
        """Return the (N, C, H, W) skip weighted, by a coarse map of (N, D, H // 2, W // 2)."""
        asked = self.activation(self.theta(skip) + self.phi(coarse))  # (N, hidden, H // 2, W // 2)
        weight = self.psi(asked).sigmoid()  # (N, 1, H // 2, W // 2)
        return skip * functional.interpolate(weight, skip.shape[2:], mode="bilinear", align_corners=False)


def _pointwise(inputs: int, outputs: int, style: Style) -> nn.Sequential:
    return make_unit(inputs, outputs, style, kernel=1)


_BLOCKS: dict[str, Callable[[int, int, Style], nn.Module]] = {
    "simple": DoubleConvolution,
    "residual": Residual,
    "inception": Inception,
    "dilated": ParallelDilated,
}
_BOTTLENECKS: dict[str, Callable[[int, int, Style], nn.Module]] = {
    "pointwise": _pointwise,
    "inception": Inception,
    "parallel": Parallel,
    "dual": Dual,
    "dilated": ParallelDilated,
    "pyramid": PyramidPooling,
}
