"""Odd files of every kind, explained; the recipe lines that are printed are tried on the file they are printed for."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

import make_images as make
from maskwright.audit.appearance import KINDS, appearance, flat_share
from maskwright.audit.doctor import SHOWN, examine
from maskwright.cli import main
from maskwright.data.categories import read_label
from maskwright.data.images import COLOR, read_values
from maskwright.recipe import Recipe, apply_settings
from maskwright.types import Category

DATA = Path(os.environ.get("MASKWRIGHT_DATA", "/nonexistent")) / "fixtures"
real = pytest.mark.skipif(not DATA.is_dir(), reason="MASKWRIGHT_DATA names no folder with fixtures")


def squares(count):
    """Return (64, 64) uint8 with `count` squares of 4×4, numbered from 1."""
    values = np.zeros((64, 64), np.uint8)
    for i in range(count):
        values[8 * (i // 8) : 8 * (i // 8) + 4, 8 * (i % 8) : 8 * (i % 8) + 4] = i + 1
    return values


def save(path, values, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path, **options)
    return path


def objects(folder):
    return save(folder / "objects.png", squares(20))


def soft(folder):
    """A disc's probabilities, as 8-bit gray: 0 outside, 255 inside, all between at its border."""
    ys, xs = np.mgrid[:96, :96] - 48
    return save(folder / "soft.png", np.clip((np.hypot(ys, xs) - 30) * 30 + 128, 0, 255).round().astype(np.uint8))


def fractions(folder):
    folder.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(folder / "p.tif", make.pattern(top=1000).astype(np.float32) / 1000)
    return folder / "p.tif"


def blurred_mask(folder):
    mask = np.zeros((64, 64), np.uint8)
    mask[9:41, 13:50] = 255
    return save(folder / "lossy.jpg", mask, quality=90)


def photo(folder):
    values = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    return save(folder / "photo.jpg", values, quality=95)


def void_mask(folder):
    values = make.label()
    values[-2:] = 255
    return save(folder / "void.png", values)


def gray_as_rgb(folder):
    return save(folder / "rgb.png", np.repeat(make.label()[..., None], 3, 2))


def lzw(folder):
    return save(folder / "lzw.tif", make.label(), compression="tiff_lzw")


@pytest.mark.parametrize(
    ("write", "told", "kind", "distinct", "lines"),
    [
        (make.palette_png, "PNG palette 16 12 1 2", "index mask", 4, ["data.categories"]),
        (make.binary_mask, "PNG gray 16 12 1 8", "0/255 mask", 2, ["data.classes"]),
        (make.color_mask, "PNG RGB 16 12 3 8", "colour mask", 4, ["data.categories"]),
        (gray_as_rgb, "PNG RGB 16 12 3 8", "index mask", 4, ["data.categories"]),
        (void_mask, "PNG gray 16 12 1 8", "index mask", 5, ["data.ignore", "data.categories"]),
        (lzw, "TIFF gray 16 12 1 8", "index mask", 4, ["data.categories"]),
        (objects, "PNG gray 64 64 1 8", "instance map", 21, ["data.task"]),
        (soft, "PNG gray 96 96 1 8", "probability map", None, []),
        (fractions, "TIFF gray 16 12 1 32", "probability map", None, []),
        (blurred_mask, "JPEG gray 64 64 1 8", "mask with blurred values", None, []),
        (photo, "JPEG RGB 64 64 3 8", "image", None, ["data.channels"]),
        (make.gray16_png, "PNG gray 16 12 1 16", "image", None, ["data.channels", "data.value_range"]),
        (make.gray16_tiff, "TIFF gray 16 12 1 16", "image", None, ["data.channels", "data.value_range"]),
        (make.rgba_png, "PNG RGB with alpha 16 12 4 8", "image", None, ["data.channels"]),
    ],
)
def test_odd_files_are_what_they_are(tmp_path, write, told, kind, distinct, lines):
    path = write(tmp_path)
    found = examine(path)
    assert found.fault is None
    header = found.header
    assert f"{header.format} {header.mode} {header.width} {header.height} {header.channels} {header.bits}" == told
    assert found.appearance.kind == kind, found.appearance.why
    assert found.appearance.kind in KINDS
    assert [line.split(": ", 1)[0] for line in found.recipe] == lines
    if distinct is not None:
        values, counts = np.unique(read_values(path), return_counts=True)
        assert found.distinct == distinct == len(values)
        assert sorted(n for _, n in found.values) == sorted(sorted(counts.tolist())[-SHOWN:])
        assert sum(counts) == header.width * header.height
    read_as_told(path, found)


