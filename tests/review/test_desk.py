"""Answers as lines of the log: what each says, what undo leaves, several reviewers, processes that are killed."""

import json
import shutil
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from PIL import Image

from make_copies import half
from make_review import ALONE, BOX, COARSE, FINE, ODD, PLAIN, ignored_columns, lines, place_of, reply, reviewed
from maskwright.artifacts import read_folds
from maskwright.decisions import Decision, append_decisions, read_decisions, settled, standing
from maskwright.errors import DataError, UsageError
from maskwright.review import Desk, Reply, answers, build_queue
from maskwright.review.answers import ANSWERS, answers_of
from maskwright.review.items import QUESTIONS


def said(desk, kind, answer, **more):
    """Answer the first item of a kind; return its lines."""
    before = len(lines(desk))
    desk.decide(reply(desk, place_of(desk, kind, more.pop("image", None)), answer, **more))
    return lines(desk)[before:]


def short(found):
    return [(d.image, d.action) for d in found]


def mask_of(desk, decision):
    return np.asarray(Image.open(desk.run.folder.root / decision.file))


def test_every_kind_has_a_question_and_answers_with_keys_of_their_own():
    assert ANSWERS.keys() == QUESTIONS.keys()
    for taken in ANSWERS.values():
        keys = [answer.key for answer in taken]
        assert len(set(keys)) == len(keys)
        assert not {*keys} & set("hdu[]")  # of the page itself


def test_a_conflict(desk):
    place = place_of(desk, "conflict")
    first, second = desk.items[place].images
    assert short(said(desk, "conflict", "a")) == [(first, "keep"), (second, "drop")]
    assert short(said(desk, "conflict", "b")) == [(second, "keep"), (first, "drop")]
    assert short(said(desk, "conflict", "both")) == [(first, "keep"), (second, "keep")]
    apart = said(desk, "conflict", "not_same")
    assert short(apart) == [(first, "not_same"), (first, "keep"), (second, "keep")]
    assert apart[0].other_image == second
    assert short(said(desk, "conflict", "reject")) == [(first, "drop"), (second, "drop")]
    drawn = said(desk, "conflict", "edit", strokes=[{"tool": "brush", "category": 0, "points": [[1, 1]], "radius": 3}])
    assert short(drawn) == [(first, "keep"), (first, "patch_mask"), (second, "drop")]
    dot = [{"tool": "brush", "category": 0, "points": [[1, 1]], "radius": 3}]
    other = said(desk, "conflict", "edit", base=1, strokes=dot)
    assert short(other) == [(first, "keep"), (first, "use_mask_of"), (first, "patch_mask"), (second, "drop")]
    assert (other[1].other_image, other[1].transform) == (second, desk.items[place].transform)
    cut = said(desk, "conflict", "ignore", region=[0, 0, 4, 4])
    assert short(cut) == [(first, "keep"), (second, "drop"), (first, "ignore_region")]  # the other one doesn't count
    assert {d.answer for d in lines(desk)} == {"a", "b", "both", "not_same", "reject", "edit", "ignore"}


def test_suspect_regions_and_shifted_masks(desk):
    assert short(said(desk, "suspect", "a")) == [(PLAIN, "confirm")]
    (patch,) = said(desk, "suspect", "b")
    assert (patch.action, patch.file) == ("patch_mask", None)  # what networks say is nobody's truth
    where = np.asarray(Image.open(desk.run.folder.root / patch.where)) > 0
    assert np.array_equal(where, half(24) != half(16))
    (ignored,) = said(desk, "suspect", "ignore")
    assert (ignored.action, ignored.region) == ("ignore_region", BOX)
    (ignored,) = said(desk, "suspect", "ignore", region=[-5, 40, 10, 900])
    assert ignored.region == (0, 40, 10, 48)
    assert short(said(desk, "suspect", "reject")) == [(PLAIN, "drop")]
    (moved,) = said(desk, "shifted", "b")
    assert (moved.action, moved.shift) == ("shift_mask", (0, 4))
    mask = desk.run.mask("images/x0.png", settled(lines(desk)))
    assert mask[0, :13].tolist() == [255] * 4 + [1] * 8 + [0]


