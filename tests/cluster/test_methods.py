"""Average linkage and HDBSCAN against scikit-learn's, masks and categories, the table of specs, margins over time."""

from __future__ import annotations

import subprocess
import sys
import typing

import numpy as np
import pytest
from pydantic import TypeAdapter
from sklearn.cluster import HDBSCAN, AgglomerativeClustering
from sklearn.metrics import adjusted_rand_score

from maskwright.cluster import (
    CLUSTERERS,
    agglomerative,
    build_clusterer,
    cluster_pixels,
    cluster_things,
    hdbscan,
    mean_shift,
    merge_near,
)
from maskwright.errors import DataError
from maskwright.recipe.cluster import (
    AgglomerativeSpec,
    ClusterSpec,
    HdbscanSpec,
    MeanShiftPlusSpec,
    MeanShiftSpec,
)
from maskwright.recipe.instances import InstancesSpec
from maskwright.recipe.margin import DecayingMarginSpec, margin_at

KINDS = list(CLUSTERERS)


def blobs(size=900, channels=4, spread=0.12, seed=0):
    rng = np.random.default_rng(seed)
    middles = rng.uniform(-3, 3, (8, channels))
    owner = rng.integers(0, 8, size)
    return (middles[owner] + rng.normal(0, spread, (size, channels))).astype(np.float32), owner


@pytest.mark.parametrize("threshold", [0.3, 1.0, 4.0])
def test_average_linkage_is_that_of_scikit_learn(threshold):
    points, _ = blobs(300)
    theirs = AgglomerativeClustering(None, distance_threshold=threshold, linkage="average").fit_predict(points)
    assert adjusted_rand_score(theirs, agglomerative(points, threshold)) == 1


def test_a_distance_that_reaches_the_threshold_parts():
    points = np.array([[0.0], [2.0]])
    assert agglomerative(points, 2.0).tolist() == [0, 1] and agglomerative(points, 2.001).tolist() == [0, 0]


@pytest.mark.parametrize("channels", [2, 8])
def test_hdbscan_is_scikit_learns(channels):
    points, _ = blobs(700, channels, spread=0.4)
    theirs = HDBSCAN(min_cluster_size=20, cluster_selection_epsilon=0.5, copy=True).fit_predict(points.astype(float))
    ours = hdbscan(points, min_cluster_size=20, epsilon=0.5, single=False)
    assert adjusted_rand_score(theirs, ours) > 0.99
    assert np.array_equal(theirs < 0, ours < 0) or abs((theirs < 0).mean() - (ours < 0).mean()) < 0.01


@pytest.mark.parametrize("device", [None, "cpu"])
def test_points_beyond_the_sample_go_where_they_belong(device):
    points, owner = blobs(3000)
    assert adjusted_rand_score(owner, agglomerative(points, 1.0, sample=200, device=device)) == 1
    labels = hdbscan(points, min_cluster_size=60, sample=300, device=device)
    assert adjusted_rand_score(owner[labels >= 0], labels[labels >= 0]) == 1 and (labels < 0).mean() < 0.02


def test_one_instance_alone_is_found_by_hdbscan_only_if_it_may_be():
    points = np.random.default_rng(0).normal(0, 0.1, (300, 4))
    assert np.mean(hdbscan(points, min_cluster_size=50) == 0) > 0.9
    assert hdbscan(points[:40], min_cluster_size=50).tolist() == [-1] * 40


def test_the_table_has_every_kind():
    union = typing.get_args(typing.get_args(ClusterSpec)[0])
    assert set(union) == set(CLUSTERERS)
    assert TypeAdapter(ClusterSpec).validate_python({"kind": "hdbscan"}) == HdbscanSpec()


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_parts_blobs_and_repeats_itself(kind):
    points, owner = blobs(900)
    clusterer = build_clusterer(kind())
    labels = clusterer(points)
    inside = labels >= 0
    assert adjusted_rand_score(owner[inside], labels[inside]) == 1 and inside.mean() > 0.98
    assert np.array_equal(labels, clusterer(points)) and labels.dtype == np.int64


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("channels", [1, 5])
def test_every_kind_on_what_none_likes(kind, channels):
    clusterer = build_clusterer(kind())
    assert clusterer(np.zeros((0, channels), np.float32)).tolist() == []
    assert len(clusterer(np.ones((1, channels), np.float32))) == 1
    assert clusterer(np.full((200, channels), 2.5, np.float32)).tolist() == [0] * 200  # constant: one instance
    bad = np.zeros((200, channels), np.float32)
    bad[:3, 0] = np.nan, np.inf, -np.inf
    with pytest.raises(DataError, match=f"3 of {200 * channels} values that are NaN or infinite"):
        clusterer(bad)


def image_of(points, shape):
    return np.ascontiguousarray(points.T.reshape(-1, *shape))


def test_only_pixels_of_the_mask_are_clustered_and_ids_fall_with_the_area():
    # four groups of embeddings in a row: 3, 1, 4, 2 pixels; one pixel of NaN outside of the mask
    values = np.repeat([0.0, 5.0, 10.0, 15.0, np.nan], [3, 1, 4, 2, 1])
    embeddings = np.float32(values)[None, None]
    mask = np.isfinite(values)[None]
    clusterer = build_clusterer(MeanShiftSpec())
    found = cluster_pixels(embeddings, mask, clusterer)
    assert found.dtype == np.int32 and found.tolist() == [[2] * 3 + [4] + [1] * 4 + [3] * 2 + [0]]
    assert cluster_pixels(embeddings, mask, clusterer, minimum=3).tolist() == [[2] * 3 + [0] + [1] * 4 + [0] * 3]
    assert not cluster_pixels(embeddings, mask, clusterer, minimum=11).any()
    assert not cluster_pixels(embeddings, np.zeros_like(mask), clusterer).any()
    with pytest.raises(DataError, match="where: scan 7"):
        cluster_pixels(embeddings, None, clusterer, where="scan 7")
    with pytest.raises(DataError, match="1 of 11 values"):
        cluster_pixels(embeddings, None, clusterer)


