"""Writing whole or not at all, and JSON and tables that read back."""

from __future__ import annotations

import errno
import math
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from maskwright.artifacts import (
    RunFolder,
    atomic,
    plain,
    read_json,
    read_table,
    sweep,
    write_bytes,
    write_json,
    write_table,
    write_text,
)
from maskwright.decisions import held
from maskwright.errors import UsageError


def test_the_best_checkpoints_are_those_that_were_kept_in_the_order_of_their_steps(tmp_path):
    folder = RunFolder(tmp_path)
    folder.fold(1).mkdir(parents=True)
    for step in (1000, 200, 40):
        (folder.fold(1) / f"top-{step}.ckpt").touch()
    names = [path.name for path in folder.checkpoints(1, "topk")]
    assert names == ["top-40.ckpt", "top-200.ckpt", "top-1000.ckpt"]
    assert folder.checkpoints(0, "best") == [folder.fold(0) / "best.ckpt"]
    assert folder.all_checkpoints("last", 2) == [folder.fold(k) / "last.ckpt" for k in (0, 1)]
    with pytest.raises(UsageError, match=r"train\.keep=3"):
        folder.all_checkpoints("topk", 2)


def test_a_crash_in_the_block_leaves_the_old_file_and_no_other(tmp_path):
    target = tmp_path / "deep" / "a.txt"
    write_text(target, "old")

    def crash():
        with atomic(target) as temporary:
            temporary.write_text("half of the n")
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError):
        crash()
    assert target.read_text() == "old"
    assert list(target.parent.iterdir()) == [target]


def test_a_block_that_writes_nothing_fails_and_leaves_the_old_file(tmp_path):
    target = tmp_path / "a.txt"
    write_text(target, "old")
    with pytest.raises(FileNotFoundError), atomic(target):
        pass
    assert target.read_text() == "old"


def write_plain():
    with open("/dev/full", "w", encoding="utf-8") as file:
        file.write("x" * 100)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux has a device that is always full")
@pytest.mark.parametrize(
    "write",
    [
        write_plain,
        lambda: pl.DataFrame({"a": np.arange(9000)}).write_parquet("/dev/full"),
        lambda: pl.DataFrame({"a": np.arange(9000)}).write_csv("/dev/full"),
    ],
)
def test_a_full_disk_is_the_same_error_from_every_library(tmp_path, write):
    target = tmp_path / "a.txt"
    write_text(target, "old")
    with pytest.raises(OSError, match="No space left") as caught, atomic(target):
        write()
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(target))
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert target.read_text() == "old"


@pytest.mark.parametrize("writes", [True, False])
def test_an_error_names_the_file_that_was_asked_for(tmp_path, writes):
    target = tmp_path / "a.txt"
    (target / "not empty").mkdir(parents=True)  # no file can replace it
    write = Path.touch if writes else Path.stat
    with pytest.raises(OSError, match="a\\.txt") as caught, atomic(target) as temporary:
        write(temporary)
    assert caught.value.filename == str(target)
    assert ".tmp" not in str(caught.value)


def test_other_errors_stay_what_they_are(tmp_path):
    with pytest.raises(ValueError, match="own fault"), atomic(tmp_path / "a.txt"):
        raise ValueError("own fault")


def test_the_file_appears_only_when_it_is_whole(tmp_path):
    target = tmp_path / "a.bin"
    with atomic(target) as temporary:
        temporary.write_bytes(b"x" * 10)
        assert not target.exists()
        assert temporary.parent == target.parent  # a rename across file systems would not be atomic
        assert temporary.suffix == ".bin"  # writers choose their format by it
    write_bytes(target, b"y")
    assert target.read_bytes() == b"y"


def test_json_holds_arrays_and_absence(tmp_path):
    value = {"a": np.arange(3), 1: (np.float32(0.5), math.nan), "n": np.array([np.nan, 1.0]), "t": "Zürich"}
    write_json(tmp_path / "a.json", value)
    assert read_json(tmp_path / "a.json") == {"a": [0, 1, 2], "1": [0.5, None], "n": [None, 1.0], "t": "Zürich"}
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "b.json", {"x": math.inf})
    assert not (tmp_path / "b.json").exists()


def test_plain_leaves_plain_values_alone():
    assert plain({"a": [1, "x", None, True, 0.5]}) == {"a": [1, "x", None, True, 0.5]}


@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
def test_tables_round_trip(tmp_path, name):
    table = pl.DataFrame({"image": ["a", "b,c", 'd"e'], "fold": [0, -1, 2], "x": [0.5, None, 1e-9]})
    write_table(tmp_path / name, table)
    assert read_table(tmp_path / name).equals(table)


def test_the_run_folder_is_laid_out_as_the_names_say(tmp_path):
    folder = RunFolder(tmp_path)
    named = {
        folder.recipe: "recipe.yaml",
        folder.index: "index.parquet",
        folder.findings: "audit/findings.parquet",
        folder.folds: "folds.csv",
        folder.fold(3): "round-0/fold-3",
        folder.store("oof"): "round-0/oof",
        folder.tuned: "tuned.json",
        folder.predictions: "predictions",
    }
    for path, name in named.items():
        assert path.relative_to(tmp_path).as_posix() == name


def test_groups_stay_text_whatever_they_look_like(tmp_path):
    import polars as pl

    from maskwright.artifacts import read_folds, write_table

    groups = ["0", "007", "1.10", "true", "A7"]
    table = pl.DataFrame({"image": list("abcde"), "group": groups, "fold": [0, 1, 0, 1, -1]})
    write_table(tmp_path / "folds.csv", table)
    assert read_folds(tmp_path / "folds.csv").equals(table)


def test_a_sweep_leaves_what_a_review_writes_beside_it(tmp_path):
    """Its files are young; the log's are swept only when nobody holds the log."""
    old, young, log = (f".{digit * 12}.tmp" for digit in "abc")
    for path in (tmp_path / "review" / old, tmp_path / "review" / "masks" / young, tmp_path / "audit" / young):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    os.utime(tmp_path / "review" / old, (0, 0))
    (tmp_path / log).touch()
    with ThreadPoolExecutor(1) as pool:
        with held(tmp_path / "decisions.jsonl"):
            swept = pool.submit(sweep, tmp_path)
            time.sleep(0.2)
            assert (tmp_path / log).exists()
            assert not swept.done()
        swept.result(30)
    left = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file())
    assert left == [f"review/masks/{young}"]
