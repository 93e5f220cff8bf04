"""Runs side by side."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

from maskwright.artifacts import write_json, write_table, write_text
from maskwright.cli import main
from maskwright.errors import DataError, UsageError
from maskwright.recipe import Recipe, apply_settings, dump_recipe
from maskwright.recipe.data import DataSpec
from maskwright.report.compare import compare_runs
from maskwright.types import Category

CATEGORIES = (Category(0, "ground"), Category(1, "rock"))


def make_run(folder, hits, *settings, part="oof", truth=100, images="abcdefgh", members=None):
    """A run whose rock is found in `hits` of 100 pixels an image, without a false one."""
    recipe = Recipe(data=DataSpec(root=str(folder), categories=CATEGORIES, leave_out=("ground",)))
    recipe = apply_settings(recipe, ["train.monitor=mean_dice", "evaluate.samples=400", *settings])
    write_text(folder / "recipe.yaml", dump_recipe(recipe))
    rows = []
    for place, (image, found) in enumerate(zip(images, hits, strict=True)):
        about = {"image": image, "part": part, "group": image, "fold": place % 2}
        rows.append(about | {"category": "ground", "tp": 900, "fp": truth - found, "fn": 0})
        rows.append(about | {"category": "rock", "tp": found, "fp": 0, "fn": truth - found})
    write_table(folder / "predictions" / "per_image.parquet", pl.DataFrame(rows))
    if members:
        write_json(folder / "predictions" / "members.json", members)
    return folder


def dice(found):
    return 2 * found / (found + 100)


@pytest.fixture
def pair(tmp_path):
    generator = np.random.default_rng(0)
    first = generator.integers(20, 80, 8)
    one = make_run(tmp_path / "one", first.tolist(), "model.encoder=resnet18")
    two = make_run(tmp_path / "two", (first + 10).tolist(), "model.encoder=resnet34", "train.threads=1")
    return one, two, first


def test_scores_and_the_paired_difference(pair):
    one, two, first = pair
    (plain, other), metric, part = compare_runs([one, two])
    assert (metric, part) == ("mean_dice", "oof")
    assert plain.score.value == pytest.approx(np.mean(dice(first)))
    assert plain.difference is None
    gain = dice(first + 10) - dice(first)
    assert other.difference.value == pytest.approx(gain.mean())
    # paired: the interval lies inside the range of the single gains, though the scores differ by far more
    assert gain.min() <= other.difference.low < other.difference.high <= gain.max()
    assert other.score.high - other.score.low > 3 * (other.difference.high - other.difference.low)


def test_the_fields_that_differ_are_named(pair):
    one, two, _ = pair
    plain, other = compare_runs([one, two])[0]
    assert plain.fields.keys() == {"data.root", "model.encoder"}  # threads change no number
    assert (plain.fields["model.encoder"], other.fields["model.encoder"]) == ("resnet18", "resnet34")
    assert compare_runs([one, two], by=["model.kind"])[0][0].fields == {"model.kind": "unet"}


def test_more_comparisons_make_wider_intervals(pair, tmp_path):
    one, two, first = pair
    others = [make_run(tmp_path / f"run-{i}", (first + 10).tolist()) for i in range(8)]
    alone = compare_runs([one, two])[0][1].difference
    among = compare_runs([one, two, *others])[0][1].difference
    assert among.low < alone.low < alone.high < among.high


def with_families(folder, distances, rights):
    """Give a run the HD95 of rock, and pixels of one bin that are right, image by image."""
    path = folder / "predictions" / "per_image.parquet"
    table = pl.read_parquet(path)
    column = [value for distance in distances for value in (None, float(distance))]
    table.with_columns(hd95=pl.Series(column, dtype=pl.Float64)).write_parquet(path)
    bins = [
        {
            "image": image,
            "part": "oof",
            "low": low,
            "high": low + 0.5,
            "pixels": pixels,
            "right": right,
            "confidence": c,
        }
        for image, own in zip(table["image"].unique(maintain_order=True), rights, strict=True)
        for low, pixels, right, c in ((0.0, 0, 0, 0.0), (0.5, 10, own, 9.0))
    ]
    pl.DataFrame(bins).write_parquet(folder / "predictions" / "calibration.parquet")


def test_any_number_of_the_evaluation_is_compared(pair):
    one, two, _ = pair
    with_families(one, range(8), [9] * 8)
    with_families(two, range(2, 10), [5, 7] * 4)
    plain, other = compare_runs([one, two], metric="mean_hd95")[0]
    assert plain.score.value == pytest.approx(3.5)
    assert (other.difference.value, other.difference.low, other.difference.high) == pytest.approx((2, 2, 2))
    # confidence .9: 9 of 10 right is calibrated; 6 of 10 is .3 off, from 5 and 7 in turn
    plain, other = compare_runs([one, two], metric="ece")[0]
    assert (plain.score.value, other.score.value) == pytest.approx((0, 0.3))
    assert other.difference.value == pytest.approx(0.3)
    found = compare_runs([one, two], metric="recall/rock")[0]
    assert found[1].difference.value == pytest.approx(0.1)  # 10 of 100 pixels more in each image
    assert found[1].p_value == pytest.approx(2 / 401) and found[0].p_value is None
    with pytest.raises(UsageError, match=r"mean_hd95(.|\n)*evaluate\.families"):
        compare_runs([one, two], metric="mean_nsd")


def test_a_metric_of_two_definitions_is_not_compared(tmp_path):
    runs = []
    for name, setting in (("one", "evaluate.tolerance=2"), ("two", "evaluate.tolerance=3")):
        runs.append(make_run(tmp_path / name, [50] * 8, setting))
        path = runs[-1] / "predictions" / "per_image.parquet"
        pl.read_parquet(path).with_columns(nsd=0.5).write_parquet(path)
    assert compare_runs(runs, metric="mean_dice")[0][1].difference.value == 0
    with pytest.raises(DataError, match=r"within 2 pixels(.|\n)*got (.|\n)*within 3 pixels"):
        compare_runs(runs, metric="mean_nsd")


def test_p_values_are_adjusted_for_the_number_of_comparisons(pair, tmp_path):
    one, two, first = pair
    same = make_run(tmp_path / "same", first.tolist())
    alone = compare_runs([one, two])[0][1].p_value
    _, among, equal = compare_runs([one, two, same])[0]
    assert (among.p_value, equal.p_value) == (pytest.approx(2 * alone), 1)  # Holm: the smaller one times 2


def test_folds_and_their_networks_alone(tmp_path):
    members = {"holdout-fold-1": {"mean_dice": {"value": 0.25}}}
    run = make_run(tmp_path / "run", [50, 60] * 4, members=members)
    (found,), *_ = compare_runs([run])
    (zero, own, nothing), (_, other, alone) = found.folds
    assert zero == 0 and own == pytest.approx(dice(50)) and np.isnan(nothing)
    assert (other, alone) == (pytest.approx(dice(60)), 0.25)


def test_only_common_images_are_compared(tmp_path):
    one = make_run(tmp_path / "one", [50, 60, 70], images="abc")
    two = make_run(tmp_path / "two", [70, 80, 10], images="bcd")
    (plain, other), *_ = compare_runs([one, two])
    assert plain.score.n == other.score.n == 2
    assert other.difference.value == pytest.approx(np.mean([dice(70) - dice(60), dice(80) - dice(70)]))


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"images": "ijklmnop"}, "none in common"),
        ({"truth": 120}, "true labels"),
        ({"part": "holdout"}, "none in common"),
    ],
)
def test_runs_that_cannot_be_compared(tmp_path, other, message):
    one = make_run(tmp_path / "one", [50] * 8)
    two = make_run(tmp_path / "two", [50] * 8, **other)
    with pytest.raises(DataError, match=message):
        compare_runs([one, two])


def test_wrong_use(pair, tmp_path):
    with pytest.raises(UsageError, match="pooled_miou"):
        compare_runs([pair[0]], metric="accuracy")
    with pytest.raises(UsageError, match=r"model\.encodr"):
        compare_runs([pair[0]], by=["model.encodr"])
    with pytest.raises(UsageError, match="run folders"):
        compare_runs([])
    with pytest.raises(DataError, match=r"recipe\.yaml"):
        compare_runs([tmp_path])


def test_the_command_writes_the_table(pair, tmp_path, capsys):
    one, two, _ = pair
    assert main(["compare", str(one), str(two), "--out", str(tmp_path / "t.csv"), "--json"]) == 0
    told = capsys.readouterr()
    assert "resnet34" in told.err
    found = json.loads(told.out)
    assert [row["run"] for row in found["rows"]] == ["one", "two"]
    table = pl.read_csv(tmp_path / "t.csv")
    assert table["difference value"].to_list() == [None, pytest.approx(found["rows"][1]["difference value"])]
    assert main(["compare", str(one), str(two), "--folds"]) == 0
    assert "validation" in capsys.readouterr().err
    assert main(["compare", str(one), "--out", str(tmp_path / "t.xlsx")]) == 2


def test_recipes_that_differ_in_much_get_a_table_of_their_own(tmp_path, capsys):
    loss = "loss=[{kind: focal, weight: 0.5}, {kind: dice}]"
    one = make_run(tmp_path / "one", [50] * 8, "model={kind: upernet, dropout: 0.3}", "train.lr=1e-5", loss)
    two = make_run(tmp_path / "two", [60] * 8, "model={kind: wnet}")
    fields = compare_runs([one, two])[0][0].fields
    # of a component of another kind: what both have, and not what only one can have (channels, form, gamma)
    assert set(fields) == {"data.root", "model.kind", "model.dropout", "model.normalization", "model.activation",
                           "loss.0.kind", "loss.0.weight", "train.lr"}  # fmt: skip
    assert main(["compare", str(one), str(two)]) == 0
    told = capsys.readouterr().err
    differ, scores = told.split("mean_dice, out of fold")
    assert "Where the recipes differ" in differ
    assert next(line for line in differ.splitlines() if "train.lr" in line).split()[3::2] == ["1e-05", "0.001"]
    assert "model.kind" not in scores
    assert "0.7500" in scores  # Dice of 60 of 100 pixels: 120 / 160
