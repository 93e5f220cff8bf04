"""A full disk, a checkpoint that is cut off: it is said, nothing half-written stays, the same command goes on."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import polars as pl
import pytest

import bad_folders as bad
from bad_folders import TINY, call, half_written


@pytest.mark.parametrize(
    "name",
    [
        "index.parquet",
        "leftovers.json",
        "meta.parquet",
        "findings.parquet",
        "pixel_shares.svg",
        "folds.csv",
        "folds.json",
        "split.json",
    ],
)
def test_after_a_full_disk_the_same_command_goes_on(name, tmp_path, monkeypatch, capsys):
    """The disk is full when a file is to be put in its place; its temporary copy is written already."""
    replace = os.replace

    def full(source, target):
        if Path(target).name == name:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(source), None, str(target))
        replace(source, target)

    command = bad.until("split", bad.pairs(tmp_path))
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        code, said = call(capsys, command)
    assert code == 1, said
    assert "No space left on device" in said
    assert name in said
    assert "the same command goes on" in said
    assert not half_written(tmp_path)
    assert not list(tmp_path.rglob(name))
    assert call(capsys, command)[0] == 0
    assert len(list(tmp_path.rglob(name))) == 1


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_training_does_not_go_on_from_a_cut_off_checkpoint(tmp_path, capsys):
    command = bad.trained(bad.pairs(tmp_path), TINY, "--folds", 2)
    assert call(capsys, command)[0] == 0
    last = tmp_path / "run" / "round-0" / "fold-0" / "last.ckpt"
    (tmp_path / "run" / ".tasks" / "train-fold-0.json").unlink()
    last.write_bytes(last.read_bytes()[:-3000])
    code, said = call(capsys, command)
    assert code == 2, said
    assert "expected a checkpoint to go on from, got a file that is cut off" in said
    assert str(last) in said
    last.unlink()
    assert call(capsys, command)[0] == 0
    assert len(pl.read_csv(last.with_name("metrics.csv"))) == 2  # steps; none is there twice


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", ["last.ckpt", "g0.npz", "tuned.json", "evaluation.json", "report.html"])
def test_after_a_full_disk_the_training_goes_on(name, tmp_path, monkeypatch, capsys):
    import torch

    command = bad.trained(bad.pairs(tmp_path), TINY, "--folds", 2)
    replace, save = os.replace, torch.save

    def full(source, target):
        if Path(target).name == name:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        replace(source, target)

    def full_in_other_words(state, path):
        save(state, path)
        raise RuntimeError("[enforce fail at inline_container.cc:671] . unexpected pos 576 vs 534")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        if name == "last.ckpt":
            patch.setattr("maskwright.train.fit.torch.save", full_in_other_words)
            patch.setattr("maskwright.artifacts._NO_ROOM", 1 << 60)  # whatever is free is too little
        code, said = call(capsys, command)
    assert code == 1, said
    assert "No space left on device" in said
    assert not half_written(tmp_path)
    assert call(capsys, command)[0] == 0
