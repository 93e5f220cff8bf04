"""Mean-shift against scikit-learn's, merging by hand, torch against NumPy, and input that no clustering likes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.cluster import MeanShift, get_bin_seeds
from sklearn.metrics import adjusted_rand_score

from maskwright.cluster import build_clusterer, mean_shift, merge_near
from maskwright.cluster.modes import _bins
from maskwright.cluster.points import NumPyPoints
from maskwright.errors import DataError, UsageError
from maskwright.recipe.instances import InstancesSpec


def blobs(count, size, channels, seed=0, spread=0.15):
    rng = np.random.default_rng(seed)
    middles = rng.uniform(-2, 2, (count, channels))
    owner = rng.integers(0, count, size)
    return (middles[owner] + rng.normal(0, spread, (size, channels))).astype(np.float32), owner


@pytest.mark.parametrize("channels", [1, 2, 8, 16])
@pytest.mark.parametrize("spread", [0.05, 0.2])
def test_the_modes_are_those_of_scikit_learn_but_for_what_it_loses(channels, spread, monkeypatch):
    monkeypatch.setattr("maskwright.cluster.modes._LOST", np.inf)
    points, _ = blobs(8, 300, channels, spread=spread)
    theirs = MeanShift(bandwidth=0.5, bin_seeding=True).fit(points)
    ours = mean_shift(points, 0.5)
    assert adjusted_rand_score(theirs.labels_, ours.labels) > 0.97
    assert len(ours.centres) == pytest.approx(len(theirs.cluster_centers_), rel=0.05)
    away = np.linalg.norm(ours.centres[:, None] - theirs.cluster_centers_[None], axis=2)
    assert np.median(away.min(axis=1)) < 1e-3


def test_seeds_are_the_bins_of_scikit_learn():
    points, _ = blobs(9, 800, 3, spread=0.5)
    theirs = get_bin_seeds(points, 0.5)
    zero = np.zeros(3)
    ours = _bins(points / 0.5, zero, 10_000)[0] * 0.5
    assert np.array_equal(np.unique(ours, axis=0), np.unique(theirs, axis=0))
    rows, sizes = np.unique(np.round(points / 0.5), axis=0, return_counts=True)
    fullest = _bins(points / 0.5, zero, 3)[0]
    assert sorted(int(sizes[(rows == corner).all(axis=1)][0]) for corner in fullest) == sorted(sizes.tolist())[-3:]


def test_only_points_near_their_own_bin_are_in_a_ball_of_any():
    points, _ = blobs(9, 300, 12, spread=0.5)
    corners, near = _bins(points, np.zeros(12), 10_000)
    away = np.linalg.norm(points[:, None] - corners[None], axis=2)
    assert len(near) == (away <= 1).any(axis=1).sum() < 300


@pytest.mark.parametrize("seeding", ["bins", "farthest", "random"])
def test_blobs_far_apart_are_found_by_any_seeds(seeding):
    middles = np.array([[0, 0], [5, 0], [0, 5], [9, 9]], float)
    rng = np.random.default_rng(1)
    owner = rng.integers(0, 4, 3000)
    points = middles[owner] + rng.uniform(-0.1, 0.1, (3000, 2))
    found = mean_shift(points, 0.5, seeding=seeding, sample=400, seeds=64)
    assert adjusted_rand_score(owner, found.labels) == 1
    drawn = np.sort(np.random.default_rng(0).choice(3000, 400, replace=False))
    sizes = np.bincount(owner[drawn])
    assert found.support.tolist() == sorted(sizes, reverse=True)
    for centre, size in zip(found.centres, found.support, strict=True):  # each ball holds its whole blob
        of_size = [points[drawn][owner[drawn] == k].mean(axis=0) for k in np.flatnonzero(sizes == size)]
        assert np.abs(of_size - centre).max(axis=1).min() < 1e-5


def test_the_same_seed_gives_the_same_modes():
    points, _ = blobs(20, 3000, 4, spread=0.3)
    first, second, other = (mean_shift(points, 0.5, seeding="random", sample=500, seed=s) for s in (3, 3, 4))
    assert np.array_equal(first.centres, second.centres) and np.array_equal(first.labels, second.labels)
    assert not np.array_equal(first.centres, other.centres)


@pytest.mark.parametrize("grouped", [1, 1 << 40])
def test_balls_and_nearest_centres_are_those_of_all_distances(grouped, monkeypatch):
    monkeypatch.setattr("maskwright.cluster.points._GROUPED", grouped)
    monkeypatch.setattr("maskwright.cluster.points._CENTRES", 7)
    monkeypatch.setattr("maskwright.cluster.points.BLOCK", 1000)
    rng = np.random.default_rng(0)
    points, centres = rng.normal(0, 1, (900, 3)), rng.normal(0, 2, (40, 3))
    away = np.linalg.norm(points[:, None] - centres[None], axis=2)  # (N, S)
    means, counts = NumPyPoints(points).shifted(centres)
    assert counts.tolist() == (away <= 1).sum(axis=0).tolist()
    assert 0 in counts and counts.max() > 20
    for centre in range(40):
        inside = points[away[:, centre] <= 1]
        assert means[centre] == pytest.approx(inside.mean(axis=0)) if len(inside) else np.isnan(means[centre]).all()
    assert np.array_equal(NumPyPoints(points).nearest(centres), away.argmin(axis=1))


def test_points_far_apart_cover_all():
    points = np.random.default_rng(0).uniform(0, 4, (500, 2))
    cloud = NumPyPoints(points - points.mean(axis=0))
    chosen = points[cloud.spread(500, 1.0)]
    away = np.linalg.norm(points[:, None] - chosen[None], axis=2)
    assert away.min(axis=1).max() <= 1
    between = np.linalg.norm(chosen[:, None] - chosen[None], axis=2) + 9 * np.eye(len(chosen))
    assert between.min() > 1
    assert len(cloud.spread(5, 0.0)) == 5


@pytest.mark.parametrize("seeding", ["bins", "farthest", "random"])
def test_torch_finds_what_numpy_finds(seeding):
    points, _ = blobs(15, 600, 8)
    ours, torchs = (mean_shift(points, 0.5, seeding=seeding, sample=500, device=d) for d in (None, "cpu"))
    assert adjusted_rand_score(ours.labels, torchs.labels) > 0.999
    assert ours.centres == pytest.approx(torchs.centres, abs=1e-3)


def test_a_device_that_is_not_there():
    with pytest.raises(UsageError, match="a device that torch can use"):
        mean_shift(np.zeros((4, 2)), 0.5, device="no_such_device")


def test_a_cluster_goes_to_the_nearest_of_the_larger_ones():
    # means 0 (4 points), 1 (3), 2.2 (2), 9 (1): 1 goes to 0; 2.2 is 2.2 from 0, the only one kept, and stays
    points = np.repeat([0.0, 1.0, 2.2, 9.0], [4, 3, 2, 1])[:, None]
    labels = np.repeat([7, 1, 0, 3], [4, 3, 2, 1])
    assert merge_near(points, labels, 1.5).tolist() == [0] * 7 + [1] * 2 + [2]
    # without the largest, 1 is kept and takes 2.2
    assert merge_near(points, labels, 1.5, largest_apart=True).tolist() == [0] * 4 + [1] * 5 + [2]
    assert merge_near(points, np.where(labels == 1, -1, labels), 3).tolist() == [0] * 4 + [-1] * 3 + [0] * 2 + [1]
    assert merge_near(points[:1], np.array([-1]), 1.5).tolist() == [-1]
    assert merge_near(points, labels, 1.0).tolist() == [0] * 4 + [1] * 3 + [2] * 2 + [3]  # 1.0 is not nearer than 1.0


def test_tight_clusters_in_many_dimensions_are_found_where_scikit_learn_loses_them():
    rng = np.random.default_rng(0)
    middles, owner = rng.normal(0, 2, (20, 16)), rng.integers(0, 20, 1000)
    points = (middles[owner] + rng.normal(0, 0.02, (1000, 16))).astype(np.float32)
    theirs = MeanShift(bandwidth=0.5, bin_seeding=True).fit_predict(points)
    assert adjusted_rand_score(owner, theirs) < 0.8
    assert adjusted_rand_score(owner, mean_shift(points, 0.5).labels) == 1


def middles_apart(count, channels, distance, rng):
    """Return (count, channels) points of which none is nearer than `distance` to another, and each so near to one."""
    middles = np.zeros((1, channels))
    while len(middles) < count:
        way = rng.normal(size=channels)
        point = middles[rng.integers(len(middles))] + distance * way / np.linalg.norm(way)
        if np.linalg.norm(middles - point, axis=1).min() > distance - 1e-9:
            middles = np.concatenate([middles, point[None]])
    return middles + rng.uniform(-5, 5, channels)


@pytest.mark.parametrize("channels", [8, 16, 24, 40])
@pytest.mark.parametrize("distance", [2.4, 2.8, 3.0])
def test_tight_clusters_that_touch_no_corner_are_found_beside_those_that_do(channels, distance):
    """2 δ_d, to which the loss pushes means, is 4 bandwidths of 0.75: who has no seed of his own lies beside one."""
    spec = InstancesSpec().filled_in().cluster
    assert (spec.bandwidth, spec.merge) == (0.75, 2.25)
    for seed in range(3):
        rng = np.random.default_rng(seed)
        owner = np.arange(1500) % 30
        noise = rng.normal(0, 0.02 / np.sqrt(channels), (1500, channels))
        points = (middles_apart(30, channels, distance, rng)[owner] + noise).astype(np.float32)
        assert adjusted_rand_score(owner, mean_shift(points, 0.75).labels) == 1
        assert adjusted_rand_score(owner, build_clusterer(spec)(points)) == 1


def test_what_scikit_learn_refuses():
    """In 40 dimensions every point is farther than a bandwidth from its bin's corner."""
    points = np.random.default_rng(0).uniform(-3, 3, (60, 40)).astype(np.float32)
    found = mean_shift(points, 0.5)
    assert len(found.centres) == 60 and sorted(found.labels) == list(range(60))


