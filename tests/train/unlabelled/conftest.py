"""Data of the trainings in this folder."""

from __future__ import annotations

import pytest

from make_pool import make_folder


@pytest.fixture
def data(tmp_path):
    """Index and recipe of seven labelled images and five others."""
    return make_folder(tmp_path / "data")
