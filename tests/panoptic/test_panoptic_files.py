"""Written panoptic maps, read back by the readers of the formats and by cityscapesScripts' rules."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from maskwright.cli.submit import submit
from maskwright.data.formats.cityscapes import instances_of
from maskwright.data.formats.coco_panoptic import colors_of, read_segments
from maskwright.errors import DataError, UsageError
from maskwright.metrics import panoptic_counts, panoptic_quality
from maskwright.metrics.panoptic_maps import panoptic_map
from maskwright.metrics.segments import segment_overlaps
from maskwright.panoptic import PanopticMap, cityscapes_ids, merge, write_cityscapes, write_coco_panoptic
from maskwright.panoptic.files import read_coco_panoptic
from maskwright.recipe.panoptic import MergeSpec
from maskwright.types import Categories, Category

STREET = Categories(
    (
        Category(0, "road"),
        Category(11, "person", isthing=True),
        Category(13, "car", isthing=True),
    )
)
LABEL = np.uint8([[0, 0, 2, 2], [0, 1, 2, 255]])
IDS = np.int32([[0, 0, 7, 7], [0, 3, 9, 0]])


def example():
    return merge(LABEL, IDS, [1, 2], MergeSpec(stuff_min_area=0))


def test_merging_what_is_true_is_perfect():
    truth, segments = panoptic_map(LABEL, IDS, 3, things=[1, 2])
    found = example()
    assert np.array_equal(found.label, LABEL)
    counts = panoptic_counts(segment_overlaps(truth, found.ids), segments, found.segments, 3)
    assert panoptic_quality(counts).tolist() == [1, 1, 1]


def test_coco_panoptic_is_read_back(tmp_path):
    found = example()
    path = write_coco_panoptic(tmp_path, [("a", found), ("b/c", found)], STREET)
    categories, files = read_segments(path)
    assert [(c.id, c.name, c.isthing) for c in categories] == [
        (0, "road", False),
        (11, "person", True),
        (13, "car", True),
    ]
    assert files[2].path == tmp_path / "panoptic" / "b" / "c.png"
    blue, green, red = np.moveaxis(cv2.imread(str(files[1].path)).astype(int), 2, 0)
    assert np.array_equal(red + 256 * green + 65536 * blue, found.ids)
    assert found.ids[1, 3] == 0  # void
    # larger instances first: 7 is 1, then 3 and 9 with a pixel each, then the road
    assert [(s["id"], s["category_id"], s["area"], s["bbox"]) for s in files[1].listed] == [
        (1, 13, 2, [2, 0, 2, 1]),
        (2, 11, 1, [1, 1, 1, 1]),
        (3, 13, 1, [2, 1, 1, 1]),
        (4, 0, 3, [0, 0, 2, 2]),
    ]
    assert not any("score" in s for s in files[1].listed)
    scored = merge(LABEL, IDS, [1, 2], scores=[0.9, 0.75, 0.5])
    tree = json.loads(write_coco_panoptic(tmp_path / "s", [("a", scored)], STREET).read_text())
    assert [s.get("score") for s in tree["annotations"][0]["segments_info"]] == [0.9, 0.75, 0.5, None]


def test_numbers_above_a_byte(tmp_path):
    ids = np.arange(1, 301, dtype=np.int32).reshape(10, 30)
    found = merge(np.full((10, 30), 2, np.uint8), ids, [2])
    path = write_coco_panoptic(tmp_path, [("a", found)], STREET)
    blue, green, red = np.moveaxis(cv2.imread(str(tmp_path / "panoptic" / "a.png")).astype(int), 2, 0)
    assert np.array_equal(red + 256 * green + 65536 * blue, ids) and path.is_file()


def test_cityscapes_ids(tmp_path):
    # label ids: road 7, person 24, car 26
    expected = [[7, 7, 26000, 26000], [7, 24000, 26001, 0]]
    assert cityscapes_ids(example(), STREET).tolist() == expected
    write_cityscapes(tmp_path, [("a", example())], STREET)
    written = cv2.imread(str(tmp_path / "a_instanceIds.png"), cv2.IMREAD_UNCHANGED)
    assert written.dtype == np.uint16 and written.tolist() == expected
    assert instances_of(written.astype(int)).tolist() == [[0, 0, 26000, 26000], [0, 24000, 26001, 0]]


def test_predictions_become_the_ids_of_cityscapes(tmp_path, capsys):
    write_coco_panoptic(tmp_path / "found", [("a", example()), ("b/c", example())], STREET)
    for place in (tmp_path / "found", tmp_path / "found" / "panoptic.json"):
        out = tmp_path / f"ids-{place.stem}"
        submit(place, to="cityscapes", out=out)
        for name in ("a", "b/c"):
            written = cv2.imread(str(out / f"{name}_instanceIds.png"), cv2.IMREAD_UNCHANGED)
            assert written.tolist() == [[7, 7, 26000, 26000], [7, 24000, 26001, 0]]
    assert "2 images in" in capsys.readouterr().err
    with pytest.raises(UsageError, match="stands already"):
        submit(tmp_path / "found", to="cityscapes", out=out)
    with pytest.raises(DataError):
        submit(tmp_path / "nothing", to="cityscapes", out=tmp_path / "new")


def test_a_file_of_others_is_read_with_any_numbers(tmp_path):
    """Number 9 is listed before 4; 5 has pixels and isn't listed: void; 7 is listed without pixels: left out."""
    path = write_coco_panoptic(tmp_path, [("a", example())], STREET)
    tree = json.loads(path.read_text())
    listed = [{"id": 9, "category_id": 13}, {"id": 4, "category_id": 0}, {"id": 7, "category_id": 11}]
    tree["annotations"][0]["segments_info"] = listed
    path.write_text(json.dumps(tree))
    cv2.imwrite(str(tmp_path / "panoptic" / "a.png"), colors_of(np.int32([[9, 4], [5, 0]]))[..., ::-1])
    categories, names, maps = read_coco_panoptic(path)
    ((_, found),) = maps
    assert names == ["a"] and categories.names == STREET.names
    assert found.ids.tolist() == [[2, 1], [0, 0]] and found.segments.categories.tolist() == [0, 2]


def test_what_cityscapes_cannot_hold():
    many = merge(np.full((40, 40), 2, np.uint8), np.arange(1, 1601, dtype=np.int32).reshape(40, 40), [2])
    with pytest.raises(DataError, match="1600 of car"):
        cityscapes_ids(many, STREET)
    with pytest.raises(DataError, match="got weed"):
        cityscapes_ids(merge(np.zeros((2, 2), np.uint8), np.zeros((2, 2), int), []), Categories((Category(0, "weed"),)))


def test_a_map_is_checked_when_made():
    found = example()
    for ids in (found.ids.astype(np.int64), found.ids + np.int32(1), np.minimum(found.ids, 3)):
        with pytest.raises(AssertionError):
            PanopticMap(ids, found.segments)
