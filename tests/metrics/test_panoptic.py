"""PQ against cityscapesScripts (panopticapi's logic) on drawn pairs, PQ† against torchmetrics, and worked values."""

from __future__ import annotations

import math

import numpy as np
import pytest
from panoptic_pairs import THINGS, N, drawn_pair, official, plain_pair

from maskwright.errors import DataError
from maskwright.metrics import (
    PANOPTIC_SUMMARIES,
    PanopticCounts,
    Segments,
    panoptic_counts,
    panoptic_quality,
    panoptic_quality_dagger,
    precision_at_iou_50,
    recognition_quality,
    segment_overlaps,
    segmentation_quality,
)

NAN = math.nan
STUFF = tuple(c for c in range(N) if c not in THINGS)


def counts_of(truth, true_segments, prediction, segments, n=N, **options):
    table = segment_overlaps(np.asarray(truth), np.asarray(prediction))
    return panoptic_counts(table, true_segments, segments, n, **options)


def stacked(counts):
    return np.array([counts.iou, counts.tp, counts.fp, counts.fn])


def test_counts_and_means_are_those_of_the_official_tool(tmp_path):
    pairs = [drawn_pair(seed) for seed in range(60)]
    ours = PanopticCounts.stack([counts_of(*pair) for pair in pairs])
    expected, tool, stat, categories = official(tmp_path, pairs)
    pooled = ours.pooled()
    assert np.allclose(stacked(pooled)[:, 0], expected, rtol=0, atol=1e-9)
    assert expected.min() > 0  # all kinds are there
    averages = tool.average_pq(stat, categories)
    for part, positions in (("All", range(N)), ("Things", THINGS), ("Stuff", STUFF)):
        for name in ("pq", "sq", "rq"):
            value = PANOPTIC_SUMMARIES[name].function(ours, positions, THINGS)
            assert value == pytest.approx([averages[part][name]], abs=1e-9)


def test_golden_counts_of_panopticapi():
    # panopticapi 7bb4655 itself, `pq_compute_single_core` on `plain_pair(0)` to `plain_pair(7)`
    golden = [
        [5.057823285503187, 4.285273285045286, 5.842806830976656, 2.5164365555278825, 4.1744444067670585],
        [8, 7, 10, 4, 7],
        [18, 10, 8, 4, 7],
        [8, 9, 6, 4, 9],
    ]
    ours = PanopticCounts.stack([counts_of(*plain_pair(number)) for number in range(8)])
    assert np.allclose(stacked(ours.pooled())[:, 0], golden, rtol=0, atol=1e-9)


@pytest.mark.parametrize("seed", range(12))
def test_counts_of_single_images_are_those_of_the_official_tool(tmp_path, seed):
    pair = drawn_pair(1000 + seed)
    assert np.allclose(stacked(counts_of(*pair)), official(tmp_path, [pair])[0], rtol=0, atol=1e-9)


def test_the_drawn_pairs_tell_the_two_rules_about_crowds_apart():
    pairs = [drawn_pair(seed) for seed in range(60)]
    last, together = (sum(counts_of(*pair, crowd=crowd).fp.sum() for pair in pairs) for crowd in ("panopticapi", "all"))
    assert together < last


def gold():
    # methods.md 7.1, from torchmetrics' docstring, pixels (category, instance):
    # prediction (0,0)(0,1)(6,0)(7,0)(0,2)(1,0), truth (0,1)(0,0)(6,0)(7,0)(6,0)(void)
    truth, prediction = [[1, 2, 3, 4, 3, 0]], [[1, 2, 3, 4, 5, 6]]
    return truth, Segments.of([1, 2, 3, 4], [0, 0, 6, 7]), prediction, Segments.of(range(1, 7), [0, 0, 6, 7, 0, 1])