def read_as_told(path, found):
    """Read a mask by the lines that were printed for it; nothing in it may be unknown."""
    if not found.recipe or found.appearance.kind == "image":
        return
    recipe = apply_settings(Recipe(data={"root": "."}), [line.replace(": ", "=", 1) for line in found.recipe])
    if recipe.data.categories is None:
        two = (Category(0, "background", values=(0,)), Category(1, "foreground", values="rest"))
        recipe = recipe.model_copy(update={"data": recipe.data.model_copy(update={"categories": two})})
    label = read_label(path, recipe.data.to_categories())
    assert len(np.unique(label)) == (
        2 if recipe.data.classes == "binary" or recipe.data.task == "instances" else found.distinct
    )


def test_every_recipe_line_is_valid(tmp_path):
    for write in (photo, make.gray16_tiff, make.color_mask, objects, void_mask):
        lines = [line.replace(": ", "=", 1) for line in examine(write(tmp_path)).recipe]
        assert lines
        assert apply_settings(Recipe(data={"root": "."}), lines) != Recipe(data={"root": "."})


def test_colours_are_named_as_recipes_name_them(tmp_path):
    found = examine(make.color_mask(tmp_path))
    assert set(dict(found.values)) == {"#000000", "#dc143c", "#0082c8", "#3cb44b"}
    assert '"values": ["#dc143c"]' in found.recipe[0]


@pytest.mark.parametrize(("part", "kind"), [("masks", "index mask"), ("instances", "instance map")])
def test_the_folder_decides_between_categories_and_objects(tmp_path, part, kind):
    assert examine(objects(tmp_path / part)).appearance.kind == kind


def test_flat_areas_are_told_from_noise():
    assert flat_share(np.zeros((5, 7), int)) == 1
    assert flat_share(np.indices((4, 4)).sum(0) % 2) == 0
    assert flat_share(np.zeros((1, 1), int)) == 1
    # two columns of three differ once a row: 3 of 3·1 + 2·2 = 7 pairs
    assert flat_share(np.array([[0, 1]] * 3)) == pytest.approx(4 / 7)


def test_colours_of_many_objects_number_them():
    values = np.kron(np.arange(100).reshape(10, 10) + COLOR + 1, np.ones((8, 8), int))
    counts = {int(v): 64 for v in np.unique(values)}
    assert appearance(values, counts).kind == "instance map"


def test_partners_and_their_sizes(tmp_path):
    image, mask = make.wrong_size(tmp_path / "images", tmp_path / "masks")
    of_image, of_mask = examine(image), examine(mask)
    assert [(p.path, p.fits) for p in of_image.partners] == [(mask, False)]
    assert [(p.path, p.fits) for p in of_mask.partners] == [(image, False)]
    assert "the image 16×12, the mask 16×13" in of_mask.partners[0].detail
    make.id_png(tmp_path / "instances", "wrong", make.HEIGHT, make.WIDTH)
    assert [p.fits for p in examine(image).partners] == [False, True]
    assert any("no image of its name" in line for line in examine(make.palette_png(tmp_path / "masks", "z")).advice)
    assert examine(make.palette_png(tmp_path, "alone")).partners == ()


def test_a_partner_in_a_nested_part(tmp_path):
    image = make.gray_png(tmp_path / "images" / "train", "a.b")
    mask = make.palette_png(tmp_path / "masks" / "train", "a.b")
    make.palette_png(tmp_path / "masks", "a.b")
    assert [p.path for p in examine(image).partners] == [mask]