def test_images_without_masks(desk):
    (taken,) = said(desk, "disagreement", "b")
    assert (taken.image, taken.made_by) == (ALONE, "round 1, fold 1")
    assert np.array_equal(mask_of(desk, taken), half(50))
    (taken,) = said(desk, "uncertain", "accept")
    assert (taken.image, taken.made_by) == (ODD, "round 1, fold 0")
    folds = read_folds(desk.run.folder.folds)  # the network of fold 0 learned from the masks of the others
    seen = json.loads((desk.run.folder.root / taken.seen).read_text())
    assert seen == sorted(folds.filter(folds["fold"] == 1)["image"])
    stroke = {"tool": "brush", "category": 1, "points": [[60.5, 20.5]], "radius": 0.5}
    taken, drawn = said(desk, "uncertain", "edit", strokes=[stroke])
    assert taken.made_by == drawn.made_by == "round 1, fold 0"
    assert np.array_equal(mask_of(desk, taken), half(40))
    expected = np.full((48, 64), 255, np.uint8)
    expected[20, 60] = 1
    assert np.array_equal(mask_of(desk, drawn), expected)  # what a person drew alone
    (alone,) = said(desk, "uncertain", "edit", base=-1, strokes=[stroke])
    assert (alone.action, alone.made_by) == ("patch_mask", "")
    whole = {"tool": "polygon", "category": 1, "points": [[-1, -1], [70, -1], [70, 50], [-1, 50]]}
    (alone,) = said(desk, "uncertain", "edit", strokes=[whole])
    assert (alone.action, alone.made_by) == ("patch_mask", "")  # nothing of the prediction is left
    assert short(said(desk, "uncertain", "reject")) == [(ODD, "drop")]


def test_an_edit_begins_with_the_suggestion_that_it_names(desk):
    stroke = {"tool": "brush", "category": 0, "points": [[0.5, 0.5]], "radius": 0.5}
    for base, columns in ((0, 10), (1, 50)):
        taken, _ = said(desk, "disagreement", "edit", base=base, strokes=[stroke])
        assert np.array_equal(mask_of(desk, taken), half(columns))
        expected = half(columns)
        expected[0, 0] = 0
        assert np.array_equal(desk.run.mask(ALONE, settled(lines(desk))), expected)


def test_a_drawing_on_a_mask_that_was_moved_or_contradicted(desk):
    stroke = {"tool": "brush", "category": 1, "points": [[50.5, 0.5]], "radius": 0.5}
    assert [d.action for d in said(desk, "shifted", "edit", base=1, strokes=[stroke])] == ["shift_mask", "patch_mask"]
    mask = desk.run.mask("images/x0.png", settled(lines(desk)))
    assert mask[0, [0, 4, 11, 12, 50]].tolist() == [255, 1, 1, 0, 1]
    said(desk, "suspect", "edit", base=1, strokes=[stroke])
    expected = half(16)
    expected[:, 16:24], expected[0, 50] = 255, 1
    assert np.array_equal(desk.run.mask(PLAIN, settled(lines(desk))), expected)


def test_of_several_answers_about_one_mask_each_can_be_taken_back(desk):
    """Region 1: columns 16 to 19; region 2: 20 to 23; Anna says B of both, then takes back the first."""
    items = [replace(desk.items[place_of(desk, "suspect")], region=box) for box in ((16, 0, 20, 48), (20, 0, 24, 48))]
    desk = Desk(desk.run, items)
    for place in (0, 1):
        desk.decide(reply(desk, place, "b", id=f"{place:016x}"))
    assert ignored_columns(desk) == [16, 17, 18, 19, 20, 21, 22, 23]
    desk.decide(reply(desk, 0, "a", by="Ben"))  # it is right, after all
    assert ignored_columns(desk) == [20, 21, 22, 23]
    desk.undo("Ben")
    assert ignored_columns(desk) == [16, 17, 18, 19, 20, 21, 22, 23]
    assert desk.undo("Anna") == 1
    assert ignored_columns(desk) == [16, 17, 18, 19]


def test_what_is_decided_is_what_was_shown(desk):
    """The labels are made anew between the look and the answer."""
    place = place_of(desk, "disagreement")
    seen = reply(desk, place, "b")
    path = desk.run.folder.root / desk.items[place].suggestions[1].file
    Image.fromarray(half(51)).save(path)
    for answer in (seen, reply(desk, place, "b"), seen.model_copy(update={"shown": ()})):
        with pytest.raises(UsageError, match="labels as they were shown"):
            desk.decide(answer)
    assert lines(desk) == []
    Image.fromarray(half(50)).save(path)
    desk.decide(seen)


