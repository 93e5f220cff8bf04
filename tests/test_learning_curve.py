"""Learning curves: the power law against a bounded solver, what the points come to by hand, and the advice."""

from __future__ import annotations

import json
import re

import numpy as np
import polars as pl
import pytest
from scipy.optimize import lsq_linear

from maskwright.artifacts import read_folds
from maskwright.cli import main
from maskwright.data.synthetic import make_playground
from maskwright.errors import DataError, StaleArtifactError, UsageError
from maskwright.pipeline.curve import curve
from maskwright.pipeline.curve_advice import advise
from maskwright.pipeline.curve_point import Point
from maskwright.pipeline.curve_progress import OfAll
from maskwright.pipeline.curve_results import summarise_points
from maskwright.progress import listen
from maskwright.recipe import Recipe, apply_settings
from maskwright.recipe.data import DataSpec
from maskwright.report.curve import score_rows, write_curve_page
from maskwright.statistics import fit_power_laws
from maskwright.tasks import Task, run_tasks


def test_a_law_of_the_family_is_found_again():
    # 0.8 - 0.9 / √n: at 16, 64, 256: 0.575, 0.6875, 0.74375; at 1024: 0.771875
    sizes = [16, 32, 64, 128, 256]
    laws = fit_power_laws(sizes, [[0.8 - 0.9 * n**-0.5 for n in sizes]])
    assert laws.exponent[0] == pytest.approx(0.5)
    assert (laws.top[0], laws.drop[0]) == (pytest.approx(0.8), pytest.approx(0.9))
    assert laws.at(1024)[0] == pytest.approx(0.771875)
    assert laws.doubling(512)[0] == pytest.approx(0.9 * (512**-0.5 - 1024**-0.5))
    # 0.9 / √n falls by .028125 from n = 256 (.05625) to 1024 (.028125)
    assert laws.reaches(256, np.array([0.028125]))[0] == pytest.approx(1024)
    assert laws.reaches(256, np.array([0.06]))[0] == np.inf  # above its top
    assert laws.reaches(256, np.array([-0.1]))[0] == 256


def test_no_bounded_least_squares_fit_of_an_exponent_is_better():
    rng = np.random.default_rng(0)
    sizes = np.array([7, 14, 29, 60])
    scores = np.sort(rng.uniform(0.2, 1, (40, 4)), 1)
    scores[::3] = rng.permuted(scores[::3], axis=1)  # some fall
    laws = fit_power_laws(sizes, scores)
    for row, own in enumerate(scores):
        found = np.square(own - (laws.top[row] - laws.drop[row] * sizes ** -laws.exponent[row])).sum()
        best = min(
            2 * lsq_linear(np.stack([np.ones(4), -(sizes**-c)], 1), own, ([-9, 0], [1, 1e9])).cost
            for c in np.arange(1, 41) * 0.05
        )
        assert found <= best + 1e-6
        assert laws.top[row] <= 1
        assert laws.drop[row] >= 0


def test_two_sizes_end_at_one_and_a_fall_is_flat():
    laws = fit_power_laws([10, 40], [[0.6, 0.8], [0.8, 0.6]])
    # 0.4 at 10, 0.2 at 40: the error halves with four times the labels, exponent 0.5
    assert (laws.top[0], laws.exponent[0]) == (1, pytest.approx(0.5))
    assert laws.at(160)[0] == pytest.approx(0.9)
    assert laws.at(10)[1] == pytest.approx(0.7)  # a fall of two sizes, too, promises nothing of more labels
    assert laws.doubling(40)[1] == 0
    falling = fit_power_laws([10, 20, 40], [[0.8, 0.7, 0.6]])
    assert falling.doubling(40)[0] == 0
    assert falling.at(10)[0] == pytest.approx(0.7)  # their mean
    assert falling.reaches(40, np.array([0.1]))[0] == np.inf
    assert np.isnan(fit_power_laws([10, 20, 40], [[0.1, np.nan, 0.3]]).at(10)[0])


def nothing(root, spec):
    """A task that makes nothing."""


