"""The queue: what is asked, in which order, and how far reviewers agree."""

import random
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from make_copies import half
from make_review import ALONE, BOX, COARSE, FINE, ODD, PLAIN, place_of, reviewed
from maskwright.artifacts import write_table
from maskwright.decisions import Decision, append_decisions
from maskwright.errors import UsageError
from maskwright.review import Desk, Item, Reviewed, agreement, build_queue
from maskwright.review.agreement import cohen_kappa
from maskwright.review.queue import ordered
from maskwright.review.source import shifted


def suspects(*scores, image="a"):
    return [Item("suspect", f"{image}{k}", score=score) for k, score in enumerate(scores)]


def test_worth_by_hand():
    # ranks 1/2 and 1 of two suspects: .9 · (1/2 + 1/4) = .675 and .9 · 1 = .9; one conflict of one: 1;
    # a rare class makes the suspect's .675 · 3/2 = 1.0125
    items = [*suspects(1.0, 2.0), Item("conflict", "c", "d", score=5.0)]
    assert [(i.kind, i.worth) for i in ordered(items, {}, {})] == [
        ("conflict", 1.0),
        ("suspect", 0.9),
        ("suspect", 0.675),
    ]
    items[0] = Item("suspect", "a0", score=1.0, need=1.0)
    assert [i.worth for i in ordered(items, {}, {})] == [1.0125, 1.0, 0.9]


def test_what_shows_the_same_picture_comes_back_late():
    items = suspects(1.0, 1.0, 1.0, 1.0)  # each .9 · 1
    found = ordered(items, {"a0": 0, "a1": 0}, {"a2": "g", "a3": "g"})
    # a0 first; then a2 (.9); then a3 in the group of a2 (.9 · .8); a1 is a copy of a0 (.9 / 2)
    assert [(i.image, i.worth) for i in found] == [("a0", 0.9), ("a2", 0.9), ("a3", 0.72), ("a1", 0.45)]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5), st.floats(0, 1)), max_size=30), st.randoms())
def test_nothing_is_left_out_and_the_order_of_finding_does_not_matter(rows, chance):
    kinds = ("conflict", "suspect", "outlier", "uncertain")
    items = [Item(kinds[k], f"i{image}", region=(n, 0, 99, 99), score=s) for n, (k, image, s) in enumerate(rows)]
    pictures, groups = {"i1": 0, "i2": 0}, {"i3": "g", "i4": "g"}
    found = ordered(items, pictures, groups)
    mixed = random.Random(chance.random()).sample(items, len(items))
    assert found == ordered(mixed, pictures, groups)
    assert sorted(i.region for i in found) == sorted(i.region for i in items)
    assert all(a.worth >= b.worth for a, b in pairwise(found))


def test_a_run_gives_an_item_of_each_kind_that_it_has(desk):
    found = {}
    for item in desk.items:
        found.setdefault(item.kind, []).append(item)
    (conflict,) = found["conflict"]
    assert {conflict.image, conflict.other_image} == {FINE, COARSE}
    (region,) = found["suspect"]
    assert (region.image, region.region) == (PLAIN, BOX)
    (move,) = found["shifted"]
    assert move.image == "images/x0.png"
    (apart,) = found["disagreement"]
    assert (apart.image, [s.name for s in apart.suggestions]) == (ALONE, ["round 1, fold 0", "round 1, fold 1"])
    (unsure,) = found["uncertain"]
    assert (unsure.image, unsure.detail) == (ODD, "entropy 1.000 of 1")
    assert "images/x9.png" in [item.image for item in found["outlier"]]
    assert desk.items[0].kind == "conflict"
    assert build_queue(desk.run) == list(desk.items)


def test_suggestions_are_the_masks_that_they_say(desk):
    def label(kind, place):
        item = desk.items[place_of(desk, kind)]
        return desk.run.suggestion(item, item.suggestions[place], {})

    assert np.array_equal(label("suspect", 0), half(16))
    assert np.array_equal(label("suspect", 1), half(24))  # rock where the prediction says so, inside the region
    assert np.array_equal(label("shifted", 1), shifted(half(8), 0, 4))
    assert label("shifted", 1)[0, :13].tolist() == [255] * 4 + [1] * 8 + [0]
    assert np.array_equal(label("disagreement", 1), half(50))


