"""A whole run that starts from another one's networks, through the pipeline and into the report."""

from __future__ import annotations

import shutil

import pytest
import torch

import maskwright
from maskwright.artifacts import read_json
from maskwright.data.synthetic import make_playground
from maskwright.errors import DataError
from maskwright.progress import listen
from maskwright.recipe import Recipe, apply_settings
from maskwright.recipe.data import DataSpec

SETTINGS = (
    "data.task=semantic",
    "model.encoder=resnet10t",
    "model.encoder_weights=none",
    "model.decoder_channels=[16, 16, 8]",
    "split.folds=2",
    "train.steps=2",
    "train.validate_every=1",
    "train.batch=2",
    "train.crop=[32, 32]",
    "train.scale=0.5",
    "train.precision=float32",
    "train.channels_last=false",
    "train.threads=1",
    "evaluate.samples=100",
    "postprocess.chain=[]",
    "report.thumbnails=0",
    "audit.pictures=false",
)


@pytest.mark.slow
def test_a_run_starts_from_another_one(tmp_path):
    make_playground(tmp_path / "data", labelled=24, unlabelled=0, planted=False)
    recipe = apply_settings(Recipe(data=DataSpec(root=str(tmp_path / "data"))), SETTINGS)
    maskwright.run(recipe, tmp_path / "old", until="train")

    again = apply_settings(recipe, [f"train.start={tmp_path / 'old'}", "train.steps=4"])
    new = maskwright.run(again, tmp_path / "new")
    for fold in (0, 1):
        note = read_json(new.fold(fold) / "start.json")
        assert note["checkpoint"] == str(tmp_path / f"old/round-0/fold-{fold}/last.ckpt")
        assert note["leaked"] == []
        log = (new.fold(fold) / "log.txt").read_text()
        assert "tensors taken over" in log and "starts fresh" not in log
    assert "starts from the network" in (new.predictions / "report.html").read_text()

    # half held out and half of the rest validated: more than either old network has left out
    others = apply_settings(again, ["split.holdout=0.5"])
    with pytest.raises(DataError, match="start_unchecked"):
        maskwright.run(others, tmp_path / "others", until="train")
    told = apply_settings(others, ["train.start_unchecked=true"])
    told = maskwright.run(told, tmp_path / "told")
    assert "the scores are too good" in (told.predictions / "report.html").read_text()


@pytest.mark.slow
def test_what_goes_on_needs_the_older_run_no_more(tmp_path):
    make_playground(tmp_path / "data", labelled=24, unlabelled=0, planted=False)
    recipe = apply_settings(Recipe(data=DataSpec(root=str(tmp_path / "data"))), SETTINGS)
    maskwright.run(recipe, tmp_path / "old", until="train")
    again = apply_settings(recipe, [f"train.start={tmp_path / 'old'}", "train.steps=4"])

    class CutError(Exception):
        pass

    def cut(label, done, total, note):
        if label == "train fold-1" and done == 3:
            raise CutError

    with pytest.raises(CutError), listen(cut):
        maskwright.run(again, tmp_path / "new", until="train")
    shutil.rmtree(tmp_path / "old")
    new = maskwright.run(again, tmp_path / "new", until="train")
    checkpoint = torch.load(new.fold(1) / "last.ckpt", weights_only=True)
    assert checkpoint["global_step"] == 4
    assert checkpoint["maskwright"]["start"]["loaded"] > 0
    assert read_json(new.fold(1) / "start.json")["checkpoint"] == str(tmp_path / "old/round-0/fold-1/last.ckpt")
    assert "tensors taken over" in (new.fold(1) / "log.txt").read_text()
