"""Training crops of images with pseudo-labels: soft labels move with the image, weights and ways are their own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from maskwright.augment.geometry import Geometry, Outside
from maskwright.augment.mixing import Blend, Crop, Pasting, blend_shares, soft_label
from maskwright.data.index import SCHEMA, Index
from maskwright.data.intensity import Intensity
from maskwright.data.sampling import StreamSampler, Turn, weighted
from maskwright.data.store import ProbabilityStore
from maskwright.recipe import Recipe, apply_settings
from maskwright.recipe.data import DataSpec
from maskwright.selftrain import training_index
from maskwright.train.crops import TrainingCrops
from maskwright.train.working import WorkingImages
from maskwright.types import IGNORE, Categories, Category

CATEGORIES = Categories((Category(0, "no", values=(0,)), Category(1, "yes", values=(1,))))
SIZE = (32, 48)


def shares_of(rng, size=SIZE):
    share = rng.random(size, np.float32)
    return np.stack([1 - share, share])


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for place in ("images", "masks", "run/imported", "run/labels"):
        (tmp_path / place).mkdir(parents=True)
    for name in "ab":
        Image.fromarray(rng.integers(0, 255, (*SIZE, 3), np.uint8)).save(tmp_path / "images" / f"{name}.png")
    Image.fromarray(rng.integers(0, 2, SIZE, np.uint8)).save(tmp_path / "masks" / "a.png")
    shares = shares_of(rng)
    label = shares.argmax(0).astype(np.uint8)
    label[:4] = 255  # not relied on
    Image.fromarray(label).save(tmp_path / "run" / "labels" / "b.png")
    ProbabilityStore(tmp_path / "run" / "soft").write("b", shares)
    return tmp_path


def crops(folder, *settings, soft=True):
    rows = [(f"images/{n}.png", "masks/a.png" if n == "a" else None, *[None] * 5, SIZE[1], SIZE[0], 3) for n in "ab"]
    whole = Index(folder, pl.DataFrame(rows, schema=SCHEMA, orient="row"), CATEGORIES, imported=folder / "run/imported")
    files = {"images/b.png": str(folder / "run" / "soft" / "b.npz")} if soft else None
    index = training_index(whole, ["images/a.png"], {"images/b.png": "@run/labels/b.png"}, soft=files)
    data = DataSpec(
        root=str(folder), categories=CATEGORIES.items, channels=3, value_range=(0, 255), mean=(0,) * 3, std=(1,) * 3
    )
    base = [
        "train.scale=1",
        "train.batch=2",
        "train.steps=8",
        "train.crop=[32, 32]",
        "selftrain.rounds=1",
        "augment=[]",
    ]
    recipe = apply_settings(Recipe(data=data), [*base, *settings])
    images = WorkingImages(index, Intensity.of(recipe.data), scale=1.0, cache=0.5)
    return TrainingCrops(images, recipe)


def test_soft_labels_are_the_stored_probabilities_where_they_are_relied_on(folder):
    made = crops(folder, "train.crop=[32, 64]")  # wider than the image: mirrored
    label = np.asarray(made[(0, 1)].labels)
    stored = ProbabilityStore(folder / "run" / "soft").read("b")
    assert label.shape == (2, 32, 64) and label.dtype == np.float32
    assert (label[:, :4] == 0).all()
    view = made.drawn((0, 1))
    left = int(-view.geometry.matrix[0, 2])  # the image lies inside the crop
    np.testing.assert_allclose(label[:, 4:, left : left + 48], stored[:, 4:], atol=5e-4)  # float16, made to sum to 1
    np.testing.assert_allclose(label[:, 4:].sum(0), 1, atol=1e-6)


def test_real_masks_beside_soft_labels_are_one_hot(folder):
    label = np.asarray(crops(folder)[(0, 0)].labels)
    assert set(np.unique(label)) == {0.0, 1.0} and (label.sum(0) == 1).all()


def test_soft_labels_move_with_the_image(folder):
    made = crops(folder, 'augment=[{"kind": "affine", "rotate": 30}, {"kind": "flip"}]', "train.crop=[32, 32]")
    stored = ProbabilityStore(folder / "run" / "soft").read("b")
    for draw in range(6):
        label, view = np.asarray(made[(draw, 1)].labels), made.drawn((draw, 1))
        image = view.geometry.apply_to_image(
            np.ascontiguousarray(stored.transpose(1, 2, 0))
        )  # as an image of 2 channels
        kept = label.sum(0) > 0
        # OpenCV rounds positions to 1/32 pixel, of one channel otherwise than of two
        np.testing.assert_allclose(label[:, kept], image.transpose(2, 0, 1)[:, kept], atol=1 / 32)


def test_hard_pseudo_labels_stay_hard(folder):
    assert np.asarray(crops(folder, soft=False)[(0, 1)].labels).ndim == 2


def test_images_with_pseudo_labels_have_an_augmentation_of_their_own(folder):
    gray = 'selftrain.method.augment=[{"kind": "grayscale", "probability": 1}]'
    made = crops(folder, gray, soft=False)
    real, pseudo = made.seen((0, 0)).image, made.seen((0, 1)).image
    assert (pseudo[..., 0] == pseudo[..., 1]).all() and (real[..., 0] != real[..., 1]).any()


def test_images_with_pseudo_labels_are_mixed_in_their_own_way(folder):
    boxes = 'selftrain.method.mix=[{"kind": "cutmix", "probability": 1, "area": [0.3, 0.4]}]'
    plain, mixed = crops(folder), crops(folder, boxes)
    for draw in range(4):
        assert (plain.seen((draw, 0)).image == mixed.seen((draw, 0)).image).all()
        one, other = plain.seen((draw, 1)), mixed.seen((draw, 1))
        changed = (one.image != other.image).any(axis=2)
        assert 0.2 < changed.mean() < 0.5
        # what was pasted is of the image with a real mask: one-hot
        assert set(np.unique(other.shares[:, changed])) <= {0.0, 1.0}
        np.testing.assert_array_equal(other.shares[:, ~changed], one.shares[:, ~changed])


def test_blended_shares_are_the_weighted_mean_and_ignored_ones_take_the_others():
    one = np.array([[[0.5, 0.0, 0.0]], [[0.5, 0.0, 0.0]]], np.float32)
    two = np.array([[[1.0, 0.2, 0.0]], [[0.0, 0.8, 0.0]]], np.float32)
    found = blend_shares(one, two, 0.75)
    np.testing.assert_allclose(found, [[[0.625, 0.2, 0.0]], [[0.375, 0.8, 0.0]]], atol=1e-6)


def test_blending_of_hard_labels_and_of_the_same_as_shares_is_the_same():
    rng = np.random.default_rng(1)
    labels = [rng.choice([0, 1, IGNORE], (6, 6)).astype(np.uint8) for _ in range(2)]
    image = np.zeros((6, 6, 3), np.uint8)
    hard = Blend(0.3, 2).apply(*(Crop(image, label) for label in labels))
    soft = Blend(0.3, 2).apply(*(Crop(image, label, shares=soft_label(label, 2)) for label in labels))
    np.testing.assert_allclose(hard.shares, soft.shares, atol=1e-6)


def test_pasting_takes_the_shares_along():
    rng = np.random.default_rng(2)
    image, label, mask = np.zeros((5, 4, 3), np.uint8), np.zeros((5, 4), np.uint8), rng.random((5, 4)) < 0.5
    one, two = (Crop(image, label, shares=shares_of(rng, (5, 4))) for _ in range(2))
    found = Pasting(mask).apply(one, two).shares
    np.testing.assert_array_equal(found[:, mask], two.shares[:, mask])
    np.testing.assert_array_equal(found[:, ~mask], one.shares[:, ~mask])


@pytest.mark.parametrize("outside", [None, Outside(9.0, IGNORE)])
def test_shares_are_warped_as_an_image_is(outside):
    rng = np.random.default_rng(3)
    shares = shares_of(rng, (12, 15))
    matrix = np.array([[0.9, -0.3, 2.0], [0.2, 1.1, -3.0], [0, 0, 1]])
    geometry = Geometry(matrix, (14, 13), outside)
    found = geometry.apply_to_shares(shares)
    covered = geometry.apply_to_label(np.zeros((12, 15), np.uint8)) == 0
    image = geometry.apply_to_image(np.ascontiguousarray(shares.transpose(1, 2, 0))).transpose(2, 0, 1)
    np.testing.assert_allclose(found[:, covered], image[:, covered], atol=1 / 32)  # OpenCV rounds positions
    if outside is not None:
        assert (~covered).any() and (found[:, ~covered] == 0).all()


def test_a_weighted_turn_draws_images_as_often_as_they_weigh():
    turn = weighted(Turn.of(np.arange(3)), np.array([1.0, 2.5, 1.0]))
    sampler = StreamSampler(3, 4000, seed=0, weights=turn.weights)  # 1000 turns of round(4.5) = 4 draws
    counts = np.bincount([entry for _, entry in sampler], minlength=3)
    np.testing.assert_allclose(counts / counts.sum(), np.array([1, 2.5, 1]) / 4.5, atol=0.02)


def test_eight_bits_are_read_like_sixteen(tmp_path: Path):
    shares = shares_of(np.random.default_rng(4), (600, 7))
    small, large = (ProbabilityStore(tmp_path / kind, quantised=kind == "small") for kind in ("small", "large"))
    for store in (small, large):
        store.write("x", shares)
    np.testing.assert_allclose(ProbabilityStore(tmp_path / "small").read("x"), shares, atol=0.5 / 255 + 1e-6)
    np.testing.assert_array_equal(large.read("x"), shares.astype(np.float16).astype(np.float32))
    window = (500, 2, 90, 4)
    np.testing.assert_array_equal(small.read("x", window), small.read("x")[:, 500:590, 2:6])
    assert small.path("x").stat().st_size < 0.7 * large.path("x").stat().st_size
