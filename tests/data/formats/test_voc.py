"""PASCAL VOC and CVAT's segmentation masks: palettes, colours, borders, parts, names, and what is written."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage.color import label2rgb

import make_images as make
from maskwright.data.convert import convert
from maskwright.data.formats import Record, Records, read_source, recognised, voc
from maskwright.data.images import palette_of, read_values
from maskwright.data.index import build_index
from maskwright.errors import DataError
from maskwright.recipe.data import DataSpec
from maskwright.types import Categories, Category

FIXTURES = Path(os.environ.get("MASKWRIGHT_DATA", "/nonexistent")) / "fixtures"
real = pytest.mark.skipif(not FIXTURES.is_dir(), reason="MASKWRIGHT_DATA names no folder")

VALUES = make.label().astype(np.uint8) % 3  # 0, 1 and 2
COLORS = {0: (0, 0, 0), 1: (200, 10, 10), 2: (128, 128, 128)}
LABELMAP = "# label:color_rgb:parts:actions\nbackground:0,0,0::\nrock:200,10,10::\nsand:128,128,128:head,hand:\n"


def save(path: Path, values: np.ndarray, colors: dict[int, tuple[int, int, int]] | None) -> None:
    """Write values as a palette PNG with the given colours, or as a gray one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(values.astype(np.uint8))
    if colors is not None:
        picture = picture.convert("P")
        picture.putpalette([c for i in range(256) for c in colors.get(i, (i, 0, 255))])
    picture.save(path)


def make_folder(root: Path, labelmap: str | None = LABELMAP, names=("a",)) -> Path:
    for name in names:
        make.gray_png(root / "JPEGImages", name)
    if labelmap is not None:
        (root / "labelmap.txt").write_text(labelmap)
    return root


def label_of(root: Path, scratch: Path, image: int = 0) -> list[list[str]]:
    """Return the category names of an image's pixels, `-` for ignored ones."""
    index, _, _ = build_index(DataSpec(root=str(root)), scratch)
    names = np.array([*index.categories.names, *["?"] * (255 - len(index.categories)), "-"])
    return names[index.read(image).label].tolist()


EXPECTED = np.array(["background", "rock", "sand"])[VALUES].tolist()


def test_the_palette_is_vocs():
    # numbers 0, 1, 15, 20 and 255 of the development kit: background, aeroplane, person, tvmonitor, border
    assert [voc.palette()[i] for i in (0, 1, 15, 20, 255)] == [
        (0, 0, 0),
        (128, 0, 0),
        (192, 128, 128),
        (0, 64, 128),
        (224, 224, 192),
    ]


def test_palette_masks_in_the_order_of_the_labelmap_are_not_rewritten(tmp_path):
    root = make_folder(tmp_path / "data")
    save(root / "SegmentationClass/a.png", VALUES, COLORS)
    assert recognised(root) == ["voc"]
    row = read_source(root).rows[0]
    assert (row.image, row.mask, row.instances, row.render) == (
        "JPEGImages/a.png",
        "SegmentationClass/a.png",
        None,
        None,
    )
    assert label_of(root, tmp_path / "run") == EXPECTED


def test_masks_in_colours_are_not_rewritten_either(tmp_path):
    root = make_folder(tmp_path / "data")
    colored = np.array([COLORS[i] for i in range(3)], np.uint8)[VALUES]
    colored[0, 0] = voc.BORDER
    (root / "SegmentationClass").mkdir()
    Image.fromarray(colored).save(root / "SegmentationClass/a.png")
    assert read_source(root).rows[0].render is None
    found = label_of(root, tmp_path / "run")
    assert found[0][0] == "-"
    found[0][0] = EXPECTED[0][0]
    assert found == EXPECTED


def test_palettes_in_another_order_are_translated_by_their_colours(tmp_path):
    root = make_folder(tmp_path / "data")
    save(root / "SegmentationClass/a.png", VALUES + 7, {i + 7: color for i, color in COLORS.items()})
    assert label_of(root, tmp_path / "run") == EXPECTED


def test_colours_that_the_labelmap_lacks_are_named(tmp_path):
    root = make_folder(tmp_path / "data")
    save(root / "SegmentationClass/a.png", VALUES + 7, {7: (0, 0, 0), 8: (1, 2, 3), 9: (128, 128, 128)})
    with pytest.raises(DataError, match=r"colours of labelmap\.txt, got 8 \(1, 2, 3\)\n.*a\.png"):
        label_of(root, tmp_path / "run")


def test_names_alone_count_the_values(tmp_path):
    root = make_folder(tmp_path / "data", None)
    (root / "class_names.txt").write_text("_background_\nrock\nsand")
    save(root / "SegmentationClass/a.png", VALUES, COLORS)
    assert label_of(root, tmp_path / "run") == EXPECTED


