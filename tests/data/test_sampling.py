"""The stream of images: each once a turn or as often as its weight says, the same from every entry."""

from __future__ import annotations

import itertools
import typing

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from maskwright.data.index import build_index
from maskwright.data.sampling import (
    SAMPLINGS,
    Centring,
    StreamSampler,
    count_pixels,
    inverse_frequency,
    isolation,
    plan_turn,
    rare_class_probabilities,
    repeat_factors,
)
from maskwright.errors import RecipeError
from maskwright.recipe.data import DataSpec
from maskwright.recipe.sampling import (
    BalancedSpec,
    OversampleSpec,
    RareClassSpec,
    RepeatFactorSpec,
    SamplingSpec,
    UniformSpec,
)
from maskwright.types import IGNORE, Categories, Category

NAMES = ("background", "soil", "rock")
CATEGORIES = Categories(tuple(Category(i, name) for i, name in enumerate(NAMES)))
PIXELS = np.array([[60, 40, 0], [100, 0, 0], [50, 40, 10], [0, 0, 0], [90, 10, 0]])
"""Five images: background in four, soil in three, rock in one, one all ignored; 300, 90 and 10 pixels."""


def stream(images, length, seed, epochs, weights=None):
    sampler = StreamSampler(images, length, seed, weights=weights)
    draws = []
    for epoch in range(epochs):
        sampler.set_epoch(epoch)
        part = list(sampler)
        assert len(part) == len(sampler) == length
        draws += part
    return draws


@given(st.integers(1, 12), st.integers(1, 30), st.integers(0, 5))
def test_every_image_comes_once_before_any_comes_twice(images, length, seed):
    draws = stream(images, length, seed, 4)
    assert [n for n, _ in draws] == list(range(4 * length))
    rows = [row for _, row in draws]
    for start in range(0, len(rows) - images + 1, images):
        assert sorted(rows[start : start + images]) == list(range(images))


@given(st.integers(1, 12), st.integers(0, 5))
def test_the_stream_does_not_depend_on_where_epochs_end(images, seed):
    assert stream(images, 6, seed, 4) == stream(images, 8, seed, 3) == stream(images, 24, seed, 1)


def test_an_epoch_can_be_entered_directly_and_twice():
    sampler = StreamSampler(5, 7, 1)
    sampler.set_epoch(3)
    assert list(sampler) == list(sampler) == stream(5, 7, 1, 4)[21:]


def test_turns_and_seeds_have_orders_of_their_own():
    rows = [row for _, row in stream(50, 100, 0, 1)]
    assert rows[:50] != rows[50:]
    assert rows != [row for _, row in stream(50, 100, 1, 1)]


def test_the_uniform_stream_is_what_it_was():
    """Golden: the draws of the version without weights, so that old runs resume and old numbers repeat."""
    sampler = StreamSampler(7, 20, 3)
    sampler.set_epoch(1)
    assert [row for _, row in sampler] == [5, 1, 6, 5, 3, 2, 4, 0, 4, 2, 3, 6, 0, 1, 5, 4, 0, 2, 6, 5]
    assert [row for _, row in StreamSampler(5, 12, 1000)] == [3, 2, 1, 4, 0, 2, 0, 1, 3, 4, 2, 4]


# ---- weights


def turns(weights, count, seed=0):
    """Return (turns, entries): how often each entry came in each turn."""
    weights = np.asarray(weights, float)
    sampler = StreamSampler(len(weights), count * max(1, round(weights.sum())), seed, weights=weights)
    rows = np.array([row for _, row in sampler]).reshape(count, -1)
    return np.stack([np.bincount(turn, minlength=len(weights)) for turn in rows])


@given(st.lists(st.floats(0, 5), min_size=1, max_size=9).filter(lambda w: sum(w) > 0.5), st.integers(0, 3))
def test_each_comes_as_often_as_its_weight_rounded_either_way(weights, seed):
    expected = np.array(weights) * max(1, round(sum(weights))) / sum(weights)
    found = turns(weights, 5, seed)
    assert (found >= np.floor(expected - 1e-9)).all()
    assert (found <= np.ceil(expected + 1e-9)).all()


