"""Options of the library's networks, and the sizes that others publish."""

from __future__ import annotations

import math
import sys

import pytest
import timm
import torch
from torch import nn

from maskwright.errors import RecipeError, UsageError
from maskwright.models import build_model, count_parameters
from maskwright.models.cost import example_specs, measure_cost
from maskwright.recipe.model import (
    DeepLabV3Spec,
    DPTSpec,
    FPNSpec,
    PANSpec,
    PSPNetSpec,
    PythonModelSpec,
    UNetPlusPlusSpec,
    UNetSpec,
    UPerNetSpec,
)

TINY = {"encoder": "test_efficientnet", "encoder_weights": "none"}
BLOCKS = TINY | {"decoder_channels": (16, 16, 8, 8, 8)}
SAM = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "global_attn_indexes": [1]}
SAM |= {"output_channels": 16, "image_size": 64, "window_size": 2, "mlp_dim": 32}


def build(spec, *, in_channels=3, classes=2, levels=1):
    torch.manual_seed(0)
    return build_model(spec, in_channels=in_channels, classes=classes, levels=levels)


def layers(module, *kinds):
    return [m for m in module.modules() if isinstance(m, kinds)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spec", "classes", "expected"),
    [
        # torchvision's deeplabv3_resnet101 has 60 996 202 parameters (its documentation) for 21 classes. Of these
        # 1024 · 256 · 9 + 2 · 256 + 256 · 21 + 21 = 2 365 205 are its auxiliary head, which is not part of DeepLabV3
        (DeepLabV3Spec(encoder="resnet101", encoder_weights="none"), 21, 60_996_202 - 2_365_205),
        # torchvision's resnet34 has 21 797 672, its classifier 512 · 1000 + 1000 of them. The decoder:
        # 9 · ((512+256) · 256 + 256² + (256+128) · 128 + 128² + (128+64) · 64 + 64² + (64+64) · 32 + 32² + 32 · 16
        # + 16²) = 3 149 568, norms 4 · (256+128+64+32+16) = 1984, head 16 · 9 + 1 = 145
        (
            UNetSpec(encoder="resnet34", encoder_weights="none", decoder_channels=(256, 128, 64, 32, 16)),
            1,
            21_797_672 - 513_000 + 3_149_568 + 1984 + 145,
        ),
    ],
    ids=["deeplabv3", "unet"],
)
def test_published_numbers_of_parameters(spec, classes, expected):
    assert count_parameters(build(spec, classes=classes)) == expected


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "millions"),  # timm's and the papers' tables, whole classifiers
    [("efficientnet_b0", 5.29), ("efficientnet_b3", 12.23), ("tf_efficientnetv2_s", 21.46), ("convnext_tiny", 28.59)],
)
def test_encoders_have_the_published_number_of_parameters_but_their_classifier(name, millions):
    network = build(UNetSpec(encoder=name, encoder_weights="none", decoder_channels=(8,) * 5))
    model = timm.create_model(name)
    rest = {name: p.numel() for name, p in model.named_parameters()}
    own = {key.replace(".", "_") for key in network.encoder.model.state_dict()}
    missing = sum(n for key, n in rest.items() if key.replace(".", "_") not in own)
    assert count_parameters(network.encoder) + missing == pytest.approx(millions * 1e6, abs=0.01e6)
    classifier = sum(n for key, n in rest.items() if key.startswith(("classifier", "head", "conv_head", "bn2")))
    assert missing <= classifier


@pytest.mark.parametrize(
    ("kind", "layer"),
    [("relu", nn.ReLU), ("leaky_relu", nn.LeakyReLU), ("swish", nn.SiLU), ("mish", nn.Mish), ("gelu", nn.GELU)],
)
@pytest.mark.parametrize("base", [UNetSpec(**BLOCKS), FPNSpec(**TINY), PANSpec(**TINY)], ids=lambda spec: spec.kind)
def test_any_activation_in_any_decoder(base, kind, layer):
    network = build(base.model_copy(update={"activation": kind}))
    others = {nn.ReLU, nn.LeakyReLU, nn.SiLU, nn.Mish, nn.GELU} - {layer}
    assert layers(network.decoder, layer)
    assert not layers(network.decoder, *others)
    assert not layers(network.encoder, nn.Mish, nn.GELU)  # the encoder keeps its own
    whole = build(base.model_copy(update={"activation": kind, "replace_in": "network"}))
    assert not layers(whole, *others)
    assert whole(torch.randn(1, 3, 128, 128)).isfinite().all()


