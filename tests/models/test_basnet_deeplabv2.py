"""The two on a ResNet: what stages see, which encoders can be taken, replaced layers, the refinement."""

from __future__ import annotations

import pytest
import torch
from own_networks import RESNET
from torch import nn

from maskwright.errors import RecipeError
from maskwright.models import build_model
from maskwright.recipe.networks import BASNetSpec, DeepLabV2Spec


def build(spec, levels=1):
    torch.manual_seed(0)
    return build_model(spec, in_channels=1, classes=3, levels=levels)


def test_deeplabv2_is_at_stride_8_with_dilations_2_and_4():
    # methods 4.6: output stride 8, dilation 2 in stage 3 and 4 in stage 4, whose first block still has the one before
    with torch.device("meta"):
        network = build(DeepLabV2Spec(encoder_weights="none"))
    rates = {name: m.dilation[0] for name, m in network.encoder.named_modules() if isinstance(m, nn.Conv2d)}
    assert {rates[f"model.layer3.{block}.conv2"] for block in range(1, 23)} == {2}
    assert {rates[f"model.layer4.{block}.conv2"] for block in (1, 2)} == {4}
    assert network.head.paths[0].weight.shape == (3, 2048, 3, 3)


def test_deeplabv2_rates():
    network = build(DeepLabV2Spec(**RESNET)).train()
    with torch.no_grad():
        network(torch.randn(1, 1, 64, 128))
    assert network.head.rates.known == (1, 2, 4, 5)  # a map of 8 × 16: 6 · 8 / 41 = 1.2 …
    with pytest.raises(RecipeError, match=r"at most 7: crops of 64 × 128(.|\n)*here 1, 2, 4, 5"):
        build(DeepLabV2Spec(**RESNET, rates=(6, 12, 18, 24))).train()(torch.randn(1, 1, 64, 128))


@pytest.mark.parametrize("encoder", ["resnet18", "resnet26d", "efficientnet_b0"])
def test_deeplabv2_takes_what_can_be_dilated(encoder):
    network = build(DeepLabV2Spec(encoder=encoder, encoder_weights="none")).eval()
    with torch.no_grad():
        assert network.encoder(torch.randn(1, 1, 64, 96))[-1].shape[2:] == (8, 12)
        assert network(torch.randn(1, 1, 64, 96)).shape == (1, 3, 64, 96)


@pytest.mark.parametrize("encoder", ["convnext_atto", "efficientnet_b0", "test_vit"])
def test_basnet_takes_resnets_alone(encoder):
    with pytest.raises(RecipeError, match=rf"a ResNet of timm, got {encoder}"):
        build(BASNetSpec(encoder=encoder, encoder_weights="none"))


@pytest.mark.parametrize("encoder", ["resnet10t", "resnet18", "resnet26d", "resnet50"])
def test_basnet_on_resnets_of_any_size_begins_at_full_size(encoder):
    with torch.device("meta"):
        network = build(BASNetSpec(encoder=encoder, encoder_weights="none", width=8))
        maps = network.encoder(torch.empty(1, 1, 64, 96))
        assert [64 // m.shape[2] for m in maps] == [1, 1, 1, 2, 4, 8]
        assert network(torch.empty(1, 1, 64, 96)).shape == (1, 3, 64, 96)


def test_basnet_refines_what_its_first_decoder_level_says():
    network = build(BASNetSpec(**RESNET, width=8, refine_width=8), levels=2).train()
    with torch.no_grad():
        network.refine.last.weight.zero_()
        refined, coarse = network(torch.randn(2, 1, 64, 64))
    assert torch.equal(refined, coarse)


def test_coarse_outputs_of_basnet_stay_coarse_if_asked():
    network = build(BASNetSpec(**RESNET, width=8, refine_width=8, full_size_outputs=False), levels=8).train()
    with torch.no_grad():
        outputs = network(torch.randn(2, 1, 64, 64))
    assert [64 // logits.shape[2] for logits in outputs] == [1, 1, 2, 4, 8, 16, 32, 32]


@pytest.mark.parametrize(("where", "encoder_keeps"), [("decoder", True), ("network", False)])
def test_layers_are_replaced_where_it_is_said(where, encoder_keeps):
    spec = BASNetSpec(**RESNET, width=8, normalization="group", activation="mish", replace_in=where)
    network = build(spec)
    kinds = {type(m) for name, m in network.named_modules() if not name.startswith("encoder.")}
    assert nn.Mish in kinds and nn.ReLU not in kinds and not any(issubclass(k, nn.BatchNorm2d) for k in kinds)
    inside = {type(m) for m in network.encoder.modules()}
    assert any(issubclass(k, nn.BatchNorm2d) for k in inside) == encoder_keeps
    assert (nn.ReLU in inside) == encoder_keeps
