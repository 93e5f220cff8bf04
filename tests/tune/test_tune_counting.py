"""Counts of many chains: those of each chain alone, whatever they share."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from maskwright.errors import DataError, UsageError
from maskwright.metrics import Counts, overlap_table
from maskwright.postprocess import apply_chain
from maskwright.recipe.predict import FillHolesSpec, MinimumAreaSpec, ThresholdSpec
from maskwright.recipe.steps import (
    ClosingSpec,
    CrfSpec,
    FavourSpec,
    MajoritySpec,
    SelectSpec,
    SmoothSpec,
    SplitSpec,
    StagedSpec,
)
from maskwright.tune import counting
from maskwright.tune.counting import ChainCounts, labels_of

EARLY = ((), (SmoothSpec(sigma=1),), (SmoothSpec(sigma=1), FavourSpec(category=1, factor=2)))
DECIDING = ((), (ThresholdSpec(value=0.4),), (SelectSpec(drop=0.2, high=0.7, lower=0.3),), (StagedSpec(pixels=5),))
LATE = ((), (MajoritySpec(),), (MajoritySpec(), MinimumAreaSpec(pixels=9)), (ClosingSpec(size=5), FillHolesSpec()))
BINARY = [(*a, *b, *c) for a, b, c in itertools.product(EARLY, DECIDING, LATE)]


def image(seed, categories=2, shape=(30, 41)):
    rng = np.random.default_rng(seed)
    scores = np.exp(6 * gaussian_filter(rng.normal(size=(categories, *shape)), (0, 2, 2)))
    truth = rng.integers(0, categories, shape, np.uint8)
    truth[0, :5] = 255
    return (scores / scores.sum(axis=0)).astype(np.float32), truth


def test_labels_are_those_of_each_chain_alone():
    probabilities, _ = image(0)
    before = probabilities.copy()
    found = dict(labels_of(probabilities, BINARY))
    assert list(sorted(map(repr, found))) == sorted(map(repr, BINARY))
    for chain in BINARY:
        assert np.array_equal(found[chain], apply_chain(probabilities, chain)), chain
    assert np.array_equal(probabilities, before)


def test_labels_of_more_categories():
    probabilities, _ = image(1, 4)
    of_two = tuple(ThresholdSpec(value=0.3, category=c) for c in (1, 3))
    late = ((), (SplitSpec(),), of_two[:1], of_two, (*of_two, MajoritySpec()), LATE[1], LATE[2])
    chains = [(*a, *c) for a, c in itertools.product(EARLY, late)]
    for chain, label in labels_of(probabilities, chains):
        assert np.array_equal(label, apply_chain(probabilities, chain)), chain


def test_an_image_is_read_once_and_only_if_a_step_looks_at_it():
    probabilities, _ = image(2, shape=(12, 15))
    pixels, reads = np.random.default_rng(0).integers(0, 255, (12, 15, 3), np.uint8), []
    plain = [(ThresholdSpec(value=0.4),), (SmoothSpec(),)]
    looking = [(CrfSpec(iterations=n), ThresholdSpec(value=v)) for n in (1, 2) for v in (0.4, 0.6)]

    def source():
        reads.append(1)
        return pixels

    assert len(dict(labels_of(probabilities, plain, image=source))) == 2
    assert reads == []
    for chain, label in labels_of(probabilities, [*plain, *looking], image=source):
        assert np.array_equal(label, apply_chain(probabilities, chain, image=pixels)), chain
    assert reads == [1]
    counts = ChainCounts(lambda row: image(row, shape=(12, 15)), 3, 2, image=lambda row: (reads.append(row), pixels)[1])
    list(counts.add(looking))
    assert sorted(reads[1:]) == [0, 1, 2]
    with pytest.raises(UsageError, match="the image that was predicted"):
        dict(labels_of(probabilities, looking))


def test_what_chains_share_is_computed_once(monkeypatch):
    calls = []

    def counted(name):
        function = getattr(counting, name)
        monkeypatch.setattr(counting, name, lambda *a, **k: (calls.append(name), function(*a, **k))[1])

    for name in ("apply_probability_steps", "apply_chain", "apply_steps"):
        counted(name)
    smooth, fill = SmoothSpec(sigma=1), FillHolesSpec()
    chains = [(smooth, ThresholdSpec(value=v), MajoritySpec(), *tail) for v in (0.3, 0.4) for tail in ((), (fill,))]
    assert len(dict(labels_of(image(0)[0], chains))) == 4
    # smoothed once; two thresholds; for each a majority and a filling
    assert [calls.count(n) for n in ("apply_probability_steps", "apply_chain", "apply_steps")] == [1, 2, 4]


@pytest.mark.parametrize("kept", [0, 40_000, 1 << 30])
@pytest.mark.parametrize("threads", [1, 3])
def test_counts_are_those_of_one_image_after_the_other(monkeypatch, kept, threads):
    monkeypatch.setattr(counting, "_KEPT_BYTES", kept)
    items, reads = [image(seed) for seed in range(7)], []

    def read(row):
        reads.append(row)
        return items[row]

    counts = ChainCounts(read, 7, 2, threads=threads)
    for part in (BINARY[:20], BINARY[20:]):
        assert list(counts.add(part)) == list(range(7))
    for chain in BINARY[::5]:
        tables = [overlap_table(truth, apply_chain(p, chain), 2) for p, truth in items]
        expected = Counts.from_table(np.stack(tables))
        for name in ("tp", "fp", "fn"):
            assert np.array_equal(getattr(counts.found[chain], name), getattr(expected, name))
    # an image is 4 · 2 · 30 · 41 + 30 · 41 = 11 070 bytes: of 40 000, three are kept
    assert len(reads) == {0: 14, 40_000: 11, 1 << 30: 7}[kept]


def test_only_what_is_missing_is_named_once():
    counts = ChainCounts(lambda row: image(row), 1, 2)
    assert counts.missing([BINARY[1], (), BINARY[1]]) == [BINARY[1], ()]
    list(counts.add([()]))
    assert counts.missing([BINARY[1], (), BINARY[1]]) == [BINARY[1]]


def test_counts_of_one_image_stay_when_images_are_forgotten():
    chains = [BINARY[0], BINARY[3], BINARY[0]]
    counts = ChainCounts(lambda row: image(row), 3, 2)
    list(counts.add(list(dict.fromkeys(chains))))
    counts.forget_images()
    for row, chain in enumerate(chains):
        expected = overlap_table(image(row)[1], apply_chain(image(row)[0], chain), 2)
        assert np.array_equal(counts.of_row(row, chain).tp, np.diag(expected))


@pytest.mark.parametrize("row", [0, 3])
def test_a_fault_of_one_image_stops_it_all(row):
    def read(number):
        probabilities, truth = image(number)
        return (probabilities, truth) if number != row else (np.full_like(probabilities, np.nan), truth)

    counts = ChainCounts(read, 4, 2, threads=2)
    with pytest.raises(DataError, match="finite"):
        list(counts.add([(SmoothSpec(),)]))
    assert counts.found == {}
