"""What `python -m benchmarks objectness` counts, by hand."""

from __future__ import annotations

import argparse

import numpy as np
import pytest
from benchmarks.objectness import LOSSES, by_objectness, by_thresholds, objects_of, to_row
from PIL import Image

from benchmarks import objectness
from maskwright.artifacts import RunFolder, write_json
from maskwright.data.formats.files import name_of
from maskwright.data.store import ProbabilityStore
from maskwright.instances import FEATURES
from maskwright.instances.objectness import fit_objectness
from maskwright.instances.store import write_objects
from maskwright.pipeline.objectness import Judges


def objects(*rows):
    """Return (true, objectness, ln area, spread) of objects."""
    true, judged, area, spread = zip(*rows, strict=True)
    return np.array(true), np.array(judged, float), np.array(area, float), np.array(spread, float)


@pytest.fixture
def seeds():
    """Two images of one seed: ten true objects, and four false ones: large ones with little spread, unlike nothing."""
    true = [(True, 0.9 - 0.01 * k, 3 + 0.1 * k, 0.2) for k in range(10)]
    false = [(False, 0.1, 3.55, 0.2), (False, 0.2, 3.45, 0.2), (False, 0.3, 1.0, 0.2), (False, 0.4, 3.5, 0.9)]
    return [[objects(*true[:5], *false[:2]), objects(*true[5:], *false[2:])]]


def test_what_no_threshold_can_tell_objectness_can(seeds):
    ones = np.ones((1, 2))
    for loss in (0.0, 0.1):
        assert by_objectness(seeds).false_at(loss)(ones)[0] == 0
    # a least area of e³ and a largest spread of .2 take two of the false ones; the others lie among the true ones
    assert by_thresholds(seeds).false_at(0.0)(ones)[0] == 1
    assert by_thresholds(seeds).all_true.tolist() == [5, 5]


def test_more_may_be_lost_where_it_pays(seeds):
    """Losing half of the true objects, those below e^3.5, takes the false one at 3.45 with them."""
    plain = by_thresholds(seeds)
    ones = np.ones((1, 2))
    assert plain.false_at(0.5)(ones)[0] == 0.5
    assert plain.false_at(0.4)(ones)[0] == 1


def test_weights_are_those_of_images(seeds):
    plain = by_thresholds(seeds)
    assert plain.false_at(0.0)(np.array([[1.0, 0.0], [0.0, 1.0]])).tolist() == [2, 0]


def test_the_row_says_what_is_left(seeds):
    row = to_row(by_thresholds(seeds), by_objectness(seeds), 0.0, argparse.Namespace(seeds=[0]))
    assert row.figure == 0 and row.other == 1
    assert row.comparison.value == -1
    assert row.details["false objects an image without a threshold"] == 2
    assert row.details["true objects an image"] == 5


def test_a_judge_that_knows_the_area_alone_is_no_better_than_a_threshold_on_it():
    rng = np.random.default_rng(0)

    def image():
        true = rng.random(30) < 0.8
        area = np.where(true, rng.normal(5, 0.5, 30), rng.normal(3.9, 0.5, 30))
        return true, 1 / (1 + np.exp(-area)), area, rng.uniform(0.1, 0.4, 30)

    drawn = [[image() for _ in range(40)] for _ in range(2)]
    for loss in LOSSES:
        row = to_row(by_thresholds(drawn), by_objectness(drawn), loss, argparse.Namespace(seeds=[0, 1]))
        assert row.comparison.value >= 0 and not row.reached


def test_objects_of_a_run_are_judged_by_what_it_was_tuned_to(tmp_path):
    """Four boxes, of which two are true and agree more; the classifier is in tuned.json."""
    folder, ids, rng = RunFolder(tmp_path / "run"), np.zeros((24, 24), np.int32), np.random.default_rng(0)
    for number, (top, left) in enumerate([(1, 1), (1, 13), (13, 1), (13, 13)], start=1):
        ids[top : top + 8, left : left + 8] = number
    features = rng.normal(size=(80, len(FEATURES)))
    true = np.arange(80) % 2 == 0
    features[:, FEATURES.index("agreement")] += 4 * true
    judge = fit_objectness(features, true.astype(float), np.arange(80) // 4)
    write_json(folder.tuned, {"chain": [], **Judges(judge, {0: judge}).to_plain()})
    write_objects(ProbabilityStore(folder.store("pool", 0)), "a", ids, features[:4])
    Image.fromarray(np.where(ids % 2 == 1, ids, 0).astype(np.uint8)).save(tmp_path / "a.png")
    ((found, judged, area, spread),) = objects_of(folder.root, "pool", {"a": tmp_path / "a.png"})
    assert found.tolist() == [True, False, True, False]
    assert judged[found].min() > judged[~found].max()
    assert area == pytest.approx(features[:4, FEATURES.index("log_area")]) and len(spread) == 4


def test_objects_of_another_world_are_those_of_the_pool_by_its_names(tmp_path, monkeypatch):
    truths = tmp_path / "data" / "fluorescence" / "target" / "instances"
    truths.mkdir(parents=True)
    (truths / "one.png").touch()
    monkeypatch.setattr(objectness, "source_run", lambda world, seed, own: tmp_path / "run")
    monkeypatch.setattr(objectness, "objects_of", lambda run, part, own: [(run, part, own)])
    about = argparse.Namespace(data=tmp_path, keep=tmp_path, steps=None)
    assert objectness.foreign_objects("fluorescence", 0, about) == [
        (tmp_path / "run", "pool", {name_of("unlabeled/one.png"): truths / "one.png"})
    ]
