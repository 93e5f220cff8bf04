"""Views of images without labels: where their pixels come from, that they agree, and that they come again."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from maskwright.data.index import build_index
from maskwright.data.intensity import Intensity, unstandardise
from maskwright.errors import DataError, RecipeError
from maskwright.pipeline.rounds import round_recipe
from maskwright.recipe import Recipe, apply_settings
from maskwright.recipe.data import DataSpec
from maskwright.train.batch import PoolBatch
from maskwright.train.loader import training_batches
from maskwright.train.unlabelled import build_views
from maskwright.train.unlabelled.pool import PoolStream, pool_batch
from maskwright.train.working import WorkingImages

SETTINGS = ("train.steps=6", "train.validate_every=3", "train.batch=2", "train.crop=[64, 96]", "train.scale=1")
SIZES = [(64, 96), (20, 300), (200, 31), (1, 1), (70, 100)]


@pytest.fixture(params=["gray", "colour"])
def data(request, tmp_path):
    """Three labelled images, and five others of any size; each pixel tells its place."""
    for folder in ("images", "masks", "unlabeled"):
        (tmp_path / folder).mkdir()
    for i in range(3):
        values = np.random.default_rng(i).integers(0, 255, (64, 96, 3) if request.param == "colour" else (64, 96))
        Image.fromarray(values.astype(np.uint8)).save(tmp_path / "images" / f"{i}.png")
        Image.fromarray((np.arange(64 * 96).reshape(64, 96) % 2).astype(np.uint8)).save(tmp_path / "masks" / f"{i}.png")
    for i, (height, width) in enumerate(SIZES):
        y, x = np.mgrid[:height, :width]
        values = np.stack([x * 200 / width, y * 200 / height, 0 * x + 50], -1).astype(np.uint8)
        Image.fromarray(values if request.param == "colour" else values[..., 0]).save(
            tmp_path / "unlabeled" / f"u{i}.png"
        )
    index, section, _ = build_index(DataSpec(root=str(tmp_path)))
    return index, Recipe(data=section)


def stream(data, *settings):
    index, recipe = data
    recipe = apply_settings(recipe, [*SETTINGS, *settings])
    images = WorkingImages(index.unlabelled, Intensity.of(recipe.data), scale=recipe.train.scale, cache=0, labels=False)
    return PoolStream.of(images, recipe, 1, build_views(recipe)), images, recipe


PLAIN = "selftrain.method={kind: fixmatch, strong: [], views: 2}"


def test_pixels_come_from_where_the_matrices_say(data):
    """A view's pixel has the value that bilinear interpolation has at its place in the image, where that is inside."""
    found, images, _ = stream(data, PLAIN, "augment=[{kind: flip}, {kind: affine, probability: 1, rotate: 30}]")
    y, x = np.mgrid[:64, :96].astype(float)
    for number, row in found.keys(0) + found.keys(1):
        item = found.crops[number, row]
        image = images.image(row).astype(float)
        height, width = image.shape[:2]
        matrix = item.matrices[0].numpy().astype(float)
        px = matrix[0, 0] * x + matrix[0, 1] * y + matrix[0, 2]
        py = matrix[1, 0] * x + matrix[1, 1] * y + matrix[1, 2]
        inside = (px >= -0.5) & (px < width - 0.5) & (py >= -0.5) & (py < height - 0.5)
        sure = np.minimum(np.abs(np.modf(px + 1000.5)[0] - 0.5), 1) < 2  # all
        border = np.min([np.abs(px + 0.5), np.abs(px - width + 0.5), np.abs(py + 0.5), np.abs(py - height + 0.5)], 0)
        certain = sure & (border > 0.05)
        np.testing.assert_array_equal(item.valid[0].numpy()[certain], inside[certain])
        deep = (px >= 0) & (px <= width - 1) & (py >= 0) & (py <= height - 1)
        if not deep.any():
            continue
        x0, y0 = np.floor(px[deep]).astype(int), np.floor(py[deep]).astype(int)
        x1, y1 = np.minimum(x0 + 1, width - 1), np.minimum(y0 + 1, height - 1)
        fx, fy = (px[deep] - x0)[:, None], (py[deep] - y0)[:, None]
        top = image[y0, x0] * (1 - fx) + image[y0, x1] * fx
        bottom = image[y1, x0] * (1 - fx) + image[y1, x1] * fx
        seen = unstandardise(item.clean[0].numpy().transpose(1, 2, 0), images.intensity)[deep]
        np.testing.assert_allclose(seen, top * (1 - fy) + bottom * fy, atol=4)  # OpenCV's weights have five bits


def test_noisy_views_show_the_same_pixels(data):
    found, *_ = stream(data, PLAIN)
    item = found.crops[found.keys(0)[0]]
    assert item.noisy.shape[0] == 2
    assert torch.equal(item.noisy[0], item.clean[0])
    strong, *_ = stream(data, "selftrain.method={kind: fixmatch, strong: [{kind: brightness, probability: 1}]}")
    item, first = strong.crops[strong.keys(0)[0]], found.crops[found.keys(0)[0]]
    assert torch.equal(item.clean, first.clean)  # geometry is drawn first
    assert not torch.equal(item.noisy, item.clean)


