"""Our own networks, small enough for a test: one of each kind."""

from __future__ import annotations

from maskwright.recipe.networks import CustomUNetSpec

SMALL = {
    CustomUNetSpec: CustomUNetSpec(depth=3, width=8),
}
LEVELS = {CustomUNetSpec: 4}
"""Most outputs of these that can be supervised."""
