"""The stage that ranks masks against out-of-fold predictions, on a store written here."""

import cv2
import numpy as np
import polars as pl
import pytest

from maskwright.artifacts import RunFolder, read_json, read_table, write_table
from maskwright.audit.findings import FINDINGS_SCHEMA
from maskwright.data.formats.files import name_of
from maskwright.data.index import build_index
from maskwright.data.store import ProbabilityStore
from maskwright.pipeline.suspecting import suspect_run
from maskwright.recipe.data import DataSpec
from maskwright.recipe.suspects import SuspectSpec


@pytest.fixture
def run(tmp_path):
    """Six images of 64 × 96 with an object each; 2's is not drawn, 5 is held out. Maps are half as large."""
    data, folder = tmp_path / "data", RunFolder(tmp_path / "run")
    for kind in ("images", "masks"):
        (data / kind).mkdir(parents=True)
    rng, store = np.random.default_rng(0), ProbabilityStore(folder.store("oof"))
    for k in range(6):
        mask = np.zeros((64, 96), np.uint8)
        top, left = 2 * int(rng.integers(4, 16)), 2 * int(rng.integers(4, 24))
        mask[top : top + 24, left : left + 32] = 1
        rock = np.where(mask[::2, ::2] == 1, np.float32(0.9), np.float32(0.1))
        store.write(f"{k}", np.stack([1 - rock, rock]))
        mask[0, 0] = 1  # so that every mask holds both values
        drawn = mask * 0 if k == 2 else mask
        drawn[0, 0] = 1
        cv2.imwrite(str(data / "images" / f"{k}.png"), rng.integers(0, 255, (64, 96, 3), np.uint8))
        cv2.imwrite(str(data / "masks" / f"{k}.png"), drawn)
    index, _, _ = build_index(DataSpec(root=str(data)))
    folds = [(image, image, -1 if image.endswith("5.png") else k % 2) for k, image in enumerate(index.images)]
    write_table(folder.folds, pl.DataFrame(folds, schema=["image", "group", "fold"], orient="row"))
    return folder, index


def test_tables_findings_and_picture(run):
    folder, index = run
    suspect_run(folder, index, SuspectSpec(listed=3))
    images, regions = read_table(folder.suspects / "images.parquet"), read_table(folder.suspects / "suspects.parquet")
    assert images.height == 5
    assert images["image"][0] == regions["image"][0] == "images/2.png"
    assert regions.select("given", "suggested").row(0) == ("background", "foreground")
    findings = read_table(folder.suspects / "findings.parquet")
    assert findings.schema == pl.Schema(FINDINGS_SCHEMA)
    assert findings.row(0, named=True)["kind"] == "suspect_label"
    assert set(read_json(folder.suspects / "thresholds.json")) == {"background", "foreground"}
    assert cv2.imread(str(folder.suspects / "suspects.jpg")) is not None


def test_each_map_of_the_store_is_read_once(run, monkeypatch):
    folder, index = run
    opened, read = [], ProbabilityStore.read

    def noted(store, name, window=None):
        opened.append(store.path(name))
        return read(store, name, window)

    monkeypatch.setattr(ProbabilityStore, "read", noted)
    suspect_run(folder, index, SuspectSpec())
    store = ProbabilityStore(folder.store("oof"))
    assert sorted(opened) == sorted(store.path(name_of(image)) for image in index.images[:5])
