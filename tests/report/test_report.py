"""The report, read back as HTML from small run folders that are made here."""

from __future__ import annotations

import itertools
import json
import re
import time
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml
from PIL import Image

from maskwright.errors import DataError
from maskwright.report import write_report
from maskwright.report.collect import collect, image_scores
from maskwright.report.words import summary

NAMES = ["ground", "rock", "a/b & <i>"]
VOID = {"br", "img", "meta", "link", "hr", "input", "path", "use"}
ODD = "images/part/<b>.png"


class Page(HTMLParser):
    """Headings, images, tables as rows of text, ids, attributes, all text; checks that tags are closed."""

    def __init__(self, text):
        super().__init__()
        self.headings, self.images, self.rows, self.ids, self.attributes, self.text = [], [], [], [], [], []
        self.headers, self.open, self.tags = [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        named = dict(attrs)
        self.attributes += attrs
        if "id" in named:
            self.ids.append(named["id"])
        if tag == "img":
            self.images.append(named)
        if tag == "th":
            self.headers.append(named)
        if tag == "tr":
            self.rows.append([])
        if tag in {"td", "th"}:
            self.rows[-1].append("")
        if re.fullmatch("h[1-6]", tag):
            self.headings.append([int(tag[1]), ""])
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.attributes += attrs
        self.ids += [value for name, value in attrs if name == "id"]

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" in self.open:
            return
        self.text.append(data)
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data
        if self.open and re.fullmatch("h[1-6]", self.open[-1]):
            self.headings[-1][1] += data

    @property
    def words(self):
        return " ".join(" ".join(self.text).split())

    def row(self, *start):
        return next(r for r in self.rows if tuple(r[: len(start)]) == start)


def read_image(path):
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def read_label(path):
    with Image.open(path) as picture:
        return np.asarray(picture)


def score(value, half=0.05, n=9, definition="as defined"):
    low, high = (None, None) if value is None else (value - half, value + half)
    return {"value": value, "low": low, "high": high, "n": n, "definition": definition}


def write_base(run, root, images, *, leave_out=()):
    run.mkdir(parents=True)
    colors = [[90, 90, 90], [213, 94, 0], [0, 114, 178]]
    items = [
        {"id": 10 * k, "name": n, "color": colors[k], "isthing": False, "values": [k]} for k, n in enumerate(NAMES)
    ]
    data = {"root": str(root), "categories": items, "leave_out": list(leave_out)}
    recipe = {"version": 1, "seed": 7, "data": data, "train": {"monitor": "auto"}, "evaluate": {"confidence": 0.9}}
    (run / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    rows = [
        {"image": i, "mask": m, "instances": None, "group": f"g{k // 3}", "domain": None, "part": None,
         "width": 40, "height": 30, "channels": 3}
        for k, (i, m) in enumerate(images)
    ]  # fmt: skip
    schema = {"mask": pl.String, "instances": pl.String, "domain": pl.String, "part": pl.String}
    pl.DataFrame(rows, schema_overrides=schema).write_parquet(run / "index.parquet")


def write_images(root, run, count=9):
    rng = np.random.default_rng(0)
    names = [ODD, *(f"images/part/im{k}.png" for k in range(1, count))]
    rows = []
    for name in names:
        mask, label = name.replace("images", "masks", 1), name.replace("images/", "predictions/labels/", 1)
        truth = rng.integers(0, 3, (30, 40), np.uint8)
        for path in (root / name, root / mask, run / label):
            path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (30, 40, 3), np.uint8)).save(root / name)
        Image.fromarray(truth).save(root / mask)
        predicted = Image.fromarray(10 * np.where(rng.random(truth.shape) < 0.2, 0, truth).astype(np.uint8), mode=None)
        predicted.putpalette([255, 0, 255] * 256)  # values count, not colours
        predicted.save(run / label)
        rows.append((name, mask))
    return rows


def per_image_rows(images):
    rows = []
    for k, (image, _) in enumerate(images):
        for c, name in enumerate(NAMES):
            dice = float("nan") if c == 2 else min(1.0, 0.1 * (k + 1) + 0.1 * c)
            rows.append({"image": image, "part": "holdout" if k % 3 == 0 else "oof", "group": f"g{k // 3}",
                         "fold": -1 if k % 3 == 0 else k % 2, "category": name, "tp": 5, "fp": 1, "fn": 2, "dice": dice,
                         "iou": dice, "precision": 0.75, "recall": 0.5})  # fmt: skip
    return rows