def test_a_copy_that_is_turned_is_laid_over_the_first(desk):
    turned = Item("conflict", FINE, COARSE, "flip_lr", suggestions=desk.items[0].suggestions)
    second = next(s for s in turned.suggestions if s.image != FINE)
    turned = Item("conflict", FINE, second.image, "flip_lr", suggestions=(second,))
    assert np.array_equal(desk.run.suggestion(turned, second, {}), half()[:, ::-1])


def test_what_people_settled_otherwise_is_not_asked(folder):
    run = reviewed(folder)
    before = build_queue(run)
    append_decisions(
        folder.decisions,
        [
            Decision(image=ALONE, action="drop", by="Anna"),
            Decision(image=PLAIN, action="ignore_region", region=(16, 0, 25, 48), by="Anna"),  # IoU 8/9 with the item's
            Decision(image=COARSE, action="keep", by="Anna"),  # settles nothing of the mask
        ],
    )
    gone = {(i.kind, i.image) for i in before} - {(i.kind, i.image) for i in build_queue(run)}
    assert gone == {("disagreement", ALONE), ("suspect", PLAIN)}


def test_missing_and_broken_files_leave_items_out_and_nothing_else(folder):
    run = reviewed(folder)
    before = {(i.kind, i.image) for i in build_queue(run)}
    (folder.root / "round-1/pseudo/fold-0/labels/unlabeled/alone.png").write_bytes(b"no picture")
    for place in ("predictions", "round-1/pseudo/fold-0"):
        (folder.root / place / "labels" / ODD).unlink()
    assert before - {(i.kind, i.image) for i in build_queue(run)} == {("disagreement", ALONE), ("uncertain", ODD)}


def test_findings_of_images_that_the_index_has_not_are_passed_over(folder):
    findings = pl.read_parquet(folder.findings)
    strange = findings.filter(pl.col("kind") == "conflict").with_columns(image=pl.lit("../../etc/passwd"))
    write_table(folder.findings, pl.concat([findings, strange]))
    assert not any("passwd" in image for item in build_queue(reviewed(folder)) for image in item.images)


def test_a_folder_without_an_audited_run_is_refused(tmp_path):
    with pytest.raises(UsageError, match="data was audited"):
        Reviewed.of(tmp_path)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc")), min_size=2, max_size=40))
def test_kappa_is_that_of_scikit_learn(pairs):
    first, second = zip(*pairs, strict=True)
    if len({*first, *second}) == 1:
        assert np.isnan(cohen_kappa(pairs))  # one answer alone: chance agrees always
    else:
        assert cohen_kappa(pairs) == pytest.approx(cohen_kappa_score(first, second), abs=1e-12)


def test_agreement_counts_each_reviewers_last_answer_that_stands():
    def said(item, by, answer, number, action="confirm"):
        kind = "review:suspect"
        return Decision(image="a", action=action, by=by, kind=kind, id=str(number), item=item, answer=answer)

    lines = [said("1", "Anna", "a", 1), said("1", "Ben", "b", 2), said("1", "Ben", "a", 3), said("2", "Anna", "a", 4)]
    lines += [said("2", "Ben", "b", 5), said("3", "Ben", "b", 6), said("3", "Cleo", "b", 7)]
    rows = [(r.first, r.second, r.items, r.share) for r in agreement(lines) if not r.kind]
    assert rows == [("Anna", "Ben", 2, 0.5), ("Ben", "Cleo", 1, 1.0)]
    undone = [*lines, Decision(image="a", action="undo", by="Ben", id="5")]
    assert [(r.items, r.share) for r in agreement(undone) if not r.kind] == [(1, 1.0), (1, 1.0)]


def test_items_have_names_that_tell_nothing_of_the_files(desk, folder):
    item = desk.items[0]
    assert item.key(b"1") != item.key(b"2")
    other = Desk(reviewed(folder), desk.items)
    assert other.keys == desk.keys  # the salt stays in the run folder
    assert len(set(desk.keys)) == len(desk.keys)
