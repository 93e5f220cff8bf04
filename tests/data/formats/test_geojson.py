"""QuPath's GeoJSON: holes, several pieces, classes, and what has no area."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from skimage.draw import polygon2mask

import make_images as make
from maskwright.data.formats import read_source, recognised
from maskwright.errors import DataError


def ring(left: float, top: float, right: float, bottom: float) -> list[list[float]]:
    return [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]


def feature(rings: object, name: str | None = "Tumor", kind: str = "Polygon", of: str = "annotation", **more) -> dict:
    properties = {"objectType": of} | ({"classification": {"name": name, "color": [200, 0, 0]}} if name else {}) | more
    return {"type": "Feature", "geometry": {"type": kind, "coordinates": rings}, "properties": properties}


def write(root: Path, *features: object, name: str = "a.geojson", whole: object = None) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    tree = {"type": "FeatureCollection", "features": list(features)} if whole is None else whole
    (root / name).write_text(json.dumps(tree))
    if not (root / "a.png").exists():
        make.gray_png(root, "a")
    return root


def render(root: Path):
    return read_source(root, "geojson").rows[0].render()


def test_holes_are_left_out_and_objects_are_instances(tmp_path):
    write(tmp_path, feature([ring(1, 1, 9, 9), ring(3, 3, 6, 6)]), feature([ring(10, 0, 12, 2)], "Stroma"))
    assert recognised(tmp_path) == ["geojson"]
    assert [(c.id, c.name, c.color) for c in read_source(tmp_path).categories] == [
        (0, "background", (0, 0, 0)),
        (1, "Stroma", (200, 0, 0)),
        (2, "Tumor", (200, 0, 0)),
    ]
    expected = np.zeros((make.HEIGHT, make.WIDTH), int)
    expected[1:9, 1:9] = 2
    expected[3:6, 3:6] = 0
    expected[0:2, 10:12] = 1
    content = render(tmp_path)
    assert np.array_equal(content.mask, expected)
    assert np.array_equal(content.instances, np.where(expected == 1, 2, expected > 0))


def test_pieces_of_one_object_are_one_instance(tmp_path):
    write(tmp_path, feature([[ring(0, 0, 3, 3)], [ring(5, 5, 8, 8), ring(6, 6, 7, 7)]], kind="MultiPolygon"))
    content = render(tmp_path)
    assert (content.mask == 1).sum() == 9 + 8
    assert np.unique(content.instances).tolist() == [0, 1]


def test_pixels_are_those_whose_centres_lie_inside(tmp_path):
    make.gray_png(tmp_path, "a", 60, 80)
    rng = np.random.default_rng(5)
    angles = np.sort(rng.uniform(0, 2 * np.pi, 30))
    points = np.stack([40 + 30 * np.cos(angles), 30 + 24 * np.sin(angles)], 1)
    write(tmp_path, feature([points.tolist()]))
    oracle = polygon2mask((60, 80), points[:, ::-1] - 0.5)
    found = render(tmp_path).mask == 1
    assert (found & oracle).sum() / (found | oracle).sum() > 0.98  # the fine grid moves corners by up to a tenth


def test_detections_lie_on_annotations_and_objects_without_a_class_have_their_own(tmp_path):
    cell = feature([ring(2, 2, 4, 4)], None, of="cell")
    write(tmp_path, cell, feature([ring(0, 0, 8, 8)]))
    source = read_source(tmp_path)
    assert [c.name for c in source.categories] == ["background", "Tumor", "unclassified"]
    mask = source.rows[0].render().mask
    assert (mask[3, 3], mask[0, 0]) == (2, 1)


def test_ignored_parts_derived_classes_and_old_colours(tmp_path):
    derived = feature([ring(0, 0, 2, 2)], None, classification={"names": ["Tumor", "Positive"], "color": [1, 2, 3]})
    old = feature([ring(4, 0, 6, 2)], None, classification={"name": "Old", "colorRGB": -3670016})
    write(tmp_path, derived, old, feature([ring(8, 0, 10, 2)], "Ignore*"))
    source = read_source(tmp_path)
    # -3670016 is 0xFFC80000: opaque, red 200
    assert [(c.name, c.color) for c in source.categories][1:] == [("Old", (200, 0, 0)), ("Tumor: Positive", (1, 2, 3))]
    assert source.ignore == (255,)
    assert source.rows[0].render().mask[0].tolist() == [2, 2, 0, 0, 1, 1, 0, 0, 255, 255, 0, 0, 0, 0, 0, 0]


@pytest.mark.parametrize("whole", [[feature([ring(0, 0, 4, 4)])], feature([ring(0, 0, 4, 4)])])
def test_lists_and_single_features(tmp_path, whole):
    write(tmp_path, whole=whole)
    assert (render(tmp_path).mask == 1).sum() == 16


def test_names_with_the_images_suffix_empty_files_and_images_without_one(tmp_path):
    for name in ("a", "b", "c"):
        make.gray_png(tmp_path / "images", name)
    write(tmp_path / "labels", name="a.png.geojson")
    (tmp_path / "labels/a.png").unlink()
    write(tmp_path / "labels", feature([1, 1], kind="Point"), name="b.geojson")
    (tmp_path / "labels/a.png").unlink()
    first, second, third = read_source(tmp_path, "geojson").rows
    assert not first.render().mask.any()
    assert (second.mask, third.mask) == (None, None)


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (feature([[[0, 0], [1, 1], [0, 0]]]), r"3 points, got 2\n.*a\.geojson, feature 1"),
        (feature([ring(20, 20, 30, 30)]), "inside the image of 16×12"),
        (feature([[[0, 0], [1, "x"], [2, 2], [0, 0]]]), "pairs of numbers"),
        (feature([]), "rings of coordinates"),
        (feature([7]), "rings of coordinates"),
        (feature(None), "rings of coordinates"),
    ],
)
def test_what_is_refused_when_a_label_is_drawn(tmp_path, found, message):
    write(tmp_path, found)
    with pytest.raises(DataError, match=message):
        render(tmp_path)


def test_what_is_refused_when_the_folder_is_read(tmp_path):
    write(tmp_path, 7)
    with pytest.raises(DataError, match=r"GeoJSON features, got 7\n.*feature 1"):
        read_source(tmp_path, "geojson")
    write(tmp_path, name="other.geojson")
    (tmp_path / "a.geojson").unlink()
    with pytest.raises(DataError, match=r"1 that are nowhere in the folder: other\.geojson"):
        read_source(tmp_path)
    (tmp_path / "other.geojson").write_text('{"type": "FeatureCollection", "features": [')
    with pytest.raises(DataError, match=r"other\.geojson"):
        read_source(tmp_path)
