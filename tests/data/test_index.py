"""The index: one row an image, groups, and a data section whose resolution is a fixed point."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from PIL import Image

import make_images as make
from maskwright.artifacts import MADE, RunFolder, write_table
from maskwright.data.index import SCHEMA, build_index, decided_index, load_index, scored
from maskwright.errors import DataError
from maskwright.recipe.data import DataSpec


def folder(tmp_path, names=("s01_1", "s01_2", "s02_1"), masks=True):
    for name in names:
        make.rgb_png(tmp_path / "images", name)
        if masks:
            make.palette_png(tmp_path / "masks", name)
    make.gray_png(tmp_path / "unlabeled", "u")
    return tmp_path


def spec(root, **fields):
    return DataSpec(root=str(root), **fields)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"classes": "binary"},
        {"classes": ("class_2", "class_1"), "ignore": (3,)},
        {"ignore": ("3",), "leave_out": ("class_0",)},
        {"channels": 1, "mean": (0.25,), "group_regex": r"s\d+"},
    ],
)
def test_resolving_a_resolved_section_changes_nothing(tmp_path, fields):
    index, resolved, _ = build_index(spec(folder(tmp_path), **fields))
    again, same, _ = build_index(resolved)
    assert same == resolved
    assert same == DataSpec.model_validate(resolved.model_dump(mode="json"))  # what a recipe file keeps
    assert again.table.equals(index.table)
    assert again.categories == index.categories == resolved.to_categories()
    for field, value in fields.items():
        if field in ("channels", "mean", "group_regex", "leave_out"):
            assert getattr(resolved, field) == value
    unresolved = [name for name, value in resolved if value is None]
    assert set(unresolved) <= {"group", "group_regex", "domain", "label_source", "map", "spacing"}


def test_rows_say_what_the_files_are(tmp_path):
    index, resolved, _ = build_index(spec(folder(tmp_path)))
    assert dict(index.table.schema) == SCHEMA
    assert index.table.row(0) == ("images/s01_1.png", "masks/s01_1.png", None, None, None, None, None, 16, 12, 3)
    assert index.table.row(3) == ("unlabeled/u.png", None, None, None, None, "unlabeled", None, 16, 12, 1)
    assert index.labelled.images == index.images[:3]
    assert index.unlabelled.images == ["unlabeled/u.png"]
    assert resolved.channels == 3
    assert resolved.value_range == (0.0, 255.0)


def test_an_index_reads_back_from_its_table(tmp_path):
    index, resolved, _ = build_index(spec(folder(tmp_path / "data")))
    index.table.write_parquet(tmp_path / "index.parquet")
    loaded = load_index(tmp_path / "index.parquet", resolved)
    sample, same = index.read(1), loaded.read(1)
    assert sample.name == "s01_2"
    assert np.array_equal(sample.image, same.image)
    assert np.array_equal(sample.label, make.label())
    assert np.array_equal(loaded.read_label(1), make.label())
    assert loaded.read(3).label is None
    assert loaded.read_label(3) is None


def test_only_keeps_the_order_that_is_asked_for(tmp_path):
    index, _, _ = build_index(spec(folder(tmp_path)))
    assert index.only(["images/s02_1.png", "images/s01_1.png"]).table["mask"].to_list() == [
        "masks/s02_1.png",
        "masks/s01_1.png",
    ]
    assert index.where(pl.col("channels") == 1).images == ["unlabeled/u.png"]


@pytest.mark.parametrize(
    ("regex", "groups"), [(r"^(s\d+)_", ["s01", "s01", "s02"]), (r"_\d$", ["_1", "_2", "_1"]), ("s", ["s", "s", "s"])]
)
def test_groups_come_from_the_first_group_of_an_expression_or_all_of_it(tmp_path, regex, groups):
    index, _, _ = build_index(spec(folder(tmp_path), group_regex=regex))
    assert index.labelled.table["group"].to_list() == groups


def test_groups_and_domains_come_from_columns(tmp_path):
    folder(tmp_path)
    (tmp_path / "meta.csv").write_text("name,patient,site\ns01_1,p1,A\ns01_2,p1,\ns02_1,p2,B\n")
    index, _, _ = build_index(spec(tmp_path, group="patient", domain="site"))
    assert index.table["group"].to_list() == ["p1", "p1", "p2", None]
    assert index.table["domain"].to_list() == ["A", None, "B", None]


def test_an_empty_cell_is_no_label_source(tmp_path):
    folder(tmp_path)
    (tmp_path / "meta.csv").write_text("name,annotator\ns01_1,\ns01_2,Karl\ns02_1,Karl\n")
    index, _, _ = build_index(spec(tmp_path, label_source="annotator"))
    assert index.table["label_source"].to_list() == [None, "Karl", "Karl", None]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"group": "pateint"}, ("meta.csv", "patient", "pateint")),
        ({"domain": "site"}, ("meta.csv", "site", "data.domain")),
        ({"group": "patient"}, ("a group for every labelled image", "1 of 3", "s02_1")),
        ({"group_regex": "s01"}, ("a group for every labelled image", "s02_1")),
    ],
)
def test_groups_that_are_missing_are_errors(tmp_path, fields, words):
    folder(tmp_path)
    (tmp_path / "meta.csv").write_text("name,patient\ns01_1,p1\ns01_2,p1\n")
    with pytest.raises(DataError) as caught:
        build_index(spec(tmp_path, **fields))
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_instances_alone_are_one_class(tmp_path):
    make.gray_png(tmp_path / "images", "a")
    make.id_png(tmp_path / "instances", "a", make.HEIGHT, make.WIDTH)
    for fields, task in (({}, "instances"), ({"classes": "binary"}, "semantic")):
        index, resolved, _ = build_index(spec(tmp_path, **fields))
        assert resolved.target == index.target == "instances"
        assert resolved.task == task
        label = index.read(0).label
        assert label is not None
        assert label.sum() == make.HEIGHT * make.WIDTH - 1  # only id 0 is background
        assert build_index(resolved)[1] == resolved


def test_a_number_on_several_things_is_an_object_of_each(tmp_path):
    mask, ids = np.zeros((2, 8, 12), np.uint8)
    mask[:, 2:6], mask[:, 6:10], ids[:, 2:10], ids[0, 0] = 1, 2, 5, 9
    for part, pixels in (("images", ids), ("masks", mask), ("instances", ids)):
        (tmp_path / part).mkdir()
        Image.fromarray(pixels).save(tmp_path / part / "a.png")
    told = [{"id": k, "name": name, "isthing": k > 0} for k, name in enumerate(("road", "car", "person"))]
    (tmp_path / "classes.json").write_text(json.dumps({"categories": told}))
    found = build_index(spec(tmp_path, task="panoptic"))[0].read_instances(0)
    assert len(np.unique(found[mask == 1])) == len(np.unique(found[mask == 2])) == 1
    assert found[0, 3] != found[0, 7] and found[mask > 0].all() and set(np.unique(found)) == {0, 1, 2, 3}
    alone = build_index(spec(tmp_path, task="semantic"))[0].read_instances(0)
    assert alone[0, 3] == alone[0, 7]
    # objects that a round made are whole: each may be of several things
    index = build_index(spec(tmp_path, task="panoptic"), tmp_path / "run" / "imported")[0]
    shutil.copytree(tmp_path / "instances", tmp_path / "run" / "objects")
    made = index.table.with_columns(instances=pl.lit(f"{MADE}objects/a.png"))
    whole = replace(index, table=made).read_instances(0)
    assert whole[0, 3] == whole[0, 7]


def test_masks_come_before_instances(tmp_path):
    folder(tmp_path)
    make.id_png(tmp_path / "instances", "s01_1", make.HEIGHT, make.WIDTH)
    index, resolved, _ = build_index(spec(tmp_path))
    assert (index.target, len(index.labelled)) == ("masks", 3)
    assert resolved.target == "masks"


def test_a_folder_without_labels_says_where_they_belong(tmp_path):
    folder(tmp_path, masks=False)
    with pytest.raises(DataError, match="masks"):
        build_index(spec(tmp_path))


def test_broken_files_stay_in_the_index_for_the_audit_to_name(tmp_path):
    folder(tmp_path)
    (tmp_path / "images" / "s01_1.png").write_bytes(b"")
    make.truncated_png(tmp_path / "masks", "s02_1")
    index, _, _ = build_index(spec(tmp_path))
    assert index.table["width"].to_list() == [None, 16, 16, 16]


def test_a_mask_of_another_size_is_told_both_sizes(tmp_path):
    make.wrong_size(tmp_path / "images", tmp_path / "masks")
    index, _, _ = build_index(spec(tmp_path))
    with pytest.raises(DataError, match=r"\(12, 16, 1\) and \(13, 16\)"):
        index.read(0)


def test_gray_pictures_in_rgb_files_are_one_channel(tmp_path):
    gray = make.pattern().astype(np.uint8)
    (tmp_path / "images").mkdir()
    Image.fromarray(np.repeat(gray[..., None], 3, 2)).save(tmp_path / "images" / "a.png")
    make.palette_png(tmp_path / "masks", "a")
    _, resolved, _ = build_index(spec(tmp_path))
    assert resolved.channels == 1
    assert resolved.mean == pytest.approx((gray.mean() / 255,), abs=1e-5)


def test_a_run_of_an_earlier_version_has_no_decisions(tmp_path):
    index, resolved, _ = build_index(spec(folder(tmp_path / "data")))
    run = RunFolder(tmp_path / "run")
    write_table(run.index, index.table)
    whole = decided_index(run, resolved)
    assert whole.images == index.images
    folds = pl.DataFrame({"image": index.labelled.images, "fold": [0, 1, 0]})
    assert scored(whole, folds).equals(folds)
    twins = whole.table.with_columns(twin_of=pl.when(pl.col("image") == whole.images[0]).then(pl.lit("x")))
    write_table(run.decided / "images.parquet", twins)
    assert scored(decided_index(run, resolved), folds)["image"].to_list() == index.labelled.images[1:]
