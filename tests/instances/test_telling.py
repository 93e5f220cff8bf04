"""From probabilities and embeddings to objects and panoptic maps: worked by hand, and the unkind cases."""

from __future__ import annotations

import numpy as np
import pytest

from maskwright.errors import DataError
from maskwright.instances.objectness import ObjectScores
from maskwright.instances.telling import tell_apart, to_panoptic
from maskwright.recipe.cluster import HdbscanSpec
from maskwright.recipe.instances import InstancesSpec
from maskwright.recipe.panoptic import MergeSpec
from maskwright.types import IGNORE

SPEC = InstancesSpec(minimum=4)
THINGS = [1, 2]


def certain(label, count=3, sure=0.8):
    """Return (C, h, w) probabilities of which `label` has `sure` and the others the rest in equal parts."""
    rest = (1 - sure) / (count - 1)
    return np.where(np.arange(count)[:, None, None] == label, sure, rest).astype(np.float32)


def scene():
    """Return label (8, 16) of stuff 0 and things 1 and 2, and embeddings of four objects.

    Of thing 1 there are two touching objects, 8 pixels wide together, and of thing 2 one with the embedding of the
    first of these, and one speck of 2 pixels.
    """
    label = np.zeros((8, 16), np.uint8)
    label[1:4, 1:9], label[5:8, 1:5], label[6, 12:14] = 1, 2, 2
    embeddings = np.zeros((4, 8, 16), np.float32)
    embeddings[0, :, 6:] = 3
    return label, embeddings


def test_objects_of_a_scene():
    label, embeddings = scene()
    found = tell_apart(certain(label), embeddings, THINGS, SPEC)
    expected = np.zeros((8, 16), np.int32)
    expected[1:4, 1:6], expected[1:4, 6:9], expected[5:8, 1:5] = 1, 2, 3
    assert found.dtype == np.int32
    assert np.array_equal(found, expected)  # the speck is below `minimum`


def test_equal_objects_that_lie_apart_are_two_unless_objects_may_be_in_pieces():
    label = np.zeros((6, 16), np.uint8)
    label[1:4, 1:5] = label[1:4, 10:14] = 1
    embeddings = np.zeros((4, 6, 16), np.float32)
    apart, together = (
        tell_apart(certain(label), embeddings, THINGS, SPEC.model_copy(update={"apart": a})) for a in (True, False)
    )
    assert np.unique(apart).tolist() == [0, 1, 2]
    assert np.unique(together).tolist() == [0, 1]
    assert np.array_equal(together > 0, label == 1)


def test_what_is_clustered_may_be_said_by_somebody_else():
    label, embeddings = scene()
    guide = np.full((8, 16), IGNORE, np.uint8)
    guide[0:2, 4:8] = 1  # across the border of the two objects of thing 1, at column 6
    found = tell_apart(certain(label), embeddings, THINGS, SPEC, guide=guide)
    left, right = found[0:2, 4:6], found[0:2, 6:8]
    assert np.array_equal(found > 0, guide == 1)  # and the guide is as it was
    assert {int(left[0, 0]), int(right[0, 0])} == {1, 2} and np.ptp(left) == np.ptp(right) == 0


def test_what_is_hardly_likely_true_is_left_out():
    label, embeddings = scene()
    objects = tell_apart(certain(label), embeddings, THINGS, SPEC)
    scores = ObjectScores(np.array([0.9, 0.4, 0.6]), 0.45)
    for least, kept in ((None, [0.9, 0.6]), (0.7, [0.9]), (0.0, [0.9, 0.6, 0.4]), (0.95, [])):
        spec = SPEC.model_copy(update={"least": least})
        found = to_panoptic(label, objects, certain(label), THINGS, spec, scores=scores)
        own = np.isin(found.segments.categories, THINGS)
        assert sorted(found.segments.scores[own].tolist(), reverse=True) == kept
    plain = to_panoptic(label, objects, certain(label, sure=0.45), THINGS, SPEC)  # no objectness: nothing is left out
    assert np.isin(plain.segments.categories, THINGS).sum() == 3


@pytest.mark.parametrize("leftover", ["void", "nearest", "components"])
def test_what_is_left_out_stays_void_whatever_becomes_of_what_is_left(leftover):
    label, embeddings = scene()
    objects = tell_apart(certain(label), embeddings, THINGS, SPEC)
    spec = SPEC.model_copy(update={"merge": MergeSpec(thing_leftover=leftover)})
    found = to_panoptic(
        label, objects, certain(label), THINGS, spec, scores=ObjectScores(np.array([0.9, 0.4, 0.6]), 0.5)
    )
    assert not found.ids[objects == 2].any()
    own = np.isin(found.segments.categories, THINGS)
    # the speck of two pixels is no object of its own at first; what it becomes has a score as others have
    assert np.isnan(found.segments.scores[~own]).all()
    expected = [0.9, 0.8, 0.6] if leftover == "components" else [0.9, 0.6]
    assert sorted(found.segments.scores[own].tolist(), reverse=True) == pytest.approx(expected)


