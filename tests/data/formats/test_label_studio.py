"""Label Studio's exports: which image, which annotation, percent coordinates, turns, and brush strokes bit by bit."""

from __future__ import annotations

import json
import math
import os
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import make_images as make
from maskwright.data.formats import read_source, recognised
from maskwright.data.formats.brush import brush_to_mask, mask_to_brush
from maskwright.data.images import read_values
from maskwright.errors import DataError

FIXTURES = Path(os.environ.get("MASKWRIGHT_DATA", "/nonexistent")) / "fixtures" / "label_studio"
real = pytest.mark.skipif(not FIXTURES.is_dir(), reason="MASKWRIGHT_DATA names no folder")

SQUARE = {"points": [[0, 0], [50, 0], [50, 50], [0, 50]], "polygonlabels": ["cat"]}
CONFIG = (
    '<View><Image name="i" value="$image"/><PolygonLabels name="l" toName="i"><Label value="dog" background="#0000ff"/>'
)
CONFIG += '<Label value="cat" background="red"/></PolygonLabels></View>'


def result(value: dict, number: str = "r1", size: tuple[int, int] = (make.HEIGHT, make.WIDTH), **more: object) -> dict:
    return {"id": number, "to_name": "i", "value": value, "original_height": size[0], "original_width": size[1], **more}


def task(*results: dict, image: str = "a.png", **more: object) -> dict:
    return {"id": 5, "annotations": [{"id": 1, "result": list(results)}], "data": {"image": image}, **more}


def write(root: Path, *tasks: dict, config: str | None = CONFIG, image: str = "a") -> Path:
    root.mkdir(parents=True, exist_ok=True)
    (root / "export.json").write_text(json.dumps(tasks))
    if config is not None:
        (root / "config.xml").write_text(config)
    make.gray_png(root / "images", image)
    return root


def encode(values: np.ndarray, sizes: tuple[int, ...] = (3, 4, 8, 16)) -> list[int]:
    """Return the bit stream of values: runs of equal ones as runs, single ones one by one."""
    bits = f"{len(values):032b}{7:05b}" + "".join(f"{size - 1:04b}" for size in sizes)
    edges = [0, *(np.flatnonzero(np.diff(values.astype(int))) + 1).tolist(), len(values)]
    for start, stop in pairwise(edges):
        while start < stop:
            length = min(stop - start, 1 << sizes[-1])
            which = next(i for i, size in enumerate(sizes) if length <= 1 << size)
            bits += f"{int(length > 1)}{which:02b}{length - 1:0{sizes[which]}b}{int(values[start]):08b}"
            start += length
    bits += "0" * (-len(bits) % 8)
    return [int(bits[i : i + 8], 2) for i in range(0, len(bits), 8)]


def brush(mask: np.ndarray) -> list[int]:
    """Return the stream of a brush: red, green and blue of a stroke, and its alpha from the mask."""
    rgba = np.full((*mask.shape, 4), 90, np.uint8)
    rgba[..., 3] = mask
    return encode(rgba.ravel())