def test_progress_says_which_point_it_is_and_how_long_the_rest_takes(tmp_path, monkeypatch):
    tasks = [Task(f"point-{k}", nothing) for k in range(4)]
    run_tasks(tmp_path, tasks[:1])  # as by an earlier call
    seen, now = [], [100.0]
    monkeypatch.setattr("maskwright.pipeline.curve_progress.time.monotonic", lambda: now[0])
    with listen(lambda label, done, total, note: seen.append(label)):
        of_all = OfAll(tmp_path, tasks)
    of_all("point-1", 0, None, "")
    of_all("train fold-0", 1, 2, "")
    now[0] += 300  # five minutes for one point: ten for two
    of_all("point-2", 0, None, "")
    of_all("train fold-0", 1, 2, "")
    assert seen[1] == "point-1 (2 of 4): train fold-0"
    assert seen[3] == "point-2 (3 of 4, 10 min left): train fold-0"


def recipe_of(**settings):
    categories = "[{id: 0, name: background, color: [0, 0, 0]}, {id: 1, name: object, color: [9, 9, 9]}]"
    words = [f"data.categories={categories}", "data.leave_out=[background]", "evaluate.samples=200", "train.steps=7"]
    return apply_settings(Recipe(data=DataSpec(root=".")), [*words, *(f"{k}={v}" for k, v in settings.items())])


