"""Importance of the pool's images, zoomed views, frozen statistics, and the loss that is watched at first."""

from __future__ import annotations

import threading

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import nn

from maskwright.augment.occasion import Occasion, Source
from maskwright.data.index import build_index
from maskwright.data.intensity import Intensity
from maskwright.recipe import Recipe, apply_settings
from maskwright.recipe.data import DataSpec
from maskwright.recipe.sac import SacSpec
from maskwright.train.batch import Batch, PoolBatch
from maskwright.train.unlabelled.importance import importance_weights, pool_weights, predicted_pixels
from maskwright.train.unlabelled.norm import adapt_statistics, batch_norms, freeze_statistics
from maskwright.train.unlabelled.sac.early import EarlyLoss
from maskwright.train.unlabelled.sac.views import draw_zoom, sac_views
from maskwright.train.working import WorkingImages, cache_of


def drawn_frequencies(pixels, share, drawn, draws, seed=0):
    """Return how often each image comes, drawn as in the public code: a category by turns, then an image."""
    rng, images = np.random.default_rng(seed), len(pixels)
    even, times = np.full(images, 1 / images), np.zeros(images)
    for draw in range(draws):
        c = draw % pixels.shape[1]
        total = pixels[:, c].sum()
        p = pixels[:, c] / total if total and c in drawn else even
        times[rng.choice(images, p=(1 - share) * even + share * p)] += 1
    return times / draws


def test_importance_is_the_frequency_of_drawing_by_class():
    pixels = np.array([[900, 0, 5, 0], [100, 20, 5, 0], [500, 0, 40, 0]])
    found = importance_weights(pixels, 0.75, drawn=[1, 2, 3])
    expected = drawn_frequencies(pixels, 0.75, {1, 2, 3}, 40_000)
    assert found / 3 == pytest.approx(expected, abs=0.01)  # four standard deviations of 40 000 draws


@given(st.integers(0, 100), st.sampled_from([0.0, 0.5, 1.0]))
def test_importance_sums_to_the_images(seed, share):
    pixels = np.random.default_rng(seed).integers(0, 50, (7, 3)) * (np.arange(3) < seed % 4)
    found = importance_weights(pixels, share)
    assert found.sum() == pytest.approx(7)
    assert (found >= 0).all()
    if share == 0:
        assert found == pytest.approx(1)


class Thresholds(nn.Module):
    """Says 1 where the first channel is above 0, else 0."""

    def forward(self, images):
        return torch.stack([-images[:, 0], images[:, 0]], 1)


@pytest.fixture
def pool(tmp_path):
    """Return working images of three sizes, with 5, 0 and 40 bright pixels, and the recipe."""
    bright = {"a": (5, (8, 12)), "b": (0, (16, 16)), "c": (40, (9, 7))}
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    for name, (count, size) in bright.items():
        image = np.zeros(size, np.uint8)
        image.flat[:count] = 200
        Image.fromarray(image).save(tmp_path / "images" / f"{name}.png")
        Image.fromarray((image > 0).astype(np.uint8)).save(tmp_path / "masks" / f"{name}.png")
    index, section, _ = build_index(DataSpec(root=str(tmp_path)))
    recipe = apply_settings(Recipe(data=section), ["train.precision=float32", "train.accelerator=cpu"])
    return WorkingImages(index, Intensity.of(section), scale=1, cache=0.2, labels=False), recipe


def test_predicted_pixels_are_counted_image_by_image(pool):
    network = Thresholds()
    network.frozen = nn.BatchNorm2d(1).eval()
    found = predicted_pixels(network, *pool)
    assert found.tolist() == [[91, 5], [256, 0], [23, 40]]
    assert network.training
    assert not network.frozen.training


def test_the_table_is_written_once_and_then_read(tmp_path, pool):
    path = tmp_path / "run" / "pool_weights.csv"
    path.parent.mkdir()
    first = pool_weights(path, Thresholds(), *pool, 0.75)
    table = pl.read_csv(path)
    assert table.columns[:2] == ["image", "weight"]
    assert table[:, 2:].to_numpy().tolist() == [[91, 5], [256, 0], [23, 40]]
    # binary: the background is left out, so that images are chosen by the other category and evenly
    assert first.tolist() == pytest.approx(3 * (0.25 / 3 + 0.75 * (np.array([5, 0, 40]) / 45 + 1 / 3) / 2))
    again = pool_weights(path, nn.Identity(), *pool, 0.75)  # which couldn't predict anything
    assert np.array_equal(first, again)


def test_a_table_of_other_images_is_made_anew(tmp_path, pool):
    path = tmp_path / "pool_weights.csv"
    pl.DataFrame({"image": ["x"], "weight": [1.0]}).write_csv(path)
    assert len(pool_weights(path, Thresholds(), *pool, 0.75)) == 3
    assert pl.read_csv(path).height == 3


@given(st.integers(0, 500), st.sampled_from([(32, 64), (33, 47), (16, 16)]))
def test_a_zoomed_crop_lies_inside_the_whole_view(seed, size):
    spec = SacSpec(zoom=(0.3, 1.0))
    matrix = draw_zoom(spec, np.random.default_rng(seed), size)
    height, width = size
    corners = np.array([[-0.5, -0.5, 1], [width - 0.5, height - 0.5, 1]]).T  # outer edges of the crop's pixels
    places = np.sort((matrix @ corners)[:2], axis=1)
    assert (places >= -0.5 - 1e-9).all()
    assert (places[:, 1] <= np.array([width, height]) - 0.5 + 1e-9).all()
    shares = np.diff(places, axis=1)[:, 0] / (width, height)
    assert shares[0] == pytest.approx(shares[1])
    assert 0.3 - 1e-9 <= shares[0] <= 1 + 1e-9


