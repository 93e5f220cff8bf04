"""What every network of our own promises: levels, learning, state, half precision, memory format, export, odd sizes."""

from __future__ import annotations

import copy

import pytest
import torch
from own_networks import LEVELS, SMALL

from maskwright.errors import RecipeError
from maskwright.models import build_model
from maskwright.models.own import OWN_MODELS

KINDS = pytest.mark.parametrize("kind", list(OWN_MODELS), ids=lambda kind: kind.__name__)


def build(kind, levels=1, **settings):
    torch.manual_seed(0)
    spec = SMALL[kind].model_copy(update=settings)
    return build_model(spec, in_channels=1, classes=3, levels=levels)


def images(*size):
    return torch.randn(*(size or (2, 1, 64, 96)), generator=torch.Generator().manual_seed(1))


@KINDS
def test_levels_come_finest_first_in_training_and_the_finest_alone_after_it(kind):
    network = build(kind, LEVELS[kind])
    with torch.no_grad():
        outputs, alone = network.train()(images()), network.eval()(images())
    outputs = outputs if LEVELS[kind] > 1 else [outputs]
    assert len(outputs) == LEVELS[kind]
    factors = [64 / output.shape[2] for output in outputs]
    assert factors == sorted(factors) and factors[0] == 1 and all(f.is_integer() for f in factors)
    assert [tuple(o.shape) for o in outputs] == [(2, 3, 64 // int(f), 96 // int(f)) for f in factors]
    assert alone.shape == (2, 3, 64, 96)


@KINDS
def test_every_parameter_learns_from_its_levels(kind):
    for levels in {1, LEVELS[kind]}:
        network = build(kind, levels, activation="swish").train()  # of few channels, ReLU may leave none
        outputs = network(images())
        sum(o.square().mean() for o in (outputs if levels > 1 else [outputs])).backward()
        gradients = {name: p.grad for name, p in network.named_parameters()}
        assert [name for name, g in gradients.items() if g is None or not g.isfinite().all() or not g.any()] == []


@KINDS
def test_the_state_makes_another_the_same(kind):
    one, other = build(kind, 2 if LEVELS[kind] > 1 else 1), build(kind, 2 if LEVELS[kind] > 1 else 1)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(1)
        one.train()(images())  # moves the statistics
        other.load_state_dict(one.state_dict())
        assert torch.equal(one.eval()(images()), other.eval()(images()))


@KINDS
def test_half_precision_and_channels_last_give_nearly_the_same(kind):
    network = build(kind).eval()
    with torch.no_grad():
        expected = network(images())
        last = copy.deepcopy(network).to(memory_format=torch.channels_last)
        found = last(images().to(memory_format=torch.channels_last))
        assert torch.allclose(found, expected, atol=1e-4 * float(expected.abs().max()))
        with torch.autocast("cpu", torch.bfloat16):
            half = network(images())
        assert half.isfinite().all() and (half.float() - expected).abs().mean() < 0.1 * expected.abs().mean()


@KINDS
@pytest.mark.parametrize("normalization", ["instance", "layer", "group", "none"])
def test_one_image_of_the_smallest_size_trains(kind, normalization):
    network = build(kind, normalization=normalization).train()
    output = network(images(1, 1, 32, 32))
    output.square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


@KINDS
def test_one_image_of_the_smallest_size_trains_with_batch_normalisation(kind):
    network = build(kind, LEVELS[kind]).train()
    outputs = network(images(1, 1, 32, 32))
    sum(o.square().mean() for o in (outputs if LEVELS[kind] > 1 else [outputs])).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
    assert all(value.isfinite().all() for value in network.state_dict().values())


@KINDS
@pytest.mark.parametrize("size", [(33, 47), (50, 65)])
def test_sizes_that_no_power_of_two_divides(kind, size):
    with torch.no_grad():
        assert build(kind, LEVELS[kind]).eval()(images(1, 1, *size)).shape == (1, 3, *size)


@KINDS
def test_too_many_levels_are_an_error(kind):
    with pytest.raises(RecipeError, match=f"at most {LEVELS[kind]} level\\(s\\)"):
        build(kind, LEVELS[kind] + 1)


@pytest.mark.slow
@KINDS
def test_export_gives_the_same(kind):
    network = build(kind, LEVELS[kind])
    network.train()(images())
    network.eval()
    with torch.no_grad():
        program = torch.export.export(network, (images(),))
        assert torch.allclose(program.module()(images()), network(images()), atol=1e-5)


@pytest.mark.slow
@KINDS
def test_export_with_sizes_that_vary_gives_the_same(kind):
    network = build(kind)
    network.train()(images())
    network.eval()
    height, width = (32 * torch.export.Dim(name, min=2, max=64) for name in ("height", "width"))
    with torch.no_grad():
        program = torch.export.export(
            network, (images(),), dynamic_shapes=({0: torch.export.Dim("n", max=64), 2: height, 3: width},)
        )
        for size in ((2, 1, 64, 96), (3, 1, 96, 64)):
            assert torch.allclose(program.module()(images(*size)), network(images(*size)), atol=1e-5)