@pytest.mark.parametrize(
    ("kind", "axes"), [("batch", (0, 2, 3)), ("instance", (2, 3)), ("layer", (1, 2, 3)), ("group", None)]
)
@pytest.mark.parametrize("base", [UNetSpec(**BLOCKS), FPNSpec(**TINY, channels=64)], ids=lambda spec: spec.kind)
def test_any_normalization_is_over_what_its_name_says(base, kind, axes):
    network = build(base.model_copy(update={"normalization": kind, "replace_in": "network"})).train()
    seen = []
    norms = layers(network.decoder, nn.BatchNorm2d, nn.GroupNorm)
    norms[0].register_forward_hook(lambda module, inputs, output: seen.append(output.clone()))
    network(torch.randn(2, 3, 64, 64))
    if axes is not None:  # scale 1 and shift 0: mean 0 and variance 1 over these axes
        mean, variance = seen[0].mean(axes), seen[0].var(axes, unbiased=False)
        assert torch.allclose(mean, torch.zeros_like(mean), atol=1e-4)
        assert torch.allclose(variance, torch.ones_like(variance), atol=0.05)
    else:
        assert all(1 < norm.num_groups < norm.num_channels for norm in norms if norm.num_channels >= 16)
    if kind != "batch":
        assert not layers(network, nn.BatchNorm2d)


def test_replaced_normalization_keeps_scale_and_shift_and_what_timm_fused_with_it():
    # timm's BatchNormAct2d is norm, dropout and activation in one
    from maskwright.models.replace import replace_normalizations

    fused = timm.layers.BatchNormAct2d(8, act_layer=nn.ReLU)
    with torch.no_grad():
        fused.weight.copy_(torch.arange(8.0))
        fused.bias.fill_(-1)
    network = nn.Sequential(nn.Conv2d(3, 8, 1), fused)
    replace_normalizations(network, "instance")
    out = network(torch.randn(2, 3, 9, 9))
    assert (out >= 0).all() and torch.equal(network[1][0].weight, torch.arange(8.0))
    assert (network[1][0].bias == -1).all()


def test_every_block_may_have_a_residual_path_the_image_dropout_and_learned_upsampling():
    plain = build(UNetSpec(**BLOCKS))
    for change in (
        {"residual": True},
        {"image_skip": True},
        {"interpolation": "transposed"},
        {"residual": True, "image_skip": True, "interpolation": "bilinear", "dropout": 0.2},
        {"attention": "scse", "decoder_channels": (16, 16, 16, 16, 16)},
    ):
        network = build(UNetSpec(**(BLOCKS | change)), levels=3).train()
        outputs = network(torch.randn(2, 3, 64, 32))
        assert [tuple(o.shape[2:]) for o in outputs] == [(64, 32), (32, 16), (16, 8)]
        sum(o.square().mean() for o in outputs).backward()
        assert all(p.grad is not None for p in network.parameters())
        assert count_parameters(network.decoder) > count_parameters(plain.decoder)
    # image skip: 3 more channels into the last block's first 3 × 3 convolution to 8
    assert count_parameters(build(UNetSpec(**BLOCKS, image_skip=True))) - count_parameters(plain) == 3 * 9 * 8


@pytest.mark.parametrize("kind", [UNetSpec, UNetPlusPlusSpec])
def test_excitation_needs_channels_to_squeeze(kind):
    with pytest.raises(ValueError, match="at least 16, got 8"):
        kind(**BLOCKS, attention="scse")


@pytest.mark.parametrize("encoder", ["test_efficientnet", "test_vit", "test_resnet"])
@pytest.mark.parametrize("kind", [UNetSpec, PSPNetSpec])
def test_stages_that_nothing_depends_on_are_not_trained(encoder, kind):
    # two processes that share a step would wait for their gradients for ever
    more = {"decoder_channels": (8, 8, 8)} if kind is UNetSpec else {"depth": 3}
    network = build(kind(encoder=encoder, encoder_weights="none", pyramid_channels=8, **more)).train()
    network(torch.randn(2, 3, 64, 64)).square().mean().backward()
    assert all((p.grad is not None) == p.requires_grad for p in network.parameters())


def test_dropout_drops_in_training_alone():
    network, images = build(UNetSpec(**BLOCKS, dropout=0.5)), torch.randn(2, 3, 32, 32)
    network.eval()
    assert torch.equal(network(images), network(images))
    for module in layers(network, nn.Dropout2d):
        module.train()
    assert not torch.equal(network(images), network(images))


def test_bilinear_and_nearest_give_other_numbers():
    images = torch.randn(1, 3, 64, 64)
    for spec in (UNetSpec(**BLOCKS), UNetPlusPlusSpec(**BLOCKS), FPNSpec(**TINY)):
        with torch.no_grad():
            one = build(spec).eval()(images)
            other = build(spec.model_copy(update={"interpolation": "bilinear"})).eval()
            assert not torch.allclose(one, other(images))


