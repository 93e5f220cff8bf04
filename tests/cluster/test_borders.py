"""Steps of embeddings across borders: by hand, against a plain loop, and the unkind cases."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maskwright.cluster import join_across


def plain(ids, embeddings, least):
    """Join by recounting every border each time."""
    ids = ids.copy()
    while True:
        found = {}
        for y, x in np.ndindex(ids.shape):
            for other in ((y + 2, x), (y, x + 2)):
                if other[0] < ids.shape[0] and other[1] < ids.shape[1]:
                    a, b = sorted((int(ids[y, x]), int(ids[other])))
                    if 0 < a < b and ids[(y + other[0]) // 2, (x + other[1]) // 2] in (a, b):
                        found.setdefault((a, b), []).append(
                            np.linalg.norm(embeddings[:, y, x] - embeddings[(slice(None), *other)])
                        )
        lowest = min(((np.mean(v), k) for k, v in found.items()), default=(np.inf, None))
        if lowest[0] >= least:
            return ids
        ids[ids == lowest[1][1]] = lowest[1][0]


def test_a_drift_is_one_object_and_a_step_is_two():
    """Columns drift by 0.1 each, cut in the middle, and step by 2 to the next object: 0.2 across, and 2.2."""
    ids = np.repeat(np.int32([[1] * 8 + [2] * 8 + [3] * 8]), 6, axis=0)
    embeddings = np.zeros((3, 6, 24))
    embeddings[1] = 0.1 * np.arange(24) + 2.0 * (np.arange(24) >= 16)
    found = join_across(ids, embeddings, 1.0)
    assert np.array_equal(found, np.where(ids == 3, 2, 1))
    assert np.array_equal(join_across(ids, embeddings, 0.0), ids)
    assert np.array_equal(join_across(ids, embeddings, 0.19), ids)
    assert join_across(ids, embeddings, 2.3).max() == 1
    assert found.dtype == np.int32


def test_borders_of_joined_objects_are_counted_together():
    """3 is far from 1, at a short border, and near 2, at a long one: beside both at once it is near, too far apart."""
    ids = np.zeros((12, 6), np.int32)
    ids[:2, :3], ids[2:, :3], ids[:, 3:] = 1, 2, 3
    embeddings = np.zeros((1, 12, 6))
    embeddings[0, :, 3:] = 0.5
    embeddings[0, :2, 3:] = 4.0
    # 1 and 2 join first (0); then the mean over 12 rows is (2 · 4 + 10 · 0.5) / 12 = 1.083
    assert join_across(ids, embeddings, 1.0).max() == 2
    assert join_across(ids, embeddings, 1.1).max() == 1


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.1, 3.0))
def test_it_is_what_a_plain_loop_finds(seed, least):
    rng = np.random.default_rng(seed)
    ids = np.kron(rng.integers(0, 6, (4, 4)), np.ones((3, 2), int)).astype(np.int32)
    embeddings = np.kron(rng.normal(0, 1, (2, 4, 4)), np.ones((1, 3, 2))) + rng.normal(0, 0.1, (2, 12, 8))
    found, expected = join_across(ids, embeddings, least), plain(ids, embeddings, least)
    assert np.array_equal(found > 0, ids > 0)
    pairs = {(int(a), int(b)) for a, b in zip(found.ravel(), expected.ravel(), strict=True)}
    assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})


@pytest.mark.parametrize("shape", [(0, 0), (1, 1), (2, 2), (1, 9)])
def test_maps_without_borders(shape):
    ids = np.ones(shape, np.int32)
    assert np.array_equal(join_across(ids, np.zeros((2, *shape)), 1.0), ids)


def test_objects_that_do_not_touch_are_two():
    apart = np.int32([[1, 0, 2], [1, 0, 2]])
    assert join_across(apart, np.zeros((1, 2, 3)), 1.0).max() == 2
    between = np.int32([[1, 3, 2], [1, 3, 2]])  # 1 and 3, 3 and 2 touch, but no two pixels with one of them between
    assert join_across(between, np.zeros((1, 2, 3)), 1.0).max() == 3


def test_values_away_from_borders_are_not_looked_at():
    ids = np.repeat(np.int32([[1] * 8 + [2] * 8]), 4, axis=0)
    embeddings = np.where(ids == 1, 0.0, 5.0)[None].copy()
    embeddings[0, :, 0] = np.nan
    assert join_across(ids, embeddings, 1.0).max() == 2


def test_thousands_of_objects_that_all_join_end_soon():
    ids = (1 + np.arange(70)[:, None] // 1 * 70 + np.arange(70)).astype(np.int32)
    ids = np.kron(ids, np.ones((2, 2), np.int32)).astype(np.int32)
    assert join_across(ids, np.zeros((2, 140, 140)), 1.0).max() == 1
