"""Networks trained on labelled images and on others: that they resume, what they log, and that they learn."""

from __future__ import annotations

import polars as pl
import pytest

from make_pool import PowerCutError, same, train
from maskwright.data.index import build_index
from maskwright.errors import UsageError
from maskwright.recipe.unlabelled import OURS
from maskwright.train.fit import train_fold

METHODS = [
    "{kind: fixmatch, batch: 3, threshold: 0.5, mix: {kind: cutmix}, cutout: 0.5}",
    "{kind: unimatch, threshold: 0.5, masked: {block: 16}}",
    "{kind: unimatch_v2, threshold: 0.5, batch: 1}",
    "{kind: mean_teacher}",
    "{kind: dacs, threshold: 0.5, loss: cross_entropy_dice}",
    OURS.model_dump_json(),
]


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_a_resumed_training_is_bit_identical(tmp_path, data, method):
    setting = f"selftrain.method={method}"
    train(tmp_path / "whole", data, setting)
    with pytest.raises(PowerCutError):
        train(tmp_path / "cut", data, setting, stop_at=5)
    train(tmp_path / "cut", data, setting)
    assert same(tmp_path / "whole" / "last.ckpt", tmp_path / "cut" / "last.ckpt")
    tables = [pl.read_csv(tmp_path / n / "metrics.csv").drop("seconds", "waited") for n in ("whole", "cut")]
    assert tables[0].equals(tables[1])
    assert "loss_strong" in tables[0].columns
    names = data[0].categories.names
    assert {f"{what}_{name}" for what in ("kept", "share") for name in names} <= set(tables[0].columns)
    assert tables[0]["confidence"].is_between(0.5, 1).all()
    assert "images without labels: 5" in (tmp_path / "cut" / "log.txt").read_text()


@pytest.mark.slow
def test_without_a_pool_it_is_the_supervised_training(tmp_path, data):
    index, _ = data
    setting = "selftrain.method={kind: unimatch}"
    train(tmp_path / "a", data, pool=None)
    train(tmp_path / "b", data, setting, pool=None)
    said = []
    train(tmp_path / "c", data, setting, pool=index.only([]), heard=said)
    assert same(tmp_path / "a" / "last.ckpt", tmp_path / "b" / "last.ckpt")
    assert same(tmp_path / "a" / "last.ckpt", tmp_path / "c" / "last.ckpt")
    assert any("no images without labels" in note for note in said)


@pytest.mark.slow
def test_one_labelled_image_accumulated_parts_and_a_broken_file(tmp_path, data):
    index, recipe = data
    (tmp_path / "data" / "unlabeled" / "broken.png").write_bytes(b"no image")
    index, _, _ = build_index(recipe.data)
    assert len(index.unlabelled) == 6
    said = []
    method = "selftrain.method={kind: unimatch, threshold: 0.5}"
    train(tmp_path / "a", (index, recipe), method, "train.accumulate=2", labelled=1, heard=said)
    table = pl.read_csv(tmp_path / "a" / "metrics.csv")
    assert table["loss"].is_finite().all()
    assert any("1 file(s) of the pool can't be read" in note for note in said)
    assert "images without labels: 5" in (tmp_path / "a" / "log.txt").read_text()


def test_a_pool_for_a_method_that_labels_beforehand_is_refused(tmp_path, data):
    index, recipe = data
    with pytest.raises(UsageError, match="pseudo_labels"):
        train_fold(tmp_path / "a", index.labelled, None, recipe, pool=index.unlabelled)
