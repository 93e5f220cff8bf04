"""The audit of a folder in which every kind of trouble was planted, and of one in which none was."""

import json
import shutil

import numpy as np
import polars as pl
import pytest
from PIL import Image

from maskwright.audit import FINDINGS_SCHEMA, audit_index
from maskwright.data.index import build_index
from maskwright.data.synthetic import make_playground
from maskwright.recipe.data import AuditSpec, DataSpec

RNG = np.random.default_rng(0)


def picture(seed):
    """A smooth random image that no other seed resembles, 48×64 RGB."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((64, 48), Image.Resampling.BICUBIC))


def half(columns=32):
    """A mask whose first columns are 1, (48, 64)."""
    mask = np.zeros((48, 64), np.uint8)
    mask[:, :columns] = 1
    return mask


@pytest.fixture(scope="module")
def troubled(tmp_path_factory):
    root = tmp_path_factory.mktemp("troubled")
    for folder in ("images", "masks", "unlabeled"):
        (root / folder).mkdir()

    def put(name, image, mask=None):
        Image.fromarray(image).save(root / "images" / f"{name}.png")
        if mask is not None:
            Image.fromarray(mask).save(root / "masks" / f"{name}.png")

    put("fine", picture(1), half())
    put("same", picture(1), half())
    put("flipped", np.ascontiguousarray(picture(1)[:, ::-1]), np.ascontiguousarray(half()[:, ::-1]))
    put("conflict", picture(1), half(16))
    put("empty", picture(2), np.zeros((48, 64), np.uint8))
    put("wrong_size", picture(3), half()[:10])
    put("unknown", picture(4), np.where(half() == 1, 7, 0).astype(np.uint8))
    put("broken", picture(5), half())
    whole = (root / "images" / "broken.png").read_bytes()
    (root / "images" / "broken.png").write_bytes(whole[: len(whole) // 2])
    put("broken_mask", picture(6), half())
    (root / "masks" / "broken_mask.png").write_bytes(b"no image")
    Image.fromarray(half()).save(root / "masks" / "orphan.png")
    Image.fromarray(picture(2)).save(root / "unlabeled" / "twin.png")
    (root / "classes.json").write_text('{"0": "background", "1": "rock"}')
    return root


@pytest.fixture(scope="module")
def found(troubled):
    index, _, source = build_index(DataSpec(root=str(troubled)))
    return audit_index(index, AuditSpec(), source.leftovers)


def of_kind(found, kind):
    return found.findings.filter(pl.col("kind") == kind).to_dicts()


def test_instance_maps_beside_masks_are_looked_at(troubled, tmp_path):
    root = tmp_path / "data"
    shutil.copytree(troubled, root)
    (root / "instances").mkdir()
    for name, ids in (("fine", half()), ("same", half()[:9]), ("flipped", half())):
        Image.fromarray(ids).save(root / "instances" / f"{name}.png")
    (root / "instances" / "conflict.png").write_bytes((root / "instances" / "fine.png").read_bytes()[:50])
    categories = [{"id": 0, "name": "background"}, {"id": 1, "name": "rock", "isthing": True}]
    (root / "classes.json").write_text(json.dumps({"categories": categories}))
    for task, named in (("panoptic", {"images/same.png", "images/conflict.png"}), ("semantic", set())):
        index, _, source = build_index(DataSpec(root=str(root), task=task))
        rows = audit_index(index, AuditSpec(), source.leftovers).findings.filter(pl.col("severity") == "error")
        rows = rows.filter(pl.col("detail").str.contains("instances/"))
        assert set(rows["image"]) == named
        if task == "panoptic":
            assert set(rows["kind"]) == {"wrong_size", "unreadable_instances"}


@pytest.fixture
def street(tmp_path):
    """Two kinds of things on a ground, 3 objects: 1 and 2 touch in category 1, 3 is in category 2; files by name."""
    mask, ids = np.zeros((48, 64), np.uint8), np.zeros((48, 64), np.uint8)
    mask[4:20, 4:36], mask[30:40, 10:20] = 1, 2
    ids[4:20, 4:20], ids[4:20, 20:36], ids[30:40, 10:20] = 1, 2, 3
    spread = np.where(mask == 2, 1, ids)

    def save(folder, name, array):
        (tmp_path / folder).mkdir(exist_ok=True)
        Image.fromarray(array).save(tmp_path / folder / name)

    for seed, (name, numbers) in enumerate((("whole", ids), ("none", None), ("zeros", 0 * ids), ("spread", spread))):
        save("images", f"{name}.png", picture(seed))
        save("masks", f"{name}.png", mask)
        if numbers is not None:
            save("instances", f"{name}.png", numbers)
    names = (("ground", False), ("car", True), ("person", True))
    categories = [{"id": k, "name": name, "isthing": thing} for k, (name, thing) in enumerate(names)]
    (tmp_path / "classes.json").write_text(json.dumps({"categories": categories}))
    return tmp_path


def test_masks_whose_things_have_no_numbers_are_named(street):
    index, _, source = build_index(DataSpec(root=str(street), task="panoptic"))
    found = audit_index(index, AuditSpec(), source.leftovers)
    none, zeros, spread = (of_kind(found, kind) for kind in ("no_instances", "no_numbers", "split_objects"))
    assert [(row["image"], row["severity"], row["value"]) for row in none] == [("images/none.png", "note", 612)]
    assert [(row["image"], row["severity"]) for row in zeros] == [("images/zeros.png", "warning")]
    assert [(row["image"], row["value"]) for row in spread] == [("images/spread.png", 1)]
    assert "1 of 2 numbers lie on several things (1: car 256 px, person 100 px)" in spread[0]["detail"]


def test_objects_of_a_panoptic_folder_are_those_that_are_numbered(street):
    index, _, source = build_index(DataSpec(root=str(street), task="panoptic"))
    for name in ("none", "zeros", "spread"):
        index = index.only([image for image in index.images if name not in image])
    found = audit_index(index, AuditSpec(), source.leftovers)
    rows = found.tables["objects"].rows_by_key("category", named=True)
    assert {name: rows[name][0]["objects"] for name in rows} == {"ground": 0, "car": 2, "person": 1}
    assert found.objects == {"images/whole.png": (3, 256.0)}


def test_numbers_in_a_jpeg_stop_an_audit_of_instances(street):
    shutil.rmtree(street / "masks")
    Image.open(street / "instances" / "whole.png").save(street / "instances" / "whole.jpg", quality=95)
    (street / "instances" / "whole.png").unlink()
    index, _, source = build_index(DataSpec(root=str(street), task="instances"))
    rows = of_kind(audit_index(index, AuditSpec(), source.leftovers), "unreadable_instances")
    assert [(row["image"], row["severity"]) for row in rows] == [("images/whole.png", "error")]
    assert "a JPEG, whose numbers aren't those that were drawn" in rows[0]["detail"]


def test_a_white_background_of_instance_maps_is_told(tmp_path):
    for name in "ab":
        for folder in ("images", "instances"):
            (tmp_path / folder).mkdir(exist_ok=True)
        colours = np.full((48, 64, 3), 255, np.uint8)
        colours[4:20, 4:20] = (255, 0, 0)
        Image.fromarray(picture(ord(name))).save(tmp_path / "images" / f"{name}.png")
        Image.fromarray(colours).save(tmp_path / "instances" / f"{name}.png")
    index, _, source = build_index(DataSpec(root=str(tmp_path), task="instances"))
    rows = of_kind(audit_index(index, AuditSpec(), source.leftovers), "one_category")
    assert [row["detail"] for row in rows] == ["its mask holds nothing but object; only 0, or black, is no object"] * 2


@pytest.mark.parametrize("task", ["panoptic", "instances"])
def test_masks_in_the_place_of_instance_maps_are_named(tmp_path, task):
    """Four squares an image: with a number each they are four objects, with one for all they are one in four pieces."""
    for number, (folder, found) in enumerate((("apart", False), ("one", True))):
        root, ids = tmp_path / folder, np.zeros((48, 64), np.uint8)
        for k, (y, x) in enumerate(((4, 4), (4, 30), (30, 4), (30, 30))):
            ids[y : y + 8, x : x + 8] = 255 if number else k + 1
        for name in "ab":
            for kind, array in (
                ("images", picture(ord(name))),
                ("instances", ids),
                ("masks", (ids > 0).astype(np.uint8)),
            ):
                (root / kind).mkdir(parents=True, exist_ok=True)
                if kind != "masks" or task == "panoptic":
                    Image.fromarray(array).save(root / kind / f"{name}.png")
        index, _, source = build_index(DataSpec(root=str(root), task=task))
        rows = of_kind(audit_index(index, AuditSpec(), source.leftovers), "objects_in_pieces")
        assert bool(rows) == found
        if rows:
            assert len(rows) == 1 and rows[0]["value"] == 4 and "2 objects in 8 pieces" in rows[0]["detail"]


def test_an_image_whose_objects_have_one_number_is_named(tmp_path):
    """Nine squares an image, each with its number, in c with one for all; 36 of 37 objects are whole."""
    for name in "abcde":
        ids = np.zeros((48, 64), np.uint8)
        for k, (y, x) in enumerate((y, x) for y in (2, 18, 34) for x in (2, 22, 42)):
            ids[y : y + 8, x : x + 8] = 1 if name == "c" else k + 1
        for kind, array in (("images", picture(ord(name))), ("instances", ids)):
            (tmp_path / kind).mkdir(exist_ok=True)
            Image.fromarray(array).save(tmp_path / kind / f"{name}.png")
    index, _, source = build_index(DataSpec(root=str(tmp_path), task="instances"))
    rows = of_kind(audit_index(index, AuditSpec(), source.leftovers), "objects_in_pieces")
    assert [(row["image"], row["value"]) for row in rows] == [("images/c.png", 9)]
    assert rows[0]["detail"].startswith("1 object in 9 pieces that don't touch: if each is an object")


@pytest.mark.parametrize(
    ("kind", "severity", "image", "said"),
    [
        ("unreadable", "error", "images/broken.png", "truncated"),
        ("unreadable_mask", "error", "images/broken_mask.png", "masks/broken_mask.png"),
        ("wrong_size", "error", "images/wrong_size.png", "64×10, the image 64×48"),
        ("unknown_values", "error", "images/unknown.png", "7 (1536 px)"),  # 48 rows of 32 columns
        ("empty_mask", "warning", "images/empty.png", "nothing but background"),
        ("orphan_mask", "warning", "masks/orphan.png", "without an image"),
    ],
)
def test_trouble_is_named_once(found, kind, severity, image, said):
    rows = of_kind(found, kind)
    assert [(row["image"], row["severity"]) for row in rows] == [(image, severity)]
    assert said in rows[0]["detail"]


def test_copies_are_found_across_flips_and_the_pool(found):
    exact = {(r["image"], r["other_image"]) for r in of_kind(found, "duplicate_exact")}
    assert ("images/fine.png", "images/same.png") in exact
    assert ("images/empty.png", "unlabeled/twin.png") in exact
    near = {(r["image"], r["other_image"]): r["detail"] for r in of_kind(found, "duplicate_near")}
    assert near[("images/fine.png", "images/flipped.png")].startswith("flip_lr")
    assert sorted(map(len, found.duplicates)) == [2, 4]


def test_a_conflict_is_measured_through_the_transform(found):
    rows = of_kind(found, "conflict")
    pairs = {frozenset((r["image"], r["other_image"])): r["value"] for r in rows}
    # masks of 32 and of 16 columns of 64 differ on a quarter of the pixels; the flipped copy's mask was flipped with it
    assert pairs == {
        frozenset(("images/conflict.png", f"images/{other}.png")): pytest.approx(0.75)
        for other in ("fine", "same", "flipped")
    }


def test_the_class_table_counts_usable_masks(found):
    table = {row["category"]: row for row in found.classes.to_dicts()}
    # usable: fine, same, flipped (half each), conflict (a quarter), empty
    rock = 3 * 48 * 32 + 48 * 16
    assert table["rock"]["pixels"] == rock
    assert table["rock"]["images"] == 4
    assert table["rock"]["image_share"] == pytest.approx(4 / 5)
    assert table["rock"]["pixel_share"] == pytest.approx(rock / (5 * 48 * 64))
    assert table["rock"]["objects"] == 4
    assert table["rock"]["median_area"] == 48 * 32
    assert set(found.shares) == {f"images/{n}.png" for n in ("fine", "same", "flipped", "conflict", "empty")}
    assert set(found.unusable) == {f"images/{n}.png" for n in ("broken", "broken_mask", "wrong_size", "unknown")}


def test_dropping_is_a_decision_that_stands_in_the_table(troubled):
    index, _, source = build_index(DataSpec(root=str(troubled)))
    dropped = audit_index(index, AuditSpec(on_error="drop"), source.leftovers).findings
    errors = dropped.filter(pl.col("severity") == "error")
    assert set(errors["decision"]) == {"dropped"}
    assert errors.height == 4


def test_a_folder_without_trouble_has_no_findings(tmp_path):
    make_playground(tmp_path, labelled=6, unlabelled=2, size=(48, 64), planted=False)
    index, _, source = build_index(DataSpec(root=str(tmp_path)))
    found = audit_index(index, AuditSpec(), source.leftovers)
    assert found.findings.filter(pl.col("severity") != "note").height == 0
    assert found.findings.schema == FINDINGS_SCHEMA
    assert found.duplicates == []


def test_the_same_pixels_are_exact_however_they_are_stored(tmp_path):
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    large = np.asarray(Image.fromarray(picture(1)).resize((640, 480), Image.Resampling.BICUBIC))
    Image.fromarray(large).save(tmp_path / "images" / "a.png")
    Image.fromarray(large).save(tmp_path / "images" / "b.png", compress_level=1)
    Image.fromarray(large).save(tmp_path / "images" / "c.jpg", quality=60)
    with Image.open(tmp_path / "images" / "c.jpg") as file:
        Image.fromarray(np.asarray(file)).save(tmp_path / "images" / "d.png")  # what the JPEG decodes to
    Image.fromarray(np.eye(480, 640, dtype=np.uint8)).save(tmp_path / "masks" / "a.png")
    index, _, _ = build_index(DataSpec(root=str(tmp_path)))
    found = audit_index(index, AuditSpec())
    exact, near = (
        {(r["image"][-5], r["other_image"][-5]) for r in of_kind(found, kind)}
        for kind in ("duplicate_exact", "duplicate_near")
    )
    assert exact == {("a", "b"), ("c", "d")}
    assert near == {("a", "c"), ("a", "d"), ("b", "c"), ("b", "d")}


def test_masks_fit_turned_jpegs_that_are_inspected_at_a_fraction_of_their_size(tmp_path):
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    large = Image.fromarray(picture(2)).resize((641, 483), Image.Resampling.BICUBIC)
    for name, size in (("fits", (641, 483)), ("wrong", (483, 640))):
        large.save(tmp_path / "images" / f"{name}.jpg", exif=exif)
        Image.fromarray(np.eye(*size, dtype=np.uint8)).save(tmp_path / "masks" / f"{name}.png")
    index, _, _ = build_index(DataSpec(root=str(tmp_path)))
    found = audit_index(index, AuditSpec())
    assert [(r["image"], r["detail"]) for r in of_kind(found, "wrong_size")] == [
        ("images/wrong.jpg", "masks/wrong.png is 483×640, the image 483×641")
    ]
    assert len(of_kind(found, "exif_orientation")) == 2
