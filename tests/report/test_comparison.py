"""The page that puts runs side by side."""

from __future__ import annotations

import re

import polars as pl
import pytest

from make_report import Page, bare, make_run, read_image, read_label
from maskwright.cli import main
from maskwright.report.compare import Compared
from maskwright.report.comparison import write_comparison
from maskwright.statistics import Interval


@pytest.fixture
def page(tmp_path):
    """Two runs of one name; of im4 the second has a Dice of 1 in all categories, of im7 of 0; .55 and .85 in the first.

    `make_report` gives image k a Dice of .1 (k + 1) in the first category and .1 more in the second, at most 1.
    """
    one, two = make_run(tmp_path / "a"), make_run(tmp_path / "b")
    path = two / "predictions/per_image.parquet"
    changed = pl.when(pl.col("image") == "images/part/im4.png").then(1.0)
    changed = changed.when(pl.col("image") == "images/part/im7.png").then(0.0).otherwise(pl.col("dice"))
    pl.read_parquet(path).with_columns(dice=changed).write_parquet(path)
    compared = [
        Compared(one, {"model.encoder": "resnet18"}, Interval(0.5, 0.4, 0.6, 9), None, None, []),
        Compared(two, {"model.encoder": None}, Interval(0.6, 0.5, 0.7, 9), Interval(0.1, 0.05, 0.15, 9), 0.01, []),
        Compared(one, {"model.encoder": "b"}, Interval(0.5, 0.4, 0.6, 9), Interval(0, -0.1, 0.1, 9), 0.8, []),
    ]
    out = tmp_path / "page.html"
    write_comparison(out, compared, "mean_dice", "oof", lambda _: (read_image, read_label))
    text = out.read_text(encoding="utf-8")
    return one, two, text, Page(text)


def test_what_it_says(page):
    one, two, _, shown = page
    assert f"{two} has 0.6000 (0.5000 to 0.7000): +0.1000 (+0.0500 to +0.1500): more than chance" in shown.words
    assert "+0.0000 (-0.1000 to +0.1000): it may be chance." in shown.words
    assert shown.row(str(two), "0.6000 (0.5000 to 0.7000)")[2:] == ["+0.1000 (+0.0500 to +0.1500)", "0.0100"]
    assert shown.row("model.encoder") == ["model.encoder", "resnet18", "–", "b"]
    assert shown.row("rock", "0.310 (0.260–0.360)")  # IoU, out of fold
    assert "maskwright run --data <here>" in shown.words
    assert str(one) in shown.words


def test_the_images_that_differ_most(page):
    """Of nine images two differ: im4 is better in the second, im7 in the first; the third run is the first again."""
    one, two, _, shown = page
    titles = [words for _, words in shown.headings]
    assert f"Where {two} is better" in titles
    assert sum(title.startswith("Where ") and "recipes" not in title for title in titles) == 2
    assert [i["alt"] for i in shown.images if "im4" in i["alt"]] == [
        "Image images/part/im4.png",
        "Truth drawn on images/part/im4.png",
        f"Prediction of {one} drawn on images/part/im4.png",
        f"Prediction of {two} drawn on images/part/im4.png",
    ]
    assert f"Dice 0.550 by {one}, 1.000 by {two}" in shown.words


def test_it_stands_alone(page):
    _, _, text, shown = page
    assert not re.search(r"(https?:)?//[a-z]", bare(text))
    assert len(shown.ids) == len(set(shown.ids))
    assert text.count("<script") == 1


def test_other_names_are_refused(tmp_path, capsys):
    assert main(["compare", "a", "b", "--out", str(tmp_path / "table.txt")]) == 2
    assert "NAME.html" in capsys.readouterr().err
