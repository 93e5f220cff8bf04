"""A run with a round of self-training, answers about it, and the same run again: it learns from the answers."""

import numpy as np
import polars as pl
import pytest

from make_command import run_command
from make_pool import SETTINGS
from maskwright.artifacts import RunFolder, read_folds, read_json, read_table
from maskwright.data.index import decided_index
from maskwright.data.synthetic import make_playground
from maskwright.napari.session import Session
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


def test_a_choice_and_a_drawing_in_napari_are_what_the_next_run_learns_from(tmp_path):
    """The whole command again: the targets of each fold's training, pixel by pixel, and what is scored."""
    make_playground(tmp_path / "data", labelled=24, unlabelled=6, size=(48, 64))
    folder = selftrain(tmp_path / "data", tmp_path / "run")
    run = Reviewed.of(folder.root)
    session = Session(Desk(run, build_queue(run)))
    session.by = "Anna"
    choice = next(n for n, i in enumerate(session.desk.items) if i.kind in ("disagreement", "uncertain"))
    session.show(choice)
    pool, maker, taken = session.item.image, session.item.suggestions[-1].maker, session.labels[-1]
    session.answer("b" if session.item.kind == "disagreement" else "accept")
    suspect = next(n for n, i in enumerate(session.desk.items) if i.kind == "suspect")
    session.show(suspect)
    masked, drawn = session.item.image, session.begin(0)
    drawn[:9, :20], drawn[40:, 50:] = (drawn[:9, :20] + 1) % 2, 255  # another category, and ignored
    session.save(drawn)
    whole = next(n for n, i in enumerate(session.desk.items) if i.kind in ("disagreement", "uncertain") and n != choice)
    session.show(whole)
    bare, painted = session.item.image, session.begin(-1)
    painted[:] = (np.arange(64) // 8 % 2)[None]
    session.save(painted)
    selftrain(tmp_path / "data", tmp_path / "run", "--redo")
    index, folds = decided_index(folder, spec_of(folder)), read_folds(folder.folds)
    fold_of = dict(folds.select("image", "fold").iter_rows())
    assert {fold_of[masked], fold_of[bare]} <= {0, 1} and pool not in fold_of
    for fold in (0, 1):
        learned, accepted = with_accepted(folder, index, fold)
        assert accepted == ([pool] if fold == maker[1] else [])
        targets = {masked: drawn, bare: painted} | ({pool: taken} if accepted else {})
        for image, expected in targets.items():
            assert np.array_equal(learned.only([image]).read_label(0), expected)
    counted = read_table(folder.decided / "contents.parquet").filter(pl.col("image").is_in([masked, bare]))
    pixels = {image: np.bincount(mask[mask < 255], minlength=2) for image, mask in ((masked, drawn), (bare, painted))}
    assert {r["image"]: r["pixels"][:2] for r in counted.to_dicts()} == {i: n[:2].tolist() for i, n in pixels.items()}
    assert {masked, bare} <= set(read_table(folder.predictions / "per_image.parquet")["image"])


def said(desk, place, answer):
    shown = [desk.run.digest(suggestion, desk.answers(place)) for suggestion in desk.items[place].suggestions]
    return Reply(item=desk.keys[place], answer=answer, by="Anna", shown=shown)


def spec_of(folder):
    return DataSpec.model_validate(read_json(folder.records / "index.json")["resolved"]["data"])
