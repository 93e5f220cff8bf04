"""A decoder that stops early: coarse logits in training, full size everywhere else."""

import pytest
import torch

from maskwright.losses import thin_out
from maskwright.models import build_model, count_parameters
from maskwright.recipe.model import UNetSpec


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


@pytest.mark.parametrize("stride", [2, 4])
def test_what_was_learned_at_a_pixel_comes_out_at_that_pixel(stride):
    """A network that is perfect at the thinned labels gives full-size logits with those labels there, unshifted."""
    from maskwright.models.network import UpsampleOutsideTraining

    rows, columns = torch.meshgrid(torch.arange(96.0), torch.arange(128.0), indexing="ij")
    generator, shifts = torch.Generator().manual_seed(0), []
    for _ in range(100):
        y, x, radius = 30 + 36 * torch.rand(1, generator=generator), 40 + 48 * torch.rand(1, generator=generator), 20
        label = ((rows - y) ** 2 + (columns - x) ** 2 < radius**2).long()[None]
        coarse = thin_out(label, torch.zeros(1, 2, 96 // stride, 128 // stride))
        logits = torch.stack([1 - coarse, coarse], 1).float()
        fine = UpsampleOutsideTraining(stride).eval()(logits)
        assert torch.equal(fine.argmax(1)[:, stride // 2 :: stride, stride // 2 :: stride], coarse)
        found = fine.softmax(1)[0, 1] > 0.5
        shifts.append(
            [rows[found].mean() - rows[label[0] > 0].mean(), columns[found].mean() - columns[label[0] > 0].mean()]
        )
    assert torch.tensor(shifts).mean(0).abs().max() < 0.06  # half a pixel, were the two grids not the same