@pytest.mark.parametrize(
    ("line", "label"),
    [
        ("rock:1,2,3::", ("rock", (1, 2, 3))),
        ("rock:1, 2, 3", ("rock", (1, 2, 3))),
        ("a:b:1,2,3:x,y:z", ("a:b", (1, 2, 3))),
        ("head:::", ("head", None)),
        ("tv/monitor", ("tv/monitor", None)),
        ("#ff0001:255,0,1::", ("#ff0001", (255, 0, 1))),
        ("rock:1,2,300::", ("rock", None)),
    ],
)
def test_lines_of_a_labelmap(tmp_path, line, label):
    root = make_folder(tmp_path, f"# a comment\nbackground:0,0,0::\n\n{line}\n")
    save(root / "SegmentationClass/a.png", VALUES % 2, None)
    found = read_source(root).categories[1]
    assert (found.name, found.color) == (label[0], label[1] or voc.palette()[1])


def test_doubles_in_a_labelmap_are_refused(tmp_path):
    root = make_folder(tmp_path, LABELMAP + "gravel:128,128,128::\nrock:7,7,7::\n")
    save(root / "SegmentationClass/a.png", VALUES, COLORS)
    with pytest.raises(DataError, match=r"\(128, 128, 128\)', 'rock'\] twice"):
        read_source(root)


def test_vocs_own_names_where_palette_and_values_fit(tmp_path):
    root = make_folder(tmp_path / "data", None)
    table = dict(enumerate(voc.palette()))
    save(root / "SegmentationClass/a.png", np.where(VALUES == 2, 255, VALUES * 15), table)
    found = read_source(root)
    assert [c.name for c in found.categories][:16:15] == ["background", "person"]
    assert label_of(root, tmp_path / "run")[-1][:6] == ["person"] * 4 + ["background"] * 2
    save(root / "SegmentationClass/a.png", VALUES * 15, table)  # 30 is none of VOC's
    assert read_source(root).categories is None
    save(root / "SegmentationClass/a.png", VALUES, COLORS)
    assert read_source(root).categories is None


def test_objects_without_border_from_palettes_and_colours(tmp_path):
    root = make_folder(tmp_path, names="ab")
    ids = np.where(VALUES == 2, 255, VALUES * 9)
    for name in "ab":
        save(root / f"SegmentationClass/{name}.png", VALUES, COLORS)
    save(root / "SegmentationObject/a.png", ids, dict(enumerate(voc.palette())))
    colored = label2rgb(VALUES, colors=[(0.5, 0, 0), voc.BORDER / np.float64(255)], bg_label=0) * 255
    Image.fromarray(colored.round().astype(np.uint8)).save(root / "SegmentationObject/b.png")
    first, second = (row.render().instances for row in read_source(root).rows)
    assert np.array_equal(first, np.where(VALUES == 1, 9, 0))
    assert np.array_equal(second, VALUES == 1)
    assert all(c.isthing == (c.id > 0) for c in read_source(root).categories)


def test_parts_and_images_without_masks(tmp_path):
    root = make_folder(tmp_path / "data", names=["a", "b", "c", "d e"])
    save(root / "SegmentationClass/a.png", VALUES, COLORS)
    sets = root / "ImageSets/Segmentation"
    sets.mkdir(parents=True)
    (sets / "train.txt").write_text("a\n")
    (sets / "trainval.txt").write_text("a\nb\n\nc\n")
    (sets / "val.txt").write_text('b\n"d e"\nnowhere\n')
    found = [(row.image, row.mask, row.part) for row in read_source(root).rows]
    assert found == [
        ("JPEGImages/a.png", "SegmentationClass/a.png", "train"),
        ("JPEGImages/b.png", None, "val"),
        ("JPEGImages/c.png", None, None),
        ("JPEGImages/d e.png", None, "val"),
    ]


def test_masks_without_an_image_are_left_over_unless_all_are(tmp_path):
    root = make_folder(tmp_path)
    save(root / "SegmentationClass/b.png", VALUES, COLORS)
    with pytest.raises(DataError, match="1 that are nowhere in the folder: b"):
        read_source(root)
    save(root / "SegmentationClass/a.png", VALUES, COLORS)
    assert read_source(root).leftovers == ["SegmentationClass/b.png"]


def test_boxes_alone_are_refused(tmp_path):
    root = make_folder(tmp_path)
    (root / "Annotations").mkdir()
    box = "<object><name>rock</name><bndbox><xmin>1</xmin></bndbox></object>"
    (root / "Annotations/a.xml").write_text(f"<annotation><filename>a.png</filename>{box}</annotation>")
    assert recognised(root) == ["voc"]
    with pytest.raises(DataError, match="boxes in XML files, and no SegmentationClass"):
        read_source(root)
    (root / "Annotations/a.xml").write_text("<annotation><object><polygon/><bndbox/></object></annotation>")
    assert not voc.recognise(root)  # LabelMe's


