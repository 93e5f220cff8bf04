"""The pool of a fold, and the index that a round trains on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from maskwright.artifacts import MADE
from maskwright.data.index import PSEUDO, SCHEMA, SOFT, WEIGHT, Index
from maskwright.selftrain import blocked_images, image_weights, pool_images, split_steps, training_index
from maskwright.types import Categories, Category

FOLDS = pl.DataFrame(
    [("a", "p", 0), ("b", "q", 1), ("c", "r", -1), ("d", "p", 0), ("x", "q", None)],
    schema={"image": pl.String, "group": pl.String, "fold": pl.Int64},
    orient="row",
)
INDEX = pl.DataFrame(
    [("a", "p"), ("b", "q"), ("c", "r"), ("d", "p"), ("x", "q"), ("u", "p"), ("v", None), ("w", None), ("z", "r")],
    schema={"image": pl.String, "group": pl.String},
    orient="row",
)


def test_what_shows_the_fold_or_the_held_out_part_is_blocked():
    # fold 0: a, d and their group's u; c held out and its group's z; w is a copy of a; x is of fold 1's group alone
    assert blocked_images(INDEX, FOLDS, [["a", "w"]], 0) == {"a", "d", "u", "c", "z", "w"}
    assert blocked_images(INDEX, FOLDS, [["a", "w"]], 1) == {"b", "x", "c", "z"}
    assert blocked_images(INDEX, FOLDS, [], None) == {"c", "z"}


def test_copies_of_copies_and_their_groups_are_blocked_in_whatever_order_they_are_named():
    # of fold 0: w is a copy of a, v one of w, and v's group has o, too
    index = pl.concat([INDEX.filter(pl.col("image") != "v"), pl.DataFrame({"image": ["v", "o"], "group": ["s", "s"]})])
    for clusters in ([["v", "w"], ["a", "w"]], [["a", "w"], ["v", "w"]]):
        assert blocked_images(index, FOLDS, clusters, 0) == {"a", "d", "u", "c", "z", "w", "v", "o"}


def test_images_without_a_group_are_no_group():
    assert "v" not in blocked_images(INDEX.with_columns(group=pl.lit(None, pl.String)), FOLDS, [], 0)


def test_the_pool_is_what_is_left():
    assert pool_images(["u", "v", "w", "z"], {"u", "z"}, {"w"}) == ["v"]


def index():
    rows = [(n, f"{n}.png" if n < "m" else None, *[None] * 5, 4, 4, 3) for n in "abuv"]
    table = pl.DataFrame(rows, schema=SCHEMA, orient="row")
    return Index(
        Path("/data"), table, Categories((Category(0, "no"), Category(1, "yes"))), imported=Path("/run/imported")
    )


def test_labelled_images_come_as_often_as_the_pool():
    labels = {"u": f"{MADE}round-1/pseudo/fold-0/labels/u.png", "v": f"{MADE}round-1/pseudo/fold-0/labels/v.png"}
    found = training_index(index(), ["a"], labels, share=0.5)
    assert found.images == ["a", "u", "v"]
    assert found.table[PSEUDO].to_list() == [False, True, True]
    assert found.table[WEIGHT].to_list() == [2.0, 1.0, 1.0]
    assert found.table[SOFT].to_list() == [None, None, None]
    assert found.path(found.table["mask"][1]) == Path("/run/round-1/pseudo/fold-0/labels/u.png")


def test_hard_images_come_more_often():
    found = training_index(index(), ["a", "b"], {}, often=["b", "u"], times=3.0)
    assert found.table[WEIGHT].to_list() == [1.0, 3.0]


@pytest.mark.parametrize(("labelled", "pseudo", "share"), [(7, 90, 0.5), (90, 7, 0.5), (10, 10, 0.8), (3, 50, 0.2)])
def test_the_share_of_the_crops_is_the_one_asked_for(labelled, pseudo, share):
    one, other = image_weights(labelled, pseudo, share)
    assert labelled * one / (labelled * one + pseudo * other) == pytest.approx(share)
    assert min(one, other) == 1


@pytest.mark.parametrize("share", [0.5, 0.8])
def test_the_share_holds_where_hard_images_come_more_often(share):
    labels = {"u": f"{MADE}u.png", "v": f"{MADE}v.png"}
    table = training_index(index(), ["a", "b"], labels, share=share, often=["b"], times=3.0).table
    of_labelled = table.filter(~pl.col(PSEUDO))[WEIGHT]
    assert of_labelled.sum() / table[WEIGHT].sum() == pytest.approx(share)
    assert of_labelled[1] == pytest.approx(3 * of_labelled[0])
    assert table[WEIGHT].min() >= 1


@pytest.mark.parametrize(
    ("steps", "every", "share"), [(1000, 50, 0.5), (100, 100, 0.5), (6, 2, 0.9), (2, 2, 0.5), (40, 20, 0.01)]
)
def test_pretraining_and_what_follows_are_as_long_as_one_training(steps, every, share):
    parts = split_steps(steps, every, share)
    assert sum(part[0] for part in parts) == steps
    assert all(part[0] > 0 and part[0] % part[1] == 0 for part in parts)


def twice(target, known):
    """Return the index of the pool's images u and v, of which u has a mask and ids of its own."""
    rows = [(n, f"{n}.m.png" if n == "u" else None, f"{n}.i.png" if n in known else None) for n in "auv"]
    table = pl.DataFrame([(*row, *[None] * 4, 4, 4, 3) for row in rows], schema=SCHEMA, orient="row")
    return Index(Path("/data"), table, Categories((Category(0, "no"), Category(1, "yes", isthing=True))), target)


@pytest.mark.parametrize("target", ["masks", "instances"])
def test_true_objects_of_the_pool_are_nowhere_among_what_is_learned_from(target):
    labels = {"u": f"{MADE}labels/u.png", "v": f"{MADE}labels/v.png"}
    objects = {image: label.replace("labels", "objects") for image, label in labels.items()}
    found = training_index(twice(target, "au"), ["a"], labels, objects=objects)
    assert found.table["instances"].to_list() == ["a.i.png", *objects.values()]
    assert found.table["mask"].to_list()[1:] == list(labels.values())
    assert len(found.labelled) == (2 if target == "masks" else 3)  # a has no mask here
    plain = training_index(twice(target, "au"), ["a"], labels)
    assert "u.i.png" not in plain.table["instances"].to_list()
    assert len(plain.labelled) == len(found.labelled)


@pytest.mark.parametrize("target", ["masks", "instances"])
def test_labels_and_objects_of_a_round_are_read_as_they_were_made(tmp_path, target):
    index = replace(twice(target, "au"), root=tmp_path, imported=tmp_path / "imported")
    label, ids = np.uint8([[0, 1], [255, 1]]), np.uint8([[0, 9], [0, 4]])
    for name, values in (("labels", label), ("objects", ids)):
        (tmp_path / name).mkdir()
        Image.fromarray(values).save(tmp_path / name / "u.png")
    made = {"u": f"{MADE}labels/u.png"}
    found = training_index(index, [], made, objects={"u": f"{MADE}objects/u.png"})
    assert np.array_equal(found.read_label(0), label)  # category ids, and what is ignored
    assert np.array_equal(found.read_instances(0), [[0, 2], [0, 1]])