@pytest.mark.parametrize("encoder", ["test_vit", "vit_tiny_patch16_dinov3_qkvb", "eva02_tiny_patch14_224"])
@pytest.mark.parametrize("kind", [UNetSpec, FPNSpec, UPerNetSpec])
def test_plain_vits_of_any_image_size_through_a_pyramid(encoder, kind):
    more = {"decoder_channels": (8,) * 5} if kind is UNetSpec else {}
    arguments = {"depth": 2}
    spec = kind(encoder=encoder, encoder_weights="none", encoder_arguments=arguments, pyramid_channels=8, **more)
    network = build(spec, in_channels=1).train()
    maps = network.encoder(torch.randn(1, 1, 64, 96))
    assert [tuple(m.shape[1:]) for m in maps] == [
        (1, 64, 96),
        (0, 32, 48),
        *((8, 64 // s, 96 // s) for s in (4, 8, 16, 32)),
    ]
    for size in ((32, 32), (64, 96)):
        network(torch.randn(2, 1, *size)).square().mean().backward()
    assert all(p.grad is not None for p in network.parameters())


def test_sam_s_image_encoder_of_timm_is_its_own_forward_at_any_size():
    arguments = {"depth": 2, "embed_dim": 32, "num_heads": 2, "global_attn_indexes": [1], "neck_chans": 16}
    spec = FPNSpec(
        encoder="samvit_base_patch16", encoder_weights="none", encoder_arguments=arguments, pyramid_channels=8
    )
    vit, images = build(spec).encoder.vit.eval(), torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        assert torch.equal(vit(images), vit.model.forward_features(images))
    assert vit.channels == 16


def test_sam_s_image_encoder_of_transformers_is_its_own_forward_and_takes_other_sizes():
    pytest.importorskip("transformers")
    spec = UNetSpec(
        encoder="hf:facebook/sam-vit-base",
        encoder_weights="none",
        encoder_arguments=SAM,
        decoder_channels=(8,) * 5,
        pyramid_channels=8,
    )
    network, images = build(spec, levels=2), torch.randn(1, 3, 64, 64)
    vit = network.encoder.vit.eval()
    with torch.no_grad():
        theirs = vit.model(images)
        assert torch.allclose(vit(images), theirs[0] if isinstance(theirs, tuple) else theirs.last_hidden_state)
    outputs = network.train()(torch.randn(1, 3, 96, 64))
    assert [tuple(o.shape[2:]) for o in outputs] == [(96, 64), (48, 32)]


def test_without_transformers_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    spec = UNetSpec(encoder="hf:facebook/sam-vit-base", encoder_weights="none", decoder_channels=(8,) * 5)
    with pytest.raises(UsageError, match=r"maskwright\[hf\]"):
        build(spec)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (PANSpec(encoder="test_vit", encoder_weights="none"), "dilated to stride 16"),
        (DeepLabV3Spec(encoder="test_vit", encoder_weights="none"), "dilated to stride 8"),
        (DPTSpec(encoder="test_resnet", encoder_weights="none"), "a plain ViT"),
        (UNetSpec(**BLOCKS, encoder_arguments={"nonsense": 1}), "nonsense"),
    ],
    ids=["pan", "deeplabv3", "dpt", "arguments"],
)
def test_what_does_not_go_together_is_said(spec, message):
    with pytest.raises(RecipeError, match=rf"{message}(.|\n)*model\.encoder"):
        build(spec)


def test_small_images_are_padded_where_a_decoder_halves_them_away():
    network = build(PANSpec(**TINY), levels=3).train()
    outputs = network(torch.randn(2, 3, 32, 160))
    assert [tuple(o.shape[2:]) for o in outputs] == [(32, 160), (4, 20), (2, 10)]


@pytest.mark.slow
def test_compiled_gives_the_numbers_of_eager():
    network, images = build(UNetSpec(**BLOCKS), levels=3).train(), torch.randn(2, 3, 64, 64)
    for module in layers(network, nn.BatchNorm2d):
        module.eval()
    compiled = torch.compile(network, backend="aot_eager")
    with torch.no_grad():
        pairs = list(zip(network(images), compiled(images), strict=True))
    assert all(torch.allclose(one, other, atol=1e-5) for one, other in pairs)


def test_multiply_adds_are_those_of_the_definition():
    # a 1 × 1 convolution 3 → 4 and one 4 → 5, on 32 × 64 pixels
    spec = PythonModelSpec(target="test_models:Pointwise")
    cost = measure_cost(spec, (32, 64), in_channels=3, classes=5, batch=1, repeats=1)
    assert cost.multiply_adds == 32 * 64 * (3 * 4 + 4 * 5)
    assert cost.parameters == 3 * 4 + 4 + 4 * 5 + 5
    assert cost.step_seconds is not None and 0 < cost.step_seconds < math.inf


def test_attention_counts():
    # one more layer of test_vit (64 channels, 2 × 2 patches and a class token): projections and the hidden layer's, and
    # two products of 5 × 5 × 64 for the attention itself
    def cost(depth):
        spec = DPTSpec(encoder="test_vit", encoder_weights="none", encoder_arguments={"depth": depth})
        return measure_cost(spec, (32, 32), in_channels=3, classes=2).multiply_adds

    model = timm.create_model("test_vit", depth=1)
    weights = sum(p.numel() for name, p in model.blocks.named_parameters() if p.ndim == 2)
    assert cost(6) - cost(5) == 5 * weights + 2 * 5 * 5 * 64


def test_there_is_an_example_of_each_kind():
    from maskwright.models import MODELS

    specs = example_specs("test_resnet")
    assert {type(spec) for spec in specs.values()} == set(MODELS) - {PythonModelSpec}
    assert specs["unet"].encoder == "test_resnet"
