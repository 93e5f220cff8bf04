"""LabelMe's JSON: every shape, labels.txt, embedded images, and what its own converters make of real files."""

from __future__ import annotations

import base64
import io
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

import make_images as make
from maskwright.data.formats import read_source, recognised
from maskwright.data.images import read_image
from maskwright.data.index import build_index
from maskwright.errors import DataError
from maskwright.recipe.data import DataSpec

DATA = Path(os.environ.get("MASKWRIGHT_DATA", "/nonexistent"))
real = pytest.mark.skipif(not DATA.is_dir(), reason="MASKWRIGHT_DATA names no folder")
HEIGHT, WIDTH = 40, 60


def png(array) -> str:
    memory = io.BytesIO()
    Image.fromarray(array).save(memory, "PNG")
    return base64.b64encode(memory.getvalue()).decode()


def shape(kind, points, label="a", **fields):
    return {"label": label, "points": points, "group_id": None, "shape_type": kind, "flags": {}} | fields


def box(left, top, right, bottom, label="a", **fields):
    return shape("rectangle", [[left, top], [right, bottom]], label, **fields)


def write(root: Path, shapes, name="x", **fields) -> Path:
    tree = {
        "version": "5.2.1",
        "flags": {},
        "shapes": shapes,
        "imagePath": f"{name}.png",
        "imageData": None,
        "imageHeight": HEIGHT,
        "imageWidth": WIDTH,
    }
    path = root / f"{name}.json"
    path.write_text(json.dumps(tree | fields))
    return path


def render(root: Path):
    return next(row for row in read_source(root).rows if row.render).render()


@pytest.fixture
def root(tmp_path):
    make.gray_png(tmp_path, "x", HEIGHT, WIDTH)
    return tmp_path


def pillow(how):
    canvas = Image.new("L", (WIDTH, HEIGHT), 0)
    how(ImageDraw.Draw(canvas))
    return np.array(canvas) > 0


RING = [(3.5, 4.2), (30.1, 8.8), (22.0, 35.7)]
# as labelme.utils.shape_to_mask draws them: lines 10 wide, points of radius 5, circles by centre and a point on them
SHAPES = [
    (shape("polygon", RING), lambda draw: draw.polygon(RING, outline=1, fill=1)),
    (shape(None, RING), lambda draw: draw.polygon(RING, outline=1, fill=1)),
    (shape("rectangle", [[30, 20], [3.5, 4]]), lambda draw: draw.rectangle([3.5, 4, 30, 20], outline=1, fill=1)),
    (shape("circle", [[30, 20], [33, 24]]), lambda draw: draw.ellipse([25, 15, 35, 25], outline=1, fill=1)),
    (shape("line", [[5, 5], [40, 30]]), lambda draw: draw.line([(5, 5), (40, 30)], fill=1, width=10)),
    (shape("linestrip", RING), lambda draw: draw.line(RING, fill=1, width=10)),
    (shape("point", [[30, 20]]), lambda draw: draw.ellipse([25, 15, 35, 25], outline=1, fill=1)),
    (shape("oriented_rectangle", [*RING, (4, 30)]), lambda draw: draw.polygon([*RING, (4, 30)], outline=1, fill=1)),
]


@pytest.mark.parametrize(("item", "how"), SHAPES, ids=[str(item["shape_type"]) for item, _ in SHAPES])
def test_every_shape_as_labelme_draws_it(root, item, how):
    write(root, [item])
    assert recognised(root) == ["labelme"]
    assert np.array_equal(render(root).mask == 1, pillow(how))


def test_masks_fill_the_box_between_their_corners(root):
    # columns 5 to 7 and rows 10 to 11; corners may have decimals, which LabelMe cuts off
    pixels = np.array([[0, 255, 255], [255, 0, 0]], np.uint8)
    write(root, [shape("mask", [[5.9, 10.0], [7.0, 11.0]], mask=png(pixels))])
    expected = np.zeros((HEIGHT, WIDTH), bool)
    expected[10:12, 5:8] = pixels > 0
    assert np.array_equal(render(root).mask == 1, expected)


def test_later_shapes_lie_on_top_and_groups_are_one_object(root):
    shapes = [
        box(0, 0, 9, 9, "b", group_id=1),
        box(5, 0, 14, 9, "a"),
        box(20, 0, 24, 9, "b", group_id=1),
        box(30, 0, 34, 9, "a", group_id=1),
        box(0, 5, 2, 9, "__ignore__"),
        box(40, 0, 42, 9, "_background_"),
    ]
    write(root, shapes)
    source = read_source(root)
    assert [(c.id, c.name) for c in source.categories] == [(0, "background"), (1, "a"), (2, "b")]
    assert source.ignore == (255,)
    content = source.rows[0].render()
    assert content.mask[7, [0, 3, 6, 12, 22, 32, 41, 50]].tolist() == [255, 2, 1, 1, 2, 1, 0, 0]
    assert content.instances[7, [0, 3, 6, 12, 22, 32, 50]].tolist() == [0, 1, 2, 2, 1, 3, 0]