def test_a_polygon_in_percent_and_labels_in_the_order_of_the_configuration(tmp_path):
    root = write(tmp_path, task(result(SQUARE)))
    assert recognised(root) == ["label_studio"]
    source = read_source(root)
    assert [(c.id, c.name, c.color) for c in source.categories] == [
        (0, "background", (0, 0, 0)),
        (1, "dog", (0, 0, 255)),
        (2, "cat", (255, 0, 0)),
    ]
    expected = np.zeros((make.HEIGHT, make.WIDTH), int)
    expected[: make.HEIGHT // 2, : make.WIDTH // 2] = 2
    assert np.array_equal(source.rows[0].render().mask, expected)


def test_without_a_configuration_labels_are_sorted(tmp_path):
    other = result({**SQUARE, "polygonlabels": ["ape"]}, "r2")
    assert [c.name for c in read_source(write(tmp_path, task(result(SQUARE), other), config=None)).categories] == [
        "background",
        "ape",
        "cat",
    ]


@pytest.mark.parametrize(
    ("stated", "name"),
    [
        ("a.png", "a"),
        ("/data/upload/12/0a1b2c3d-photo.png", "photo"),
        ("/data/upload/12/0a1b2c3d-photo.png", "0a1b2c3d-photo"),
        ("/data/local-files/?d=images/my%20photo.png", "my photo"),
        ("https://host:8080/some/where/photo.png?token=1", "photo"),
        ("s3://bucket/some/photo.png", "photo"),
        ("some\\photo.png", "photo"),
        ("/image2", "photo"),
    ],
)
def test_images_are_found_by_what_an_address_ends_with(tmp_path, stated, name):
    root = write(tmp_path, task(result(SQUARE), image=stated, file_upload="e97d4735-photo.png"), image=name)
    assert [(row.image, row.render is not None) for row in read_source(root).rows] == [(f"images/{name}.png", True)]


def test_json_min(tmp_path):
    entry = {"image": "/data/upload/1/0a1b2c3d-a.png", "id": 3, "annotator": 1}
    entry["l"] = [{**SQUARE, "original_width": make.WIDTH, "original_height": make.HEIGHT}]
    root = write(tmp_path, entry)
    assert recognised(root) == ["label_studio"]
    assert (read_source(root).rows[0].render().mask == 2).sum() == 48


def test_the_first_annotation_that_is_not_cancelled_counts_and_predictions_do_not(tmp_path):
    for name in "bcd":
        make.gray_png(tmp_path / "images", name)
    cancelled, kept = {"was_cancelled": True, "result": []}, {"result": [result(SQUARE)]}
    choice = {"type": "choices", "value": {"choices": ["blurred"]}}
    root = write(
        tmp_path,
        {"id": 1, "annotations": [cancelled, kept, {"result": []}], "data": {"image": "a.png"}},
        {"id": 2, "annotations": [cancelled], "data": {"image": "b.png"}},
        {"id": 3, "predictions": [kept], "data": {"image": "c.png"}},
        {"id": 4, "annotations": [{"result": [choice]}], "data": {"image": "d.png"}},
        {"id": 5, "annotations": [{"result": []}], "data": {"image": "e.png"}},
    )
    make.gray_png(root / "images", "e")
    rows = {Path(row.image).stem: row for row in read_source(root).rows}
    assert {name: row.render is not None for name, row in rows.items()} == dict(
        a=True, b=False, c=False, d=False, e=True
    )
    assert rows["a"].render().mask.any()
    assert not rows["e"].render().mask.any()


def test_a_label_may_come_from_another_control_and_without_one_pixels_are_ignored(tmp_path):
    bare = {"points": SQUARE["points"]}
    other = {"points": [[50, 50], [100, 50], [100, 100], [50, 100]]}
    named = {"id": "r1", "type": "labels", "value": {"labels": ["dog"]}}
    root = write(tmp_path, task(result(bare), named, result(other, "r2")))
    mask = read_source(root).rows[0].render().mask
    assert (mask[0, 0], mask[-1, -1], mask[0, -1]) == (1, 255, 0)


def test_rectangles_turn_about_their_upper_left_corner(tmp_path):
    # 8 × 2 pixels from (8, 2), a quarter clockwise: down from there, to the left of x = 8
    box = {"x": 50, "y": 100 / 6, "width": 50, "height": 100 / 6, "rotation": 90, "rectanglelabels": ["dog"]}
    root = write(tmp_path, task(result(box), result(SQUARE, "r2")))
    rows, columns = np.nonzero(read_source(root).rows[0].render().mask == 1)
    assert (columns.min(), columns.max()) == (6, 7)
    assert (rows.min(), rows.max()) == (6, 9)  # rows 2 to 5 lie below the polygon


def test_ellipses_turn_about_their_centre(tmp_path):
    make.gray_png(tmp_path / "images", "a", 100, 200)
    oval = {"x": 50, "y": 50, "radiusX": 20, "radiusY": 10, "rotation": 90, "ellipselabels": ["dog"]}
    root = tmp_path
    root.joinpath("export.json").write_text(json.dumps([task(result(oval, size=(100, 200)))]))
    rows, columns = np.nonzero(read_source(root).rows[0].render().mask == 1)
    # 40 along x and 10 along y, turned: 10 and 40 about (100, 50)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (10, 89, 90, 109)
    assert abs(len(rows) - math.pi * 400) < 10


def test_a_brush_keeps_its_holes(tmp_path):
    ring = np.zeros((make.HEIGHT, make.WIDTH), np.uint8)
    ring[2:9, 3:10] = 255
    ring[4:7, 5:8] = 0
    ring[11, 15] = 127  # less than half covered
    ring[11, 14] = 128
    root = write(tmp_path, task(result({"format": "rle", "rle": brush(ring), "brushlabels": ["cat"]})))
    content = read_source(root).rows[0].render()
    assert np.array_equal(content.mask == 2, ring >= 128)
    assert content.instances.max() == 1


def test_a_stream_worked_by_hand():
    # 4 values of 8 bits, all lengths of 1 bit: a run of 2 × 7, then one by one 9 and 200
    bits = f"{4:032b}" + "00111" + "0000" * 4 + "1001" + f"{7:08b}" + "0001" + f"{9:08b}{200:08b}"
    bits += "0" * (-len(bits) % 8)
    data = [int(bits[i : i + 8], 2) for i in range(0, len(bits), 8)]
    assert brush_to_mask(data, (1, 1), where="").tolist() == [[True]]


def test_streams_of_noise():
    mask = np.random.default_rng(3).integers(0, 256, (17, 23)).astype(np.uint8)
    assert np.array_equal(brush_to_mask(brush(mask), mask.shape, where=""), mask >= 128)


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (40, 7), (200, 300)])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 1.0])
def test_brushes_are_written_as_they_are_read(size, share):
    """Against the other encoder, which builds the stream value by value; long runs are cut at 65 536 values in both."""
    mask = np.random.default_rng(0).random(size) < share
    stream = mask_to_brush(mask)
    assert stream == encode(np.repeat(np.uint8(255) * mask.ravel(), 4))
    assert np.array_equal(brush_to_mask(stream, size, where=""), mask)