@pytest.mark.parametrize("upright", [False, True])
def test_a_turned_photo_and_its_mask(tmp_path, upright):
    image, mask = make.turned_jpeg(tmp_path / "images", tmp_path / "masks", mask_upright=upright)
    found = examine(image)
    assert (found.orientation, found.partners[0].fits) == (6, True)
    assert ("stands upright" in found.partners[0].detail) == upright
    assert "12×16" in examine(mask).partners[0].detail


def cut(folder):
    return make.truncated_png(folder, "cut")


def gif(folder):
    return save(folder / "a.gif", make.label())


def jpeg_called_png(folder):
    return shutil.move(photo(folder), folder / "photo.png")


def text(folder):
    (folder / "a.png").write_text("name,patient\na,1\n")
    return folder / "a.png"


def empty(folder):
    (folder / "a.png").write_bytes(b"")
    return folder / "a.png"


def numpy_file(folder):
    np.save(folder / "a.npy", make.label())
    return folder / "a.npy"


def stack(folder):
    tifffile.imwrite(folder / "s.tif", np.zeros((7, 12, 16), np.uint8), photometric="minisblack")
    return folder / "s.tif"


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (cut, ("truncated", "replace the file")),
        (gif, ("a GIF file", "save it as PNG")),
        (jpeg_called_png, (".png on a JPEG file", "rename it to photo.jpg")),
        (text, ("got text", "index PNG")),
        (empty, ("an empty file",)),
        (numpy_file, ("a NumPy array",)),
        (stack, ("(7, 12, 16)", "a stack of 7 pages")),
        (lambda folder: folder / "none.png", ("No such file", "check the path")),
        (lambda folder: folder, ("a folder", "maskwright audit --data")),
    ],
)
def test_what_can_not_be_read_is_said_in_four_parts(tmp_path, write, words):
    fault = examine(write(tmp_path)).fault
    assert all(word in fault for word in words), fault
    first, where, following = fault.splitlines()
    assert first.startswith("expected ") and ", got " in first
    assert (where[:9], following[:9]) == ("  where: ", "  next:  ")


def test_the_command_explains_each_file_and_returns_2_if_one_can_not_be_read(tmp_path, capsys):
    good, bad = make.palette_png(tmp_path), cut(tmp_path)
    assert main(["doctor", str(good)]) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert "looks like  index mask" in err
    assert "palette of 4 colours, 16×12 pixels" in err
    assert main(["doctor", str(bad), str(good), str(tmp_path), "--json"]) == 2
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert [d["path"] for d in found] == [str(bad), str(good), str(tmp_path)]
    assert [d["fault"] is None for d in found] == [False, True, False]
    assert found[1]["values"] == [list(pair) for pair in examine(good).values]
    assert err.index(str(bad)) < err.index("looks like") < err.index("error:")
    assert "(1 of 3 can), got 2 that can't" in err


def test_the_command_without_a_file_says_how_to_use_it(capsys):
    assert main(["doctor"]) == 2
    assert "maskwright doctor FILE" in capsys.readouterr().err


def test_what_is_dropped_or_strange_is_noted(tmp_path):
    assert "its alpha channel is dropped" in examine(make.rgba_png(tmp_path)).advice
    assert any("in masks/ but looks like an image" in line for line in examine(photo(tmp_path / "masks")).advice)
    assert any("in images/ but doesn't" in line for line in examine(make.binary_mask(tmp_path / "images")).advice)
    renamed = shutil.move(make.gray_png(tmp_path), tmp_path / "gray.bmp")
    assert "its name says .bmp, but it holds PNG" in examine(renamed).advice


def test_many_values_are_shortened(tmp_path, capsys):
    assert main(["doctor", str(make.gray_png(tmp_path))]) == 0
    number = len(np.unique(make.pattern()))
    assert f"… and {number - 4} more" in capsys.readouterr().err