def test_the_same_labels_of_another_making_are_another_item(desk):
    before = desk.keys[place_of(desk, "disagreement")]
    Image.fromarray(half(51)).save(desk.run.folder.root / "round-1/pseudo/fold-1/labels/unlabeled/alone.png")
    again = Desk(desk.run, build_queue(desk.run))
    assert before not in again.keys
    item = desk.items[place_of(desk, "shifted")]
    other = replace(item, suggestions=(item.suggestions[0], replace(item.suggestions[1], shift=(1, 4))))
    assert item.key(b"salt") != other.key(b"salt")


def test_a_prediction_of_the_networks_of_all_folds_can_not_be_accepted(folder):
    shutil.rmtree(folder.root / "round-1")
    run = reviewed(folder)
    desk = Desk(run, build_queue(run))
    place = place_of(desk, "uncertain", ODD)
    assert desk.items[place].suggestions[0].name == "prediction"
    assert [a.name for a in answers_of(desk.items[place], target="masks")] == ["right", "edit", "reject"]
    stroke = {"tool": "brush", "category": 1, "points": [[60.5, 20.5]], "radius": 0.5}
    desk.decide(reply(desk, place, "edit", strokes=[stroke]))
    assert [(d.action, d.made_by) for d in lines(desk)] == [("patch_mask", "prediction")]
    assert (run.mask(ODD, settled(lines(desk))) != 255).sum() == 1  # what the networks said isn't learned


def test_the_mask_that_counts_is_the_one_that_was_decided(desk, folder):
    """The twin of `PLAIN` has its mask by a policy; another image has what its copies agree on."""
    twin = "unlabeled/twin.png"
    answers = settled(read_decisions(folder.decisions))
    assert answers[twin, "mask"].action == "use_mask_of"
    assert np.array_equal(desk.run.mask(twin, answers), half(16))
    both = {PLAIN: "identity", "images/x0.png": "identity"}  # 16 and 8 columns of rock
    agreed = Decision(image=PLAIN, action="consensus", others=both, by="Anna")
    expected = half(8)
    expected[:, 8:16] = 255  # they don't agree
    assert np.array_equal(desk.run.mask(PLAIN, settled([agreed])), expected)
    with pytest.raises(DataError, match="an image with a mask"):
        desk.run.mask(twin, {})


def test_strangers_and_copies(desk):
    assert short(said(desk, "outlier", "alien", image="images/x9.png")) == [("images/x9.png", "drop")]
    assert short(said(desk, "outlier", "not_alien", image="images/x9.png")) == [("images/x9.png", "belongs")]
    place = next((n for n, item in enumerate(desk.items) if item.kind == "duplicate"), None)
    if place is not None:
        desk.decide(reply(desk, place, "same"))
        assert lines(desk)[-1].action == "same"


@pytest.mark.parametrize(
    ("kind", "answer", "more", "why"),
    [
        ("suspect", "accept", {}, "an answer that this item takes"),
        ("outlier", "edit", {}, "an answer that this item takes"),
        ("uncertain", "b", {}, "an answer that this item takes"),
        ("uncertain", "edit", {}, "no stroke"),
        ("rare", "ignore", {}, None),
        ("suspect", "ignore", {"region": [100, 100, 200, 200]}, "a region in the image"),
        ("suspect", "ignore", {"region": [9, 9, 3, 3]}, "a region in the image"),
        ("conflict", "ignore", {}, "a region, got none"),
        ("uncertain", "edit", {"base": 1, "strokes": "dot"}, "a suggestion that there is"),
        ("suspect", "edit", {"base": -1, "strokes": "dot"}, "begins with a mask"),
        ("uncertain", "edit", {"strokes": "nothing"}, "none that do"),
    ],
)
def test_answers_that_can_not_be_taken_leave_nothing(desk, kind, answer, more, why):
    strokes = {
        "dot": [{"tool": "brush", "category": 0, "points": [[1, 1]]}],
        "nothing": [{"tool": "brush", "category": 1, "points": [[1, 1]]}],  # it is 1 already
    }
    more = more | ({"strokes": strokes[more["strokes"]]} if "strokes" in more else {})
    if kind not in [item.kind for item in desk.items]:
        return
    before = desk.run.folder.decisions.read_bytes()
    with pytest.raises(UsageError, match=why):
        desk.decide(reply(desk, place_of(desk, kind), answer, **more))
    assert desk.run.folder.decisions.read_bytes() == before


def test_without_semantic_masks_nothing_is_drawn(desk):
    for item in desk.items:
        names = {answer.name for answer in answers_of(item, target="instances")}
        assert not names & {"edit", "ignore"}
        assert "b" not in names or item.kind in ("conflict", "disagreement")