def test_whole_weights_are_exact():
    assert (turns([1, 3, 0, 2], 20) == [1, 3, 0, 2]).all()


def test_parts_of_weights_are_means_over_turns():
    # .3 of a draw a turn comes in 30 % of the turns, never twice; 5 standard deviations of 2000 turns are .051
    weights = np.array([0.3, 1.7, 1.0, 0.5, 0.5])
    found = turns(weights, 2000)
    assert found.mean(0) == pytest.approx(weights, abs=0.052)


def test_the_weighted_stream_does_not_depend_on_where_epochs_end():
    weights = np.array([0.4, 2.2, 1.4])
    assert stream(3, 6, 2, 4, weights) == stream(3, 8, 2, 3, weights) == stream(3, 24, 2, 1, weights)
    assert stream(3, 24, 2, 1, weights) != stream(3, 24, 3, 1, weights)


def test_the_order_within_a_turn_is_mixed():
    rows = [row for _, row in stream(40, 120, 0, 1, np.full(40, 3.0))]
    assert rows != sorted(rows)
    assert sum(a == b for a, b in itertools.pairwise(rows)) < 12  # 119 · 2/119 = 2 expected


# ---- the kinds


def test_the_table_has_every_kind_of_the_union():
    assert set(SAMPLINGS) == set(typing.get_args(typing.get_args(SamplingSpec)[0]))


ALL = [UniformSpec(), OversampleSpec(classes=("rock",)), RepeatFactorSpec(), BalancedSpec(), RareClassSpec()]


def expected_times(spec, pixels=PIXELS):
    """Return how often each image comes per draw, in the mean over turns, as the stream has it."""
    turn = plan_turn(spec, pixels, CATEGORIES)
    weights = np.ones(len(turn)) if turn.weights is None else turn.weights
    return np.bincount(turn.rows, weights, minlength=len(pixels)) / weights.sum()


@pytest.mark.parametrize("spec", ALL, ids=lambda spec: spec.kind)
@pytest.mark.parametrize("pixels", [np.zeros((3, 3), int), np.array([[5, 0, 0]]), np.array([[0, 0, 9]] * 4)])
def test_every_kind_gives_a_stream_whatever_the_images_hold(spec, pixels):
    turn = plan_turn(spec, pixels, CATEGORIES)
    rows = turn.rows[[entry for _, entry in StreamSampler(len(turn), 50, 0, weights=turn.weights)]]
    assert set(rows.tolist()) == set(range(len(pixels)))
    assert len(turn.rows) == len(turn.category) == len(turn.copy) == len(turn)


def test_uniform_has_no_weights():
    turn = plan_turn(UniformSpec(), PIXELS, CATEGORIES)
    assert turn.weights is None
    assert turn.rows.tolist() == [0, 1, 2, 3, 4]


def test_oversampling_adds_copies_of_the_rare_images():
    # rock is in image 2 alone, soil in 0, 2 and 4: five plain ones and two copies of each
    turn = plan_turn(OversampleSpec(classes=("rock", "soil"), copies=2), PIXELS, CATEGORIES)
    assert turn.rows.tolist() == [0, 1, 2, 3, 4, 0, 2, 4]
    assert turn.copy.tolist() == [False] * 5 + [True] * 3
    entries = [e for _, e in StreamSampler(len(turn), 11, 4, weights=turn.weights)]
    assert sorted(entries) == [0, 1, 2, 3, 4, 5, 5, 6, 6, 7, 7]
    assert expected_times(OversampleSpec(classes=("rock",), copies=3)) == pytest.approx(np.array([1, 1, 4, 1, 1]) / 8)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, [0, 1, 2, 255]),
        ({"isolate": "background"}, [0, 0, 2, 255]),
        ({"isolate": "background", "background": "soil"}, [1, 1, 2, 255]),
        ({"isolate": "ignore"}, [255, 255, 2, 255]),
    ],
)
def test_copies_show_the_rare_category_alone(settings, expected):
    table = isolation(OversampleSpec(classes=("rock",), **settings), CATEGORIES)
    assert table.dtype == np.uint8
    assert table[[0, 1, 2, IGNORE]].tolist() == expected


