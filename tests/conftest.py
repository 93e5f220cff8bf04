"""Settings for all tests."""

from __future__ import annotations

from hypothesis import settings

import maskwright.recipe  # noqa: F401  before torch, as in maskwright.train

# no deadline: the machine is shared; derandomised: a failure is a failure on every machine and in every run
settings.register_profile("maskwright", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("maskwright")
