"""The log of label files against lines that were cut short."""

from __future__ import annotations

import pytest

from maskwright.predict.log import PredictionLog


@pytest.mark.parametrize("kept", [1, 5, 12, -2, -1])
def test_a_line_that_was_cut_short_harms_no_other(tmp_path, kept):
    image = tmp_path / "image.png"
    image.write_bytes(b"x")
    log = PredictionLog(tmp_path)
    log.add("first", image, "maker")
    whole = log.path.read_bytes()
    log.add("second]", image, "maker")
    log.path.write_bytes(whole + log.path.read_bytes()[len(whole) :][:kept])

    PredictionLog(tmp_path).add("third", image, "maker")
    entries = PredictionLog(tmp_path).entries
    assert entries["first"] == entries["third"] == log.entries["first"]
    assert ("second]" in entries) == (kept == -1)  # there, only the line's end is missing


def test_a_name_that_ends_like_a_line_is_cut_inside(tmp_path):
    (tmp_path / ".made.jsonl").write_text('["a", "m", 1, 2]\n["b[0]')
    assert PredictionLog(tmp_path).entries == {"a": ["m", 1, 2]}
