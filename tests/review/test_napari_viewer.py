"""A window of napari on a screen, or on a virtual one, driven by its keys and buttons; killed, and opened again."""

import json
import os
import shutil
import signal
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest

from make_copies import half
from make_review import ALONE, PLAIN
from maskwright.decisions import read_decisions, settled
from maskwright.napari.binding import binding_fault
from maskwright.review import Reviewed

BINDINGS = ("PySide6", "PyQt6", "PyQt5")
FAULT = binding_fault() if find_spec("napari") and any(find_spec(name) for name in BINDINGS) else ""
SCREEN = [] if os.environ.get("DISPLAY") else ["xvfb-run", "-a", "-s", "-screen 0 1400x1000x24"]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(find_spec("napari") is None, reason="needs the extra napari"),
    pytest.mark.skipif(not any(find_spec(name) for name in BINDINGS), reason="needs a Qt binding"),
    pytest.mark.skipif(bool(FAULT), reason=f"needs a Qt binding that lasts, not {FAULT}"),
    pytest.mark.skipif(bool(SCREEN) and not shutil.which("xvfb-run"), reason="needs a screen, or xvfb-run"),
]

BEGINNING = """
import json, os, signal, sys, time
from pathlib import Path
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication
from maskwright.napari.widget import desk_of
from maskwright.napari.window import build_window

viewer, widget = build_window(desk_of(Path(sys.argv[1])))
window = widget.window()
window.resize(1280, 860)
window.activateWindow()
QTest.qWaitForWindowActive(window, 20_000)
session, panel, board = widget.session, widget.panel, widget.board

def press(key, modifier=Qt.KeyboardModifier.NoModifier, at=None):
    QTest.keyClick(at or QApplication.focusWidget() or window, key, modifier)
    QApplication.processEvents()

def until(kind):
    for _ in range(len(session.desk.items)):
        if session.item.kind == kind:
            return
        press(Qt.Key.Key_Right)
    raise SystemExit(f"no {kind}")

def tell(**found):
    print(json.dumps(found), flush=True)
"""

FIRST = """
until("disagreement")
press(Qt.Key.Key_2)
tell(status=panel.status.text(), asked=panel.by.hasFocus())
QTest.keyClicks(panel.by, "Anna 21")
press(Qt.Key.Key_Return, at=panel.by)
tell(by=session.by, kind=session.item.kind, layers=[layer.name for layer in viewer.layers])
press(Qt.Key.Key_2)
tell(status=panel.status.text(), counted=panel.counted.text())
session.show(0)
widget._shown()
until("suspect")
press(Qt.Key.Key_D)
tell(differs=board.differs)
press(Qt.Key.Key_E)
tell(answers=panel.answer_box.isVisible(), paint=panel.paint.currentText(), mode=board.drawing.mode)
press(Qt.Key.Key_2)  # not an answer while something is drawn
board.drawing.selected_label = 0
tell(picked=panel.paint.currentText())
board.drawing.selected_label = 1
board.drawing.brush_size = 1
board.drawing.paint((20, 50), board.drawing.selected_label)
panel.paint.setCurrentIndex(panel.paint.findText("ignored"))
board.drawing.paint((20, 5), board.drawing.selected_label)
press(Qt.Key.Key_Return, Qt.KeyboardModifier.ControlModifier)
tell(status=panel.status.text(), answers=panel.answer_box.isVisible())
if len(sys.argv) > 2:
    QTest.qWait(500)
    window.grab().save(sys.argv[2])
os.kill(os.getpid(), signal.SIGKILL)
"""

SECOND = """
tell(counted=panel.counted.text(), kind=session.item.kind)
panel.by.setText("Anna 21")
panel.by.editingFinished.emit()
press(Qt.Key.Key_U)
tell(status=panel.status.text(), kind=session.item.kind, mine=session.described["mine"])
press(Qt.Key.Key_E)
press(Qt.Key.Key_Escape)
tell(status=panel.status.text(), drawn=board.drawn is not None)
viewer.close()
"""

CLICKED = """
from qtpy.QtWidgets import QDockWidget
mine = lambda: session.desk.progress("Eva")["mine"]
panel.by.setFocus()
QTest.keyClicks(panel.by, "Eva")
button = panel.answers.itemAt(0).widget()
held = (button, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, button.rect().center())
QTest.mousePress(*held)
QTest.qWait(100)  # the name is taken in: the field has lost the focus
QTest.mouseRelease(*held)
tell(by=session.by, mine=mine())
press(Qt.Key.Key_X, at=window)
tell(mine=mine())
dock = widget
while not isinstance(dock, QDockWidget):
    dock = dock.parent()
dock.hide()
press(Qt.Key.Key_X, at=window)
tell(mine=mine())
dock.show()
QTest.qWait(100)
press(Qt.Key.Key_X, at=window)
tell(mine=mine())
widget.open(session.desk.run.folder.root.parent)
for _ in range(200):
    if panel.open.isEnabled():
        break
    QTest.qWait(50)
tell(status=panel.status.text(), open=session is widget.session)
viewer.close()
"""

