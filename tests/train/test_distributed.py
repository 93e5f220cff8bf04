"""Two processes give the numbers of one with twice the batch; one that fails ends the other and is heard."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image

from maskwright.data.index import build_index
from maskwright.errors import MaskwrightError, RecipeError
from maskwright.progress import listen
from maskwright.recipe import Recipe, apply_settings
from maskwright.recipe.data import DataSpec
from maskwright.train.fit import train_fold

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


@pytest.fixture
def data(tmp_path, monkeypatch):
    """Nine images of two sizes with ignored pixels, so that the shares of the two processes differ."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    rng = np.random.default_rng(0)
    for part in ("images", "masks"):
        (tmp_path / "data" / part).mkdir(parents=True)
    for i in range(9):
        image = rng.integers(0, 255, (32, 32 if i % 2 else 48), np.uint8)
        label = (image > 128).astype(np.uint8)
        label[: 3 * i] = 255
        Image.fromarray(image).save(tmp_path / "data" / "images" / f"i{i}.png")
        Image.fromarray(label).save(tmp_path / "data" / "masks" / f"i{i}.png")
    index, section, _ = build_index(DataSpec(root=str(tmp_path / "data"), ignore=(255,)))
    return index, section


def recipe(section, *, devices, target="GroupNormNet"):
    settings = (
        "train.steps=6",
        "train.validate_every=2",
        "train.batch=4",
        "train.crop=[32, 32]",
        "train.scale=1",
        "train.precision=float32",
        "train.channels_last=false",
        "train.accelerator=cpu",
        "train.threads=1",
        f"train.devices={devices}",
        f'model={{"kind": "python", "target": "distributed_case:{target}"}}',
    )
    return apply_settings(Recipe(data=section), settings)


def test_two_processes_give_the_numbers_of_one(data, tmp_path):
    index, section = data
    steps = []
    one = train_fold(tmp_path / "run" / "round-0" / "one", index, index, recipe(section, devices=1))
    with listen(lambda label, done, total, note: steps.append(done) if label.startswith("train") else None):
        two = train_fold(tmp_path / "run" / "round-0" / "two", index, index, recipe(section, devices=2))
    assert steps == [1, 2, 3, 4, 5, 6]
    states = [torch.load(path, weights_only=True) for path in (one, two)]
    assert states[0]["global_step"] == states[1]["global_step"] == 6
    for name, value in states[0]["state_dict"].items():
        torch.testing.assert_close(value, states[1]["state_dict"][name], rtol=1e-3, atol=1e-5)
    curves = [pl.read_csv(path.with_name("metrics.csv")) for path in (one, two)]
    for name in ("loss", "loss_cross_entropy", "loss_dice", "mean_dice", "pooled_miou"):
        assert curves[0][name].to_list() == pytest.approx(curves[1][name].to_list(), rel=1e-3), name


@pytest.mark.parametrize(
    "method",
    [
        "{kind: unimatch_v2, complementary: false, mix: null, threshold: 0.5}",
        "{kind: fixmatch, adaptive: {}, teacher: {}}",
    ],
)
def test_two_processes_learn_from_a_pool_like_one(data, tmp_path, method):
    """Of a moving average's labels, and by thresholds that follow; pixels beyond the border differ between the two."""
    index, section = data
    images, method = index.images, f"selftrain.method={method}"
    paths = []
    for devices in (1, 2):
        online = apply_settings(recipe(section, devices=devices), [method])
        folder = tmp_path / f"on-{devices}"
        paths.append(train_fold(folder, index.only(images[:5]), None, online, pool=index.only(images[5:])))
    states = [torch.load(path, weights_only=True)["state_dict"] for path in paths]
    assert any(name.startswith("step.teacher.network") for name in states[0])
    for name, value in states[0].items():
        torch.testing.assert_close(value, states[1][name], rtol=1e-3, atol=1e-5)
    curves = [pl.read_csv(path.with_name("metrics.csv")) for path in paths]
    assert {"loss_strong", "confidence"} <= set(curves[0].columns)
    for name in [c for c in curves[0].columns if c.startswith(("loss", "kept_", "share_", "threshold_", "confidence"))]:
        assert curves[0][name].to_list() == pytest.approx(curves[1][name].to_list(), rel=1e-3), name


def test_fewer_validation_batches_than_devices_and_the_default_network(data, tmp_path):
    index, section = data
    settings = ["model.encoder=resnet10t", "model.decoder_channels=[16, 16, 8]", "model.encoder_weights=none"]
    unet = recipe(section, devices=2).model_copy(update={"model": Recipe(data=section).model})
    unet = apply_settings(unet, settings)
    few = index.where(pl.col("width") == 32)
    last = train_fold(tmp_path / "run" / "round-0" / "f", index, few, unet)
    scores = pl.read_csv(last.with_name("metrics.csv"))["mean_dice"]
    assert len(scores) == 3
    assert scores.is_between(0, 1).all()


def test_a_cluster_around_it_changes_nothing(data, tmp_path, monkeypatch):
    index, section = data
    one = train_fold(tmp_path / "run" / "round-0" / "one", index, index, recipe(section, devices=1))
    for name, value in {"LOCAL_RANK": "1", "RANK": "1", "SLURM_NTASKS": "4", "SLURM_JOB_NAME": "x"}.items():
        monkeypatch.setenv(name, value)
    inside = train_fold(tmp_path / "run" / "round-0" / "inside", index, index, recipe(section, devices=1))
    states = [torch.load(path, weights_only=True)["state_dict"] for path in (one, inside)]
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


def test_a_resumed_training_on_two_goes_on(data, tmp_path):
    index, section = data
    folder = tmp_path / "run" / "round-0" / "fold-0"

    class CutError(Exception):
        pass

    def cut(label, done, total, note):
        if label.startswith("train") and done == 3:
            raise CutError

    with pytest.raises(CutError), listen(cut):
        train_fold(folder, index, index, recipe(section, devices=2))
    train_fold(folder, index, index, recipe(section, devices=2))
    whole = train_fold(tmp_path / "run" / "round-0" / "whole", index, index, recipe(section, devices=2))
    states = [torch.load(path, weights_only=True)["state_dict"] for path in (folder / "last.ckpt", whole)]
    for name, value in states[0].items():
        torch.testing.assert_close(value, states[1][name], rtol=1e-5, atol=1e-7)


def test_a_process_that_fails_is_heard(data, tmp_path):
    index, section = data
    with pytest.raises(MaskwrightError, match="one of two failed"):
        train_fold(tmp_path / "run" / "round-0" / "f", index, index, recipe(section, devices=2, target="Failing"))


def test_a_batch_that_the_devices_cannot_share_is_refused(data):
    with pytest.raises(RecipeError, match="multiple of devices"):
        apply_settings(recipe(data[1], devices=2), ["train.batch=5"])
