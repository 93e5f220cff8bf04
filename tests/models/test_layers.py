"""Normalisations named rightly, against NumPy; activations against their formulas; the start of weights."""

from __future__ import annotations

import math
import typing

import numpy as np
import pytest
import torch
from torch import nn

from maskwright.models.layers import (
    Style,
    count_groups,
    make_activation,
    make_normalization,
    make_unit,
    start_kaiming,
)
from maskwright.recipe.layers import Activation, Normalization

AXES = {"batch": (0, 2, 3), "instance": (2, 3), "layer": (1, 2, 3)}


@pytest.mark.parametrize("kind", AXES)
def test_each_normalisation_is_what_its_name_says(kind):
    maps = np.random.default_rng(0).normal(3, 2, (2, 12, 5, 4)).astype(np.float32)
    mean, variance = maps.mean(AXES[kind], keepdims=True), maps.var(AXES[kind], keepdims=True)
    found = make_normalization(kind, 12).train()(torch.from_numpy(maps)).detach().numpy()
    np.testing.assert_allclose(found, (maps - mean) / np.sqrt(variance + 1e-5), atol=1e-5)


def test_group_normalisation_sees_the_channels_of_a_group():
    maps = np.random.default_rng(0).normal(3, 2, (2, 12, 5, 4)).astype(np.float32)
    grouped = maps.reshape(2, 3, 4, 5, 4)  # 12 channels, at least 4 in a group: 3 groups
    mean, variance = grouped.mean((2, 3, 4), keepdims=True), grouped.var((2, 3, 4), keepdims=True)
    expected = ((grouped - mean) / np.sqrt(variance + 1e-5)).reshape(maps.shape)
    found = make_normalization("group", 12)(torch.from_numpy(maps)).detach().numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("channels", "groups"),
    [(1, 1), (5, 1), (8, 2), (16, 4), (48, 12), (64, 16), (128, 32), (256, 32), (320, 32), (200, 25), (7 * 13, 13)],
)
def test_groups_divide_the_channels_and_hold_at_least_four(channels, groups):
    assert count_groups(channels) == groups


@pytest.mark.parametrize("kind", typing.get_args(Normalization))
def test_a_map_of_one_pixel_of_one_image_has_a_value(kind):
    layer = make_normalization(kind, 8)
    before = {key: value.clone() for key, value in layer.state_dict().items()}
    found = layer.train()(torch.arange(8.0).reshape(1, 8, 1, 1))
    assert torch.isfinite(found).all()
    if kind == "instance":
        assert found.abs().max() < 1e-3  # the shift, which starts at zero
    if kind == "batch":  # running mean 0 and variance 1, untouched
        assert torch.allclose(found.flatten(), torch.arange(8.0), atol=1e-4)
        assert all(torch.equal(before[key], value) for key, value in layer.state_dict().items())


FORMULAS = {
    "relu": lambda x: np.maximum(x, 0),
    "leaky_relu": lambda x: np.where(x > 0, x, 0.01 * x),
    "elu": lambda x: np.where(x > 0, x, np.exp(x) - 1),
    "swish": lambda x: x / (1 + np.exp(-x)),
    "mish": lambda x: x * np.tanh(np.log1p(np.exp(x))),
    "gelu": lambda x: x * np.array([0.5 * (1 + math.erf(v / math.sqrt(2))) for v in x]),
    "none": lambda x: x,
}


def test_each_activation_is_what_its_name_says():
    assert set(FORMULAS) == set(typing.get_args(Activation))
    values = np.linspace(-3, 3, 13)
    for kind, formula in FORMULAS.items():
        found = make_activation(kind)(torch.from_numpy(values.copy())).numpy()
        np.testing.assert_allclose(found, formula(values), atol=1e-6, err_msg=kind)


def test_a_bias_is_where_no_normalisation_follows():
    assert make_unit(3, 4, Style("none", "relu"))[0].bias is not None
    assert make_unit(3, 4, Style("batch", "relu"))[0].bias is None


@pytest.mark.parametrize(
    "layer", [nn.Conv2d(64, 256, 3), nn.Conv2d(64, 256, 3, groups=4), nn.ConvTranspose2d(64, 256, 2, 2)]
)
def test_the_start_keeps_the_scale_through_an_activation(layer):
    torch.manual_seed(0)
    start_kaiming(layer)
    # of inputs with mean square 1, outputs have variance 2: half of it is left after a ReLU, that is 1 again
    assert layer(torch.randn(2, 64, 24, 24)).var().item() == pytest.approx(2, rel=0.1)
    assert not layer.bias.any()
