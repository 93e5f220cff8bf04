"""Photos with an EXIF orientation: a polygon lies where it was drawn on the upright picture, whatever the format."""

import json

import numpy as np
import pytest
from PIL import Image

from maskwright.data.index import build_index
from maskwright.recipe.data import DataSpec

POLYGON = [[5, 5], [30, 5], [30, 20], [5, 20]]
SIZES = [(60, 100), (64, 64)]


def labelme(root, height, width):
    shape = {"label": "x", "points": POLYGON, "shape_type": "polygon", "group_id": None, "flags": {}}
    about = {"imagePath": "a.jpg", "imageData": None, "imageHeight": height, "imageWidth": width}
    (root / "a.json").write_text(json.dumps({"version": "5", "flags": {}, "shapes": [shape]} | about))


def via(root, height, width):
    xs, ys = zip(*POLYGON, strict=True)
    outline = {"name": "polygon", "all_points_x": xs, "all_points_y": ys}
    region = {"shape_attributes": outline, "region_attributes": {"label": "x"}}
    (root / "v.json").write_text(
        json.dumps({"a.jpg1": {"filename": "a.jpg", "size": 1, "regions": [region], "file_attributes": {}}})
    )


def coco(root, height, width):
    image = {"id": 1, "file_name": "a.jpg", "height": height, "width": width}
    item = {
        "id": 1,
        "image_id": 1,
        "category_id": 1,
        "segmentation": [np.ravel(POLYGON).tolist()],
        "iscrowd": 0,
        "area": 1,
    }
    tree = {"images": [image], "categories": [{"id": 1, "name": "x"}], "annotations": [item | {"bbox": [0, 0, 1, 1]}]}
    (root / "c.json").write_text(json.dumps(tree))


def cvat(root, height, width):
    points = ";".join(f"{x},{y}" for x, y in POLYGON)
    shape = f'<polygon label="x" points="{points}" z_order="0"/>'
    image = f'<image id="0" name="a.jpg" width="{width}" height="{height}">{shape}</image>'
    (root / "c.xml").write_text(f"<annotations><version>1.1</version>{image}</annotations>")


@pytest.mark.parametrize("write", [labelme, via, coco, cvat], ids=lambda write: write.__name__)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_masks_stand_upright(write, size, orientation, tmp_path):
    root = tmp_path / "data"
    root.mkdir()
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = size if orientation < 5 else size[::-1]
    pixels = np.random.default_rng(0).integers(0, 255, (*stored, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(root / "a.jpg", exif=exif)
    write(root, *size)
    index, _, _ = build_index(DataSpec(root=str(root), format=write.__name__), tmp_path / "imported")
    label = index.read_label(0)
    ys, xs = np.nonzero(label == 1)
    assert label.shape == size
    # corners 5..30 and 5..20: the last column and row belong to it by some tools' rule, not by others'
    assert (xs.min(), ys.min()) == (5, 5) and xs.max() in (29, 30) and ys.max() in (19, 20)