def plant():
    """Return the label (8, 16) of a plant, taken for thing 1 on 15 of 24 pixels and for thing 2 on the others."""
    label = np.zeros((8, 16), np.uint8)
    label[2:5, 2:7], label[2:5, 7:10] = 1, 2
    return label, np.zeros((4, 8, 16), np.float32)


def test_an_object_across_categories_is_what_most_of_its_pixels_are():
    label, embeddings = plant()
    parts = tell_apart(certain(label), embeddings, THINGS, SPEC)
    assert np.unique(parts).tolist() == [0, 1, 2]  # each category by itself
    spec = SPEC.model_copy(update={"across": True})
    whole = tell_apart(certain(label), embeddings, THINGS, spec)
    assert np.array_equal(whole, (label > 0).astype(np.int32))
    for size in ((8, 16), (16, 32)):
        large = np.kron(label, np.ones((size[0] // 8, size[1] // 16), np.uint8))
        found = to_panoptic(large, whole, certain(large), THINGS, spec)
        assert np.array_equal(np.isin(found.label, [1]), large > 0)
        # the score is the mean probability of thing 1 inside: 15 / 24 of 0.8 and 9 / 24 of 0.1
        assert found.segments.scores[0] == pytest.approx((15 * 0.8 + 9 * 0.1) / 24)
    nothing = tell_apart(certain(np.zeros((8, 16), np.uint8)), embeddings, THINGS, spec)
    assert not nothing.any() and not tell_apart(certain(label), embeddings, [], spec).any()


@pytest.mark.parametrize(
    ("case", "label", "objects"),
    [
        ("nothing", np.zeros((8, 8), np.uint8), 0),
        ("a mask that is everywhere, constant embeddings", np.ones((8, 8), np.uint8), 1),
        ("one pixel", np.pad(np.ones((1, 1), np.uint8), 3), 0),  # below the minimum of 4
        ("one row at the border", np.pad(np.ones((1, 8), np.uint8), ((0, 7), (0, 0))), 1),
    ],
)
def test_unkind_masks(case, label, objects):
    found = tell_apart(certain(label), np.zeros((4, *label.shape), np.float32), THINGS, SPEC, where=case)
    assert int(found.max()) == objects


def test_objects_of_one_pixel_are_found_if_they_are_asked_for():
    label = np.zeros((9, 9), np.uint8)
    label[::2, ::2] = 1
    found = tell_apart(certain(label), np.zeros((2, 9, 9), np.float32), THINGS, InstancesSpec(minimum=1))
    assert int(found.max()) == 25
    assert np.array_equal(found > 0, label == 1)


def test_thousands_of_objects_end_soon():
    """2 500 squares of 2 × 2, all of one embedding: their pixels tell them apart; ids don't run out."""
    label = np.zeros((200, 200), np.uint8)
    label[np.ix_(np.arange(200) % 4 < 2, np.arange(200) % 4 < 2)] = 1
    found = tell_apart(certain(label), np.zeros((2, 200, 200), np.float32), THINGS, InstancesSpec(minimum=1))
    assert int(found.max()) == 2500
    told = to_panoptic(label, found, certain(label), THINGS, SPEC)
    assert int((told.segments.categories == 1).sum()) == 2500


def test_nan_is_an_error_that_says_what_to_do():
    label, embeddings = scene()
    probabilities = certain(label)
    probabilities[1, 2, 2] = np.nan
    with pytest.raises(DataError, match=r"1 of 384 values(.|\n)*diverged"):
        tell_apart(probabilities, embeddings, THINGS, SPEC)
    embeddings[0, 0, 0] = np.nan  # on stuff, where nothing is clustered
    assert int(tell_apart(certain(label), embeddings, THINGS, SPEC).max()) == 3
    embeddings[0, 2, 2] = np.inf
    with pytest.raises(DataError, match="finite"):
        tell_apart(certain(label), embeddings, THINGS, SPEC)


def test_the_panoptic_map_of_a_scene_and_its_scores():
    label, embeddings = scene()
    probabilities = certain(label)
    probabilities[:, 1:4, 6:9] = certain(label, sure=0.6)[:, 1:4, 6:9]
    found = to_panoptic(label, tell_apart(probabilities, embeddings, THINGS, SPEC), probabilities, THINGS, SPEC)
    # the surest first, of equal ones in their order: id 1 at 0.8, the thing 2 at 0.8, then id 2 at 0.6; then stuff
    assert found.segments.categories.tolist() == [1, 2, 1, 0]
    assert found.segments.scores[:3] == pytest.approx([0.8, 0.8, 0.6], abs=1e-6)
    assert np.isnan(found.segments.scores[3])
    expected = np.where(label == 0, 4, 0)
    expected[1:4, 1:6], expected[5:8, 1:5], expected[1:4, 6:9] = 1, 2, 3
    assert np.array_equal(found.ids, expected)  # the speck of thing 2 is void
    assert found.label[6, 12] == IGNORE


def slivers():
    """Return label, embeddings: an object of 6 × 8 whose last column is torn off; 40 columns away one of 2 × 3."""
    label = np.zeros((10, 60), np.uint8)
    label[2:8, 2:10], label[4:6, 50:53] = 1, 1
    embeddings = np.zeros((3, 10, 60), np.float32)
    embeddings[1, :, 9] = 4
    return label, embeddings


@pytest.mark.parametrize(
    ("smallest", "minimum", "areas"),
    [
        (0.0, 1, [6, 6, 42]),  # the torn-off column is an object
        (0.35, 1, [6, 48]),  # 6 of the usual 42 pixels are too few: it goes back; alone, 6 pixels are an object
        (0.1, 1, [6, 6, 42]),  # 4.2 pixels would be enough
        (0.0, 7, [48]),  # what is too small by itself goes back, too, or is nothing
    ],
)
def test_fragments_go_to_what_is_beside_them(smallest, minimum, areas):
    label, embeddings = slivers()
    spec = InstancesSpec(minimum=minimum, smallest=smallest)
    found = tell_apart(certain(label), embeddings, THINGS, spec)
    assert sorted(np.bincount(found.ravel())[1:].tolist()) == areas


def test_the_usual_area_is_that_of_the_middle_pixel():
    """Ten touching cells of 4 × 4 and one of 4 × 12: half of the 208 pixels are in cells of 16; none is a fragment."""
    label, embeddings = np.ones((4, 52), np.uint8), np.zeros((1, 4, 52), np.float32)
    embeddings[0] = np.minimum(np.arange(52) // 4, 10) * 4
    found = tell_apart(certain(label), embeddings, THINGS, InstancesSpec(minimum=1))
    assert sorted(np.bincount(found.ravel())[1:].tolist()) == [16] * 10 + [48]


def test_an_enlarged_object_covers_the_pixels_of_its_category_and_no_others():
    """Found at half the size; the label at full size has a rounder edge, which belongs to the object, too."""
    y, x = np.mgrid[:40, :40]
    label = ((y - 20) ** 2 + (x - 20) ** 2 < 150).astype(np.uint8)
    small = label[::2, ::2]
    ids = tell_apart(certain(small), np.zeros((2, 20, 20), np.float32), THINGS, SPEC)
    found = to_panoptic(label, ids, certain(label), THINGS, SPEC)
    assert np.array_equal(found.instances(THINGS) > 0, label == 1)
    assert found.segments.categories.tolist() == [1, 0]


def test_erosion_and_dilation_do_not_eat_the_neighbour():
    label, embeddings = scene()
    spec = SPEC.model_copy(update={"erosion": 3, "dilation": 3})
    ids = tell_apart(certain(label), embeddings, THINGS, spec)
    found = to_panoptic(label, ids, certain(label), THINGS, spec)
    # rectangles of 3 × 3 or more survive an opening by 3 × 3 as they are
    assert np.array_equal(found.instances(THINGS) > 0, ids > 0)
    assert len(found.segments) == 4


def test_pixels_of_no_cluster_are_of_no_object():
    """Two clusters in one component, and three pixels between them whose embeddings are like nothing else."""
    label, embeddings = np.ones((8, 21), np.uint8), np.zeros((2, 8, 21), np.float32)
    embeddings[0, :, 11:] = 5
    embeddings[1, :3, 10] = [40, 80, 120]
    embeddings[0, 3:, 10] = 5
    spec = InstancesSpec(minimum=1, smallest=0, cluster=HdbscanSpec(min_cluster_size=20, single=False))
    found = tell_apart(certain(label), embeddings, THINGS, spec)
    assert np.argwhere(found == 0).tolist() == [[0, 10], [1, 10], [2, 10]]
    assert int(found.max()) == 2


def test_what_post_processing_adds_goes_to_the_object_that_it_touches():
    """A ring of 4 pixels around an object, and a component of added pixels alone, which are of no object."""
    raw = np.zeros((30, 40), np.uint8)
    raw[10:16, 10:16] = 1
    label = raw.copy()
    label[6:20, 6:20], label[24:28, 30:38] = 1, 1
    told = to_panoptic(label, raw.astype(np.int32), certain(raw), THINGS, SPEC)
    ids = told.instances(THINGS)
    assert (ids[6:20, 6:20] > 0).all() and len(np.unique(ids)) == 2
    assert not ids[24:28, 30:38].any()
