"""One run that has everything, and its report."""

from __future__ import annotations

import pytest

from make_report import make_run, write


@pytest.fixture(scope="session")
def full(tmp_path_factory):
    run = make_run(tmp_path_factory.mktemp("full"))
    return run, *write(run)
