"""Training crops: every item depends on its draw alone; what is sampled, centred, isolated and mixed reaches the batch.

Gray values are 40 × the label, and all geometry is flips: a pixel whose label came from elsewhere shows.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import scipy.stats
import torch
from PIL import Image

from maskwright.augment import Source, draw_view
from maskwright.data.index import PSEUDO, build_index
from maskwright.data.intensity import Intensity, standardise
from maskwright.recipe import Recipe, apply_settings
from maskwright.recipe.data import DataSpec
from maskwright.recipe.mixing import CopyPasteSpec, CutMixSpec
from maskwright.train.crops import TrainingCrops
from maskwright.train.loader import training_batches
from maskwright.train.partners import Partners
from maskwright.train.working import WorkingImages
from maskwright.types import IGNORE, Categories, Category

SETTINGS = (
    "augment=[{kind: flip, vertical: 0.5}]",
    "train.steps=12",
    "train.validate_every=4",
    "train.batch=3",
    "train.crop=[32, 32]",
    "train.scale=1",
)
EVERYTHING = (
    "mix=[{kind: cutmix}, {kind: classmix}, {kind: copy_paste}, {kind: mixup}]",
    "sampling={kind: rare_class, centred: 0.7}",
)
MIXES = ("cutmix", "classmix", "copy_paste", "mixup")


def images_of(tmp_path, labels, *settings):
    """Return working images and the recipe of a folder with one image for each label map."""
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir(exist_ok=True)
    for i, label in enumerate(labels):
        Image.fromarray(label).save(tmp_path / "masks" / f"{i}.png")
        Image.fromarray(np.where(label == IGNORE, 250, label * 40).astype(np.uint8)).save(
            tmp_path / "images" / f"{i}.png"
        )
    categories = "data.categories=[" + ", ".join(f"{{id: {i}, name: c{i}, values: [{i}]}}" for i in range(4)) + "]"
    recipe = apply_settings(Recipe(data=DataSpec(root=str(tmp_path), ignore=(IGNORE,))), [categories])
    index, section, _ = build_index(recipe.data)
    recipe = apply_settings(Recipe(data=section), [*SETTINGS, *settings])
    return WorkingImages(index, Intensity.of(section), scale=1, cache=0.25), recipe


def labels(count=5, size=(48, 64)):
    """Return label maps of patches of 8 × 8; category 3 only in the last, a single patch; some patches ignored."""
    rng, found = np.random.default_rng(0), []
    for i in range(count):
        cells = rng.choice(np.array([0, 1, 2, IGNORE], np.uint8), (size[0] // 8, size[1] // 8), p=[0.4, 0.3, 0.2, 0.1])
        cells[-1, -2] = 3 if i == count - 1 else 0
        found.append(np.kron(cells, np.ones((8, 8), np.uint8)))
    return found


def alike(one, two):
    return torch.equal(one.images, two.images) and torch.equal(one.labels, two.labels)


@pytest.mark.parametrize("cache", [0.0, 0.25])
@pytest.mark.parametrize("scale", [0.5, (30, 50)])
def test_class_weights_are_counted_at_working_size(tmp_path, cache, scale):
    images, _ = images_of(tmp_path, labels())
    images = WorkingImages(images.index, images.intensity, scale=scale, cache=cache)
    for row in range(len(images)):
        assert images.label(row).shape == images.size(row) == ((24, 32) if scale == 0.5 else scale)
        np.testing.assert_array_equal(images.label(row), images[row][1])


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_the_parts_of_a_step_know_what_the_step_holds(tmp_path, workers):
    images, recipe = images_of(tmp_path, labels(), f"train.workers={workers}")
    whole = list(training_batches(images, recipe, 0))
    parts = list(training_batches(images, recipe, 0, parts=3))
    assert len(parts) == 3 * len(whole)
    assert all(batch.counts is None for batch in whole)
    for number, step in enumerate(whole):
        three = parts[3 * number : 3 * number + 3]
        assert torch.equal(torch.cat([part.labels for part in three]), step.labels)
        of_step = torch.stack([(step.labels == c).sum((1, 2)) for c in range(4)], 1)
        assert torch.equal(torch.cat([part.counts.part[:, 0] for part in three]), of_step.float())
        assert all(torch.equal(part.counts.step[:, 0], of_step.float()) for part in three)
        # stride 4: pixels 2, 6, 10 … of each side
        assert torch.equal(three[0].counts.step[0, 2, 1], (step.labels[0, 2::4, 2::4] == 1).sum().float())


def test_without_mixing_an_item_is_one_view_of_its_image(tmp_path):
    images, recipe = images_of(tmp_path, labels())
    crops = TrainingCrops(images, recipe)
    for draw, row in ((0, 3), (17, 1)):
        image, label = images[row]
        rng = np.random.default_rng((recipe.seed, 1, draw))
        options = {"channels": 1, "progress": draw / 36, "source": Source(label)}
        view = draw_view(recipe.augment, rng, size=(48, 64), crop=(32, 32), **options)
        item = crops[draw, row]
        assert np.array_equal(item.labels.numpy(), view.apply_to_label(label))
        expected = standardise(view.apply_to_image(image), images.intensity)
        assert np.array_equal(item.images.numpy(), expected.transpose(2, 0, 1))
        assert item.labels.dtype == torch.int64


@pytest.mark.parametrize("settings", [EVERYTHING, EVERYTHING[:1], EVERYTHING[1:]])
def test_an_item_depends_on_its_draw_alone(tmp_path, settings):
    images, recipe = images_of(tmp_path, labels(), *settings)
    one, two = TrainingCrops(images, recipe), TrainingCrops(images, recipe)
    keys = [(draw, draw % len(one.turn)) for draw in range(20)]
    forwards = [one[key] for key in keys]
    backwards = [two[key] for key in reversed(keys)]
    assert all(alike(a, b) for a, b in zip(forwards, reversed(backwards), strict=True))
    other = TrainingCrops(images, apply_settings(recipe, ["seed=1"]))
    assert not all(alike(a, other[key]) for a, key in zip(forwards, keys, strict=True))


def test_threads_devices_and_a_later_entry_give_the_same_stream(tmp_path):
    images, recipe = images_of(tmp_path, labels(), *EVERYTHING, "train.workers=0")

    def batches(*settings, epochs=(0, 1, 2), **options):
        loader, found = training_batches(images, apply_settings(recipe, list(settings)), 1, **options), []
        for epoch in epochs:
            loader.sampler.set_epoch(epoch)
            found += list(loader)
        return found

    alone = batches()
    assert len(alone) == 12
    assert all(alike(a, b) for a, b in zip(alone, batches("train.workers=3"), strict=True))
    assert all(alike(a, b) for a, b in zip(alone[8:], batches(epochs=(2,)), strict=True))
    shares = [batches("train.devices=3", rank=rank) for rank in range(3)]
    for whole, parts in zip(alone, zip(*shares, strict=True), strict=True):
        assert torch.equal(whole.images, torch.cat([part.images for part in parts]))


@pytest.mark.parametrize("kind", MIXES)
def test_mixing_reaches_the_item_and_moves_image_and_label_together(tmp_path, kind):
    jitter = ", scale: [1, 1]" if kind == "copy_paste" else ""
    images, plain = images_of(tmp_path, labels())
    recipe = apply_settings(plain, [f"mix=[{{kind: {kind}, probability: 1{jitter}}}]"])
    before, crops, changed = TrainingCrops(images, plain), TrainingCrops(images, recipe), 0
    for draw in range(12):
        one, two = before.seen((draw, draw % 5)), crops.seen((draw, draw % 5))
        changed += not np.array_equal(one.image, two.image)
        if kind != "mixup":
            known = two.label != IGNORE
            assert np.array_equal(two.image[..., 0][known], two.label[known] * 40)
            assert (two.image[..., 0][~known] == 250).all()
            kept = one.image == two.image
            assert np.array_equal(one.label[kept[..., 0]], two.label[kept[..., 0]])
    assert changed >= 9


def test_what_is_cut_out_of_an_item_is_not_learned_from(tmp_path):
    images, plain = images_of(tmp_path, labels())
    recipe = apply_settings(plain, ["mix=[{kind: cutout, probability: 1}]"])
    before, crops = TrainingCrops(images, plain), TrainingCrops(images, recipe)
    for draw in range(6):
        one, two = before.seen((draw, draw % 5)), crops.seen((draw, draw % 5))
        changed = (one.image != two.image).any(-1)
        assert changed.any()
        assert (two.label[changed] == IGNORE).all()
        kept = two.label != IGNORE
        assert np.array_equal(one.label[kept], two.label[kept])


def test_probabilities_are_shares_and_the_view_stays(tmp_path):
    images, plain = images_of(tmp_path, labels())
    recipe = apply_settings(plain, ["mix=[{kind: cutmix, probability: 0.3}]"])
    before, crops = TrainingCrops(images, plain), TrainingCrops(images, recipe)
    changed = [not np.array_equal(before.seen((d, 0)).image, crops.seen((d, 0)).image) for d in range(400)]
    assert scipy.stats.binomtest(sum(changed), 400, 0.3).pvalue > 0.001


def test_a_schedule_says_how_often(tmp_path):
    """Falls from 1 to 0 over the first half of 12 steps of 3 draws."""
    images, plain = images_of(tmp_path, labels())
    recipe = apply_settings(plain, ["mix=[{kind: cutmix, probability: {start: 1, end: 0, over: [0, 0.5]}}]"])
    before, crops = TrainingCrops(images, plain), TrainingCrops(images, recipe)
    changed = [not np.array_equal(before.seen((d, 0)).image, crops.seen((d, 0)).image) for d in range(36)]
    assert changed[0]
    assert 3 <= sum(changed[:18]) <= 15
    assert not any(changed[18:])


def test_targets_are_those_of_the_mixed_label(tmp_path):
    mix, loss = "mix=[{kind: cutmix, probability: 1}]", "loss=[{kind: cross_entropy}, {kind: kervadec_boundary}]"
    images, recipe = images_of(tmp_path, labels(), mix, loss)
    crops = TrainingCrops(images, recipe)
    item = crops[3, 1]
    (found,) = item.targets.values()
    (expected,) = crops.targets(crops.seen((3, 1)).label).values()
    assert torch.allclose(found, expected, atol=1e-5)
    assert found.abs().max() > 1
    assert torch.equal(item.labels, torch.from_numpy(crops.seen((3, 1)).label.astype(np.int64)))


def test_blended_labels_are_shares_in_every_item(tmp_path):
    images, recipe = images_of(tmp_path, labels(), "mix=[{kind: mixup, probability: 0.5, alpha: 1}]", "train.workers=0")
    batch = next(iter(training_batches(images, recipe, 0)))
    assert batch.labels.shape == (3, 4, 32, 32)
    assert batch.labels.dtype == torch.float32
    crops, blended = TrainingCrops(images, recipe), 0
    for draw in range(20):
        seen, shares = crops.seen((draw, draw % 5)), crops[draw, draw % 5].labels.numpy()
        assert shares.sum(0) == pytest.approx((seen.label != IGNORE).astype(float), abs=1e-6)
        if seen.shares is None:
            assert set(np.unique(shares)) <= {0, 1}
            assert np.array_equal(shares.argmax(0)[seen.label != IGNORE], seen.label[seen.label != IGNORE])
        blended += seen.shares is not None
    assert 3 <= blended <= 17


@pytest.mark.parametrize("kind", MIXES)
@pytest.mark.parametrize(
    "label",
    [
        np.full((1, 1), 1, np.uint8),
        np.full((3, 5), IGNORE, np.uint8),
        np.zeros((40, 3), np.uint8),
        labels(1)[0],
    ],
    ids=["one pixel", "all ignored", "one category", "patches"],
)
def test_a_single_image_is_its_own_partner(tmp_path, kind, label):
    images, recipe = images_of(tmp_path, [label], f"mix=[{{kind: {kind}, probability: 1}}]", *EVERYTHING[1:])
    crops = TrainingCrops(images, recipe)
    for draw in range(5):
        seen = crops.seen((draw, 0))
        assert seen.image.shape == (32, 32, 1)
        assert set(np.unique(seen.label)) <= set(np.unique(label))


def test_crops_are_centred_on_what_they_were_drawn_for(tmp_path):
    images, recipe = images_of(tmp_path, labels(size=(160, 160)), "sampling={kind: balanced, centred: 1}")
    crops = TrainingCrops(images, recipe)
    middle, found = slice(15, 17), []
    for entry, category in enumerate(crops.turn.category):
        label = crops.seen((entry, entry)).label
        assert category in label
        found.append(category in label[middle, middle])
    assert np.mean(found) > 0.5  # those near a border can't be in the middle


def test_copies_are_isolated_and_nothing_else(tmp_path):
    sampling = "sampling={kind: oversample, classes: [c3], copies: 2, isolate: background, centred: 1}"
    images, recipe = images_of(tmp_path, labels(), sampling)
    crops = TrainingCrops(images, recipe)
    assert len(crops.turn) == 6  # category 3 is in the last of five alone
    copy = crops.seen((0, 5))
    assert set(np.unique(copy.label)) <= {0, 3, IGNORE}
    assert 3 in copy.label  # centred on it
    assert (copy.label == 0)[copy.image[..., 0] == 40].all()  # the image is as it was
    assert set(np.unique(crops.seen((1, 4)).label)) > {0, 1}


# ---- partners

CATEGORIES = Categories(tuple(Category(i, f"c{i}") for i in range(3)))
PIXELS = np.array([[5, 0, 0], [5, 2, 0], [5, 0, 0], [5, 1, 1], [0, 0, 0]])


def partners(spec, row, count=2000, pixels=PIXELS):
    chosen, rng = Partners.of(spec, pixels, CATEGORIES), np.random.default_rng(0)
    return [chosen.draw(row, rng) for _ in range(count)]


@pytest.mark.parametrize("row", range(5))
def test_every_other_image_is_as_likely_a_partner(row):
    rows = np.bincount([p.row for p in partners(CutMixSpec(), row)], minlength=5)
    assert rows[row] == 0
    assert scipy.stats.chisquare(np.delete(rows, row)).pvalue > 0.001


@pytest.mark.parametrize("spec", [CutMixSpec(), CopyPasteSpec(classes=("c1",))])
def test_partners_may_be_among_some_images_only(spec):
    among, rng = np.array([True, True, True, False, False]), np.random.default_rng(0)
    chosen = Partners.of(spec, PIXELS, CATEGORIES, among)
    assert {chosen.draw(4, rng).row for _ in range(200)} == ({0, 1, 2} if isinstance(spec, CutMixSpec) else {1})


@pytest.mark.parametrize("drawn", [0.25, 1])
def test_pseudo_labels_have_no_partner_whose_objects_are_missing(tmp_path, drawn):
    images, recipe = images_of(tmp_path, labels(5), "mix=[{kind: cutmix}]", f"data.drawn={drawn}")
    made = images.index.table.with_columns(pl.Series(PSEUDO, [False, True, False, True, True]))
    images = WorkingImages(replace(images.index, table=made), images.intensity, scale=1, cache=0.25)
    found = [way.partners[0].rows.tolist() for way in TrainingCrops(images, recipe).ways]
    assert found == ([[0, 2], [1, 3, 4]] if drawn < 1 else [[0, 1, 2, 3, 4]] * 2)


def test_partners_of_named_categories_hold_one_of_them_and_are_centred_on_it():
    spec = CopyPasteSpec(classes=("c1", "c2"))
    assert {p.row for p in partners(spec, 0)} == {1, 3}
    assert {p.row for p in partners(spec, 1)} == {3}
    assert {(p.row, p.focus) for p in partners(spec, 4)} == {(1, 1), (3, 1), (3, 2)}
    assert {p.row for p in partners(CopyPasteSpec(classes=("c2",)), 3)} == {3}  # there is no other
    assert set(partners(spec, 0, 3, np.zeros((4, 3), int))) == {None}
    assert {p.focus for p in partners(CutMixSpec(), 0, 50)} == {None}
