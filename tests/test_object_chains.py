"""Chains that raise the score of pixels and lose objects: their gain in PQ by hand, and that they aren't adopted."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

from maskwright.artifacts import RunFolder, write_table
from maskwright.data.index import SCHEMA, Index
from maskwright.data.store import ProbabilityStore
from maskwright.data.written import write_array
from maskwright.pipeline import tuning
from maskwright.pipeline.object_chains import gain_in_pq
from maskwright.recipe import Recipe
from maskwright.recipe.data import DataSpec
from maskwright.recipe.instances import InstancesSpec
from maskwright.recipe.predict import MinimumAreaSpec
from maskwright.tune import Tuned
from maskwright.types import Categories, Category

NUCLEI = Categories(
    (Category(0, "background", values=(0,)), Category(1, "object", isthing=True, values="rest")),
    frozenset({"background"}),
)
CHAIN = (MinimumAreaSpec(pixels=20),)


@pytest.fixture
def run(tmp_path):
    """Two images, each with an object of 8 × 8 and one of 4 × 4, both found as they are."""
    folder, rows = RunFolder(tmp_path / "run"), []
    store = ProbabilityStore(folder.store("oof", 0))
    for name in ("a", "b"):
        ids = np.zeros((20, 30), np.uint8)
        ids[2:10, 2:10], ids[12:16, 20:24] = 1, 2
        for part in ("images", "instances"):
            (tmp_path / part).mkdir(exist_ok=True)
            write_array(tmp_path / part / f"{name}.png", ids)
        (store.folder / "objects").mkdir(parents=True, exist_ok=True)
        write_array(store.folder / "objects" / f"{name}.png", ids)
        inside = np.where(ids > 0, 0.9, 0.1).astype(np.float32)
        store.write(name, np.stack([1 - inside, inside]))
        rows.append((f"images/{name}.png", None, f"instances/{name}.png", None, None, None, None, 30, 20, 1))
    index = Index(tmp_path, pl.DataFrame(rows, schema=SCHEMA, orient="row"), NUCLEI, "instances", tmp_path)
    folds = pl.DataFrame({"image": index.images, "group": index.images, "fold": [0, 1]})
    write_table(folder.folds, folds)
    return folder, index, folds


def spec_of():
    spec = Recipe(data=DataSpec(root=".", task="instances", target="instances")).model_dump(mode="json")
    spec["evaluate"] = {"empty": "nan", "absent": "zero", "samples": 100, "confidence": 0.95}
    return spec | {"metric": "mean_dice", "instances": InstancesSpec(score="agreement").model_dump(mode="json")}


def test_what_a_chain_does_to_objects_by_hand(run):
    folder, index, folds = run
    found = gain_in_pq(folder, index, folds, {0: CHAIN, 1: CHAIN}, spec_of())
    # without: two of two, PQ 1; with: one of two, 1 / (1 + ½) = ⅔
    assert found["value"] == pytest.approx(2 / 3 - 1)
    assert gain_in_pq(folder, index, folds, {0: (), 1: ()}, spec_of())["value"] == 0
    # the second fold's own chain alone: 3 of 4 found, 3 / (3 + ½) − 1
    assert gain_in_pq(folder, index, folds, {0: (), 1: CHAIN}, spec_of())["value"] == pytest.approx(3 / 3.5 - 1)


@pytest.mark.parametrize(("told", "adopted"), [(True, False), (False, True)])
def test_a_chain_by_which_objects_are_lost_is_not_adopted(run, monkeypatch, told, adopted):
    folder, index, _ = run
    index = Index(index.root, index.table.with_columns(twin_of=pl.lit(None, pl.String)), NUCLEI, "instances")
    better = {"value": 0.1, "low": 0.05, "high": 0.2}
    tuned = Tuned(True, CHAIN, {0: CHAIN, 1: CHAIN}, better, 3, "mean_dice", CHAIN, better, (), ((CHAIN, 0.1),), (), 2)
    monkeypatch.setattr(tuning, "tune_chain", lambda *_, **__: tuned)
    monkeypatch.setattr(Tuned, "agreement", 1.0)
    spec = spec_of()
    tuning.tune_run(folder, index, spec if told else {k: v for k, v in spec.items() if k != "instances"})
    found = json.loads(folder.tuned.read_text())
    assert found["adopted"] is adopted and bool(found["chain"]) is adopted and bool(found["fold_chains"]) is adopted
    assert found["best"] and found["gain"] == better
    assert (found["pq_gain"] is not None) == told
