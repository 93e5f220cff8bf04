"""Duplicates: planted ones are found with their transform and nothing else is; real sets with known copies."""

import os
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from maskwright.audit.duplicates import Duplicate, clusters, find_duplicates
from maskwright.audit.hashing import hashes, thumbnail
from maskwright.augment.dihedral import DIHEDRAL, apply
from maskwright.data.synthetic import make_playground

DATA = Path(os.environ.get("MASKWRIGHT_DATA", "/nonexistent"))
real = pytest.mark.skipif(not DATA.is_dir(), reason="MASKWRIGHT_DATA names no folder")


def search(images, **options):
    thumbnails = np.stack([thumbnail(image) for image in images])
    return find_duplicates(thumbnails, hashes(thumbnails), **options)


def search_files(paths):
    """Return the duplicates, and the stems of the files."""
    images = []
    for path in paths:
        with Image.open(path) as file:
            images.append(np.asarray(file))
    return search(images), [path.stem for path in paths]


def picture(seed, height=60, width=80):
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 8), np.uint8))
    return np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC))


@pytest.mark.parametrize("name", DIHEDRAL)
def test_a_turned_copy_is_found_with_the_transform_that_brings_it_back(name):
    original, other = picture(1), picture(2)
    copy = original[[*range(60)]].astype(int) + np.random.default_rng(0).integers(-4, 5, original.shape)
    turned = np.clip(copy, 0, 255).astype(np.uint8)
    second = next(apply(turned, t) for t in DIHEDRAL if np.array_equal(apply(apply(turned, t), name), turned))
    (found,) = search([other, original, second])
    assert (found.first, found.second, found.transform) == (1, 2, name)
    assert found.distance <= 2
    assert 0.99 < found.correlation <= 1


