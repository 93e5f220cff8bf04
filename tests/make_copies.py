"""A small folder with copies whose masks conflict, and the commands on it, for the tests of decisions."""

import json

import numpy as np
import polars as pl
from PIL import Image

from maskwright.artifacts import RunFolder, read_table
from maskwright.cli import main
from maskwright.data.index import load_index
from maskwright.recipe.data import DataSpec
from maskwright.types import Category

CATEGORIES = (Category(0, "background", values=(0,)), Category(1, "rock", values=(1,)))


def picture(seed):
    """A smooth random image that no other seed resembles, (48, 64, 3)."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((64, 48), Image.Resampling.BICUBIC))


def half(columns=32):
    """A mask whose first columns are 1, (48, 64)."""
    mask = np.zeros((48, 64), np.uint8)
    mask[:, :columns] = 1
    return mask


def edged(seed, mask):
    """A picture in which the mask can be seen."""
    return np.clip(picture(seed).astype(int) // 2 + 120 * mask[..., None], 0, 255).astype(np.uint8)


def put(root, name, image, mask=None):
    folder = root / ("unlabeled" if mask is None else "images")
    for place in (folder, root / "masks"):
        place.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(folder / f"{name}.png")
    if mask is not None:
        Image.fromarray(mask).save(root / "masks" / f"{name}.png")


def copies_folder(root):
    """Ten ordinary images, one picture with two masks and an unlabelled flipped copy, another with an exact copy.

    Of the masks of `fine` and `coarse`, the first follows what can be seen: 32 columns, and a hole in them.
    """
    fine = half()
    fine[10:20, 10:20] = 0
    for k in range(10):
        put(root, f"x{k}", picture(100 + k), half(8 + 4 * k))
    put(root, "coarse", edged(1, fine), half())
    put(root, "fine", edged(1, fine), fine)
    put(root, "turned", np.ascontiguousarray(edged(1, fine)[:, ::-1]))
    put(root, "plain", picture(3), half(16))
    put(root, "twin", picture(3))
    put(root, "alone", picture(4))
    (root / "classes.json").write_text('{"0": "background", "1": "rock"}')
    return root


def run(data, *settings, stage="split", code=0, more=()):
    out = data.parent / "run"
    words = [word for setting in settings for word in ("--set", setting)]
    assert main([stage, "--data", str(data), "--out", str(out), "--folds", "2", *words, *more]) == code
    return RunFolder(out)


def decide(folder, **line):
    with folder.decisions.open("a") as file:
        file.write(json.dumps(line) + "\n")


def decided(folder):
    """Return the index as the decisions leave it."""
    table = read_table(folder.decided / "images.parquet")
    spec = DataSpec(root=str(folder.root.parent / "data"), categories=CATEGORIES, target="masks")
    index = load_index(folder.index, spec)
    return type(index)(index.root, table, index.categories, "masks", index.imported)


def label(folder, image):
    return decided(folder).only([image]).read_label(0)


def names(folder):
    return set(read_table(folder.decided / "images.parquet")["image"])


def conflict(folder):
    (row,) = read_table(folder.findings).filter(pl.col("kind") == "conflict").to_dicts()
    return row


FINE, COARSE, TURNED = "images/fine.png", "images/coarse.png", "unlabeled/turned.png"
