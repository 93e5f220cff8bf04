"""Leaks across parts: planted ones are found with a proposal that works, clean partitions are not flagged."""

import re
import shlex

import cv2
import numpy as np
import polars as pl
import pytest

from maskwright.audit.findings import audit_index
from maskwright.audit.groupings import Grouping, column_groupings, name_groupings, refines
from maskwright.audit.hashing import thumbnail
from maskwright.audit.leaks import find_leaks
from maskwright.data.formats import read_source
from maskwright.data.formats.files import name_of
from maskwright.data.index import build_index, meta_table
from maskwright.errors import DataError
from maskwright.recipe.data import AuditSpec, DataSpec


def sequences(count, length, seed, change=0.25):
    """Return (count · length) thumbnails: each sequence a picture that drifts from frame to frame."""
    rng = np.random.default_rng(seed)

    def smooth():
        return cv2.resize(rng.normal(size=(6, 6)).astype(np.float32), (64, 64), interpolation=cv2.INTER_CUBIC)

    found = []
    for _ in range(count):
        picture = smooth()
        for _ in range(length):
            picture = np.sqrt(1 - change**2) * picture + change * smooth()
            found.append(thumbnail(picture))
    return found


def divided(groups, rng, share=0.3):
    """Return parts that keep groups whole."""
    order, held = rng.permutation(sorted(set(groups))), set()
    while sum(group in held for group in groups) < share * len(groups):
        held.add(order[len(held)])
    return ["val" if group in held else "train" for group in groups]


GROUPS = [f"{k // 8:02d}" for k in range(160)]
NAMED = [f"images/run{group}_{k:04d}.png" for k, group in enumerate(GROUPS)]
NAMELESS = [f"images/{n:06x}.png" for n in np.random.default_rng(9).permutation(1 << 20)[:160]]
ONE_FILM = [f"images/film_{7 * k:05d}.png" for k in range(160)]


@pytest.mark.parametrize("seed", range(12))
def test_clean_partitions_are_not_flagged(seed):
    """Groups whole: whatever the names and columns say of groups, sites that hold several of them, or nothing."""
    rng = np.random.default_rng(seed)
    pictures, parts = sequences(20, 8, seed), divided(GROUPS, rng)
    site = [f"site{int(group) % 3}" for group in GROUPS]
    columns = {"patient": GROUPS, "site": site, "grade": list("ab" * 80)}
    assert find_leaks(NAMED, parts, thumbnails=pictures) == []
    assert find_leaks(NAMELESS, parts, thumbnails=pictures, columns=columns) == []
    assert find_leaks(NAMELESS, parts, thumbnails=pictures) == []
    assert find_leaks(ONE_FILM, parts, thumbnails=pictures) == []


@pytest.mark.parametrize("seed", range(4))
def test_independent_images_are_not_flagged(seed):
    parts = ["val" if r < 0.3 else "train" for r in np.random.default_rng(seed).random(160)]
    assert find_leaks(NAMED, parts, thumbnails=sequences(160, 1, seed)) == []


def at_random(seed):
    return ["val" if r < 0.3 else "train" for r in np.random.default_rng(seed).random(160)]


def proposed(leak, images):
    """Return image → group of the regular expression that a leak proposes, applied as the index applies it."""
    words = shlex.split(leak.detail.rsplit(": ", 1)[1])
    assert words[:2] == ["--set", "split.use_parts=false"]
    expression = words[words.index("--group-regex") + 1]
    return [re.search(expression, name_of(image)).group(1) for image in images]


def test_sequences_told_by_names_and_looks():
    parts = at_random(0)
    leaks = find_leaks(NAMED, parts, thumbnails=sequences(20, 8, 0, change=0.1))
    groups = [leak for leak in leaks if leak.kind == "leak_group"]
    crossing = {g for g in set(GROUPS) if len({p for p, o in zip(parts, GROUPS, strict=True) if o == g}) == 2}
    assert {re.search(r"\d+", leak.detail)[0] for leak in groups} == crossing
    assert all(parts[leak.first] != parts[leak.second] for leak in leaks)
    groups_then = proposed(groups[0], NAMED)
    assert refines(groups_then, GROUPS) and refines(GROUPS, groups_then)


def test_names_alone_are_no_witness():
    """The names fall into groups, but images of one look no more alike than others."""
    assert find_leaks(NAMED, at_random(0), thumbnails=sequences(160, 1, 0)) == []


def test_near_neighbours_without_any_name():
    leaks = find_leaks(NAMELESS, at_random(1), thumbnails=sequences(20, 8, 1, change=0.2))
    assert {leak.kind for leak in leaks} == {"leak_neighbour"}
    right = [GROUPS[leak.first] == GROUPS[leak.second] for leak in leaks]
    assert len(right) >= 10 and np.mean(right) >= 0.9
    assert "--group COLUMN" in leaks[0].detail


def test_one_film_is_cut_into_blocks_of_its_numbers():
    leaks = find_leaks(ONE_FILM, at_random(2), thumbnails=sequences(20, 8, 2, change=0.2))
    assert {leak.kind for leak in leaks} == {"leak_neighbour"}
    groups = proposed(leaks[0], ONE_FILM)
    assert np.mean([groups[leak.first] == groups[leak.second] for leak in leaks]) >= 0.8
    assert len(set(groups)) >= 2


