"""The objective is what its formula says, the search gains on it, and the parts come out alike."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from maskwright.split.certificate import random_places
from maskwright.split.features import Features
from maskwright.split.search import objective, place, to_problem


def features_of(rng, images, kinds, families=2):
    values = (rng.random((images, kinds)) < 0.4).astype(float)
    return Features(values, tuple(f"f{k}" for k in range(kinds)), np.arange(kinds) % families)


def by_definition(features, group, places, target):
    """J as the module states it, summed in loops."""
    sizes = np.bincount(group)
    parts, total = range(len(target)), len(group)
    found = 0.0
    columns = [(32.0, [float(n) for n in sizes], [t * total for t in target])]
    for j in range(features.values.shape[1]):
        weight = (2, 1)[features.families[j]] / (features.families == features.families[j]).sum()
        mean = features.values[:, j].mean()
        beyond = [sum(features.values[i, j] - mean for i in np.flatnonzero(group == g)) for g in range(len(sizes))]
        columns.append((weight, beyond, [0.0] * len(target)))
    for weight, beyond, wanted in columns:
        scale = sum(v * v for v in beyond)
        residuals = [sum(v for g, v in enumerate(beyond) if places[g] == p) - wanted[p] for p in parts]
        found += weight * np.mean([r * r / (t * (1 - t) * scale) for r, t in zip(residuals, target, strict=True)])
    return found


@pytest.mark.parametrize("seed", range(3))
def test_the_objective_is_what_it_says(seed):
    rng = np.random.default_rng(seed)
    group, target = rng.permutation(np.repeat(np.arange(8), [1, 1, 2, 3, 3, 4, 5, 6])), np.array([0.2, 0.3, 0.5])
    features, places = features_of(rng, 25, 4), rng.integers(0, 3, 8)
    problem = to_problem(np.bincount(group), features, group, target)
    assert objective(problem, places) == pytest.approx(by_definition(features, group, places, target), rel=1e-9)


def test_random_placement_has_the_objective_that_the_scale_promises():
    """32 for the number of images, 2 for pixel shares and 1 for presence; independent draws of 400 single images."""
    rng = np.random.default_rng(0)
    group, target = np.arange(400), np.full(4, 0.25)
    problem = to_problem(np.ones(400, int), features_of(rng, 400, 6), group, target)
    drawn = [objective(problem, rng.integers(0, 4, 400)) for _ in range(300)]
    assert np.mean(drawn) == pytest.approx(35, rel=0.1)


def test_the_best_of_all_placements_is_found():
    """7 groups into 2 parts can all be tried."""
    for seed in range(3):
        rng = np.random.default_rng(seed)
        group = np.repeat(np.arange(7), [1, 2, 2, 3, 1, 4, 2])
        problem = to_problem(np.bincount(group), features_of(rng, 15, 5), group, np.array([0.5, 0.5]))
        every = [np.array((0, *rest)) for rest in itertools.product((0, 1), repeat=6) if any(rest)]
        best = min(objective(problem, places) for places in every)
        assert objective(problem, place(problem, rng)) == pytest.approx(best)


def test_fixed_groups_stay_and_no_part_is_empty():
    rng = np.random.default_rng(0)
    group = np.arange(12)
    problem = to_problem(np.ones(12, int), features_of(rng, 12, 3), group, np.full(4, 0.25))
    fixed = np.array([2] * 5 + [-1] * 7)
    places = place(problem, rng, fixed=fixed)
    assert places[:5].tolist() == [2] * 5
    assert set(places) == {0, 1, 2, 3}
    assert np.bincount(places)[[0, 1, 3]].tolist() in ([2, 2, 3], [2, 3, 2], [3, 2, 2])


def test_random_places_fill_the_parts_in_their_shares():
    rng = np.random.default_rng(0)
    places = random_places(np.ones(100, int), np.array([0.1, 0.2, 0.7]), rng)
    assert np.bincount(places).tolist() == [10, 20, 70]
    assert sorted(places) != places.tolist()
