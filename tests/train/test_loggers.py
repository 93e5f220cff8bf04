"""The curves arrive in other tools as they are in metrics.csv; a tool that isn't there is said before training."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import polars as pl
import pytest

from maskwright.errors import RecipeError
from maskwright.train.loggers import LOGGERS, build_loggers, close_loggers, log_row

ROWS = [{"step": 2, "lr": 1e-3, "loss": 1.5, "mean_dice": None}, {"step": 4, "lr": 5e-4, "loss": 0.5, "mean_dice": 0.7}]


def sent(name: str, folder: Path, fold: int = 1) -> None:
    pytest.importorskip(LOGGERS[name][0], reason=f"needs the extra {name}")
    loggers = build_loggers([name], folder / "run" / "round-0" / f"fold-{fold}", {"train": {"lr": 1e-3}})
    for row in ROWS:
        log_row(loggers, row)
    for logger in loggers:
        logger.finalize("success")
    close_loggers(loggers)


def test_tensorboard_holds_the_rows(tmp_path):
    sent("tensorboard", tmp_path)
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "run" / "tensorboard" / "run-round-0-fold-1"))
    events.Reload()
    assert [(e.step, e.value) for e in events.Scalars("loss")] == [(2, 1.5), (4, 0.5)]
    assert [e.step for e in events.Scalars("mean_dice")] == [4]


@pytest.mark.filterwarnings("ignore")
def test_mlflow_holds_the_rows(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    sent("mlflow", tmp_path)
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{tmp_path / 'run' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("maskwright")
    (run,) = client.search_runs([experiment.experiment_id])
    assert [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, "loss")] == [(2, 1.5), (4, 0.5)]


@pytest.mark.filterwarnings("ignore")
def test_wandb_stays_on_this_machine(tmp_path, monkeypatch):
    monkeypatch.delenv("WANDB_MODE", raising=False)
    sent("wandb", tmp_path, 0)
    sent("wandb", tmp_path, 1)
    assert len([*(tmp_path / "run" / "wandb").glob("offline-run-*")]) == 2  # not one run of both folds


@pytest.mark.parametrize("name", LOGGERS)
def test_a_tool_that_is_not_installed_is_said_with_its_extra(tmp_path, monkeypatch, name):
    monkeypatch.setattr(importlib.util, "find_spec", lambda package: None)
    with pytest.raises(RecipeError, match=rf"maskwright\[{name}\]"):
        build_loggers([name], tmp_path / "run" / "round-0" / "fold-0", {})


@pytest.mark.slow
def test_a_training_sends_its_curves(tmp_path, monkeypatch):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    from maskwright.data.index import build_index
    from maskwright.data.synthetic import make_playground
    from maskwright.recipe import Recipe, apply_settings
    from maskwright.recipe.data import DataSpec
    from maskwright.train.fit import train_fold

    make_playground(tmp_path / "data", labelled=6, unlabelled=0, size=(48, 64), planted=False)
    index, section, _ = build_index(DataSpec(root=str(tmp_path / "data"), task="semantic"))
    settings = (
        "model.encoder=resnet10t",
        "model.decoder_channels=[16, 16, 8]",
        "train.steps=4",
        "train.validate_every=2",
        "train.batch=2",
        "train.crop=[32, 32]",
        "train.scale=1",
        "train.precision=float32",
        "train.channels_last=false",
        "train.threads=1",
        'train.loggers=["tensorboard"]',
    )
    folder = tmp_path / "run" / "round-0" / "fold-0"
    train_fold(folder, index, index, apply_settings(Recipe(data=section), settings))
    curves = pl.read_csv(folder / "metrics.csv")
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard" / "run-round-0-fold-0"))
    events.Reload()
    assert [e.step for e in events.Scalars("loss")] == curves["step"].to_list()
    assert [e.value for e in events.Scalars("pooled_miou")] == pytest.approx(curves["pooled_miou"].to_list())