def test_labels_txt_gives_the_order(root):
    write(root, [box(0, 0, 9, 9, "b")])
    (root / "labels.txt").write_text("__ignore__\n_background_\nb\na\n")
    source = read_source(root)
    assert [(c.id, c.name, c.isthing) for c in source.categories] == [
        (0, "background", False),
        (1, "b", True),
        (2, "a", True),
    ]
    (root / "labels.txt").write_text("a\n")
    with pytest.raises(DataError, match=r"labels among a, got b in x\.json"):
        read_source(root)


def test_an_embedded_image_is_used_where_no_file_is(tmp_path):
    pixels = make.pattern(HEIGHT, WIDTH).astype(np.uint8)
    (tmp_path / "deep").mkdir()
    write(tmp_path / "deep", [box(0, 0, 9, 9)], imageData=png(pixels), imageHeight=None, imageWidth=None)
    index, _, _ = build_index(DataSpec(root=str(tmp_path)), tmp_path / "run")
    assert index.images == ["@/images/deep/x.png"]
    assert np.array_equal(read_image(index.path(index.images[0]))[..., 0], pixels)
    assert (index.read_label(0) == 1).sum() == 100
    make.gray_png(tmp_path / "deep", "x", HEIGHT, WIDTH)
    assert [row.image for row in read_source(tmp_path).rows] == ["deep/x.png"]


def test_paths_of_windows_and_to_folders_beside_are_found_by_the_file_name(tmp_path):
    make.gray_png(tmp_path / "photos", "x", HEIGHT, WIDTH)
    make.gray_png(tmp_path / "photos", "y", HEIGHT, WIDTH)
    (tmp_path / "json").mkdir()
    write(tmp_path / "json", [box(0, 0, 9, 9)], imagePath="..\\photos\\x.png")
    assert [(row.image, row.mask) for row in read_source(tmp_path).rows] == [
        ("photos/x.png", "@/masks/photos/x.png"),
        ("photos/y.png", None),
    ]
    make.gray_png(tmp_path.parent, "outside", HEIGHT, WIDTH)
    write(tmp_path / "json", [], imagePath="../../outside.png")
    with pytest.raises(DataError, match="nowhere"):
        read_source(tmp_path)


def test_pictures_of_labelmes_converter_are_no_images(root):
    write(root, [box(0, 0, 9, 9)])
    for name in ("img", "label", "label_viz"):
        make.gray_png(root / "x_json", name, HEIGHT, WIDTH)
    (root / "x_json" / "label_names.txt").write_text("_background_\na")
    assert [row.image for row in read_source(root).rows] == ["x.png"]


@pytest.mark.parametrize(
    ("item", "words"),
    [
        (shape("polygon", [[1, 1], [2, 2]]), ("at least 3 points", "2")),
        (shape("circle", [[1, 1]]), ("2 points for a circle", "1")),
        (shape("polygon", None), ("at least 3 points", "0")),
        (shape("spiral", [[1, 1]]), ("polygon, rectangle", "spiral")),
        (shape("polygon", RING, label=""), ("label",)),
    ],
)
def test_shapes_that_are_refused_name_file_and_shape(root, item, words):
    write(root, [box(0, 0, 1, 1), item])
    with pytest.raises(DataError) as caught:
        read_source(root)
    assert all(word in str(caught.value) for word in (*words, "x.json, shape 2")), str(caught.value)


@pytest.mark.parametrize(
    ("item", "words"),
    [
        (shape("polygon", [[1, 1], [2, 2], ["a", 3]]), ("pairs of numbers",)),
        (shape("mask", [[0, 0], [1, 1]], mask="abc"), ("base64",)),
        (shape("mask", [[0, 0], [1, 1]], mask=None), ("base64",)),
        (shape("mask", [[0, 0], [5, 1]], mask=png(np.ones((2, 2), np.uint8))), ("6×2 pixels", "2×2")),
    ],
)
def test_shapes_that_can_not_be_drawn_name_file_and_shape(root, item, words):
    write(root, [box(0, 0, 1, 1), item])
    with pytest.raises(DataError) as caught:
        render(root)
    assert all(word in str(caught.value) for word in (*words, "x.json, shape 2")), str(caught.value)