def test_views_are_crops_of_the_first_and_the_same_in_every_run(pool):
    _, recipe = pool
    spec = SacSpec(zoom_flip=1.0)
    occasion = Occasion((32, 64), 1, 0.0, Source())
    one, two = (sac_views(recipe, spec)(np.random.default_rng(3), (40, 80), occasion) for _ in range(2))
    matrices = [view.geometry.matrix for view in one.clean]
    assert all(np.array_equal(a, b.geometry.matrix) for a, b in zip(matrices, two.clean, strict=True))
    assert (len(one.clean), len(one.noisy)) == (4, 4)
    between = [np.linalg.inv(matrices[0]) @ matrix for matrix in matrices[1:]]
    assert all(0.5 <= matrix[1, 1] <= 1 for matrix in between)
    assert all(matrix[0, 0] == pytest.approx(-matrix[1, 1]) for matrix in between)  # mirrored left to right alone
    assert all(abs(matrix[0, 1]) < 1e-12 and abs(matrix[1, 0]) < 1e-12 for matrix in between)
    # noise is drawn for each view: that of the first is another one than that of the second
    image = np.random.default_rng(0).integers(0, 255, (32, 64, 1), np.uint8)
    assert not np.array_equal(one.noisy[0].apply_to_image(image), one.noisy[1].apply_to_image(image))


def test_frozen_statistics_stay_while_weights_learn():
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.GroupNorm(2, 4), nn.InstanceNorm2d(4))
    assert batch_norms(network) == [network[1]]
    network.train()
    freeze_statistics(network)
    network(torch.randn(2, 3, 5, 5)).square().sum().backward()
    assert torch.equal(network[1].running_mean, torch.zeros(4))
    assert network[1].weight.grad is not None
    assert network[2].training


@pytest.mark.parametrize(
    ("losses", "rises"), [([1, 1, 1.2, 1.2], True), ([1, 1, 1, 1.1], False), ([3, 2, 1, 1], False)]
)
def test_a_rise_of_the_first_losses(losses, rises):
    early = EarlyLoss(4, 1.1)
    said = []
    for step, loss in enumerate([*losses, 1000.0]):  # what comes later isn't watched
        early.add(torch.tensor(loss), step)
        said.append(early.verdict(step + 1))
    assert bool(said[3]) == rises
    assert not any(said[:3] + said[4:])
    assert not rises or "from 1 to 1.2 in the first 4 steps" in said[3]


def test_nothing_is_watched_where_nothing_is_asked():
    early = EarlyLoss(0, 1.1)
    early.add(torch.tensor(5.0), 0)
    assert early.verdict(0) == early.verdict(1) == ""
    assert not early.counts.any()


def test_adapted_statistics_are_the_means_over_the_batches_of_both_domains():
    torch.manual_seed(0)
    network = nn.Sequential(nn.BatchNorm2d(2, momentum=0.3), nn.Conv2d(2, 2, 1))
    network[0].running_mean.fill_(7.0)
    labelled, others = torch.randn(3, 4, 2, 5, 6) + 1, 2 * torch.randn(3, 1, 2, 2, 5, 6) - 3
    nothing = torch.zeros(())
    batches = [
        Batch(own, torch.zeros(4, 5, 6), {}, pool=PoolBatch(other, other, nothing, nothing, {}))
        for own, other in zip(labelled, others, strict=True)
    ]
    adapt_statistics(network, iter(batches))
    parts = [*labelled, *others.flatten(1, 2)]
    means = np.mean([part.transpose(0, 1).flatten(1).mean(1).numpy() for part in parts], axis=0)
    deviations = np.mean([part.transpose(0, 1).flatten(1).var(1).numpy() for part in parts], axis=0)
    assert network[0].running_mean.numpy() == pytest.approx(means, rel=1e-4)
    assert network[0].running_var.numpy() == pytest.approx(deviations, rel=1e-4)
    assert network[0].momentum == 0.3


def test_one_process_predicts_the_pool_and_the_others_wait_for_its_table(tmp_path, pool):
    images, recipe = pool
    found = []
    waiting = threading.Thread(
        target=lambda: found.append(pool_weights(tmp_path / "w.csv", None, images, recipe, 0.75, write=False))
    )
    waiting.start()
    waiting.join(0.2)
    assert waiting.is_alive()
    weights = pool_weights(tmp_path / "w.csv", Thresholds(), images, recipe, 0.75)
    waiting.join(10)
    assert np.array_equal(found[0], weights)


@pytest.mark.parametrize(
    ("settings", "share"),
    [
        ((), 0.25),
        (("train.devices=2", "train.batch=2"), 0.125),
        (("executor={kind: local, jobs: 4}", "split.folds=5"), 0.0625),
        (("executor={kind: local, jobs: 4}", "split.folds=2"), 0.125),
        (("executor={kind: slurm, jobs: 4}", "split.folds=5"), 0.25),  # machines of their own
    ],
)
def test_processes_that_run_at_a_time_share_the_memory(settings, share):
    assert cache_of(apply_settings(Recipe(data=DataSpec(root=".")), settings)) == share
