"""The rig against cases with known answers; every committed result file has the one form."""

from __future__ import annotations

import ast
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from benchmarks.record import Comparison, Results, Row

from benchmarks import record, rig

ROOT = Path(__file__).parents[2]

FILES = sorted((ROOT / "benchmarks" / "results").glob("*.json"))


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_a_result_file_has_the_form_and_its_benchmark(path):
    results = Results.model_validate_json(path.read_text(encoding="utf-8"))
    assert results.rows
    module = ast.parse((ROOT / "benchmarks" / f"{path.stem}.py").read_text(encoding="utf-8"))
    assert results.about == (ast.get_docstring(module) or "").split("\n")[0]
    assert all(row.origin and row.origin.command.startswith("python -m benchmarks ") for row in results.rows.values())
    assert all((row.reached is None) == (row.target == "") for row in results.rows.values())


def test_there_are_result_files():
    assert FILES


def test_a_function_of_twice_the_time_has_the_ratio_two():
    ours, other, found = rig.compare(lambda: time.sleep(0.004), lambda: time.sleep(0.002), warm=0)
    assert ours > other
    assert found.n == 30
    assert found.low <= found.value <= found.high
    assert 1.5 < found.value < 2.5


def test_the_ratio_is_that_of_pairs_not_of_medians():
    rival = np.geomspace(1, 1000, 31)  # the machine got slower and slower
    found = rig.ratio(rival * 1.1, rival)
    assert (found.value, found.low, found.high) == pytest.approx((1.1, 1.1, 1.1))
    assert rig.inverse(found).value == pytest.approx(1 / 1.1)


def test_few_pairs_are_refused():
    with pytest.raises(AssertionError, match="30 pairs"):
        rig.compare(int, int, pairs=5)


def test_rows_come_back_from_their_file(tmp_path, monkeypatch):
    monkeypatch.setattr(record, "RESULTS", tmp_path)
    monkeypatch.setattr(sys, "argv", ["rig", "--data", "/somewhere/data"])
    found = Comparison(kind="ratio", value=0.9, low=0.8, high=1.0, n=30)
    rows = {"step": Row(figure=0.1, unit="s", against="bare", other=0.11, comparison=found, target="≤ 1", reached=True)}
    record.write("rig", rows)
    assert record.read("rig") == rows
    assert "/somewhere" not in (tmp_path / "rig.json").read_text()
    assert rows["step"].origin.command == "python -m benchmarks rig --data DATA"
    assert record.read("none") == {}
    assert "reached" in record.shown(rows["step"])


def test_rows_that_are_kept_keep_their_origin(tmp_path, monkeypatch):
    monkeypatch.setattr(record, "RESULTS", tmp_path)
    for commit in ("one", "two"):
        monkeypatch.setattr(record, "_commit", lambda commit=commit: commit)
        monkeypatch.setattr(sys, "argv", ["rig", "--only", commit])
        record.write("rig", record.read("rig") | {commit: Row(figure=1, unit="s")})
    origins = {name: row.origin for name, row in record.read("rig").items()}
    assert {name: origin.commit for name, origin in origins.items()} == {"one": "one", "two": "two"}
    assert [origin.command.split()[-1] for origin in origins.values()] == ["one", "two"]
