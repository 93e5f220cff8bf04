"""What a reviewer sees and says in napari, without napari: the same queue and the same lines as the page's."""

import importlib
from dataclasses import replace
from importlib.resources import files

import numpy as np
import pytest
import yaml

from make_copies import half, picture, put
from make_review import ALONE, BOX, ODD, PLAIN, objects_run, place_of, reply, write_label
from maskwright.artifacts import read_folds, read_json
from maskwright.cli import main
from maskwright.data.index import decided_index, scored
from maskwright.decisions import Decision, append_decisions, read_decisions, settled
from maskwright.errors import DataError, UsageError
from maskwright.napari.layers import box_of, hatched
from maskwright.napari.reader import Stack, reader_of, run_stacks
from maskwright.napari.session import Session
from maskwright.recipe.data import DataSpec
from maskwright.review import Desk, answers


def session_at(desk, kind, by="Anna"):
    session = Session(desk)
    session.by = by
    session.show(place_of(desk, kind))
    return session


def said(desk, by):
    """What the log has of a reviewer, without what differs between any two answers."""
    return [
        line.model_copy(update={"by": "", "id": "", "time": "", "line": 0})
        for line in read_decisions(desk.run.folder.decisions)
        if line.by == by
    ]


def test_the_picture_alone_stands_beside_the_pictures_with_labels(desk):
    session = session_at(desk, "disagreement")
    plain, first, second = session.panes
    assert [pane.title for pane in session.panes] == [ALONE, "A: round 1, fold 0", "B: round 1, fold 1"]
    assert plain.label is None
    assert np.array_equal(plain.image, desk.run.picture(ALONE))
    assert np.array_equal(first.image, plain.image) and np.array_equal(second.image, plain.image)
    assert np.array_equal(first.label, half(10)) and np.array_equal(second.label, half(50))


def test_of_a_pair_both_pictures_are_shown_the_second_as_the_first_lies(desk):
    pair = session_at(desk, "duplicate")
    assert [pane.title for pane in pair.panes] == list(pair.item.images)
    assert all(pane.label is None for pane in pair.panes)
    assert np.array_equal(*(pane.image for pane in pair.panes))  # copies of each other, one of them flipped
    conflict = session_at(desk, "conflict")
    assert [pane.title for pane in conflict.panes[1:]] == ["A: mask of the first", "B: mask of the second"]


@pytest.mark.parametrize(
    ("kind", "answer"),
    [
        ("conflict", "b"),
        ("conflict", "not_same"),
        ("shifted", "b"),
        ("suspect", "b"),
        ("suspect", "ignore"),
        ("disagreement", "a"),
        ("uncertain", "accept"),
        ("outlier", "alien"),
        ("duplicate", "same"),
        ("uncertain", "reject"),
    ],
)
def test_an_answer_is_the_pages(desk, kind, answer):
    session = session_at(desk, kind)
    told = session.answer(answer)
    label = next(a.label for a in answers.ANSWERS[kind] if a.name == answer)
    assert told == f"Saved: {label} (item {session.place + 1})."
    assert session.described["mine"] == answer
    desk.decide(reply(desk, session.place, answer, by="Ben"))
    assert said(desk, "Anna") == said(desk, "Ben") != []


@pytest.mark.parametrize(
    ("kind", "base"),
    [
        ("conflict", 0),
        ("conflict", 1),
        ("shifted", 1),
        ("suspect", 0),
        ("suspect", 1),
        ("disagreement", 1),
        ("uncertain", 0),
        ("uncertain", -1),
    ],
)
def test_a_drawing_is_what_strokes_of_the_same_pixels_are(desk, kind, base):
    session = session_at(desk, kind)
    label = session.begin(base)
    label[5, 60], label[40, 30] = 1, 255  # neither is so in any of the labels
    session.save(label)
    dots = [(60.5, 5.5, 1), (30.5, 40.5, 255)]
    strokes = [{"tool": "brush", "category": c, "points": [[x, y]], "radius": 0.5} for x, y, c in dots]
    if base < 0:
        strokes = strokes[:1]  # an ignored pixel on nothing: nothing was drawn there
    desk.decide(reply(desk, session.place, "edit", by="Ben", base=base, strokes=strokes))
    assert said(desk, "Anna") == said(desk, "Ben") != []