def test_a_column_is_enough_for_a_group():
    parts = ["train", "train", "train", "val", "val", "test", None]
    patients = ["1", "1", "2", "1", "3", "3", "1"]
    leaks = find_leaks(
        [f"images/{k}.png" for k in range(7)], parts, columns={"patient ID": patients, "grade": patients}
    )
    assert [(k.kind, k.first, k.second, k.value) for k in leaks] == [
        ("leak_group", 0, 3, 1.0),
        ("leak_group", 4, 5, 1.0),
    ]
    assert leaks[0].detail == (
        "1 (column patient ID): 2 image(s) in train, 1 image(s) in val; keep it whole: "
        "--set split.use_parts=false --group 'patient ID'"
    )


def test_a_coarser_group_is_explained_by_a_finer_one_that_is_whole():
    parts = ["train", "train", "val", "val"]
    columns = {"site": ["a", "a", "a", "a"], "patient": ["1", "1", "2", "2"], "series": ["x", "y", "x", "y"]}
    images = [f"images/{k}.png" for k in range(4)]
    assert {leak.detail[0] for leak in find_leaks(images, parts, columns=columns)} == {"x", "y"}
    given = Grouping("--group x", "the recipe's group", ["1", "1", "2", "3"])
    assert find_leaks(images, parts, given=given, columns={"sites": ["a", "a", "a", "b"]}) == []


def test_duplicates_across_parts():
    leaks = find_leaks(
        ["images/a.png", "images/b.png", "images/c.png", "unlabeled/d.png"],
        ["train", "val", "train", None],
        duplicates=[(0, 1, 1.0), (0, 2, 1.0), (1, 3, 0.99)],
    )
    assert [(k.kind, k.first, k.second, k.value) for k in leaks] == [("leak_duplicate", 0, 1, 1.0)]
    assert "in train and in val" in leaks[0].detail


@pytest.mark.parametrize("parts", [[None] * 3, ["train"] * 3, [None, "train", None], []])
def test_one_part_has_no_border(parts):
    images = [f"images/{k}.png" for k in range(len(parts))]
    assert find_leaks(images, parts, columns={"patient": ["1"] * len(parts)}, duplicates=[]) == []


def test_flat_and_unreadable_images():
    parts = ["train", "val"] * 20
    pictures = [None if k % 3 == 0 else np.full((32, 32), k % 2, np.float32) for k in range(40)]
    assert find_leaks([f"images/{k}.png" for k in range(40)], parts, thumbnails=pictures) == []


@pytest.mark.parametrize(
    ("name", "told"),
    [
        *((name, True) for name in ("patient", "Patient ID", "patient_id", "sequences", "sol")),
        *((name, False) for name in ("solution", "grade", "width", "showcase")),
    ],
)
def test_columns_by_their_names(name, told):
    assert bool(column_groupings({name: ["1", "1", "2"]})) == told
    assert column_groupings({name: ["1", "2", "3"]}) == []
    assert column_groupings({name: ["1", "1", "1"]}) == []


def test_name_groupings():
    names = ["images/train/a_b_1.png", "images/train/a_b_2.png", "images/val/a_c_1.png", "images/val/d_b_1.png"]
    found = [g.groups for g in name_groupings(names)]
    assert found == [["a_b", "a_b", "a_c", "d_b"], ["a", "a", "a", "d"]]
    assert name_groupings(["images/1.png", "images/2.png"]) == []


def folder(root, parts, meta="", columns=None):
    """Write images of noise below images/PART/, with masks; equal numbers are the same picture."""
    for place, (part, number) in enumerate(parts):
        picture = np.random.default_rng(number).integers(0, 255, (40, 40, 3), np.uint8)
        name = f"{part}/{number}_{place}.png" if part else f"{number}_{place}.png"
        for kind, pixels in (("images", picture), ("masks", (picture[..., 0] > 128).astype(np.uint8))):
            (root / kind / name).parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(root / kind / name), pixels)
    if meta:
        (root / "meta.csv").write_text(meta, encoding="utf-8")
    found, _, source = build_index(DataSpec(root=str(root)))
    return found, meta_table(source)


def leaks_of(index, meta, **options):
    found = audit_index(index, AuditSpec(**options), (), meta).findings
    return found.filter(pl.col("kind").str.starts_with("leak"))


def test_the_audit_lists_them(tmp_path):
    index, meta = folder(tmp_path, [("train", 1), ("train", 2), ("val", 1), ("val", 3)])
    found = leaks_of(index, meta)
    assert found.select("image", "kind", "severity", "other_image", "decision").rows() == [
        ("images/train/1_0.png", "leak_duplicate", "warning", "images/val/1_2.png", "kept")
    ]


def test_parts_by_a_column(tmp_path):
    table = "name,official_split,fold_of_mine,patient\n1_0,train,a,p\n2_1,test,a,p\n3_2,train,b,q\n"
    index, meta = folder(tmp_path, [("", 1), ("", 2), ("", 3)], table)
    assert [row["detail"] for row in leaks_of(index, meta).to_dicts()] == [
        "p (column patient): 1 image(s) in train, 1 image(s) in test; keep it whole: --group patient"
    ]
    assert leaks_of(index, meta, parts="fold_of_mine").height == 0
    with pytest.raises(DataError, match="official_split, fold_of_mine, patient"):
        leaks_of(index, meta, parts="side")


def test_meta_table_keeps_the_order_and_every_image(tmp_path):
    index, meta = folder(tmp_path, [("", 2), ("", 1)], "name,site\n2_0,north\n")
    assert meta.columns == ["image", "name", "site"]
    assert meta["image"].to_list() == index.images
    assert meta["site"].to_list() == [None, "north"]
    assert read_source(tmp_path, "folder").rows[0].image == meta["image"][0]
