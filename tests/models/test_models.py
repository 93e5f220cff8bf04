"""Networks: they take every size they say they take, and name what they can't be built from."""

from __future__ import annotations

import pytest
import torch
from own_networks import SMALL
from torch import nn

from maskwright.errors import RecipeError
from maskwright.models import MODELS, build_model, count_parameters
from maskwright.recipe.model import PythonModelSpec, UNetSpec


class Pointwise(nn.Sequential):
    """A network of one's own, for the test of `kind: python`."""

    def __init__(self, in_channels: int, classes: int, width: int = 4) -> None:
        super().__init__(nn.Conv2d(in_channels, width, 1), nn.ReLU(), nn.Conv2d(width, classes, 1))


def no_network(in_channels: int, classes: int) -> None:
    """A target that gives no nn.Module."""


SPECS = {
    UNetSpec: UNetSpec(encoder="resnet10t", encoder_weights="none", decoder_channels=(16, 16, 8)),
    PythonModelSpec: PythonModelSpec(target="test_models:Pointwise", arguments={"width": 3}),
    **SMALL,
}


@pytest.fixture(scope="module", params=[1, 3], ids=["gray", "rgb"])
def channels(request):
    return request.param


@pytest.fixture(scope="module", params=list(MODELS), ids=lambda kind: kind.__name__)
def network(request, channels):
    return build_model(SPECS[request.param], in_channels=channels, classes=5).eval()


@pytest.mark.parametrize("size", [(32, 32), (32, 96), (64, 160)])
def test_any_multiple_of_32_gives_logits_of_its_size(network, channels, size):
    with torch.no_grad():
        assert network(torch.zeros(2, channels, *size)).shape == (2, 5, *size)


def test_images_of_a_batch_do_not_see_each_other(network, channels):
    images = torch.randn(2, channels, 32, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.allclose(network(images)[1], network(images[1:])[0], atol=1e-4)


def test_every_parameter_learns(channels):
    for spec in SPECS.values():
        network = build_model(spec, in_channels=channels, classes=2).train()
        network(torch.randn(2, channels, 64, 64)).square().mean().backward()
        silent = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
        # a coarse U-Net of three levels leaves the encoder's deepest stages out; what it has must learn
        assert not [name for name in silent if not name.startswith("encoder.")]


def test_the_seed_decides_the_start():
    def build(seed):
        torch.manual_seed(seed)
        return build_model(SPECS[UNetSpec], in_channels=1, classes=2).state_dict()

    one, same, other = build(1), build(1), build(2)
    assert all(torch.equal(one[k], same[k]) for k in one)
    assert not all(torch.equal(one[k], other[k]) for k in one)


def test_the_number_of_decoder_levels_is_free():
    counts = [
        count_parameters(
            build_model(
                UNetSpec(encoder="resnet10t", encoder_weights="none", decoder_channels=(8,) * n),
                in_channels=1,
                classes=2,
            )
        )
        for n in (3, 4, 5)
    ]
    assert counts == sorted(counts)


@pytest.mark.parametrize(("wrong", "near"), [("resnet_18", "resnet18"), ("efficientnetb0", "efficientnet_b0")])
def test_an_unknown_encoder_names_the_nearest(wrong, near):
    spec = UNetSpec(encoder=wrong, encoder_weights="none", decoder_channels=(8, 8, 8))
    with pytest.raises(RecipeError, match=rf"model\.encoder(.|\n)*did you mean(.|\n)*{near}"):
        build_model(spec, in_channels=3, classes=2)


def test_an_encoder_without_feature_maps_is_told_to_be_one():
    spec = UNetSpec(encoder="vit_tiny_patch16_224", encoder_weights="none", decoder_channels=(8, 8, 8))
    with pytest.raises(RecipeError, match="convolutional"):
        build_model(spec, in_channels=3, classes=2)


def test_missing_weight_files_are_named(tmp_path):
    spec = UNetSpec(encoder="resnet10t", encoder_weights=str(tmp_path / "w.pth"), decoder_channels=(8, 8, 8))
    with pytest.raises(RecipeError, match=r"w\.pth"):
        build_model(spec, in_channels=3, classes=2)


@pytest.mark.parametrize("in_channels", [1, 3])
def test_weights_of_a_file_are_taken_and_summed_to_gray(tmp_path, in_channels):
    import timm

    source = timm.create_model("resnet10t", features_only=True, out_indices=(0, 1, 2, 3))
    torch.save(source.state_dict(), tmp_path / "w.pth")
    spec = UNetSpec(encoder="resnet10t", encoder_weights=str(tmp_path / "w.pth"), decoder_channels=(8, 8, 8))
    own = build_model(spec, in_channels=in_channels, classes=2).encoder.model.state_dict()
    first = next(key for key, value in source.state_dict().items() if value.ndim == 4)
    weight = source.state_dict()[first]
    assert torch.allclose(own[first], weight if in_channels == 3 else weight.sum(1, keepdim=True))


def test_weights_of_another_network_are_refused(tmp_path):
    torch.save({"conv.weight": torch.zeros(1)}, tmp_path / "w.pth")
    spec = UNetSpec(encoder="resnet10t", encoder_weights=str(tmp_path / "w.pth"), decoder_channels=(8, 8, 8))
    with pytest.raises(RecipeError, match="0 that fit"):
        build_model(spec, in_channels=3, classes=2)


def test_a_target_that_gives_no_network_is_its_author_s_fault():
    with pytest.raises(AssertionError, match="test_models:no_network"):
        build_model(PythonModelSpec(target="test_models:no_network"), in_channels=1, classes=2)
