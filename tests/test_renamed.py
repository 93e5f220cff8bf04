"""Another run on the same pictures under other names: nothing tells by name what its networks have seen."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from PIL import Image

from make_copies import picture
from maskwright.artifacts import RunFolder, write_table
from maskwright.data.index import build_index
from maskwright.errors import DataError
from maskwright.pipeline.renamed import check_names
from maskwright.recipe import Recipe, dump_recipe
from maskwright.recipe.data import DataSpec


def run_on(place, names, first):
    """A run folder with an index and two folds of made pictures, numbered from `first` on."""
    for folder in ("images", "masks"):
        (place / "data" / folder).mkdir(parents=True)
    for number, name in enumerate(names, first):
        image = picture(number)
        Image.fromarray(image).save(place / "data" / "images" / f"{name}.png")
        mask = (np.arange(image.shape[1]) % 2 * np.ones((image.shape[0], 1))).astype(np.uint8)
        Image.fromarray(mask).save(place / "data" / "masks" / f"{name}.png")
    index, data, _ = build_index(DataSpec(root=str(place / "data")))
    folder = RunFolder(place / "run")
    write_table(folder.index, index.table)
    write_table(folder.decided / "images.parquet", index.table.with_columns(twin_of=pl.lit(None, pl.String)))
    folds = index.table.select("image", group="image", fold=pl.int_range(pl.len()) % 2)
    write_table(folder.folds, folds)
    folder.recipe.write_text(dump_recipe(Recipe(data=data)))
    return folder, index


@pytest.mark.parametrize(
    ("names", "first", "caught"),
    [
        (["p", "q", "r"], 1, True),  # the same pictures
        (["p", "q", "r"], 3, True),  # one of them
        (["p", "q", "r"], 50, False),  # others
        (["a", "b", "c"], 1, False),  # under the same names
        (["b", "c", "a"], 1, True),  # under each other's names
    ],
)
def test_pictures_under_other_names(tmp_path, names, first, caught):
    folder, whole = run_on(tmp_path / "here", ["a", "b", "c"], 1)
    other, _ = run_on(tmp_path / "there", names, first)
    if not caught:
        check_names(other, folder, whole, where="train.start")
        return
    with pytest.raises(DataError, match=r"images/[abc].png is images/[pqrabc].png there"):
        check_names(other, folder, whole, where="train.start")


def test_one_data_folder_is_its_own_audits_concern(tmp_path):
    folder, whole = run_on(tmp_path / "here", ["a", "b", "c"], 1)
    check_names(folder, folder, whole.only(["images/a.png"]), where="train.start")
