"""Hard images that a round moved into the training of their own fold: only round 0 may say how good it is on them."""

from __future__ import annotations

import shutil

import numpy as np
import polars as pl
import pytest
import torch

from make_export import make_run
from maskwright.artifacts import read_folds, write_json, write_text
from maskwright.data.formats.files import name_of
from maskwright.data.index import scored
from maskwright.data.store import ProbabilityStore
from maskwright.export import loss, write
from maskwright.pipeline import fusing
from maskwright.predict import load_ensemble, predict_files
from maskwright.recipe import apply_settings, dump_recipe, load_recipe


@pytest.fixture(scope="module")
def moved(tmp_path_factory):
    """A run whose round 1 is adopted, of networks of its own, and the images that it moved, one of each fold."""
    folder = make_run(tmp_path_factory.mktemp("moved"))
    recipe = apply_settings(load_recipe(folder.recipe), ["selftrain.rounds=1", 'selftrain.hard={"how": "move"}'])
    write_text(folder.recipe, dump_recipe(recipe))
    known = scored(write._index(folder, recipe), read_folds(folder.folds).drop_nulls("fold"))
    rows = [known.filter(pl.col("fold") == fold).row(0, named=True) for fold in (0, 1)]
    hard = pl.DataFrame([row | {"score": 0.1, "moved": True} for row in rows])
    for fold in (0, 1):
        shutil.copytree(folder.fold(fold, 0), folder.fold(fold, 1))
        state = torch.load(folder.fold(fold, 1) / "last.ckpt", weights_only=True)
        generator = torch.Generator().manual_seed(9 + fold)
        state["state_dict"] = {k: torch.randn(v.shape, generator=generator) for k, v in state["state_dict"].items()}
        torch.save(state, folder.fold(fold, 1) / "last.ckpt")
    hard.write_csv(folder.root / "round-1" / "hard.csv")
    write_json(folder.adopted, {"round": 1, "why": "", "rounds": [{}]})
    return folder, known, hard["image"].to_list()


def test_a_member_at_another_scale_has_round_0_for_what_was_moved(moved, tmp_path):
    folder, known, images = moved
    recipe = load_recipe(folder.recipe)
    spec = recipe.predict.model_copy(update={"scales": (0.75,)})
    member = {"run": str(folder.root), "name": "run@0.75", "predict": spec.model_dump(mode="json")}
    fusing.predict(tmp_path, {"member": member})
    store, index = ProbabilityStore(tmp_path / "members" / "run@0.75"), fusing._index(folder)
    groups = set(known.filter(pl.col("image").is_in(images))["group"])
    seen = {0: 0, 1: 0}
    for image, group, fold in known.iter_rows():
        number = 0 if group in groups else 1
        files = [("x", index.path(image))]
        trained = load_ensemble([folder.fold(fold, number) / "last.ckpt"])
        ((_, _, expected),) = predict_files(trained, files, spec, accelerator="cpu")
        np.testing.assert_allclose(store.read(name_of(image)), expected, atol=1e-3)
        seen[number] += 1
    assert seen[0] >= 2 and seen[1] > 2


def test_the_loss_of_an_export_is_not_measured_on_what_was_moved(moved, tmp_path, monkeypatch):
    folder, known, images = moved
    looked_at = []

    def jobs(table, index, folds):
        looked_at.extend(table["image"])
        raise InterruptedError

    monkeypatch.setattr(loss, "_jobs", jobs)
    recipe = load_recipe(folder.recipe)
    trained = load_ensemble(folder.all_checkpoints("last", 2))
    with pytest.raises(InterruptedError):
        loss.measure_loss(folder, write._index(folder, recipe), recipe, trained, (0, 1), tmp_path)
    groups = set(known.filter(pl.col("image").is_in(images))["group"])
    assert set(looked_at) == set(known.filter(~pl.col("group").is_in(list(groups)))["image"])
    write_json(folder.adopted, {"round": 0, "why": "", "rounds": []})  # round 0 has seen none of them
    looked_at.clear()
    with pytest.raises(InterruptedError):
        loss.measure_loss(folder, write._index(folder, recipe), recipe, trained, (0, 1), tmp_path)
    assert set(looked_at) == set(known["image"])
    write_json(folder.adopted, {"round": 1, "why": "", "rounds": [{}]})
