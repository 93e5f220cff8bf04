"""Small run folders with every artifact that a report tells of, and the report read back as HTML."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import numpy as np
import polars as pl
import yaml
from PIL import Image

from maskwright.report import write_report

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
        if {"style", "script"} & set(self.open):
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


def bare(text):
    """The page without its pictures and the hash of its script, whose letters mean nothing."""
    return re.sub(r"data:[a-z/]+;base64,[A-Za-z0-9+/=]+|sha256-[A-Za-z0-9+/=]+", "", text)


def write(run, **options):
    path = write_report(run, read_image=read_image, read_label=read_label, **options)
    text = path.read_text(encoding="utf-8")
    return text, Page(text)
