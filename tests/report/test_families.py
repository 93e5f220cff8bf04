"""Scores of boundaries, calibration, segments and instances in the report."""

from __future__ import annotations

import json

import polars as pl
import pytest

from maskwright.report.collect import collect, image_distances
from maskwright.report.families import by_family, calibration, family_tables
from maskwright.types import Categories, Category

NAMES = ("ground", "rock")
RECIPE = """
data:
  root: data
  categories: [{id: 0, name: ground}, {id: 1, name: rock}]
  leave_out: [ground]
"""


def score(value):
    return {"value": value, "low": value - 0.1, "high": value + 0.1, "n": 2, "definition": "What it is."}


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "run"
    (folder / "predictions").mkdir(parents=True)
    (folder / "recipe.yaml").write_text(RECIPE)
    pl.DataFrame({"image": ["images/a.png", "images/b.png"], "mask": ["masks/a.png", "masks/b.png"]}).write_parquet(
        folder / "index.parquet"
    )
    keys = {"mean_dice": 0.5, "mean_hd95": 4.25, "ece": 0.125, "iou/rock": 0.5, "hd95/rock": 4.25}
    scores = {f"oof/{key}": score(value) for key, value in keys.items()}
    (folder / "predictions" / "evaluation.json").write_text(json.dumps(scores))
    return folder


def test_metrics_come_by_family():
    found = by_family(["mean_dice", "mean_hd95", "pq", "dental_score", "pq_stuff", "ece", "ap50", "pooled_miou"])
    assert found == {
        "Scores": ["mean_dice", "pooled_miou"],
        "Boundaries": ["mean_hd95", "dental_score"],
        "Panoptic quality": ["pq", "pq_stuff"],
        "Calibration": ["ece"],
        "Instances": ["ap50"],
    }


def test_single_categories_have_a_table_a_family(run):
    (group,) = family_tables(collect(run))
    assert group.title == "Boundaries"
    assert group.tables[0].rows == [["rock", "4.250 (4.150–4.350)"]]
    assert group.tables[0].head == ("category", "HD95, pixels, out of fold")


def test_bins_of_confidence_add_up_over_images(run):
    # .5 to 1: 10 + 30 pixels with 4 + 30 right and confidences 8 + 27: accuracy 34 / 40, confidence 35 / 40
    rows = [("a", 0.0, 0.5, 0, 0, 0.0), ("a", 0.5, 1.0, 10, 4, 8.0), ("b", 0.0, 0.5, 0, 0, 0.0)]
    rows += [("b", 0.5, 1.0, 30, 30, 27.0)]
    columns = ["image", "low", "high", "pixels", "right", "confidence"]
    table = pl.DataFrame(rows, schema=columns, orient="row").with_columns(part=pl.lit("oof"))
    table.write_parquet(run / "predictions" / "calibration.parquet")
    drawn, listed = calibration(collect(run))
    assert "Accuracy over confidence, out of fold" in drawn.charts[0].svg
    assert listed.tables[0].rows == [("0 to 0.5", "0.0 %", "–", "–"), ("0.5 to 1", "100.0 %", "0.875", "0.850")]


def test_the_farthest_boundary_of_each_image_comes_first():
    """Where a category is in neither truth nor prediction, its distance of 0 says nothing."""
    rows = [("a", "ground", 9.0, 1), ("a", "rock", 3.0, 5), ("b", "rock", 7.0, 5), ("c", "rock", 0.0, 0)]
    table = pl.DataFrame(rows, schema=["image", "category", "hd95", "tp"], orient="row").with_columns(fp=0, fn=0)
    categories = Categories(tuple(Category(k, name) for k, name in enumerate(NAMES)), frozenset({"ground"}))
    assert image_distances(table, categories).rows() == [("b", "rock", 7.0), ("a", "rock", 3.0)]
    assert image_distances(table.drop("hd95"), categories).is_empty()