def test_what_others_drew_meanwhile_stays(desk):
    """Ben paints the same mask by another item after Anna began: her drawing says nothing of his pixels."""
    session = session_at(desk, "suspect")
    label = session.begin(0)
    other = replace(session.item, region=None, kind="rare", suggestions=())
    dot = {"tool": "brush", "category": 1, "points": [[50.5, 20.5]], "radius": 0.5}
    his = reply(desk, session.place, "edit", by="Ben", strokes=[dot]).model_copy(update={"item": "0" * 16, "shown": ()})
    append_decisions(desk.run.folder.decisions, answers.lines_of(desk.run, other, his, settled(desk.log())))
    label[0, 63] = 1
    session.save(label)
    expected = half(16)
    expected[20, 50] = expected[0, 63] = 1
    assert np.array_equal(desk.run.mask(PLAIN, settled(desk.log())), expected)


def test_labels_that_were_made_anew_are_refused(desk, folder):
    session = session_at(desk, "disagreement")
    label = session.begin(1)
    label[0, 0] = 0
    write_label(folder, "round-1/pseudo/fold-1/labels/unlabeled/alone.png", half(44))
    with pytest.raises(UsageError, match="labels as they were shown"):
        session.answer("b")
    with pytest.raises(UsageError, match="labels as they were shown"):
        session.save(label)
    assert said(desk, "Anna") == []
    assert session.begun is not None  # what was drawn isn't lost


def test_what_can_not_be_said(desk):
    session = Session(desk)
    with pytest.raises(UsageError, match="reviewer's name"):
        session.undo()
    session.by = " \n "
    session.show(place_of(desk, "outlier"))
    with pytest.raises(UsageError, match="reviewer's name"):
        session.answer("alien")
    session.by = "Anna"
    with pytest.raises(UsageError, match="an answer that this item takes"):
        session.answer("a")
    with pytest.raises(UsageError, match="an item to draw on"):
        session.begin(0)
    with pytest.raises(UsageError, match="none that was begun"):
        session.save(half())
    session.show(place_of(desk, "suspect"))
    with pytest.raises(UsageError, match="an item to draw on"):
        session.begin(-1)  # the image has a mask
    label = session.begin(0)
    with pytest.raises(UsageError, match="nothing yet"):
        session.save(label)
    with pytest.raises(UsageError, match="a category from 0 to 1"):
        session.save(np.full_like(label, 7))
    assert said(desk, "Anna") == []
    session.by = "policy:keep"
    with pytest.raises(UsageError, match="a person's name"):
        session.answer("a")


def test_what_can_not_be_shown_can_be_left_out_and_nothing_else(desk):
    image = desk.items[place := place_of(desk, "uncertain")].image
    desk.run.path(image).unlink()
    session = Session(desk)
    session.by = "Anna"
    try:
        with pytest.raises(DataError) as failed:
            session.show(place)
        assert (session.place, session.panes) == (place, ())
        with pytest.raises(UsageError, match="an item that was seen"):
            session.answer("accept")
        assert session.answer("reject").startswith("Saved: leave the image out")
        hidden = Session(Desk(desk.run, desk.items, anonymous=True))
        assert ODD not in hidden.desk.told(failed.value)
    finally:
        restore(desk, image)


def restore(desk, image):
    """The data folder is all tests' own."""
    put(desk.run.index.root, image.removeprefix("unlabeled/").removesuffix(".png"), picture(5))