@pytest.mark.parametrize("channels", [1, 8])
@pytest.mark.parametrize("device", [None, "cpu"])
def test_constant_points_are_one_mode(channels, device):
    found = mean_shift(np.full((500, channels), 3.7, np.float32), 0.5, device=device)
    assert found.centres == pytest.approx(np.full((1, channels), 3.7))
    assert found.support.tolist() == [500] and not found.labels.any()


@pytest.mark.parametrize("device", [None, "cpu"])
def test_no_point_and_one(device):
    assert mean_shift(np.zeros((0, 3)), 0.5, device=device).centres.shape == (0, 3)
    assert mean_shift(np.ones((1, 3)), 0.5, device=device).labels.tolist() == [0]


def test_five_thousand_clusters_far_from_the_origin():
    middles = 1e4 + 3 * np.stack(np.meshgrid(np.arange(72), np.arange(72)), -1).reshape(-1, 2)[:5000]
    rng = np.random.default_rng(0)
    owner = rng.permutation(np.repeat(np.arange(5000), 4))
    points = (middles[owner] + rng.uniform(-0.1, 0.1, (20_000, 2))).astype(np.float32)
    assert adjusted_rand_score(owner, mean_shift(points, 0.5).labels) == 1


def test_points_that_are_as_far_apart_as_numbers_can_be():
    points = np.float32([[3e38, 0], [3e38, 0], [-3e38, 0], [-3e38, 3e38]])
    assert mean_shift(points, 0.5).labels.tolist() == [0, 0, 2, 1]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_counted(value):
    points = np.zeros((10, 2), np.float32)
    points[3, 0] = points[4, 1] = value
    with pytest.raises(DataError, match="2 of 20 values that are NaN or infinite"):
        mean_shift(points, 0.5)


@settings(deadline=None, max_examples=60)
@given(arrays(np.float32, st.tuples(st.integers(1, 40), st.integers(1, 3)), elements=st.floats(-1e6, 1e6, width=32)))
def test_any_points_end_with_a_label_each(points):
    found = mean_shift(points, 0.5)
    assert len(found.labels) == len(points)
    assert found.labels.min() >= 0 and found.labels.max() < len(found.centres)
    assert (np.diff(found.support) <= 0).all()
    between = np.linalg.norm(found.centres[:, None] - found.centres[None], axis=2) + 9 * np.eye(len(found.centres))
    assert between.min() > 0.499
