"""Inference: padding, views, tiles and batches change nothing for a network that looks at single pixels."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from maskwright.augment.dihedral import DIHEDRAL, apply
from maskwright.errors import RecipeError, UsageError
from maskwright.fusion import RankFusion
from maskwright.inference import STRIDE, infer, infer_stream, infer_tiled, turned
from maskwright.progress import listen
from maskwright.recipe.predict import PredictSpec

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


@pytest.mark.parametrize("views", [VIEWS, DIHEDRAL, *((view,) for view in DIHEDRAL)])
def test_views_of_an_equivariant_network_change_nothing(views):
    network, images = pointwise(), torch.randn(2, 2, 33, 45)
    assert torch.allclose(infer([network], images, tta=views), oracle(network, images), atol=1e-6)


def test_views_are_averaged_where_the_place_matters():
    images = torch.zeros(1, 1, 32, 64)
    place = torch.linspace(0, 1, 64)
    seen, mirrored = torch.sigmoid(place), torch.sigmoid(place.flip(0))
    found = infer([Strict()], images, tta=("identity", "flip_lr"))[0, 1, 0]
    assert torch.allclose(found, (seen + mirrored) / 2, atol=1e-6)


@pytest.mark.parametrize("view", DIHEDRAL)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_tensors_are_turned_as_our_augmentation_turns_arrays(view, layout):
    maps = torch.randn(2, 3, 4, 7).contiguous(memory_format=layout)
    found = turned(maps, view)
    assert np.array_equal(found.numpy(), apply(maps.numpy(), view, axes=(2, 3)))
    assert found.is_contiguous(memory_format=layout)


def test_the_recipe_knows_every_view():
    assert PredictSpec(tta=DIHEDRAL).tta == DIHEDRAL


def test_a_quarter_turn_by_hand():
    # what the network says depends on the column alone: on the turned image (columns are the old rows, and a turn
    # counter-clockwise puts the first row into the first column), so, turned back, on the row of the original
    images = torch.zeros(1, 1, 64, 32)
    rows = torch.sigmoid(torch.linspace(0, 1, 64))
    found = infer([Strict()], images, tta=("rotate_90",))[0, 1]
    assert torch.allclose(found, rows[:, None].expand(64, 32), atol=1e-6)
    # the transpose's columns are the rows, too; the turn clockwise puts the last row first
    assert torch.allclose(infer([Strict()], images, tta=("transpose",))[0, 1], found, atol=1e-6)
    assert torch.allclose(infer([Strict()], images, tta=("rotate_270",))[0, 1], found.flip(0), atol=1e-6)


def test_a_network_of_one_size_says_so():
    network = pointwise()
    network.fixed_size = (32, 64)
    images = torch.randn(1, 2, 32, 64)
    infer([network], images, tta=VIEWS)
    with pytest.raises(RecipeError, match=r"expected images of 32 × 64.*got 64 × 32"):
        infer([network], images, tta=("identity", "rotate_90"))
    with pytest.raises(RecipeError, match=r"other factors than 1 out of predict\.scales"):
        list(infer_stream([network], [("k", np.zeros((32, 64, 2), np.float32))], device=CPU, scales=(1.0, 2.0)))


def stream(image, networks=None, **options):
    ((_, found),) = infer_stream(networks or [pointwise()], [("k", image)], device=CPU, **options)
    return found


class Constant(nn.Module):
    """The same logits everywhere."""

    def forward(self, images):
        return torch.tensor([0.3, -1.0, 2.0]).view(1, 3, 1, 1).expand(len(images), 3, *images.shape[2:])


@settings(max_examples=40)
@given(
    st.integers(1, 70),
    st.integers(1, 70),
    st.lists(st.sampled_from([0.25, 0.5, 0.75, 1.0, 1.5, 2.0]), min_size=1, max_size=3, unique=True),
    st.sampled_from(["linear", "gaussian", "flat"]),
    st.floats(0, 0.5),
)
def test_a_constant_network_gives_its_constant_at_any_size_scale_and_overlap(height, width, scales, blend, overlap):
    image = np.random.default_rng(0).normal(size=(height, width, 2)).astype(np.float32)
    found = stream(image, [Constant()], scales=scales, blend=blend, overlap=overlap, tile=32, tta=DIHEDRAL)
    expected = torch.tensor([0.3, -1.0, 2.0]).softmax(0).numpy()[:, None, None]
    assert found.shape == (3, height, width)
    assert np.abs(found - expected).max() < 1e-5


class Share(nn.Module):
    """Gives the image, whose values are in 0..1, back as the probability of the second of two categories."""

    def forward(self, images):
        share = images[:, :1].clamp(1e-6, 1 - 1e-6)
        return torch.cat([(1 - share).log(), share.log()], 1)


@settings(max_examples=40)
@given(
    st.integers(1, 90),
    st.integers(1, 90),
    st.sampled_from(["linear", "gaussian", "flat"]),
    st.floats(0, 0.5),
    st.sampled_from([32, 64]),
)
def test_an_identity_network_gives_back_the_image_at_any_size_and_overlap(height, width, blend, overlap, tile):
    image = np.random.default_rng(0).uniform(0.01, 0.99, (height, width, 1)).astype(np.float32)
    found = stream(image, [Share()], blend=blend, overlap=overlap, tile=tile, tta=DIHEDRAL)
    assert np.abs(found[1] - image[..., 0]).max() < 1e-5


def test_each_scale_is_opencvs_resize_and_back_and_they_are_weighted():
    image = np.random.default_rng(0).uniform(0.01, 0.99, (40, 56, 1)).astype(np.float32)[..., 0]
    half = cv2.resize(
        cv2.resize(image, (28, 20), interpolation=cv2.INTER_AREA), (56, 40), interpolation=cv2.INTER_LINEAR
    )
    twice = cv2.resize(
        cv2.resize(image, (112, 80), interpolation=cv2.INTER_LINEAR), (56, 40), interpolation=cv2.INTER_AREA
    )
    for weights, expected in ((None, (half + image + twice) / 3), ((2, 1, 5), (2 * half + image + 5 * twice) / 8)):
        found = stream(image[..., None], [Share()], scales=(0.5, 1.0, 2.0), scale_weights=weights)
        assert np.abs(found[1] - expected).max() < 1e-5


def test_a_fine_pattern_is_averaged_when_an_image_shrinks():
    """A chequerboard has no coarse structure: at half size it is gray, not one of its colours."""
    image = (np.indices((64, 64)).sum(0) % 2).astype(np.float32)[..., None]
    assert stream(image, [Share()], scales=(0.5,))[1] == pytest.approx(np.full((64, 64), 0.5), abs=1e-5)


def test_one_scale_of_one_is_the_plain_way_bit_for_bit():
    image = np.random.default_rng(0).normal(size=(45, 33, 2)).astype(np.float32)
    plain = infer([pointwise()], torch.from_numpy(np.stack([image]).transpose(0, 3, 1, 2)), tta=("identity", "flip_lr"))
    assert np.array_equal(stream(image, tta=("identity", "flip_lr"), scales=(1.0,)), plain[0].numpy())


def test_networks_fused_by_rank_are_fused_with_their_scales_averaged():
    image = np.random.default_rng(0).normal(size=(20, 30, 2)).astype(np.float32)
    networks, fusion = [pointwise(0), pointwise(1)], RankFusion()
    for network in networks:
        fusion.add(stream(image, [network], scales=(0.5, 1.0)))
    assert np.array_equal(stream(image, networks, scales=(0.5, 1.0), fusion="rank"), fusion.result())


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


class Narrow(nn.Module):
    """A device that has room for a few images at a time, as torch tells it."""

    def __init__(self, most):
        super().__init__()
        self.most, self.seen, self.inner = most, [], pointwise()

    def forward(self, images):
        self.seen.append(len(images))
        if len(images) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return self.inner(images)


@pytest.mark.parametrize("size", [(32, 32), (96, 96)])
def test_a_batch_that_the_device_has_no_room_for_is_taken_in_parts(size):
    """Eight at a time, then four, then two, which is remembered; the numbers are those of the whole batch."""
    images = [(k, np.random.default_rng(k).normal(size=(*size, 2)).astype(np.float32)) for k in range(16)]
    network, said = Narrow(2), []
    expected = dict(infer_stream([network.inner], images, device=CPU, tile=32, batch=8, overlap=0.25))
    with listen(lambda label, done, total, note: said.append(note)):
        found = dict(infer_stream([network], images, device=CPU, tile=32, batch=8, overlap=0.25))
    assert network.seen[:4] == [8, 4, 2, 2]
    assert max(network.seen[3:]) == 2
    assert said == [f"images or tiles are now predicted {n} at a time" for n in (4, 2)]
    for key, _ in images:
        assert np.abs(found[key] - expected[key]).max() < 1e-6
    with pytest.raises(UsageError, match=r"memory for one image or tile(.|\n)*predict\.tile"):
        list(infer_stream([Narrow(0)], images, device=CPU, tile=32, batch=8))
