"""Folders of labels against plain loops over classes; errors; the per-image table."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
from PIL import Image

import make_images as make
from maskwright.data.images import read_values
from maskwright.errors import DataError, MaskwrightError, UsageError
from maskwright.evaluate import evaluate_folders, folders
from maskwright.progress import listen
from maskwright.recipe.predict import EvaluateSpec

RNG = np.random.default_rng(0)
QUICK = EvaluateSpec(samples=100)


def write(folder, **maps):
    for name, values in maps.items():
        path = folder / f"{name.replace('__', '/')}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.asarray(values, np.uint8)).save(path)
    return folder


def pair(tmp_path, values=(0, 1, 2), n=5, wrong=0.3, size=(12, 17)):
    truth, prediction = {}, {}
    for i in range(n):
        true = RNG.choice(values[: 2 + i % (len(values) - 1)], size)  # not every class in every image
        noise = RNG.random(size) < wrong
        truth[f"i{i}"], prediction[f"i{i}"] = true, np.where(noise, RNG.choice(values, size), true)
    return write(tmp_path / "p", **prediction), write(tmp_path / "t", **truth), prediction, truth


def loops(prediction, truth, values, ignore=(), keep=None):
    """Return pooled IoU, mean Dice, mean precision of the kept values, by loops over images and classes."""
    keep, iou, images = keep or values, [], []
    for v in values:
        tp = fp = fn = 0
        for name in truth:
            known = ~np.isin(truth[name], ignore)
            t, p = (truth[name] == v) & known, (prediction[name] == v) & known
            tp, fp, fn = tp + (t & p).sum(), fp + (p & ~t).sum(), fn + (t & ~p).sum()
        iou.append(tp / (tp + fp + fn) if tp + fp + fn else np.nan)
    for name in truth:
        known, dice = ~np.isin(truth[name], ignore), []
        for v in keep:
            t, p = (truth[name] == v) & known, (prediction[name] == v) & known
            if t.any() or p.any():
                dice.append(2 * (t & p).sum() / (t.sum() + p.sum()))
        if dice:
            images.append(np.mean(dice))
    return np.array(iou), float(np.mean(images))


def test_predictions_without_a_truth_are_counted(tmp_path):
    p, t, _, _ = pair(tmp_path)
    (t / "i3.png").unlink()
    told = []
    with listen(lambda label, done, total, note: told.append((label, done, note))):
        evaluate_folders(p, t, spec=QUICK)
    assert ("left out", 1, f"1 of 5 predictions, which have no truth in {t}") in told


def test_scores_are_those_of_loops(tmp_path):
    p, t, prediction, truth = pair(tmp_path)
    found = evaluate_folders(p, t, spec=QUICK)
    iou, dice = loops(prediction, truth, (0, 1, 2))
    assert found.categories == ["class_0", "class_1", "class_2"]
    assert found.scores["mean_dice"]["value"] == pytest.approx(dice)
    assert found.scores["pooled_miou"]["value"] == pytest.approx(iou.mean())
    for v, expected in enumerate(iou):
        assert found.scores[f"iou/class_{v}"]["value"] == pytest.approx(expected)
    for score in found.scores.values():
        assert set(score) == {"value", "low", "high", "n", "definition"}
        assert score["low"] <= score["value"] <= score["high"]
        assert score["n"] == 5


def test_the_confusion_table_holds_every_pixel(tmp_path):
    p, t, prediction, truth = pair(tmp_path)
    table = np.array(evaluate_folders(p, t, spec=QUICK).confusion)
    for a in range(3):
        for b in range(3):
            assert table[a, b] == sum(((truth[n] == a) & (prediction[n] == b)).sum() for n in truth)
    assert table.sum() == 5 * 12 * 17


def test_ignored_pixels_and_left_out_classes(tmp_path):
    p, t, prediction, truth = pair(tmp_path, values=(0, 1, 2, 3))
    found = evaluate_folders(p, t, ignore=(3,), leave_out=("class_0",), spec=QUICK)
    # the prediction's own 3 is wrong wherever the truth is known
    iou, dice = loops(prediction, truth, (0, 1, 2), ignore=(3,), keep=(1, 2))
    assert found.categories == ["class_0", "class_1", "class_2"]
    assert found.scores["iou/class_1"]["value"] == pytest.approx(iou[1])
    assert found.scores["pooled_miou"]["value"] == pytest.approx(iou[1:].mean())
    assert found.scores["mean_dice"]["value"] == pytest.approx(dice)


@pytest.mark.parametrize("classes", ["all", "binary"])
def test_black_and_white_against_zero_and_one(tmp_path, classes):
    truth = {f"i{i}": (RNG.random((9, 9)) < 0.4) * 255 for i in range(3)}
    prediction = {name: (RNG.random((9, 9)) < 0.4) * 1 for name in truth}
    found = evaluate_folders(
        write(tmp_path / "p", **prediction), write(tmp_path / "t", **truth), classes=classes, spec=QUICK
    )
    _, dice = loops(prediction, {n: v // 255 for n, v in truth.items()}, (0, 1), keep=(1,))
    assert found.scores["mean_dice"]["value"] == pytest.approx(dice)
    assert found.categories == ["background", "foreground"]


def test_binary_takes_every_value_but_zero(tmp_path):
    p = write(tmp_path / "p", a=[[0, 3, 9, 0]])
    t = write(tmp_path / "t", a=[[0, 1, 0, 70]])
    # tp 1, fp 1, fn 1 → IoU 1/3, Dice 1/2
    found = evaluate_folders(p, t, classes="binary", spec=QUICK)
    assert found.scores["iou/foreground"]["value"] == pytest.approx(1 / 3)
    assert found.scores["mean_dice"]["value"] == pytest.approx(1 / 2)


def test_perfect_and_empty_predictions(tmp_path):
    truth = {"a": np.eye(6) * 1, "b": np.zeros((6, 6))}
    t = write(tmp_path / "t", **truth)
    assert evaluate_folders(t, t, spec=QUICK).scores["mean_dice"]["value"] == 1
    nothing = write(tmp_path / "p", a=np.zeros((6, 6)), b=np.zeros((6, 6)))
    found = evaluate_folders(nothing, t, spec=QUICK)
    assert found.scores["mean_dice"]["value"] == 0  # b is left out: nothing there, nothing predicted
    one = evaluate_folders(nothing, t, spec=EvaluateSpec(samples=100, empty="one"))
    assert one.scores["mean_dice"]["value"] == 0.5


def test_the_per_image_table_has_the_named_columns(tmp_path):
    p, t, prediction, truth = pair(tmp_path)
    table = evaluate_folders(p, t, spec=EvaluateSpec(samples=100, families=())).per_image
    columns = ["image", "part", "group", "fold", "category", "tp", "fp", "fn", "dice", "iou", "precision", "recall"]
    assert table.columns == columns
    assert table.height == 5 * 3
    for row in table.iter_rows(named=True):
        v = int(row["category"].removeprefix("class_"))
        true, guess = truth[row["image"]] == v, prediction[row["image"]] == v
        counts = ((true & guess).sum(), (guess & ~true).sum(), (true & ~guess).sum())
        assert (row["tp"], row["fp"], row["fn"]) == counts
        both = counts[0] * 2 + counts[1] + counts[2]
        assert row["dice"] == (pytest.approx(2 * counts[0] / both) if both else None)


@pytest.mark.parametrize("where", ["t/classes.json", "classes.json"])
def test_categories_come_from_a_class_list_in_or_beside_the_truth(tmp_path, where):
    p, t, _, _ = pair(tmp_path)
    listed = {"categories": [{"id": i, "name": n} for i, n in enumerate(("sky", "tree", "void"))], "ignore": ["void"]}
    (tmp_path / where).write_text(json.dumps(listed))
    found = evaluate_folders(p, t, spec=QUICK)
    assert found.categories == ["sky", "tree"]


@pytest.mark.parametrize("declared", [[2], ["void"]])
def test_binary_ignores_what_the_class_list_ignores(tmp_path, declared):
    """Foreground 1 of the truth: 2 pixels, 1 found; where the truth is 2, nothing counts. Dice 2 / (2 + 0 + 1)."""
    t = write(tmp_path / "t", a=[[0, 1, 1, 2, 2]])
    p = write(tmp_path / "p", a=[[0, 1, 0, 1, 0]])
    listed = {"categories": [{"id": i, "name": n} for i, n in enumerate(("sky", "tree", "void"))], "ignore": declared}
    (tmp_path / "classes.json").write_text(json.dumps(listed))
    found = evaluate_folders(p, t, classes="binary", spec=QUICK)
    assert found.scores["mean_dice"]["value"] == pytest.approx(2 / 3)


def test_binary_asks_what_becomes_of_a_category_called_void(tmp_path):
    """With void as foreground: TP 2 (one of the void pixels), FN 2; ignored: TP 1, FN 1."""
    t = write(tmp_path / "t", a=[[0, 1, 1, 2, 2]])
    p = write(tmp_path / "p", a=[[0, 1, 0, 1, 0]])
    (tmp_path / "classes.json").write_text('{"0": "sky", "1": "tree", "2": "void"}')
    with pytest.raises(DataError, match="--ignore 2 leaves such pixels out"):
        evaluate_folders(p, t, classes="binary", spec=QUICK)
    found = evaluate_folders(p, t, classes="binary", ignore=[2], spec=QUICK)
    assert found.scores["mean_dice"]["value"] == pytest.approx(2 / 3)


def test_a_background_that_is_named_is_left_out_as_in_a_run(tmp_path):
    p, t, prediction, truth = pair(tmp_path, values=(0, 1))
    (tmp_path / "classes.json").write_text('{"0": "background", "1": "tooth"}')
    found = evaluate_folders(p, t, spec=QUICK)
    assert found.scores["mean_dice"]["value"] == pytest.approx(loops(prediction, truth, (0, 1), keep=(1,))[1])


def test_names_may_be_nested_and_of_other_types(tmp_path):
    values = RNG.integers(0, 2, (8, 8))
    t = write(tmp_path / "t", train__a=values)
    (tmp_path / "p" / "train").mkdir(parents=True)
    Image.fromarray(values.astype(np.uint8)).save(tmp_path / "p" / "train" / "a.tif")
    assert evaluate_folders(tmp_path / "p", t, spec=QUICK).scores["mean_dice"]["value"] == 1


def test_folders_that_do_not_fit_are_told_what_is_missing(tmp_path):
    p, t, _, _ = pair(tmp_path)
    (p / "i3.png").unlink()
    with pytest.raises(DataError, match=r"each of the 5 label files(.|\n)*none for 1: i3"):
        evaluate_folders(p, t, spec=QUICK)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="label files"):
        evaluate_folders(p, tmp_path / "empty", spec=QUICK)
    with pytest.raises(DataError, match="nowhere"):
        evaluate_folders(p, tmp_path / "nowhere", spec=QUICK)


def test_sizes_that_differ_are_told_both(tmp_path):
    p, t = write(tmp_path / "p", a=np.zeros((4, 6))), write(tmp_path / "t", a=np.zeros((5, 6)))
    with pytest.raises(DataError, match=r"truth's size 6×5, got 6×4(.|\n)*nearest"):
        evaluate_folders(p, t, spec=QUICK)


def test_two_predictions_of_one_name_are_refused(tmp_path):
    p, t, _, _ = pair(tmp_path)
    Image.fromarray(np.zeros((12, 17), np.uint8)).save(p / "i0.tif")
    with pytest.raises(DataError, match=r"i0\.png and i0\.tif"):
        evaluate_folders(p, t, spec=QUICK)


def test_values_outside_the_listed_categories_are_named(tmp_path):
    p, t = write(tmp_path / "p", a=[[0, 1, 7]]), write(tmp_path / "t", a=[[0, 1, 2]])
    (tmp_path / "classes.json").write_text('{"0": "a", "1": "b", "2": "c"}')
    with pytest.raises(DataError, match=r"7 \(1 px\)"):
        evaluate_folders(p, t, spec=QUICK)


def test_a_category_that_is_only_predicted_scores_zero_or_is_skipped(tmp_path):
    p, t = write(tmp_path / "p", a=[[0, 1, 7, 3]]), write(tmp_path / "t", a=[[0, 1, 2, 3]])
    # categories 0, 1, 2, 3, 7 with IoU 1, 1, 0, 1 and, by the rule for absent in truth only, 0 or nothing
    assert evaluate_folders(p, t, spec=QUICK).scores["pooled_miou"]["value"] == pytest.approx(3 / 5)
    skip = EvaluateSpec(samples=100, absent="skip")
    assert evaluate_folders(p, t, spec=skip).scores["pooled_miou"]["value"] == pytest.approx(3 / 4)


@pytest.mark.parametrize("foreground", [1, 255])
@pytest.mark.parametrize("predicted", [1, 255])
def test_binary_files_may_write_foreground_in_two_ways(tmp_path, foreground, predicted):
    p = write(tmp_path / "p", a=[[0, predicted, predicted, 0]])
    t = write(tmp_path / "t", a=[[0, foreground, foreground, foreground]])
    # 2 of 3 foreground pixels are found: Dice 4 / 5
    assert evaluate_folders(p, t, spec=QUICK).scores["mean_dice"]["value"] == pytest.approx(0.8)


def test_colours_in_the_truth_meet_ids_in_the_prediction(tmp_path):
    colours = np.array([[[0, 0, 128], [128, 128, 128], [128, 0, 0], [128, 0, 0]]], np.uint8)
    (tmp_path / "t").mkdir()
    Image.fromarray(colours).save(tmp_path / "t" / "a.png")
    p = write(tmp_path / "p", a=[[1, 2, 3, 1]])
    listed = [("blue", 1, "#000080"), ("gray", 2, "#808080"), ("red", 3, "#800000")]
    tree = {"categories": [{"id": i, "name": n, "values": [v]} for n, i, v in listed]}
    (tmp_path / "classes.json").write_text(json.dumps(tree))
    scores = evaluate_folders(p, tmp_path / "t", spec=QUICK).scores
    assert scores["iou/gray"]["value"] == 1
    assert scores["iou/red"]["value"] == 0.5
    assert scores["iou/blue"]["value"] == 0.5


def test_numbers_of_objects_are_no_classes(tmp_path):
    ids = np.arange(100).reshape(10, 10)
    t = write(tmp_path / "t", a=ids)
    with pytest.raises(DataError, match="--classes binary"):
        evaluate_folders(t, t, spec=QUICK)


def test_the_same_seed_gives_the_same_intervals(tmp_path):
    p, t, _, _ = pair(tmp_path)
    one, two = (evaluate_folders(p, t, spec=QUICK, seed=3).scores for _ in range(2))
    assert one == two


def test_a_truth_is_turned_like_its_image(tmp_path):
    for part in ("images", "masks", "p"):
        (tmp_path / part).mkdir()
    image, mask = make.turned_jpeg(tmp_path / "images", tmp_path / "masks")
    write(tmp_path / "p", turned=read_values(mask, like=image))
    with pytest.raises(DataError, match="--images"):
        evaluate_folders(tmp_path / "p", tmp_path / "masks", spec=QUICK)
    found = evaluate_folders(tmp_path / "p", tmp_path / "masks", images=tmp_path / "images", spec=QUICK)
    assert found.scores["pooled_miou"]["value"] == 1


def test_truths_without_prediction_are_passed_over_on_request(tmp_path):
    for part, names in (("truth", "abc"), ("prediction", "ab")):
        for name in names:
            (tmp_path / part).mkdir(exist_ok=True)
            values = np.array([[0, 1]], np.uint8) if part == "truth" or name == "a" else np.array([[1, 1]], np.uint8)
            Image.fromarray(values).save(tmp_path / part / f"{name}.png")
    with pytest.raises(DataError, match="got none for 1: c"):
        evaluate_folders(tmp_path / "prediction", tmp_path / "truth")
    found = evaluate_folders(tmp_path / "prediction", tmp_path / "truth", partial=True)
    # foreground: a 1 of 1, b 1 right and 1 wrong: pooled IoU 2 / 3
    assert found.scores["iou/foreground"]["value"] == pytest.approx(2 / 3)
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match="none for 3"):
        evaluate_folders(tmp_path / "none", tmp_path / "truth", partial=True)


@pytest.mark.parametrize(
    ("kind", "families", "lost"),
    [
        ("semantic", ("boundary", "panoptic", "instances"), "panoptic, instances"),
        ("semantic", ("calibration",), "calibration"),
        ("instances", ("panoptic", "calibration"), "calibration"),
    ],
)
def test_families_that_files_can_not_give_are_named_with_those_they_can(tmp_path, kind, families, lost):
    p, t, *_ = pair(tmp_path, n=2)
    with pytest.raises(UsageError, match=rf"families that {kind} files give: .*boundary.*, got {lost}\n"):
        evaluate_folders(p, t, kind=kind, spec=EvaluateSpec(samples=100, families=families))
    found = evaluate_folders(p, t, kind=kind, spec=EvaluateSpec(samples=100))  # what is on without asking is no fault
    assert "mean_hd95" in found.scores


def end_at_once(pair, **options):
    os._exit(9)


def test_a_worker_that_is_killed_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(folders, "measured_labels", end_at_once)
    p, t, *_ = pair(tmp_path, n=2)
    with pytest.raises(MaskwrightError, match=r"1 process that work to the end(.|\n)*--workers"):
        evaluate_folders(p, t, spec=QUICK, workers=1)
