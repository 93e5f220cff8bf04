"""Scoring a run from its stores: the chain sees the images, on a run folder written here."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import polars as pl
import pytest

from maskwright.artifacts import RunFolder, read_json, write_json, write_table
from maskwright.data.index import build_index
from maskwright.data.store import ProbabilityStore
from maskwright.pipeline.scoring import score_run
from maskwright.postprocess import crf, most_probable
from maskwright.recipe.data import DataSpec
from maskwright.recipe.predict import EvaluateSpec, PredictSpec


@pytest.fixture
def run(tmp_path):
    """Four images of 40 × 50 with an object that is brighter than the rest, and grainy predictions of it."""
    data, folder, rng = tmp_path / "data", RunFolder(tmp_path / "run"), np.random.default_rng(0)
    for kind in ("images", "masks"):
        (data / kind).mkdir(parents=True)
    store = ProbabilityStore(folder.store("oof"))
    for k in range(4):
        mask = np.zeros((40, 50), np.uint8)
        mask[8 + k : 30, 10 : 35 + k] = 1
        image = 60 + 120 * mask[..., None] + rng.integers(0, 9, (40, 50, 3), dtype=np.uint8)
        cv2.imwrite(str(data / "images" / f"{k}.png"), image)
        cv2.imwrite(str(data / "masks" / f"{k}.png"), mask)
        foreground = np.clip(0.4 + 0.2 * mask + rng.normal(size=mask.shape) * 0.15, 0.05, 0.95).astype(np.float32)
        store.write(f"{k}", np.stack([1 - foreground, foreground]))
    index, _, _ = build_index(DataSpec(root=str(data)))
    index = replace(index, table=index.table.with_columns(twin_of=pl.lit(None, pl.String)))  # as decisions leave it
    folds = [(image, image, k % 2) for k, image in enumerate(index.images)]
    write_table(folder.folds, pl.DataFrame(folds, schema=["image", "group", "fold"], orient="row"))
    return folder, index


def test_a_crf_of_the_chain_sees_each_image(run):
    folder, index = run
    write_json(folder.tuned, {"chain": [{"kind": "crf"}], "fold_chains": {}})
    score_run(folder, index, ["oof"], EvaluateSpec(samples=100), PredictSpec(overlays=0), seed=0)
    for k in range(4):
        p = ProbabilityStore(folder.store("oof")).read(f"{k}")
        image = cv2.imread(str(index.path(f"images/{k}.png")))[..., ::-1]
        label = cv2.imread(str(folder.predictions / "labels" / f"{k}.png"), cv2.IMREAD_UNCHANGED)
        assert np.array_equal(label > 0, crf(p, image).argmax(axis=0) > 0)
        assert not np.array_equal(label > 0, most_probable(p) > 0)
    assert read_json(folder.predictions / "evaluation.json")["pooled_miou"]["value"] > 0.99
