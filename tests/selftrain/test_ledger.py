"""The ledger: its shares and its estimate of precision, against plain loops."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from maskwright.selftrain import LEDGER_SCHEMA, PrecisionTable, ledger_rows
from maskwright.selftrain.ledger import BINS, confidence_counts, summary, write_ledger
from maskwright.types import IGNORE

NAMES = ["background", "object"]


def test_precision_is_expected_from_what_was_right_at_that_confidence():
    # out of fold, foreground of .95: 3 of 4 right; of .65: 1 of 2. Ignored pixels don't count
    sure = np.array([[0.95, 0.95, 0.95, 0.95, 0.65, 0.65, 0.95]], np.float32)
    truth = np.array([[1, 1, 1, 0, 1, 0, IGNORE]], np.uint8)
    table = PrecisionTable.of(2)
    table.add(np.stack([1 - sure, sure]), truth)
    assert table.all.sum() == 6 and table.right.sum() == 4
    kept = np.zeros((2, BINS), np.int64)
    kept[1, int(0.95 * BINS)], kept[1, int(0.65 * BINS)], kept[1, int(0.8 * BINS)] = 3, 1, 10
    found = table.precision(kept)
    assert np.isnan(found[0])  # nothing of background was kept
    assert found[1] == pytest.approx((3 * 0.75 + 1 * 0.5) / 4)  # nothing is known of .8: left out


def test_rows_hold_shares_of_the_image_and_of_the_category():
    label = np.array([[0, 0, 0, 1]], np.uint8)
    kept = np.array([[0, IGNORE, IGNORE, 1]], np.uint8)
    confidence = np.array([[0.9, 0.5, 0.7, 0.8]], np.float32)
    table = PrecisionTable.of(2)
    shared = {"round": 1, "fold": 0, "image": "a", "score": None, "used": True, "pass": 1, "made_by": ["x.ckpt"]}
    rows = ledger_rows(
        names=NAMES,
        label=label,
        kept=kept,
        confidence=confidence,
        thresholds=np.array([0.9, np.nan]),
        table=table,
        shared=shared,
    )
    frame = pl.DataFrame(rows, schema=LEDGER_SCHEMA)
    assert frame["predicted"].to_list() == [0.75, 0.25]
    assert frame["kept"].to_list() == [pytest.approx(1 / 3), 1.0]
    assert frame["threshold"].to_list() == [0.9, None]
    assert frame["confidence"].to_list() == [pytest.approx(0.7, abs=1e-6), pytest.approx(0.8, abs=1e-6)]
    assert frame["precision"].to_list() == [None, None]


def test_a_category_that_is_not_predicted_has_no_share_kept():
    label = np.zeros((2, 2), np.uint8)
    rows = ledger_rows(
        names=NAMES,
        label=label,
        kept=label,
        confidence=np.ones((2, 2), np.float32),
        thresholds=np.zeros(2),
        table=PrecisionTable.of(2),
        shared={},
    )
    assert rows[1]["predicted"] == 0 and rows[1]["kept"] is None and rows[1]["confidence"] is None


def test_counts_by_confidence_are_those_of_a_loop():
    rng = np.random.default_rng(0)
    label, confidence = rng.choice([0, 1, IGNORE], (6, 7)).astype(np.uint8), rng.random((6, 7)).astype(np.float32)
    confidence[0, 0] = 1.0
    expected = np.zeros((2, BINS), int)
    for category, sure in zip(label.ravel(), confidence.ravel(), strict=True):
        if category != IGNORE:
            expected[category, min(int(sure * BINS), BINS - 1)] += 1
    np.testing.assert_array_equal(confidence_counts(label, confidence, 2), expected)


def test_the_summary_weighs_by_what_is_kept_and_counts_used_images_alone():
    base = {"round": 1, "fold": 0, "threshold": None, "confidence": None, "score": None, "pass": 1, "made_by": []}
    rows = [
        base | {"image": "a", "category": "object", "predicted": 0.2, "kept": 0.5, "precision": 0.9, "used": True},
        base | {"image": "b", "category": "object", "predicted": 0.1, "kept": 1.0, "precision": 0.6, "used": True},
        base | {"image": "c", "category": "object", "predicted": 0.9, "kept": 1.0, "precision": 0.1, "used": False},
    ]
    background, thing = summary(pl.LazyFrame(rows, schema=LEDGER_SCHEMA), NAMES)
    assert background["kept"] is None and background["precision"] is None
    assert thing["predicted"] == pytest.approx(0.15)
    assert thing["kept"] == pytest.approx((0.2 * 0.5 + 0.1) / 0.3)
    assert thing["precision"] == pytest.approx((0.1 * 0.9 + 0.1 * 0.6) / 0.2)


def test_a_ledger_is_written_as_it_is_made_and_holds_few_rows_at_a_time(tmp_path):
    base = {"round": 1, "fold": 0, "pass": 1, "made_by": ["round-0/fold-0/last.ckpt"], "used": True}
    asked = []

    def rows(count):
        for place in range(count):
            asked.append(len(list((tmp_path / "ledger.parts").iterdir())))
            yield [base | {"image": f"{place:04}", "category": name, "predicted": 0.5} for name in NAMES]

    before = pl.LazyFrame([base | {"image": "first", "category": NAMES[0]}], schema=LEDGER_SCHEMA)
    write_ledger(tmp_path / "ledger.parquet", rows(600), before=before)
    found = pl.read_parquet(tmp_path / "ledger.parquet")
    assert found.schema == LEDGER_SCHEMA
    assert found["image"].to_list() == ["first", *(f"{place:04}" for place in range(600) for _ in NAMES)]
    assert asked[256 * 2] == 2  # what came before lies on the disk
    assert [path.name for path in tmp_path.iterdir()] == ["ledger.parquet"]
    write_ledger(tmp_path / "ledger.parquet", rows(0))
    assert pl.read_parquet(tmp_path / "ledger.parquet").schema == LEDGER_SCHEMA