def test_files_that_are_refused(root):
    path = write(root, [box(0, 0, 1, 1)])
    (root / "y.json").write_text(path.read_text())
    with pytest.raises(DataError, match=r"another one of x\.png(.|\n)*y\.json"):
        read_source(root)
    (root / "y.json").unlink()
    (root / "x.png").unlink()
    with pytest.raises(DataError, match=r"1 that are nowhere in the folder: x\.png of x\.json"):
        read_source(root)
    path.write_text(path.read_text()[:-9])
    with pytest.raises(DataError, match=r"JSON(.|\n)*x\.json"):
        read_source(root)


def by_labelme(path: Path, names: list[str]):
    """Return class and object map as labelme.utils.shapes_to_label makes them of polygons, with the Pillow of today."""
    tree = json.loads(path.read_text())
    classes = np.zeros((tree["imageHeight"], tree["imageWidth"]), np.int32)
    objects, found = np.zeros_like(classes), []
    for place, item in enumerate(tree["shapes"]):
        canvas = Image.new("L", classes.shape[::-1], 0)
        ImageDraw.Draw(canvas).polygon([tuple(point) for point in item["points"]], outline=1, fill=1)
        key = (item["label"], place if item["group_id"] is None else ("group", item["group_id"]))
        found += [] if key in found else [key]
        ignored = item["label"] == "__ignore__"
        classes[np.array(canvas) > 0] = 255 if ignored else names.index(item["label"])
        objects[np.array(canvas) > 0] = 0 if ignored else found.index(key) + 1
    return classes, objects


def same_objects(first, second) -> bool:
    joint = np.unique(np.stack([first.ravel(), second.ravel()]), axis=1).shape[1]
    return joint == len(np.unique(first)) == len(np.unique(second)) and np.array_equal(first > 0, second > 0)


@real
@pytest.mark.realdata
@pytest.mark.parametrize("name", ["instance_voc2011", "semantic_voc2011"])
def test_real_photos_as_labelme_converted_them(name, tmp_path):
    fixture = DATA / "fixtures/labelme" / name
    shutil.copytree(DATA / "fixtures/labelme/instance_voc2011/data_annotated", tmp_path / "data")
    for file in fixture.rglob("2011*.json"):
        shutil.copy(file, tmp_path / "data")
    shutil.copy(fixture / "labels.txt", tmp_path)
    names = [line.strip() for line in (fixture / "labels.txt").read_text().splitlines()[1:]]
    source = read_source(tmp_path)
    assert [c.name for c in source.categories] == ["background", *names[1:]]
    assert len(source.rows) == 3
    for row in source.rows:
        stem, content = Path(row.image).stem, row.render()
        classes, objects = by_labelme(tmp_path / "data" / f"{stem}.json", names)
        assert np.array_equal(content.mask, classes)
        assert same_objects(content.instances, objects)
        written = {path.parent.name: np.array(Image.open(path)) for path in fixture.rglob(f"{stem}.png")}
        # made with the Pillow of 2020, which draws one pixel of one polygon otherwise: (290, 104) of 2011_000006
        expected = 1 if stem == "2011_000006" else 0
        assert (written["SegmentationClass"] != content.mask).sum() == expected
        if "SegmentationObject" in written:
            kept = written["SegmentationClass"] == content.mask
            assert same_objects(np.where(kept, written["SegmentationObject"], 0), np.where(kept, content.instances, 0))


@real
@pytest.mark.realdata
def test_a_real_embedded_image_as_labelme_converted_it():
    folder = DATA / "fixtures/labelme/embedded_imagedata"
    names = (folder / "label_names.txt").read_text().split()
    source = read_source(folder)
    assert [c.name for c in source.categories] == ["background", *names[1:]]
    (row,) = source.rows
    content = row.render()
    assert row.image == "@/images/apc2016_obj3.png"
    assert content.image.shape == (907, 1210, 3)
    assert np.array_equal(content.mask, by_labelme(folder / "apc2016_obj3.json", names)[0])
    # made with an older Pillow: 8 pixels of the outlines, of 1.1 million
    assert (np.array(Image.open(folder / "label.png")) != content.mask).sum() == 8


@real
@pytest.mark.realdata
def test_real_shapes_of_every_type():
    (row,) = read_source(DATA / "fixtures/labelme/primitives").rows
    content = row.render()
    assert content.mask.shape == (450, 560)
    assert content.instances.max() == 8  # two of them are rectangles
    # 101×101 and 152×103 pixels, borders included
    assert (content.mask == 7).sum() == 101 * 101 + 152 * 103


@real
@pytest.mark.realdata
def test_real_grapes():
    rows = read_source(DATA / "fixtures/labelme/grapes").rows
    assert len(rows) == 9
    assert sum(int(row.render().instances.max()) for row in rows) == 30
