"""CVAT's XML: each shape by CVAT's own rule, what is refused, and CVAT's own conversions of real exports."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage.draw import polygon2mask

import make_images as make
from maskwright.data.formats import read_source, recognised
from maskwright.data.index import build_index
from maskwright.errors import DataError
from maskwright.recipe.data import DataSpec

FIXTURES = Path(os.environ.get("MASKWRIGHT_DATA", "/nonexistent")) / "fixtures"
real = pytest.mark.skipif(not FIXTURES.is_dir(), reason="MASKWRIGHT_DATA names no folder")

LABELS = (("road", "#804080"), ("car", "#00008e"), ("lights", ""))


def write(root: Path, images: str, *, name: str = "annotations.xml", labels=LABELS) -> Path:
    """Write CVAT's XML with the given image elements; a gray 16 × 12 image a.png lies beside it."""
    declared = "".join(f"<label><name>{n}</name><color>{c}</color></label>" for n, c in labels)
    root.mkdir(parents=True, exist_ok=True)
    path = root / name
    meta = f"<meta><task><labels>{declared}</labels></task></meta>"
    path.write_text(f'<?xml version="1.0"?>\n<annotations><version>1.1</version>{meta}{images}</annotations>')
    if not (root / "a.png").exists():
        make.gray_png(root, "a")
    return path


def image(*shapes: str, name: str = "a.png", size: tuple[int, int] = (make.HEIGHT, make.WIDTH), more: str = "") -> str:
    return f'<image id="0" name="{name}" width="{size[1]}" height="{size[0]}" {more}>{"".join(shapes)}</image>'


def polygon(points: str, label: str = "road", more: str = "") -> str:
    return f'<polygon label="{label}" points="{points}" {more}/>'


def render(root: Path, position: int = 0):
    return read_source(root, "cvat").rows[position].render()


def test_categories_are_numbered_as_declared_and_a_square_covers_its_pixels(tmp_path):
    write(tmp_path, image(polygon("2,1;6,1;6,4;2,4", "car")))
    assert recognised(tmp_path) == ["cvat"]
    source = read_source(tmp_path)
    assert [(c.id, c.name, c.isthing) for c in source.categories] == [
        (0, "background", False),
        (1, "road", True),
        (2, "car", True),
        (3, "lights", True),
    ]
    assert source.categories[1].color == (0x80, 0x40, 0x80)
    expected = np.zeros((make.HEIGHT, make.WIDTH), int)
    expected[1:4, 2:6] = 2  # corners at pixel borders: x 2..6 and y 1..4
    content = source.rows[0].render()
    assert np.array_equal(content.mask, expected)
    assert np.array_equal(content.instances, expected > 0)


def test_shapes_lie_by_z_order_then_by_place_in_the_file_and_groups_are_one_object(tmp_path):
    left, right, over = "0,0;4,0;4,4;0,4", "8,0;12,0;12,4;8,4", "2,0;10,0;10,2;2,2"
    shapes = (
        polygon(over, "car", 'z_order="1"'),
        polygon(left, "road", 'group_id="7"'),
        polygon(right, "road", 'group_id="7"'),
    )
    write(tmp_path, image(*shapes))
    content = render(tmp_path)
    assert content.mask[0].tolist() == [1, 1, *[2] * 8, 1, 1, 0, 0, 0, 0]
    assert content.mask[2].tolist() == [1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0]
    assert len(np.unique(content.instances)) == 3  # nothing, the group of two, the car
    assert content.instances[3, 0] == content.instances[3, 9]


def test_a_mask_is_read_row_by_row_in_its_window(tmp_path):
    # window of 3 × 2 at x 4, y 5: rows 0 1 1 and 1 0 0 are the runs 1 zero, 3 ones, 2 zeros
    write(tmp_path, image('<mask label="car" rle="1, 3, 2" left="4" top="5" width="3" height="2"/>'))
    assert np.argwhere(render(tmp_path).mask).tolist() == [[5, 5], [5, 6], [6, 4]]


def test_a_box_turns_about_its_centre(tmp_path):
    # 6 × 2 about (5, 5), a quarter turn: 2 wide and 6 high
    box = '<box label="car" xtl="2" ytl="4" xbr="8" ybr="6" rotation="90"/>'
    write(tmp_path, image(box, polygon("0,0;1,0;1,1;0,1")))
    rows, columns = np.nonzero(render(tmp_path).mask == 2)
    assert (rows.min(), rows.max(), columns.min(), columns.max(), len(rows)) == (2, 7, 4, 5, 12)


def test_an_ellipse_turns_about_its_centre(tmp_path):
    write(tmp_path, image('<ellipse label="car" cx="8" cy="6" rx="5" ry="2" rotation="90"/>'))
    mask = render(tmp_path).mask == 2
    rows, columns = np.nonzero(mask)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (1, 11, 6, 10)
    assert abs(len(rows) - np.pi * 5.5 * 2.5) < 5  # half a pixel of border on each side


