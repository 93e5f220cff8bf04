"""A window of napari that reviews a run: what `maskwright review --napari` opens."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any

from maskwright.doors import need
from maskwright.errors import UsageError, problem
from maskwright.napari.binding import MENDS_BINDING, binding_fault, screen_fault
from maskwright.review import Desk

_SCREENS = ("DISPLAY", "WAYLAND_DISPLAY")


def check_window(environment: Mapping[str, str] = os.environ, system: str = sys.platform) -> None:
    """See that a window can be opened: without a screen, Qt would end the process (SIGABRT), whatever that is doing.

    Raises:
        UsageError: there is no screen, none that Qt can open windows on, no napari, or no Qt that lasts.
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
    if system == "linux" and (got := screen_fault(environment)):
        where = ", ".join(f"{name}={environment[name]}" for name in _SCREENS if environment.get(name))
        next_move = (
            "see that this X server runs and lets you in, and that Qt's libraries are there (docs/trouble.md has a "
        )
        next_move += "list); or review in the browser: leave --napari out"
        raise UsageError(problem("a screen that Qt can open windows on", got, where=where, next_move=next_move))
    if got := binding_fault():
        raise UsageError(problem("a Qt binding that lasts", got, where="napari", next_move=MENDS_BINDING))


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
