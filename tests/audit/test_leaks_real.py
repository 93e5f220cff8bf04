"""Leaks of real data: the one that camvid has, patients of glas and an image of cwfid put in two parts."""

import os
from collections import Counter
from pathlib import Path

import pytest

from benchmarks import leaks

DATA = Path(os.environ.get("MASKWRIGHT_DATA", "/nonexistent"))
pytestmark = [
    pytest.mark.realdata,
    pytest.mark.skipif(not DATA.is_dir(), reason="MASKWRIGHT_DATA names no folder with real data"),
]


@pytest.fixture(scope="module")
def sets():
    return {name: leaks.Set(DATA / name) for name in ("camvid", "glas", "cwfid")}


def test_known_leaks_are_found_and_nothing_else(sets):
    rows = leaks.found_rows(sets)
    assert len(rows) == 4
    for name, row in rows.items():
        assert row.reached, (name, row.details)


def test_clean_partitions_are_not_flagged(sets):
    for name, count in (("camvid", 3), ("glas", 5)):
        flagged = [found for found in leaks.clean(sets[name], leaks.GROUPS[name], count) if found]
        assert not flagged, Counter(leak.detail for found in flagged for leak in found)
