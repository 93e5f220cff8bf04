"""That a prediction looks right: said of those that can't be learned from, too."""

import shutil

import numpy as np
import pytest

from make_copies import half
from make_review import ALONE, ODD, lines, objects_run, place_of, reply, reviewed, write_label
from maskwright.data.store import ProbabilityStore
from maskwright.errors import UsageError
from maskwright.pipeline.decide import settled_state
from maskwright.review import Desk, build_queue
from maskwright.review.answers import answers_of


def names_of(desk, place):
    return [answer.name for answer in answers_of(desk.items[place], target=desk.run.index.target)]


def test_it_settles_the_item_and_changes_nothing_else(folder):
    """A run without pseudo-labels: the one prediction of an image without a mask is that of all folds."""
    shutil.rmtree(folder.root / "round-1")
    run = reviewed(folder)
    desk = Desk(run, build_queue(run))
    place, before = place_of(desk, "uncertain", ODD), settled_state(folder.decisions)
    desk.decide(reply(desk, place, "right"))
    (line,) = lines(desk)
    assert (line.image, line.action, line.answer, line.reason) == (ODD, "confirm", "right", "it looks right")
    assert settled_state(folder.decisions) == before
    again = Desk(run, build_queue(run))
    assert again.keys == desk.keys
    assert again.next("Ben") != place
    write_label(folder, desk.items[place].suggestions[0].file, half(41))  # another prediction is another question
    assert desk.keys[place] not in Desk(run, build_queue(run)).keys
    with pytest.raises(UsageError, match="labels as they were shown"):
        desk.decide(reply(desk, place, "right", by="Ben"))


def test_what_can_be_learned_from_is_accepted(desk):
    assert names_of(desk, place_of(desk, "uncertain")) == ["accept", "edit", "reject"]
    assert names_of(desk, place_of(desk, "disagreement", ALONE)) == ["a", "b", "edit", "reject"]


def test_of_objects(tmp_path):
    """One image has the prediction of all folds, the other two pseudo-labels that differ: none is learned."""
    run = objects_run(tmp_path, "instances")
    store = ProbabilityStore(run.folder.store("pool", 0))
    store.write("unlabeled/new0", np.full((2, 48, 64), 0.5, np.float32))
    write_label(run.folder, "predictions/labels/unlabeled/new0.png", half(20))
    for fold in (0, 1):
        write_label(run.folder, f"round-1/pseudo/fold-{fold}/labels/unlabeled/new1.png", half(10 + 20 * fold))
    desk = Desk(run, build_queue(run))
    unsure, apart = place_of(desk, "uncertain"), place_of(desk, "disagreement")
    assert names_of(desk, unsure) == ["right", "reject"]
    assert names_of(desk, apart) == ["a", "b", "reject"]
    desk.decide(reply(desk, unsure, "right"))
    desk.decide(reply(desk, apart, "b"))
    told = [(line.image, line.action, line.answer) for line in lines(desk)]
    assert told == [("unlabeled/new0.png", "confirm", "right"), ("unlabeled/new1.png", "confirm", "b")]