def test_a_polyline_is_drawn_ten_pixels_wide(tmp_path):
    make.gray_png(tmp_path, "a", 40, 60)
    write(tmp_path, image('<polyline label="road" points="10,20;50,20"/>', size=(40, 60)))
    assert 9 <= (render(tmp_path).mask[:, 30] == 1).sum() <= 11


def test_a_crossing_polygon_covers_what_an_odd_number_of_turns_encloses(tmp_path):
    make.gray_png(tmp_path, "a", 40, 40)
    points = [(2, 2), (38, 38), (38, 2), (2, 38)]  # a bow tie: a triangle at the left, one at the right
    write(tmp_path, image(polygon(";".join(f"{x},{y}" for x, y in points)), size=(40, 40)))
    found = render(tmp_path).mask == 1
    oracle = polygon2mask((40, 40), [(y - 0.5, x - 0.5) for x, y in points])  # pixels by their centres
    assert (found != oracle).sum() <= 2 * 36  # the two diagonals pass through pixel centres
    assert found[20, 4] and found[20, 35] and not found[4, 20] and not found[35, 20]


def test_what_reaches_over_the_border_is_cut(tmp_path):
    write(tmp_path, image(polygon("-5,-5;4,-5;4,3;-5,3")))
    assert np.argwhere(render(tmp_path).mask).max(0).tolist() == [2, 3]


def test_shapes_without_a_label_are_ignored_pixels(tmp_path):
    write(tmp_path, image(polygon("0,0;4,0;4,4;0,4", "")))
    assert read_source(tmp_path).ignore == (255,)
    assert (render(tmp_path).mask == 255).sum() == 16


def test_labels_that_are_not_declared_count_where_none_is(tmp_path):
    write(tmp_path, image(polygon("0,0;4,0;4,4;0,4", "b"), polygon("0,0;2,0;2,2;0,2", "a")), labels=())
    assert [c.name for c in read_source(tmp_path).categories] == ["background", "b", "a"]


def test_images_without_shapes_are_empty_and_those_with_points_or_tags_alone_unlabelled(tmp_path):
    for name in "bcd":
        make.gray_png(tmp_path / "images", name)
    shapes = image(polygon("0,0;4,0;4,4;0,4"))
    points = '<points label="lights" points="1,1"/>'
    write(tmp_path, shapes + image(name="b.png") + image(points, '<tag label="car"/>', name="c.png"))
    rows = {row.image: row for row in read_source(tmp_path).rows}
    assert list(rows) == ["a.png", "images/b.png", "images/c.png", "images/d.png"]
    assert not rows["images/b.png"].render().mask.any()
    assert [rows[f"images/{name}.png"].mask for name in "cd"] == [None, None]


def test_subsets_are_parts_and_lead_to_the_images(tmp_path):
    for part in ("Train", "Validation"):
        make.gray_png(tmp_path / "images" / part, "a")
    entries = [image(polygon("0,0;4,0;4,4;0,4"), more=f'subset="{part}"') for part in ("Train", "Validation")]
    write(tmp_path, "".join(entries))
    (tmp_path / "a.png").unlink()
    found = [(row.image, row.part) for row in read_source(tmp_path).rows]
    assert found == [("images/Train/a.png", "Train"), ("images/Validation/a.png", "Validation")]


@pytest.mark.parametrize("stated", ["../outside.png", "/etc/outside.png", "images/../../outside.png", "link.png"])
def test_paths_out_of_the_folder_are_not_followed(tmp_path, stated):
    make.gray_png(tmp_path, "outside")
    write(tmp_path / "data", image(polygon("0,0;4,0;4,4;0,4"), name=stated))
    (tmp_path / "data" / "link.png").symlink_to(tmp_path / "outside.png")
    with pytest.raises(DataError, match=r"outside\.png|paths inside the data folder, got 'link\.png'"):
        read_source(tmp_path / "data")