def test_through_the_queue_and_back(desk):
    session = Session(desk)
    session.by = "Anna"
    order = []
    while session.forward():
        order.append(session.place)
        session.answer(session.names[0] if session.names[0] != "edit" else "reject")
    assert order == list(range(len(desk.items)))
    assert (session.place, session.panes, session.described) == (None, (), {})
    assert session.progress == f"{len(order)} of {len(order)} answered, {len(order)} by you"
    assert session.undo() == f"Taken back: your answer to item {order[-1] + 1}."
    assert session.place == order[-1] and session.panes
    session.step(-1)
    assert session.place == order[-2]
    session.show(0)
    with pytest.raises(UsageError, match="the first one"):
        session.step(-1)
    other = Session(desk)
    other.by = "Ben"
    assert other.forward() and other.place == order[-1]  # what was taken back
    other.second = True
    assert other.forward() and other.place == 0
    assert other.undo() == "There is no answer of yours to take back."


def test_the_next_run_learns_from_what_was_saved(desk, folder):
    session = session_at(desk, "suspect")
    label = session.begin(0)
    label[10:20, 40:50], label[0, :4] = 1, 255
    session.save(label)
    session.show(place_of(desk, "uncertain"))
    whole = session.begin(-1)
    whole[:] = half(20)
    session.save(whole)
    data = read_json(folder.records / "index.json")["resolved"]["data"]
    again = ["split", "--data", data["root"], "--out", str(folder.root), "--folds", "2", "--redo"]
    assert main(again) == 0
    index = decided_index(folder, DataSpec.model_validate(data))
    expected = half(16)
    expected[10:20, 40:50], expected[0, :4] = 1, 255
    assert np.array_equal(index.only([PLAIN]).read_label(0), expected)
    assert np.array_equal(index.only([ODD]).read_label(0), half(20))
    assert ODD in set(scored(index, read_folds(folder.folds))["image"])  # drawn whole: an image like any other
    session.undo()
    assert main(again) == 0
    assert ODD not in decided_index(folder, DataSpec.model_validate(data)).labelled.images


def test_a_region_can_be_dragged_where_the_item_has_none(desk):
    session = session_at(desk, "conflict")
    assert session.asks_region("ignore")
    with pytest.raises(UsageError, match="a region"):
        session.answer("ignore")
    session.answer("ignore", region=(1, 2, 30, 900))
    assert said(desk, "Anna")[-1].region == (1, 2, 30, 48)
    suspect = session_at(desk, "suspect")
    assert not suspect.asks_region("ignore")
    assert suspect.item.region == BOX


def test_file_names_can_be_hidden(desk):
    session = Session(Desk(desk.run, desk.items, anonymous=True))
    for place in range(len(desk.items)):
        session.show(place)
        shown = " ".join(pane.title for pane in session.panes)
        assert not [image for image in desk.run.index.images if image in shown]


def test_a_rectangle_of_napari_as_a_box():
    """Pixel 2 reaches from 1.5 to 2.5: what is touched counts."""
    corners = np.array([[1.4, 1.6], [1.4, 3.5], [4.6, 3.5], [4.6, 1.6]])  # y, x
    assert box_of(corners) == (2, 1, 4, 6)
    assert box_of(corners[::-1]) == (2, 1, 4, 6)


def test_stripes_lie_on_what_is_ignored_alone():
    label = half(30)
    label[:20] = 255
    found = hatched(label)
    assert np.array_equal(found[20:], label[20:])
    assert set(np.unique(found[:20]).tolist()) == {254, 255}
    assert (found[:20] == 255).mean() == pytest.approx(3 / 8, abs=0.01)


