"""Classifiers of a run's objects: which truth each has seen, and what counts as a true object."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import polars as pl
import pytest

from maskwright.artifacts import RunFolder, write_table
from maskwright.data.index import SCHEMA, Index
from maskwright.data.store import ProbabilityStore
from maskwright.errors import DataError
from maskwright.instances import FEATURES, Objectness
from maskwright.instances.store import copy_objects, read_features, read_objects, write_objects
from maskwright.pipeline.objectness import Judges, fit_judges, truly_matched_things
from maskwright.types import IGNORE, Categories, Category

SIZE, IMAGES, FOLDS = (24, 24), 24, 3
CATEGORIES = Categories((Category(0, "ground", values=(0,)), Category(1, "seed", isthing=True, values=(1, 2, 3, 4))))


def boxes(seed):
    """Return (24, 24) ids of four boxes, one a corner."""
    rng, ids = np.random.default_rng(seed), np.zeros(SIZE, np.int32)
    for number, (top, left) in enumerate([(1, 1), (1, 13), (13, 1), (13, 13)], start=1):
        height, width = rng.integers(5, 10, 2)
        ids[top : top + height, left : left + width] = number
    return ids


def write_truth(root, image, ids):
    cv2.imwrite(str(root / "instances" / f"{image}.png"), ids.astype(np.uint8))


@pytest.fixture
def run(tmp_path):
    """A run whose networks found all four boxes of each image; two of them are true, and agree more."""
    root, rng = tmp_path / "data", np.random.default_rng(0)
    (root / "instances").mkdir(parents=True)
    folder, names = RunFolder(tmp_path / "run"), [f"i{n:02}" for n in range(IMAGES)]
    store = ProbabilityStore(folder.store("oof", 0))
    for number, name in enumerate(names):
        ids = boxes(number)
        write_truth(root, name, np.where(ids <= 2, ids, 0))
        features = rng.normal(size=(4, len(FEATURES)))
        features[:, FEATURES.index("agreement")] += np.array([3, 3, 0, 0])
        write_objects(store, name, ids, features)
        label = (ids > 0).astype(np.float32)
        store.write(name, np.stack([1 - label, label]))
    rows = [(f"{n}.png", None, f"instances/{n}.png", *[None] * 4, *SIZE, 1) for n in names]
    table = pl.DataFrame(rows, schema=SCHEMA, orient="row").with_columns(twin_of=pl.lit(None, pl.String))
    folds = pl.DataFrame(
        {"image": table["image"], "group": names, "fold": [number % FOLDS for number in range(IMAGES)]}
    )
    write_table(folder.folds, folds)
    return folder, Index(root, table, CATEGORIES, "instances", Path())


def test_what_a_fold_learns_from_is_chosen_without_its_truth(run):
    folder, index = run
    before = fit_judges(folder, index, 0)
    assert (before.whole.instances, before.whole.true) == (4 * IMAGES, 2 * IMAGES)
    assert before.of(-1) == before.whole and set(before.folds) == {0, 1, 2}
    features = read_features(ProbabilityStore(folder.store("oof", 0)), "i00")
    assert (before.of(0).predict(features) > 0.5).tolist() == [True, True, False, False]
    for number in range(1, IMAGES, FOLDS):  # the truth of fold 1 turns round: what is true is false
        ids = boxes(number)
        write_truth(index.root, f"i{number:02}", np.where(ids > 2, ids, 0))
    after = fit_judges(folder, index, 0)
    assert after.of(1) == before.of(1)
    assert after.of(0) != before.of(0) and after.of(2) != before.of(2) and after.whole != before.whole


def test_the_more_true_objects_nothing_matched_the_less_likely_ones_are_kept(run):
    folder, index = run
    before = fit_judges(folder, index, 0)
    assert before.whole.missed == 0
    for number in range(0, IMAGES, FOLDS):  # of fold 0: a true object where nothing was found, in the middle
        ids = boxes(number)
        truth = np.where(ids <= 2, ids, 0)
        truth[22:, 11] = 3
        write_truth(index.root, f"i{number:02}", truth)
    after = fit_judges(folder, index, 0)
    assert [after.of(fold).missed for fold in (-1, 0, 1, 2)] == [IMAGES // FOLDS, 0, *[IMAGES // FOLDS] * 2]
    assert after.whole.least < before.whole.least and after.of(0) == before.of(0)


def test_plain_data_keeps_them_and_too_few_are_the_default(run):
    folder, index = run
    found = fit_judges(folder, index, 0)
    assert Judges.from_plain(found.to_plain()) == found
    assert Judges.from_plain({"chain": []}) is None
    folds = pl.read_csv(folder.folds)
    write_table(folder.folds, folds.head(3))
    assert fit_judges(folder, index, 0).of(0).weights == ()  # 8 objects
    write_table(folder.folds, folds.with_columns(fold=pl.lit(0, pl.Int64)))
    assert fit_judges(folder, index, 0) == Judges(Objectness(), {})  # one fold: nothing is out of it


def test_images_of_which_nobody_told_the_objects_say_nothing(run):
    folder, index = run
    there = pl.col("image").is_in(index.images[:12])
    table = index.table.with_columns(mask="instances", instances=pl.when(there).then("instances"))
    found = fit_judges(folder, Index(index.root, table, CATEGORIES, "masks", Path()), 0)
    assert found.whole.instances == 48


def test_a_true_object_has_the_category_too():
    objects = np.repeat(np.int32([1, 2, 3, 4]), 5)[None]
    truth = np.repeat(np.uint8([1, 2, IGNORE, 1]), 5)[None]
    ids = np.repeat(np.int32([7, 8, 0, 0]), 5)[None]
    # the first is right, the second another thing than is said, the third ignored, the fourth a thing without a number
    found = truly_matched_things(objects, [1, 1, 1, 1], truth, ids, [1, 2])
    assert np.array_equal(found, [1, 0, np.nan, np.nan], equal_nan=True)
    assert truly_matched_things(objects * 0, [], truth, ids, [1, 2]).shape == (0,)


def test_objects_lie_beside_maps_and_are_copied(tmp_path):
    one, two = ProbabilityStore(tmp_path / "one"), ProbabilityStore(tmp_path / "two")
    ids = np.arange(70_000, dtype=np.int32).reshape(200, 350)  # more than fit into a PNG
    features = np.full((69_999, len(FEATURES)), np.nan)
    write_objects(one, "part/a.b", ids, features)
    write_objects(one, "c", boxes(0), features[:4])
    copy_objects(one, two, ["part/a.b", "c", "not there"])
    assert np.array_equal(read_objects(two, "part/a.b"), ids) and np.array_equal(read_objects(two, "c"), boxes(0))
    assert np.isnan(read_features(two, "part/a.b")).all() and read_features(two, "c").shape == (4, len(FEATURES))
    with pytest.raises(DataError, match="predict anew"):
        read_objects(two, "not there")
