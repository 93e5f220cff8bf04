"""Numbers of instances against scikit-image's, and against values worked by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import ndimage
from skimage.measure import regionprops

from maskwright.errors import DataError
from maskwright.instances import FEATURES, instance_features, truly_matched
from maskwright.measure.shapes import convex_area


def column(found, name):
    return found[:, FEATURES.index(name)]


def blobs(seed=0, size=(90, 120)):
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=size), 4)
    labels, _ = ndimage.label(noise > noise.std())
    return labels * 7  # ids with gaps


@pytest.mark.parametrize("seed", range(4))
def test_shapes_are_those_of_scikit_image(seed):
    labels = blobs(seed)
    found, regions = instance_features(labels), regionprops(labels)
    assert len(found) == len(regions) > 5
    for row, region in zip(found, regions, strict=True):
        assert row[0] == pytest.approx(math.log(region.area))
        assert row[1] == pytest.approx(math.log1p(region.perimeter**2 / region.area))
        assert row[2] == pytest.approx(region.solidity)
        assert row[3] == pytest.approx(region.eccentricity, abs=1e-6)
        top, left, bottom, right = region.bbox
        assert row[FEATURES.index("border")] == (top == 0 or left == 0 or bottom == 90 or right == 120)


def test_convex_areas_of_masks_that_are_drawn_at_random():
    rng = np.random.default_rng(0)
    for _ in range(60):
        mask = rng.random((rng.integers(1, 12), rng.integers(1, 12))) < rng.uniform(0.1, 0.9)
        if mask.any():
            assert convex_area(mask) == regionprops(mask.astype(int))[0].area_convex
    assert convex_area(np.zeros((3, 4), bool)) == 0


def test_one_pixel_and_one_line():
    labels = np.zeros((5, 9), int)
    labels[2, 2] = 1
    labels[4, 1:6] = 2
    found = instance_features(labels)
    # one pixel: perimeter 0, nothing long; a line of 5: its perimeter goes through the pixels' centres: 4 by
    # scikit-image, the variance across is 0
    assert found[0, :4] == pytest.approx([0, 0, 1, 0])
    assert found[1, :4] == pytest.approx([math.log(5), math.log1p(regionprops(labels)[1].perimeter ** 2 / 5), 1, 1])
    assert column(found, "border").tolist() == [0, 1]
    assert np.isnan(found[:, 4:9]).all()


def test_embeddings_worked_by_hand():
    labels = np.array([[1, 1, 2, 2, 5, 0]])
    embeddings = np.array([[[0, 2, 10, 14, 3, 99]], [[0, 0, 0, 0, 4, 99]]], np.float32)
    found = instance_features(labels, embeddings=embeddings)
    # means (1, 0), (12, 0), (3, 4): distances 11, √20, √97
    assert column(found, "spread") == pytest.approx([1, 2, 0])
    assert column(found, "separation") == pytest.approx([math.sqrt(20), math.sqrt(97), math.sqrt(20)])
    alone = instance_features(labels * (labels == 2), embeddings=embeddings)
    assert column(alone, "spread") == pytest.approx([2])
    assert np.isnan(column(alone, "separation")).all()


def test_agreement_worked_by_hand():
    labels = np.array([[3, 3, 3, 8, 0]])
    probabilities = np.array([[[0.1, 0.2, 0.7, 0.6, 1]], [[0.9, 0.8, 0.3, 0.4, 0]]])
    found = instance_features(labels, probabilities=probabilities, categories=[1, 0])
    assert column(found, "agreement") == pytest.approx([2 / 3, 0.6])
    assert column(found, "disagreement") == pytest.approx([1 / 3, 0])


def test_contrast_is_that_of_the_two_sides_of_the_outline():
    labels = np.zeros((20, 30), int)
    labels[5:15, 5:15] = 1
    image = np.zeros((20, 30, 2))
    image[5:15, 5:15] = [3.0, 4.0]
    found = instance_features(labels, image=image)
    # the sides are 5 apart; the image's variance is (9 + 16) · p (1 − p) with p = 1/6
    assert column(found, "contrast") == pytest.approx([5 / math.sqrt(25 * 5 / 36)])
    # far from the outline nothing counts
    image[9:11, 9:11] = 100.0
    deviation = math.sqrt(image.var(axis=(0, 1)).sum())
    assert column(instance_features(labels, image=image), "contrast") == pytest.approx([5 / deviation])
    whole = instance_features(np.ones((20, 30), int), image=image)
    assert np.isnan(column(whole, "contrast")).all()
    assert np.isnan(column(instance_features(labels, image=np.ones((20, 30, 1))), "contrast")).all()


def test_ids_say_nothing_and_no_instance_is_no_row():
    labels = blobs()
    image = np.random.default_rng(0).random((90, 120, 3))
    assert np.array_equal(
        instance_features(labels, image=image), instance_features(labels * 1000, image=image), equal_nan=True
    )
    empty = instance_features(np.zeros((4, 5), int), image=np.zeros((4, 5, 1)), embeddings=np.zeros((2, 4, 5)))
    assert empty.shape == (0, len(FEATURES))


def test_five_thousand_instances():
    labels = np.arange(1, 5001).repeat(4).reshape(100, 200)
    maps = np.random.default_rng(0).random((2, 100, 200))
    others = {"categories": np.zeros(5000, int), "stability": np.linspace(0, 1, 5000)}
    found = instance_features(labels, embeddings=maps, probabilities=maps, **others)
    assert found.shape == (5000, len(FEATURES))
    assert np.isfinite(np.delete(found, FEATURES.index("contrast"), axis=1)).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image": np.zeros((4, 6, 1))}, "instance map's size"),
        ({"embeddings": np.zeros((3, 5, 4))}, "instance map's size"),
        ({"probabilities": np.zeros((2, 4, 5))}, "1 categories, one for each instance, got none"),
        ({"probabilities": np.zeros((2, 4, 5)), "categories": [0, 1]}, "got 2"),
        ({"embeddings": np.full((3, 4, 5), np.nan)}, "finite embeddings"),
    ],
)
def test_what_does_not_fit_is_an_error(options, message):
    labels = np.zeros((4, 5), int)
    labels[1, 1] = 1
    with pytest.raises(DataError, match=message):
        instance_features(labels, **options)


def test_matches_worked_by_hand():
    truth = np.array([[1, 1, 1, 1, 0, 0, 2, 2, 0, 0]])
    ours = np.array([[4, 4, 4, 0, 5, 5, 9, 0, 7, 7]])
    # 4 covers 3 of 4: ¾; 5 covers nothing; 9 covers 1 of 2: ½, which isn't more than ½; 7 nothing
    assert truly_matched(ours, truth).tolist() == [1, 0, 0, 0]
    unknown = np.zeros((1, 10), bool)
    unknown[0, 8:] = True
    assert np.array_equal(truly_matched(ours, truth, unknown=unknown), [1, 0, np.nan, 0], equal_nan=True)
    # in the order of the ids: 4, 5, 7, 9
    assert truly_matched(ours, truth, iou=0.75).tolist() == [0, 0, 0, 0]
    assert truly_matched(np.zeros((1, 10), int), truth).tolist() == []
    # what lies on unknown pixels isn't held against a match: 5 of 1's pixels, 4 there: 4 / 4
    wide = np.array([[1, 1, 1, 1, 1, 1, 1, 0, 0, 0]])
    unknown = truth == 0
    assert truly_matched(wide, np.where(truth == 1, 1, 0), unknown=unknown).tolist() == [1]
    # 2 is unlabelled here: the same without knowing so is 4 / 7
    assert truly_matched(wide, truth).tolist() == [1]


@pytest.mark.parametrize("seed", range(5))
def test_matches_of_drawn_maps_are_those_of_the_definition(seed):
    rng = np.random.default_rng(seed)
    truth = blobs(seed)
    ours = np.roll(truth, rng.integers(0, 4), axis=1)
    expected = [
        float(max((m & (truth == t)).sum() / (m | (truth == t)).sum() for t in np.unique(truth[truth > 0])) > 0.5)
        for m in (ours == i for i in np.unique(ours[ours > 0]))
    ]
    assert truly_matched(ours, truth).tolist() == expected
