"""VIA: JSON, projects and CSV, every shape, which attribute is the category, and real exports."""

from __future__ import annotations

import csv
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

import make_images as make
from maskwright.data.formats import read_source, recognised
from maskwright.errors import DataError

DATA = Path(os.environ.get("MASKWRIGHT_DATA", "/nonexistent"))
real = pytest.mark.skipif(not DATA.is_dir(), reason="MASKWRIGHT_DATA names no folder")
HEIGHT, WIDTH = 40, 60
RING = [(3, 4), (30, 8), (22, 35)]


def region(name="polygon", attributes=None, **shape):
    shape = shape or {"all_points_x": [x for x, _ in RING], "all_points_y": [y for _, y in RING]}
    chosen = {"label": "a"} if attributes is None else attributes
    return {"shape_attributes": {"name": name, **shape}, "region_attributes": chosen}


def entries(*regions, name="x.png"):
    return {f"{name}99": {"filename": name, "size": 99, "regions": list(regions), "file_attributes": {}}}


def write(root: Path, tree, name="via.json") -> Path:
    (root / name).write_text(json.dumps(tree))
    return root / name


def write_csv(root: Path, *regions, hash_sign="") -> Path:
    columns = ["filename", "file_size", "file_attributes", "region_count", "region_id"]
    with open(root / "via.csv", "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow([hash_sign + columns[0], *columns[1:], "region_shape_attributes", "region_attributes"])
        for place, item in enumerate(regions):
            shape, attributes = (json.dumps(item[key]) for key in ("shape_attributes", "region_attributes"))
            rows.writerow(["x.png", 99, "{}", len(regions), place, shape, attributes])
    return root / "via.csv"


@pytest.fixture
def root(tmp_path):
    make.gray_png(tmp_path, "x", HEIGHT, WIDTH)
    return tmp_path


def pillow(how):
    canvas = Image.new("L", (WIDTH, HEIGHT), 0)
    how(ImageDraw.Draw(canvas))
    return np.array(canvas) > 0


SHAPES = [
    (region(), lambda draw: draw.polygon(RING, outline=1, fill=1)),
    (region("rect", x=40, y=5, width=6, height=9), lambda draw: draw.rectangle([40, 5, 46, 14], outline=1, fill=1)),
    (region("circle", cx=30, cy=20, r=5), lambda draw: draw.ellipse([25, 15, 35, 25], outline=1, fill=1)),
    (region("ellipse", cx=30, cy=20, rx=9, ry=5), lambda draw: draw.ellipse([21, 15, 39, 25], outline=1, fill=1)),
    (region("point", cx=30, cy=20), lambda draw: draw.ellipse([25, 15, 35, 25], outline=1, fill=1)),
    (
        region("polyline", all_points_x=[5, 40], all_points_y=[5, 30]),
        lambda draw: draw.line([(5, 5), (40, 30)], fill=1, width=10),
    ),
]


@pytest.mark.parametrize(("item", "how"), SHAPES, ids=[item["shape_attributes"]["name"] for item, _ in SHAPES])
def test_every_shape(root, item, how):
    other = region("polygon", {"label": "z"}, all_points_x=[55, 59, 59], all_points_y=[30, 30, 39])
    write(root, entries(item, other))
    assert recognised(root) == ["via"]
    assert np.array_equal(read_source(root).rows[0].render().mask == 1, pillow(how))


def test_an_ellipse_that_is_turned_by_a_quarter_is_one_with_the_radii_exchanged(root):
    write(root, entries(region("ellipse", cx=30, cy=20, rx=5, ry=12, theta=np.pi / 2)))
    mask = read_source(root).rows[0].render().mask > 0
    rows, columns = np.nonzero(mask)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (15, 25, 18, 42)
    assert mask.sum() == pytest.approx(np.pi * 5.5 * 12.5, rel=0.05)


@pytest.mark.parametrize("form", ["annotations", "project", "version 1", "csv", "csv 1"])
def test_all_files_say_the_same(root, form):
    regions = [region(), region("rect", {"label": "b"}, x=1, y=1, width=3, height=3)]
    tree = entries(*regions)
    if form.startswith("csv"):
        write_csv(root, *regions, hash_sign="#" if form == "csv 1" else "")
    elif form == "project":
        write(root, {"_via_settings": {}, "_via_img_metadata": tree, "_via_attributes": {}})
    else:
        if form == "version 1":
            tree["x.png99"]["regions"] = {str(i): item for i, item in enumerate(regions)}
        write(root, tree)
    source = read_source(root)
    assert source.format == "via"
    assert [(c.id, c.name) for c in source.categories] == [(0, "background"), (1, "a"), (2, "b")]
    content = source.rows[0].render()
    assert (content.mask == 2).sum() == 16
    assert content.instances.max() == 2


def test_what_is_listed_twice_counts_once_in_one_file_and_in_two(root):
    regions = [region(), region("rect", {"label": "b"}, x=1, y=1, width=3, height=3)]
    write(root, entries(*regions, *regions))
    write_csv(root, *regions)
    assert read_source(root).rows[0].render().instances.max() == 2
    write_csv(root, regions[0])
    with pytest.raises(DataError, match=r"regions of x\.png that .*via\.json has"):
        read_source(root)


@pytest.mark.parametrize(
    ("attributes", "name"),
    [
        ({}, "object"),
        ({"species": "fig"}, "fig"),
        ({"species": {"fig": True, "nut": False}}, "fig"),
        ({"quality": "good", "class": "fig"}, "fig"),
    ],
)
def test_the_category_is_the_only_attribute_or_the_one_that_is_called_so(root, attributes, name):
    write(root, entries(region(attributes=attributes)))
    assert [c.name for c in read_source(root).categories] == ["background", name]


@pytest.mark.parametrize(
    ("regions", "words"),
    [
        ([region(attributes={"type": "x", "class": "y"})], ("class, type",)),
        ([region(attributes={"color": "x", "size": "y"})], ("color, size",)),
        ([region(), region(attributes={})], ("label for every region", "x.png")),
        ([region(attributes={"label": {"a": True, "b": True}})], ("one label",)),
        ([region("rect", x=1, y=1, width=2, height=2)], ("boxes alone",)),
        ([], ("none",)),
        ([{"region_attributes": {}}], ("shape_attributes", "region 0 of x.png")),
    ],
)
def test_files_that_are_refused(root, regions, words):
    write(root, entries(*regions))
    with pytest.raises(DataError) as caught:
        read_source(root)
    assert all(word in str(caught.value) for word in (*words, "via.json")), str(caught.value)


@pytest.mark.parametrize(
    "item",
    [
        region(all_points_x=[1, 2], all_points_y=[1, 2]),
        region(all_points_x=[1, 2, 3], all_points_y=[1, 2]),
        region("circle", cx=1, cy=1),
        region("circle", cx=1, cy=1, r="x"),
        region("star", x=1),
    ],
)
def test_regions_that_can_not_be_drawn_name_file_and_region(root, item):
    write(root, entries(region(), item))
    with pytest.raises(DataError, match=r"via\.json, region 1 of x\.png"):
        read_source(root).rows[0].render()


def test_images_that_are_not_there_and_files_that_are_cut_off(root):
    path = write(root, entries(region(), name="y.png"))
    with pytest.raises(DataError, match=r"nowhere in the folder: y\.png"):
        read_source(root)
    path.write_text(path.read_text()[:-5])
    with pytest.raises(DataError, match=r"via\.json"):
        read_source(root)
    path.unlink()
    table = write_csv(root, region())
    table.write_text(table.read_text().replace('{""name""', '{""name'))
    with pytest.raises(DataError, match=r"via\.csv"):
        read_source(root)


@real
@pytest.mark.realdata
def test_real_files_of_which_one_lists_boxes_twice(tmp_path):
    fixture = DATA / "fixtures/multiformat_2label"
    shutil.copytree(fixture / "via", tmp_path / "via")
    shutil.copytree(fixture / "images", tmp_path / "images")
    source = read_source(tmp_path)
    rows = {Path(row.image).stem: row.render() for row in source.rows}
    assert {name: int(content.instances.max()) for name, content in rows.items()} == {
        "birds": 2,
        "crack": 1,
        "shapes": 5,
        "strawberry": 17,
    }
    tree = json.loads((tmp_path / "via/via_region_data.json").read_text())
    assert len(tree["strawberry.jpg211988"]["regions"]) == 34
