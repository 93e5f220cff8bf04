"""A decoder that stops early: coarse logits in training, full size everywhere else."""

import pytest
import torch

from maskwright.models import build_model, count_parameters
from maskwright.recipe.model import UNetSpec
from maskwright.train.steps import thin_out


def a_network(stride):
    spec = UNetSpec(
        encoder="resnet10t", encoder_weights="none", decoder_channels=(16, 16, 8, 8, 8), output_stride=stride
    )
    torch.manual_seed(0)
    return build_model(spec, in_channels=1, classes=3)


@pytest.mark.parametrize("stride", [1, 2, 4])
def test_sizes(stride):
    network, images = a_network(stride), torch.rand(2, 1, 64, 96)
    assert network.train()(images).shape == (2, 3, 64 // stride, 96 // stride)
    assert network.eval()(images).shape == (2, 3, 64, 96)


def test_a_later_stop_has_more_parameters():
    counts = [count_parameters(a_network(stride)) for stride in (4, 2, 1)]
    assert counts == sorted(set(counts))


def test_thinned_labels_are_those_under_the_coarse_pixels():
    # a label that is constant in blocks of 4 loses nothing by taking every fourth pixel
    coarse = torch.randint(0, 3, (2, 8, 12))
    fine = coarse.repeat_interleave(4, 1).repeat_interleave(4, 2)
    assert torch.equal(thin_out(fine, torch.zeros(2, 3, 8, 12)), coarse)
    assert torch.equal(thin_out(fine, torch.zeros(2, 3, 32, 48)), fine)


def test_every_parameter_that_is_left_learns():
    network = a_network(2).train()
    network(torch.rand(2, 1, 64, 64)).square().sum().backward()
    unused = [name for name, p in network.named_parameters() if p.grad is None]
    assert unused == []
