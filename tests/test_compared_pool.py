"""What rounds learned from beside what is true of the pool: worked by hand, and in a run whose pool has true maps."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from PIL import Image

from maskwright.data.formats.files import name_of
from maskwright.data.index import build_index
from maskwright.data.synthetic import make_playground
from maskwright.pipeline.comparing import compare_objects
from maskwright.recipe.data import DataSpec
from test_objects_run import maskwright
from test_objects_selftrain import command

CLASSES = '{"categories": [{"id": 0, "name": "floor"}, {"id": 1, "name": "cup", "isthing": true}, '
CLASSES += '{"id": 2, "name": "box", "isthing": true}]}'


def folder_of(root, mask, ids):
    for part, pixels in (("images", np.zeros((*mask.shape, 3))), ("masks", mask), ("instances", ids)):
        (root / part).mkdir(parents=True)
        Image.fromarray(pixels.astype(np.uint8)).save(root / part / "a.png")
    (root / "classes.json").write_text(CLASSES)
    return build_index(DataSpec(root=str(root), task="panoptic"), root / "imported")[0]


def test_true_false_missed_and_not_known(tmp_path):
    """Rows of pixels, one after the other.

    True: cup 1 (4 pixels), cup 2 (4), a cup without a number (4), box 3 (4), floor (4).
    Learned: 1 is 3 of cup 1's pixels: IoU 3/4, true. 2 is a box where cup 2 is: false, and cup 2 is missed. 3 lies on
    the cup that nobody numbered: not known. 4 is a cup on the floor: false. Box 3 has an object of whose pixels none is
    labelled, from which nothing is learned: missed.
    """
    mask = np.repeat([[1, 1, 1, 2, 0]], 4, axis=1)
    ids = np.repeat([[1, 2, 0, 3, 0]], 4, axis=1)
    whole = folder_of(tmp_path, mask, ids)
    label = np.uint8([[1, 1, 1, 255, 2, 2, 2, 2, 1, 1, 1, 1, 255, 255, 255, 255, 1, 1, 1, 1]])
    learned = np.int32([[1, 1, 1, 0, 3, 3, 3, 3, 5, 5, 5, 5, 4, 4, 4, 4, 9, 9, 9, 9]])
    found = compare_objects(whole, "images/a.png", label, learned)
    assert np.unique(found.ids).tolist() == [0, 1, 2, 3, 4] and not found.ids[learned == 4].any()
    assert found.owners.tolist() == [1, 2, 1, 1]
    assert np.array_equal(found.right, [1, 0, np.nan, 0], equal_nan=True)
    assert found.missing.tolist() == [0, 1, 1]
    assert np.unique(found.missed).size == 3 and not found.missed[ids == 1].any()
    assert (found.missed > 0).tolist() == (np.isin(ids, [2, 3])).tolist()


def test_an_object_that_matches_where_the_truth_is_known_is_not_missed_too(tmp_path):
    mask, ids = np.repeat([[1, 0]], [13, 7], axis=1), np.repeat([[1, 0]], [5, 15], axis=1)
    (tmp_path / "data").mkdir()
    whole = folder_of(tmp_path / "data" / "one", mask, ids)
    learned = np.repeat([[1, 0]], [13, 7], axis=1)  # 8 of its pixels are of nobody knows which cup
    found = compare_objects(whole, "images/a.png", learned.astype(np.uint8), learned.astype(np.int32))
    assert found.right.tolist() == [1] and not found.missing.any() and not found.missed.any()


def test_nothing_was_learned_from_and_nothing_is_true(tmp_path):
    mask = np.repeat([[1, 0]], 4, axis=1)
    none = np.zeros((1, 8), np.int32)
    found = compare_objects(folder_of(tmp_path / "one", mask, mask), "images/a.png", mask.astype(np.uint8), none)
    assert found.owners.shape == found.right.shape == (0,) and found.missing.tolist() == [0, 1, 0]
    empty = folder_of(tmp_path / "two", np.repeat([[1, 2, 0]], 4, axis=1), np.zeros((1, 12), np.int32))
    label, ids = np.zeros((1, 12), np.uint8), np.int32([[0] * 8 + [1] * 4])
    label[0, 8:] = 1
    found = compare_objects(empty, "images/a.png", label, ids)
    assert found.right.tolist() == [0] and not found.missed.any()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_study_counts_and_draws_what_it_learned_from(tmp_path):
    data, out = tmp_path / "data", tmp_path / "run"
    make_playground(data, labelled=9, unlabelled=1, size=(40, 64), planted=False)
    maskwright(
        *command(
            data,
            out,
            **{"report.compare_pool": "true", "report.thumbnails": "2", "selftrain.method.pixels.value": "0.01"},
        )
    )
    found = pl.read_parquet(out / "round-1" / "pseudo" / "compared.parquet")
    ledger = pl.read_parquet(out / "round-1" / "pseudo" / "ledger.parquet").filter("used")
    both = found.join(ledger, on=["fold", "image", "category"])
    assert both.height == found.height > 0
    assert (both["true"] + both["false"] + both["unknown"]).sum() == both["objects_kept"].sum()
    assert "images/unlabeled" not in " ".join(found["image"])  # it has no true map
    for image in found.filter("drawn")["image"].unique():
        with Image.open(out / "round-1" / "pseudo" / "compared" / f"{name_of(image)}.jpg") as picture:
            assert picture.size == (3 * 64 + 2 * 4, 40)
    text = (out / "predictions" / "report.html").read_text()
    assert "Learned objects beside the true ones" in text and "true of those known" in text
    assert "Out-of-fold objects: numbers over the rounds" in text
    assert "Objects that were learned from: numbers over the rounds" in text
