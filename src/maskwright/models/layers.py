"""One factory for all normalisations and activations, and the convolution that stands before them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn

from maskwright.recipe.layers import Activation, Normalization

MOST_GROUPS = 32
"""Groups of group normalisation where there are channels enough (Wu and He 2018)."""
FEWEST_IN_A_GROUP = 4
"""Channels in each group at least, so that group normalisation of a narrow layer isn't instance normalisation."""


@dataclass(frozen=True)
class Style:
    """What follows every convolution of a network."""

    normalization: Normalization = "batch"
    activation: Activation = "relu"


def make_normalization(kind: Normalization, channels: int) -> nn.Module:
    """Return the layer (N, channels, H, W) → same; all kinds have a trained scale and shift per channel.

    Of a map of 1 × 1 pixel, instance normalisation leaves the shift alone: one value has no contrast. Batch
    normalisation of one image with such a map uses the running statistics and leaves them as they are.
    """
    if kind == "batch":
        return BatchNorm(channels)
    if kind == "instance":
        return GroupNorm(channels, channels)
    if kind == "layer":
        return GroupNorm(1, channels)
    if kind == "group":
        return GroupNorm(count_groups(channels), channels)
    assert kind == "none", kind
    return nn.Identity()


def make_activation(kind: Activation) -> nn.Module:
    """Return the layer, for maps of any shape. ReLU and leaky ReLU work in place."""
    if kind == "relu":
        return nn.ReLU(inplace=True)
    if kind == "leaky_relu":
        return nn.LeakyReLU(0.01, inplace=True)
    if kind == "elu":
        return nn.ELU()
    if kind == "gelu":
        return nn.GELU()
    if kind == "swish":
        return nn.SiLU()
    if kind == "mish":
        return nn.Mish()
    assert kind == "none", kind
    return nn.Identity()


def count_groups(channels: int) -> int:
    """Return the groups of group normalisation: the most that divide the channels, within the two limits above."""
    most = max(1, min(MOST_GROUPS, channels // FEWEST_IN_A_GROUP))
    return next(groups for groups in range(most, 0, -1) if channels % groups == 0)


class GroupNorm(nn.GroupNorm):
    """PyTorch's, without its refusal of groups that hold a single value: these become the shift."""

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Return the (N, C, H, W) maps normalised."""
        return torch.group_norm(maps, self.num_groups, self.weight, self.bias, self.eps)


class BatchNorm(nn.BatchNorm2d):
    """PyTorch's, without its refusal of a single value per channel: the running statistics normalise it."""

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Return the (N, C, H, W) maps normalised."""
        if self.training and maps.shape[0] * maps.shape[2] * maps.shape[3] == 1:
            return nn.functional.batch_norm(
                maps, self.running_mean, self.running_var, self.weight, self.bias, training=False, eps=self.eps
            )
        return super().forward(maps)


def make_unit(
    inputs: int, outputs: int, style: Style, *, kernel: int = 3, dilation: int = 1, groups: int = 1
) -> nn.Sequential:
    """Return convolution, normalisation, activation: (N, inputs, H, W) → (N, outputs, H, W).

    The convolution has a bias where no normalisation follows, which has one itself.
    """
    return nn.Sequential(
        make_convolution(inputs, outputs, style, kernel=kernel, dilation=dilation, groups=groups),
        make_normalization(style.normalization, outputs),
        make_activation(style.activation),
    )


def make_convolution(
    inputs: int, outputs: int, style: Style, *, kernel: int = 3, dilation: int = 1, groups: int = 1
) -> nn.Conv2d:
    """Return a convolution that keeps H and W, for an odd kernel; its border sees zeros."""
    padding = dilation * (kernel // 2)
    bias = style.normalization == "none"
    return nn.Conv2d(inputs, outputs, kernel, padding=padding, dilation=dilation, groups=groups, bias=bias)


def start_kaiming(network: nn.Module) -> None:
    """Draw every convolution's weights from N(0, 2 / values that one output sums up), and set its biases to zero.

    He et al. 2015, as Ronneberger et al. 2015 do; of a transposed convolution with stride s, an output sums up
    inputs · kernel² / s² values.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            taps: float = math.prod(module.kernel_size)
            if isinstance(module, nn.ConvTranspose2d):
                taps /= math.prod(module.stride)
            nn.init.normal_(module.weight, std=math.sqrt(2 / (module.in_channels // module.groups * taps)))
            if module.bias is not None:
                nn.init.zeros_(module.bias)
