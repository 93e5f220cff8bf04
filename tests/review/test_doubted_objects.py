"""Predicted objects with low scores, in the queue."""

import numpy as np
import pytest

from make_copies import half
from make_review import objects_run, write_label
from maskwright.review import build_queue
from maskwright.review.answers import answers_of
from maskwright.review.doubted import doubted_objects

ROWS = "name,id,category,score\nunlabeled/new0,2,rock,0.9\nunlabeled/new0,9,rock,0.3\nunlabeled/new1,2,rock,0.5\n"


def told_apart(place, task, rows=ROWS):
    """Of new0 two rocks: the first 8 columns have the number 9, the next 12 the number 2; of new1 one that is sure."""
    run = objects_run(place, task)
    for k in range(2):
        write_label(run.folder, f"predictions/labels/unlabeled/new{k}.png", half(20))
        write_label(
            run.folder, f"predictions/instances/unlabeled/new{k}.png", half(20) * np.uint8(2) + half(8) * np.uint8(7)
        )
    (run.folder.predictions / "instances/segments.csv").write_text(rows)
    return run


@pytest.mark.parametrize(
    ("task", "answers"), [("panoptic", ["right", "edit", "reject"]), ("instances", ["right", "reject"])]
)
def test_the_least_certain_object_is_framed(tmp_path, task, answers):
    run = told_apart(tmp_path, task)
    (item,) = [item for item in build_queue(run) if item.kind == "objectness"]
    assert (item.image, item.region) == ("unlabeled/new0.png", (0, 0, 8, 48))
    assert item.score == pytest.approx(0.1 + 0.7)
    assert item.detail == "1 of 2 objects have a score below 0.5; the framed one has the least, 0.30"
    assert [answer.name for answer in answers_of(item, target=run.index.target)] == answers


@pytest.mark.parametrize(
    "rows", ["", "name,id\nunlabeled/new0,2\n", "name,id,category,score\nunlabeled/new0,x,rock,.1\n"]
)
def test_a_damaged_list_asks_nothing(tmp_path, rows):
    assert doubted_objects(told_apart(tmp_path, "panoptic", rows)) == {}


def test_without_its_map_no_object_is_framed(tmp_path):
    run = told_apart(tmp_path, "panoptic")
    (run.folder.predictions / "instances/unlabeled/new0.png").unlink()
    (item,) = [item for item in build_queue(run) if item.kind == "objectness"]
    assert item.region is None
