"""Parameter counts of networks that were published, RGB and one class unless said."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from maskwright.models import build_model, count_parameters
from maskwright.recipe.networks import BASNetSpec, DeepLabV2Spec, UNet3PlusSpec


def build(spec, classes, levels=1):
    with torch.device("meta"):
        return build_model(spec, in_channels=3, classes=classes, levels=levels)


def normalized(*parts):
    """Channels of the convolutions without bias: public code keeps one that the normalisation after it cancels."""
    modules = [module for part in parts for module in part.modules()]
    return sum(m.out_channels for m in modules if isinstance(m, nn.Conv2d) and m.bias is None)


def test_unet3plus():
    # Huang et al. 2020, table 1: 26.97 M (VGG-like encoder of widths 64 to 1024, one output)
    network = build(UNet3PlusSpec(), 1)
    # 10 convolutions of the encoder, 20 that reduce, 4 that mix
    assert normalized(network) == 2 * (64 + 128 + 256 + 512 + 1024) + 20 * 64 + 4 * 320
    assert count_parameters(network) + normalized(network) == 26_971_777


def test_basnet():
    # Qin et al. 2019: 87.06 M in the public code, with its eight outputs: biases everywhere but in the ResNet and in
    # stages 5 and 6, and one of 64 channels in the first convolution
    network = build(BASNetSpec(encoder_weights="none"), 1, levels=8)
    biases = normalized(network.bridge, network.decoder, network.refine) + 64
    assert count_parameters(network) + biases == 87_060_360
    assert count_parameters(network) == 87_052_680


@pytest.mark.parametrize(("classes", "expected"), [(19, 43_901_068), (21, 44_048_532)])
def test_deeplabv2(classes, expected):
    # ResNet-101 without its classifier: 44,549,160 − 2,049,000 = 42,500,160 (torchvision); four 3×3 convolutions of
    # 2048 channels with biases: 4 · (9 · 2048 · classes + classes). Published: 43.6 to 44 M
    assert expected == 44_549_160 - 2_049_000 + 4 * (9 * 2048 * classes + classes)
    assert count_parameters(build(DeepLabV2Spec(encoder_weights="none"), classes)) == expected