def write_point(root, point, right):
    """Write the table of four held-out images in two groups; of 10 object pixels each, `right` are found."""
    rows = [
        ("holdout", f"i{k}", "ab"[k // 2], category, tp, 0, fn)
        for k, found in enumerate(right)
        for category, tp, fn in (("background", 90, 0), ("object", found, 10 - found))
    ]
    schema = ["part", "image", "group", "category", "tp", "fp", "fn"]
    path = root / point.folder / "predictions" / "per_image.parquet"
    path.parent.mkdir(parents=True)
    pl.DataFrame(rows, schema=schema, orient="row").write_parquet(path)
    return point


def points_in(root, half=(4, 6), whole=(6, 8)):
    """Two sizes, two seeds; the pool brings 1 of 10 pixels to every image."""
    found = []
    for share, labels, right in ((0.5, 10, half), (1.0, 20, whole)):
        for repeat in (0, 1):
            own = [right[repeat]] * 2 + [right[repeat] - 2] * 2
            point = Point(share, labels, 5, 0, repeat, f"points/{labels}-{repeat}")
            taught = Point(share, labels, 5, 30 - labels, repeat, f"points/{labels}-{repeat}-pool")
            found += [write_point(root, point, own), write_point(root, taught, [one + 1 for one in own])]
    return found


def test_the_points_by_hand(tmp_path):
    found = summarise_points(tmp_path, recipe_of(**{"train.monitor": "pooled_miou"}), points_in(tmp_path))
    assert found["metric"] == "pooled_miou"
    assert (found["images"], found["groups"], found["repeats"], found["steps"]) == (4, 2, 2, 7)
    half, whole = found["sizes"]
    # pooled IoU of the object: 12 of 40 and 20 of 40; 20 of 40 and 28 of 40
    assert half["without"]["value"] == pytest.approx((12 / 40 + 20 / 40) / 2)
    assert whole["without"]["value"] == pytest.approx((20 / 40 + 28 / 40) / 2)
    # extremes: the seed with less, and both times the group with less: 8 of 40; the other seed and group: 32 of 40
    assert whole["without"]["low"] == pytest.approx(16 / 40)
    assert whole["without"]["high"] == pytest.approx(32 / 40)
    # 4 of 40 pixels more, whatever is drawn
    for size, pool in ((half, 20), (whole, 10)):
        assert size["pool"] == pool
        assert [size["gain"][key] for key in ("value", "low", "high")] == [pytest.approx(0.1)] * 3
    # the error falls from 0.6 to 0.4 as labels double: to 0.4 · 2/3 as they double again; 0.1 above 0.6 is 0.3, which
    # is at 20 · (0.4 / 0.3)^(1 / b), b = log2 1.5 = 0.585, of which the nearest exponents are 0.55 and 0.6
    assert found["fit"]["doubling"]["value"] == pytest.approx(0.4 - 0.4 * 2 / 3, abs=0.01)
    assert found["fit"]["worth"] == pytest.approx(20 * (4 / 3) ** (1 / 0.585) - 20, abs=1.5)
    assert [row["labels"] for row in found["points"]] == [10, 10, 10, 10, 20, 20, 20, 20]


def test_two_sizes_of_which_either_may_be_better_advise_no_labels(tmp_path):
    found = summarise_points(tmp_path, recipe_of(), points_in(tmp_path, (4, 7), (5, 7))) | {"no_pool": ""}
    assert found["fit"]["doubling"]["value"] > 0 and found["fit"]["doubling"]["low"] == 0
    assert advise(found)["verdict"] == "self_train"


def test_the_page_says_what_the_numbers_say(tmp_path):
    found = summarise_points(tmp_path, recipe_of(), points_in(tmp_path, (4, 5), (7, 8))) | {"no_pool": ""}
    found["advice"] = advise(found)
    (tmp_path / "curve.json").write_text(json.dumps(found))
    page = write_curve_page(tmp_path).read_text(encoding="utf-8")
    assert "Self-train, and label more" in page
    assert page.count("<svg") == 1
    assert "with the pool" in page
    head, rows = score_rows(found)
    assert head == ["labels", "share", "labels alone", "pool", "with the pool", "gain of the pool"]
    assert [row[0] for row in rows] == ["10", "20"]


def interval(value, low, high):
    return {"value": value, "low": low, "high": high, "n": 9}


@pytest.mark.parametrize(
    ("doubling", "gain", "verdict", "said"),
    [
        ((0.03, 0.01, 0.05), (0.02, 0.01, 0.03), "both", "as much as about 40 more labels"),
        ((0.03, 0.01, 0.05), (0.02, -0.01, 0.03), "label_more", "Doubling the 100 labels to 200 is expected"),
        ((0.003, 0.001, 0.005), (0.02, 0.01, 0.03), "self_train", "the pool helps"),
        ((0.03, 0.0, 0.05), (-0.02, -0.03, -0.01), "neither", "Neither pays clearly"),
        ((0.03, 0.01, 0.05), None, "label_more", "Nothing is said about the pool: because"),
        ((0.0, 0.0, 0.0), None, "neither", "The curve is flat"),
        ((0.03, float("nan"), float("nan")), None, "unknown", "too few groups"),
    ],
)
def test_the_advice_follows_the_intervals(doubling, gain, verdict, said):
    sizes = [{"labels": n, "share": n / 100, "without": interval(0.5, 0.4, 0.6)} for n in (25.0, 50.0, 100.0)]
    if gain is not None:
        sizes[-1] |= {"pool": 400.0, "with": interval(0.5, 0.4, 0.6), "gain": interval(*gain)}
    fit = {"doubling": interval(*doubling), "worth": 40.0}
    found = {"metric": "mean_dice", "sizes": sizes, "fit": fit, "repeats": 3, "no_pool": "because"}
    advice = advise(found)
    assert advice["verdict"] == verdict
    assert said in " ".join(advice["words"])


def test_a_pool_of_fewer_labels_alone_is_said_to_be_that():
    sizes = [{"labels": n, "share": n / 100, "without": interval(0.5, 0.4, 0.6)} for n in (50.0, 100.0)]
    sizes[0] |= {"pool": 50.0, "with": interval(0.5, 0.4, 0.6), "gain": interval(0.02, 0.01, 0.03)}
    fit = {"doubling": interval(0.0, 0.0, 0.0)}
    words = advise({"metric": "mean_dice", "sizes": sizes, "fit": fit, "repeats": 1, "no_pool": ""})["words"]
    assert any("With all 100 labels there is no pool" in line for line in words)
    assert any("--repeats 3" in line for line in words)
    assert any("Two sizes" in line for line in words)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--shares", "1/8,x"], "shares such as 1/8"),
        (["--shares", "2"], "shares above 0"),
        (["--shares", ","], "no share"),
        (["--repeats", "0"], "at least 1 repeat"),
        (["--labelled", "1/2"], "shares of all labels, got split.labelled 0.5"),
        (["--set", "train.start=run"], "train.start"),
        (["--set", "selftrain.method.fused_with=[run]"], "selftrain.method.fused_with"),
    ],
)
def test_what_makes_no_curve_is_refused(tmp_path, capsys, words, told):
    assert main(["curve", "--data", str(tmp_path), "--out", str(tmp_path / "out"), *words]) == 2
    assert told in re.sub(r"\s+", " ", capsys.readouterr().err)


def test_too_few_groups_are_said_before_anything_is_trained(tmp_path, capsys):
    from PIL import Image

    (tmp_path / "data/images").mkdir(parents=True)
    (tmp_path / "data/masks").mkdir()
    rng = np.random.default_rng(0)
    for k in range(3):
        Image.fromarray(rng.integers(0, 255, (32, 32, 3), np.uint8)).save(tmp_path / f"data/images/{k}.png")
        Image.fromarray(rng.integers(0, 2, (32, 32), np.uint8)).save(tmp_path / f"data/masks/{k}.png")
    assert main(["curve", "--data", str(tmp_path / "data"), "--out", str(tmp_path / "out")]) == 2
    told = capsys.readouterr().err
    assert "at least 6 groups" in told
    assert "3 labelled image(s) in 3 group(s)" in told


