"""Rankings: against their definitions, on crowds with and without strangers, and on a playground with planted ones."""

import numpy as np
import polars as pl
import pytest
from scipy.stats import chi2
from sklearn.decomposition import PCA
from sklearn.metrics import average_precision_score
from sklearn.preprocessing import PowerTransformer

from maskwright.audit import audit_index
from maskwright.audit.outliers import components, embed, mahalanobis, one_class_svm, shared_labels
from maskwright.data.index import build_index
from maskwright.data.synthetic import make_playground
from maskwright.recipe.data import AuditSpec, DataSpec
from maskwright.recipe.outliers import OutlierSpec

SPEC = OutlierSpec()


def crowd(n=2000, k=4, seed=0):
    """Correlated Gaussian scores, (n, k)."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, k)) @ (np.eye(k) + 0.5)


def test_components_are_those_of_scikit_learn():
    table = np.random.default_rng(0).gamma(2, size=(300, 6)).astype(np.float32) @ np.triu(np.ones((6, 6), np.float32))
    standard = (table - table.mean(0)) / table.std(0)
    expected = PCA(4).fit_transform(np.clip(PowerTransformer().fit_transform(standard.astype(float)), -6, 6))
    np.testing.assert_allclose(np.abs(components(table, OutlierSpec(components=4))), np.abs(expected), atol=1e-3)


def test_there_is_a_component_for_ten_images_at_most_and_none_of_nothing():
    table = np.random.default_rng(0).normal(size=(35, 43)).astype(np.float32)
    assert components(table, SPEC).shape == (35, 3)
    assert components(np.ones((50, 43), np.float32), SPEC).shape == (50, 0)


def test_on_gaussian_components_the_cut_is_the_plain_quantile():
    found = mahalanobis(crowd(), OutlierSpec(quantile=0.99))
    # for 4 Gaussian components the squared distance is χ² with 4 degrees of freedom
    assert found.cut == pytest.approx(chi2.ppf(0.99, 4), rel=0.15)
    assert found.flagged.mean() == pytest.approx(0.01, abs=0.008)


def test_distances_are_by_definition():
    scores = crowd(500)
    found = mahalanobis(scores, OutlierSpec(covariance="ledoit_wolf"))
    centred = scores - scores.mean(0)
    # with so many images the shrinkage of Ledoit and Wolf is next to nothing
    expected = np.einsum("ni,ij,nj->n", centred, np.linalg.inv(centred.T @ centred / 500), centred)
    np.testing.assert_allclose(found.scores, expected, rtol=0.1)


def test_a_small_crowd_of_strangers_does_not_hide_itself():
    strangers = np.random.default_rng(1).normal(8, 0.1, (80, 4)) * [1, -1, 1, -1]
    scores, truth = np.concatenate([crowd(), strangers]), np.repeat([0, 1], [2000, 80])
    found = mahalanobis(scores, SPEC)
    assert average_precision_score(truth, found.scores) > 0.99
    assert found.flagged[2000:].all() and found.flagged[:2000].mean() < 0.01


def test_the_support_vector_machine_ranks_strangers_first_and_flags_the_share():
    strangers = np.random.default_rng(1).normal(8, 1, (10, 4)) * [1, -1, 1, -1]
    found = one_class_svm(np.concatenate([crowd(990), strangers]), OutlierSpec(share=0.01))
    assert np.flatnonzero(found.flagged).tolist() == list(range(990, 1000))
    assert not one_class_svm(crowd(100), OutlierSpec(share=0)).flagged.any()


@pytest.mark.parametrize("rank", [mahalanobis, one_class_svm])
def test_few_images_or_equal_ones_are_not_ranked(rank):
    assert np.isnan(rank(crowd(19), SPEC).scores).all()
    equal = rank(np.empty((50, 0)), SPEC)
    assert np.isnan(equal.scores).all() and not equal.flagged.any() and "no two images differ" in equal.about


def test_mostly_copies_of_one_image_still_have_distances():
    scores = np.concatenate([np.zeros((90, 2)), np.random.default_rng(0).normal(size=(10, 2))])
    found = mahalanobis(scores, SPEC)
    assert np.isfinite(found.scores).all() and "Ledoit-Wolf" in found.about


def test_only_different_images_share_a_label_map():
    digests = ["a", "a", "b", "b", None, None, "c", "a"]
    # 0 and 1 are copies, 7 is another picture; 2 and 3 are copies alone; no label is no label map
    assert shared_labels(digests, [[0, 1], [2, 3]]) == [[0, 1, 7]]
    assert shared_labels(digests[:6], [[0, 1], [2, 3]]) == []


def test_the_map_keeps_what_must_be_in_it():
    scores = crowd(60)
    places = embed(scores, np.zeros(60, bool), np.random.default_rng(0))
    assert places.shape == (60, 2) and np.isfinite(places).all()
    assert np.isnan(embed(crowd(10), np.zeros(10, bool), np.random.default_rng(0))).all()


@pytest.fixture(scope="module")
def playground(tmp_path_factory):
    root = tmp_path_factory.mktemp("playground")
    planted = make_playground(root)
    index, _, _ = build_index(DataSpec(root=str(root)))
    return index, planted


def test_planted_aliens_are_flagged_and_kept_unless_one_says_drop(playground):
    index, planted = playground
    aliens = {f"images/{name}.png" for name in planted["aliens"]}
    kept = audit_index(index, AuditSpec(pictures=False))
    rows = kept.findings.filter(pl.col("kind") == "outlier_mahalanobis")
    assert aliens <= set(rows["image"]) and set(rows["decision"]) == {"kept"}
    assert rows.height <= len(aliens) + 2  # of 85 others
    assert set(kept.tables["outliers"].filter("flagged")["image"]) == set(rows["image"])
    assert aliens <= set(kept.shares) and kept.unusable == []
    dropped = audit_index(index, AuditSpec.model_validate({"pictures": False, "outliers": {"decision": "drop"}}))
    rows = dropped.findings.filter(pl.col("kind") == "outlier_mahalanobis")
    assert set(rows["decision"]) == {"dropped"}
    said = {d.image: d for d in dropped.decisions if d.by == "policy:outliers"}
    assert set(said) == set(rows["image"]) and {d.action for d in said.values()} == {"drop"}
    assert not any(d.by == "policy:outliers" for d in kept.decisions)


def test_every_ranking_stands_in_the_table_that_was_asked_for(playground):
    index, _ = playground
    both = audit_index(index, AuditSpec.model_validate({"pictures": False, "outliers": {"kind": "both"}}))
    table = both.tables["outliers"]
    assert table.height == len(index) and table["mahalanobis"].null_count() == table["one_class_svm"].null_count() == 0
    assert table["mahalanobis"].is_sorted(descending=True)
    none = audit_index(index, AuditSpec.model_validate({"pictures": False, "outliers": {"kind": "none"}}))
    assert none.tables["outliers"]["mahalanobis"].null_count() == len(index)
    assert not none.findings["kind"].str.starts_with("outlier").any()
