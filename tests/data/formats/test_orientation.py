"""Photos with an EXIF orientation: a polygon lies where it was drawn on the upright picture, whatever the format."""

import json

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from maskwright.artifacts import locate, turned_like
from maskwright.data.formats import FORMATS, read_source
from maskwright.data.formats.runlength import mask_to_pairs
from maskwright.data.images import read_image, read_values
from maskwright.data.imported import write_rows
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


def save(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), values)


def colored(mask, *bgr):
    return np.stack([mask * share for share in bgr], 2)


def in_coco_panoptic(root, mask):
    save(root / "panoptic/a.png", colored(mask, 0, 0, 1))
    annotation = {"image_id": 1, "file_name": "a.png", "segments_info": [{"id": 1, "category_id": 1}]}
    tree = {"images": [{"id": 1, "file_name": "a.jpg"}], "categories": [{"id": 1, "name": "x", "isthing": 1}]}
    (root / "panoptic.json").write_text(json.dumps(tree | {"annotations": [annotation]}))


def in_dsb2018(root, mask):
    save(root / "a/masks/1.png", mask * 255)


def in_rle_csv(root, mask):
    (root / "train.csv").write_text(f"ImageId,EncodedPixels\na,{mask_to_pairs(mask > 0)}\n")


def in_layers(root, mask):
    save(root / "masks/a_x.png", mask)
    save(root / "masks/a_y.png", mask * 0)


def in_layers_of_pages(root, mask):
    (root / "labels").mkdir()
    tifffile.imwrite(root / "labels/a.tif", np.stack([mask, mask * 0]), photometric="minisblack")


def in_open_images(root, mask):
    save(root / "masks/train/m.png", mask * 255)
    (root / "annotations").mkdir()
    table = root / "annotations/train-annotations-object-segmentation.csv"
    table.write_text("MaskPath,ImageID,LabelName\nm.png,a,x\n")


def in_labelme_xml(root, mask):
    save(root / "Masks/m.png", mask * 255)
    segment = "<object><name>x</name><segm><mask>m.png</mask></segm></object>"
    (root / "a.xml").write_text(f"<annotation><filename>a.jpg</filename><folder></folder>{segment}</annotation>")


def in_voc(root, mask):
    save(root / "SegmentationClass/a.png", mask)
    save(root / "SegmentationObject/a.png", mask)


def in_kitti(root, mask):
    save(root / "training/instance/a.png", mask.astype(np.uint16) * (26 * 256 + 1))


def in_mapillary(root, mask):
    labels = [{"name": name, "color": [0, 0, 0], "instances": True} for name in "ox"]
    (root / "config.json").write_text(json.dumps({"labels": labels}))
    save(root / "training/labels/a.png", mask)
    save(root / "training/instances/a.png", mask.astype(np.uint16) * 256)


def in_mots(root, mask):
    save(root / "train/instances/a.png", mask.astype(np.uint16) * 1000)
    (root / "train/instances/labels.txt").write_text("x")


def in_ade20k(root, mask):
    save(root / "training/a_seg.png", colored(mask, 1, 5, 0))
    (root / "training/a.json").write_text(json.dumps({"annotation": {"object": [{"name": "x", "name_ndx": 5}]}}))


def in_bdd100k(root, mask):
    save(root / "labels/pan_seg/bitmasks/train/a.png", np.stack([mask * 0, mask * 0, mask * 35, mask], 2))


def in_synthia(root, mask):
    save(root / "GT/LABELS/a.png", colored(mask.astype(np.uint16), 0, 1, 8))


def in_unity_solo(root, mask):
    save(root / "sequence.0/i.png", colored(mask, 3, 2, 1))
    items = [{"labelName": "x", "instanceId": 1, "color": [1, 2, 3, 255]}]
    annotation = {"@type": "InstanceSegmentationAnnotation", "filename": "i.png", "instances": items}
    tree = {"captures": [{"filename": "a.jpg", "annotations": [annotation]}]}
    (root / "sequence.0/step0.frame_data.json").write_text(json.dumps(tree))


def in_folder(root, mask):
    save(root / "masks/a.png", mask)
    save(root / "instances/a.png", mask)


def in_folder_of_tiffs(root, mask):
    (root / "masks").mkdir()
    tifffile.imwrite(root / "masks/a.tif", mask)


WRITERS = {
    in_coco_panoptic: ("coco_panoptic", "a.jpg"),
    in_dsb2018: ("dsb2018", "a/images/a.jpg"),
    in_rle_csv: ("rle_csv", "a.jpg"),
    in_layers: ("layers", "images/a.jpg"),
    in_layers_of_pages: ("layers", "images/a.jpg"),
    in_open_images: ("open_images", "images/train/a.jpg"),
    in_labelme_xml: ("labelme_xml", "a.jpg"),
    in_voc: ("voc", "JPEGImages/a.jpg"),
    in_kitti: ("kitti", "training/image_2/a.jpg"),
    in_mapillary: ("mapillary", "training/images/a.jpg"),
    in_mots: ("mots", "train/images/a.jpg"),
    in_ade20k: ("ade20k", "training/a.jpg"),
    in_bdd100k: ("bdd100k", "images/10k/train/a.jpg"),
    in_synthia: ("synthia", "RGB/a.jpg"),
    in_unity_solo: ("unity_solo", "sequence.0/a.jpg"),
    in_folder: ("folder", "images/a.jpg"),
    in_folder_of_tiffs: ("folder", "images/a.jpg"),
}
"""Writer → (format, where its image lies). `in_cityscapes` would be alike: its images are PNGs without orientation."""

WITHOUT_FILES = {"coco", "labelme", "via", "cvat", "label_studio", "geojson", "imagescope", "yolo"}
RENDERED = {"npz", "dicom"}
AS_FILES = {"pairs", "gtav", "nnunet", "cityscapes"}
"""Formats of shapes; of images in other files; whose masks are read as those of `folder`, or as KITTI's."""


def test_every_format_is_turned_in_a_test():
    assert {name for name, _ in WRITERS.values()} | WITHOUT_FILES | RENDERED | AS_FILES == set(FORMATS)


@pytest.mark.parametrize("write", WRITERS, ids=lambda write: write.__name__[3:])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("orientation", [1, 2, 3, 6, 7])
def test_masks_in_files_are_turned_with_their_image(write, size, orientation, tmp_path):
    name, place = WRITERS[write]
    root, image = tmp_path / "data", tmp_path / "data" / place
    image.parent.mkdir(parents=True)
    mask = np.zeros(size, np.uint8)
    mask[2:20, 4:10] = 1
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(mask * 255).save(image, exif=exif, quality=100)
    write(root, mask)
    (row,) = [row for row in read_source(root, name).rows if row.image == place]
    (row,) = write_rows([row], tmp_path / "made")
    turned = read_image(image)[..., 0] > 128  # the image shows the mask: Pillow and OpenCV turn it
    for path in filter(None, (row.mask, row.instances)):
        values = read_values(locate(root, tmp_path / "made", path), like=turned_like(path, image))
        assert np.array_equal(values != np.median(values), turned), path
    assert row.mask or row.instances
    if orientation == 6 and size == SIZES[0]:
        assert turned.shape == (100, 60)
