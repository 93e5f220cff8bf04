"""A run with a round of self-training, answers about it, and the same run again: it learns from the answers."""

import subprocess
import sys

import numpy as np
import pytest

from make_pool import SETTINGS
from maskwright.artifacts import RunFolder, read_folds, read_json, read_table
from maskwright.data.index import decided_index
from maskwright.data.synthetic import make_playground
from maskwright.recipe.data import DataSpec
from maskwright.review import Desk, Reply, Reviewed, build_queue

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

SMALL = (
    "data.task=semantic",
    *SETTINGS,
    "evaluate.samples=100",
    "evaluate.families=[]",
    "postprocess.chain=[]",
    "report.thumbnails=1",
    "audit.pictures=false",
    "selftrain.adopt=always",
    "selftrain.method.pixels.value=0.25",
)


def selftrain(data, out, *more):
    pairs = [f"--set={setting}" for setting in SMALL]
    words = ["selftrain", "--data", str(data), "--out", str(out), "--folds", "2", "--json", *pairs, *more]
    done = subprocess.run([sys.executable, "-m", "maskwright", *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return RunFolder(out)


def trained_at(folder):
    return [path.stat().st_mtime_ns for path in sorted(folder.root.glob("round-*/fold-*/last.ckpt"))]


def pool_of(folder):
    return {
        image for path in folder.root.glob("round-1/pseudo/*/ledger.parquet") for image in read_table(path)["image"]
    }


def test_answers_are_what_the_next_run_learns_from(tmp_path):
    make_playground(tmp_path / "data", labelled=24, unlabelled=6, size=(48, 64))
    folder = selftrain(tmp_path / "data", tmp_path / "run")
    run = Reviewed.of(folder.root)
    desk = Desk(run, build_queue(run))
    pool = [n for n, item in enumerate(desk.items) if item.kind in ("disagreement", "uncertain")]
    assert pool
    place, item = pool[0], desk.items[pool[0]]
    accepts = "accept" if item.kind == "uncertain" else "b"
    suspects = [n for n, i in enumerate(desk.items) if i.kind == "suspect"]
    before = trained_at(folder)
    assert suspects
    desk.decide(Reply(item=desk.keys[suspects[0]], answer="a", by="Anna"))  # that a mask is right makes nothing anew
    selftrain(tmp_path / "data", tmp_path / "run")
    assert trained_at(folder) == before
    taken = run.suggestion(item, item.suggestions[-1], {})
    desk.decide(Reply(item=desk.keys[place], answer=accepts, by="Anna"))
    selftrain(tmp_path / "data", tmp_path / "run", "--redo")
    assert all(new > old for new, old in zip(trained_at(folder), before, strict=True))
    spec = DataSpec.model_validate(read_json(folder.records / "index.json")["resolved"]["data"])
    learned = decided_index(folder, spec)
    assert np.array_equal(learned.only([item.image]).read_label(0), taken)
    assert item.image in read_folds(folder.folds).drop_nulls("fold")["image"].to_list()
    assert item.image not in pool_of(folder)  # it has a mask: nobody guesses one
    assert item.image not in read_table(folder.predictions / "per_image.parquet")["image"].to_list()
    again = Reviewed.of(folder.root)
    assert item.image not in [i.image for i in build_queue(again) if i.kind in ("disagreement", "uncertain")]
