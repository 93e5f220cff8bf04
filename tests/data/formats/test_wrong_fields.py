"""Every field of every format's annotation files, replaced by what doesn't belong there: read, or our own error."""

from __future__ import annotations

import copy
import csv
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest

import make_images as make
from maskwright.data.categories import positions, recognise_categories
from maskwright.data.formats import FORMATS, read_source
from maskwright.data.formats.rows import Row
from maskwright.errors import MaskwrightError
from maskwright.recipe.data import DataSpec

GONE = object()
"""In place of a value: the key isn't there."""

WRONG = [
    GONE,
    None,
    True,
    "",
    "x",
    "²",
    "../..",
    "http://[",
    -1,
    0.5,
    1e300,
    10**30,
    float("nan"),
    float("inf"),
    [],
    [[1, None]],
    {},
]
WORDS = [GONE, "", " ", "x", "²", "-1", "0.5", "1e300", "9" * 30, "nan", "inf", "1,2", "\0", "http://[", "{"]
H, W = make.HEIGHT, make.WIDTH
RING = [[1, 1], [9, 1], [9, 8], [1, 8]]
FLAT = [float(v) for corner in RING for v in corner]
RUNS = {"size": [H, W], "counts": [3, 4, H * W - 7]}
BRUSH = [*int(f"{4 * H * W:032b}{7:05b}{'1111' * 4}100{4 * H * W - 1:016b}{255:08b}".ljust(88, "0"), 2).to_bytes(11)]
"""Label Studio's stream of one run: every pixel is covered."""


def coco() -> dict[str, Any]:
    item = {"image_id": 1, "category_id": 1, "iscrowd": 0, "isthing": 1, "ignore": 0, "area": 1, "bbox": [1, 1, 8, 7]}
    outlines = ([FLAT], RUNS, {"size": [H, W], "counts": "34i5"}, None)
    return {
        "info": {"background": "x", "part": "train"},
        "licenses": [{"name": "", "id": 0, "url": ""}],
        "images": [{"id": 1, "file_name": "a.png", "height": H, "width": W, "known": ["masks"]}],
        "annotations": [{"id": i, "segmentation": outline} | item for i, outline in enumerate(outlines)],
        "categories": [{"id": 1, "name": "x", "color": [1, 2, 3], "isthing": 1, "supercategory": "y"}],
    }


def panoptic() -> dict[str, Any]:
    segment = {"id": 1, "category_id": 1, "iscrowd": 0, "area": 1, "isthing": 1}
    return coco() | {"annotations": [{"image_id": 1, "file_name": "a.png", "segments_info": [segment]}]}


def labelme() -> dict[str, Any]:
    kinds = {"polygon": RING, "circle": RING[:2], "points": RING, "linestrip": RING, "rectangle": RING[:2]}
    about = {"label": "x", "group_id": 1, "flags": {"instance": True}}
    shapes = [about | {"points": points, "shape_type": kind} for kind, points in kinds.items()]
    pixel = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGP4DwABAQEANl9ngAAAAABJRU5ErkJggg=="
    shapes.append(about | {"points": [[2, 3], [2, 3]], "shape_type": "mask", "mask": pixel})
    inner = {"imagePath": "a.png", "imageData": pixel, "imageHeight": H, "imageWidth": W}
    return {"version": "5.5.0", "flags": {"masks": True}, "shapes": shapes, **inner}


VIA_SHAPES: list[dict[str, Any]] = [
    {"name": "polygon", "all_points_x": [1, 9, 9], "all_points_y": [1, 1, 8]},
    {"name": "circle", "cx": 4, "cy": 4, "r": 2},
    {"name": "ellipse", "cx": 4, "cy": 4, "rx": 2, "ry": 3, "theta": 1},
    {"name": "rect", "x": 1, "y": 2, "width": 3, "height": 3},
]


