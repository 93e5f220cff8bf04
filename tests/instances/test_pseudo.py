"""What is learned from predicted objects, by hand: which are kept, what they vote, what becomes of the others."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from maskwright.data.images import read_ids
from maskwright.instances import Objectness
from maskwright.instances.pseudo import ObjectLabels, object_labels
from maskwright.pipeline import labelling
from maskwright.recipe.instances import InstancesSpec
from maskwright.recipe.selftrain import ObjectLabelsSpec, PseudoLabelsSpec
from maskwright.selftrain import PrecisionTable
from maskwright.types import IGNORE, Categories, Category

THINGS = [1, 2]
CHANCES = np.array([0.9, 0.2])


def scene():
    """Return said, label and objects (6, 12): two objects of thing 1, whose first row is not sure enough."""
    said = np.zeros((6, 12), np.uint8)
    said[1:4, 1:5] = said[1:4, 7:11] = 1
    label = said.copy()
    label[1] = IGNORE
    objects = np.zeros((6, 12), np.int32)
    objects[1:4, 1:5], objects[1:4, 7:11] = 1, 2
    return said, label, objects


def labelled(chances=CHANCES, stability=None, voters=None, **wanted):
    said, label, objects = scene()
    wanted = ObjectLabelsSpec(**wanted)
    options = {"stability": stability, "voters": voters}
    return object_labels(label, said, objects, chances, THINGS, wanted, InstancesSpec(), **options)


def test_an_object_that_is_hardly_true_is_blanked_and_the_other_fills_its_own_pixels():
    _, label, objects = scene()
    found = labelled()
    expected = label.copy()
    expected[1:4, 7:11] = IGNORE  # the second object: 0.2 is below 0.5
    expected[1, 1:5] = 1  # of the first, 8 of 12 pixels vote for thing 1, the other 4 are filled
    assert np.array_equal(found.label, expected)
    assert np.array_equal(found.ids, np.where(objects == 1, 1, 0))
    assert (found.found[1], found.kept[1], found.voted[1]) == (2, 1, 4)
    assert found.found.sum() == 2 and found.voted.sum() == 4


def test_what_nobody_asks_for_changes_nothing():
    _, label, objects = scene()
    found = labelled(objectness=None, stable=None, votes="none")
    assert np.array_equal(found.label, label)
    assert np.array_equal(found.ids, objects)
    assert (found.found[1], found.kept[1], found.voted.sum()) == (2, 2, 0)


def test_pixels_of_the_others_may_keep_their_category():
    _, label, objects = scene()
    found = labelled(rest="unlabelled", votes="none")
    assert np.array_equal(found.label, label)  # nothing is blanked …
    assert np.array_equal(found.ids, np.where(objects == 1, 1, 0))  # … and nobody knows of which object they are


@pytest.mark.parametrize(
    ("wanted", "stability", "kept"),
    [
        ({"stable": 0.6, "objectness": None}, [0.59, 0.6], [2]),
        ({"stable": 0.6}, [0.7, 0.7], [1]),
        ({"stable": 0.6}, [0.1, 0.9], []),
        ({"objectness": 0.2}, [0.0, 0.0], [1, 2]),
        ({"objectness": 0.95}, [1.0, 1.0], []),
    ],
)
def test_an_object_must_be_likely_and_stable(wanted, stability, kept):
    found = labelled(stability=np.array(stability), **wanted)
    assert sorted(set(found.ids[found.ids > 0].tolist())) == kept
    assert found.kept[1] == len(kept)


def test_true_objects_vote_across_categories():
    # one true object over both predicted ones, of which 8 pixels say thing 1 and, here, 8 say thing 2, after one of the
    # latter was found not sure enough: 8 against 7, all of it becomes thing 1
    said, label, objects = scene()
    said[1:4, 7:11] = 2
    label[2:4, 7:11], label[3, 10] = 2, IGNORE
    voters = np.zeros((6, 12), np.int32)
    voters[1:4, 1:5] = voters[1:4, 7:11] = 5
    wanted = ObjectLabelsSpec(objectness=None, votes="true")
    found = object_labels(label, said, objects, CHANCES, THINGS, wanted, InstancesSpec(), voters=voters)
    assert (found.label[voters > 0] == 1).all()
    assert found.voted[1] == 4 + 12 and found.voted[2] == 0  # those that were blank, and all of the second
    assert (found.found[1], found.found[2]) == (found.kept[1], found.kept[2]) == (2, 0)  # as what they are learned


def test_an_object_across_categories_mends_the_label():
    said, label, objects = scene()
    said[1:4, 4] = label[2:4, 4] = 2  # a fourth of the first object is taken for thing 2
    wanted = ObjectLabelsSpec(objectness=None)
    found = object_labels(label, said, objects, CHANCES, THINGS, wanted, InstancesSpec(across=True))
    assert (found.label[objects > 0] == 1).all() and np.array_equal(found.ids, objects)
    assert found.before[1, 4] == label[1, 4] and (found.before[objects == 0] == found.label[objects == 0]).all()
    assert found.voted[1] == 8 + 2  # two rows of four that were not sure enough, and two pixels of thing 2
    apart = object_labels(label, said, objects, CHANCES, THINGS, wanted, InstancesSpec())
    assert (apart.label[1:4, 4] == IGNORE).all() and not apart.ids[1:4, 4].any()  # a thing, and of no object


def test_objects_at_half_the_size_and_no_object_at_all():
    said, label, _ = scene()
    small = np.zeros((3, 6), np.int32)
    small[0:2, 0:3], small[0:2, 3:6] = 1, 2  # wider than the pixels of thing 1, which alone they can have
    wanted, spec = ObjectLabelsSpec(votes="none"), InstancesSpec()
    found = object_labels(label, said, small, CHANCES, THINGS, wanted, spec)
    assert found.ids.shape == (6, 12) and set(np.unique(found.ids)) == {0, 1}
    assert np.array_equal(found.ids > 0, (said == 1) & (np.arange(12) < 6))
    none = np.zeros((6, 12), np.int32)
    nothing = object_labels(label, said, none, np.zeros(0), THINGS, wanted, spec)
    assert np.array_equal(nothing.label, np.where(said == 1, IGNORE, label))  # things that are of no object
    assert not nothing.ids.any() and not nothing.found.any()
    told = wanted.model_copy(update={"rest": "unlabelled"})
    assert np.array_equal(object_labels(label, said, none, np.zeros(0), THINGS, told, spec).label, label)


def test_specks_of_things_are_not_learned_as_things():
    """What no object is made of, being too small for one, is no more a thing than what was rejected."""
    said, label, objects = scene()
    said[5, 11] = label[5, 11] = 1
    said[5, 0] = label[5, 0] = 3  # stuff
    found = object_labels(label, said, objects, CHANCES, THINGS, ObjectLabelsSpec(objectness=None), InstancesSpec())
    assert found.label[5, 11] == IGNORE and found.label[5, 0] == 3
    assert (found.label[objects > 0] == 1).all()


def test_an_object_is_counted_as_what_it_is_learned_as():
    """60 pixels of it are more like a 1, none of which is sure, and 40 are a sure 2: it is learned as a 2."""
    said = np.repeat([[1, 2, 0]], [6, 4, 10], axis=1).repeat(10, 0).astype(np.uint8)
    objects = np.where(said > 0, 1, 0).astype(np.int32)
    label = np.where(said == 1, np.uint8(IGNORE), said)
    spec = InstancesSpec(across=True)
    found = object_labels(label, said, objects, np.array([0.9]), [1, 2], ObjectLabelsSpec(), spec)
    assert (found.label[objects > 0] == 2).all() and found.kept[:3].tolist() == [0, 0, 1] == found.found[:3].tolist()
    assert np.array_equal(found.before, label) and found.voted[2] == 60
    left = object_labels(label, said, objects, np.array([0.1]), [1, 2], ObjectLabelsSpec(), spec)
    assert left.found[:3].tolist() == [0, 1, 0] and not left.kept.any()


def test_the_ledger_tells_what_is_kept_from_what_votes_moved(tmp_path, monkeypatch):
    """60 pixels of thing 1 and 40 of thing 2 are learned as a 1: no more of a thing is kept than there is."""
    said = np.repeat([[1, 2, 0]], [6, 4, 10], axis=1).repeat(10, 0).astype(np.uint8)
    label = np.where(said == 2, np.uint8(1), said)
    counts = {name: np.zeros(256, np.int64) for name in ("found", "kept", "voted")}
    found = ObjectLabels(label=label, before=said, ids=(said > 0).astype(np.int32), **counts)
    monkeypatch.setattr(labelling, "_objects", lambda *about: found)
    likely = np.where(np.arange(3)[:, None, None] == said, 0.98, 0.01).astype(np.float32)
    job = SimpleNamespace(
        soft=SimpleNamespace(read=lambda name: likely),
        method=PseudoLabelsSpec(),
        named=lambda kind: tmp_path / kind,
        whole=SimpleNamespace(categories=Categories(tuple(Category(i, f"c{i}", values=(i,)) for i in range(3)))),
    )
    about = {"image": "a.png", "used": True}
    rows = labelling._label_one(job, said.shape, np.full(3, 0.5), PrecisionTable.of(3), about, Objectness())
    assert [row["kept"] for row in rows] == [1, 1, 1]
    assert np.array_equal(read_ids(tmp_path / "labels" / "a.png"), label)
