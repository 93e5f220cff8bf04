"""Categories: how mask values become positions, how they are recognised, and what unknown values are told."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import make_images as make
from maskwright.data.categories import (
    as_written,
    distinct_colors,
    positions,
    read_label,
    recognise_categories,
    to_ids,
    unknown_counts,
)
from maskwright.data.formats import read_source
from maskwright.data.images import COLOR
from maskwright.errors import DataError
from maskwright.recipe.data import DataSpec
from maskwright.types import IGNORE, Categories, Category

LABEL = make.label()


def folder(tmp_path: Path, *masks: np.ndarray | Path, classes: str | None = None) -> Path:
    """Write images with the given masks, (H, W) or (H, W, 3) uint8."""
    for number, mask in enumerate(masks):
        make.gray_png(tmp_path / "images", f"i{number}")
        (tmp_path / "masks").mkdir(exist_ok=True)
        Image.fromarray(np.asarray(mask)).save(tmp_path / "masks" / f"i{number}.png")
    if classes is not None:
        (tmp_path / "classes.json").write_text(classes)
    return tmp_path


def recognise(root: Path, **spec: object) -> Categories:
    return recognise_categories(read_source(root), root, DataSpec(root=str(root), **spec))


def read(root: Path, categories: Categories, number: int = 0) -> np.ndarray:
    return read_label(root / "masks" / f"i{number}.png", categories, like=root / "images" / f"i{number}.png")


def test_black_and_white_masks_are_background_and_foreground(tmp_path):
    root = folder(tmp_path, np.where(LABEL > 0, 255, 0).astype(np.uint8))
    found = recognise(root)
    assert found.names == ["background", "foreground"]
    assert found.binary
    assert found.evaluated == [1]
    assert found.ids == [0, 1]
    assert np.array_equal(read(root, found), LABEL > 0)


def test_masks_that_are_all_black_still_have_a_foreground(tmp_path):
    found = recognise(folder(tmp_path, np.zeros_like(LABEL)))
    assert found.names == ["background", "foreground"]


def test_values_without_names_become_classes_in_the_palette_s_colours(tmp_path):
    make.gray_png(tmp_path / "images", "a")
    make.palette_png(tmp_path / "masks", "a")
    found = recognise(tmp_path)
    assert found.names == ["class_0", "class_1", "class_2", "class_3"]
    assert [c.color for c in found.items] == list(make.PALETTE)
    assert not found.left_out


def test_colour_masks_become_a_class_a_colour(tmp_path):
    make.gray_png(tmp_path / "images", "i0")
    make.color_mask(tmp_path / "masks", "i0")
    found = recognise(tmp_path)
    assert sorted(c.color for c in found.items) == sorted(make.PALETTE)
    assert [c.name for c in found.items] == [c.values[0] for c in found.items]
    label = read(tmp_path, found)
    colors = np.array([c.color for c in found.items])
    assert np.array_equal(colors[label], np.array(make.PALETTE)[LABEL])


def test_short_class_lists_and_ranges(tmp_path):
    instances = (np.arange(LABEL.size).reshape(LABEL.shape) % 200).astype(np.uint8)
    root = folder(tmp_path, instances, classes='{"0": "tissue", "1..N": "nucleus"}')
    found = recognise(root)
    assert found.names == ["tissue", "nucleus"]
    assert np.array_equal(read(root, found), instances > 0)


def test_closed_ranges_claim_no_more_than_they_say(tmp_path):
    root = folder(tmp_path, LABEL, classes='{"0": "a", "1..2": "b"}')
    with pytest.raises(DataError, match=r"3 \(1 px\)"):
        read(root, recognise(root))


def test_categories_with_colours_values_rest_and_ignored_names(tmp_path):
    classes = """{"categories": [{"id": 9, "name": "void", "values": [3]}, {"id": 4, "name": "a", "values": [1, 2],
        "color": [9, 8, 7], "isthing": true}, {"id": 5, "name": "other", "values": "rest"}], "ignore": ["void", 255]}"""
    root = folder(tmp_path, LABEL, classes=classes)
    found = recognise(root)
    assert found.names == ["a", "other"]
    assert found.ids == [4, 5]
    assert found.items[0].isthing
    assert found.ignore == (3, 255)
    label = read(root, found)
    assert np.array_equal(label, np.select([LABEL == 3, LABEL == 0], [IGNORE, 1], 0))


@pytest.mark.parametrize(
    ("field", "said"),
    [
        ('"is_thing": true', "'is_thing' is no field of a category; did you mean 'isthing'?"),
        ('"colour": [1, 2, 3]', "did you mean 'color'?"),
        ('"isthing": "no"', "isthing of a is 'no', neither true nor false"),
        ('"isthing": null', "neither true nor false"),
    ],
)
def test_slips_in_classes_json_are_told(tmp_path, field, said):
    root = folder(tmp_path, LABEL, classes=f'{{"categories": [{{"id": 0, "name": "a", {field}}}]}}')
    with pytest.raises(DataError, match=re.escape(said)):
        recognise(root)


def test_other_fields_of_a_category_are_passed_over(tmp_path):
    items = ", ".join(f'{{"id": {k}, "name": "{k}", "name_en": "x", "idx": 1, "isthing": {k % 2}}}' for k in range(4))
    found = recognise(folder(tmp_path, LABEL, classes=f'{{"categories": [{items}]}}'))
    assert [category.isthing for category in found.items] == [False, True, False, True]


def test_binary_takes_everything_but_zero(tmp_path):
    root = folder(tmp_path, LABEL * 60, classes='{"0": "a", "60": "b", "120": "c", "180": "d"}')
    found = recognise(root, classes="binary")
    assert found.binary
    assert np.array_equal(read(root, found), LABEL > 0)


VOID = '{"0": "ground", "1": "rock", "2": "tree", "3": "Void"}'
STATED = """{"categories": [{"id": 0, "name": "ground"}, {"id": 1, "name": "rock"}, {"id": 2, "name": "tree"},
    {"id": 3, "name": "void"}], "ignore": [3]}"""


def test_binary_does_not_silently_make_void_foreground(tmp_path):
    root = folder(tmp_path, LABEL, classes=VOID)
    with pytest.raises(DataError, match=r"'Void' \(3\), which would become foreground(.|\n)*--ignore 3 "):
        recognise(root, classes="binary")
    assert recognise(root).names == ["ground", "rock", "tree", "Void"]  # as one category of several it is seen


def test_binary_takes_a_void_of_value_0_for_the_background_that_it_is(tmp_path):
    """All but 0 is foreground, whatever 0 is called; black is 0."""
    root = folder(tmp_path / "index", LABEL, classes='{"0": "unlabeled", "1": "rock", "2": "tree", "3": "bush"}')
    assert np.array_equal(read(root, recognise(root, classes="binary")), LABEL > 0)
    colors = np.uint8([[0, 0, 0], [9, 0, 0], [0, 9, 0], [0, 0, 9]])
    items = [{"id": k, "name": name, "color": colors[k].tolist()} for k, name in enumerate(("Void", "a", "b", "c"))]
    root = folder(tmp_path / "color", colors[LABEL], classes=json.dumps({"categories": items}))
    assert np.array_equal(read(root, recognise(root, classes="binary")), LABEL > 0)


@pytest.mark.parametrize(
    ("classes", "fields", "foreground"),
    [
        (VOID, {"ignore": (3,)}, (1, 2)),
        (VOID, {"ignore": ("Void",)}, (1, 2)),
        (VOID, {"ignore": ()}, (1, 2, 3)),  # stated
        (STATED, {}, (1, 2)),
    ],
)
def test_binary_ignores_what_the_recipe_or_the_folder_ignores(tmp_path, classes, fields, foreground):
    root = folder(tmp_path, LABEL, classes=classes)
    label = read(root, recognise(root, classes="binary", **fields))
    expected = np.select([np.isin(LABEL, foreground), LABEL == 0], [1, 0], IGNORE)
    assert np.array_equal(label, expected)


@pytest.mark.parametrize("ignore", [(3,), ("class_3",), ("3",)])
def test_ignored_values_are_no_category_and_reach_no_position(tmp_path, ignore):
    root = folder(tmp_path, LABEL, classes='{"0": "class_0", "1": "class_1", "2": "class_2", "3": "class_3"}')
    found = recognise(root, ignore=ignore)
    assert found.names == ["class_0", "class_1", "class_2"]
    assert np.array_equal(read(root, found) == IGNORE, LABEL == 3)


def test_an_ignored_colour_is_no_category(tmp_path):
    make.gray_png(tmp_path / "images", "i0")
    make.color_mask(tmp_path / "masks", "i0")
    found = recognise(tmp_path, ignore=("#dc143c",))
    assert "#dc143c" not in found.names
    assert np.array_equal(read(tmp_path, found) == IGNORE, LABEL == 1)


def test_chosen_names_keep_their_order_and_the_rest_is_background(tmp_path):
    root = folder(tmp_path, LABEL, classes='{"0": "sky", "1": "tree", "2": "car", "3": "road"}')
    found = recognise(root, classes=("car", "tree"))
    assert found.names == ["background", "car", "tree"]
    assert np.array_equal(read(root, found), np.select([LABEL == 2, LABEL == 1], [1, 2], 0))
    assert recognise(root, classes=("car",)).binary
    assert len(set(found.ids)) == 3


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"classes": ("tre",)}, ("sky, tree", "tre", "--classes")),
        ({"ignore": ("vod",)}, ("sky, tree", "vod", "--ignore")),
        ({"leave_out": ("bird",)}, ("sky, tree", "bird", "--leave-out")),
        ({"leave_out": ("sky", "tree")}, ("at least one category that counts",)),
        ({"ignore": ("#12",)}, ("colour", "#12")),
    ],
)
def test_names_that_do_not_exist_are_told_those_that_do(tmp_path, spec, words):
    root = folder(tmp_path, np.minimum(LABEL, 1), classes='{"0": "sky", "1": "tree"}')
    with pytest.raises(DataError) as caught:
        recognise(root, **spec)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_unknown_values_are_named_with_file_pixels_and_field(tmp_path):
    root = folder(tmp_path, LABEL, classes='{"0": "a", "1": "b"}')
    with pytest.raises(DataError) as caught:
        read(root, recognise(root))
    pixels = int((LABEL == 2).sum())
    for words in (f"2 ({pixels} px)", "3 (1 px)", str(root / "masks" / "i0.png"), "data.categories.*.values", "a: [0]"):
        assert words in str(caught.value)


def test_masks_with_too_many_values_are_told_where_they_may_belong(tmp_path):
    root = folder(tmp_path, np.arange(192, dtype=np.uint8).reshape(12, 16))
    with pytest.raises(DataError, match="instances/"):
        recognise(root)


def test_gray_is_a_colour_among_colours_and_a_number_among_grays(tmp_path):
    blue, gray, red = (0, 0, 128), (128, 128, 128), (128, 0, 0)
    colours = np.array([[blue, gray], [red, red]], np.uint8)
    root = folder(tmp_path / "colours", colours, np.full((2, 2, 3), 128, np.uint8))
    found = recognise(root)
    assert found.names == ["#000080", "#800000", "#808080"]
    assert read(root, found).tolist() == [[0, 2], [1, 1]]
    assert read(root, found, 1).tolist() == [[2, 2], [2, 2]]  # 128 as a number would be blue
    root = folder(tmp_path / "grays", np.repeat(LABEL[..., None], 3, 2))
    assert [c.values for c in recognise(root).items] == [(v,) for v in np.unique(LABEL)]
    assert np.array_equal(read(root, recognise(root)), LABEL)


def test_positions_agree_with_a_loop_over_the_values():
    items = (Category(0, "a", values=(0, 7)), Category(1, "b", values=("#00ff00", 300)), Category(2, "c", values=(-4,)))
    categories = Categories(items, ignore=(255, "#ffffff"))
    known = {0: 0, 7: 0, COLOR + 0x00FF00: 1, 300: 1, -4: 2, 255: IGNORE, COLOR + 0xFFFFFF: IGNORE}
    rng = np.random.default_rng(0)
    for values in (np.array([*known, 5, 6]), np.array([0, 7, 300, 255, 9])):  # with and without a table
        map_ = rng.choice(values, (20, 30)).astype(np.int32)
        label = positions(map_, categories)
        assert np.array_equal(label, np.vectorize(lambda v: known.get(v, 254))(map_))
        counts = unknown_counts(map_, label)
        assert counts == {v: int((map_ == v).sum()) for v in values.tolist() if v not in known}


def test_an_empty_map_has_no_positions():
    assert positions(np.zeros((0, 4), np.int32), Categories((Category(0, "a", values=(0,)),))).shape == (0, 4)


@pytest.mark.parametrize("ids", [(3, 0, 254), (3, 0, 255), (300, 1, 2)])
def test_what_is_written_reads_back(tmp_path, ids):
    items = tuple(Category(i, f"c{i}", values="rest" if i == 0 else (i + 1,)) for i in ids)
    categories = Categories(items, ignore=(9,))
    label = np.array([[0, 1], [2, IGNORE]], np.uint8)
    Image.fromarray(to_ids(label, categories)).save(tmp_path / "x.png")
    assert np.array_equal(read_label(tmp_path / "x.png", as_written(categories)), label)


@pytest.mark.parametrize("n", [0, 1, 2, 64])
def test_colours_are_distinct(n):
    assert len(set(distinct_colors(n))) == n
