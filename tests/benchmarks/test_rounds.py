"""What a method's passes come to in steps, the rule for CamVid, and who chose rightly, worked by hand."""

import numpy as np
import polars as pl
import pytest
from benchmarks.alien_pool import outliers_of, shift_of
from benchmarks.few_label_sets import METHODS, SETS, Method
from benchmarks.few_labels import all_classes, void_left_out
from benchmarks.round_variants import VARIANTS
from benchmarks.selftrain_choice import Choice, to_row, wilson

from maskwright.artifacts import RunFolder, write_table
from maskwright.metrics import overlap_table
from maskwright.recipe.selftrain import SelftrainSpec
from maskwright.recipe.unlabelled import OURS as OURS_ROUND
from maskwright.recipe.unlabelled import FixMatchSpec


def test_all_methods_cost_the_same_passes():
    """Supervised 1; ST and ours two trainings, ST++ three; FixMatch 7 / 3 after a supervised one, or alone."""
    costs = {"supervised": 1, "ST": 2, "ST++": 3, "FixMatch": 1 + 7 / 3, "UniMatch": 1 + (4.5 + 9) / 3}
    assert {label: method.cost for label, method in METHODS.items() if label in costs} == pytest.approx(costs)
    assert Method({"method": {"kind": "fixmatch"}, "start": "fresh"}).cost == pytest.approx(7 / 3)
    for label, method in METHODS.items():
        paid = method.cost * method.steps(1200)
        assert 1200 - 8 * method.cost < paid <= 1200, label  # whole eighths: up to 7 steps of each training are lost


def test_few_steps_are_still_some():
    assert METHODS["ST++"].steps(9) == 8


def test_void_is_left_out():
    # truth 0 0 1 1 2(void) 2, prediction 0 1 1 1 0 1: without the last two, IoU of 0: 1 of 2, of 1: 2 of 3
    table = overlap_table(np.array([[0, 0, 1, 1, 2, 2]], np.uint8), np.array([[0, 1, 1, 1, 0, 1]], np.uint8), 3)
    assert void_left_out(np.ones((1, 1)), table[None])[0] == pytest.approx((1 / 2 + 2 / 3) / 2)


def test_all_classes_count_that_are_anywhere():
    # truth 0 0 1 1, prediction 0 1 1 1: IoU of 0: 1 of 2, of 1: 2 of 3; 2 is nowhere; the ignored pixel doesn't count
    table = overlap_table(np.array([[0, 0, 1, 1, 255]], np.uint8), np.array([[0, 1, 1, 1, 2]], np.uint8), 3)
    assert all_classes(np.ones((1, 1)), table[None])[0] == pytest.approx((1 / 2 + 2 / 3) / 2)


def test_every_variant_of_the_default_round_is_another_one():
    made = [FixMatchSpec.model_validate(OURS_ROUND.model_dump(mode="json") | fields) for fields in VARIANTS.values()]
    assert made[0] == OURS_ROUND and len({one.model_dump_json() for one in made}) == len(made)


def test_every_set_and_method_is_a_recipe():
    for method in METHODS.values():
        SelftrainSpec.model_validate({**(method.selftrain or {}), "rounds": 1})
    for wanted in SETS.values():
        assert wanted.shares


def test_who_chose_rightly():
    found = [
        Choice("a", "ST", True, 0.02, 0.01, True),  # adopted, and better
        Choice("b", "ST", True, 0.02, -0.03, True),  # adopted, and worse: 0.03 lost
        Choice("c", "ST", False, 0.00, -0.01, False),
        Choice("d", "ST", False, 0.00, 0.05, True),  # left, though better: 0.05 lost
    ]
    row = to_row(found)
    assert row.figure == 0.5
    assert row.details["mean lost by a wrong choice"] == pytest.approx(0.04)
    assert row.details["always would be right"] == row.details["never would be right"] == 0.5
    assert row.details["mean gain of always adopting"] == pytest.approx(0.005)
    assert row.details["mean gain by the rule"] == pytest.approx(-0.005)
    assert to_row([]) is None


def test_wilsons_interval_of_a_known_share():
    # 8 of 10, from R's binom::binom.wilson(8, 10): 0.4901625, 0.9433178
    assert wilson(8, 10) == pytest.approx((0.4901625, 0.9433178), abs=1e-6)


def test_what_the_audit_says_of_a_pool(tmp_path):
    folder = RunFolder(tmp_path)
    rows = [
        ("all", "all", None),
        ("labels", "labelled", 0.6),
        ("labels", "unlabelled", 0.6),
        ("part", "unlabelled", 0.1),
    ]
    write_table(folder.audit / "parts.parquet", pl.DataFrame(rows, schema=["column", "name", "shift"], orient="row"))
    images = ["unlabeled/a.png", "unlabeled/a.png", "images/b.png", "unlabeled/c.png"]
    kinds = ["outlier_mahalanobis", "outlier_knn", "outlier_knn", "duplicate"]
    write_table(folder.findings, pl.DataFrame({"image": images, "kind": kinds}))
    assert shift_of(tmp_path) == 0.6
    assert outliers_of(tmp_path) == 1