def write_stages(run, images):
    (run / "audit").mkdir()
    findings = [
        (ODD, "near_duplicate", "warning", images[1][0], 0.99, "flip lr", "keep"),
        (images[2][0], "mask_conflict", "error", images[3][0], 0.25, "<script>alert(1)</script>", None),
        (images[4][0], "unreadable", "error", "images/part/gone.png", None, "", None),
    ]
    columns = ["image", "kind", "severity", "other_image", "value", "detail", "decision"]
    pl.DataFrame(findings, schema=columns, orient="row").write_parquet(run / "audit/findings.parquet")
    classes = {
        "category": NAMES,
        "images": [9, 4, 0],
        "image_share": [1.0, 4 / 9, 0.0],
        "pixels": [10000, 800, 0],
        "pixel_share": [0.9259, 0.0741, 0.0],
        "objects": [9, 1234, 0],
        "median_area": [1000.0, 12.0, None],
    }
    pl.DataFrame(classes).write_parquet(run / "audit/classes.parquet")
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (600, 1200, 3), np.uint8)).save(run / "audit/shares.png")
    folds = [(i, f"g{k // 3}", -1 if k % 3 == 0 else k % 2) for k, (i, _) in enumerate(images)]
    pl.DataFrame(folds, schema=["image", "group", "fold"], orient="row").write_csv(run / "folds.csv")
    per_fold = [{"fold": k, "images": 3, "groups": 3, "largest_deviation": 0.125, "feature": "rock"} for k in range(2)]
    certificate = {"folds": 2, "groups": 3, "held_out": 3, "crossing_groups": 0, "per_fold": per_fold,
                   "crossing_duplicates": 2, "text": "No group crosses.\nhash 1234", "families": {
                       "presence": {"deviation": 0.05, "feature": "images with rock", "fold": -1, "random": 0.25,
                                    "random_low": 0.1, "more_even_than": 1.0}}}  # fmt: skip
    (run / "folds.json").write_text(json.dumps(certificate))
    for k in range(2):
        lines = ["step,seconds,lr,loss,loss_ce,mean_dice,pooled_miou,iou_rock"]
        for step in range(1, 101):
            validated = f"{0.4 + step / 250:.4f},{step / 200:.4f},0.5" if step % 20 == 0 else ",,"
            lines.append(f"{step},{step * 0.6},0.001,{1 / step:.4f},{0.5 / step:.4f},{validated}")
        folder = run / f"round-0/fold-{k}"
        folder.mkdir(parents=True)
        (folder / "metrics.csv").write_text("\n".join(lines))
    tuned = {"adopted": True, "chain": [{"kind": "minimum_area", "pixels": 40}], "fitted_on": "fold 0 for fold 1",
             "gain": {"value": 0.004, "low": 0.001, "high": 0.008}}  # fmt: skip
    (run / "tuned.json").write_text(json.dumps(tuned))


def write_scores(run, images):
    scores = {}
    for prefix, shift in (("", 0.02), ("oof/", 0.0), ("holdout/", 0.02)):
        scores[f"{prefix}pooled_miou"] = score(0.6123 + shift)
        scores[f"{prefix}mean_dice"] = score(0.7 + shift)
        if prefix:
            for name, value in zip(NAMES, (0.95, 0.31, None), strict=True):
                scores[f"{prefix}iou/{name}"] = score(value)
    predictions = run / "predictions"
    predictions.mkdir(exist_ok=True)
    (predictions / "evaluation.json").write_text(json.dumps(scores))
    confusion = {"categories": NAMES, "oof": [[90, 10, 0, 0], [40, 48, 0, 12], [0, 0, 0, 0]]}
    (predictions / "confusion.json").write_text(json.dumps(confusion))
    pl.DataFrame(per_image_rows(images)).write_parquet(predictions / "per_image.parquet")
    facts = {"command": "maskwright run --data <here>", "versions": {"numpy": "2.4"}, "machine": "two cores",
             "started": "2026-01-02", "seconds": {"train": 61.25}}  # fmt: skip
    (run / "run.json").write_text(json.dumps(facts))


def make_run(folder):
    root, run = folder / "data", folder / "run"
    images = write_images(root, run)
    (run / "predictions/labels").rename(folder / "labels")
    (run / "predictions").rmdir()
    run.rmdir()
    write_base(run, root, images)
    write_stages(run, images)
    write_scores(run, images)
    (folder / "labels").rename(run / "predictions/labels")
    return run


