"""The simulated review: which masks are made wrong, and what somebody who sees the truth says."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from benchmarks.few_label_sets import SETS
from benchmarks.review_decisions import agreement, draw_groups, make_folder, mistaken, moved
from PIL import Image

from benchmarks import review_decisions


def test_masks_that_are_made_wrong():
    mask = np.zeros((32, 8), np.uint8)
    mask[4:8, 1:4], mask[20:22, 5:8] = 3, 1
    expected = np.zeros_like(mask)
    expected[6:10, 3:6], expected[22:24, 7] = 3, 1  # by two pixels, a sixteenth of 32
    assert np.array_equal(moved(mask), expected)
    found = mistaken(mask, np.random.default_rng(0), binary=False)
    assert set(np.unique(found[4:8, 1:4])) <= {0, 1}  # the larger piece, 12 pixels, is something else
    assert len(np.unique(found[4:8, 1:4])) == 1
    assert np.array_equal(found[16:], mask[16:])
    assert not mistaken(mask, np.random.default_rng(0), binary=True)[:16].any()
    assert not mistaken(np.zeros((3, 5), np.uint8), np.random.default_rng(0), binary=True).any()


def test_agreement_counts_what_is_known():
    assert agreement(np.uint8([[1, 0, 255, 255]]), np.uint8([[1, 1, 1, 1]])) == 0.5
    assert agreement(np.uint8([[255]]), np.uint8([[1]])) == 0


def test_groups_are_drawn_whole():
    groups = {f"{group}_{k}": group for group in "abcdefghij" for k in range(3)}
    drawn = draw_groups(groups, 0.3, np.random.default_rng(1))
    assert len(drawn) == 9
    assert len({groups[name] for name in drawn}) == 3


@pytest.fixture
def whole(tmp_path):
    """A set of 40 images in 20 groups of sols."""
    rng = np.random.default_rng(0)
    for folder in ("images", "masks"):
        (tmp_path / "set" / folder).mkdir(parents=True)
    rows = [("name", "sol"), *((f"i{k:02}", f"s{k // 2}") for k in range(40))]
    with (tmp_path / "set" / "meta.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    (tmp_path / "set" / "classes.json").write_text("{}")
    for name, _ in rows[1:]:
        Image.fromarray(rng.integers(0, 255, (32, 32), np.uint8)).save(tmp_path / "set" / "images" / f"{name}.png")
        mask = np.zeros((32, 32), np.uint8)
        mask[8:20, 8:20] = 1
        mask[25:28, 25:28] = 2
        Image.fromarray(mask).save(tmp_path / "set" / "masks" / f"{name}.png")
    return tmp_path


def test_the_folder_of_a_simulation(whole):
    make_folder(whole / "set", whole / "out", SETS["mars_gray"], 0, None)
    with (whole / "out-parts.csv").open(newline="") as file:
        parts = {row["image"]: row["part"] for row in csv.DictReader(file)}
    held = {name for name, part in parts.items() if part == "val"}
    kept = set(parts) - held
    assert (len(held), len(kept)) == (12, 8)  # three tenths of 40; a quarter of the other 28, whole groups of two
    assert {f"images/{p.name}" for p in (whole / "out" / "images").iterdir()} == held | kept
    assert len(list((whole / "out" / "unlabeled").iterdir())) == 20
    right = np.array(Image.open(whole / "set" / "masks" / "i00.png"))
    masks = {p.name: np.array(Image.open(p)) for p in (whole / "out" / "masks").iterdir()}
    wrong = {f"images/{name}" for name, mask in masks.items() if not np.array_equal(mask, right)}
    assert len(wrong) == 2  # three tenths of 8
    assert wrong <= kept
    made = (whole / "out-parts.csv").stat().st_mtime_ns
    make_folder(whole / "set", whole / "out", SETS["mars_gray"], 0, None)
    assert (whole / "out-parts.csv").stat().st_mtime_ns == made


def test_what_is_answered_by_who_sees_the_truth():
    names = review_decisions.ANSWERED
    assert review_decisions.said("conflict", names["conflict"], [0.4, 0.9]) == "b"
    assert review_decisions.said("shifted", names["shifted"], [0.9, 0.4]) == "a"
    assert review_decisions.said("rare", names["rare"], [0.5]) == "reject"
    assert review_decisions.said("disagreement", names["disagreement"], [0.95, 0.91]) == "a"
    assert review_decisions.said("disagreement", names["disagreement"], [0.5, 0.6]) is None
    assert review_decisions.said("uncertain", names["uncertain"], [0.95]) == "accept"
    assert review_decisions.said("uncertain", names["uncertain"] - {"accept"}, [0.95]) is None
