"""Merging: panopticapi's code as oracle for rule A, rule C and every choice worked by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from maskwright.errors import DataError
from maskwright.panoptic import merge
from maskwright.recipe.panoptic import RULE_A, MergeSpec

LOOSE = MergeSpec(stuff_min_area=0)


def seen(found):
    """Return the ids as lists, and of each segment its category."""
    return found.ids.tolist(), found.segments.categories.tolist()


def panopticapi(label, masks, scores, classes, things, stuff_area):
    """Return category and instance maps by the loop of `combine_predictions` (panopticapi), in plain NumPy."""
    segments, category = np.zeros(label.shape, int), np.full(label.shape, 255)
    used, number = np.zeros(label.shape, bool), 0
    for i in sorted((i for i in range(len(masks)) if scores[i] >= 0.5), key=lambda i: -scores[i]):
        area = masks[i].sum()
        if area == 0 or (used & masks[i]).sum() / area > 0.5:
            continue
        used |= masks[i]
        free = (segments == 0) & masks[i]
        if free.sum() == 0:
            continue
        number += 1
        segments[free], category[free] = number, classes[i]
    for c in range(4):
        free = (segments == 0) & (label == c)
        if c in things or free.sum() < max(1, stuff_area):
            continue
        number += 1
        segments[free], category[free] = number, c
    return segments, category


@settings(deadline=None, max_examples=80)
@given(st.integers(0, 10**6), st.integers(0, 6))
def test_rule_a_is_panopticapis(seed, count):
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 4, (6, 8)).astype(np.uint8)
    masks = np.stack(
        [ndimage.binary_dilation(rng.random((6, 8)) < 0.06, iterations=2) for _ in range(count)]
        or [np.zeros((6, 8), bool)]
    )[:count]
    scores, classes = rng.permutation(100)[:count] / 100, rng.integers(2, 4, count)
    expected, category = panopticapi(label, masks, scores, classes, (2, 3), 6)
    rule = RULE_A.model_copy(update={"stuff_min_area": 6 / 48})
    found = merge(label, masks, [2, 3], rule, scores=scores, classes=classes)
    assert np.array_equal(found.ids, expected)
    assert np.array_equal(found.label, category)
    assert np.array_equal(found.instances([2, 3]), np.where(np.isin(category, (2, 3)), expected, 0))


def test_rule_c_votes_and_takes_pixels_of_things_only():
    # 5 lies on road 0, car 1 (twice) and rider 2: a car of the three thing pixels; 6 lies on road alone and vanishes;
    # road is 4 of 8 pixels; one car pixel is left over: void
    label = np.uint8([[0, 1, 1, 2], [0, 0, 0, 1]])
    instances = np.int32([[5, 5, 5, 5], [0, 6, 6, 0]])
    assert seen(merge(label, instances, [1, 2], LOOSE)) == ([[2, 1, 1, 1], [2, 2, 2, 0]], [1, 0])


def test_probabilities_are_their_most_probable_category():
    label = np.uint8([[0, 1, 1, 2]])
    probabilities = np.moveaxis(np.eye(3, dtype=np.float32)[label], 2, 0) * 0.4 + 0.2
    instances = np.int32([[0, 3, 3, 9]])
    assert seen(merge(probabilities, instances, [1, 2])) == seen(merge(label, instances, [1, 2]))


def test_ties_go_to_the_lowest_thing_and_void_has_no_vote():
    label = np.uint8([[2, 1, 255, 255, 255]])
    found = merge(label, np.int32([[7, 7, 7, 7, 7]]), [1, 2], MergeSpec(within="mask"))
    assert seen(found) == ([[1, 1, 1, 1, 1]], [1])
    assert seen(merge(label, np.int32([[0, 0, 7, 7, 7]]), [1, 2])) == ([[0] * 5], [])  # nothing but void: it vanishes


@pytest.mark.parametrize(
    ("leftover", "ids", "categories"),
    [
        # instance 1 is a car at column 0; cars at 2, 3 and 6 have none; stuff 0 at 1, 4, 5
        ("void", [[1, 2, 0, 0, 2, 2, 0]], [1, 0]),
        ("nearest", [[1, 2, 1, 1, 2, 2, 1]], [1, 0]),
        ("components", [[1, 4, 2, 2, 4, 4, 3]], [1, 1, 1, 0]),
    ],
)
def test_what_is_left_of_things(leftover, ids, categories):
    label, instances = np.uint8([[1, 0, 1, 1, 0, 0, 1]]), np.int32([[8, 0, 0, 0, 0, 0, 0]])
    rule = MergeSpec(stuff_min_area=0, thing_leftover=leftover)
    assert seen(merge(label, instances, [1], rule)) == (ids, categories)


def test_nearest_is_of_the_same_category():
    label, instances = np.uint8([[1, 2, 2, 1]]), np.int32([[8, 0, 0, 0]])
    rule = MergeSpec(thing_leftover="nearest")
    assert seen(merge(label, instances, [1, 2], rule)) == ([[1, 0, 0, 1]], [1])  # there is no instance of 2


def test_areas_are_shares_of_the_image_and_their_ends_belong_to_them():
    label = np.uint8([[0, 0, 1, 1, 1, 3, 1, 1, 1, 1]])  # of 10 pixels
    instances = np.int32([[0, 0, 4, 4, 4, 0, 0, 5, 5, 5]])
    rule = MergeSpec(stuff_min_area=0.2, thing_min_area=0.3)
    assert seen(merge(label, instances, [1], rule)) == ([[3, 3, 1, 1, 1, 0, 0, 2, 2, 2]], [1, 1, 0])
    higher = MergeSpec(stuff_min_area=0.21, thing_min_area=0.31)
    assert seen(merge(label, instances, [1], higher)) == ([[0] * 10], [])
    scattered = MergeSpec(stuff_min_area=0.1, thing_min_area=0.11, thing_leftover="components")
    # components of 1 pixel are too few, stuff 3 of 1 pixel is enough
    assert seen(merge(label, instances, [1], scattered)) == ([[3, 3, 1, 1, 1, 4, 0, 2, 2, 2]], [1, 1, 0, 3])


def test_scores_order_and_drop_and_an_instance_without_one_stays():
    label = np.full((1, 6), 1, np.uint8)
    masks = np.array([[[1, 1, 1, 0, 0, 0]], [[0, 1, 1, 1, 1, 0]], [[0, 0, 0, 0, 1, 1]], [[1, 0, 0, 0, 0, 0]]], bool)
    # by score: the second first; the first then has 2 of 3 pixels in it and is dropped; the third has 1 of 2: kept, for
    # its other pixel; the fourth has no score and comes last
    found = merge(label, masks, [1], scores=[0.8, 0.9, 0.5, np.nan])
    assert found.ids.tolist() == [[3, 1, 1, 1, 1, 2]]
    assert found.segments.scores.tolist() == pytest.approx([0.9, 0.5, np.nan], nan_ok=True)
    assert merge(label, masks, [1], scores=[0.8, 0.49, 0.4, 0.1]).ids.tolist() == [[1, 1, 1, 0, 0, 0]]


def test_without_scores_the_larger_comes_first():
    masks = np.array([[[1, 1, 0, 0, 0]], [[0, 1, 1, 1, 0]]], bool)
    assert merge(np.full((1, 5), 1, np.uint8), masks, [1]).ids.tolist() == [[2, 1, 1, 1, 0]]


def test_ids_never_meet_void():
    """Position 0 as a thing and as stuff, no instance at all, and everything ignored."""
    label = np.zeros((3, 3), np.uint8)
    assert seen(merge(label, np.int32(np.eye(3)), [0])) == (np.eye(3).tolist(), [0])
    assert merge(label, np.zeros((3, 3), np.int32), [1]).ids.min() == 1
    nothing = merge(np.full((3, 3), 255, np.uint8), np.int32(np.eye(3)), [0])
    assert len(nothing.segments) == 0 and not nothing.ids.any() and (nothing.label == 255).all()


@pytest.mark.parametrize("shape", [(0, 4), (1, 1)])
def test_small_images(shape):
    found = merge(np.zeros(shape, np.uint8), np.zeros(shape, np.int32), [1])
    assert found.ids.shape == shape and len(found.segments) == min(1, shape[0])


def test_five_thousand_instances():
    rows, columns = np.indices((400, 500))
    instances = (1 + rows // 4 * 50 + columns // 10).astype(np.int32)
    found = merge(np.full(instances.shape, 1, np.uint8), instances, [1])
    assert len(found.segments) == 5000
    assert np.array_equal(np.unique(found.ids), np.arange(1, 5001))


@pytest.mark.parametrize(
    ("semantic", "instances", "options", "message"),
    [
        (np.zeros((2, 2), np.int64), np.zeros((2, 2), int), {}, "probabilities or an .H, W. uint8 label map"),
        (np.full((2, 2, 2), np.nan), np.zeros((2, 2), int), {}, "8 of 8 values that are NaN"),
        (np.zeros((2, 2), np.uint8), np.zeros((2, 3), int), {}, "instances as integer ids"),
        (np.zeros((2, 2), np.uint8), np.zeros((2, 2)), {}, "instances as integer ids"),
        (
            np.zeros((2, 2), np.uint8),
            np.ones((2, 2), int),
            {"scores": [0.1, 0.2]},
            "one score and one class for each of 1",
        ),
        (
            np.zeros((2, 2), np.uint8),
            np.ones((2, 2), int),
            {"rule": RULE_A},
            "classes among the things .1., .*got none",
        ),
        (np.zeros((2, 2), np.uint8), np.ones((2, 2), int), {"rule": RULE_A, "classes": [0]}, "got .0."),
    ],
)
def test_what_cannot_be_merged(semantic, instances, options, message):
    with pytest.raises(DataError, match=message):
        merge(semantic, instances, [1], **options)
