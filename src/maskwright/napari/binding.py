"""Whether Qt can be used: what would end the process without a word is found before it does."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

from maskwright.doors import need

_TRIAL = "from qtpy.QtWidgets import QApplication; QApplication([])"
_PATIENCE = 60.0
_CALLS = 100

MENDS_BINDING = "pip install 'PySide6<6.12', or use Python 3.12 or later"
"""What is to be done about what `binding_fault` says."""


def screen_fault(environment: Mapping[str, str], script: str = _TRIAL) -> str:
    """Return why Qt can't open windows, empty if it can: tried in another process, which Qt may end (SIGABRT).

    Args:
        environment: of that process.
        script: what is tried.
    """
    try:
        done = subprocess.run(
            [sys.executable, "-c", script], env=dict(environment), capture_output=True, text=True, timeout=_PATIENCE
        )
    except subprocess.TimeoutExpired:
        return f"no window in {_PATIENCE:.0f} s"
    said = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    if done.returncode == 0:
        return ""
    told = said[-1] if said and said[0].startswith("Traceback") else next(iter(said), "")
    return told or f"exit status {done.returncode}"


def binding_fault() -> str:
    """Return what is wrong with the Qt binding, empty for nothing.

    PySide6 6.12.0 on Python 3.11 gives away a reference to None at each call that returns nothing. When none is left,
    after about 40 items, Python ends (`none_dealloc`), and with it what is drawn. Later Pythons don't count these.
    """
    core: Any = need("qtpy.QtCore", "napari")
    thing = core.QObject()
    if not loses_references(lambda: thing.setObjectName("")):
        return ""
    return (
        f"one that ends Python {sys.version_info[0]}.{sys.version_info[1]} after some minutes (Qt {core.__version__})"
    )


def loses_references(call: Callable[[], object]) -> bool:
    """Tell whether each of many calls takes away a reference to None."""
    before = sys.getrefcount(None)
    for _ in range(_CALLS):
        call()
    return before - sys.getrefcount(None) > _CALLS // 2
