"""The report of a run that lacks artifacts, or has damaged or empty ones."""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl
import pytest

from make_report import (
    make_run,
    write,
    write_base,
)
from maskwright.errors import DataError


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
        assert "The audit, which trains nothing, found nothing wrong." in write(run)[1].words
