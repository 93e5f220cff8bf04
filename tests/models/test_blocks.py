"""Blocks against what was worked by hand: receptive fields, the attention gate, squeeze-and-excitation, pooling."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from maskwright.models.blocks import (
    AttentionGate,
    Dual,
    Inception,
    ParallelDilated,
    PyramidPooling,
    Residual,
    SqueezeExcitation,
    make_block,
)
from maskwright.models.layers import Style

LINEAR = Style("none", "none")


def seen(block, size=21):
    """Return which pixels of a one-channel map the centre of the output depends on."""
    image = torch.randn(1, 1, size, size, requires_grad=True)
    block.double()(image.double())[0, :, size // 2, size // 2].sum().backward()
    return (image.grad[0, 0] != 0).numpy()


def offsets(mask):
    """Return the (row, column) offsets from the centre."""
    return {(int(y) - mask.shape[0] // 2, int(x) - mask.shape[1] // 2) for y, x in np.argwhere(mask)}


def taps(rate):
    return {(y * rate, x * rate) for y in (-1, 0, 1) for x in (-1, 0, 1)}


@pytest.mark.parametrize("rates", [(1,), (6,), (1, 2, 4), (3, 9)])
def test_dilated_paths_see_nine_pixels_at_their_rate(rates):
    torch.manual_seed(0)
    assert offsets(seen(ParallelDilated(1, 6, LINEAR, rates))) == set().union(*(taps(rate) for rate in rates))


def test_the_far_path_of_dual_sees_five_by_five_pixels_two_apart():
    torch.manual_seed(0)
    near = {(y, x) for y in range(-2, 3) for x in range(-2, 3)}  # two 3×3: 5×5
    far = {(2 * y, 2 * x) for y, x in near}
    assert offsets(seen(Dual(1, 2, LINEAR))) == near | far


def test_receptive_fields_of_double_convolutions():
    torch.manual_seed(0)
    for block in (make_block("simple", 1, 4, LINEAR), Residual(1, 4, LINEAR), Inception(1, 8, LINEAR)):
        assert offsets(seen(block)) == {(y, x) for y in range(-2, 3) for x in range(-2, 3)}


def test_the_attention_gate_is_oktay_s():
    rng = np.random.default_rng(0)
    skip, coarse = rng.normal(size=(2, 4, 6)), rng.normal(size=(3, 2, 3))
    gate = AttentionGate(2, 3, Style("batch", "relu")).double()  # hidden: 1 channel
    theta, phi = rng.normal(size=(1, 2, 2, 2)), rng.normal(size=(1, 3, 1, 1))
    phi_bias, psi, psi_bias = 0.3, -1.7, 0.2
    with torch.no_grad():
        gate.theta.weight.copy_(torch.from_numpy(theta))
        gate.phi.weight.copy_(torch.from_numpy(phi))
        gate.phi.bias.fill_(phi_bias)
        gate.psi.weight.fill_(psi)
        gate.psi.bias.fill_(psi_bias)
        found = gate(torch.from_numpy(skip)[None], torch.from_numpy(coarse)[None])[0].numpy()
    weight = np.empty((2, 3))
    for y in range(2):
        for x in range(3):
            own = (theta[0] * skip[:, 2 * y : 2 * y + 2, 2 * x : 2 * x + 2]).sum()
            asked = max(0.0, own + (phi[0, :, 0, 0] * coarse[:, y, x]).sum() + phi_bias)
            weight[y, x] = 1 / (1 + np.exp(-(psi * asked + psi_bias)))
    # pixel i of the large map lies at (i + 0.5) / 2 - 0.5 of the small one, the border repeats
    rows, columns = (np.arange(4) + 0.5) / 2 - 0.5, (np.arange(6) + 0.5) / 2 - 0.5
    large = ndimage.map_coordinates(weight, np.meshgrid(rows, columns, indexing="ij"), order=1, mode="nearest")
    np.testing.assert_allclose(found, skip * large, atol=1e-12)


def test_squeeze_and_excitation_is_hu_s():
    torch.manual_seed(0)
    block, maps = SqueezeExcitation(8, Style("batch", "relu")).double(), torch.randn(2, 8, 3, 5).double()
    first, last = block.squeeze[0], block.excite
    mean = maps.numpy().mean((2, 3))
    hidden = np.maximum(0, mean @ first.weight.detach().numpy()[:, :, 0, 0].T + first.bias.detach().numpy())
    weight = 1 / (1 + np.exp(-(hidden @ last.weight.detach().numpy()[:, :, 0, 0].T + last.bias.detach().numpy())))
    np.testing.assert_allclose(block(maps).detach().numpy(), maps.numpy() * weight[:, :, None, None], atol=1e-12)
    assert first.weight.shape[0] == 4  # 8 / 16 would be none: at least four


def test_pyramid_pooling_sees_the_means_of_its_cells():
    block = PyramidPooling(1, 1, LINEAR, bins=(2,)).double()
    with torch.no_grad():
        block.paths[0][0].weight.fill_(1)
        block.paths[0][0].bias.zero_()
        block.mix[0].weight.zero_()
        block.mix[0].weight[0, 1, 1, 1] = 1  # the mixed map is the pooled one
        block.mix[0].bias.zero_()
        maps = torch.arange(24.0).reshape(1, 1, 4, 6).double()
        found = block(maps)[0, 0].numpy()
    # means of the four 2×3 cells: rows 0, 1 and columns 0 to 2 hold 0 1 2 6 7 8, mean 4; +3 to the right, +12 below
    cells = np.array([[4.0, 7.0], [16.0, 19.0]])
    rows, columns = (np.arange(4) + 0.5) / 2 - 0.5, (np.arange(6) + 0.5) / 3 - 0.5
    expected = ndimage.map_coordinates(cells, np.meshgrid(rows, columns, indexing="ij"), order=1, mode="nearest")
    np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize("kind", ["simple", "residual", "inception", "dilated"])
@pytest.mark.parametrize(("inputs", "outputs"), [(1, 5), (7, 7), (8, 4), (3, 16)])
def test_any_numbers_of_channels(kind, inputs, outputs):
    block = make_block(kind, inputs, outputs, Style("group", "swish"))
    assert block(torch.randn(1, inputs, 3, 5)).shape == (1, outputs, 3, 5)


def test_a_single_pixel_of_one_image_passes_pyramid_pooling_in_training():
    assert PyramidPooling(8, 4, Style("batch", "relu")).train()(torch.randn(1, 8, 1, 1)).isfinite().all()
