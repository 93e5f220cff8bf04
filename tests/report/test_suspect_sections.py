"""The report's section on suspect masks, read back from the page."""

import polars as pl

from make_report import make_run, write
from maskwright.audit.suspects import IMAGE_SCHEMA, REGION_SCHEMA


def test_suspect_masks_are_shown_first_to_last(tmp_path):
    run = make_run(tmp_path)
    names = pl.read_parquet(run / "index.parquet").filter(pl.col("mask").is_not_null())["image"].to_list()
    images = [
        (names[0], True, 0.1, 0.05, 1, -12, 7, 0.41),
        (names[1], False, 0.3, 0.02, 0, 0, 0, 0.0),
        (names[2], False, 0.0, 0.0, 0, 0, 0, 0.0),
    ]
    regions = [(names[0], 2, 3, 4, 5, 20.0, "ground", "rock", 61.5)]
    (run / "suspects").mkdir()
    pl.DataFrame(images, schema=IMAGE_SCHEMA, orient="row").write_parquet(run / "suspects/images.parquet")
    pl.DataFrame(regions, schema=REGION_SCHEMA, orient="row").write_parquet(run / "suspects/suspects.parquet")
    page = write(run, thumbnails=2)[1]
    assert "suspects" in page.ids
    assert page.row(names[0])  # of the table of images or regions
    assert "-12 down, +7 right" in page.words
    assert "2–5" in page.words and "3–7" in page.words
    assert "1 seems shifted" in page.words


def test_without_out_of_fold_predictions_there_is_no_such_section(tmp_path):
    assert "suspects" not in write(make_run(tmp_path), thumbnails=0)[1].ids
