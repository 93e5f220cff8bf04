"""A training that was cut short and goes on gives the numbers of an undisturbed one, bit for bit."""

from __future__ import annotations

import copy
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image

import make_images as make
from make_pool import SETTINGS, PowerCutError
from maskwright.data.index import build_index
from maskwright.progress import listen
from maskwright.recipe import Recipe, apply_settings
from maskwright.recipe.data import DataSpec
from maskwright.train.fit import train_fold
from maskwright.train.memory import Parts
from maskwright.train.module import SegmentationModule


@pytest.fixture
def data(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(7):
        image = rng.integers(0, 255, (32, 48), np.uint8)
        make.gray_png(tmp_path / "data" / "images", f"i{i}")
        Image.fromarray(image).save(tmp_path / "data" / "images" / f"i{i}.png")
        (tmp_path / "data" / "masks").mkdir(exist_ok=True)
        Image.fromarray((image > 128).astype(np.uint8)).save(tmp_path / "data" / "masks" / f"i{i}.png")
    index, section, _ = build_index(DataSpec(root=str(tmp_path / "data")))
    return index, Recipe(data=section)


def train(folder, data, *settings, stop_at=None, validates=True):
    index, recipe = data
    recipe = apply_settings(recipe, [*SETTINGS, *settings])
    images = index.images

    def watch(label, done, total, note):
        if label.startswith("train") and done == stop_at:
            raise PowerCutError

    with listen(watch):
        validation = index.only(images[5:]) if validates else None
        return train_fold(folder, index.only(images[:5]), validation, recipe, fold=1)


def weights(folder, name):
    return torch.load(folder / name, weights_only=True)["state_dict"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        (),
        ("train.workers=0", "train.ema=0"),
        ("train.precision=bfloat16",),
        ("mix=[{kind: cutmix}, {kind: copy_paste}]", "sampling={kind: rare_class}"),
        ("mix=[{kind: mixup}]",),
        ("train.schedule={kind: plateau, patience: 0}", "train.swa=0.3", "train.keep=2", "train.accumulate=2"),
    ],
)
@pytest.mark.parametrize("stop_at", [3, 5, 6])
def test_a_resumed_training_is_bit_identical(tmp_path, data, settings, stop_at):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    train(whole, data, *settings)
    with pytest.raises(PowerCutError):
        train(cut, data, *settings, stop_at=stop_at)
    assert (cut / "last.ckpt").is_file()
    train(cut, data, *settings)
    for name in ("last.ckpt", "best.ckpt"):
        one, two = weights(whole, name), weights(cut, name)
        assert one.keys() == two.keys()
        assert all(torch.equal(one[key], two[key]) for key in one)
    assert [p.name for p in sorted(whole.glob("top-*.ckpt"))] == [p.name for p in sorted(cut.glob("top-*.ckpt"))]
    tables = [pl.read_csv(folder / "metrics.csv").drop("seconds", "waited") for folder in (whole, cut)]
    assert tables[0].equals(tables[1])
    assert tables[0]["step"].to_list() == [2, 4, 6]


@pytest.mark.slow
def test_the_training_part_has_its_curves_without_a_validation_part(tmp_path, data):
    train(tmp_path / "fold", data, validates=False)
    table = pl.read_csv(tmp_path / "fold" / "metrics.csv")
    assert {"train_pooled_miou", "train_iou_foreground"} <= {*table.columns} and "pooled_miou" not in table.columns
    assert table["train_pooled_miou"].is_between(0, 1).all() and len(table) == 3


def test_a_gpu_draws_on_where_it_stopped(monkeypatch):
    state, given = torch.arange(16, dtype=torch.uint8), []
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda device: state)
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda state, device: given.append((state, device)))
    module = SimpleNamespace(device=torch.device("cuda", 1), about={}, parts=Parts())
    progress = {part: {"started": 1, "processed": 1} for part in ("total", "current")}
    loops = {"fit_loop": {"epoch_progress": progress, "epoch_loop.batch_progress": copy.deepcopy(progress)}}
    for device in ("cuda:1", "cpu"):
        module.device, checkpoint = torch.device(device), {"loops": copy.deepcopy(loops)}
        SegmentationModule.on_save_checkpoint(module, checkpoint)
        SegmentationModule.on_load_checkpoint(module, checkpoint)
    assert given == [(state, torch.device("cuda", 1))]


@pytest.mark.slow
def test_a_run_that_was_moved_still_knows_its_best(tmp_path, data):
    train(tmp_path / "whole", data, "train.lr=0.5")  # the scores jump about
    with pytest.raises(PowerCutError):
        train(tmp_path / "cut", data, "train.lr=0.5", stop_at=5)
    (tmp_path / "cut").rename(tmp_path / "moved")
    train(tmp_path / "moved", data, "train.lr=0.5")
    one, two = (torch.load(tmp_path / n / "best.ckpt", weights_only=True)["global_step"] for n in ("whole", "moved"))
    assert one == two


@pytest.mark.slow
@pytest.mark.parametrize("validates", [True, False])
@pytest.mark.parametrize("ema", ["0", "0.9"])
def test_last_is_the_last_step_whatever_the_scores_were(tmp_path, data, ema, validates):
    """What `predict` ships by default must not be selected on the fold that is scored."""
    train(tmp_path / "a", data, f"train.ema={ema}", validates=validates)
    state = torch.load(tmp_path / "a" / "last.ckpt", weights_only=True)
    assert state["global_step"] == 6
    scores = pl.read_csv(tmp_path / "a" / "metrics.csv")
    best = torch.load(tmp_path / "a" / "best.ckpt", weights_only=True)["global_step"]
    expected = scores.sort("mean_dice", descending=True)["step"][0] if validates else 6
    assert best == expected


@pytest.mark.slow
def test_a_finished_training_is_not_trained_further(tmp_path, data):
    train(tmp_path / "a", data)
    before = weights(tmp_path / "a", "last.ckpt")
    train(tmp_path / "a", data)
    after = weights(tmp_path / "a", "last.ckpt")
    assert all(torch.equal(before[key], after[key]) for key in before)


@pytest.mark.slow
def test_folds_and_seeds_start_differently_and_learn(tmp_path, data):
    train(tmp_path / "a", data)
    train(tmp_path / "b", data, "seed=1")
    one, two = weights(tmp_path / "a", "last.ckpt"), weights(tmp_path / "b", "last.ckpt")
    assert not all(torch.equal(one[key], two[key]) for key in one)
    losses = pl.read_csv(tmp_path / "a" / "metrics.csv")["loss"].to_list()
    assert all(np.isfinite(losses))
