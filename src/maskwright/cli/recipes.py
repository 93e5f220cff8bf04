"""Commands about the recipe itself."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from maskwright.artifacts import write_text
from maskwright.cli.console import say
from maskwright.recipe import recipe_schema


def schema(*, out: Path | None = None) -> None:
    """Write the JSON Schema of recipes, so that editors complete and check them.

    Args:
        out: file; default: stdout.
    """
    text = json.dumps(recipe_schema(), indent=1) + "\n"
    if out is None:
        sys.stdout.write(text)
    else:
        write_text(out, text)
        say(f"schema: {out}")
