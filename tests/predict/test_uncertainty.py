"""Entropy and disagreement against SciPy and by hand; categories that are never predicted."""

from __future__ import annotations

import math

import numpy as np
import pytest
from PIL import Image
from scipy.stats import entropy as scipy_entropy

from maskwright.errors import DataError
from maskwright.passes import without
from maskwright.predict.uncertainty import Uncertainty, disagreement, entropy

RNG = np.random.default_rng(0)


def some(categories, size=(5, 7)):
    return RNG.dirichlet(np.full(categories, 0.3), size).transpose(2, 0, 1).astype(np.float32)


@pytest.mark.parametrize("categories", [2, 3, 19])
def test_entropy_is_that_of_scipy_over_the_logarithm_of_the_number_of_categories(categories):
    probabilities = some(categories)
    assert np.allclose(entropy(probabilities), scipy_entropy(probabilities, axis=0) / math.log(categories), atol=1e-5)
    assert np.array_equal(entropy(np.eye(categories, dtype=np.float32)[..., None]), np.zeros((categories, 1)))
    assert np.allclose(entropy(np.full((categories, 1, 1), 1 / categories, np.float32)), 1)


def test_of_one_category_one_is_certain():
    assert np.array_equal(entropy(np.ones((1, 2, 3), np.float32)), np.zeros((2, 3)))


def test_disagreement_by_hand():
    sure, other, unsure = (np.float32(p)[:, None, None] for p in ([1, 0], [0, 1], [0.5, 0.5]))
    assert disagreement([sure, other])[0, 0] == pytest.approx(1)  # ln 2 of the mean, 0 of each
    assert disagreement([unsure, unsure])[0, 0] == pytest.approx(0, abs=1e-6)  # both are unsure, and agree
    # mean (.75, .25): H = .5623 nats; mean of 0 and ln 2 = .3466; (.5623 − .3466) / .6931 = .3113
    assert disagreement([sure, unsure])[0, 0] == pytest.approx(0.3113, abs=1e-4)


def test_disagreement_is_the_mean_divergence_from_the_mean():
    members = [some(4) for _ in range(3)]
    mean = np.mean(members, axis=0)
    divergence = np.mean([scipy_entropy(m, mean, axis=0) for m in members], axis=0)  # Kullback–Leibler
    assert np.allclose(disagreement(members), divergence / math.log(4), atol=1e-5)
    assert np.allclose(disagreement(members[:1]), 0, atol=1e-6)


def test_a_category_without_probability_leaves_the_rest_to_the_others():
    probabilities = np.float32([[[0.5, 1.0, 0.0]], [[0.3, 0.0, 0.4]], [[0.2, 0.0, 0.6]]])
    # .3 / .5 and .2 / .5; nothing left: half each; nothing taken: as it was
    expected = [[[0, 0, 0]], [[0.6, 0.5, 0.4]], [[0.4, 0.5, 0.6]]]
    assert np.allclose(without(probabilities, [0]), expected)
    assert probabilities[0, 0, 0] == 0.5  # not in place
    assert without(probabilities, []) is probabilities
    with pytest.raises(DataError, match="leave at least one"):
        without(probabilities, [0, 1, 2])


def test_maps_are_gray_pngs_at_the_size_of_the_image(tmp_path):
    found = Uncertainty(np.float32([[0, 0.5], [1, 0.25]]), np.zeros((2, 2), np.float32))
    found.write(tmp_path, "deep/a", (2, 2))
    assert np.asarray(Image.open(tmp_path / "entropy" / "deep" / "a.png")).tolist() == [[0, 128], [255, 64]]
    found.write(tmp_path, "b", (6, 4))
    assert np.asarray(Image.open(tmp_path / "disagreement" / "b.png")).shape == (6, 4)
    assert found.means() == {"entropy": 0.4375, "disagreement": 0.0}
    assert Uncertainty(found.entropy).means() == {"entropy": 0.4375, "disagreement": None}