def test_a_draw_is_the_same_in_every_run(data):
    method = "selftrain.method={kind: fixmatch, mix: {kind: cutmix}, cutout: 0.5, masked: {block: 16}, noise: 0.1}"
    one, two = stream(data, method)[0], stream(data, method)[0]
    assert one.keys(1) == two.keys(1)
    for key in one.keys(0):
        first, second = one.crops[key], two.crops[key]
        for a, b in zip((*first[:4], *first.drawn.values()), (*second[:4], *second.drawn.values()), strict=True):
            assert torch.equal(a, b)
    assert {"boxes", "cutout", "masked"} == set(first.drawn)
    assert first.drawn["masked"].shape == (4, 6)


def test_noise_is_the_teachers_alone_and_limited(data):
    quiet = stream(data, "selftrain.method={kind: fixmatch, strong: []}")[0]
    noisy, images, _ = stream(data, "selftrain.method={kind: mean_teacher}")
    key = quiet.keys(0)[0]
    first, second = quiet.crops[key], noisy.crops[key]
    assert torch.equal(first.noisy, second.noisy)
    std = torch.tensor(images.intensity.std).reshape(-1, 1, 1)
    difference = (second.clean - first.clean)[0] * std  # as a share of the value range
    assert float(difference.abs().max()) <= 0.2 + 1e-5
    assert float(difference.std()) == pytest.approx(0.095, abs=0.01)  # .1, cut off at two of it


def test_cutout_fills_a_box_with_noise(data):
    found, *_ = stream(data, "selftrain.method={kind: fixmatch, strong: [], cutout: 1, views: 2}")
    item = found.crops[found.keys(0)[0]]
    for view in range(2):
        top, left, height, width = item.drawn["cutout"][view].tolist()
        changed = (item.noisy[view] != item.clean[0]).any(0)
        outside = changed.clone()
        outside[top : top + height, left : left + width] = False
        assert not outside.any()
        assert changed[top : top + height, left : left + width].float().mean() > 0.9


def test_batches_hold_both(data):
    index, _ = data
    found, images, recipe = stream(data, "selftrain.method={kind: unimatch, batch: 3}")
    labelled = WorkingImages(index.labelled, images.intensity, scale=1, cache=0)
    batches = list(training_batches(labelled, recipe, 1, pool=found))
    assert len(batches) == 3
    channels = images.intensity.channels
    for batch in batches:
        assert batch.images.shape == (2, channels, 64, 96)
        assert batch.pool.clean.shape == (3, 1, channels, 64, 96)
        assert batch.pool.noisy.shape == (3, 2, channels, 64, 96)
        assert batch.pool.drawn["boxes"].shape == (3, 2, 4)
    again = PoolBatch.of([found.crops[key] for key in found.keys(0)[3:6]])
    assert torch.equal(batches[1].pool.noisy, again.noisy)
    alone = list(training_batches(labelled, recipe, 1))
    assert all(torch.equal(a.images, b.images) for a, b in zip(batches, alone, strict=True))
    assert alone[0].pool is None


def test_two_devices_and_two_parts_share_a_step(data):
    index, _ = data
    found, images, recipe = stream(data, "selftrain.method={kind: fixmatch, batch: 4}", "train.workers=0")
    labelled = WorkingImages(index.labelled, images.intensity, scale=1, cache=0)
    whole = next(iter(training_batches(labelled, recipe, 1, pool=found))).pool.clean
    both = apply_settings(recipe, ["train.devices=2"])
    shares = [next(iter(training_batches(labelled, both, 1, rank=r, pool=found))).pool.clean for r in (0, 1)]
    assert torch.equal(torch.stack(shares, 1).flatten(0, 1), whole)
    halves = PoolStream.of(images, recipe, 1, build_views(recipe), parts=2)
    parts = list(training_batches(labelled, recipe, 1, parts=2, pool=halves))[:2]
    assert torch.equal(torch.cat([part.pool.clean for part in parts]), whole)
    assert parts[0].counts is not None


def test_a_batch_that_can_not_be_shared_out(data):
    _, recipe = data
    recipe = apply_settings(recipe, [*SETTINGS, "train.accumulate=2", "selftrain.method={kind: fixmatch, batch: 3}"])
    with pytest.raises(RecipeError, match="take 4"):
        pool_batch(recipe)


def test_a_file_that_is_no_image_of_ours_is_named(data, tmp_path):
    index, _ = data
    found, *_ = stream(data, PLAIN)
    place = index.unlabelled.images[0]
    tifffile.imwrite(tmp_path / "five.tif", np.zeros((5, 8, 8, 2), np.float32), photometric="minisblack")
    (tmp_path / place).write_bytes((tmp_path / "five.tif").read_bytes())
    with pytest.raises(DataError, match="u0"):
        found.crops[0, 0]


def test_a_further_round_draws_otherwise_and_the_first_one_as_the_supervised_training(data):
    """A round that went on from the one before by the same draws would learn again from the very same views."""
    found, images, recipe = stream(data, PLAIN, "selftrain.rounds=3")

    def of(number):
        own = round_recipe(recipe, recipe.selftrain, {"round": number, "step": "train"}, None)
        return PoolStream.of(images, own, 1, build_views(own))

    keys = [of(number).keys(0) for number in (1, 2, 3)]
    assert keys[0] == found.keys(0)
    assert len({tuple(one) for one in keys}) == 3
    same = [other.crops[keys[0][0]].noisy for other in (found, of(1), of(2))]
    assert torch.equal(same[0], same[1])
    assert not torch.equal(same[0], same[2])
