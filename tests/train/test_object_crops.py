"""Ids of objects in training crops: they move with image and label, and what nobody knows is below 0.

Gray values are 5 × the id, and all geometry is flips: a pixel whose id came from elsewhere shows.
"""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.measure import label as components

from maskwright.augment import Crop
from maskwright.data.index import build_index
from maskwright.data.intensity import Intensity, unstandardise
from maskwright.errors import DataError, RecipeError
from maskwright.losses.embedding import IGNORED, UNLABELLED
from maskwright.recipe import Recipe, apply_settings
from maskwright.recipe.data import DataSpec
from maskwright.train.crops import TrainingCrops
from maskwright.train.targets import INSTANCES
from maskwright.train.working import WorkingImages

SETTINGS = (
    "augment=[{kind: flip, vertical: 0.5}]",
    "train.steps=12",
    "train.validate_every=4",
    "train.batch=3",
    "train.crop=[32, 64]",
    "train.scale=1",
)
CLASSES = {
    "categories": [
        {"id": 0, "name": "soil", "isthing": False},
        {"id": 1, "name": "crop", "isthing": True},
        {"id": 2, "name": "weed", "isthing": True},
    ],
    "ignore": 255,
}


def ids_of(i):
    """Return the (32, 64) ids of an image: squares of 6 × 6, no two of which touch."""
    ids = np.zeros((32, 64), np.uint16)
    for k in range(12):
        top, left = 8 * (k // 6) + 2, 10 * (k % 6) + 2
        ids[top : top + 6, left : left + 6] = 1 + k + 12 * i
    return ids


def crops_of(tmp_path, *settings, partial=False):
    for part in ("images", "masks", "instances"):
        (tmp_path / part).mkdir()
    for i in range(3):
        ids = ids_of(i)
        mask = np.where(ids == 0, 0, 1 + ids % 2).astype(np.uint8)
        mask[28:] = 255
        Image.fromarray((5 * ids).astype(np.uint8)).save(tmp_path / "images" / f"{i}.png")
        Image.fromarray(mask).save(tmp_path / "masks" / f"{i}.png")
        if not partial or i:
            drawn = np.where(ids % 3 == 0, 0, ids) if partial else ids
            Image.fromarray(drawn.astype(np.uint16)).save(tmp_path / "instances" / f"{i}.png")
    (tmp_path / "classes.json").write_text(json.dumps(CLASSES))
    index, section, _ = build_index(DataSpec(root=str(tmp_path), task="panoptic"))
    recipe = apply_settings(Recipe(data=section), [*SETTINGS, *settings])
    images = WorkingImages(index, Intensity.of(section), scale=1, cache=0.25, instances=True)
    return TrainingCrops(images, recipe)


def gray(crops, item):
    pixels = unstandardise(item.images.numpy().transpose(1, 2, 0), crops.images.intensity)
    return np.rint(pixels[..., 0] / 5).astype(int)


@pytest.mark.parametrize("mix", ["[]", "[{kind: cutmix, probability: 1}]"])
def test_each_object_is_one_region_of_one_gray_and_no_other_has_its_id(tmp_path, mix):
    crops = crops_of(tmp_path, f"mix={mix}")
    flipped = set()
    for draw in range(8):
        item = crops[draw, draw % 3]
        target, shown = item.targets[INSTANCES].numpy(), gray(crops, item)
        known = target >= 0
        assert np.array_equal(known, item.labels.numpy() != 255)
        assert np.array_equal(target > 0, (shown > 0) & known)
        assert all(len(np.unique(shown[target == number])) == 1 for number in np.unique(target[target > 0]))
        # scikit-image numbers regions of equal gray: with it as the oracle there are as many, none is in two
        regions = components(np.where(known, shown, 0), connectivity=2)
        pairs = np.unique(np.stack([target[target > 0], regions[target > 0]]), axis=1)
        assert len(np.unique(pairs[0])) == len(np.unique(pairs[1])) == pairs.shape[1]
        flipped.add(tuple(item.labels[0].tolist()))
    assert len(flipped) > 1  # both ways up


def test_objects_that_nobody_drew_are_no_background(tmp_path):
    crops = crops_of(tmp_path, partial=True)
    for entry in range(3):
        item = crops[entry, entry]
        target, shown, label = item.targets[INSTANCES].numpy(), gray(crops, item), item.labels.numpy()
        whole = 1 <= shown.max() <= 12  # of the first image, which has no instance map
        unknown = (label == 255) | ((shown > 0) & ((shown % 3 == 0) | whole))
        assert np.array_equal(target < 0, unknown)
        assert np.array_equal(target == 0, (shown == 0) & (label != 255))


def test_where_objects_are_known_to_be_missing_their_pixels_are_unlabelled(tmp_path):
    crops = crops_of(tmp_path, "data.drawn=0.6", partial=True)
    item = crops[1, 1]
    target, shown, label = item.targets[INSTANCES].numpy(), gray(crops, item), item.labels.numpy()
    nobodys = (shown > 0) & ((shown % 3 == 0) | (1 <= shown.max() <= 12)) & (label != 255)
    assert np.array_equal(target == UNLABELLED, nobodys) and nobodys.any()
    assert np.array_equal(target == IGNORED, label == 255)
    assert np.array_equal(target == 0, (shown == 0) & (label != 255))  # masks say that this is no thing


def test_of_partial_instance_maps_alone_the_rest_is_learned_a_little_and_never_scored(tmp_path):
    for part in ("images", "instances"):
        (tmp_path / part).mkdir()
        for i in range(2):
            ids = ids_of(i)
            Image.fromarray((5 * ids).astype(np.uint8) if part == "images" else ids).save(tmp_path / part / f"{i}.png")
    index, section, _ = build_index(DataSpec(root=str(tmp_path), task="instances", drawn=0.25))
    assert np.array_equal(index.read_label(0), np.where(ids_of(0) > 0, 1, 255))
    whole = replace(index, partial=False)
    recipe = apply_settings(Recipe(data=section), [*SETTINGS, "augment=[]"])
    crops = TrainingCrops(WorkingImages(whole, Intensity.of(section), scale=1, cache=0.25, instances=True), recipe)
    passed_over = []
    for draw in range(40):
        item = crops[draw, 0]
        target, label, shown = item.targets[INSTANCES].numpy(), item.labels.numpy(), gray(crops, item)
        assert np.array_equal(target == UNLABELLED, shown == 0)
        assert np.array_equal(label == 1, shown > 0)
        passed_over.append((label[shown == 0] == 255).mean())
    # where half of the pixels are an object's, ⅛ is drawn; 1 / 7 of the other ⅞ weighs as much: 0.25 / (2 - 0.25)
    assert np.mean(passed_over) == pytest.approx(6 / 7, abs=0.01)
    for chosen in ("predict.checkpoint=best", "selftrain.rounds=1", "train.schedule={kind: plateau}"):
        with pytest.raises(RecipeError, match=r"data\.drawn"):
            apply_settings(recipe, [chosen])
    apply_settings(recipe, ["selftrain.rounds=1", "selftrain.adopt=always"])


@pytest.mark.parametrize(("rest", "doubted"), [("ignore", IGNORED), ("unlabelled", UNLABELLED)])
def test_pseudo_labels_have_all_that_a_network_finds_however_little_is_drawn(tmp_path, rest, doubted):
    for part in ("images", "instances"):
        (tmp_path / part).mkdir()
        Image.fromarray((5 * ids_of(0)).astype(np.uint8) if part == "images" else ids_of(0)).save(
            tmp_path / part / "0.png"
        )
    index, section, _ = build_index(DataSpec(root=str(tmp_path), task="instances", drawn=0.25))
    rounds = ["selftrain.rounds=1", "selftrain.adopt=always", f"selftrain.method.objects.rest={rest}"]
    recipe = apply_settings(Recipe(data=section), [*SETTINGS, "augment=[]", *rounds])
    images = WorkingImages(replace(index, partial=False), Intensity.of(section), scale=1, cache=0.25, instances=True)
    crops = TrainingCrops(images, recipe)
    crops.pseudo[:] = True
    item = crops[0, 0]
    target, label, shown = item.targets[INSTANCES].numpy(), item.labels.numpy(), gray(crops, item)
    assert np.array_equal(label == 0, shown == 0)  # nothing is passed over
    assert np.array_equal(target == 0, shown == 0)
    crop = Crop(np.zeros((1, 2, 1), np.uint8), np.ones((1, 2), np.uint8), np.array([[0, 4]], np.int32))
    assert crops.objects(crop, pseudo=True)[INSTANCES].tolist() == [[doubted, 1]]
    assert crops.objects(crop)[INSTANCES].tolist() == [[UNLABELLED, 1]]


def test_a_semantic_recipe_has_no_ids(tmp_path):
    crops = crops_of(tmp_path, "data.task=semantic")
    assert crops[0, 0].targets == {}


@pytest.mark.parametrize(("apart", "count"), [("true", 2), ("false", 1)])
def test_parts_of_an_object_are_objects_if_one_says_so(tmp_path, apart, count):
    for part in ("images", "masks", "instances"):
        (tmp_path / part).mkdir()
    ids = np.zeros((32, 64), np.uint8)
    ids[4:9, 3:60] = 4
    ids[:, 30:34] = 0
    for part, values in (("images", ids), ("masks", ids > 0), ("instances", ids)):
        Image.fromarray(values.astype(np.uint8)).save(tmp_path / part / "a.png")
    (tmp_path / "classes.json").write_text(json.dumps(CLASSES))
    index, section, _ = build_index(DataSpec(root=str(tmp_path), task="panoptic"))
    recipe = apply_settings(Recipe(data=section), [*SETTINGS, f"instances.apart={apart}"])
    images = WorkingImages(index, Intensity.of(section), scale=1, cache=0.25, instances=True)
    target = TrainingCrops(images, recipe)[0, 0].targets[INSTANCES]
    assert torch.unique(target[target > 0]).numel() == count


def test_a_map_of_another_size_is_named(tmp_path):
    crops_of(tmp_path)
    Image.fromarray(np.zeros((31, 64), np.uint8)).save(tmp_path / "instances" / "1.png")
    index, section, _ = build_index(DataSpec(root=str(tmp_path), task="panoptic"))
    with pytest.raises(DataError, match=r"64×31(.|\n)*instances/1.png"):
        WorkingImages(index, Intensity.of(section), scale=1, cache=0.25, instances=True)
