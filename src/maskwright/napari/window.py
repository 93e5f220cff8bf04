"""A window of napari that reviews a run: what `maskwright review --napari` opens."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from maskwright.doors import need
from maskwright.errors import UsageError, problem
from maskwright.review import Desk

_SCREENS = ("DISPLAY", "WAYLAND_DISPLAY")
_TRIAL = "from qtpy.QtWidgets import QApplication; QApplication([])"
_PATIENCE = 60.0


def check_window(environment: Mapping[str, str] = os.environ, system: str = sys.platform) -> None:
    """See that a window can be opened: without a screen, Qt would end the process (SIGABRT), whatever that is doing.

    Raises:
        UsageError: there is no screen, or none that Qt can open a window on, napari isn't installed, or no Qt.
    """
    if system == "linux" and not any(environment.get(name) for name in _SCREENS):
        next_move = "log in with ssh -X, run it under xvfb-run, or review in the browser: leave --napari out"
        expected = "a screen (DISPLAY or WAYLAND_DISPLAY)"
        raise UsageError(problem(expected, "none", where="napari", next_move=next_move))
    need("napari", "napari")
    try:
        need("qtpy.QtWidgets", "napari")
    except UsageError:
        next_move = "pip install PySide6 (LGPL), or another binding whose licence suits you"
        raise UsageError(
            problem("a Qt binding beside napari", "none that can be imported", where="napari", next_move=next_move)
        ) from None
    if system == "linux" and (got := _fault(environment)):
        where = ", ".join(f"{name}={environment[name]}" for name in _SCREENS if environment.get(name))
        next_move = (
            "see that this X server runs and lets you in, and that the libraries of Qt are there (docs/trouble.md "
        )
        next_move += "lists them); or review in the browser: leave --napari out"
        raise UsageError(problem("a screen that Qt can open windows on", got, where=where, next_move=next_move))


def _fault(environment: Mapping[str, str], script: str = _TRIAL) -> str:
    """Return why Qt can't open windows, empty if it can: tried in another process, which Qt may end."""
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


def build_window(desk: Desk) -> tuple[Any, Any]:
    """Return a viewer with the review of a queue in it, and the review's widget.

    Raises:
        UsageError: as `check_window`.
    """
    check_window()
    viewer = need("napari", "napari").Viewer(title="maskwright review")
    widget = need("maskwright.napari.widget", "napari").Review(viewer)
    viewer.window.add_dock_widget(widget, name="Review", area="right")
    widget.begin(desk)
    return viewer, widget


def show_window(desk: Desk) -> None:
    """Review a queue in a window, until that is closed; errors as `build_window`."""
    build_window(desk)
    need("napari", "napari").run()