def via() -> dict[str, Any]:
    regions = [{"shape_attributes": shape, "region_attributes": {"label": "x"}} for shape in VIA_SHAPES]
    regions[0]["region_attributes"] = {"label": {"x": True}}
    return {"a.png9": {"filename": "a.png", "size": 9, "regions": regions, "file_attributes": {}}}


def geojson() -> dict[str, Any]:
    ring = [*RING, RING[0]]
    about = {"objectType": "annotation", "classification": {"name": "x", "color": [1, 2, 3], "colorRGB": -9}}
    derived = {"objectType": "cell", "classification": {"names": ["x", "y"], "colorRGB": -9}}
    whole = {"type": "Polygon", "coordinates": [ring, [[3, 3], [4, 3], [4, 4], [3, 3]]]}
    several = {"type": "MultiPolygon", "coordinates": [[ring]]}
    pairs = ((whole, about), (several, derived))
    return {
        "type": "FeatureCollection",
        "features": [{"type": "Feature", "id": "1", "geometry": g, "properties": p} for g, p in pairs],
    }


def label_studio() -> list[Any]:
    values = [
        {"points": [[0, 0], [50, 0], [50, 50]], "polygonlabels": ["x"]},
        {"x": 1, "y": 2, "radiusX": 9, "radiusY": 9, "rotation": 5, "ellipselabels": ["x"]},
        {"x": 1, "y": 2, "width": 9, "height": 9, "rotation": 5, "rectanglelabels": ["x"]},
        {"format": "rle", "rle": BRUSH, "brushlabels": ["x"]},
    ]
    size = {"original_height": H, "original_width": W, "image_rotation": 0}
    results = [{"id": f"r{i}", "to_name": "i", "value": value} | size for i, value in enumerate(values)]
    data = {"image": "http://me/data/a.png?d=a.png"}
    return [
        {"id": 5, "annotations": [{"result": results, "was_cancelled": False}], "data": data, "file_upload": "a.png"}
    ]


CVAT = f"""<annotations><version>1.1</version><meta><task><labels><label><name>x</name><color>#010203</color>
<type>any</type></label></labels></task></meta><image id="0" name="a.png" subset="train" width="{W}" height="{H}">
<polygon label="x" points="1,1;9,1;9,8" z_order="0" group_id="1"/><polyline label="x" points="1,1;9,1" z_order="0"/>
<box label="x" xtl="1" ytl="1" xbr="5" ybr="6" rotation="30"/><ellipse label="x" cx="5" cy="5" rx="3" ry="2"
rotation="9"/><mask label="x" rle="2,4" left="1" top="1" width="3" height="2"/></image></annotations>"""

LABELME_XML = f"""<annotation><filename>a.png</filename><folder>s</folder><imagesize><nrows>{H}</nrows><ncols>{W}
</ncols></imagesize><object><name>x</name><deleted>0</deleted><polygon><pt><x>1</x><y>1</y></pt><pt><x>9</x><y>1</y></pt>
<pt><x>9</x><y>8</y></pt></polygon></object><object><name>y</name><segm><mask>m.png</mask></segm></object></annotation>"""

IMAGESCOPE = """<Annotations MicronsPerPixel="0.25"><Annotation Id="1" Name="x" LineColor="255"><Attributes><Attribute
Name="Description" Id="0" Value="y"/></Attributes><Regions><Region Id="1" Type="0" NegativeROA="0"><Vertices>
<Vertex X="1" Y="1"/><Vertex X="9" Y="1"/><Vertex X="9" Y="8"/></Vertices></Region><Region Id="2" Type="2"
NegativeROA="1"><Vertices><Vertex X="1" Y="1"/><Vertex X="5" Y="6"/></Vertices></Region></Regions></Annotation>
</Annotations>"""

CONFIG = (
    """<View><PolygonLabels name="l" toName="i"><Label value="x" background="red" alias="z"/></PolygonLabels></View>"""
)

