"""The device of a training: a CUDA device or the processor, never one that Lightning finds beside these."""

from pathlib import Path

import pytest
import torch
from lightning.pytorch.accelerators import CPUAccelerator, MPSAccelerator

from maskwright.cli import main
from maskwright.data.synthetic import make_playground
from maskwright.errors import UsageError
from maskwright.recipe import Recipe
from maskwright.train.device import training_device
from maskwright.train.fit import build_trainer


def test_a_gpu_that_is_not_there_is_an_error_before_the_first_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    make_playground(tmp_path / "data", labelled=16, unlabelled=1, size=(48, 64))
    words = ["run", "--data", str(tmp_path / "data"), "--out", str(tmp_path / "run")]
    assert main([*words, "--set", "train.accelerator=gpu", "--set", "train.steps=2"]) == 2
    said = capsys.readouterr().err
    assert "none that PyTorch finds" in said and "train.accelerator=auto" in said
    assert not (tmp_path / "run" / "plan.json").exists()


def test_apples_gpus_are_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(MPSAccelerator, "is_available", staticmethod(lambda: True))
    data = {"root": "none", "categories": [{"id": i, "name": n} for i, n in enumerate("ab")]}
    recipe = Recipe.model_validate({"data": data, "train": {"precision": "float32", "steps": 1}})
    trainer = build_trainer(tmp_path, recipe, validates=False)
    assert isinstance(trainer.accelerator, CPUAccelerator)
    with pytest.raises(UsageError, match="CUDA"):
        training_device("gpu")
