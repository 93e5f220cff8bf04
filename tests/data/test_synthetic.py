"""The playground: what is planted is there, the truth fits the pictures, and a seed gives the same bytes."""

import csv
import json

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from PIL import Image

from maskwright.augment.dihedral import apply
from maskwright.data.scenes import CATEGORIES, draw_layout, draw_views, render
from maskwright.data.synthetic import make_playground
from maskwright.errors import UsageError

PARTS = ("images", "masks", "instances", "unlabeled")


@pytest.fixture(scope="module")
def playground(tmp_path_factory):
    folder = tmp_path_factory.mktemp("playground")
    return folder, make_playground(folder)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    folder = tmp_path_factory.mktemp("small")
    return folder, make_playground(folder, seed=5, labelled=16, unlabelled=2, size=(40, 56))


def read(folder, part, name):
    with Image.open(folder / part / f"{name}.png") as file:
        return np.asarray(file)


def stems(folder, part):
    return sorted(path.stem for path in (folder / part).iterdir())


def labels(folder, name):
    return [read(folder, part, name) for part in PARTS[:3]]


def test_the_folder_is_a_data_folder(playground):
    folder, _ = playground
    assert stems(folder, "images") == stems(folder, "masks") == stems(folder, "instances")
    assert (len(stems(folder, "images")), len(stems(folder, "unlabeled"))) == (64, 24)
    with (folder / "meta.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert sorted(row["name"] for row in rows) == sorted(stems(folder, "images") + stems(folder, "unlabeled"))
    assert {row["kind"] for row in rows} == {"scene", "copy", "alien"}
    scenes = [row["scene"] for row in rows if row["kind"] == "scene"]
    assert max(scenes.count(scene) for scene in scenes) == 4
    categories = json.loads((folder / "classes.json").read_text())["categories"]
    assert [(c["id"], c["name"], c["isthing"]) for c in categories] == [
        (0, "sky", False), (1, "ground", False), (2, "water", False), (3, "rock", True), (4, "plant", True)
    ]  # fmt: skip


def test_file_types(playground):
    folder, _ = playground
    for part, mode in zip(PARTS, ("RGB", "P", "I;16", "RGB"), strict=True):
        with Image.open(folder / part / f"{stems(folder, part)[0]}.png") as file:
            assert (file.mode, file.size) == (mode, (128, 96))
    with Image.open(next((folder / "masks").iterdir())) as file:
        assert tuple(file.getpalette()[9:12]) == CATEGORIES[3].color


def test_every_category_is_common_enough_to_learn(playground):
    folder, _ = playground
    masks = [read(folder, "masks", name) for name in stems(folder, "masks")]
    share = sum(np.bincount(mask.ravel(), minlength=5) for mask in masks) / sum(mask.size for mask in masks)
    assert len(share) == 5
    assert (share > 0.03).all(), share
    assert (share < 0.7).all(), share


def test_instances_are_numbered_things(playground):
    folder, _ = playground
    for name in stems(folder, "masks"):
        _, mask, ids = labels(folder, name)
        assert_array_equal(ids > 0, mask >= 3)
        assert_array_equal(np.unique(np.append(ids, 0)), np.arange(ids.max() + 1))
        for number in range(1, ids.max() + 1):
            assert len(np.unique(mask[ids == number])) == 1


def test_exact_copies(playground):
    folder, planted = playground
    assert len(planted["exact"]) == 2
    for a, b in planted["exact"]:
        for first, second in zip(labels(folder, a), labels(folder, b), strict=True):
            assert_array_equal(first, second)


def test_flipped_copies(playground):
    folder, planted = playground
    assert [transform for *_, transform in planted["flipped"]] == ["flip_lr", "rotate_180", "rotate_90"]
    for a, b, transform in planted["flipped"]:
        for first, second in zip(labels(folder, a), labels(folder, b), strict=True):
            assert_array_equal(first, apply(second, transform))


def test_conflicting_copies(playground):
    folder, planted = playground
    ((a, b),) = planted["conflict"]
    (image, mask, ids), (other_image, other_mask, other_ids) = labels(folder, a), labels(folder, b)
    assert_array_equal(image, other_image)
    assert 0.02 < (mask != other_mask).mean() < 0.3
    assert other_ids.max() < ids.max()
    assert_array_equal(other_ids > 0, other_mask >= 3)


def test_twins_and_aliens(playground):
    folder, planted = playground
    ((labelled, unlabelled),) = planted["twins"]
    assert_array_equal(read(folder, "images", labelled), read(folder, "unlabeled", unlabelled))
    assert len(planted["aliens"]) == 3
    for name in stems(folder, "masks"):
        assert (not read(folder, "masks", name).any()) == (name in planted["aliens"])


def test_nothing_else_is_planted(playground):
    folder, _ = playground
    pictures = [read(folder, part, name).tobytes() for part in ("images", "unlabeled") for name in stems(folder, part)]
    assert len(pictures) - len(set(pictures)) == 2 + 1 + 1  # exact copies, the conflict, the twin


def test_a_seed_gives_the_same_bytes(small, tmp_path):
    folder, planted = small
    assert make_playground(tmp_path, seed=5, labelled=16, unlabelled=2, size=(40, 56)) == planted
    files = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file())
    assert len(files) == 3 * 16 + 2 + 2
    assert all((folder / path).read_bytes() == (tmp_path / path).read_bytes() for path in files)


def test_another_seed_gives_other_scenes(small, tmp_path):
    make_playground(tmp_path, seed=6, labelled=16, unlabelled=2, size=(40, 56))
    assert (read(tmp_path, "images", "s01_1") != read(small[0], "images", "s01_1")).any()


def test_without_plants(tmp_path):
    planted = make_playground(tmp_path, labelled=1, unlabelled=0, size=(32, 32), planted=False)
    assert planted == {"exact": [], "flipped": [], "conflict": [], "twins": [], "aliens": []}
    assert [path.name for path in tmp_path.glob("*/*.png")] == ["s01_1.png"] * 3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"labelled": 15}, "at least 16 labelled and 1 unlabelled"),
        ({"unlabelled": 0}, "64 and 0 of 96×128"),
        ({"size": (31, 64)}, "31×64"),
        ({"labelled": 0, "planted": False}, "at least 1 labelled and 0 unlabelled"),
    ],
)
def test_too_small_is_an_error(tmp_path, arguments, said):
    with pytest.raises(UsageError, match=said):
        make_playground(tmp_path, **arguments)
    assert not list(tmp_path.iterdir())


def test_other_images_are_not_mixed_in(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "mine.png").write_bytes(b"")
    with pytest.raises(UsageError, match=r"1 other files, such as images.mine\.png"):
        make_playground(tmp_path, labelled=1, unlabelled=0, planted=False)
    assert not (tmp_path / "masks").exists()


def test_a_scene_shows_its_layout_whatever_the_noise():
    rng = np.random.default_rng(1)
    layout, (view, other) = draw_layout(rng), draw_views(2, rng)
    one, two = (render(layout, view, (48, 64), np.random.default_rng(seed)) for seed in (1, 2))
    assert_array_equal(one.mask, two.mask)
    assert (one.image != two.image).any()
    assert (render(layout, other, (48, 64), rng).mask != one.mask).any()