def test_files_of_several_jobs_are_read_together(tmp_path):
    make.gray_png(tmp_path, "b")
    write(tmp_path, image(polygon("0,0;4,0;4,4;0,4")), name="one.xml")
    write(tmp_path, image(polygon("0,0;4,0;4,4;0,4", "bus"), name="b.png"), name="two.xml", labels=[("bus", "")])
    source = read_source(tmp_path)
    assert [c.name for c in source.categories] == ["background", "road", "car", "lights", "bus"]
    assert source.rows[1].render().mask.max() == 4
    write(tmp_path, image(), name="three.xml")
    with pytest.raises(DataError, match=r"two for a\.png"):
        read_source(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (image('<box label="car" xtl="1" ytl="1" xbr="3" ybr="3"/>', '<tag label="car"/>'), "box, tag alone"),
        (image('<tag label="car"/>'), "tag alone"),
        ('<track id="0" label="car"><box frame="0"/></track>', "tracks of a video"),
        ("", "no image"),
        (image(name="gone.png"), r"1 that are nowhere in the folder: gone\.png"),
    ],
)
def test_what_is_refused_when_the_folder_is_read(tmp_path, content, message):
    write(tmp_path, content)
    with pytest.raises(DataError, match=message):
        read_source(tmp_path)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (polygon("1,1;2,2"), r"3 points, got 2\n.*annotations\.xml, image a\.png, shape 1 \(polygon\)"),
        (polygon("1,1;2"), "pairs of numbers"),
        (polygon("1,1;2,nan;3,3"), "pairs of numbers"),
        (polygon("100,100;120,100;120,120"), "inside the image of 16×12 pixels, got one from x 100, y 100"),
        (polygon("1,1;2,2;3,1", "bus"), "one of the labels background, road, car, lights, got bus"),
        (polygon("1,1;2,2;3,1", more='z_order="top"'), "z_order"),
        ('<mask label="car" rle="1, 3" left="4" top="5" width="3" height="2"/>', "fill 2×3|fill 3×2"),
        ('<mask label="car" rle="1, x" left="4" top="5" width="3" height="2"/>', "numbers"),
        ('<mask label="car" rle="6" left="4" width="3" height="2"/>', "a number as top"),
        ('<ellipse label="car" cx="80" cy="60" rx="5" ry="2"/>', "inside the image"),
    ],
)
def test_what_is_refused_when_a_label_is_drawn(tmp_path, shape, message):
    write(tmp_path, image(shape, polygon("1,1;2,2;3,1")))
    with pytest.raises(DataError, match=message):
        render(tmp_path)


def test_an_image_of_another_size_is_refused(tmp_path):
    write(tmp_path, image(polygon("0,0;4,0;4,4;0,4"), size=(24, 32)))
    with pytest.raises(DataError, match="state, 32×24, got 16×12"):
        render(tmp_path)


@pytest.mark.parametrize("text", ["<annotations><version>1.1</version><image", "<annotations><meta>&none;</meta>"])
def test_a_file_that_is_cut_off_is_named(tmp_path, text):
    (tmp_path / "job.xml").write_text(text)
    with pytest.raises(DataError, match=r"job\.xml"):
        read_source(tmp_path)


def test_entities_are_refused(tmp_path):
    path = write(tmp_path, image(polygon("0,0;4,0;4,4;0,4")))
    text = path.read_text().replace("<annotations>", '<!DOCTYPE a [<!ENTITY x "y">]><annotations>', 1)
    path.write_text(text)
    with pytest.raises(DataError, match="declares entities"):
        read_source(tmp_path)


@real
@pytest.mark.realdata
def test_cvats_own_conversions_are_identical(tmp_path):
    root = FIXTURES / "multiformat_2label"
    source = read_source(root, "cvat")
    rows = {Path(row.image).name: row for row in source.rows}
    ids = {category.name: category.id for category in source.categories}
    shapes = rows["shapes.jpg"].render()
    converted = np.asarray(Image.open(root / "voc1.1/SegmentationClass/shapes.png"))
    ellipses = (converted == (0, 0, 128)).all(-1)  # its labelmap.txt: ellipse:0,0,128
    assert np.array_equal(ellipses, shapes.mask == ids["ellipse"])
    coco = json.loads((root / "coco1.0/instances_default.json").read_text())
    runs = [a["segmentation"] for a in coco["annotations"] if isinstance(a["segmentation"], dict)]
    for number, run in enumerate(runs):
        height, width = run["size"]
        values = np.repeat(np.arange(len(run["counts"])) % 2, run["counts"]).reshape(width, height).T.astype(bool)
        found = {i for i in np.unique(shapes.instances[values])}
        assert len(found) == 1, number
        assert np.array_equal(shapes.instances == found.pop(), values)


@real
@pytest.mark.realdata
def test_real_exports(tmp_path):
    index, _, _ = build_index(DataSpec(root=str(FIXTURES / "multiformat_2label"), format="cvat"), tmp_path)
    assert len(index.labelled) == 4
    with pytest.raises(DataError, match=r"6 that are nowhere in the folder: frame_000002\.png"):
        read_source(FIXTURES / "cvat_duckietown")
    mini = FIXTURES / "datumaro_mini/cvat_dataset"
    assert [row.part for row in read_source(mini / "for_images/export_project").rows][::2] == [
        "Test",
        "Train",
        "Validation",
    ]
    assert len(read_source(mini / "for_images/export_task").rows) == 2
    with pytest.raises(DataError, match="tracks of a video"):
        read_source(mini / "for_video")