def write(run, **options):
    path = write_report(run, read_image=read_image, read_label=read_label, **options)
    text = path.read_text(encoding="utf-8")
    return text, Page(text)


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    run = make_run(tmp_path_factory.mktemp("full"))
    return run, *write(run)


class TestPage:
    def test_asks_nothing_of_any_network(self, full):
        _, text, page = full
        assert not re.search(r"(https?:)?//[a-z]", re.sub(r"data:[a-z/]+;base64,[A-Za-z0-9+/=]+", "", text))
        for name, value in page.attributes:
            if name in {"src", "href", "xlink:href", "srcset", "action", "data"}:
                assert value.startswith(("data:", "#")), (name, value)
        assert not {"script", "link", "iframe", "object"} & set(page.tags)
        assert "@import" not in text
        assert "default-src 'none'" in text

    def test_structure_is_usable_without_eyes(self, full):
        _, text, page = full
        levels = [level for level, _ in page.headings]
        assert levels[0] == 1
        assert levels.count(1) == 1
        assert all(b - a <= 1 for a, b in itertools.pairwise(levels))
        assert all(words.strip() for _, words in page.headings)
        assert page.images
        assert all(image.get("alt", "").strip() for image in page.images)
        assert len(page.ids) == len(set(page.ids))
        assert all("scope" in header for header in page.headers)
        assert page.tags.count("table") == page.tags.count("caption")
        assert {"header", "nav", "main", "footer"} <= set(page.tags)
        assert '<html lang="en">' in text

    def test_links_lead_somewhere(self, full):
        page = full[2]
        assert {v[1:] for n, v in page.attributes if n == "href"} <= set(page.ids)

    def test_names_are_escaped(self, full):
        _, text, page = full
        assert "<b>.png" not in text
        assert "&lt;b&gt;.png" in text
        assert "<script" not in text
        assert "<script>alert(1)</script>" in page.words
        assert "a/b & <i>" in page.words

    def test_is_written_whole_and_the_same_again(self, full):
        run, text, _ = full
        assert write(run)[0] == text
        assert [p.name for p in (run / "predictions").glob(".*")] == []

    def test_title(self, full):
        assert full[2].headings[0][1] == "data: what the run run found"
        assert write(full[0], title="<Mine>", thumbnails=0)[1].headings[0][1] == "<Mine>"


class TestContent:
    def test_scores_have_intervals_and_parts(self, full):
        page = full[2]
        # the headline is the held-out part's, so it has no column of its own
        row = page.row("mean IoU over all pixels", "0.612 (0.562–0.662)")
        assert row[2] == "0.632 (0.582–0.682)"
        assert "The headline numbers are those of: held-out part" in page.words
        assert "Scores with 90 % intervals" in page.words
        assert page.row("mean IoU over all pixels", "as defined")

    def test_categories_with_dash_for_nan(self, full):
        page = full[2]
        assert page.row("rock", "4", "7.4 %", "0.310 (0.260–0.360)")[3:5] == ["0.310 (0.260–0.360)"] * 2
        assert page.row("a/b & <i>", "0", "0.0 %", "–", "–")
        # precision and recall: means over images, in each part
        assert page.row("rock", "4", "7.4 %", "0.310 (0.260–0.360)")[5:] == ["0.750", "0.500", "0.750", "0.500"]
        assert "nan" not in page.words.lower().replace("dominant", "")

    def test_findings(self, full):
        page = full[2]
        assert page.row("mask conflict", "error", "1", "1", "1")
        assert page.row("near duplicate", "warning", "1", "1", "0")
        assert page.row("images/part/im2.png", "images/part/im3.png", "0.250")[4] == "–"
        assert "Can’t be shown" in page.words  # gone.png
        assert {"Mask drawn on images/part/im2.png", f"Image {ODD}"} <= {i["alt"] for i in page.images}

    def test_shares_folds_and_training(self, full):
        page = full[2]
        assert page.row("rock", "4", "44.4 %", "7.4 %", "1\u202f234", "12")
        labels = [value for name, value in page.attributes if name == "aria-label"]
        for kind, share in (("pixels", "7.4"), ("images", "44.4")):  # both charts, each with rock's own share
            assert f"Percent of the {kind} of each category" in labels
            svg = next(part for part in full[1].split("<svg")[1:] if f"Percent of the {kind} of each" in part)
            assert f">{share}<" in svg
        assert page.row("0", "3", "3", "12.5 %", "rock")
        assert "No group crosses. hash 1234" in page.words
        assert "2 clusters of duplicates in more than one fold!" in page.words
        assert page.row("presence")[1:] == ["5.0 %", "25.0 %", "100.0 %", "images with rock, held out"]
        # best mean Dice .4 + 100 / 250 = .8 at the last step; 100 · .6 s = 1 minute; last loss 1 / 100
        assert page.row("fold 0") == ["fold 0", "100", "1.0", "0.010", "0.800", "100", "0.800"]

    def test_mix_ups_and_matrix(self, full):
        page = full[2]
        assert page.row("rock", "ground") == ["rock", "ground", "40.0 %"]
        assert any(n == "aria-label" and "Confusion matrix" in v for n, v in page.attributes)

    def test_galleries_show_worst_median_best_with_four_panels(self, full):
        page = full[2]
        text = page.words
        # nine images, mean Dice over ground and rock .15 + .1 k, three a gallery
        assert text.index("Worst images") < text.index("Dice 0.150") < text.index("Median images")
        assert (
            text.index("Median images")
            < text.index("Dice 0.450")
            < text.index("Best images")
            < text.index("Dice 0.950")
        )
        panels = [i["alt"] for i in page.images if ODD in i["alt"]][-4:]
        assert panels == [
            f"Image {ODD}",
            f"Truth drawn on {ODD}",
            f"Prediction drawn on {ODD}",
            f"Wrong pixels of {ODD} in colour",
        ]

    def test_how_to_make_it_again(self, full):
        page = full[2]
        assert "maskwright run --data <here>" in page.words
        assert "confidence: 0.9" in page.words
        assert page.row("numpy", "2.4")
        assert page.row("train") == ["train", "61.2"]
        assert "Not in this report" not in page.words


