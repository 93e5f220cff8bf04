"""The rival and the figures of `python -m benchmarks instances`, worked by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest
from benchmarks.instances import _figures, check_same_images, run_folder, shed


def discs(*middles, radius=8, size=(40, 60)):
    y, x = np.mgrid[: size[0], : size[1]]
    ids = np.zeros(size, np.int32)
    for number, (row, column) in enumerate(middles, 1):
        ids[(y - row) ** 2 + (x - column) ** 2 <= radius**2] = number
    return ids


def test_the_rival_parts_discs_that_touch():
    ids = discs((15, 14), (15, 28), (30, 50))
    found = shed(ids > 0, 5)
    assert found.max() == 3
    pairs = [np.bincount(found[ids == number]).max() / (ids == number).sum() for number in (1, 2, 3)]
    assert min(pairs) > 0.9
    assert shed(ids > 0, 40).max() == 2  # peaks of one component alone are compared


def test_runs_that_hold_out_other_images_are_not_compared(tmp_path):
    for run, held in (("a", "xy"), ("b", "yx"), ("c", "xz")):
        (tmp_path / run).mkdir()
        rows = [f"images/{name}.png,{name},-1" for name in held]
        (tmp_path / run / "folds.csv").write_text("\n".join(["image,group,fold", *rows, "images/w.png,w,0"]) + "\n")
    check_same_images([tmp_path / "a", tmp_path / "b"])
    with pytest.raises(ValueError, match="such as y, z"):
        check_same_images([tmp_path / "a", tmp_path / "c"])


def test_each_command_has_a_folder_of_its_own(tmp_path):
    plain, words = tmp_path / "run", ["run", "--seed", "0"]
    one, other = run_folder(plain, words), run_folder(plain, ["run", "--seed", "1"])
    assert len({plain, one, other}) == 3 and run_folder(plain, words) == one
    plain.with_name("run.json").write_text(json.dumps(words))
    assert run_folder(plain, words) == plain
    assert run_folder(plain, ["run", "--seed", "1"]) == other


def test_f1_and_pq_by_hand():
    """Two images of one true disc: found, and missed beside a made-up one: F1 is 2 · 1 / (1 + 1 + 1 + 1), PQ ½."""
    true = [discs((15, 14)), discs((15, 14))]
    objects = [(true[0], np.array([0.9])), (discs((15, 44)), np.array([0.4]))]
    figures, ones = _figures(objects, true), np.ones((1, 2))
    assert figures["f1_50"](ones)[0] == pytest.approx(0.5)
    assert figures["f1_90"](ones)[0] == pytest.approx(0.5)
    assert figures["pq"](ones)[0] == pytest.approx(0.5)
    assert figures["f1_50"](np.array([[2.0, 0.0]]))[0] == pytest.approx(1)