def test_gold():
    # class 0: TP 2, FP 1 -> 2 / 2.5 = .8; class 6: IoU 1/2 is no match, FP 1, FN 1 -> 0, PQ† .5; class 7: 1;
    # class 1: its only prediction is on void -> skipped. PQ (.8 + 0 + 1) / 3, PQ† (.8 + .5 + 1) / 3
    counts = counts_of(*gold(), n=8)
    assert panoptic_quality(counts)[[0, 6, 7]] == pytest.approx([0.8, 0, 1])
    assert np.isnan(panoptic_quality(counts)[[1, 2, 3, 4, 5]]).all()
    assert panoptic_quality_dagger(counts, [0, 1])[[0, 6, 7]] == pytest.approx([0.8, 0.5, 1])
    both = PanopticCounts.stack([counts])
    assert PANOPTIC_SUMMARIES["pq"].function(both, range(8), [0, 1]) == pytest.approx([0.6])
    assert PANOPTIC_SUMMARIES["pq_dagger"].function(both, range(8), [0, 1]) == pytest.approx([0.766667], abs=1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_pq_and_pq_dagger_are_those_of_torchmetrics_without_void(seed):
    import torch
    from torchmetrics.functional.detection import modified_panoptic_quality
    from torchmetrics.functional.detection import panoptic_quality as torch_pq

    rng = np.random.default_rng(seed)
    semantic = rng.integers(3, size=(2, 4, 5)).repeat(4, 1).repeat(4, 2)  # 0 thing, 1 and 2 stuff
    semantic[1] = np.where(rng.random(semantic[0].shape) < 0.3, semantic[1], semantic[0])
    instance = np.where(semantic == 0, rng.integers(2, size=(2, 2, 5)).repeat(8, 1).repeat(4, 2), 0)
    ids = 1 + semantic + 3 * instance
    segments = [Segments.of(found := np.unique(one), (found - 1) % 3) for one in ids]
    counts = counts_of(ids[0], segments[0], ids[1], segments[1], n=3)
    pair = [torch.from_numpy(np.stack([semantic[k], instance[k]], -1))[None] for k in (1, 0)]
    both = PanopticCounts.stack([counts])
    for name, oracle in (("pq", torch_pq), ("pq_dagger", modified_panoptic_quality)):
        expected = float(oracle(*pair, things={0}, stuffs={1, 2}))
        assert PANOPTIC_SUMMARIES[name].function(both, range(3), [0]) == pytest.approx([expected], abs=1e-6)


# one category; truth, crowd ids, prediction -> tp, fp, fn, iou
@pytest.mark.parametrize(
    ("truth", "crowd", "prediction", "expected"),
    [
        ([0, 0, 0, 0], [], [0, 0, 0, 0], (0, 0, 0, 0)),  # all void
        ([0, 0, 0, 0], [], [3, 3, 3, 3], (0, 0, 0, 0)),  # predicted on void alone
        ([0, 0, 1, 1], [], [3, 3, 3, 0], (0, 0, 1, 0)),  # union 1 + 2 - 1, IoU 1/2; 2/3 on void: left out; missed
        ([0, 0, 1, 1], [], [3, 3, 3, 3], (1, 0, 0, 1)),  # void is taken out of the union: 4 + 2 - 2 - 2
        ([1, 1, 1, 1], [], [3, 3, 3, 0], (1, 0, 0, 0.75)),  # void of the prediction stays in the union
        ([0, 1, 1, 1], [], [3, 3, 0, 0], (0, 1, 1, 0)),  # IoU 1/3; half of it on void is not more than half
        ([1, 1, 1, 2], [1], [3, 3, 3, 3], (0, 0, 1, 0)),  # on a crowd: left out; 2 missed, IoU 1/4
        ([1, 1, 2, 2], [1], [3, 3, 4, 4], (1, 0, 0, 1)),  # a crowd is never missed
        ([1, 1, 2, 2], [], [3, 3, 3, 3], (0, 1, 2, 0)),  # ties of IoU 1/2 match nothing
        ([1, 1, 1, 1], [], [0, 0, 0, 0], (0, 0, 1, 0)),
    ],
)
def test_rules_by_hand(truth, crowd, prediction, expected):
    true, guessed = ([i for i in np.unique(one) if i] for one in (truth, prediction))
    counts = counts_of(
        [truth], Segments.of(true, 0, crowd=np.isin(true, crowd)), [prediction], Segments.of(guessed, 0), n=1
    )
    assert [counts.tp[0], counts.fp[0], counts.fn[0], counts.iou[0]] == pytest.approx(expected)


def test_of_several_crowds_the_official_tools_remember_the_last_listed():
    # the prediction is on crowd 1 (listed last: left out) or on crowd 2 (wrong, unless all crowds count)
    truth, prediction = [[1, 1, 2, 2]], [[3, 3, 4, 4]]
    crowds = Segments.of([2, 1], 0, crowd=[True, True])
    assert counts_of(truth, crowds, prediction, Segments.of([3, 4], 0), n=1).fp.tolist() == [1]
    assert counts_of(truth, crowds, prediction, Segments.of([3, 4], 0), n=1, crowd="all").fp.tolist() == [0]


def test_a_crowd_of_another_category_leaves_nothing_out():
    counts = counts_of([[1, 1]], Segments.of([1], 1, crowd=[True]), [[3, 3]], Segments.of([3], 0), n=2)
    assert counts.fp.tolist() == [1, 0]


def test_background_of_instance_maps_is_not_void():
    one = Segments.of([1], 0)
    assert counts_of([[0, 1]], one, [[1, 0]], one, n=1).fp.tolist() == [0]
    assert counts_of([[0, 1]], one, [[1, 0]], one, n=1, zero="background").fp.tolist() == [1]
    void = segment_overlaps(np.array([[0, 1]]), np.array([[1, 0]]), void=np.array([[True, False]]))
    assert panoptic_counts(void, one, one, 1, zero="background").fp.tolist() == [0]


def test_a_listed_true_segment_without_pixels_is_missed():
    assert counts_of([[1]], Segments.of([1, 2], 0), [[1]], Segments.of([1], 0), n=1).fn.tolist() == [1]


@pytest.mark.parametrize(
    ("true_segments", "segments", "message"),
    [
        (Segments.of([], 0), Segments.of([2], 0), r"truth to be listed.*\[1\] in the map only"),
        (Segments.of([1], 0), Segments.of([], 0), r"prediction to be listed.*\[2\] in the map only"),
        (Segments.of([1], 0), Segments.of([2, 7], 0), r"to have pixels, got none for \[7\]"),
        (Segments.of([1], 3), Segments.of([2], 0), r"positions 0\.\.1, got \[3\] in the truth"),
        (Segments.of([1], 0), Segments.of([2], -1), r"got \[-1\] in the prediction"),
    ],
)
def test_maps_and_lists_that_do_not_fit(true_segments, segments, message):
    with pytest.raises(DataError, match=message) as caught:
        counts_of([[1, 1]], true_segments, [[2, 2]], segments, n=2, where="a/b.png")
    assert "where: a/b.png" in str(caught.value)


def test_scores_of_empty_cases():
    # nothing; wrong alone; missed alone; 1 right with IoU .8, 1 wrong, 2 missed
    counts = PanopticCounts(*np.array([[0, 0, 0, 0.8], [0, 0, 0, 1], [0, 2, 0, 1], [0, 0, 2, 2], [0, 0, 0.4, 1.2]]))
    known = [NAN, 0, 0]
    assert np.allclose(panoptic_quality(counts), [*known, 0.8 / 2.5], equal_nan=True)
    assert np.allclose(segmentation_quality(counts), [*known, 0.8], equal_nan=True)
    assert np.allclose(recognition_quality(counts), [*known, 1 / 2.5], equal_nan=True)
    assert np.allclose(precision_at_iou_50(counts), [*known, 0.5], equal_nan=True)
    # stuff: .4 over 2 true segments, 1.2 over 3; without truth no value. The last is a thing
    assert np.allclose(panoptic_quality_dagger(counts, [3]), [NAN, NAN, 0.2, 0.8 / 2.5], equal_nan=True)
    assert np.allclose(panoptic_quality_dagger(counts, []), [NAN, NAN, 0.2, 1.2 / 3], equal_nan=True)


@pytest.mark.parametrize("name", sorted(PANOPTIC_SUMMARIES))
def test_contract_of_a_summary(name):
    summary = PANOPTIC_SUMMARIES[name]
    assert summary.name == name
    assert summary.definition.endswith(".")
    perfect = drawn_pair(3)[:2]
    perfect = (perfect[0], Segments.of(perfect[1].ids, perfect[1].categories))
    both = PanopticCounts.stack([counts_of(*perfect, *perfect)])
    assert summary.function(both, range(N), THINGS) == pytest.approx([1])
    images = PanopticCounts.stack([counts_of(*drawn_pair(seed)) for seed in range(5)])
    repeats = [2, 0, 1, 3, 0]
    again = PanopticCounts.stack([counts_of(*drawn_pair(seed)) for seed in np.repeat(range(5), repeats)])
    values = summary.function(images, range(N), THINGS, np.array([np.ones(5), repeats]))
    expected = [summary.function(one, range(N), THINGS)[0] for one in (images, again)]
    assert values == pytest.approx(expected, abs=1e-12)
    assert (values >= 0).all() and (values <= 1).all()
    nothing = PanopticCounts(*np.zeros((5, 1, N)))
    assert np.isnan(summary.function(nothing, range(N), THINGS)).all()


def test_counts_add_up():
    pairs = [counts_of(*drawn_pair(seed)) for seed in range(3)]
    assert np.allclose(stacked(pairs[0] + pairs[1] + pairs[2]), stacked(PanopticCounts.stack(pairs).pooled())[:, 0])
    with pytest.raises(AssertionError, match="one shape"):
        PanopticCounts(*(np.zeros(2),) * 4, np.zeros(3))
