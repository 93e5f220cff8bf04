"""Networks trained on labelled images and on others: what they see, that they resume, and that they learn."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image

from maskwright.data.index import build_index
from maskwright.progress import listen
from maskwright.recipe import Recipe, apply_settings
from maskwright.recipe.data import DataSpec
from maskwright.train.fit import train_fold

SETTINGS = (
    "model.encoder=resnet10t",
    "model.encoder_weights=none",
    "model.decoder_channels=[16, 16, 8]",
    "train.steps=6",
    "train.validate_every=2",
    "train.batch=2",
    "train.crop=[32, 64]",
    "train.scale=1",
    "train.precision=float32",
    "train.channels_last=false",
    "train.accelerator=cpu",
    "train.threads=1",
    "train.ema=0.9",
)


class PowerCutError(Exception):
    """Stands for the plug that was pulled."""


@pytest.fixture
def data(tmp_path):
    """Seven labelled gray images of 32 × 48, five others of other sizes."""
    rng = np.random.default_rng(0)
    for folder in ("images", "masks", "unlabeled"):
        (tmp_path / "data" / folder).mkdir(parents=True)
    for i in range(12):
        image = rng.integers(0, 255, (32, 48) if i < 7 else (20 + 10 * i, 40), np.uint8)
        Image.fromarray(image).save(tmp_path / "data" / ("images" if i < 7 else "unlabeled") / f"i{i:02}.png")
        if i < 7:
            Image.fromarray((image > 128).astype(np.uint8)).save(tmp_path / "data" / "masks" / f"i{i:02}.png")
    index, section, _ = build_index(DataSpec(root=str(tmp_path / "data")))
    return index, Recipe(data=section)


def train(folder, data, *settings, stop_at=None, pool=True):
    index, recipe = data
    recipe = apply_settings(recipe, [*SETTINGS, *settings])
    labelled = index.labelled.images

    def watch(label, done, total, note):
        if label.startswith("train") and done == stop_at:
            raise PowerCutError

    with listen(watch):
        return train_fold(
            folder,
            index.only(labelled[:5]),
            index.only(labelled[5:]),
            recipe,
            fold=1,
            pool=index.unlabelled if pool else None,
        )


def same(one, two):
    states = [torch.load(path, weights_only=True)["state_dict"] for path in (one, two)]
    assert states[0].keys() == states[1].keys()
    return all(torch.equal(states[0][key], states[1][key]) for key in states[0])


METHODS = [
    "{kind: fixmatch, batch: 3, threshold: 0.5, mix: {kind: cutmix}, cutout: 0.5}",
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