@real
@pytest.mark.realdata
@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("bdd100k/semseg_mask.png", "index mask"),
        ("coco_panoptic/panoptic_examples/000000142238.png", "colour mask"),
        ("coco_panoptic/input_images/000000142238.jpg", "image"),
        ("coco_instances_nuts/images/0.jpg", "image"),
        ("stardist_tiff/mask2d.tif", "instance map"),
        ("stardist_tiff/img2d.tif", "image"),
    ],
)
def test_real_files(name, kind):
    found = examine(DATA / name)
    assert found.fault is None
    assert found.appearance.kind == kind, found.appearance.why
    read_as_told(DATA / name, found)


def test_an_annotation_file_is_explained(tmp_path, capsys):
    make.gray_png(tmp_path / "images", "a")
    tree = {
        "images": [{"id": 1, "file_name": "a.png"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 3, "segmentation": [[1, 1, 9, 1, 9, 8]]}],
        "categories": [{"id": 3, "name": "rock"}],
    }
    path = tmp_path / "annotations" / "c.json"
    path.parent.mkdir()
    path.write_text(json.dumps(tree))
    export = examine(path).export
    assert (export.formats, export.folder) == (("coco",), tmp_path)
    assert export.holds == ("1 images", "1 annotations", "1 categories")
    assert main(["doctor", str(path), "--json"]) == 0
    said, told = capsys.readouterr()
    assert json.loads(said)[0]["export"]["formats"] == ["coco"]
    assert "annotations, as coco has them" in told
    assert "1 labelled and 0 unlabelled images; categories background, rock" in " ".join(told.split())


def test_an_annotation_file_that_is_not_read_says_why(tmp_path, capsys):
    make.gray_png(tmp_path, "a")
    (tmp_path / "a.xml").write_text(
        '<annotations><version>1.1</version><image id="0" name="b.png" width="16" height="12">'
        '<polygon label="x" points="1,1;9,1;9,8"/></image></annotations>'
    )
    assert main(["doctor", str(tmp_path / "a.xml")]) == 2
    assert "1 that are nowhere in the folder: b.png" in capsys.readouterr().err
    (tmp_path / "notes.json").write_text("[1, 2]")
    assert examine(tmp_path / "notes.json").export is None


@pytest.mark.parametrize("where", ["masks", "."])
def test_values_are_called_as_the_files_beside_call_them(tmp_path, where, capsys):
    mask = save(tmp_path / "masks" / "a.png", squares(2))
    (tmp_path / where / "classes.json").write_text('{"0": "soil", "2": "rock"}')
    assert examine(mask).names == ("soil", "", "rock")
    assert main(["doctor", str(mask)]) == 0
    told = " ".join(capsys.readouterr().err.split())
    assert "0 soil (4064 px), 1 (16 px), 2 rock (16 px)" in told
    assert "list the names" not in told


def test_values_are_called_as_labelmap_calls_them(tmp_path):
    mask = save(tmp_path / "SegmentationClass" / "a.png", squares(1))
    (tmp_path / "labelmap.txt").write_text("background:0,0,0::\nrock:128,0,0::\n")
    assert examine(mask).names == ("background", "rock")


def test_a_mask_of_one_object_has_the_image_of_its_folder(tmp_path):
    save(tmp_path / "n1" / "images" / "n1.png", make.pattern(64, 64).astype(np.uint8))
    mask = save(tmp_path / "n1" / "masks" / "object.png", squares(1) * 255)
    found = examine(mask)
    assert [(partner.path.name, partner.fits) for partner in found.partners] == [("n1.png", True)]
    assert not any("no image of its name" in line for line in found.advice)


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    assert "a device or a pipe" in examine(tmp_path / "pipe.png").fault


def test_of_a_huge_file_that_is_no_picture_the_beginning_is_read(tmp_path):
    """16 GiB with a hole, more than is there: to read it whole would fail."""
    with open(tmp_path / "volume.nii.gz", "wb") as file:
        file.write(b"\x1f\x8b")
        file.truncate(1 << 34)
    assert "a gzip archive" in examine(tmp_path / "volume.nii.gz").fault