class TestSummary:
    def test_says_what_the_numbers_say(self, full):
        said = {g.title: " ".join(g.words) for g in summary(collect(full[0]))}
        assert (
            "mean IoU over all pixels is 0.632, with 90 % confidence between 0.582 and 0.682"
            in said["What the model can do"]
        )
        assert "on 9 images of a held-out part" in said["What the model can do"]
        assert "ground (IoU 0.95)" in said["What the model can do"]
        cannot = said["What it can’t do"]
        assert "rock (IoU 0.31)" in cannot
        assert "40.0 % of the area of rock is taken for ground." in cannot
        assert "12.0 % of the area of rock is missed altogether." in cannot
        assert "Nothing is known about a/b & <i>" in cannot
        # .15, .25, .35, .45 lie below .5
        assert "4 of 9 scored images have a Dice below 0.5; the worst, images/part/<b>.png, has 0.150." in cannot
        sure = said["How sure that is"]
        assert "rests on only 9 images" in sure
        assert "single fold models have 0.612" in sure
        assert "No group of related images" in sure
        assert "its gain is +0.004 (+0.001 to +0.008)" in sure
        advice = said["What would help most"]
        assert "errors: mask conflict (1) and unreadable (1)." in advice
        assert "warnings" not in advice  # decided
        assert "rock (IoU 0.31): 4 of 9 labelled images" in advice
        assert "still rising at the end in 2 of 2 trainings" in advice

    def test_leaks_are_said(self, full, tmp_path):
        run = make_run(tmp_path)
        certificate = json.loads((run / "folds.json").read_text()) | {"crossing_groups": ["g1", "g2"]}
        (run / "folds.json").write_text(json.dumps(certificate))
        assert "2 groups lie in more than one fold, so the scores are too good." in write(run, thumbnails=0)[1].words

    @pytest.mark.parametrize(
        ("apart", "words"),
        [(2, "2 leaks across a border: scores there are too good."), (0, "None of them lies across a border")],
    )
    def test_what_the_folds_do_about_leaks_of_given_parts(self, tmp_path, apart, words):
        run = make_run(tmp_path)
        leaks = {"leak_group": {"found": 3, "together": 3 - apart, "apart": apart, "outside": 0}}
        (run / "folds.json").write_text(json.dumps(json.loads((run / "folds.json").read_text()) | {"leaks": leaks}))
        page = write(run, thumbnails=0)[1]
        assert words in page.words
        assert page.row("leak_group") == ["leak_group", "3", str(3 - apart), str(apart), "0"]

    def test_domains_have_scores_of_their_own(self, tmp_path):
        run = make_run(tmp_path)
        path = run / "predictions" / "evaluation.json"
        divided = {
            f"{part}mean_dice@domain={name}": score(value, n=n)
            for part in ("", "oof/")
            for name, value, n in (("dusk/2", 0.41, 4), ("day", None, 5))
        }
        path.write_text(json.dumps(json.loads(path.read_text()) | divided))
        page = write(run, thumbnails=0)[1]
        assert page.row("dusk/2") == ["dusk/2", "4 out of fold", "0.410 (0.360–0.460)"]
        assert page.row("day") == ["day", "5 out of fold", "–"]
        assert page.row("mean Dice per image")[1] == "0.700 (0.650–0.750)"  # of all, out of fold, as before

    def test_left_out_categories_count_nowhere(self, tmp_path):
        images = [("images/a.png", None)]
        write_base(tmp_path / "run", tmp_path, images, leave_out=["ground"])
        artifacts = collect(tmp_path / "run")
        table = image_scores(pl.DataFrame(per_image_rows(images)), artifacts.categories)
        assert table["dice"].to_list() == [pytest.approx(0.2)]  # rock's alone