def test_a_stack_reads_what_is_shown_and_no_more():
    read = []

    def row(number):
        read.append(number)
        return None if number == 2 else np.full((2, 3), number % 256, np.uint8)

    stack = Stack(row, (50_000, 4, 5), 254)
    expected = np.full((4, 5), 254, np.uint8)
    assert np.array_equal(stack[(2, slice(None), slice(None))], expected)
    expected[:2, :3] = 1
    assert np.array_equal(stack[1], expected)
    assert np.array_equal(stack[1:3, :, 0], [[1, 1, 254, 254], [254] * 4])
    assert read == [2, 1]
    assert stack[3:3].shape == (0, 4, 5)
    assert stack[-1][0, 0] == 49_999 % 256
    with pytest.raises(UsageError, match="labels to draw on"):
        stack[0] = 1


def test_a_stack_reads_anew_what_was_decided_since():
    state = [0]
    stack = Stack(lambda row: np.full((1, 1), state[0], np.uint8), (3, 1, 1), 254, stamp=lambda: state[0])
    assert stack[0].item() == 0
    state[0] = 7
    assert stack[0].item() == 7


@pytest.mark.parametrize("task", ["panoptic", "instances"])
def test_objects_of_a_run_as_stacks(tmp_path, task):
    """Two rocks with numbers above 255; objects are predicted of one image."""
    source = objects_run(tmp_path, task)
    write_label(source.folder, "predictions/instances/x1.png", half(10) * np.uint8(5))
    stacks, names = run_stacks(source), source.index.images
    first, bare = names.index("images/x1.png"), names.index("unlabeled/new0.png")
    assert {"images", "masks", "objects", "predicted objects"} == stacks.keys()
    assert stacks["objects"].dtype == stacks["predicted objects"].dtype == np.int32
    assert np.array_equal(stacks["objects"][first], half(12).astype(np.int32) * 300 + half(4))
    assert np.array_equal(stacks["predicted objects"][first], half(10).astype(np.int32) * 5)
    assert not stacks["objects"][bare].any() and not stacks["predicted objects"][bare].any()
    assert np.array_equal(stacks["masks"][first], half(12))
    assert (stacks["masks"][bare] == 254).all()


def test_objects_follow_what_is_decided(tmp_path):
    """A rock is drawn away from the others: it is an object, in the stack that is open, without opening it anew."""
    source = objects_run(tmp_path, "panoptic")
    stacks, place = run_stacks(source), source.index.images.index("images/x1.png")
    assert stacks["objects"][place][0, 30] == 0
    label = np.full((48, 64), 255, np.uint8)
    label[:5, 30:40] = 1
    files = {"where": "review/masks/w.png", "file": "review/masks/l.png"}
    write_label(source.folder, files["where"], np.where(label == 1, 255, 0).astype(np.uint8))
    write_label(source.folder, files["file"], label)
    drawn = Decision(image="images/x1.png", action="patch_mask", by="Anna", **files)
    append_decisions(source.folder.decisions, [drawn])
    expected = half(12).astype(np.int32) * 300 + half(4)
    expected[:5, 30:40] = 302
    assert np.array_equal(stacks["objects"][place], expected)
    assert (stacks["masks"][place][:5, 30:40] == 1).all()


def test_the_reader_takes_runs_alone(folder, tmp_path):
    assert reader_of(str(folder.root)) is not None
    assert reader_of(str(folder.decisions)) is not None
    assert reader_of(str(tmp_path)) is None
    assert reader_of(str(tmp_path / "gone")) is None
    assert reader_of([str(folder.root), str(folder.root)]) is None


def test_what_the_manifest_names_is_there():
    manifest = yaml.safe_load(files("maskwright.napari").joinpath("napari.yaml").read_text())
    for command in manifest["contributions"]["commands"]:
        module, _, name = command["python_name"].partition(":")
        text = files("maskwright.napari").joinpath(f"{module.rpartition('.')[2]}.py").read_text()
        assert f"class {name}(" in text or hasattr(importlib.import_module(module), name)
    known = {command["id"] for command in manifest["contributions"]["commands"]}
    used = [entry["command"] for kind in ("readers", "widgets") for entry in manifest["contributions"][kind]]
    assert set(used) == known