def test_the_background_is_the_one_of_that_name_or_the_first():
    spec = OversampleSpec(classes=("b",), isolate="background")
    for names, position in ((("a", "b", "background"), 2), (("a", "b", "c"), 0)):
        table = isolation(spec, Categories(tuple(Category(i, n) for i, n in enumerate(names))))
        assert table[[0, 1, 2]].tolist() == [position, 1, position]


def test_repeat_factors_worked_by_hand():
    # f = .8, .6, .2 of five images; t = .6: √.75 < 1, 1, √3; image 2 holds all three, image 3 none
    assert repeat_factors(PIXELS, 0.6) == pytest.approx([1, 1, np.sqrt(3), 1, 1])
    # t = 1: √1.25, √(5/3), √5
    assert repeat_factors(PIXELS, 1) == pytest.approx(np.sqrt([5 / 3, 1.25, 5, 1, 5 / 3]))


def test_balanced_draws_each_category_as_often():
    # a third each: background shared by 0, 1, 2, 4; soil by 0, 2, 4; rock has 2 alone; nothing draws image 3
    expected = np.array([1 / 4 + 1 / 3, 1 / 4, 1 / 4 + 1 / 3 + 1, 0, 1 / 4 + 1 / 3]) / 3
    assert expected_times(BalancedSpec()) == pytest.approx(expected)
    turn = plan_turn(BalancedSpec(), PIXELS, CATEGORIES)
    assert np.bincount(turn.category, turn.weights) == pytest.approx([5 / 3] * 3)
    assert all(PIXELS[row, category] > 0 for row, category in zip(turn.rows, turn.category, strict=True))
    assert expected_times(BalancedSpec(classes=("rock", "soil"))) == pytest.approx(np.array([1, 0, 4, 0, 1]) / 6)


def test_rare_class_gold():
    shares = np.array([0.4, 0.3, 0.2, 0.1])
    assert rare_class_probabilities(shares, 0.1) == pytest.approx([0.0321, 0.0871, 0.2369, 0.6439], abs=5e-5)
    assert rare_class_probabilities(shares, 0.01)[-1] == pytest.approx(0.99995, abs=5e-6)
    assert rare_class_probabilities(shares, 1e-9).tolist() == [0, 0, 0, 1]  # nothing overflows
    assert rare_class_probabilities(shares, 1e9) == pytest.approx([0.25] * 4)


def test_rare_class_sampling_is_the_two_draws_of_the_paper():
    # f = .75, .225, .025; P(c) shared by the images that hold it
    p = np.exp(-np.array([300, 90, 10]) / 400 / 0.2)
    p /= p.sum()
    expected = [p[0] / 4 + p[1] / 3, p[0] / 4, p[0] / 4 + p[1] / 3 + p[2], 0, p[0] / 4 + p[1] / 3]
    spec = RareClassSpec(temperature=0.2)
    assert expected_times(spec) == pytest.approx(expected)
    turn = plan_turn(spec, PIXELS, CATEGORIES)
    drawn = [turn.rows[e] for _, e in StreamSampler(len(turn), 5000, 1, weights=turn.weights)]
    # at least as even as 5000 independent draws, whose chi-squared with 3 degrees of freedom is below 16.27 in 99.9 %
    times = np.bincount(drawn, minlength=5)
    assert times[3] == 0
    held = [0, 1, 2, 4]
    assert scipy.stats.chisquare(times[held], 5000 * np.array(expected)[held]).statistic < 16.27


def test_images_with_too_few_pixels_do_not_count_unless_there_are_no_others():
    # soil from 40 on: images 0 and 2; rock has 10 at most: one is enough
    turn = plan_turn(RareClassSpec(classes=("soil", "rock"), min_pixels=40), PIXELS, CATEGORIES)
    assert sorted(zip(turn.rows.tolist(), turn.category.tolist(), strict=True)) == [(0, 1), (2, 1), (2, 2)]


