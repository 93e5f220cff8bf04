"""Notes on shifts between parts: only what is left after Holm's adjustment for all comparisons is said."""

import polars as pl

from maskwright.audit.overview import _shift_notes
from maskwright.recipe.data import AuditSpec


def parts(*rows):
    return pl.DataFrame(rows, schema=["column", "name", "shift", "p"], orient="row")


def test_a_small_p_among_many_comparisons_is_no_note():
    """Ten sites: the least p of .004 times ten is .04, the next of .01 times nine is .09."""
    sites = [("domain", f"s{k}", 0.2 + 0.01 * k, p) for k, p in enumerate([0.004, 0.01, *[0.3] * 8])]
    (note,) = _shift_notes(parts(("all", "all", None, None), *sites), AuditSpec())
    assert "images of domain s0" in note.detail
    assert "p = 0.04 after Holm, for 10 comparisons" in note.detail


def test_two_parts_are_one_comparison():
    both = [("part", "train", 0.4, 0.03), ("part", "val", 0.4, 0.03)]
    (note,) = _shift_notes(parts(*both), AuditSpec())
    assert note.detail.endswith("p = 0.03") and (note.kind, note.value) == ("shift", 0.4)


def test_a_small_shift_is_no_note_however_sure():
    assert list(_shift_notes(parts(("domain", "a", 0.01, 0.001), ("domain", "b", 0.01, 0.001)), AuditSpec())) == []
    assert list(_shift_notes(parts(("all", "all", None, None)), AuditSpec())) == []
