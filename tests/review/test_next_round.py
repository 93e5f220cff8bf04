"""A run with a round of self-training, answers about it, and the same run again: it learns from the answers."""

import numpy as np
import pytest

from make_command import run_command
from make_pool import SETTINGS
from maskwright.artifacts import RunFolder, read_folds, read_json, read_table
from maskwright.data.index import decided_index
from maskwright.data.synthetic import make_playground
from maskwright.pipeline.accepted import with_accepted
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
    done = run_command(*words)
    assert done.returncode == 0, done.stderr[-3000:]
    return RunFolder(out)


def trained_at(folder):
    found = folder.root.glob("round-*/fold-*/last.ckpt")
    return {path.parent.relative_to(folder.root).as_posix(): path.stat().st_mtime_ns for path in found}


def pool_of(folder, fold):
    return set(read_table(folder.pseudo(1, fold) / "ledger.parquet")["image"])


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
    desk.decide(said(desk, suspects[0], "a"))  # that a mask is right makes nothing anew
    selftrain(tmp_path / "data", tmp_path / "run")
    assert trained_at(folder) == before
    chosen = item.suggestions[-1]
    taken, fold = run.suggestion(item, chosen, {}), chosen.maker[1]
    desk.decide(said(desk, place, accepts))
    selftrain(tmp_path / "data", tmp_path / "run", "--redo")
    now = trained_at(folder)
    own, other = f"round-0/fold-{fold}", f"round-0/fold-{1 - fold}"
    assert now[own] > before[own]
    assert now[other] == before[other]  # its training isn't the concern of what the other's network said
    index, images = with_accepted(folder, decided_index(folder, spec_of(folder)), fold)
    assert images == [item.image]
    assert np.array_equal(index.only(images).read_label(0), taken)
    assert with_accepted(folder, decided_index(folder, spec_of(folder)), 1 - fold)[1] == []
    assert item.image not in read_folds(folder.folds).drop_nulls("fold")["image"].to_list()
    assert item.image not in pool_of(folder, fold)  # it has a label: nobody guesses one
    assert item.image in pool_of(folder, 1 - fold)
    assert item.image in read_json(folder.root / f"round-1/fold-{fold}/start.json")["seen"]
    assert item.image not in read_table(folder.predictions / "per_image.parquet")["image"].to_list()
    again = Reviewed.of(folder.root)
    assert item.image not in [i.image for i in build_queue(again) if i.kind in ("disagreement", "uncertain")]


def said(desk, place, answer):
    shown = [desk.run.digest(suggestion, desk.answers(place)) for suggestion in desk.items[place].suggestions]
    return Reply(item=desk.keys[place], answer=answer, by="Anna", shown=shown)


def spec_of(folder):
    return DataSpec.model_validate(read_json(folder.records / "index.json")["resolved"]["data"])
