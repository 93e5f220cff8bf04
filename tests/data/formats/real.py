"""Where the fixtures lie: real export files, in the folder that MASKWRIGHT_DATA names."""

import os
from pathlib import Path

import pytest

FIXTURES = Path(os.environ.get("MASKWRIGHT_DATA", "/nowhere")) / "fixtures"
MINI = FIXTURES / "datumaro_mini"


def real(test):
    """Mark a test that reads the fixtures."""
    missing = pytest.mark.skipif(not FIXTURES.is_dir(), reason="needs the fixtures of MASKWRIGHT_DATA")
    return pytest.mark.realdata(missing(test))
