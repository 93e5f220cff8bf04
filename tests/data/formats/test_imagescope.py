"""ImageScope's XML: layers, negative regions, shapes, and the areas that ImageScope itself states."""

from __future__ import annotations

import math
import os
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import tifffile

import make_images as make
from maskwright.data.formats import read_source, recognised
from maskwright.data.formats.imagescope import draw_file
from maskwright.errors import DataError

FIXTURES = Path(os.environ.get("MASKWRIGHT_DATA", "/nonexistent")) / "fixtures" / "imagescope_xml"
real = pytest.mark.skipif(not FIXTURES.is_dir(), reason="MASKWRIGHT_DATA names no folder")


def region(corners: str, kind: int = 0, negative: int = 0) -> str:
    vertices = "".join('<Vertex X="{}" Y="{}" Z="0"/>'.format(*pair.split(",")) for pair in corners.split())
    return f'<Region Id="3" Type="{kind}" NegativeROA="{negative}"><Vertices>{vertices}</Vertices></Region>'


def layer(*regions: str, number: int = 1, name: str = "", described: str = "", color: int = 65280) -> str:
    said = f'<Attributes><Attribute Name="Description" Id="0" Value="{described}"/></Attributes>'
    head = f'<Annotation Id="{number}" Name="{name}" LineColor="{color}">{said}'
    return f"{head}<Regions>{''.join(regions)}</Regions></Annotation>"


def write(root: Path, *layers: str, name: str = "a") -> Path:
    root.mkdir(parents=True, exist_ok=True)
    (root / f"{name}.xml").write_text(f'<Annotations MicronsPerPixel="0.25">{"".join(layers)}</Annotations>')
    if not (root / "a.png").exists():
        make.gray_png(root, "a")
    return root


def test_layers_are_categories_by_name_description_or_number(tmp_path):
    square, other, third = region("0,0 4,0 4,4 0,4"), region("6,0 8,0 8,2 6,2"), region("10,0 11,0 11,1 10,1")
    write(
        tmp_path,
        layer(square, name="tumour", color=255),
        layer(other, number=2, described="vessel"),
        layer(third, number=3),
        layer(number=4),
    )
    assert recognised(tmp_path) == ["imagescope"]
    source = read_source(tmp_path)
    # 255 is red, 65280 green: Windows has blue in the highest byte
    assert [(c.id, c.name, c.color) for c in source.categories] == [
        (0, "background", (0, 0, 0)),
        (1, "tumour", (255, 0, 0)),
        (2, "vessel", (0, 255, 0)),
        (3, "layer_3", (0, 255, 0)),
    ]
    content = source.rows[0].render()
    assert content.mask[0].tolist() == [1, 1, 1, 1, 0, 0, 2, 2, 0, 0, 3, 0, 0, 0, 0, 0]
    assert content.instances.max() == 3


def test_negative_regions_are_holes_of_their_layer_alone(tmp_path):
    hole = region("2,2 5,2 5,5 2,5", negative=1)
    write(tmp_path, layer(region("0,0 10,0 10,10 0,10"), number=1), layer(hole, region("1,1 6,1 6,6 1,6"), number=2))
    mask = read_source(tmp_path).rows[0].render().mask
    assert (mask == 2).sum() == 25 - 9
    assert (mask[3, 3], mask[0, 0]) == (1, 1)


def test_rectangles_ellipses_arrows_and_clicks(tmp_path):
    make.gray_png(tmp_path, "a", 60, 80)
    shapes = (region("0,0 4,0 4,3 0,3", 1), region("40,50 20,10", 2), region("60,10 70,20", 3), region("5,5 6,6"))
    write(tmp_path, layer(*shapes))
    mask = read_source(tmp_path).rows[0].render().mask
    assert mask[:3, :4].all() and not mask[5, 5] and not mask[15, 65]
    assert abs(mask[10:50, 20:40].sum() - math.pi * 10 * 20) < 8
    assert mask.sum() == 12 + mask[10:50, 20:40].sum()


def test_images_of_other_types_elsewhere_and_without_a_file(tmp_path):
    tifffile.imwrite(tmp_path / "b.tif", np.zeros((12, 16, 3), np.uint8))
    make.gray_png(tmp_path / "more", "c")
    write(tmp_path, layer(region("0,0 4,0 4,4 0,4")), name="b")
    write(tmp_path, layer(region("1,1 9,9", 3)), name="a")
    found = {row.image: row.render is not None for row in read_source(tmp_path).rows}
    assert found == {"a.png": False, "b.tif": True, "more/c.png": False}


def test_label_maps_of_a_stated_size_without_the_image(tmp_path):
    write(tmp_path, layer(region("0,0 4,0 4,4 0,4"), name="tumour"))
    content, categories = draw_file(tmp_path / "a.xml", (7, 5))
    assert [category.name for category in categories] == ["background", "tumour"]
    assert content.mask.shape == (7, 5)
    assert content.mask.sum() == 16


@pytest.mark.parametrize(
    ("corners", "message"),
    [
        ("20,20 30,20 30,30", r"image of 16×12 pixels.*\n.*a\.xml, layer layer_1, region 3\n.*at its full size"),
        ("1,1 x,2 3,3", "pairs of numbers"),
        ("1,1 nan,2 3,3", "pairs of numbers"),
    ],
)
def test_what_is_refused_when_a_label_is_drawn(tmp_path, corners, message):
    write(tmp_path, layer(region(corners)))
    with pytest.raises(DataError, match=message):
        read_source(tmp_path).rows[0].render()


def test_what_is_refused_when_the_folder_is_read(tmp_path):
    write(tmp_path, layer(), name="slide")
    with pytest.raises(DataError, match="1 that are nowhere in the folder: slide"):
        read_source(tmp_path)
    (tmp_path / "slide.xml").write_text('<Annotations MicronsPerPixel="1"><Annotation>')
    with pytest.raises(DataError, match=r"slide\.xml"):
        read_source(tmp_path)


@real
@pytest.mark.realdata
@pytest.mark.parametrize(("name", "nuclei"), [("TCGA-HT-8564-01Z-00-DX1", 249), ("TCGA-HC-7209-01A-01-TS1", 325)])
def test_real_areas_are_those_that_imagescope_states(tmp_path, name, nuclei):
    source = FIXTURES / f"{name}.xml"
    (tmp_path / source.name).write_bytes(source.read_bytes())
    tifffile.imwrite(tmp_path / f"{name}.tif", np.zeros((1000, 1000, 3), np.uint8))
    content = read_source(tmp_path).rows[0].render()
    areas = [float(r.get("Area")) for r in ElementTree.parse(source).iter("Region")]
    sizes = np.bincount(content.instances.ravel())[1:]
    assert len(areas) == nuclei
    assert nuclei - 3 <= (sizes > 0).sum() <= nuclei  # two may lie below others
    # the stated areas are those of whole outlines, in pixels: also where they leave the image or lie below others
    assert abs(sizes.sum() / sum(areas) - 1) < 0.03
    ratio = sizes[sizes > 0] / np.array(areas)[: len(sizes)][sizes > 0]
    assert abs(np.median(ratio) - 1) < 0.02
