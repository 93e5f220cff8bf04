"""ASPP: rates against the map, receptive fields worked by hand, one image with batch normalisation."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError
from test_blocks import LINEAR, offsets, seen, taps

from maskwright.errors import RecipeError
from maskwright.models import build_model
from maskwright.models.aspp import ASPP, DEEPLAB_V2, Rates, SummedASPP, check_rates, fitting_rates
from maskwright.models.layers import Style
from maskwright.recipe.networks import AsppUNetSpec
from maskwright.train.teacher import Teacher


def build(**settings):
    torch.manual_seed(0)
    return build_model(AsppUNetSpec(width=8, **settings), in_channels=1, classes=5)


def test_paths_see_what_their_rates_say():
    torch.manual_seed(0)
    pyramid = ASPP(1, 2, LINEAR, Rates((2, 5), allow_empty=True))
    pyramid.mean = torch.nn.Identity()  # else every pixel is seen
    pyramid.mix[0] = torch.nn.Conv2d(7, 2, 1)
    found = offsets(seen(torch.nn.Sequential(pyramid)))
    everything = {(y, x) for y in range(-10, 11) for x in range(-10, 11)}
    assert found == everything  # the mean
    pyramid.mix[0].weight.data[:, 6:] = 0
    assert offsets(seen(torch.nn.Sequential(pyramid))) == taps(2) | taps(5)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((33, 33), (6, 12, 18)),  # what they were made for
        ((128, 64), (6, 12, 18)),  # never larger
        ((16, 32), (3, 6, 9)),  # 6 · 16 / 33 = 2.9, 5.8, 8.7
        ((8, 16), (1, 3, 4)),  # 64 × 128 at stride 8: 1.5 (to even: 1.45), 2.9, 4.4
        ((1, 1), (1, 1, 1)),
    ],
)
def test_fitting_rates(size, expected):
    assert fitting_rates(*size) == expected


def test_fitting_rates_of_deeplab_v2():
    assert fitting_rates(80, 80, DEEPLAB_V2) == (6, 12, 18, 24)  # crops of 640 at stride 8, source 4
    assert fitting_rates(8, 16, DEEPLAB_V2) == (1, 2, 4, 5)  # 6 · 8 / 41 = 1.2, 2.3, 3.5, 4.7


def test_summed_paths_are_the_sum_of_dilated_convolutions():
    torch.manual_seed(0)
    head, maps = SummedASPP(3, 2, Rates((1, 3), DEEPLAB_V2)), torch.randn(1, 3, 7, 9)
    first, second = head.paths
    expected = torch.nn.functional.conv2d(maps, first.weight, first.bias, padding=1)
    expected = expected + torch.nn.functional.conv2d(maps, second.weight, second.bias, padding=3, dilation=3)
    assert torch.allclose(head(maps), expected, atol=1e-6)
    assert offsets(seen(SummedASPP(1, 1, Rates((2, 6))))) == taps(2) | taps(6)


def test_given_rates_beyond_the_map_are_an_error_that_names_better_ones():
    network = build(depth=3, rates=(6, 12, 18)).train()
    with pytest.raises(
        RecipeError, match=r"at most 7: crops of 64 × 128 make a map of 8 × 16(.|\n)*6, 12, 18(.|\n)*auto, here 1, 3, 4"
    ):
        network(torch.randn(1, 1, 64, 128))
    assert network(torch.randn(1, 1, 160, 160)).shape == (1, 5, 160, 160)  # a map of 20 × 20
    assert network.eval()(torch.randn(1, 1, 64, 128)).shape == (1, 5, 64, 128)  # what was learned stays usable


def test_rates_up_to_the_border_are_taken():
    check_rates((6, 7), 8, 16, 8)
    with pytest.raises(RecipeError, match="at most 7"):
        check_rates((8,), 16, 8, 8)


def test_empty_rates_can_be_had():
    network = build(depth=3, rates=(6, 12, 18), allow_empty_rates=True).train()
    network(torch.randn(1, 1, 64, 128)).sum().backward()
    gradient = network.u.bottleneck[0].paths[2].weight.grad.abs().sum((0, 1))
    # on a map of 8 × 16, a rate of 18 leaves the centre alone; 12 leaves the row
    assert (gradient > 0).tolist() == [[False] * 3, [False, True, False], [False] * 3]
    row = network.u.bottleneck[0].paths[1].weight.grad.abs().sum((0, 1))
    assert (row > 0).tolist() == [[False] * 3, [True] * 3, [False] * 3]


def test_auto_is_settled_by_the_first_step_and_kept():
    network = build(depth=3)
    assert network.eval()(torch.randn(1, 1, 128, 128)).shape == (1, 5, 128, 128)
    pyramid = network.u.bottleneck[0]
    assert pyramid.rates.known is None  # looking is not training
    network.train()(torch.randn(1, 1, 64, 128))
    assert pyramid.rates.known == (1, 3, 4)
    network(torch.randn(1, 1, 256, 256))
    assert pyramid.rates.known == (1, 3, 4)
    other = build(depth=3)
    other.load_state_dict(network.state_dict())
    assert other.u.bottleneck[0].rates.known == (1, 3, 4)
    images = torch.randn(1, 1, 96, 160)
    assert torch.equal(network.eval()(images), other.eval()(images))


def test_a_moving_average_takes_the_rates_over():
    network = build(depth=3)
    average = Teacher(network, 0.9, ramp="shipping")
    network.train()(torch.randn(1, 1, 64, 128))
    average.update(network)
    average.network(torch.randn(1, 1, 128, 128))
    assert average.network.u.bottleneck[0].rates.known == (1, 3, 4)


@pytest.mark.parametrize("depth", [2, 3, 4, 5])
def test_one_image_of_the_mars_size_trains(depth):
    network = build(depth=depth, activation="leaky_relu").train()
    network(torch.randn(1, 1, 64, 128)).square().mean().backward()
    assert all(p.grad.isfinite().all() and p.grad.any() for p in network.parameters())


def test_the_mean_of_one_image_passes_with_batch_normalisation():
    pyramid = ASPP(4, 4, Style("batch", "relu"), Rates((1,))).train()
    assert pyramid(torch.randn(1, 4, 2, 2)).isfinite().all()


@pytest.mark.parametrize("rates", [(), (0,), (6, -1), "most"])
def test_rates_that_are_none(rates):
    with pytest.raises(ValidationError, match="rates"):
        AsppUNetSpec(rates=rates)
