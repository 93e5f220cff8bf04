"""COCO: what is read by hand and against pycocotools, what is refused, what survives writing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import make_images as make
from maskwright.data.convert import convert
from maskwright.data.formats import read_source, recognised
from maskwright.data.formats.runlength import counts_to_text, mask_to_counts
from maskwright.data.images import read_values
from maskwright.data.index import build_index
from maskwright.data.written import write_array
from maskwright.errors import DataError
from maskwright.recipe.data import DataSpec

HEIGHT, WIDTH = 12, 16
CATEGORIES = [{"id": 3, "name": "fig"}, {"id": 7, "name": "nut"}]
IMAGE = {"id": 1, "file_name": "a.png", "height": HEIGHT, "width": WIDTH}
EMPTY_LICENCE = [{"name": "", "id": 0, "url": ""}]


def square(left, top, side=2, **fields):
    """Return an annotation of `side`² pixels from (left, top) on."""
    right, bottom = left + side, top + side
    ring = [left, top, right, top, right, bottom, left, bottom]
    return {"image_id": 1, "category_id": 3, "segmentation": [ring], "bbox": [left, top, side, side]} | fields


def write(root: Path, annotations, name="instances.json", categories=CATEGORIES, images=(IMAGE,), **top) -> Path:
    numbered = [{"id": i, "iscrowd": 0, **item} for i, item in enumerate(annotations, 1)]
    tree = {"images": list(images), "annotations": numbered, "categories": list(categories), **top}
    path = root / "annotations" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(tree))
    return path


def render(root: Path, row=0):
    return read_source(root).rows[row].render()


@pytest.fixture
def root(tmp_path):
    make.gray_png(tmp_path / "images", "a", HEIGHT, WIDTH)
    return tmp_path


def test_polygons_are_objects_on_a_background(root):
    write(root, [square(1, 1), square(5, 5, category_id=7)])
    source = read_source(root)
    assert source.format == "coco"
    assert [(c.id, c.name, c.isthing) for c in source.categories] == [
        (0, "background", False),
        (3, "fig", True),
        (7, "nut", True),
    ]
    assert source.ignore == (255,)
    content = source.rows[0].render()
    expected = np.zeros((HEIGHT, WIDTH), int)
    expected[1:3, 1:3], expected[5:7, 5:7] = 3, 7
    assert np.array_equal(content.mask, expected)
    assert np.array_equal(content.instances, np.searchsorted([0, 3, 7], expected))


def test_smaller_objects_lie_on_top_whatever_their_order(root):
    write(root, [square(2, 2, 2, category_id=7), square(1, 1, 6)])
    mask = render(root).mask
    assert {v: int((mask == v).sum()) for v in (3, 7)} == {3: 36 - 4, 7: 4}


def test_several_polygons_are_one_object(root):
    first, second = square(1, 1)["segmentation"][0], square(8, 8)["segmentation"][0]
    write(root, [square(0, 0, segmentation=[first, second, [1, 1, 2, 2]])])
    content = render(root)
    assert (content.mask == 3).sum() == 8  # the ring of two points has no area
    assert content.instances.max() == 1


@pytest.mark.parametrize("compressed", [False, True])
def test_run_lengths_of_both_forms(root, compressed):
    mask = make.label(HEIGHT, WIDTH) == 2
    counts = mask_to_counts(mask)
    outline = {"size": [HEIGHT, WIDTH], "counts": counts_to_text(counts) if compressed else counts}
    write(root, [square(0, 0, segmentation=outline)])
    assert np.array_equal(render(root).mask == 3, mask)


def test_crowds_are_ignored_below_the_objects(root):
    write(root, [square(1, 1, category_id=7), square(0, 0, 6, iscrowd=1)])
    content = render(root)
    assert (content.mask == 255).sum() == 36 - 4
    assert (content.mask == 7).sum() == 4
    assert content.instances.max() == 1


def test_boxes_without_outlines_are_ignored_where_others_have_some(root):
    # x from 4.5 to 7.5 touches the columns 4 to 7, y from 1 to 3 the rows 1 and 2; the right box is cut off at 16
    boxes = [square(0, 0, segmentation=[], bbox=[4.5, 1, 3, 2]), square(0, 0, segmentation=[], bbox=[14, 0, 99, 1])]
    write(root, [square(1, 1), *boxes])
    mask = render(root).mask
    expected = np.zeros((HEIGHT, WIDTH), int)
    expected[1:3, 4:8] = expected[0, 14:] = 255
    expected[1:3, 1:3] = 3
    assert np.array_equal(mask, expected)


def test_cvat_marks_masks_as_crowds_that_are_none(root):
    counts = mask_to_counts(make.label(HEIGHT, WIDTH) == 2)
    item = square(0, 0, segmentation={"size": [HEIGHT, WIDTH], "counts": counts}, iscrowd=1)
    write(root, [item], licenses=EMPTY_LICENCE)
    assert set(np.unique(render(root).mask)) == {0, 3}
    write(root, [item], licenses=[])
    assert set(np.unique(render(root).mask)) == {0, 255}


def test_the_same_object_in_two_files_counts_once(root):
    write(root, [square(1, 1)])
    write(root, [square(1, 1, keypoints=[1, 1, 2]), square(4, 4, category_id=7)], name="person_keypoints.json")
    assert render(root).instances.max() == 2


def test_an_image_without_annotations_is_background_and_one_that_is_not_listed_unlabelled(root):
    make.gray_png(root / "images", "b", HEIGHT, WIDTH)
    make.gray_png(root / "images", "c", HEIGHT, WIDTH)
    make.gray_png(root / "unlabeled", "d", HEIGHT, WIDTH)
    make.gray_png(root / "masks_png", "a", HEIGHT, WIDTH)  # of the name of an image elsewhere: no image
    write(root, [square(1, 1)], images=[IMAGE, IMAGE | {"id": 2, "file_name": "b.png"}])
    rows = read_source(root).rows
    assert [(r.image, r.mask, r.instances, r.part) for r in rows] == [
        ("images/a.png", "@/masks/a.png", "@/instances/a.png", None),
        ("images/b.png", "@/masks/b.png", "@/instances/b.png", None),
        ("images/c.png", None, None, None),
        ("unlabeled/d.png", None, None, "unlabeled"),
    ]
    content = rows[1].render()
    assert not content.mask.any() and not content.instances.any()


def test_parts_are_told_by_file_names_and_by_folders(tmp_path):
    for part in ("train", "val"):
        make.gray_png(tmp_path / f"{part}2017", "a", HEIGHT, WIDTH)
        write(tmp_path, [square(1, 1)], name=f"instances_{part}2017.json")
    assert [(r.image, r.part) for r in read_source(tmp_path).rows] == [
        ("train2017/a.png", "train"),
        ("val2017/a.png", "val"),
    ]


def test_categories_of_several_files_are_joined_by_name(tmp_path):
    for part, names in (("train", ("fig", "nut")), ("val", ("nut", "date"))):
        make.gray_png(tmp_path / "images" / part, "a", HEIGHT, WIDTH)
        categories = [{"id": i, "name": name} for i, name in enumerate(names, 1)]
        write(tmp_path, [square(1, 1, category_id=1)], name=f"{part}.json", categories=categories)
    source = read_source(tmp_path)
    assert [(c.id, c.name) for c in source.categories] == [(0, "background"), (1, "fig"), (2, "nut"), (3, "date")]
    assert [row.render().mask.max() for row in source.rows] == [1, 2]


@pytest.mark.parametrize(
    ("categories", "expected"),
    [
        ([(0, "fig"), (4, "nut")], [(0, "background"), (1, "fig"), (2, "nut")]),
        ([(0, "_background_"), (4, "nut")], [(0, "background"), (4, "nut")]),
        ([(1, "fig"), (70000, "nut")], [(0, "background"), (1, "fig"), (2, "nut")]),
        ([(5, "Background"), (4, "nut")], [(5, "background"), (4, "nut")]),
    ],
)
def test_ids_stay_unless_the_background_needs_them(root, categories, expected):
    listed = [{"id": number, "name": name} for number, name in categories]
    write(root, [square(1, 1, category_id=categories[1][0])], categories=listed)
    source = read_source(root)
    assert [(c.id, c.name) for c in source.categories] == expected
    ids = {name: number for number, name in expected}
    assert set(np.unique(source.rows[0].render().mask)) == {ids["background"], ids["nut"]}


def test_ids_above_254_are_kept(root):
    write(
        root,
        [square(1, 1, category_id=300), square(4, 4, 3, iscrowd=1)],
        categories=[*CATEGORIES, {"id": 300, "name": "x"}],
    )
    source = read_source(root)
    assert source.ignore == (65535,)
    assert set(np.unique(source.rows[0].render().mask)) == {0, 300, 65535}


def test_roboflow_lists_the_project_above_the_categories(root):
    write(root, [square(1, 1)], categories=[{"id": 0, "name": "p"}, {"id": 3, "name": "fig", "supercategory": "p"}])
    assert [c.name for c in read_source(root).categories] == ["background", "fig"]


@pytest.mark.parametrize(
    ("annotations", "fields", "words"),
    [
        ([square(1, 1, image_id=9)], {}, ("annotation 1", "image 9", "not listed")),
        ([square(1, 1, image_id=[9])], {}, ("annotation 1", "not listed")),
        ([square(1, 1, category_id=9)], {}, ("annotation 1", "category 9", "not listed")),
        ([square(1, 1), square(1, 1, segmentation=[[1, 2, 3, 4]])], {}, ("annotation 2", "three points")),
        ([square(1, 1, segmentation=[[1, 2, 3, 4, 5]])], {}, ("annotation 1", "odd number")),
        ([square(1, 1, segmentation=[1, 2, 3, 4, 5, 6])], {}, ("annotation 1", "list of polygons")),
        ([square(1, 1, segmentation={"counts": [1]})], {}, ("annotation 1", "without counts or size")),
        ([square(1, 1), square(1, 1, segmentation=[], bbox=[1, 2])], {}, ("annotation 2", "four numbers")),
        ([square(1, 1)], {"images": [IMAGE, IMAGE]}, ("image id 1", "twice")),
        ([square(1, 1)], {"images": [IMAGE, IMAGE | {"id": 2}]}, ("a.png", "twice")),
        ([square(1, 1)], {"images": [IMAGE, {"id": 2}]}, ("image 1", "file_name")),
        ([square(1, 1)], {"categories": [*CATEGORIES, {"id": 3, "name": "x"}]}, ("category id 3", "twice")),
        ([square(1, 1)], {"categories": [*CATEGORIES, {"id": 4, "name": "fig"}]}, ("'fig'", "twice")),
        ([square(1, 1)], {"categories": [{"name": "fig"}]}, ("category 0", "id or name")),
        ([square(1, 1)], {"images": [IMAGE | {"file_name": "z.png"}]}, ("nowhere", "z.png")),
        ([square(1, 1)], {"images": [IMAGE | {"file_name": "../z.png"}]}, ("nowhere", "../z.png")),
        ([square(1, 1, segmentation=[])], {}, ("segmentation", "boxes")),
    ],
)
def test_files_that_are_refused_name_file_and_object(root, annotations, fields, words):
    make.gray_png(root.parent, "z", HEIGHT, WIDTH)  # outside of the data folder: never found
    path = write(root, annotations, **fields)
    with pytest.raises(DataError) as caught:
        read_source(root, "coco")
    assert all(word in str(caught.value) for word in (*words, path.name)), str(caught.value)


@pytest.mark.parametrize(
    ("outline", "words"),
    [
        ({"size": [HEIGHT, WIDTH], "counts": [5]}, ("192 pixels, got 5",)),
        ({"size": [WIDTH, HEIGHT], "counts": [192]}, ("[12, 16]", "[16, 12]")),
        ({"size": [HEIGHT, WIDTH], "counts": "d"}, ("cut off",)),
        ({"size": [HEIGHT, WIDTH], "counts": None}, ("whole numbers",)),
        ([[1, 1, 2, "a", 3, 3]], ("pairs of numbers",)),
    ],
)
def test_outlines_that_can_not_be_drawn_name_the_annotation(root, outline, words):
    write(root, [square(1, 1, segmentation=outline)])
    with pytest.raises(DataError) as caught:
        render(root)
    assert all(word in str(caught.value) for word in (*words, "annotation 1 of a.png")), str(caught.value)


def test_json_that_is_cut_off(root):
    path = write(root, [square(1, 1)])
    path.write_text(path.read_text()[:-20])
    with pytest.raises(DataError, match=r"instances\.json"):
        read_source(root)


def test_sizes_that_no_image_has_are_refused(root):
    write(root, [square(1, 1)], images=[IMAGE | {"height": 10**6, "width": 10**6}])
    with pytest.raises(DataError, match="state, 1000000×1000000"):
        render(root)


def test_links_out_of_the_folder_are_not_followed(root):
    outside = make.gray_png(root.parent / f"{root.name}-outside", "a", HEIGHT, WIDTH)
    (root / "images" / "a.png").unlink()
    (root / "images" / "a.png").symlink_to(outside)
    write(root, [square(1, 1)])
    with pytest.raises(DataError, match="inside the data folder"):
        read_source(root)


def test_two_images_of_the_stated_name_are_an_error_that_names_both(root):
    make.gray_png(root / "x", "b", HEIGHT, WIDTH)
    make.gray_png(root / "y", "b", HEIGHT, WIDTH)
    write(root, [square(1, 1)], images=[IMAGE | {"file_name": "b.png"}])
    with pytest.raises(DataError, match=r"x/b\.png, y/b\.png"):
        read_source(root)


def test_an_image_in_two_parts_is_an_error(root):
    for part in ("train", "val"):
        write(root, [square(1, 1)], name=f"instances_{part}.json")
    with pytest.raises(DataError, match=r"images/a\.png is in part val here and in train"):
        read_source(root)


def test_captions_are_refused(root):
    write(root, [{"image_id": 1, "caption": "a fig"}])
    assert recognised(root) == ["coco"]
    with pytest.raises(DataError, match="captions"):
        read_source(root)


def test_many_small_objects(tmp_path):
    side, step = 300, 3
    make.gray_png(tmp_path / "images", "a", side, side)
    grid = [(x, y) for y in range(0, side, step) for x in range(0, side, step)]
    image = IMAGE | {"height": side, "width": side}
    write(tmp_path, [square(x, y) for x, y in grid], images=[image])
    content = render(tmp_path)
    assert content.instances.max() == len(grid) == 10_000
    assert (content.mask == 3).sum() == 4 * len(grid)


@pytest.fixture
def labelled(tmp_path):
    """A folder in which ids are not positions, objects lie on stuff and things have none, and pixels are ignored."""
    root = tmp_path / "data"
    rng = np.random.default_rng(3)
    names = {0: "background", 5: "soil", 9: "plant"}
    for name in ("train/a", "train/b", "val/c"):
        write_array(root / "images" / f"{name}.png", rng.integers(0, 256, (HEIGHT, WIDTH), np.uint8))
    for name in ("train/a", "train/b"):
        mask = rng.choice([0, 5, 9, 255], (HEIGHT, WIDTH))
        write_array(root / "masks" / f"{name}.png", mask)
        if name == "train/a":
            write_array(root / "instances" / f"{name}.png", rng.integers(0, 400, (HEIGHT, WIDTH)) * (mask != 255))
    categories = [{"id": i, "name": n, "color": [i, 1, 2], "isthing": i == 9} for i, n in names.items()]
    (root / "classes.json").write_text(json.dumps({"categories": categories, "ignore": 255}))
    return root


@pytest.mark.parametrize("to", ["coco", "coco_panoptic", "labelme"])
@pytest.mark.parametrize("background", [True, False])
def test_everything_survives_writing(labelled, tmp_path, to, background):
    if not background:
        text = (labelled / "classes.json").read_text()
        (labelled / "classes.json").write_text(text.replace("background", "sky"))
    convert(DataSpec(root=str(labelled)), tmp_path / "out", to)
    before, _, _ = build_index(DataSpec(root=str(labelled)), tmp_path / "before")
    after, _, source = build_index(DataSpec(root=str(tmp_path / "out")), tmp_path / "after")
    assert source.format == to
    assert [(c.id, c.name, c.color, c.isthing) for c in after.categories.items] == [
        (c.id, c.name, c.color, c.isthing) for c in before.categories.items
    ]
    known = {image.rsplit("/")[-1]: row for row, image in enumerate(after.images)}
    for row, image in enumerate(before.images):
        other = known[image.rsplit("/")[-1]]
        assert after.read(other).image.tolist() == before.read(row).image.tolist()
        assert (after.table["mask"][other] is None) == (before.table["mask"][row] is None)
        if before.table["mask"][row] is not None:
            assert np.array_equal(after.read_label(other), before.read_label(row))
            assert after.table["part"][other] == before.table["part"][row] == "train"
        ids = [index.table["instances"][i] for index, i in ((before, row), (after, other))]
        assert (ids[0] is None) == (ids[1] is None)
        if ids[0] is not None:
            assert same_partition(
                read_values(before.path(ids[0])), read_values(after.path(ids[1])), before.read_label(row)
            )


def same_partition(first, second, label):
    """Tell whether two maps have the same objects; one that has pixels of several categories is cut by these."""
    first = np.where(first > 0, first * 256 + label, 0)
    pairs = np.unique(np.stack([first.ravel(), second.ravel()]), axis=1)
    return len(pairs[0]) == len(np.unique(first)) == len(np.unique(second)) and np.array_equal(first > 0, second > 0)


def test_written_files_are_what_pycocotools_reads(labelled, tmp_path):
    coco = pytest.importorskip("pycocotools.coco")
    convert(DataSpec(root=str(labelled)), tmp_path / "out", "coco")
    api = coco.COCO(str(tmp_path / "out" / "annotations" / "instances_train.json"))
    annotations = api.loadAnns(api.getAnnIds())
    assert len({item["id"] for item in annotations}) == len(annotations) > 100
    for image in api.loadImgs(api.getImgIds()):
        mask = read_values(labelled / "masks" / image["file_name"])
        for category in (5, 9):
            found = [api.annToMask(a) for a in api.loadAnns(api.getAnnIds([image["id"]], [category], iscrowd=False))]
            assert np.array_equal(np.sum(found, 0), mask == category)
        for item in api.loadAnns(api.getAnnIds([image["id"]])):
            assert api.annToMask(item).sum() == item["area"]
