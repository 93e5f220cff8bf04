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


def test_without_names_an_image_has_one_number_in_all_runs(page, tmp_path):
    """The second run's index is the other way round: im4 is the fifth image of the first, and called so."""
    one, two, before, _ = page
    index = pl.read_parquet(two / "index.parquet")
    index.reverse().write_parquet(two / "index.parquet")
    gap = Interval(0.1, 0.05, 0.15, 9)
    compared = [
        Compared(one, {"split.file": "lists/Mueller.csv"}, Interval(0.5, 0.4, 0.6, 9), None, None, []),
        Compared(two, {"split.file": None}, Interval(0.6, 0.5, 0.7, 9), gap, 0.01, []),
    ]
    out = tmp_path / "anonymous.html"
    write_comparison(out, compared, "mean_dice", "oof", lambda _: (read_image, read_label), anonymous=True)
    text = out.read_text(encoding="utf-8")
    shown = Page(text)
    bared = re.sub(r"base64,[A-Za-z0-9+/=]+", "", text)
    for name in ("im4", "im7", "part/", "Mueller", "<here>", "&lt;here&gt;", str(one), str(two), str(tmp_path)):
        assert name not in bared, name
    assert str(one) in before
    assert shown.row("split.file") == ["split.file", "PATH", "–"]
    better = [i["alt"] for i in shown.images if "image 5" in i["alt"]]
    assert better[:2] == ["Image image 5", "Truth drawn on image 5"]
    assert "Prediction of run 2 drawn on image 5" in better
    assert {i["alt"] for i in shown.images if i["alt"].startswith("Image")} == {"Image image 5", "Image image 8"}


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
    assert main(["compare", "a", "b", "--anonymous", "--out", str(tmp_path / "table.csv")]) == 2
    assert "--anonymous" in capsys.readouterr().err
