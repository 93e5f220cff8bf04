"""The cells of the simplified WNet are those of source 2's Table 2: by what they see, and by their parameters."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

from maskwright.models import build_model
from maskwright.models.blocks import make_block, make_bottleneck
from maskwright.models.layers import Style
from maskwright.recipe.networks import WNetSpec

LINEAR = Style("none", "none")
CLASSES, WIDTH = 5, 8


@pytest.fixture
def network():
    torch.manual_seed(0)
    spec = WNetSpec(form="simplified", width=WIDTH, normalization="none", activation="none")
    return build_model(spec, in_channels=1, classes=CLASSES)


def seen(cell, channels, size=13):
    """Return how many pixels a side the centre of a cell's output depends on, and whether all of that square."""
    image = torch.randn(1, channels, size, size, dtype=torch.float64, requires_grad=True)
    cell.double()(image)[0, :, size // 2, size // 2].sum().backward()
    rows = (image.grad[0] != 0).any(0).nonzero()
    side = int(rows[:, 0].max() - rows[:, 0].min()) + 1
    return side, len(rows) == side**2


def numbers(module):
    return sum(parameter.numel() for parameter in module.parameters())


def convolution(inputs, outputs, kernel):
    """Return the parameters of a convolution with a bias, as there is without normalisation."""
    return inputs * outputs * kernel**2 + outputs


def double(inputs, outputs):
    return convolution(inputs, outputs, 3) + convolution(outputs, outputs, 3)


def test_encoders_are_three_simple_cells(network):
    for u, images in ((network.first, 1), (network.second, 1 + WIDTH)):
        channels = [images, WIDTH, 2 * WIDTH, 4 * WIDTH]
        assert [numbers(cell) for cell in u.encoder] == [double(a, b) for a, b in itertools.pairwise(channels)]


def test_the_first_bottleneck_is_an_inception_cell(network):
    inputs, quarter = 4 * WIDTH, 2 * WIDTH
    # four paths: 1×1 | 1×1, 3×3 | 1×1, 3×3, 3×3 | maximum, 1×1
    expected = 4 * convolution(inputs, quarter, 1) + 3 * convolution(quarter, quarter, 3)
    assert numbers(network.first.bottleneck) == expected
    assert seen(network.first.bottleneck, inputs) == (5, True)


def test_the_second_bottleneck_is_a_pointwise_convolution(network):
    assert numbers(network.second.bottleneck) == convolution(4 * WIDTH, 8 * WIDTH, 1)
    assert seen(network.second.bottleneck, 4 * WIDTH) == (1, True)


def test_decoders_are_simple_but_for_one_residual_cell(network):
    finer = [4 * WIDTH, 2 * WIDTH, WIDTH]  # each cell sees the skip and as many enlarged channels
    simple = [double(2 * n, n) for n in finer]
    assert [numbers(level.block) for level in network.first.decoder] == simple
    shortcut = convolution(2 * finer[0], finer[0], 1)
    assert [numbers(level.block) for level in network.second.decoder] == [simple[0] + shortcut, *simple[1:]]


def test_the_second_sees_the_image_and_the_first_ones_finest_map(network):
    found = {}
    network.first.register_forward_hook(lambda module, given, maps: found.update(rough=maps[0]))
    network.second.register_forward_pre_hook(lambda module, given: found.update(given=given[0]))
    image = torch.randn(1, 1, 16, 24)
    network(image)
    assert torch.equal(found["given"], torch.cat([image, found["rough"]], 1))


@pytest.mark.parametrize(
    ("kind", "side"),
    [
        ("simple", 5),  # two 3×3
        ("residual", 9),  # two residual cells of two 3×3 each
        ("inception", 5),
        ("pointwise", 1),
        ("parallel", 5),  # 1×1, 3×3 and two 3×3 side by side
        ("dual", 9),  # beside two 3×3, two at rate 2
        ("dilated", 9),  # 3×3 at rates 1, 2 and 4
    ],
)
def test_what_each_bottleneck_sees(kind, side):
    torch.manual_seed(0)
    assert seen(make_bottleneck(kind, 2, 8, LINEAR, dropout=0.0), 2)[0] == side


def test_a_residual_cell_is_its_convolutions_added_to_its_input():
    torch.manual_seed(0)
    cell = make_block("residual", 4, 4, Style("none", "relu"))
    convolutions = [module for module in cell.modules() if isinstance(module, nn.Conv2d)]
    assert len(convolutions) == 2
    maps = torch.randn(2, 4, 6, 6)
    inner = nn.functional.conv2d(maps, convolutions[0].weight, convolutions[0].bias, padding=1).relu()
    inner = nn.functional.conv2d(inner, convolutions[1].weight, convolutions[1].bias, padding=1)
    torch.testing.assert_close(cell(maps), (inner + maps).relu())