def test_the_last_answer_counts_and_undo_gives_back_the_one_before_whoever_gave_it(desk):
    place = place_of(desk, "suspect")
    desk.decide(reply(desk, place, "ignore"))
    desk.decide(reply(desk, place, "a", by="Ben"))
    found = settled(lines(desk))
    assert [d.action for d in found.values()] == ["confirm"]  # Anna's region doesn't count beside Ben's answer
    assert desk.undo("Ben") == place
    assert [d.action for d in standing(lines(desk))] == ["ignore_region"]
    assert desk.undo("Ben") is None
    assert desk.undo("Anna") == place
    assert standing(lines(desk)) == []
    assert len(lines(desk)) == 4  # nothing was ever taken away


def test_undo_of_a_conflict_gives_the_policy_its_say_back(desk):
    before = settled(read_decisions(desk.run.folder.decisions))
    desk.decide(reply(desk, place_of(desk, "conflict"), "b"))
    assert settled(read_decisions(desk.run.folder.decisions)) != before
    desk.undo("Anna")
    assert settled(read_decisions(desk.run.folder.decisions)) == before


def test_an_answer_to_an_item_that_there_is_not(desk):
    with pytest.raises(UsageError, match="an item of the queue"):
        desk.decide(Reply(item="0" * 16, answer="a", by="Anna"))
    with pytest.raises(UsageError, match="an item from 0"):
        desk.item(-1)


def test_file_names_can_be_hidden(desk):
    hidden = Desk(desk.run, desk.items, anonymous=True)
    text = json.dumps([hidden.described(place) for place in range(len(desk.items))])
    for image in desk.run.index.images:
        assert image not in text
        assert image.split("/")[-1] not in text
    assert hidden.described(0)["names"] == ["image 1a", "image 1b"]
    assert COARSE in json.dumps([desk.described(0)]) and FINE in json.dumps([desk.described(0)])


def test_a_suggestion_that_changes_nothing_any_more_is_refused(desk):
    """The mask was drawn otherwise meanwhile: nothing is left that the networks contradict."""
    place = place_of(desk, "suspect")
    square = {"tool": "polygon", "category": 1, "points": [[15, -1], [25, -1], [25, 49], [15, 49]]}
    append_decisions(desk.run.folder.decisions, patch_of(desk, square))
    with pytest.raises(UsageError, match="none that does"):
        desk.decide(reply(desk, place, "b"))


def patch_of(desk, stroke):
    """The lines of a drawing on `PLAIN` that is no answer to an item of the queue."""
    item = replace(desk.items[place_of(desk, "suspect")], region=None, kind="rare", suggestions=())
    said = Reply.model_validate({"item": "0" * 16, "answer": "edit", "by": "Ben", "strokes": [stroke]})
    return answers.lines_of(desk.run, item, said, settled(lines(desk)))


def test_a_folder_that_can_only_be_read_can_be_looked_at(desk, monkeypatch):
    (desk.run.folder.root / "review" / "salt").unlink()

    def denied(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("maskwright.review.source.write_bytes", denied)
    run = reviewed(desk.run.folder)
    assert Desk(run, build_queue(run)).progress()["total"] == len(desk.items)


def test_images_that_can_not_be_read_are_not_asked_about(desk):
    image = desk.items[place_of(desk, "outlier")].image
    index = desk.run.index
    height = pl.when(pl.col("image") == image).then(None).otherwise(pl.col("height")).alias("height")
    run = replace(desk.run, index=replace(index, table=index.table.with_columns(height)))
    assert image not in {name for item in build_queue(run) for name in item.images}


def test_an_answer_to_what_is_not_asked_any_more_is_not_taken_back_unseen(desk):
    """Nor is an older one in its place: that wouldn't be the last."""
    first, second = place_of(desk, "outlier"), place_of(desk, "duplicate")
    desk.decide(reply(desk, first, "alien"))
    desk.decide(reply(desk, second, "same"))
    later = Desk(desk.run, [desk.items[first]])  # the run was made anew
    with pytest.raises(UsageError, match="which isn't asked any more") as caught:
        later.undo("Anna")
    assert settled(lines(desk)) == settled(desk.log()[-2:])
    with desk.run.folder.decisions.open("a") as log:
        log.write(str(caught.value).partition("decisions.jsonl: ")[2] + "\n")
    assert later.undo("Anna") == 0
    assert later.undo("Anna") is None
    hidden = Desk(desk.run, [], anonymous=True)
    desk.decide(reply(desk, first, "alien"))
    with pytest.raises(UsageError) as caught:
        hidden.undo("Anna")
    assert desk.items[first].image not in str(caught.value)
