"""What the benchmark of `query` learns from and is scored on, and what its rows compare."""

from __future__ import annotations

import argparse
import csv

import numpy as np
import pytest
from benchmarks.query import FIRST, OURS, RANDOM, SETS, draw, folder_of, to_rows

from benchmarks import query


@pytest.fixture
def root(tmp_path):
    """Forty images of ten sols, their masks and meta.csv; files are never opened here."""
    for folder in ("images", "masks"):
        (tmp_path / "set" / folder).mkdir(parents=True)
    rows = [("name", "sol")]
    for k in range(40):
        rows.append((f"n{k:02d}", f"s{k % 10}"))
        for folder in ("images", "masks"):
            (tmp_path / "set" / folder / f"n{k:02d}.png").write_bytes(b"")
    with (tmp_path / "set" / "meta.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return tmp_path / "set"


def test_groups_are_held_out_whole_and_by_no_seed(root):
    wanted = SETS["mars_gray"]._replace(start=5)
    drawn = [draw(root, wanted, seed) for seed in (0, 1, 1)]
    assert drawn[0].held_out == drawn[1].held_out
    assert len(drawn[0].held_out) == 12  # three of ten sols
    assert {name[2:3] for name in drawn[0].held_out}.isdisjoint(name[2:3] for name in drawn[0].pool)  # its last digit
    assert drawn[1] == drawn[2]
    assert drawn[0].labelled != drawn[1].labelled
    for one in drawn:
        assert len(one.labelled) == 5
        assert sorted(one.held_out + one.labelled + one.pool) == sorted(p.name for p in (root / "images").iterdir())


def test_only_what_is_labelled_has_a_mask(root, tmp_path):
    drawn = draw(root, SETS["mars_gray"]._replace(start=5), 0)
    first = folder_of(root, tmp_path / "first", drawn, [], pool=True)
    after = folder_of(root, tmp_path / "after", drawn, drawn.pool[:2], pool=False)
    for folder, more in ((first, []), (after, drawn.pool[:2])):
        masks = sorted(p.name for p in (folder / "masks").iterdir())
        assert masks == sorted(drawn.held_out + drawn.labelled + more)
        with (folder / "split.csv").open() as file:
            parts = {row["image"]: row["part"] for row in csv.DictReader(file)}
        assert {i for i, part in parts.items() if part == "val"} == {f"images/{name}" for name in drawn.held_out}
    assert sorted(p.name for p in (first / "unlabeled").iterdir()) == drawn.pool
    assert not (after / "unlabeled").exists()


def test_rows_compare_ours_with_chance_and_chance_with_nothing():
    """Two images of 10 foreground pixels: Dice 2 · 5 / 15 = 2/3 with 5 of them found, 1 with all."""
    found = {arm: np.zeros((2, 2, 2, 3), np.int64) for arm in (FIRST, RANDOM, OURS)}
    for arm, right in ((FIRST, 0), (RANDOM, 5), (OURS, 10)):
        found[arm][:, :, 1, 1], found[arm][:, :, 1, 0], found[arm][:, :, 0, 0] = right, 10 - right, 90
    rows = to_rows("teeth", found, ["a", "b"], {}, argparse.Namespace(seeds=[0, 1], steps=8))
    ours, chance = (rows[f"teeth, 24 labels, the second half by {arm}"] for arm in ("query", "random"))
    assert ours.figure == pytest.approx(1)
    assert ours.comparison.value == pytest.approx(1 / 3)
    assert ours.reached is True
    assert (chance.other, chance.reached) == (0, None)
    assert query.__doc__.startswith("Labelling what `query` asks for")
