"""Run lengths: the examples of COCO's own documentation, Kaggle's pairs by hand, and both against pycocotools."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from maskwright.data.formats.runlength import (
    counts_to_mask,
    counts_to_text,
    mask_to_counts,
    mask_to_pairs,
    pairs_to_mask,
    text_to_counts,
)
from maskwright.data.formats.shapes import bitmap, from_counts, to_counts
from maskwright.errors import DataError

masks = hnp.arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9)))

# the first two are in the documentation of pycocotools' mask.py; the text of 20 needs a second letter, since the fifth
# bit of 10100 is the sign: 10100 with "more goes on" is 48 + 20 + 32 = d, then 0
WORKED = [
    ([0, 0, 1, 1, 1, 0, 1], [2, 3, 1, 1], "231N"),  # the fourth is 1 - 3 = -2 = 11110 = 48 + 30 = N
    ([1, 1, 1, 1, 1, 1, 0], [0, 6, 1], "061"),
    ([0] * 20, [20], "d0"),
]


@pytest.mark.parametrize(("column", "counts", "text"), WORKED)
def test_worked_columns(column, counts, text):
    mask = np.array(column, bool)[:, None]
    assert mask_to_counts(mask) == counts
    assert counts_to_text(counts) == text
    assert text_to_counts(text, where="") == counts
    assert np.array_equal(counts_to_mask(counts, mask.shape, where=""), mask)
    assert to_counts(bitmap(mask, mask.shape), mask.shape) == counts


@given(masks)
def test_all_forms_give_the_mask_back(mask):
    counts = mask_to_counts(mask)
    assert np.array_equal(counts_to_mask(counts, mask.shape, where=""), mask)
    assert text_to_counts(counts_to_text(counts), where="") == counts
    assert np.array_equal(pairs_to_mask(mask_to_pairs(mask), mask.shape, where=""), mask)
    top, left, pixels = drawn = from_counts(counts, mask.shape, where="")
    whole = np.zeros_like(mask)
    whole[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
    assert np.array_equal(whole, mask)
    assert to_counts(drawn, mask.shape) == counts


@given(masks)
def test_text_as_pycocotools_writes_it(mask):
    oracle = pytest.importorskip("pycocotools.mask")
    text = oracle.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()
    assert counts_to_text(mask_to_counts(mask)) == text


def test_runs_of_no_length_and_runs_that_go_on_in_the_next_column():
    # 2×3, column by column: 0 | 1 1 1 (with a run of 0 zeros in it) | 0 0
    assert from_counts([1, 1, 0, 2, 2], (2, 3), where="").pixels.tolist() == [[False, True], [True, True]]
    assert from_counts([6], (2, 3), where="").pixels.size == 0
    assert from_counts([0, 6], (2, 3), where="").pixels.all()


def test_pairs_by_hand():
    # 2×3 from 1, column by column: 2 and 3 are the lower left pixel and the upper one of the middle column
    assert pairs_to_mask("2 2", (2, 3), where="").astype(int).tolist() == [[0, 1, 0], [1, 0, 0]]
    assert not pairs_to_mask("", (2, 3), where="").any()
    assert mask_to_pairs(np.zeros((2, 3), bool)) == ""


@pytest.mark.parametrize("read", [counts_to_mask, from_counts])
@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ([1, 2], "4 pixels, got 3"),
        ([], "4 pixels, got 0"),
        ([5, -1], "a negative run"),
        ([1.5, 2.5], "whole numbers"),
        (["a"], "whole numbers"),
        ([[4]], "whole numbers"),
        (None, "whole numbers"),
        ([1 << 70], "whole numbers"),
    ],
)
def test_counts_that_are_none(read, counts, words):
    with pytest.raises(DataError, match=words) as caught:
        read(counts, (2, 2), where="a.json, annotation 7")
    assert "a.json, annotation 7" in str(caught.value)


@pytest.mark.parametrize("text", ["d", "é", "\x00", "~"])
def test_texts_that_are_cut_off_or_hold_other_letters(text):
    with pytest.raises(DataError, match="annotation 7"):
        text_to_counts(text, where="annotation 7")


@pytest.mark.parametrize("text", ["1", "a b", "0 1", "1 5", "1 -1"])
def test_pairs_that_are_none(text):
    with pytest.raises(DataError, match="row 3"):
        pairs_to_mask(text, (2, 2), where="row 3")