def test_the_minimum_as_a_share_grows_with_the_image():
    # image 1 is four times as large as image 0: its 40 pixels are a tenth, those of image 0 two fifths
    pixels = np.array([[60, 40, 0], [360, 40, 0]])
    turn = plan_turn(RareClassSpec(classes=("soil",), min_share=0.2), pixels, CATEGORIES)
    assert turn.rows.tolist() == [0]
    turn = plan_turn(RareClassSpec(classes=("soil",), min_share=0.1), pixels, CATEGORIES)
    assert turn.rows.tolist() == [0, 1]
    turn = plan_turn(RareClassSpec(classes=("soil",), min_share=0.1, min_pixels=41), pixels, CATEGORIES)
    assert turn.rows.tolist() == [0, 1]  # none reaches both: one pixel is enough
    turn = plan_turn(RareClassSpec(classes=("soil",), min_share=0.5), pixels, CATEGORIES)
    assert turn.rows.tolist() == [0, 1]


@pytest.mark.parametrize(
    "spec",
    [
        OversampleSpec(classes=("rok",)),
        BalancedSpec(classes=("rok",)),
        RareClassSpec(classes=("rok",)),
        OversampleSpec(classes=("rock",), isolate="background", background="rok"),
    ],
)
def test_names_that_no_category_has(spec):
    make = isolation if getattr(spec, "background", None) else lambda s, c: plan_turn(s, PIXELS, c)
    with pytest.raises(RecipeError, match=r"background, soil, rock.*got rok\n.*sampling"):
        make(spec, CATEGORIES)


# ---- where the crop lies


def centres(spec, entry, count=4000, pixels=PIXELS):
    turn, rng = plan_turn(spec, pixels, CATEGORIES), np.random.default_rng(0)
    centring = Centring.of(spec, pixels, CATEGORIES)
    return [centring.draw(turn, entry, rng) for _ in range(count)]


def test_inverse_frequencies():
    assert inverse_frequency(PIXELS) == pytest.approx([4 / 3, 40 / 9, 40])
    assert inverse_frequency(PIXELS[:, [0, 0, 0]] * [1, 0, 1]) == pytest.approx([2, 0, 2])
    assert (inverse_frequency(np.zeros((2, 3), int)) == 0).all()


def test_crops_are_centred_by_inverse_frequency_of_what_the_image_holds():
    # image 2 holds all: 1/300 : 1/90 : 1/10 = 3 : 10 : 90 of 103, in .7 of the crops
    found = centres(UniformSpec(centred=0.7), 2)
    times = [found.count(c) for c in (0, 1, 2, None)]
    expected = 4000 * np.array([0.7 * 3 / 103, 0.7 * 10 / 103, 0.7 * 90 / 103, 0.3])
    assert scipy.stats.chisquare(times, expected).statistic < 16.27
    assert set(centres(UniformSpec(centred=1), 0, 500)) == {0, 1}
    assert set(centres(UniformSpec(centred=1), 3, 20)) == {None}  # all ignored
    assert set(centres(UniformSpec(), 2, 20)) == {None}


def test_entries_of_a_category_are_centred_on_it_and_copies_on_what_is_rare():
    spec = BalancedSpec(centred=1)
    turn = plan_turn(spec, PIXELS, CATEGORIES)
    assert all(set(centres(spec, entry, 5)) == {turn.category[entry]} for entry in range(len(turn)))
    rare = OversampleSpec(classes=("rock", "soil"), centred=1)
    assert set(centres(rare, 5, 50)) == {1}  # the copy of image 0
    assert set(centres(rare, 6, 500)) == {1, 2}  # of image 2
    assert set(centres(rare, 2, 2000)) == {0, 1, 2}  # image 2 itself


# ---- counts


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_pixels_are_counted_at_working_size(tmp_path, scale):
    labels = [np.kron(cells, np.ones((4, 4), np.uint8)) for cells in ([[0, 1, 255]], [[2, 2], [2, 1]])]
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    for i in range(70):  # more than a thread takes at once
        label = labels[i % 2].astype(np.uint8)
        Image.fromarray(label).save(tmp_path / "masks" / f"{i:02}.png")
        Image.fromarray(label).save(tmp_path / "images" / f"{i:02}.png")
    index, _, _ = build_index(DataSpec(root=str(tmp_path), ignore=(255,)))
    found = count_pixels(index, 3, scale=scale)
    assert found.tolist() == [[16 * scale**2 * n for n in row] for row in ([1, 1, 0], [0, 1, 3])] * 35
