"""What every network of the table keeps: levels, odd sizes, half precision, checkpoints, export."""

from __future__ import annotations

import copy

import pytest
import torch
from test_models import SPECS

from maskwright.checkpoint import KEY, describe, load_trained
from maskwright.errors import RecipeError
from maskwright.inference import infer
from maskwright.models import MODELS, build_model
from maskwright.recipe.data import DataSpec
from maskwright.recipe.model import DeepLabV3PlusSpec, DeepLabV3Spec, PSPNetSpec, PythonModelSpec, SegformerSpec
from maskwright.recipe.networks import DeepLabV2Spec
from maskwright.types import Category

ALONE = (PythonModelSpec, PSPNetSpec, DeepLabV3Spec, DeepLabV3PlusSpec, SegformerSpec, DeepLabV2Spec)
"""Networks of one output."""
DATA = DataSpec(
    root="/nowhere",
    categories=tuple(Category(n, str(n), values=(n,)) for n in range(3)),
    channels=1,
    value_range=(0.0, 255.0),
    mean=(0.5,),
    std=(0.25,),
)


def build(kind, *, levels=1):
    torch.manual_seed(0)
    return build_model(SPECS[kind], in_channels=1, classes=3, levels=levels)


every = pytest.mark.parametrize("kind", MODELS, ids=lambda kind: kind.__name__)


def test_every_kind_is_tested():
    assert set(SPECS) == set(MODELS)


@every
def test_one_image_of_any_size_through_inference_gives_probabilities_of_its_size(kind):
    images = torch.randn(1, 1, 37, 85)
    found = infer([build(kind).eval()], images)
    assert found.shape == (1, 3, 37, 85)
    assert torch.allclose(found.sum(1), torch.ones(1, 37, 85), atol=1e-5)


@every
def test_a_single_image_trains(kind):
    # a part of a batch may be one image; pooled to one pixel, PyTorch's batch normalisation would refuse it
    network = build(kind).train()
    network(torch.randn(1, 1, 32, 64)).square().mean().backward()
    assert all(p.grad.isfinite().all() for p in network.parameters() if p.grad is not None)


@every
def test_half_precision_is_finite(kind):
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert build(kind).eval()(torch.randn(2, 1, 64, 32)).isfinite().all()


@every
def test_levels_in_training_and_the_finest_alone_outside(kind):
    if kind in ALONE:
        if kind is not PythonModelSpec:
            with pytest.raises(RecipeError, match="at most 1 level"):
                build(kind, levels=2)
        return
    network, images = build(kind, levels=3).train(), torch.randn(2, 1, 64, 96)
    outputs = network(images)
    assert isinstance(outputs, list)
    factors = [64 // logits.shape[2] for logits in outputs]
    assert factors == sorted(factors)  # some enlarge all outputs to the image's size
    assert [logits.shape for logits in outputs] == [(2, 3, 64 // f, 96 // f) for f in factors]
    sum(logits.square().mean() for logits in outputs).backward()
    assert all(p.grad is not None for name, p in network.named_parameters() if not name.startswith("encoder."))
    assert network.eval()(images).shape == (2, 3, 64, 96)


@every
def test_levels_change_nothing_in_the_finest_output(kind):
    if kind in ALONE:
        return
    alone, several = build(kind).eval(), build(kind, levels=2)
    several.load_state_dict(alone.state_dict(), strict=False)
    several.train()
    for module in several.modules():  # the list comes in training; its numbers are those of evaluation
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm | torch.nn.Dropout | torch.nn.Dropout2d):
            module.eval()
    images = torch.randn(1, 1, 64, 64)
    with torch.no_grad():
        finest, expected = several(images)[0], alone(images)
    if finest.shape == expected.shape:
        assert torch.allclose(finest, expected, atol=1e-5)


@every
def test_too_many_levels_are_answered_with_how_many_there_are(kind):
    if kind is PythonModelSpec:
        return
    with pytest.raises(RecipeError, match=r"at most \d level\(s\)"):
        build(kind, levels=9)


@every
def test_a_copy_with_levels_is_its_own_network(kind):
    # the moving average is a deep copy
    levels = 1 if kind in ALONE else 2
    network = build(kind, levels=levels).train()
    other = copy.deepcopy(network)
    with torch.no_grad():
        for p in other.parameters():
            p.zero_()
        outputs = network(torch.randn(2, 1, 64, 64))
    outputs = outputs if isinstance(outputs, list) else [outputs]
    assert len(outputs) == levels
    assert any(logits.abs().sum() > 0 for logits in outputs)


@every
def test_a_checkpoint_gives_the_same_network(kind, tmp_path):
    levels = 1 if kind in ALONE else 2
    network = build(kind, levels=levels)
    about = describe(SPECS[kind], DATA, scale=1.0, precision="float32", channels_last=False, levels=levels)
    state = {f"step.network.{key}": value for key, value in network.state_dict().items()}
    torch.save({KEY: about, "state_dict": state}, tmp_path / "a.ckpt")
    images = torch.randn(1, 1, 64, 64)
    with torch.no_grad():
        assert torch.equal(load_trained(tmp_path / "a.ckpt").network(images), network.eval()(images))


@pytest.mark.slow
@every
def test_export_keeps_the_numbers(kind):
    network, images = build(kind).eval(), torch.randn(2, 1, 64, 96)
    program = torch.export.export(network, (images,))
    with torch.no_grad():
        assert torch.allclose(program.module()(images), network(images), atol=1e-4)