PLUGIN = """
import sys
import napari, npe2
from importlib.resources import files
npe2.PluginManager.instance().register(
    npe2.PluginManifest.from_file(str(files("maskwright.napari").joinpath("napari.yaml")))
)
from qtpy.QtTest import QTest
viewer = napari.Viewer()
viewer.open(sys.argv[1], plugin="maskwright")
print([layer.name for layer in viewer.layers], flush=True)
dock, widget = viewer.window.add_plugin_dock_widget("maskwright", "Review")
for _ in range(1200):
    if widget.session is not None:
        break
    QTest.qWait(50)
print(widget.session.item.kind, widget.panel.run.text(), flush=True)
print(len([layer for layer in viewer.layers if "maskwright_run" in layer.metadata]), flush=True)
viewer.close()
"""


def drive(script, *arguments):
    """Run a script with a window; return its lines and how it ended."""
    command = [*SCREEN, sys.executable, "-c", script, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=800)
    return done.stdout.splitlines(), done


def test_a_choice_and_a_drawing_survive_a_kill(folder):
    lines, done = drive(BEGINNING + FIRST, folder.root, *filter(None, [os.environ.get("MASKWRIGHT_SCREENSHOT")]))
    assert len(lines) == 7, done.stderr[-3000:]
    unnamed, named, chosen, apart, drawing, picked, saved = map(json.loads, lines)
    assert unnamed["status"].startswith("Type your name first") and unnamed["asked"]
    assert (named["by"], named["kind"]) == ("Anna 21", "disagreement")  # the 2 of a name is no answer
    assert named["layers"][:1] == [ALONE] and "B: round 1, fold 1" in named["layers"]
    assert chosen["status"].startswith("Saved: B is right") and ", 1 by you" in chosen["counted"]
    assert apart["differs"]
    assert drawing == {"answers": False, "paint": "rock", "mode": "paint"}
    assert picked == {"picked": "background"}
    assert saved["status"].startswith("Saved: draw the mask") and saved["answers"]
    assert done.returncode in (-signal.SIGKILL, 128 + signal.SIGKILL), done.stderr[-3000:]
    people = [d for d in read_decisions(folder.decisions) if not d.by_policy]
    assert [(d.image, d.answer, d.by) for d in people] == [(ALONE, "b", "Anna 21"), (PLAIN, "edit", "Anna 21")]
    expected = half(16)
    expected[20, 50], expected[20, 5] = 1, 255
    assert np.array_equal(Reviewed.of(folder.root).mask(PLAIN, settled(people)), expected)
    lines, done = drive(BEGINNING + SECOND, folder.root)
    assert len(lines) == 3, done.stderr[-3000:]
    opened, undone, cancelled = map(json.loads, lines)
    assert opened["counted"].startswith("2 of ")
    assert undone["status"].startswith("Taken back") and (undone["kind"], undone["mine"]) == ("suspect", "")
    assert cancelled == {"status": "Nothing was changed.", "drawn": False}
    assert done.returncode == 0, done.stderr[-3000:]


def test_clicks_keys_and_folders_that_go_wrong(folder):
    lines, done = drive(BEGINNING + CLICKED, folder.root)
    assert len(lines) == 5, done.stderr[-3000:]
    clicked, pressed, hidden, shown, wrong = map(json.loads, lines)
    assert (clicked["by"], clicked["mine"]) == ("Eva", 1)  # the button that was held down is the one that is let go
    assert (pressed["mine"], hidden["mine"], shown["mine"]) == (2, 2, 3)
    assert f"did you mean {folder.root}?" in wrong["status"] and wrong["open"]
    assert "Traceback" not in done.stderr
    assert done.returncode == 0, done.stderr[-3000:]


def test_the_plugin_opens_a_run_and_reviews_it(folder):
    lines, done = drive(PLUGIN, folder.root)
    assert len(lines) == 3, done.stderr[-3000:]
    assert lines[0].startswith("['images', 'masks', 'predictions', 'pseudo-labels of round 1, fold 0'")
    assert lines[1:] == ["conflict run", "0"]  # the slider's layers are gone