def records(*found: Record, names=("background", "rock")) -> Records:
    items = tuple(Category(3 * i, name, voc.palette()[i + 1]) for i, name in enumerate(names))
    return Records(Categories(items), len(found), lambda: iter(found))


def test_what_is_written_has_vocs_form(tmp_path):
    label = np.array([[0, 1, 255]], np.uint8)
    image = np.zeros((1, 3), np.uint8)
    ids = np.array([[0, 254, 0]], np.int32)
    voc.write(tmp_path, records(Record("x/a", image, (1, 3), label, ids, "train"), Record("b", image, (1, 3))))
    written = sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file())
    assert written == [
        "ImageSets/Segmentation/train.txt",
        "JPEGImages/b.png",
        "JPEGImages/x/a.png",
        "SegmentationClass/x/a.png",
        "SegmentationObject/x/a.png",
        "labelmap.txt",
    ]
    assert (tmp_path / "labelmap.txt").read_text().splitlines()[1:] == ["background:128,0,0::", "rock:0,128,0::"]
    assert (tmp_path / "ImageSets/Segmentation/train.txt").read_text() == "x/a\n"
    with Image.open(tmp_path / "SegmentationClass/x/a.png") as file:
        assert file.mode == "P"
        assert np.asarray(file.convert("RGB"))[0].tolist() == [[128, 0, 0], [0, 128, 0], [224, 224, 192]]
    assert np.array_equal(read_values(tmp_path / "SegmentationClass/x/a.png"), label)
    rows = read_source(tmp_path).rows
    assert [(row.image, row.part) for row in rows] == [("JPEGImages/b.png", None), ("JPEGImages/x/a.png", "train")]
    assert np.array_equal(rows[1].render().instances, ids)


@pytest.mark.parametrize("count", [255, 300, 70_000])
def test_many_objects_are_written_deeper_and_come_back(tmp_path, count):
    ids = np.arange(count + 1, dtype=np.int32).reshape(1, -1)
    label = (ids > 0).astype(np.uint8)
    voc.write(tmp_path, records(Record("a", np.zeros_like(label), label.shape, label, ids)))
    assert np.array_equal(read_source(tmp_path).rows[0].render().instances, ids)


def test_colours_that_repeat_are_replaced_by_vocs(tmp_path):
    items = tuple(Category(i, name, (9, 9, 9)) for i, name in enumerate("abc"))
    label = np.array([[0, 1, 2]], np.uint8)
    record = Record("a", label, (1, 3), label)
    voc.write(tmp_path, Records(Categories(items), 1, lambda: iter([record])))
    assert [c.color for c in read_source(tmp_path).categories] == voc.palette(3)
    assert palette_of(tmp_path / "SegmentationClass/a.png")[2] == voc.palette(3)[2]


@real
@pytest.mark.realdata
def test_real_exports(tmp_path):
    shapes = FIXTURES / "multiformat_2label"
    found = read_source(shapes, "voc")
    assert [c.name for c in found.categories][-1] == "strawberry"
    assert [row.mask is not None for row in found.rows] == [False, False, True, False]
    assert found.rows[2].render().instances.max() == 2
    own = FIXTURES / "labelme/instance_voc2011"
    index, _, source = build_index(DataSpec(root=str(own), format="voc"), tmp_path)
    assert len(index.labelled) == 3 and source.leftovers == []
    with Image.open(own / "data_dataset_voc/SegmentationClass/2011_000003.png") as file:
        assert np.array_equal(index.read(0).label, np.asarray(file))
    mini = FIXTURES / "datumaro_mini"
    rows = read_source(mini / "voc_dataset/voc_dataset1").rows
    assert [(Path(r.image).stem, r.mask is not None, r.part) for r in rows] == [
        ("2007_000001", True, "train"),
        ("2007_000002", False, "test"),
    ]
    for boxes in ("voc_dataset/voc_dataset2", "voc_dataset/voc_dataset3", "roboflow_dataset/voc"):
        with pytest.raises(DataError, match="boxes in XML files"):
            read_source(mini / boxes)


@real
@pytest.mark.realdata
def test_a_real_export_round_trips(tmp_path):
    spec = DataSpec(root=str(FIXTURES / "multiformat_2label"), format="cvat")
    assert convert(spec, tmp_path / "out", "voc").images == 4
    before, _, _ = build_index(spec, tmp_path / "before")
    after, _, _ = build_index(DataSpec(root=str(tmp_path / "out")), tmp_path / "after")
    assert after.categories.names == before.categories.names
    for row in range(4):
        assert np.array_equal(after.read(row).label, before.read(row).label)
        ids = [read_values(index.path(index.table["instances"][row])) for index in (before, after)]
        assert np.array_equal(*ids)
