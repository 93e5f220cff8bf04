"""Losses that need targets, or have parameters of their own, in a training that is cut off and resumed."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image

from maskwright.checkpoint import load_trained
from maskwright.data.index import build_index
from maskwright.progress import listen
from maskwright.recipe import Recipe, apply_settings
from maskwright.recipe.data import DataSpec
from maskwright.train.fit import train_fold

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

LOSS = [
    {"kind": "cross_entropy", "weight": "learned"},
    {"kind": "ssim", "weight": "learned"},
    {"kind": "kervadec_boundary", "schedule": "rebalanced"},
]
SETTINGS = (
    "train.steps=6",
    "train.validate_every=2",
    "train.batch=2",
    "train.crop=[32, 32]",
    "train.scale=1",
    "train.precision=float32",
    "train.channels_last=false",
    "train.accelerator=cpu",
    "train.threads=1",
    "model.encoder=resnet10t",
    "model.decoder_channels=[16, 16, 8]",
    "model.encoder_weights=none",
)


@pytest.fixture
def data(tmp_path):
    rng = np.random.default_rng(0)
    for part in ("images", "masks"):
        (tmp_path / "data" / part).mkdir(parents=True)
    for i in range(4):
        image = rng.integers(0, 255, (32, 32), np.uint8)
        Image.fromarray(image).save(tmp_path / "data" / "images" / f"i{i}.png")
        label = np.zeros((32, 32), np.uint8)
        label[4 * i : 4 * i + 12, 8:20] = 1
        Image.fromarray(label).save(tmp_path / "data" / "masks" / f"i{i}.png")
    index, section, _ = build_index(DataSpec(root=str(tmp_path / "data")))
    return index, section


def recipe(section, loss, levels=()):
    return apply_settings(Recipe.model_validate({"data": section, "loss": loss, "levels": levels}), SETTINGS)


def test_learned_weights_and_distance_maps_resume(data, tmp_path):
    index, section = data
    folder, whole = tmp_path / "run" / "cut", tmp_path / "run" / "whole"
    asked = recipe(section, LOSS)

    class CutError(Exception):
        pass

    def cut(label, done, total, note):
        if label.startswith("train") and done == 3:
            raise CutError

    with pytest.raises(CutError), listen(cut):
        train_fold(folder, index, index, asked)
    for place in (folder, whole):
        train_fold(place, index, index, asked)
    states = [torch.load(place / "last.ckpt", weights_only=True)["state_dict"] for place in (folder, whole)]
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    learned = [value for name, value in states[0].items() if "log_variances" in name]
    assert len(learned) == 2
    assert all(value != 0 for value in learned)
    curves = pl.read_csv(folder / "metrics.csv")
    assert {"loss_ssim", "loss_ssim_uncertainty", "loss_kervadec_boundary"} <= set(curves.columns)
    load_trained(folder / "last.ckpt")  # the loss's own tensors don't disturb
