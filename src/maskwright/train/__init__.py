"""Training: Lightning owns the loop, a step owns the meaning."""

import maskwright.recipe  # noqa: F401  before torch: pydantic's look at the docstrings takes seconds with it in memory
