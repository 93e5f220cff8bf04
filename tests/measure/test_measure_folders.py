"""Folders of label files measured: against scikit-image, with and without the size of a pixel."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
import tifffile
from PIL import Image
from skimage.measure import label as components
from skimage.measure import regionprops

from maskwright.artifacts import RunFolder, write_json, write_text
from maskwright.cli import main
from maskwright.errors import DataError
from maskwright.measure import measure_folder
from maskwright.measure.folders import PER_IMAGE, PER_OBJECT
from maskwright.recipe import Recipe, dump_recipe
from maskwright.recipe.data import DataSpec
from maskwright.types import Category

CLASSES = {"categories": [{"id": 0, "name": "background"}, {"id": 3, "name": "tooth"}, {"id": 7, "name": "root"}]}


@pytest.fixture
def labels(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("a", "deep/b", "empty"):
        values = np.array([0, 3, 7], np.uint8)[(rng.random((40, 50)) > 0.7) * rng.integers(1, 3, (40, 50))]
        path = tmp_path / "labels" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(values * (name != "empty")).save(path)
    for beside in ("entropy", "overlays"):
        (tmp_path / "labels" / beside).mkdir()
        Image.fromarray(np.full((3, 3), 200, np.uint8)).save(tmp_path / "labels" / beside / "a.png")
    write_json(tmp_path / "labels" / "classes.json", CLASSES)
    return tmp_path / "labels"


def test_tables_are_those_of_scikit_image(labels):
    found = measure_folder(labels)
    assert (dict(found.per_image.schema), dict(found.per_object.schema)) == (PER_IMAGE, PER_OBJECT)
    assert found.without_spacing == ["a", "deep/b", "empty"]
    for name in ("a", "deep/b"):
        values = np.asarray(Image.open(labels / f"{name}.png"))
        for category, value in (("tooth", 3), ("root", 7)):
            regions = regionprops(components(values == value, connectivity=2))
            key = (pl.col("image") == name) & (pl.col("category") == category)
            objects, row = found.per_object.filter(key), found.per_image.filter(key).row(0, named=True)
            assert sorted(objects["area"]) == sorted(r.area for r in regions)
            assert sorted(objects["perimeter"]) == pytest.approx(sorted(r.perimeter for r in regions))
            assert row["area"] == np.count_nonzero(values == value)
            assert row["share"] == pytest.approx(row["area"] / 2000)
            assert row["count"] == len(regions)
            assert row["mean_area"] == pytest.approx(np.mean([r.area for r in regions]))
            assert row["mean_equivalent_diameter"] == pytest.approx(
                np.mean([r.equivalent_diameter_area for r in regions])
            )
            assert row["largest_feret_max"] == objects["feret_max"].max()
            assert row["sum_feret_max"] == pytest.approx(objects["feret_max"].sum())
    empty = found.per_image.filter(pl.col("image") == "empty")
    assert empty.select("category", "area", "count", "mean_area", "largest_feret_max").rows() == [
        ("tooth", 0, 0, None, None),
        ("root", 0, 0, None, None),
    ]


def test_millimetres_of_options_recipes_and_files(labels, tmp_path):
    pixels = measure_folder(labels).per_image
    images = tmp_path / "images"
    images.mkdir()
    options = {"resolution": (50, 50), "resolutionunit": "CENTIMETER"}  # .2 mm
    tifffile.imwrite(images / "a.tif", np.zeros((40, 50), np.uint8), **options)
    run = RunFolder(tmp_path / "run")
    run.records.mkdir(parents=True)
    items = (Category(0, "background"), Category(3, "tooth"), Category(7, "root"))
    write_text(run.recipe, dump_recipe(Recipe(data=DataSpec(root="x", categories=items, spacing=(0.5, 0.5)))))
    for given, sides, known in (
        ({"spacing": (0.2, 0.2)}, 0.2, {"a", "deep/b", "empty"}),
        ({"images": images}, 0.2, {"a"}),
        ({"named_by": run.root, "images": images}, 0.5, {"a", "deep/b", "empty"}),  # the recipe's goes first
    ):
        found = measure_folder(labels, **given)
        for row, before in zip(found.per_image.to_dicts(), pixels.to_dicts(), strict=True):
            factor = sides if row["image"] in known else 1
            assert row["unit"] == ("mm" if row["image"] in known else "px")
            assert row["area"] == pytest.approx(before["area"] * factor**2)
            assert row["sum_feret_max"] == pytest.approx(before["sum_feret_max"] * factor)
            assert row["share"] == before["share"]
        assert set(found.without_spacing) == {"a", "deep/b", "empty"} - known
    apart = measure_folder(labels, spacing=(0.2, 0.3))
    assert apart.per_image["area"].to_list() == pytest.approx((pixels["area"] * 0.06).to_list())
    assert apart.per_object["perimeter"].null_count() == apart.per_object.height


def test_an_image_of_another_size_says_nothing_of_the_labels(labels, tmp_path):
    options = {"resolution": (50, 50), "resolutionunit": "CENTIMETER"}
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((80, 100), np.uint8), **options)
    with pytest.raises(DataError, match=r"labels of the image's size 100×80(.|\n)*a\.tif"):
        measure_folder(labels, images=tmp_path)


def test_id_maps_say_what_is_one_object(labels, tmp_path):
    ids = tmp_path / "ids"
    (ids / "deep").mkdir(parents=True)
    for name in ("a", "deep/b", "empty"):
        values = np.asarray(Image.open(labels / f"{name}.png"))
        halves = np.where(np.arange(50) < 25, 300, 65_000).astype(np.uint16)
        Image.fromarray((values == 3) * halves).save(ids / f"{name}.png")
    found, without = measure_folder(labels, instances=ids), measure_folder(labels)
    teeth, roots = pl.col("category") == "tooth", pl.col("category") == "root"
    assert found.per_object.filter(teeth)["object"].to_list() == [300, 65_000] * 2
    # a category without ids is measured by its components
    kept = ["image", "area", "row", "column"]
    assert found.per_object.filter(roots)[kept].equals(without.per_object.filter(roots)[kept])
    assert min(found.per_object.filter(roots)["object"]) == 65_001
    (ids / "a.png").unlink()
    with pytest.raises(DataError, match="an id map, got none"):
        measure_folder(labels, instances=ids)
    Image.fromarray(np.zeros((3, 3), np.uint8)).save(ids / "a.png")
    with pytest.raises(DataError, match="an id map of the labels' size 50×40, got 3×3"):
        measure_folder(labels, instances=ids)


def test_values_without_a_name_and_empty_folders_are_refused(labels, tmp_path):
    Image.fromarray(np.full((4, 4), 5, np.uint8)).save(labels / "c.png")
    with pytest.raises(DataError, match=r"5 \(16 px\)(.|\n)*c\.png(.|\n)*--names"):
        measure_folder(labels)
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match="label files, got none"):
        measure_folder(tmp_path / "none")
    with pytest.raises(DataError, match=r"a run folder or a classes\.json"):
        measure_folder(labels, named_by=tmp_path / "nothing.json")


def test_without_names_values_are_names_and_zero_is_the_background(labels):
    (labels / "classes.json").unlink()
    assert set(measure_folder(labels).per_image["category"]) & {"background"} == set()
    assert measure_folder(labels).per_image.height == 6


def test_the_command(labels, tmp_path, capsys):
    words = ["measure", str(labels), "--out", str(tmp_path / "a.csv"), "--objects", str(tmp_path / "o.parquet")]
    assert main([*words, "--spacing", "0.5", "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == pl.read_csv(tmp_path / "a.csv").to_dicts()
    assert set(pl.read_parquet(tmp_path / "o.parquet")["unit"]) == {"mm"}
    assert "tooth" in err
    for wrong, said in (
        (words, "a file that stands already"),
        (["measure", str(labels), "--out", str(tmp_path / "b.txt")], "NAME.csv or NAME.parquet"),
        (["measure", str(labels), "--out", str(tmp_path / "b.csv"), "--spacing", "0"], "the size of a pixel"),
    ):
        assert main(wrong) == 2
        assert said in " ".join(capsys.readouterr().err.split())
    assert main(["measure", str(labels), "--out", str(tmp_path / "c.csv")]) == 0
    assert "nothing states how large they are: 3 images" in " ".join(capsys.readouterr().err.split())
