"""The review as a dock of napari: an item in the viewer, its answers beside it, each in the run's log at once."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from maskwright.doors import need
from maskwright.errors import MaskwrightError
from maskwright.napari.binding import MENDS_BINDING, binding_fault
from maskwright.napari.layers import Board
from maskwright.napari.panel import Panel
from maskwright.napari.reader import RUN
from maskwright.napari.session import Session
from maskwright.review import Desk, Reviewed, build_queue

_Widget: Any = need("qtpy.QtWidgets", "napari").QWidget


def desk_of(run: Path) -> Desk:
    """Return queue and log of a run.

    Raises:
        UsageError: the folder holds no audited run.
        DataError: an artifact is damaged.
    """
    source = Reviewed.of(run)
    return Desk(source, build_queue(source))


def _tried(run: Path) -> Desk | str:
    """Return queue and log of a run, or why there are none: what a worker raises, napari prints with its traceback."""
    try:
        return desk_of(run)
    except (MaskwrightError, OSError) as error:
        return str(error)


class Review(_Widget):  # type: ignore[misc]  # napari makes widgets of classes alone, and Qt is nobody's requirement
    """The dock widget; it opens the run whose layers are in the viewer, if there is one.

    Args:
        napari_viewer: napari's; it goes by this name.
    """

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__()
        self.viewer, self.panel = napari_viewer, Panel(self)
        self.session: Session | None = None
        self.board: Board | None = None
        self._bound: list[Any] = []
        self._drawing: list[Any] = []
        self._connect()
        self._listen()
        if (run := self._run_in_viewer()) is not None:
            self.open(run)

    def open(self, run: Path) -> None:
        """Open a run; reads its queue while the viewer goes on."""
        self.panel.say("Reading what is worth a look …")
        self.panel.open.setEnabled(False)
        create = need("napari.qt.threading", "napari").create_worker
        self._worker = create(_tried, run)
        self._worker.returned.connect(self._opened)
        self._worker.finished.connect(lambda: self.panel.open.setEnabled(True))
        self._worker.start()

    def begin(self, desk: Desk) -> None:
        """Begin with the first open item of a queue."""
        if self.board is not None:
            self.board.clear()
        for layer in [layer for layer in self.viewer.layers if RUN in layer.metadata]:  # its slider is in the way
            self.viewer.layers.remove(layer)
        self.session = Session(desk)
        self.session.by, self.session.second = self.panel.by.text(), self.panel.second.isChecked()
        self.board = Board(self.viewer, self.session.categories)
        self.panel.run.setText("a run" if desk.anonymous else desk.run.folder.root.resolve().name)
        self.panel.show_categories(self.session.categories)
        fault = binding_fault()
        self.panel.say(f"The Qt binding is {fault}: {MENDS_BINDING}." if fault else "", bad=bool(fault))
        self._guarded(self._forward)

    def choose(self, name: str) -> None:
        """Give an answer, or begin what it needs."""
        if self.session is None or self.session.place is None or self.panel.drawing.isVisibleTo(self.panel.root):
            return
        if not self.session.by.strip():
            self.panel.say("Type your name first: every answer says whose it is.", bad=True)
            self.panel.by.setFocus()
            return
        if name == "edit":
            self._guarded(lambda: self._draw(self._session.bases[0]))
        elif self.session.asks_region(name):
            self._guarded(self._mark)
        else:
            self._guarded(lambda: self._answered(self._session.answer(name)))

    def save(self) -> None:
        """Save what is drawn as the answer."""
        self._guarded(self._save)

    def cancel(self) -> None:
        """Leave off what is drawn."""
        self._session.cancel()
        self._board.end()
        self._rest()
        self.panel.say("Nothing was changed.")

    @property
    def _session(self) -> Session:
        assert self.session is not None
        return self.session

    @property
    def _board(self) -> Board:
        assert self.board is not None
        return self.board

    def _guarded(self, work: Callable[[], None]) -> None:
        """Do something, or say why it can't be done."""
        try:
            work()
        except MaskwrightError as error:
            self.panel.say(self._session.desk.told(error), bad=True)
        except OSError as error:
            told = type(error).__name__ if self._session.desk.anonymous else str(error)
            self.panel.say(f"It could not be done: {told}", bad=True)

    def _opened(self, found: Desk | str) -> None:
        if isinstance(found, Desk):
            self.begin(found)
        else:
            self.panel.say(found, bad=True)

    def _forward(self) -> None:
        try:
            self._session.forward()
        finally:
            self._shown()

    def _step(self, by: int) -> None:
        if self.session is None:
            return
        try:
            self.session.step(by)
            self.panel.say("")
        finally:
            self._shown()

    def _undo(self) -> None:
        if self.session is None:
            return
        try:
            self.panel.say(self.session.undo())
        finally:
            self._shown()

    def _answered(self, told: str) -> None:
        self.panel.say(told)
        self._forward()

    def _shown(self) -> None:
        """Show the item that the session is at."""
        session = self._session
        self._rest()
        seen = bool(session.panes)
        self.panel.ask(session.described, self.choose, blind=lambda name: seen or session.can_be_blind(name))
        region = None if session.place is None else session.item.region
        self._board.show(session.panes, region)
        self.panel.differs.setEnabled(len(session.labels) > 1)
        known = session.desk.progress()
        self.panel.count(session.progress, known["decided"], known["total"])
        self._bind()

    def _bind(self) -> None:
        """Give each answer of the item its key."""
        for shortcut in self._bound:
            shortcut.setEnabled(False)
            shortcut.deleteLater()
        answers = self._session.described.get("answers", ())
        self._bound = [self.panel.shortcut(a["key"], partial(self._pressed, a["name"])) for a in answers]

    def _pressed(self, name: str) -> None:
        if self._session.panes or self._session.can_be_blind(name):
            self.choose(name)

    def _draw(self, base: int) -> None:
        session, board, panel = self._session, self._board, self.panel
        label = session.begin(base)
        board.begin(label, base)
        bases = [(which, session.told(which)) for which in session.bases]
        panel.show_bases(bases, base)
        panel.draws(bases)
        panel.hidden.setChecked(False)
        panel.differs.setChecked(False)
        self._paint()
        board.drawing.events.selected_label.connect(self._picked)
        self._at_work()
        panel.say("Draw on the picture, then save the mask.")

    def _rebase(self) -> None:
        """Begin with something else, and keep what was drawn until now."""
        session, board = self._session, self._board
        if session.begun is None or board.drawn is None:
            return
        drawn, before = board.drawn, session.begun[1]
        base = self.panel.base.currentData()
        label = session.begin(base)
        label[drawn != before] = drawn[drawn != before]
        board.begin(label, base)
        self._paint()
        board.drawing.events.selected_label.connect(self._picked)

    def _mark(self) -> None:
        self._board.begin_region()
        self.panel.draws((), region=True)
        self._at_work()
        self.panel.say("Drag a box around what is to be ignored.")

    def _save(self) -> None:
        session, board = self._session, self._board
        if board.rectangle is not None:
            if board.region is None:
                self.panel.say("No box is drawn yet.", bad=True)
                return
            told = session.answer("ignore", region=board.region)
        elif board.drawn is not None:
            told = session.save(board.drawn)
        else:
            return
        self._answered(told)

    def _at_work(self) -> None:
        """While something is drawn, napari's own keys are napari's again."""
        for shortcut in (*self._bound, *self._always):
            shortcut.setEnabled(False)
        for shortcut in self._drawing:
            shortcut.setEnabled(True)

    def _rest(self) -> None:
        self.panel.draws(None)
        self.panel.differs.setEnabled(self.session is not None and len(self.session.labels) > 1)
        for shortcut in (*self._bound, *self._always):
            shortcut.setEnabled(True)
        for shortcut in self._drawing:
            shortcut.setEnabled(False)

    def _look(self) -> None:
        if self.board is not None:
            self.board.opacity = self.panel.opacity.value() / 100
            self.board.hidden, self.board.differs = self.panel.hidden.isChecked(), self.panel.differs.isChecked()
            self.board.look()

    def _paint(self) -> None:
        if self.board is not None and self.panel.paint.currentData() is not None:
            self.board.paint(self.panel.paint.currentData())

    def _picked(self, _: Any) -> None:
        """Show what napari's own keys and controls chose to paint; what is no category leaves nothing chosen."""
        if self.board is not None and self.board.drawing is not None:
            self.panel.paint.setCurrentIndex(self.panel.paint.findData(int(self.board.drawing.selected_label)))

    def _named(self) -> None:
        if self.session is None or self.session.by == self.panel.by.text():
            return
        self.session.by = self.panel.by.text()
        self.panel.say("")
        self._guarded(self._forward if self.session.place is None else partial(self._step, 0))

    def _second(self) -> None:
        if self.session is not None:
            self.session.second = self.panel.second.isChecked()
            if self.session.place is None:
                self._guarded(self._forward)

    def _browse(self) -> None:
        chosen = self.panel.qt.QFileDialog.getExistingDirectory(self.panel.root, "The folder of a run")
        if chosen:
            self.open(Path(chosen))

    def _run_in_viewer(self) -> Path | None:
        found = [layer.metadata[RUN] for layer in self.viewer.layers if RUN in layer.metadata]
        return Path(found[0]) if found else None

    def _inserted(self, _: Any) -> None:
        if self.session is None and self.panel.open.isEnabled() and (run := self._run_in_viewer()) is not None:
            self.open(run)

    def _connect(self) -> None:
        panel = self.panel
        panel.opacity.setValue(45)
        panel.open.clicked.connect(lambda *_: self._browse())
        panel.by.editingFinished.connect(self._named)
        panel.by.returnPressed.connect(panel.by.clearFocus)  # what is typed next is an answer
        panel.second.toggled.connect(lambda *_: self._second())
        for box in (panel.hidden, panel.differs):
            box.toggled.connect(lambda *_: self._look())
        panel.opacity.valueChanged.connect(lambda *_: self._look())
        panel.back.clicked.connect(lambda *_: self._guarded(lambda: self._step(-1)))
        panel.on.clicked.connect(lambda *_: self._guarded(lambda: self._step(1)))
        panel.undo.clicked.connect(lambda *_: self._guarded(self._undo))
        panel.paint.currentIndexChanged.connect(lambda *_: self._paint())
        panel.base.currentIndexChanged.connect(lambda *_: self._guarded(self._rebase))
        panel.save.clicked.connect(lambda *_: self.save())
        panel.cancel.clicked.connect(lambda *_: self.cancel())
        inserted = self.viewer.layers.events.inserted
        inserted.connect(self._inserted)
        self.destroyed.connect(lambda *_: inserted.disconnect(self._inserted))

    def _listen(self) -> None:
        panel = self.panel
        keys: dict[str, Callable[[], None]] = {
            "Left": lambda: self._guarded(lambda: self._step(-1)),
            "Right": lambda: self._guarded(lambda: self._step(1)),
            "U": lambda: self._guarded(self._undo),
            "H": panel.hidden.toggle,
            "D": lambda: panel.differs.toggle() if panel.differs.isEnabled() else None,
            "[": lambda: panel.opacity.setValue(panel.opacity.value() - 10),
            "]": lambda: panel.opacity.setValue(panel.opacity.value() + 10),
        }
        self._always = [panel.shortcut(key, work) for key, work in keys.items()]
        drawing = {"Ctrl+Return": self.save, "Ctrl+Enter": self.save, "Escape": self.cancel}
        self._drawing = [panel.shortcut(key, work) for key, work in drawing.items()]
        self._rest()
