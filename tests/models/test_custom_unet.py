"""U-Nets of chosen parts: every setting learns with each of its parameters, and counts as worked by hand."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from maskwright.errors import RecipeError
from maskwright.models import build_model, count_parameters
from maskwright.recipe.networks import CustomUNetSpec

SETTINGS = {
    "baseline of source 3": {"depth": 2},
    "four levels of source 2": {
        "depth": 4,
        "encoder_blocks": ("simple", "simple", "residual", "inception"),
        "decoder_blocks": ("inception", "residual", "simple", "simple"),
        "upsampling": ("transposed", "transposed", "nearest", "nearest"),
        "dropout": 0.3,
        "block_dropout": 0.1,
    },
    # swish: of a squeeze to four channels, ReLU may leave none
    "attention": {"depth": 3, "attention": True, "squeeze_excitation": True, "activation": "swish"},
    "gating": {"depth": 2, "attention": True, "gating": True, "upsampling": "nearest", "activation": "mish"},
    **{
        f"{kind} bottleneck": {"depth": 2, "bottleneck": kind}
        for kind in ("pointwise", "residual", "inception", "parallel", "dual", "dilated", "pyramid")
    },
    "residual": {"depth": 2, "encoder_blocks": "residual", "decoder_blocks": "residual", "normalization": "group"},
    "inception": {"depth": 2, "encoder_blocks": "inception", "decoder_blocks": "inception", "normalization": "layer"},
    "dilated": {"depth": 2, "encoder_blocks": "dilated", "decoder_blocks": "dilated", "normalization": "instance"},
    "five levels, no normalisation": {"depth": 5, "normalization": "none", "activation": "leaky_relu"},
}


def build(levels=1, in_channels=1, classes=3, **settings):
    torch.manual_seed(0)
    spec = CustomUNetSpec(**{"width": 8, **settings})
    return build_model(spec, in_channels=in_channels, classes=classes, levels=levels)


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_every_setting_gives_its_levels_and_learns_with_each_parameter(settings):
    levels = settings["depth"] + 1
    network = build(levels, **settings).train()
    outputs = network(torch.randn(2, 1, 64, 96))
    assert [tuple(o.shape) for o in outputs] == [(2, 3, 64 // 2**k, 96 // 2**k) for k in range(levels)]
    sum(o.square().mean() for o in outputs).backward()
    assert [n for n, p in network.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []
    assert [n for n, p in network.named_parameters() if not p.grad.any()] == []
    finest = network.eval()(torch.randn(1, 1, 64, 96))
    assert finest.shape == (1, 3, 64, 96)


@pytest.mark.parametrize("upsampling", ["nearest", "transposed"])
@pytest.mark.parametrize("attention", [False, True])
@pytest.mark.parametrize("size", [(8, 8), (9, 15), (37, 53)])
def test_odd_sizes(upsampling, attention, size):
    network = build(depth=3, upsampling=upsampling, attention=attention).train()
    assert network(torch.randn(2, 1, *size)).shape == (2, 3, *size)


def by_hand(width, depth, in_channels, classes, bias, scale):
    """Parameters of Ronneberger's U-Net: 3×3 weights, a bias or a scale and shift, 2×2 transposed with bias, 1×1."""

    def double(inputs, outputs):
        return 9 * (inputs * outputs + outputs * outputs) + 2 * outputs * (bias + 2 * scale)

    channels = [width * 2**k for k in range(depth + 1)]
    encoder = sum(double(i, o) for i, o in zip([in_channels, *channels[:-1]], channels, strict=True))
    decoder = sum(4 * 2 * c * c + c + double(2 * c, c) for c in channels[:-1])
    return encoder + decoder + width * classes + classes


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        # Ronneberger 2015: one channel, two classes, no normalisation, biases: the sum of `by_hand`, "31 M"
        ({"width": 64, "normalization": "none"}, 31_030_658),
        # public re-implementations with batch normalisation, RGB, one class: 31,037,633 at width 64 (no biases, but in
        # the transposed convolutions and the head) and 7,763,041 at width 32
        ({"width": 64, "in_channels": 3, "classes": 1}, 31_037_633),
        ({"width": 32, "in_channels": 3, "classes": 1}, 7_763_041),
    ],
)
def test_parameters_of_the_original(settings, expected):
    settings = {"depth": 4, "in_channels": 1, "classes": 2} | settings
    normalized = settings.get("normalization") != "none"
    sums = {key: settings[key] for key in ("width", "depth", "in_channels", "classes")}
    assert by_hand(**sums, bias=not normalized, scale=normalized) == expected
    with torch.device("meta"):
        assert count_parameters(build(**settings)) == expected


def test_more_levels_than_there_are_is_an_error():
    with pytest.raises(
        RecipeError, match=r"at most 3 level\(s\): as many outputs has a custom_unet of this form, got 4"
    ):
        build(4, depth=2)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"depth": 3, "encoder_blocks": ("simple", "simple")}, "encoder_blocks: 2 entries for a depth of 3"),
        ({"depth": 2, "upsampling": ("nearest",) * 3}, "upsampling: 3 entries"),
        ({"gating": True}, "set attention to true"),
        ({"depth": 6}, "depth"),
        ({"bottleneck": "bilinear"}, "bottleneck"),
    ],
)
def test_settings_that_do_not_fit_are_told(settings, message):
    with pytest.raises(ValidationError, match=message):
        CustomUNetSpec(**settings)
