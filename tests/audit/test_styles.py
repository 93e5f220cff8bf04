"""Label sources: two simulated annotators are told apart, one annotator's masks split at random aren't."""

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter
from scipy.stats import kruskal

from maskwright.audit import audit_index
from maskwright.audit.permutation import holm, rank_difference
from maskwright.audit.shapes import STYLES, style_of
from maskwright.audit.styles import compare_styles, differences
from maskwright.data.index import build_index
from maskwright.recipe.data import AuditSpec, DataSpec
from maskwright.recipe.outliers import BalanceSpec
from maskwright.types import IGNORE, Categories, Category

CATEGORIES = Categories((Category(id=0, name="background"), Category(id=1, name="rock")))
SPEC = BalanceSpec(samples=199)


def ragged(seed, smooth=0.0):
    """Blobs with noisy outlines, 72×72; `smooth` is what an annotator with a soft brush makes of them."""
    rng = np.random.default_rng(seed)
    field = gaussian_filter(rng.normal(size=(72, 72)), 7) * 40 + gaussian_filter(rng.normal(size=(72, 72)), 0.8)
    mask = field > 0.8
    return (gaussian_filter(mask.astype(float), smooth) > 0.5 if smooth else mask).astype(np.uint8)


@pytest.fixture(scope="module")
def rough():
    return np.array([style_of(ragged(seed), CATEGORIES) for seed in range(40)])


def styles_by_name(label):
    return dict(zip(STYLES, style_of(label, CATEGORIES).tolist(), strict=True))


def test_the_style_of_a_square():
    label = np.zeros((40, 50), np.uint8)
    label[10:30, 10:30] = 1
    found = styles_by_name(label)
    assert found["coverage"] == pytest.approx(0.2) and found["objects"] == 1
    assert found["size"] == pytest.approx(np.sqrt(400 / 2000))
    assert found["roughness"] == pytest.approx(0, abs=0.03)  # nothing but its corners is rounded
    assert found["detail"] == pytest.approx(100 * 4 / 76)  # the outline runs through the centres of the border's pixels


def test_teeth_are_rougher_than_a_straight_outline_and_have_more_corners():
    straight = np.zeros((60, 60), np.uint8)
    straight[:30] = 1
    teeth = straight.copy()
    teeth[28:30, ::4] = 0
    assert styles_by_name(straight)["roughness"] == 0  # the image's border is no outline
    assert styles_by_name(teeth)["roughness"] > 0.2
    assert styles_by_name(teeth)["detail"] > 2 * styles_by_name(straight)["detail"]


def test_nothing_drawn_has_coverage_alone_and_nothing_valid_has_nothing():
    empty = styles_by_name(np.zeros((8, 8), np.uint8))
    assert empty["coverage"] == 0 and all(np.isnan(empty[s]) for s in STYLES[1:])
    assert np.isnan(style_of(np.full((8, 8), IGNORE, np.uint8), CATEGORIES)).all()


def test_the_rank_difference_is_that_of_kruskal_and_wallis():
    values, kinds = np.random.default_rng(0).normal(size=30), np.arange(30) % 3
    found = rank_difference(values, 3)(kinds[None])[0]
    expected = kruskal(*(values[kinds == k] for k in range(3))).statistic
    assert found == pytest.approx(expected / 29)  # H = (n − 1) times the share, without ties


def test_holm_by_hand():
    # sorted .005 .01 .03 .04, times 4 3 2 1, each at least the one before: .02 .03 .06 .06
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def compared(styles, sources, groups=None, seed=0):
    groups = groups or [None] * len(sources)
    return compare_styles("label_source", styles, sources, groups, SPEC, np.random.default_rng(seed))


def test_a_smoothing_annotator_is_told_apart(rough):
    soft = np.array([style_of(ragged(seed, 2.0), CATEGORIES) for seed in range(40, 60)])
    table = compared(np.concatenate([rough[:20], soft]), ["a"] * 20 + ["b"] * 20)
    found = {detail.split(" differ in ")[1].split(" ")[0]: severity for severity, _, detail in differences(table, 0.05)}
    assert found.get("roughness") == "warning" and found.get("detail") == "warning"
    assert "coverage" not in found  # smoothing moves outlines to both sides


def test_one_annotator_split_at_random_is_called_two_no_more_often_than_the_level(rough):
    alarms = 0
    for seed in range(40):
        sources = np.random.default_rng(seed).permutation(["a", "b"] * 20).tolist()
        alarms += bool(differences(compared(rough, sources, seed=seed), 0.05))
    # of 40 data sets at a level of 5 %, more than 6 have a probability of .01 (binomial)
    assert alarms <= 6


def test_a_difference_between_two_patients_proves_nothing_about_annotators(rough):
    soft = np.array([style_of(ragged(seed, 2.0), CATEGORIES) for seed in range(40, 60)])
    table = compared(np.concatenate([rough[:20], soft]), ["a"] * 20 + ["b"] * 20, ["p"] * 20 + ["q"] * 20)
    assert differences(table, 0.05) == []


@pytest.mark.parametrize("sources", [["a"] * 40, [None] * 40, ["", *["a"] * 39]])
def test_a_single_source_is_compared_with_nothing(rough, sources):
    assert compared(rough, sources).height == 0


def test_the_audit_compares_the_column_that_the_recipe_names(tmp_path):
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    lines = ["name,annotator"]
    for seed in range(24):
        noise = np.random.default_rng(seed).integers(0, 255, (72, 72), np.uint8)
        Image.fromarray(noise).save(tmp_path / "images" / f"{seed:02d}.png")
        Image.fromarray(ragged(seed, 2.0 * (seed % 2))).save(tmp_path / "masks" / f"{seed:02d}.png")
        lines.append(f"{seed:02d},{'soft' if seed % 2 else 'hard'}")
    (tmp_path / "meta.csv").write_text("\n".join(lines) + "\n")
    index, _, _ = build_index(DataSpec(root=str(tmp_path), label_source="annotator"))
    found = audit_index(index, AuditSpec(pictures=False))
    rows = [row for row in found.findings.to_dicts() if row["kind"] == "label_style"]
    assert any("roughness" in row["detail"] and "soft" in row["detail"] for row in rows)
    assert set(found.tables["styles"]["source"]) == {"hard", "soft"}
    plain, _, _ = build_index(DataSpec(root=str(tmp_path)))
    assert audit_index(plain, AuditSpec(pictures=False)).tables["styles"].height == 0
