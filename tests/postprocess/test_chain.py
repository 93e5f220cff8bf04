"""The chain of a recipe: every kind of step, in which order, for how many categories."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError
from scipy.ndimage import gaussian_filter

from maskwright.errors import DataError, RecipeError, UsageError
from maskwright.postprocess import (
    apply_chain,
    apply_steps,
    closing,
    crf,
    cut_touching,
    largest_component,
    majority,
    most_probable,
    opening,
    select,
    smooth_box,
    smooth_gaussian,
    staged,
    threshold,
)
from maskwright.postprocess import chain as tables
from maskwright.recipe.predict import PostprocessStep
from maskwright.recipe.steps import CrfSpec, SelectSpec, StagedSpec

STEPS = TypeAdapter(tuple[PostprocessStep, ...])
SELECT = {"kind": "select", "drop": 0.2, "high": 0.7, "lower": 0.3}


def probabilities(categories=2, shape=(90, 100), seed=0):
    noise = np.random.default_rng(seed).normal(size=(categories, *shape))
    scores = np.exp(8 * gaussian_filter(noise, (0, 3, 3)))
    return (scores / scores.sum(axis=0)).astype(np.float32)


def steps(*items):
    return STEPS.validate_python(items)


def test_every_kind_of_step_is_in_one_table():
    kinds = get_args(get_args(PostprocessStep)[0])
    families = ("PROBABILITY_STEPS", "FOREGROUND_STEPS", "LABEL_STEPS", "CATEGORY_STEPS")
    held = [kind for family in families for kind in getattr(tables, family)]
    assert sorted(k.__name__ for k in kinds) == sorted(k.__name__ for k in held)


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        ({"kind": "smooth"}, lambda p: most_probable(smooth_gaussian(p, 1))),
        ({"kind": "smooth", "weights": "box", "size": 5}, lambda p: most_probable(smooth_box(p, 5))),
        ({"kind": "threshold", "value": 0.4}, lambda p: threshold(p, 0.4)),
        (SELECT, lambda p: select(p[1], SelectSpec(drop=0.2, high=0.7, lower=0.3))),
        ({"kind": "staged", "pixels": 9, "most": 1}, lambda p: staged(p[1], StagedSpec(pixels=9, most=1))),
        ({"kind": "majority", "size": 5}, lambda p: majority(most_probable(p), 5)),
        ({"kind": "closing", "size": 5}, lambda p: closing(most_probable(p), 1, 5)),
        ({"kind": "opening", "category": 1, "size": 9}, lambda p: opening(most_probable(p), 1, 9)),
        ({"kind": "largest"}, lambda p: largest_component(most_probable(p), 1)),
        ({"kind": "split", "distance": 4}, lambda p: cut_touching(most_probable(p), 1, 4)),
    ],
    ids=lambda value: value["kind"] if isinstance(value, dict) else "",
)
def test_a_step_is_its_function(step, expected):
    p = probabilities()
    found = apply_chain(p, steps(step))
    assert np.array_equal(found, expected(p))
    assert not np.array_equal(found, most_probable(p))


def test_all_together_and_categories_one_after_the_other():
    p = probabilities()
    found = apply_chain(
        p, steps({"kind": "smooth"}, SELECT, {"kind": "closing"}, {"kind": "fill_holes", "edges": "each"})
    )
    assert found.any()
    p = probabilities(4)
    one_by_one = most_probable(p)
    for category in (1, 2, 3):
        one_by_one = largest_component(one_by_one, category)
    assert np.array_equal(apply_chain(p, steps({"kind": "largest"})), one_by_one)
    only = apply_chain(p, steps({"kind": "largest", "category": 2}))
    assert np.array_equal(only, largest_component(most_probable(p), 2))


def test_a_category_of_its_own_threshold():
    # three categories in five pixels; 1 is taken from .3 on, 2 from .6 on. Pixel 0: 1 reaches its threshold though 0 is
    # the most probable; 1: neither does, so 0; 2: both do, 2 is more probable; 3: 2 is the most probable and doesn't
    # reach its own; 4: 1 alone does
    p = np.float32(
        [[[0.60, 0.20, 0.08, 0.05, 0.20]], [[0.35, 0.25, 0.32, 0.40, 0.60]], [[0.05, 0.55, 0.60, 0.55, 0.20]]]
    )
    chain = [{"kind": "threshold", "value": 0.3, "category": 1}, {"kind": "threshold", "value": 0.6, "category": 2}]
    assert apply_chain(p, steps(*chain)).tolist() == [[1, 0, 2, 1, 1]]
    assert apply_chain(p, steps(*chain[::-1])).tolist() == [[1, 0, 2, 1, 1]]
    # only category 2 has one: elsewhere the more probable one of 0 and 1
    assert apply_chain(p, steps(chain[1])).tolist() == [[0, 1, 2, 1, 1]]


@pytest.mark.parametrize("step", [{"kind": "threshold", "value": 0.4}, SELECT, {"kind": "staged", "pixels": 9}])
def test_a_stated_category_of_two_is_the_foreground(step):
    p = probabilities()
    assert np.array_equal(apply_chain(p, steps({**step, "category": 1})), apply_chain(p, steps(step)))


def test_components_are_selected_for_one_category_of_three():
    p = probabilities(3)
    chosen = select(p[2], SelectSpec(drop=0.2, high=0.7, lower=0.3)).astype(bool)
    found = apply_chain(p, steps({**SELECT, "category": 2}))
    assert np.array_equal(found, np.where(chosen, 2, p[:2].argmax(axis=0)))
    assert 0 < chosen.sum() < (p.argmax(axis=0) == 2).sum() * 2


def test_holes_of_one_category_of_three():
    label = np.uint8([[1, 1, 1, 2, 2, 2], [1, 0, 1, 2, 0, 2], [1, 1, 1, 2, 2, 2]])
    filled = {c: apply_steps(label, steps({"kind": "fill_holes", "category": c}), categories=3) for c in (1, 2)}
    assert filled[1][1].tolist() == [1, 1, 1, 2, 0, 2]
    assert filled[2][1].tolist() == [1, 0, 1, 2, 2, 2]
    both = apply_steps(label, steps({"kind": "fill_holes"}), categories=3)
    assert both[1].tolist() == [1, 1, 1, 2, 2, 2]


@pytest.mark.parametrize(
    ("chain", "categories", "message"),
    [
        ([{"kind": "majority"}, {"kind": "threshold"}], 2, r"got a threshold at place 2 with 2 categories"),
        ([{"kind": "smooth"}, SELECT, {"kind": "staged"}], 2, r"got a staged at place 3 with 2 categories"),
        ([SELECT], 3, r"got a select at place 1 with 3 categories"),
        ([{**SELECT, "category": 2}], 2, r"expected positions 0\.\.1"),
        ([{**SELECT, "category": 2}, SELECT], 3, r"got a select at place 2 with 3 categories"),
        ([{**SELECT, "category": 2}, {"kind": "threshold", "category": 2}], 3, r"got a threshold at place 2"),
        ([{"kind": "majority"}, {"kind": "threshold", "category": 1}], 3, r"got a threshold at place 2"),
        ([{"kind": "threshold", "category": c} for c in (0, 1)], 2, r"got one for each of 2 categories"),
        ([{"kind": "fill_holes", "category": 3}], 3, r"expected positions 0\.\.2"),
        ([{"kind": "majority"}, {"kind": "smooth"}], 2, "it needs the probabilities"),
        ([{"kind": "closing", "category": 2}], 2, r"expected positions 0\.\.1"),
        ([{"kind": "majority"}, {"kind": "crf"}], 2, "it needs the probabilities"),
    ],
)
def test_chains_that_make_no_sense(chain, categories, message):
    with pytest.raises(RecipeError, match=message):
        apply_chain(probabilities(categories), steps(*chain))


def test_a_threshold_is_no_step_on_labels():
    with pytest.raises(RecipeError, match="got threshold"):
        apply_steps(np.zeros((2, 2), np.uint8), steps({"kind": "threshold"}), categories=2)


@pytest.mark.parametrize("step", [{"kind": "closing", "size": 4}, {"kind": "staged", "closing": 8}])
def test_even_windows_are_refused(step):
    with pytest.raises(ValidationError, match="an odd number of pixels is expected"):
        steps(step)


@pytest.mark.parametrize("kind", ["smooth", "select", "staged"])
def test_nan_is_refused(kind):
    p = probabilities()
    p[:, 3, 4] = np.nan
    step = SELECT if kind == "select" else {"kind": kind}
    with pytest.raises(DataError, match="aren't finite"):
        apply_chain(p, steps(step))


def test_crf_looks_at_the_image_once_and_before_the_threshold():
    p, image = probabilities(), np.random.default_rng(1).integers(0, 256, (90, 100, 3), dtype=np.uint8)
    reads = []

    def read():
        reads.append(1)
        return image

    chain = steps({"kind": "crf"}, {"kind": "smooth"}, {"kind": "crf", "iterations": 2}, {"kind": "threshold"})
    smooth = smooth_gaussian(crf(p, image, CrfSpec()), 1)
    expected = threshold(crf(smooth, image, CrfSpec(iterations=2)), 0.5)
    assert np.array_equal(apply_chain(p, chain, image=read), expected)
    assert np.array_equal(apply_chain(p, chain, image=image), expected)
    assert not np.array_equal(expected, most_probable(p))
    assert len(reads) == 1


def test_an_image_that_no_step_needs_is_not_read():
    def read():
        raise AssertionError("was read")

    p = probabilities()
    assert np.array_equal(apply_chain(p, steps({"kind": "smooth"}), image=read), most_probable(smooth_gaussian(p, 1)))


def test_crf_without_an_image_is_an_error():
    with pytest.raises(UsageError, match="none for the step crf"):
        apply_chain(probabilities(), steps({"kind": "crf"}))
    with pytest.raises(DataError, match=r"got \(2, 90, 100\) and \(3, 5\)"):
        apply_chain(probabilities(), steps({"kind": "crf"}), image=np.zeros((3, 5)))
