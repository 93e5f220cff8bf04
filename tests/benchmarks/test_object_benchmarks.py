"""What the benchmarks of clustering, losses, speed and workflows of objects count, by hand."""

from __future__ import annotations

import argparse
import itertools
import typing

import numpy as np
import pytest
import torch
from benchmarks.half_trained import Case
from benchmarks.object_worlds import near

from benchmarks import clustering, embedding_loss, object_speed, workflows
from maskwright.data.scenes import draw_layout
from maskwright.recipe.workflow import Workflow


def blobs(side: int) -> Case:
    """Return a map of two halves whose embeddings lie far apart, and a little noise."""
    truth = np.ones((side, side), np.int32)
    truth[:, side // 2 :] = 2
    noise = np.random.default_rng(0).normal(0, 0.02, (4, side, side))
    return Case((5 * (truth - 1)[None] + noise).astype(np.float32), truth)


def test_two_far_clusters_are_agreed_upon():
    case = blobs(16)
    points = clustering.points_of(case)
    found = clustering.agreement(points, clustering.sklearn_labels(points), case)
    assert found["clusters"] == 2
    assert {found[name] for name in ("same", "same_merged", "truth", "truth_scikit_learn")} == {1.0}
    mixed = clustering.agreement(points, np.arange(256) % 2, case)
    assert mixed["same"] < 0.1


@pytest.mark.parametrize(("seconds", "figure"), [((1, 4, 16), 1.0), ((1, 8, 16), 2.0), ((1, 2, 4), 1.0)])
def test_growth_is_that_of_the_dearest_size(seconds, figure, monkeypatch):
    took = dict(zip((64 * 128, 128 * 256, 256 * 512), seconds, strict=True))
    monkeypatch.setattr(clustering, "processor_seconds", lambda function: took[len(function.__defaults__[0])])
    monkeypatch.setattr(clustering, "plus", lambda points, sample=None: None)
    cases = {(h, w): [Case(np.zeros((2, h, w), np.float32), np.ones((h, w), np.int32))] for h, w in clustering.SIZES}
    row = clustering.growth(cases, 2)
    assert row.figure == figure
    assert row.reached == (figure <= 1.2)


@pytest.mark.parametrize("count", [1, 7, 20])
def test_the_one_hot_rival_is_the_same_loss(count):
    embeddings, ids = embedding_loss.inputs(48, count)
    assert sorted(ids.unique().tolist()) == list(range(count + 1))
    if count > 1:  # the rival's push of a single one is 0 / 0
        mine, rival = (f(embeddings, ids) for f in (embedding_loss.ours, embedding_loss.expanded))
        assert mine.item() == pytest.approx(rival.item(), rel=1e-4)
        slopes = [torch.autograd.grad(loss, embeddings, retain_graph=True)[0] for loss in (mine, rival)]
        assert torch.allclose(*slopes, atol=1e-5)


def test_a_ratio_is_reached_by_its_upper_end():
    bare = np.full(20, 2.0)
    assert object_speed.row(np.full(20, 2.2), bare, "s", 1.15).reached
    uneven = np.where(np.arange(20) < 9, 2.6, 2.0)
    found = object_speed.row(uneven, bare, "s", 1.15)
    assert found.comparison.value == pytest.approx(1.0)
    assert not found.reached


def test_every_workflow_has_the_same_steps_and_is_compared_with_one_network():
    shares = [workflows.shared_out(name, 1680, 840) for name in typing.get_args(Workflow)]
    counts = [(1, 1), (1, 4), (1, 2), (2, 2), (1, 7)]
    assert shares == [(1680 // first, 840 // then) for first, then in counts]

    def measured(*values):
        counts = np.array(values)
        return {"pq": lambda weights: weights @ counts / weights.sum(1), "groups": list("abcd"), "told": {"steps": 8}}

    done = {"all": [measured(0.4, 0.5, 0.6, 0.5)], "icm": [measured(0.5, 0.6, 0.7, 0.6)]}
    arguments = argparse.Namespace(seeds=[0], before=32, steps=16)
    plain, row = (workflows.to_row(name, "pq", done, arguments) for name in done)
    assert plain.figure == pytest.approx(0.5) and plain.comparison is None
    assert row.against == "all" and row.other == pytest.approx(0.5)
    assert (row.comparison.value, row.comparison.low, row.comparison.high) == pytest.approx((0.1, 0.1, 0.1))
    assert row.details["of each seed"] == [{"steps": 8}]
    assert row.unit == "mean of 1 seeds, 4 images of 4 places, 32 steps of a fold, and 16 of its round"


def test_a_true_object_is_in_pieces_where_it_holds_several_found_ones():
    true = np.array([[1, 1, 1, 1, 0, 2, 2, 2, 2, 0, 3, 3, 3, 0, 4, 4, 4, 4]])
    found = np.array([[1, 1, 2, 2, 0, 3, 3, 4, 4, 5, 5, 5, 5, 5, 0, 7, 7, 7]])  # 5: one and more than its object
    label = np.array([[1, 1, 2, 2, 0, 1, 1, 1, 1, 1, 1, 2, 1, 1, 1, 2, 2, 2]])
    assert workflows.pieces(true, found, label) == (1, 1)
    assert workflows.pieces(true, np.where(found == 4, 6, found), label) == (1, 1)  # ids may lack
    whole = np.where(found == 2, 1, found)
    assert workflows.pieces(true, whole, label) == (1, 0)
    outside = np.array([[1, 1, 1, 0, 0, 0]]), np.array([[1, 2, 2, 2, 2, 2]]), np.array([[1, 2, 2, 2, 2, 2]])
    assert workflows.pieces(*outside) == (0, 0)  # 2 lies mostly beside it


def test_of_drawn_things_that_hide_each_other_the_nearer_ones_stay():
    layout = draw_layout(np.random.default_rng(3))
    kept = near(layout).items
    assert 0 < len(kept) < len(layout.items)
    assert [item.z for item in kept] == sorted((item.z for item in kept), reverse=True)
    assert min(item.z for item in kept) == min(item.z for item in layout.items)
    for one, other in itertools.combinations(kept, 2):
        apart = abs(one.x / one.z - other.x / other.z)
        assert apart > 0.75 * (one.size / one.z + other.size / other.z)