class TestMissing:
    def test_recipe_and_index_alone(self, tmp_path):
        run = tmp_path / "my run"
        write_base(run, tmp_path, [("images/a.png", None)])
        page = write(run)[1]
        assert page.row("folds") == ["folds", f"maskwright split --out '{run}'"]
        assert page.row("scores") == ["scores", f"maskwright evaluate --out '{run}'"]
        assert "It has not been scored yet." in page.words
        assert {"training", "scores", "folds"}.isdisjoint(page.ids)
        assert "1 image, 0 of them with labels" in page.words

    @pytest.mark.parametrize(
        "artifact",
        ["audit/findings.parquet", "audit/classes.parquet", "folds.csv", "folds.json", "round-0/fold-0/metrics.csv",
         "tuned.json", "predictions/evaluation.json", "predictions/confusion.json", "predictions/per_image.parquet",
         "run.json"],
    )  # fmt: skip
    def test_any_one_may_be_absent_but_not_damaged(self, artifact, tmp_path):
        run = make_run(tmp_path)
        (run / artifact).unlink()
        assert write(run, thumbnails=0)[1].headings
        if not artifact.endswith(".csv"):
            (run / artifact).write_text("{damaged")
            with pytest.raises(DataError, match=re.escape(Path(artifact).name)):
                write(run, thumbnails=0)

    def test_images_that_are_gone_are_said_so(self, tmp_path):
        run = make_run(tmp_path)
        (tmp_path / "data").rename(tmp_path / "elsewhere")
        page = write(run)[1]
        assert "Can’t be shown" in page.words
        assert len(page.images) == 1  # the audit's chart

    def test_no_recipe_or_categories(self, tmp_path):
        with pytest.raises(DataError, match=r"recipe\.yaml"):
            write(tmp_path)
        write_base(tmp_path / "run", tmp_path, [("images/a.png", None)])
        (tmp_path / "run/recipe.yaml").write_text("data: {root: x}")
        with pytest.raises(DataError, match="not resolved"):
            write(tmp_path / "run")

    def test_empty_tables(self, tmp_path):
        run = make_run(tmp_path)
        for name in ("audit/findings.parquet", "predictions/per_image.parquet", "audit/classes.parquet"):
            pl.read_parquet(run / name).clear().write_parquet(run / name)
        assert "The audit found nothing wrong." in write(run)[1].words


def test_a_thousand_images_stay_small_and_quick(tmp_path):
    """Bounds: 15 MB and 20 s; held here with a wide margin because the pictures are tiny."""
    root, run = tmp_path / "data", tmp_path / "run"
    one = write_images(root, tmp_path / "unused", count=2)[1]
    images = [(f"images/n{k}.png", f"masks/n{k}.png") for k in range(1000)]
    write_base(run, root, images)
    write_stages(run, images)
    found = [(images[k][0], "near_duplicate", "warning", images[k - 1][0], 0.99, "x" * 80, None) for k in range(1000)]
    columns = ["image", "kind", "severity", "other_image", "value", "detail", "decision"]
    pl.DataFrame(found, schema=columns, orient="row").write_parquet(run / "audit/findings.parquet")
    write_scores(run, images)
    start = time.perf_counter()
    path = write_report(
        run, read_image=lambda _: read_image(root / one[0]), read_label=lambda _: read_label(root / one[1])
    )
    assert time.perf_counter() - start < 20
    assert path.stat().st_size < 3_000_000
    page = Page(path.read_text(encoding="utf-8"))
    assert "Near duplicate, the first 20" in page.words
    assert "The audit has 1 000 findings" in page.words