CLASSES = {
    "categories": [{"id": 0, "name": "a", "color": [1, 2, 3], "isthing": False, "values": [0]}, {"id": 1, "name": "b"}],
    "ignore": [255],
}
SOLO = {
    "sequence": 0,
    "step": 0,
    "captures": [
        {
            "filename": "a.png",
            "annotations": [
                {"@type": "x.SemanticSegmentationAnnotation", "filename": "a.png",
                 "instances": [{"labelName": "x", "pixelValue": [1, 2, 3, 255]}]},
                {"@type": "x.InstanceSegmentationAnnotation", "filename": "a.png",
                 "instances": [{"labelName": "x", "instanceId": 1, "color": [1, 2, 3, 255]}]},
            ],
        }
    ],
}  # fmt: skip
ADE = {"annotation": {"scene": ["a"], "object": [{"name": "x", "name_ndx": 5, "id": 0}]}}
VISTAS = {"labels": [{"name": "x", "readable": "x", "color": [1, 2, 3], "instances": True, "evaluate": True}]}
NNUNET = {"channel_names": {"0": "gray"}, "labels": {"background": 0, "x": 1, "ignore": 2}, "file_ending": ".png"}
DATUMARO = {"label_map": {"0": "x", "1": "y"}, "segmentation_colors": [[0, 0, 0], [1, 2, 3]]}


def variants(tree: Any, wrong: list[Any] = WRONG) -> Iterator[Any]:
    """Yield copies of a tree of lists and objects, one value of each replaced or gone."""
    for place in places(tree):
        for value in wrong:
            changed = copy.deepcopy(tree)
            if not place:
                if value is not GONE:
                    yield value
                continue
            inner = changed
            for key in place[:-1]:
                inner = inner[key]
            if value is GONE:
                del inner[place[-1]]
            else:
                inner[place[-1]] = value
            yield changed


