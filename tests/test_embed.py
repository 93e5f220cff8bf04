"""Embeddings of images of any size: in one piece, and by tiles that agree with it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from maskwright.inference import STRIDE, embed, embed_tiled, infer
from maskwright.models import build_model
from maskwright.recipe.embedding import EmbeddingSpec
from maskwright.recipe.networks import CustomUNetSpec
from maskwright.tiling import aligned_grid, border_distances


def near_sighted(seed=0):
    """Return a U-Net that sees 21 pixels to each side at most, whose batch normalisation has learned something."""
    torch.manual_seed(seed)
    spec = CustomUNetSpec(depth=2, width=4, embedding=EmbeddingSpec(channels=3))
    network = build_model(spec, in_channels=1, classes=2).train()
    network(torch.randn(4, 1, 32, 32))
    return network.eval().requires_grad_(False)


class Place(nn.Module):
    """Embeddings are the mean of what the network sees: another one in each tile."""

    def both(self, images):
        mean = images.mean((2, 3), keepdim=True).expand_as(images)
        return torch.cat([images, -images], 1), mean


@pytest.mark.parametrize("size", [(64, 96), (37, 85), (5, 40)])
def test_embeddings_are_those_of_the_padded_image_and_probabilities_those_of_infer(size):
    network, image = near_sighted(), torch.randn(1, *size)
    found = embed(network, image)
    assert found.embeddings.shape == (3, *size)
    assert np.allclose(found.probabilities, infer([network], image[None])[0].numpy())
    below, right = -size[0] % STRIDE, -size[1] % STRIDE
    padded = torch.nn.functional.pad(image[None], (0, right, 0, below), mode="replicate")
    expected = network.both(padded)[1][0, :, : size[0], : size[1]]
    assert np.allclose(found.embeddings, expected.numpy(), atol=1e-6)


@pytest.mark.parametrize("size", [(64, 96), (200, 333), (96, 500)])
def test_tiles_of_a_near_sighted_network_are_the_whole(size):
    # half of the overlap, 48, is more than it sees
    network, image = near_sighted(), torch.randn(1, *size)
    whole, tiles = embed(network, image), embed_tiled(network, image, tile=192, overlap=0.5)
    assert np.allclose(tiles.embeddings, whole.embeddings, atol=1e-5)
    assert np.allclose(tiles.probabilities, whole.probabilities, atol=1e-5)


def test_no_embedding_is_a_mean_of_two_tiles():
    image = torch.zeros(1, 32, 160)
    image[..., 80:] = 1.0
    tiles = aligned_grid((32, 160), 96, 0.25, 32)
    means = {round(float(image[:, *tile.slices].mean()), 5) for tile in tiles}
    found = embed_tiled(Place(), image, tile=96, overlap=0.25)
    assert {round(float(v), 5) for v in np.unique(found.embeddings)} == means
    # tiles 0–96 and 64–160: their middle is at 80
    assert (found.embeddings[0, :, :80] == found.embeddings[0, 0, 0]).all()
    assert (found.embeddings[0, :, 80:] == found.embeddings[0, 0, -1]).all()


@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 6), st.floats(0, 0.9))
def test_aligned_tiles_cover_the_image(rows, columns, tile, overlap):
    size = (32 * rows, 32 * columns)
    covered = np.zeros(size, int)
    for one in aligned_grid(size, 32 * tile, overlap, 32):
        assert one.top % 32 == one.left % 32 == 0
        covered[one.slices] += 1
        assert border_distances(one, size).min() >= 1
    assert covered.min() >= 1