def test_correlation_is_numpys():
    a, b = picture(1), np.clip(picture(1).astype(int) + picture(5) // 12, 0, 255)
    (found,) = search([a, b], radius=20)
    assert_allclose(found.correlation, np.corrcoef(thumbnail(a).ravel(), thumbnail(b).ravel())[0, 1], rtol=1e-5)


def test_thresholds():
    a, b = picture(1), np.clip(picture(1).astype(int) + picture(5) // 12, 0, 255)
    (found,) = search([a, b], radius=20)
    assert found.distance > 0
    assert search([a, b], radius=found.distance - 1) == []
    assert search([a, b], radius=20, correlation=found.correlation + 1e-3) == []


def test_brighter_copies_and_other_sizes_are_duplicates():
    a = picture(1)
    small = np.asarray(Image.fromarray(a).resize((64, 48), Image.Resampling.BOX))
    assert [(d.first, d.second) for d in search([a, a // 2 + 90, small])] == [(0, 1), (0, 2), (1, 2)]


def test_a_symmetric_picture_is_not_called_turned():
    ys, xs = np.mgrid[-15.5:16, -15.5:16]
    disc = np.float32(np.hypot(xs, ys) < 9)
    assert [d.transform for d in search([disc, disc])] == ["identity"]


def test_flat_images_are_compared_by_value():
    shades = [100, 7, 100, 0, 7, 0, 100]
    images = [np.full((9, 9), shade, np.uint8) for shade in shades]
    expected = [Duplicate(0, 2, "identity", 0, 1.0), Duplicate(0, 6, "identity", 0, 1.0)]
    expected += [Duplicate(1, 4, "identity", 0, 1.0), Duplicate(3, 5, "identity", 0, 1.0)]
    assert search(images) == expected
    assert search([picture(0), images[0], picture(3)]) == []


def test_a_million_flat_pairs_are_a_star():
    thumbnails = np.zeros((1500, 32, 32), np.float32)
    assert len(find_duplicates(thumbnails, hashes(thumbnails))) == 1499


def crowd(n, noise, seed=0):
    """Frames of a camera that stands still."""
    base = thumbnail(picture(7, 200, 200))
    return base + np.random.default_rng(seed).normal(0, noise, (n, 32, 32)).astype(np.float32)


def groups_of(n, found):
    return clusters(n, [(d.first, d.second) for d in found])


def test_a_crowd_with_the_same_hashes_is_a_star():
    thumbnails = crowd(300, 1e-3)
    table = hashes(thumbnails)
    assert len(np.unique(table, axis=0)) == 1
    found = find_duplicates(thumbnails, table)
    assert [(d.first, d.second) for d in found] == [(0, k) for k in range(1, 300)]


def test_two_pictures_that_share_their_hashes_are_not_mixed_up():
    # steep and gentle: one has most of its change at the right, which the signs of the DCT's terms don't tell
    a, b = (np.tile(np.linspace(0, 1, 32) ** power, (32, 1)).astype(np.float32) for power in (1.5, 6.0))
    thumbnails = np.stack([a, b] * 100)
    table = np.tile(hashes(a), (200, 1))
    assert groups_of(200, find_duplicates(thumbnails, table)) == [list(range(0, 200, 2)), list(range(1, 200, 2))]


def test_a_crowd_with_many_hashes_is_connected_by_fewer_than_all_pairs():
    thumbnails = crowd(1500, 5)
    table = hashes(thumbnails)
    assert len(np.unique(table, axis=0)) > 300
    found = find_duplicates(thumbnails, table)
    assert groups_of(1500, found) == [list(range(1500))]
    assert len(found) < 1500 * 1499 / 2 / 20


def test_small_groups_are_listed_with_all_pairs():
    found = find_duplicates(crowd(60, 1e-3), hashes(crowd(60, 1e-3)))
    assert len(found) == 60 * 59 / 2


@pytest.mark.parametrize("n", [0, 1])
def test_too_few_images(n):
    thumbnails = np.stack([thumbnail(picture(i)) for i in range(2)])[:n]
    assert find_duplicates(thumbnails, hashes(thumbnails)) == []


def test_noise_is_no_duplicate_of_noise():
    rng = np.random.default_rng(0)
    thumbnails = rng.random((400, 32, 32)).astype(np.float32)
    assert find_duplicates(thumbnails, hashes(thumbnails)) == []


def test_everything_planted_in_the_playground_is_found_and_nothing_else(tmp_path):
    planted = make_playground(tmp_path)
    found, stems = search_files(sorted(tmp_path.glob("images/*")) + sorted(tmp_path.glob("unlabeled/*")))
    copies = [*planted["exact"], *planted["conflict"], *planted["twins"]]
    expected = {(a, b): "identity" for a, b in copies} | {(a, b): transform for a, b, transform in planted["flipped"]}
    assert {(stems[d.first], stems[d.second]): d.transform for d in found} == expected


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=12))
def test_clusters_equal_scipys_components(pairs):
    a, b = np.array(pairs, int).reshape(-1, 2).T
    numbers = connected_components(coo_array((np.ones(len(a)), (a, b)), shape=(10, 10)), directed=False)[1]
    groups = [np.flatnonzero(numbers == number).tolist() for number in dict.fromkeys(numbers.tolist())]
    assert clusters(10, pairs) == [group for group in groups if len(group) > 1]


def test_a_long_chain_is_one_cluster():
    assert clusters(5000, ((i, i + 1) for i in range(4999))) == [list(range(5000))]
    assert clusters(0, []) == []


@real
@pytest.mark.realdata
def test_real_flipped_copies_of_mars_rocks():
    paths = sorted(DATA.glob("marsdata_rocks/images/*"))
    copies = sorted(DATA.glob("marsdata_rocks/duplicates/images/*"))
    found, stems = search_files(paths + copies)
    wanted = {"_hf": "flip_lr", "_vf": "flip_ud"}
    groups = [re.sub(r"_(hf|vf|rccw|rcw|sup|tup|warp)$", "", stem) for stem in stems]
    truth = {(groups[i], stem[-3:]) for i, stem in enumerate(stems) if stem[-3:] in wanted and i >= len(paths)}
    hits = {
        (groups[d.first], stems[d.second][-3:])
        for d in found
        if d.first < len(paths) <= d.second
        and groups[d.first] == groups[d.second]
        and wanted.get(stems[d.second][-3:]) == d.transform
    }
    right = sum(groups[d.first] == groups[d.second] for d in found)
    assert len(truth) == 64
    assert len(hits & truth) >= 0.95 * len(truth)  # measured: 64 of 64
    assert right >= 0.95 * len(found)  # measured: 80 of 80, the copies' own pairs among them


@real
@pytest.mark.realdata
def test_mars_terrain_without_duplicates():
    paths = sorted(DATA.glob("mars_gray/images/*")) + sorted(DATA.glob("mars_gray/unlabeled/*"))
    found, stems = search_files(paths)
    assert len(found) <= 3, Counter((stems[d.first], stems[d.second]) for d in found)  # measured: 0 of 1049 images


@real
@pytest.mark.realdata
def test_the_x_ray_that_is_there_twice():
    found, stems = search_files(sorted(DATA.glob("teeth/images/*")))
    assert [(stems[d.first], stems[d.second], d.transform) for d in found] == [
        ("cate4-00101", "cate4-00107", "identity")
    ]
