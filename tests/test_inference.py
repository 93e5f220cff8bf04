"""Inference: padding, views, tiles and batches change nothing for a network that looks at single pixels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from maskwright.inference import STRIDE, infer, infer_stream, infer_tiled

VIEWS = ("identity", "flip_lr", "flip_ud", "rotate_180")
CPU = torch.device("cpu")


def pointwise(seed=0, channels=2, classes=3):
    torch.manual_seed(seed)
    return nn.Conv2d(channels, classes, 1).eval().requires_grad_(False)


class Strict(nn.Module):
    """A network that takes multiples of 32 only, and whose output depends on the place."""

    def forward(self, images):
        assert images.shape[2] % STRIDE == images.shape[3] % STRIDE == 0
        place = torch.linspace(0, 1, images.shape[3]).expand_as(images[:, :1])
        return torch.cat([images[:, :1], place], 1)


def oracle(network, images):
    return network(images).softmax(1)


@settings(max_examples=25)
@given(st.integers(1, 70), st.integers(1, 70))
def test_any_size_is_padded_and_cut_back(height, width):
    images = torch.randn(1, 2, height, width)
    assert infer([Strict()], images).shape == (1, 2, height, width)
    network = pointwise()
    assert torch.allclose(infer([network], images), oracle(network, images), atol=1e-6)


class Seen(nn.Module):
    """Keeps what it is given."""

    def forward(self, images):
        self.images = images
        return images


@pytest.mark.parametrize(("pad", "mode"), [("replicate", "edge"), ("zero", "constant"), ("reflect", "reflect")])
@pytest.mark.parametrize("size", [(31, 33), (1, 40), (5, 3), (64, 32), (32, 1)])
def test_sides_are_filled_up_as_numpy_does_and_multiples_get_nothing(pad, mode, size):
    images, network = torch.randn(2, 2, *size), Seen()
    infer([network], images, pad=pad)
    more = [(0, 0), (0, 0), (0, -size[0] % 32), (0, -size[1] % 32)]
    assert np.array_equal(network.images.numpy(), np.pad(images.numpy(), more, mode=mode))


@pytest.mark.parametrize("views", [VIEWS[:1], VIEWS[1:2], VIEWS[2:3], VIEWS[3:], VIEWS])
def test_views_of_an_equivariant_network_change_nothing(views):
    network, images = pointwise(), torch.randn(2, 2, 33, 45)
    assert torch.allclose(infer([network], images, tta=views), oracle(network, images), atol=1e-6)


def test_views_are_averaged_where_the_place_matters():
    images = torch.zeros(1, 1, 32, 64)
    place = torch.linspace(0, 1, 64)
    seen, mirrored = torch.sigmoid(place), torch.sigmoid(place.flip(0))
    found = infer([Strict()], images, tta=("identity", "flip_lr"))[0, 1, 0]
    assert torch.allclose(found, (seen + mirrored) / 2, atol=1e-6)


def test_networks_are_averaged_as_probabilities_that_sum_to_one():
    networks, images = [pointwise(s) for s in range(3)], torch.randn(1, 2, 32, 32) * 5
    found = infer(networks, images, tta=VIEWS)
    assert torch.allclose(found, sum(oracle(n, images) for n in networks) / 3, atol=1e-6)
    assert torch.allclose(found.sum(1), torch.ones(1, 32, 32), atol=1e-5)


def test_half_precision_gives_float32_close_to_full():
    network, images = pointwise(), torch.randn(1, 2, 32, 32)
    found = infer([network], images, precision="bfloat16")
    assert found.dtype == torch.float32
    assert torch.allclose(found, oracle(network, images), atol=0.02)


@settings(max_examples=25)
@given(st.integers(1, 150), st.integers(1, 150), st.sampled_from([32, 50, 64]), st.floats(0, 0.5), st.integers(1, 5))
def test_tiles_of_a_pointwise_network_are_the_whole(height, width, tile, overlap, batch):
    network, image = pointwise(), torch.randn(2, height, width)
    found = infer_tiled([network], image, tile=tile, overlap=overlap, batch=batch)
    assert np.abs(found - oracle(network, image[None])[0].numpy()).max() < 1e-5


@settings(max_examples=20)
@given(st.lists(st.sampled_from([(5, 7), (32, 32), (7, 5), (80, 40)]), max_size=6), st.integers(1, 4))
def test_a_stream_keeps_keys_order_and_values_whatever_the_sizes(sizes, batch):
    network, rng = pointwise(), np.random.default_rng(0)
    images = [(f"k{i}", rng.normal(size=(*size, 2)).astype(np.float32)) for i, size in enumerate(sizes)]
    found = list(infer_stream([network], iter(images), device=CPU, tile=64, batch=batch, channels_last=True))
    assert [key for key, _ in found] == [key for key, _ in images]
    for (_, image), (_, probabilities) in zip(images, found, strict=True):
        expected = oracle(network, torch.from_numpy(image.transpose(2, 0, 1))[None])[0].numpy()
        assert np.abs(probabilities - expected).max() < 1e-5


def test_neighbours_of_one_size_share_a_forward_pass():
    class Counting(nn.Module):
        sizes: list[int]

        def __init__(self):
            super().__init__()
            self.sizes = []

        def forward(self, images):
            self.sizes.append(len(images))
            return images

    network = Counting()
    image = np.zeros((32, 32, 2), np.float32)
    images = [*((i, image) for i in range(5)), (5, image[:31]), (6, image)]
    list(infer_stream([network], images, device=CPU, batch=2))
    assert network.sizes == [2, 2, 1, 1, 1]


def test_an_empty_stream_is_empty():
    assert list(infer_stream([pointwise()], [], device=CPU)) == []