def places(tree: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield above
    keyed = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in keyed:
        yield from places(value, (*above, key))


def json_texts(tree: Any) -> Iterator[str]:
    whole = json.dumps(tree)
    yield whole
    yield from (json.dumps(changed) for changed in variants(tree))
    yield from (whole[:length] for length in range(0, len(whole), 97))


def xml_texts(whole: str) -> Iterator[str]:
    """Yield an XML file with an attribute, a text or an element replaced or gone."""
    yield whole
    count = sum(1 for _ in ElementTree.fromstring(whole).iter())
    for place in range(count):
        keys = [None, *list(ElementTree.fromstring(whole).iter())[place].keys()]
        for key in keys:
            for word in (word for word in WORDS if word != "\0"):
                root = ElementTree.fromstring(whole)
                element = list(root.iter())[place]
                if key is not None and word is GONE:
                    del element.attrib[key]
                elif key is not None:
                    element.set(key, word)
                elif word is GONE:
                    parents = [parent for parent in root.iter() if element in list(parent)]
                    for parent in parents:
                        parent.remove(element)
                else:
                    element.text = word
                yield ElementTree.tostring(root, "unicode")
    yield from (whole[:length] for length in range(0, len(whole), 97))


def csv_texts(table: list[list[str]], more: tuple[str, ...] = ()) -> Iterator[str]:
    for changed in (table, *variants(table, [*WORDS, *more])):
        if isinstance(changed, list):
            file = io.StringIO()
            csv.writer(file).writerows([row if isinstance(row, list) else [row] for row in changed])
            yield file.getvalue()


def word_texts(text: str) -> Iterator[str]:
    """Yield a text of lines of words, a word replaced or gone."""
    lines = [line.split(" ") for line in text.splitlines()]
    for changed in (lines, *variants(lines, WORDS)):
        if isinstance(changed, list):
            yield "\n".join(" ".join(line) if isinstance(line, list) else line for line in changed)


def rle_rows() -> list[list[str]]:
    return [["ImageId", "EncodedPixels", "ClassId"], ["a.png", "1 3 7 2", "x"], ["a.png", "", "y"]]


def via_rows() -> list[list[str]]:
    header = ["filename", "file_size", "file_attributes", "region_count", "region_id", "region_shape_attributes",
              "region_attributes"]  # fmt: skip
    rows = [["a.png", "9", "{}", "2", "0", json.dumps(shape), '{"label": "x"}'] for shape in VIA_SHAPES]
    return [header, *rows]


OPEN_IMAGES = [["MaskPath", "ImageID", "LabelName"], ["m.png", "a", "x"]]
NOT_YAML = (
    "names: [x, y]",
    "names: {0: x, 1: y}",
    "names: {0: x, -1: y}",
    "names: {²: x}",
    "names: 3",
    "[",
    "names: [[1]]",
)

CASES: dict[str, tuple[str, str, Callable[[], Iterator[str]]]] = {
    "coco": ("coco", "c.json", lambda: json_texts(coco())),
    "coco_panoptic": ("coco_panoptic", "panoptic.json", lambda: json_texts(panoptic())),
    "labelme": ("labelme", "a.json", lambda: json_texts(labelme())),
    "via": ("via", "v.json", lambda: json_texts(via())),
    "via, csv": ("via", "v.csv", lambda: csv_texts(via_rows(), ("[1]", '{"name": []}', '{"label": []}', "NaN"))),
    "geojson": ("geojson", "a.geojson", lambda: json_texts(geojson())),
    "label_studio": ("label_studio", "export.json", lambda: json_texts(label_studio())),
    "label_studio, labels": ("label_studio", "config.xml", lambda: xml_texts(CONFIG)),
    "cvat": ("cvat", "annotations.xml", lambda: xml_texts(CVAT)),
    "labelme_xml": ("labelme_xml", "a.xml", lambda: xml_texts(LABELME_XML)),
    "imagescope": ("imagescope", "a.xml", lambda: xml_texts(IMAGESCOPE)),
    "yolo": ("yolo", "labels/a.txt", lambda: word_texts("0 0.1 0.1 0.9 0.1 0.9 0.9\n1 0 0 0.5 0 0.5 0.5")),
    "yolo, names": ("yolo", "data.yaml", lambda: iter(NOT_YAML)),
    "rle_csv": ("rle_csv", "train.csv", lambda: csv_texts(rle_rows(), ("1", f"{2**63 - 2} 5", "5 -1", "0 1", "² 1"))),
    "folder": ("folder", "classes.json", lambda: json_texts(CLASSES)),
    "folder, names": ("folder", "classes.json", lambda: json_texts({"0": "a", "1..N": "b", "255": "ignore"})),
    "folder, meta": ("folder", "meta.csv", lambda: csv_texts([["name", "patient"], ["a", "7"]])),
    "unity_solo": ("unity_solo", "sequence.0/step0.frame_data.json", lambda: json_texts(SOLO)),
    "ade20k": ("ade20k", "training/a.json", lambda: json_texts(ADE)),
    "mapillary": ("mapillary", "config_v2.0.json", lambda: json_texts(VISTAS)),
    "nnunet": ("nnunet", "dataset.json", lambda: json_texts(NNUNET)),
    "synthia": ("synthia", "dataset_meta.json", lambda: json_texts(DATUMARO)),
    "synthia, colours": ("synthia", "label_colors.txt", lambda: word_texts("0 0 0 void\n1 2 3 road")),
    "voc": ("voc", "labelmap.txt", lambda: word_texts("# label:color_rgb\nbackground:0,0,0::\nx:1,2,3::")),
    "mots": ("mots", "train/instances/labels.txt", lambda: word_texts("car person")),
    "open_images": ("open_images", "annotations/train-annotations-object-segmentation.csv",
                    lambda: csv_texts(OPEN_IMAGES)),
}  # fmt: skip
"""Name → (format, the file that is replaced, its texts)."""


def lay_out(name: str, root: Path) -> None:
    """Put the other files of a format into a folder."""
    mask = make.label() % 2
    folders = {
        "coco_panoptic": ["panoptic/a"],
        "labelme_xml": ["m"],
        "folder": ["images/a", "masks/a"],
        "unity_solo": ["sequence.0/a"],
        "ade20k": ["training/a", "training/a_seg"],
        "mapillary": ["training/images/a", "training/v2.0/labels/a", "training/v2.0/instances/a"],
        "nnunet": ["imagesTr/a_0000", "labelsTr/a"],
        "synthia": ["RGB/a", "GT/COLOR/a"],
        "voc": ["JPEGImages/a", "SegmentationClass/a", "SegmentationObject/a"],
        "mots": ["train/images/a", "train/instances/a"],
        "open_images": ["images/train/a", "masks/train/m"],
        "yolo": ["images/a"],
    }
    for place in folders.get(name, []) + (
        [] if name in folders and name not in ("coco_panoptic", "labelme_xml") else ["a"]
    ):
        path = root / f"{place}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        colors = np.stack([mask * 0] * 2 + [mask], 2) if name in ("coco_panoptic", "synthia", "ade20k") else mask
        cv2.imwrite(str(path), colors)
    if name == "label_studio":
        (root / "export.json").write_text(json.dumps(label_studio()))
    if name == "yolo":
        (root / "labels").mkdir()
        (root / "labels" / "a.txt").write_text("0 0.1 0.1 0.9 0.1 0.9 0.9")


def read_whole(root: Path, name: str) -> list[Row]:
    """Read a folder as the index does, without writing: rows, labels of each, categories."""
    FORMATS[name].recognise(root)
    source = read_source(root, name)
    contents = [row.render() for row in source.rows if row.render is not None]
    categories = recognise_categories(source, root, DataSpec(root=str(root), format=name))
    for content in contents:
        if content.mask is not None:
            positions(content.mask, categories)
    return source.rows


def fault(root: Path, name: str) -> str | None:
    """Return what reading a folder raises that is no error of ours, None for a folder that is read or refused."""
    try:
        read_whole(root, name)
    except MaskwrightError as error:
        return None if "\n  next:  " in str(error) else str(error)
    except Exception as error:
        return f"{type(error).__name__}: {error}"[:200]
    return None


@pytest.mark.parametrize("case", CASES)
def test_any_field_may_be_wrong(case, tmp_path):
    name, place, texts = CASES[case]
    lay_out(name, tmp_path)
    path = tmp_path / place
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = next(texts()).encode()
    path.write_bytes(whole)
    assert read_whole(tmp_path, name), "what nothing is wrong with is read"
    others = {}
    for data in dict.fromkeys([*(text.encode() for text in texts()), b"\xff" + whole, whole.replace(b"x", b"\xe4")]):
        path.write_bytes(data)
        if error := fault(tmp_path, name):
            others.setdefault(error, data)
    assert not others, "\n".join(f"{error}: {data!r}" for error, data in list(others.items())[:9])


@pytest.mark.parametrize("name", FORMATS)
def test_any_format_may_be_asked_for(name, tmp_path):
    make.gray_png(tmp_path / "a" / "images", "a")
    make.gray_png(tmp_path / "b", "a")
    (tmp_path / "c").mkdir()
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "dataset.json").write_text("[]")
    for root in tmp_path.iterdir():
        assert fault(root, name) is None, root.name


def test_any_part_of_an_npz_may_be_lost(tmp_path):
    images, masks = np.full((2, H, W), 7, np.uint8), np.ones((2, H, W), np.uint8)
    np.savez_compressed(tmp_path / "a.npz", images=images, masks=masks)
    whole = (tmp_path / "a.npz").read_bytes()
    for place in range(0, len(whole), 7):
        for data in (whole[:place], whole[:place] + b"\xff" + whole[place + 1 :]):
            (tmp_path / "a.npz").write_bytes(data)
            assert fault(tmp_path, "npz") is None, place
