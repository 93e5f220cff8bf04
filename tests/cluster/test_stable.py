"""Stable instances against a loop over anchors and pixels, and worked by hand."""

from __future__ import annotations

import time

import numpy as np
import pytest

from maskwright.cluster import anchor_balls, anchor_ious, stable_instances
from maskwright.errors import DataError


def slow(instances, embeddings, radius, mask):
    """Return the median IoU of balls around every pixel, id by id."""
    inside = np.ones(instances.shape, bool) if mask is None else mask | (instances > 0)
    found = []
    for number in np.unique(instances[instances > 0]):
        own, ious = instances == number, []
        for row, column in np.argwhere(own):
            ball = (np.linalg.norm(embeddings - embeddings[:, row, column][:, None, None], axis=0) <= radius) & inside
            ious.append((ball & own).sum() / (ball | own).sum())
        found.append(np.median(ious))
    return found


@pytest.mark.parametrize("masked", [False, True])
def test_like_a_loop_over_all_pixels(masked):
    rng = np.random.default_rng(0)
    instances = rng.integers(0, 5, (12, 14)).astype(np.int32) * 3
    embeddings = rng.normal(0, 1, (5, 3))[instances // 3].transpose(2, 0, 1) + rng.normal(0, 0.2, (3, 12, 14)) + 50
    mask = (rng.random((12, 14)) < 0.5) if masked else None
    found = anchor_ious(instances, embeddings, 0.6, mask=mask)
    assert found == pytest.approx(slow(instances, embeddings, 0.6, mask))
    assert found.min() > 0.1 and found.max() < 0.99


def test_an_instance_that_the_other_network_tears_apart_is_dropped():
    # 1: all its 4 pixels at 0 and nothing else: IoU 1. 2: two halves, 4 pixels each: IoU 4/8. 3: shares its place with
    # 2 pixels of background: 4 of 6
    values = np.float32([[0] * 4 + [5] * 4 + [9] * 4 + [20] * 6])
    instances = np.int32([[1] * 4 + [2] * 8 + [3] * 4 + [0] * 2])
    embeddings = values[None]
    assert anchor_ious(instances, embeddings, 0.5).tolist() == pytest.approx([1, 0.5, 4 / 6])
    assert np.unique(stable_instances(instances, embeddings, 0.5)).tolist() == [0, 1, 3]
    assert np.unique(stable_instances(instances, embeddings, 0.5, iou=0.5)).tolist() == [0, 1, 2, 3]
    things = instances > 0
    assert anchor_ious(instances, embeddings, 0.5, mask=things).tolist() == pytest.approx([1, 0.5, 1])


def test_instances_far_from_one_another_may_share_an_embedding():
    """Two instances and some background of the same embedding; the second region holds the second instance alone."""
    embeddings, instances = np.ones((1, 1, 12), np.float32), np.int32([[1] * 4 + [0] * 2 + [2] * 6])
    assert anchor_ious(instances, embeddings, 0.5).tolist() == pytest.approx([4 / 12, 6 / 12])
    regions = np.int32([[1] * 6 + [2] * 6])
    assert anchor_ious(instances, embeddings, 0.5, regions=regions).tolist() == pytest.approx([4 / 6, 1])
    torn = np.int32([[1] * 6 + [2] * 4 + [1] * 2])  # the rest of 2 goes with its first pixel
    assert anchor_ious(instances, embeddings, 0.5, regions=torn).tolist() == pytest.approx([4 / 6, 1])


def test_a_thousand_instances_of_one_embedding_take_a_moment():
    rows, columns = np.indices((192, 192))
    many = (1 + rows // 6 * 32 + columns // 6).astype(np.int32)  # 1024 of 36 pixels
    started = time.process_time()
    found = anchor_ious(many, np.zeros((8, 192, 192), np.float32), 0.5)
    assert found == pytest.approx(np.full(1024, 36 / 192**2))
    assert time.process_time() - started < 30  # some 5 s; a call for each pair took over a minute


def test_balls_to_be_looked_at():
    # 2 is the largest: 8 pixels at 5, 5, 5, 5, 5, 5, 9, 9, mean 6; the nearest pixel is the first at 5, and within 0.5
    # of it lie 6 of its own and one of the background: 6 of 9. Then 1: its 4 pixels at 0 and nothing else
    embeddings = np.float32([[[0] * 4 + [5] * 6 + [9] * 2 + [5] + [20] * 2]])
    instances = np.int32([[1] * 4 + [2] * 8 + [0] * 3])
    found = anchor_balls(instances, embeddings, 0.5)
    assert found.anchors.tolist() == [[0, 4], [0, 0]]
    assert found.ious.tolist() == pytest.approx([6 / 9, 1])
    assert np.flatnonzero(found.balls[0]).tolist() == [4, 5, 6, 7, 8, 9, 12]
    inside = anchor_balls(instances, embeddings, 0.5, mask=instances > 0, most=1)
    assert inside.ious.tolist() == pytest.approx([6 / 8]) and len(inside.anchors) == 1
    # the background's pixel at 5 is of another network: it isn't near, whatever its embedding
    parted = anchor_balls(instances, embeddings, 0.5, regions=np.int64(instances > 0))
    assert parted.ious.tolist() == pytest.approx([6 / 8, 1]) and not parted.balls[0, 0, 12]
    none = anchor_balls(np.zeros((2, 3), np.int32), np.zeros((4, 2, 3)), 0.5)
    assert none.anchors.shape == (0, 2) and none.balls.shape == (0, 2, 3) and none.ious.shape == (0,)
    with pytest.raises(DataError, match="finite"):
        anchor_balls(np.int32([[1]]), np.full((1, 1, 1), np.nan), 0.5)


def test_few_anchors_repeat_themselves():
    rng = np.random.default_rng(1)
    instances = rng.integers(1, 4, (30, 30)).astype(np.int32)
    embeddings = rng.normal(0, 1, (4, 30, 30)).astype(np.float32)
    first, again, other = (anchor_ious(instances, embeddings, 1.0, anchors=9, seed=s) for s in (0, 0, 1))
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_no_instance_one_pixel_and_many():
    embeddings = np.zeros((2, 3, 3), np.float32)
    assert anchor_ious(np.zeros((3, 3), np.int32), embeddings, 0.5).shape == (0,)
    assert anchor_ious(np.zeros((0, 3), np.int32), np.zeros((2, 0, 3)), 0.5).shape == (0,)
    assert not stable_instances(np.zeros((3, 3), np.int32), embeddings, 0.5).any()
    alone = np.zeros((3, 3), np.int32)
    alone[1, 1] = 7
    assert anchor_ious(alone, embeddings, 0.5).tolist() == pytest.approx([1 / 9])  # constant: its ball is the image
    rows, columns = np.indices((100, 50))
    many = (1 + rows // 2 * 25 + columns // 2).astype(np.int32)
    found = anchor_ious(many, np.stack([rows // 2 * 3.0, columns // 2 * 3.0]), 0.5)
    assert found.shape == (1250,) and (found == 1).all()


def test_what_does_not_fit():
    with pytest.raises(DataError, match=r"ids, \(E, H, W\) embeddings"):
        anchor_ious(np.zeros((3, 3), np.int32), np.zeros((2, 3, 4)), 0.5)
    embeddings = np.zeros((2, 3, 3))
    embeddings[:, 0, 0] = np.nan
    with pytest.raises(DataError, match="2 of 18 values that are NaN"):
        anchor_ious(np.ones((3, 3), np.int32), embeddings, 0.5)