@pytest.mark.parametrize(
    ("rle", "message"),
    [
        (brush(np.zeros((3, 3)))[:9], "cut off after 9 bytes"),
        (brush(np.zeros((3, 3)))[:3], "cut off after 3 bytes"),
        (brush(np.zeros((3, 4))), "4 values for each of 3×3 pixels, 36, got 48"),
        ([0, 0, 0, 36, 0, 0, 0, 0], "values of 8 bits, got 1"),
        ([0, 0, 300], "list of bytes"),
        ("text", "list of bytes"),
        (None, "list of bytes"),
    ],
)
def test_streams_that_are_refused(rle, message):
    with pytest.raises(DataError, match=message):
        brush_to_mask(rle, (3, 3), where="here")


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        ([task(result({"x": 1, "y": 1, "width": 5, "height": 5, "rectanglelabels": ["cat"]}))], "rectangles alone"),
        ([task({"type": "choices", "value": {"choices": ["x"]}})], "points, choices or the like alone"),
        ([task(result(SQUARE), image="gone.png")], r"1 that are nowhere in the folder: gone\.png"),
        ([task(result(SQUARE), image="../../a.txt")], r"nowhere in the folder: a\.txt"),
        ([task(result(SQUARE)), task(result(SQUARE))], r"two for images/a\.png"),
        ([task(result(SQUARE)), 7], "tasks of Label Studio, got 7"),
        ([task(result({**SQUARE, "polygonlabels": ["cat", "dog"]}))], "one label a region, got cat, dog"),
    ],
)
def test_what_is_refused_when_the_folder_is_read(tmp_path, tasks, message):
    with pytest.raises(DataError, match=message):
        read_source(write(tmp_path, *tasks), "label_studio")


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (result(SQUARE, size=(24, 32)), "state, 32×24, got 16×12"),
        (result({**SQUARE, "points": [[150, 0], [200, 0], [200, 50]]}), "inside the image"),
        (result({**SQUARE, "points": [[1, 2, 3]]}), "pairs of numbers"),
        (result({**SQUARE, "points": [[1, None], [2, 2], [3, 3]]}), "pairs of numbers"),
    ],
)
def test_what_is_refused_when_a_label_is_drawn(tmp_path, found, message):
    row = read_source(write(tmp_path, task(found))).rows[0]
    with pytest.raises(DataError, match=message):
        row.render()


@pytest.mark.parametrize("more", [{"image_rotation": 90}, {"original_width": None}])
def test_images_that_were_turned_are_refused(tmp_path, more):
    with pytest.raises(DataError, match="size of an image that isn't turned"):
        read_source(write(tmp_path, task({**result(SQUARE), **more})))


def test_polygons_that_were_given_up_are_nothing(tmp_path):
    clicks = {"points": [[10, 10], [20, 20]], "polygonlabels": ["cat"], "closed": False}
    assert not read_source(write(tmp_path, task(result(clicks)))).rows[0].render().mask.any()


def test_a_file_that_is_cut_off_is_named(tmp_path):
    root = write(tmp_path, task(result(SQUARE)))
    text = (root / "export.json").read_text()
    (root / "export.json").write_text(text[: len(text) // 2])
    with pytest.raises(DataError, match=r"export\.json"):
        read_source(root)


@real
@pytest.mark.realdata
def test_a_real_brush_export_is_what_its_masks_are():
    root = FIXTURES / "brush_made_with_sdk"
    rows = read_source(root, "label_studio").rows
    assert len(rows) == 3
    for row in rows:
        expected = read_values(root / "masks" / Path(row.image).name)
        content = row.render()
        assert np.array_equal(content.instances, expected)
        assert np.array_equal(content.mask, expected > 0)


@real
@pytest.mark.realdata
@pytest.mark.parametrize(
    ("folder", "image", "size", "names"),
    [
        ("export_mixed", "test_image1.jpg", (320, 500), ["background", "rectangle_label", "polygon_label"]),
        ("polygons", "000000000025.jpg", (426, 640), ["background", "Airplane", "Car"]),
    ],
)
def test_real_exports_beside_images_of_their_size(tmp_path, folder, image, size, names):
    for path in (FIXTURES / folder).iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    with pytest.raises(DataError, match=image):
        read_source(tmp_path)
    make.bgr_jpeg(tmp_path, Path(image).stem, *size)
    source = read_source(tmp_path)
    assert [c.name for c in source.categories] == names
    assert set(np.unique(source.rows[0].render().mask)) == ({0, 1, 2} if folder == "export_mixed" else {0, 1})