def test_one_group_is_too_few(tmp_path):
    data = tmp_path / "data"
    make_playground(data, labelled=16, unlabelled=2, size=(32, 48))
    (data / "meta.csv").write_text(
        "name,scene\n" + "".join(f"{path.stem},one\n" for path in sorted((data / "images").iterdir()))
    )
    recipe = apply_settings(
        Recipe(data=DataSpec(root=str(data))), ["data.task=semantic", "data.group=scene", "audit.pictures=false"]
    )
    with pytest.raises(DataError, match=r"in 1 group\(s\)"):
        curve(recipe, tmp_path / "out")


def test_a_folder_of_other_things_is_left_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"notes\.txt"):
        curve(Recipe(data=DataSpec(root=".")), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


SMALL = (
    "data.task=semantic",
    "data.group=scene", "split.folds=2", "audit.pictures=false", "model.encoder=resnet10t",
    "model.encoder_weights=none", "model.decoder_channels=[16, 16, 8]", "train.steps=2", "train.validate_every=1",
    "train.batch=2", "train.crop=[32, 48]", "train.scale=1", "train.precision=float32", "train.channels_last=false",
    "train.threads=1", "evaluate.samples=100",
)  # fmt: skip


@pytest.mark.slow
def test_a_curve_goes_on_where_it_was_killed_and_refuses_another_recipe(tmp_path, monkeypatch):
    data, out = tmp_path / "data", tmp_path / "curve"
    make_playground(data, labelled=40, unlabelled=4, size=(32, 48))
    recipe = apply_settings(Recipe(data=DataSpec(root=str(data))), SMALL)

    def killed(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("maskwright.pipeline.curve.share_training", killed)  # as the first point with the pool begins
        with pytest.raises(KeyboardInterrupt):
            curve(recipe, out, shares=(0.5, 1.0))
    made = {path: path.stat().st_mtime_ns for path in out.glob("points/*/round-0/fold-*/last.ckpt")}
    assert len(made) == 4
    curve(recipe, out, shares=(0.5, 1.0))
    assert {path: path.stat().st_mtime_ns for path in made} == made

    found = json.loads((out / "curve.json").read_text())
    assert len(found["points"]) == 4
    assert [size["share"] for size in found["sizes"]] == [0.5, 1.0]
    assert all({"gain", "with"} <= size.keys() for size in found["sizes"])
    folds = {path.parent.name: read_folds(path) for path in out.glob("points/*/folds.csv")}
    held = {name: {*table.filter(pl.col("fold") == -1)["image"]} for name, table in folds.items()}
    learned = {name: {*table.filter(pl.col("fold") >= 0)["image"]} for name, table in folds.items()}
    assert len({frozenset(images) for images in held.values()}) == 1
    assert learned["labels-1of2-0"] < learned["labels-1of1-0"]
    assert learned["labels-1of2-0-pool"] == learned["labels-1of2-0"]
    for row in found["points"]:  # the scores are those of the runs
        own = json.loads((out / row["run"] / "predictions" / "evaluation.json").read_text())
        assert row["score"] == pytest.approx(own[found["metric"]]["value"])
    for name in ("labels-1of2-0", "labels-1of2-0-pool"):  # the pool's round 0 is the supervised training
        assert (out / "points" / name / "round-0/fold-0/last.ckpt").read_bytes() == (
            out / "points/labels-1of2-0/round-0/fold-0/last.ckpt"
        ).read_bytes()
    assert not [*out.glob("points/*/round-*/pool")]  # nobody asks for its predictions
    table = pl.read_csv(out / "curve.csv")
    assert table["run"].to_list() == [row["run"] for row in found["points"]]
    assert (out / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert "What to do" in (out / "curve.html").read_text(encoding="utf-8")

    other = apply_settings(recipe, ["train.lr=2e-3"])
    with pytest.raises(StaleArtifactError, match=r"train\.lr"):
        curve(other, out, shares=(0.5, 1.0))
    curve(other, out, shares=(0.5, 1.0), pool=False, redo=True)
    again = json.loads((out / "curve.json").read_text())
    assert again["no_pool"]
    assert not any("gain" in size for size in again["sizes"])