def test_noise_is_no_instance():
    found = cluster_pixels(np.zeros((2, 1, 4), np.float32), None, lambda points: np.array([-1, 3, 3, -1]))
    assert found.tolist() == [[0, 1, 1, 0]]
    assert not cluster_pixels(np.zeros((2, 1, 4), np.float32), None, lambda points: np.full(4, -1)).any()


def test_ids_of_categories_are_their_own():
    label = np.uint8([[1, 1, 2, 2, 0, 255]])
    embeddings = np.float32([[[0, 9, 0, 0, 0, np.nan]]])
    clusterer = build_clusterer(MeanShiftSpec())
    first, second, *others = cluster_things(embeddings, label, [1, 2], clusterer)[0].tolist()
    assert {first, second} == {1, 2} and others == [3, 3, 0, 0]
    assert not cluster_things(embeddings, label, [3], clusterer).any()
    assert cluster_things(embeddings, label, [2, 1], clusterer)[0, 2:4].tolist() == [1, 1]


@pytest.mark.parametrize(
    ("embeddings", "mask"),
    [
        (np.zeros((3, 4)), None),
        (np.zeros((0, 3, 4)), None),
        (np.zeros((2, 3, 4), int), None),
        (np.zeros((2, 3, 4)), np.ones((4, 3), bool)),
        (np.zeros((2, 3, 4)), np.ones((3, 4))),
    ],
)
def test_shapes_that_do_not_fit(embeddings, mask):
    with pytest.raises(DataError, match=r"expected \(E, H, W\) embeddings as floats and an \(H, W\) bool mask"):
        cluster_pixels(embeddings, mask, build_clusterer(MeanShiftSpec()))


def test_margins_come_to_their_value():
    margin = DecayingMarginSpec(value=0.5, shift=0.2, rate=5)
    # 0.2 · e^−2.5 = 0.016417, 0.2 · e^−5 = 0.0013476
    assert [margin_at(margin, p) for p in (0, 0.5, 1)] == pytest.approx([0.7, 0.516417, 0.5013476])
    assert margin_at(DecayingMarginSpec(value=0.1, shift=-0.2), 0) == 1e-3
    assert margin_at(1.5, 0.3) == 1.5


def test_a_margin_changes_what_is_found():
    points = np.repeat([0.0, 0.65], 20)[:, None]
    spec = MeanShiftSpec(bandwidth=DecayingMarginSpec(value=0.5, shift=0.3, rate=5), seeding="farthest")
    assert [len(set(build_clusterer(spec, progress=p)(points).tolist())) for p in (0, 1)] == [1, 2]
    later = DecayingMarginSpec(value=0.6, shift=0.4, rate=50)
    merged = MeanShiftPlusSpec(bandwidth=0.5, merge=later, seeding="farthest")
    assert [len(set(build_clusterer(merged, progress=p)(points).tolist())) for p in (0, 1)] == [1, 2]
    linked = AgglomerativeSpec(threshold=DecayingMarginSpec(value=0.6, shift=0.4, rate=50))
    assert [len(set(build_clusterer(linked, progress=p)(points).tolist())) for p in (0, 1)] == [1, 2]


def test_plus_is_mean_shift_and_then_merging():
    points, _ = blobs(900, spread=0.3)
    expected = merge_near(points, mean_shift(points, 0.5).labels, 1.0)
    assert np.array_equal(build_clusterer(MeanShiftPlusSpec(bandwidth=0.5, merge=1.0))(points), expected)
    # by the default margins: half of 1.5, and 1.5 of it
    expected = merge_near(points, mean_shift(points, 0.75).labels, 2.25)
    assert np.array_equal(build_clusterer(MeanShiftPlusSpec())(points), expected)


def test_distances_that_nobody_states_follow_the_margins_of_the_loss():
    loss = {"pull_margin": 0.3, "push_margin": {"value": 2.0, "shift": 0.4, "rate": 3}}

    def told(**cluster):
        return InstancesSpec.model_validate({"loss": loss, "cluster": cluster}).filled_in().cluster

    found = told(kind="mean_shift_plus")
    # half of 2.0 + 0.4 e^(−3p), and 1.5 of it
    assert [margin_at(found.bandwidth, p) for p in (0, 1)] == pytest.approx([1.2, 1 + 0.2 * np.exp(-3)])
    assert [margin_at(found.merge, p) for p in (0, 1)] == pytest.approx([3.6, 3 + 0.6 * np.exp(-3)])
    assert told(kind="mean_shift_plus", merge=0.7).merge == 0.7
    assert told(kind="mean_shift").bandwidth == found.bandwidth
    assert told(kind="agglomerative").threshold == pytest.approx(0.6)
    assert told(kind="hdbscan").epsilon == 0.3 and told(kind="hdbscan", epsilon=0.1).epsilon == 0.1
    plain = InstancesSpec.model_validate({"loss": loss})
    assert plain.cluster.bandwidth is None and plain.border is None  # the recipe stays as it was written
    assert plain.filled_in().border == pytest.approx(1 + 0.2 * np.exp(-3))  # at the end of the training


def test_numpy_alone_is_loaded_until_a_device_is_named():
    code = (
        "import sys, maskwright.cluster, maskwright.panoptic; print('torch' in sys.modules, 'sklearn' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["False", "False"]
