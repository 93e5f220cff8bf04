"""LabelMe's XML: polygons, masks in PNGs, deleted objects, and real exports."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import make_images as make
from maskwright.data.formats import read_source, recognised
from maskwright.data.written import write_array
from maskwright.errors import DataError

DATA = Path(os.environ.get("MASKWRIGHT_DATA", "/nonexistent"))
real = pytest.mark.skipif(not DATA.is_dir(), reason="MASKWRIGHT_DATA names no folder")
HEIGHT, WIDTH = 12, 16


def item(name, left=0, top=0, side=3, deleted=0, body=None):
    corners = [(left, top), (left + side, top), (left + side, top + side), (left, top + side)]
    points = "".join(f"<pt><x>{x}</x><y>{y}</y></pt>" for x, y in corners)
    inner = f"<polygon><username>me</username>{points}</polygon>" if body is None else body
    return f"<object><name>{name}</name><deleted>{deleted}</deleted>{inner}</object>"


def write(root: Path, *objects: str, name="x", size=f"<nrows>{HEIGHT}</nrows><ncols>{WIDTH}</ncols>") -> Path:
    path = root / "Annotations" / "s1" / f"{name}.xml"
    path.parent.mkdir(parents=True, exist_ok=True)
    head = f"<filename>{name}.png</filename><folder>s1</folder>"
    path.write_text(f"<annotation>{head}<imagesize>{size}</imagesize>{''.join(objects)}</annotation>")
    return path


@pytest.fixture
def root(tmp_path):
    make.gray_png(tmp_path / "Images" / "s1", "x", HEIGHT, WIDTH)
    return tmp_path


def test_polygons_and_masks_in_the_order_of_the_file(root):
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[2:6, 2:6] = 255
    write_array(root / "Masks" / "s1" / "x_mask_1.png", mask)
    write_array(root / "Scribbles" / "s1" / "x_scribble_1.png", mask)
    objects = item("b\n"), item("a", body="<segm><mask>x_mask_1.png</mask></segm>"), item("c", 9, 9, deleted=1)
    write(root, *objects)
    assert recognised(root) == ["labelme_xml"]
    source = read_source(root)
    assert [(c.id, c.name) for c in source.categories] == [(0, "background"), (1, "a"), (2, "b")]
    assert [(row.image, row.mask) for row in source.rows] == [("Images/s1/x.png", "@/masks/Images/s1/x.png")]
    content = source.rows[0].render()
    expected = np.zeros((HEIGHT, WIDTH), int)
    expected[:4, :4] = 2  # corners at 0 and 3, outline included
    expected[2:6, 2:6] = 1
    assert np.array_equal(content.mask, expected)
    assert content.instances.max() == 2


def test_without_a_size_the_image_has_it(root):
    write(root, item("a"), size="")
    assert read_source(root).rows[0].render().mask.shape == (HEIGHT, WIDTH)


@pytest.mark.parametrize(
    ("objects", "words"),
    [
        ([item("a"), item("")], ("object 2", "name")),
        ([item("a"), item("b", body="<segm><mask>none.png</mask></segm>")], ("none.png", "x.xml, b")),
        ([item("a"), item("b", body="<polygon><pt><x>1</x><y>2</y></pt></polygon>")], ("object 2 (b)", "three points")),
        ([item("a").replace("<x>0</x>", "<x>one</x>")], ("object 1 (a)", "pairs of numbers")),
    ],
)
def test_objects_that_are_refused_name_the_file(root, objects, words):
    write(root, *objects)
    with pytest.raises(DataError) as caught:
        read_source(root).rows[0].render()
    assert all(word in str(caught.value) for word in (*words, "x.xml")), str(caught.value)


def test_files_that_are_refused(root):
    path = write(root, item("a"))
    text = path.read_text()
    path.write_text(text[:-15])
    with pytest.raises(DataError, match=r"XML(.|\n)*x\.xml"):
        read_source(root)
    path.write_text('<!DOCTYPE a [<!ENTITY b "c">]>' + text)
    with pytest.raises(DataError, match="entities"):
        read_source(root)
    path.write_text(text.replace("x.png", "y.png"))
    with pytest.raises(DataError, match=r"y\.png of x\.xml"):
        read_source(root)
    path.write_text(text)
    (path.parent / "again.xml").write_text(text)
    with pytest.raises(DataError, match=r"another one of Images/s1/x\.png"):
        read_source(root)


def test_detection_files_of_voc_are_not_labelmes(root):
    write(root, item("a", body="<bndbox><xmin>1</xmin></bndbox>"))
    assert "labelme_xml" not in recognised(root)


@real
@pytest.mark.realdata
def test_a_real_folder_of_labelme():
    source = read_source(DATA / "fixtures/datumaro_mini/labelme_dataset")
    assert [c.name for c in source.categories] == [
        "background",
        "b1",
        "hg",
        "license plate",
        "m1",
        "o1",
        "q1",
        "window",
    ]
    (row,) = source.rows
    content = row.render()
    assert (row.image, row.part) == ("Images/subset1/img1.png", None)
    assert content.mask.shape == (77, 102)
    assert content.instances.max() == 7
    assert (content.mask == 7).sum() == 3 * 4  # the window: x from 43 to 45, y from 34 to 37, borders included


@real
@pytest.mark.realdata
def test_a_real_export_beside_the_same_export_as_masks():
    folder = DATA / "fixtures/multiformat_2label"
    source = read_source(folder, "labelme_xml")
    ids = {c.name: c.id for c in source.categories}
    content = next(row for row in source.rows if row.image == "images/shapes.jpg").render()
    stated = [line.split(":") for line in (folder / "voc1.1/labelmap.txt").read_text().splitlines()[1:]]
    colors = {name: tuple(int(v) for v in rgb.split(",")) for name, rgb, *_ in stated}
    drawn = np.array(Image.open(folder / "voc1.1/SegmentationClass/shapes.png").convert("RGB"))
    ellipses = (drawn == colors["ellipse"]).all(2)
    assert np.array_equal(content.mask == ids["ellipse"], ellipses)
    assert ellipses.sum() == 21359 + 26287  # as its COCO export states
