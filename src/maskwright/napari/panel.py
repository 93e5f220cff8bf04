"""The dock's widgets: what is asked, a button for every answer, what is drawn with, and what became of it."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from maskwright.doors import need
from maskwright.napari.layers import GRAY
from maskwright.types import IGNORE

BAD = "color: #ff8f73"  # readable on napari's dark ground and on its light one

_WIDE = 38


class Panel:
    """Widgets without a will of their own; `Review` says what they do.

    Args:
        root: the widget that holds them.
    """

    def __init__(self, root: Any) -> None:
        self.qt: Any = need("qtpy.QtWidgets", "napari")
        self.core: Any = need("qtpy.QtCore", "napari")
        self.gui: Any = need("qtpy.QtGui", "napari")
        self.root = root
        self._offered: Sequence[Mapping[str, str]] = ()
        self.root.setMinimumWidth(300)
        column = self.qt.QVBoxLayout(self.root)
        self._build_head(column)
        self._build_item(column)
        self._build_drawing(column)
        self.status = self._text("", column)
        self._build_view(column)
        column.addStretch()

    def say(self, text: str, *, bad: bool = False) -> None:
        """Show what became of something; screen readers read it out."""
        self.status.setText(text)
        self.status.setStyleSheet(BAD if bad else "")
        accessible = self.gui.QAccessibleEvent(self.status, self.gui.QAccessible.Event.Alert)
        self.gui.QAccessible.updateAccessibility(accessible)

    def ask(self, described: Mapping[str, Any], choose: Callable[[str], None], *, blind: Callable[[str], bool]) -> None:
        """Show what is asked of an item, and a button for every answer.

        Args:
            described: as `Desk.described` returns it; empty: nothing is left.
            choose: what an answer's button does.
            blind: tells the answers that can be given of what can't be shown; others are out of reach.
        """
        self.question.setText(described.get("question", "Nothing is left to answer."))
        labels = described.get("suggestions", ())
        letters = [f"{letter}: {name}" for letter, name in zip("AB", labels, strict=False)]
        self.names.setText("  ·  ".join((*described.get("names", ()), *(letters if len(labels) > 1 else labels))))
        self.detail.setText(_told(described))
        answers = described.get("answers", ())
        if answers != self._offered:  # else they stay: one of them may be held down while a name is taken in
            self._offer(answers, choose)
        for place, answer in enumerate(answers):
            button = self.answers.itemAt(place).widget()
            button.setEnabled(blind(answer["name"]))
            button.setStyleSheet("font-weight: bold" if answer["name"] == described["mine"] else "")

    def _offer(self, answers: Sequence[Mapping[str, str]], choose: Callable[[str], None]) -> None:
        """Put a button for each answer in the place of those that are there."""
        while self.answers.count():
            gone = self.answers.takeAt(0).widget()
            gone.hide()
            gone.deleteLater()
        for answer in answers:
            button = self.qt.QPushButton(textwrap.fill(f"{answer['label']}   [{answer['key']}]", _WIDE))
            button.setObjectName(f"answer-{answer['name']}")
            button.setAccessibleName(answer["label"])
            button.clicked.connect(lambda *_, name=answer["name"]: choose(name))
            self.answers.addWidget(button)
        self._offered = answers

    def draws(self, bases: Sequence[tuple[int, str]] | None, *, region: bool = False) -> None:
        """Show what is drawn with in the place of the answers, or these again.

        Args:
            bases: (suggestion, words) of what a drawing may begin with; None: nothing is drawn.
            region: what is drawn is a rectangle.
        """
        now = bases is not None
        self.drawing.setVisible(now)
        self.answer_box.setVisible(not now)
        for widget in (self.back, self.on, self.undo, self.second, self.by, self.open, self.differs):
            widget.setEnabled(not now)  # what would throw a drawing away is out of reach
        for widget in (self.paint, self.paint_name):
            widget.setVisible(now and not region)
        for widget in (self.base, self.base_name):
            widget.setVisible(now and not region and len(bases or ()) > 1)
        hint = "Drag a box around what is to be ignored." if region else _HINT
        self.hint.setText(hint)
        self.save.setText("Ignore this box   [Ctrl+Enter]" if region else "Save the mask   [Ctrl+Enter]")

    def show_bases(self, bases: Sequence[tuple[int, str]], base: int) -> None:
        """List what a drawing may begin with."""
        self.base.blockSignals(True)
        self.base.clear()
        for value, words in bases:
            self.base.addItem(words, value)
        self.base.setCurrentIndex(self.base.findData(base))
        self.base.blockSignals(False)

    def show_categories(self, categories: Sequence[Mapping[str, Any]]) -> None:
        """List the categories with their colours: to paint with, and as a legend."""
        self.paint.clear()
        tinted = [category for category in categories if category["tinted"]]
        others = [category for category in categories if not category["tinted"]]
        for category in (*tinted, *others):
            icon = self._swatch(category["color"] if category["tinted"] else None)
            self.paint.addItem(icon, category["name"], category["position"])
        self.paint.addItem(self._swatch([round(255 * value) for value in GRAY[:3]]), "ignored", IGNORE)
        entries = [(self._swatch(category["color"]), category["name"]) for category in tinted]
        self.legend.clear()
        for icon, name in (*entries, (self._swatch([128] * 3), "ignored")):
            self.legend.addItem(self.qt.QListWidgetItem(icon, name))

    def count(self, text: str, decided: int, total: int) -> None:
        """Show how far the queue is answered."""
        self.bar.setRange(0, max(total, 1))
        self.bar.setValue(decided)
        self.counted.setText(text)

    def shortcut(self, key: str, work: Callable[[], None]) -> Any:
        """Return a key of the whole window; where somebody types, it is typed. A hidden panel hears none."""
        found = self.gui.QShortcut(self.gui.QKeySequence(key), self.root)
        found.setContext(self.core.Qt.ShortcutContext.ApplicationShortcut)
        found.setAutoRepeat(False)
        found.activated.connect(work)
        return found

    def _build_head(self, column: Any) -> None:
        row = self.qt.QHBoxLayout()
        self.run = self.qt.QLabel("no run is open")
        self.run.setMinimumWidth(0)
        self.open = self.qt.QPushButton("Open a run…")
        row.addWidget(self.run, 1)
        row.addWidget(self.open)
        column.addLayout(row)
        self.by = self.qt.QLineEdit()
        self.by.setPlaceholderText("Your name: it stands beside each answer")
        self.by.setAccessibleName("Your name")
        self.by.setMaxLength(80)
        column.addWidget(self.by)
        self.bar = self.qt.QProgressBar()
        self.bar.setTextVisible(False)
        self.bar.setMaximumHeight(8)
        column.addWidget(self.bar)
        self.counted = self._text("", column)

    def _build_item(self, column: Any) -> None:
        self.question = self._text("Open the folder of a run.", column)
        self.question.setStyleSheet("font-size: 15px; font-weight: bold")
        self.names, self.detail = self._text("", column), self._text("", column)
        self.answer_box = self.qt.QWidget()
        self.answers = self.qt.QVBoxLayout(self.answer_box)
        self.answers.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.answer_box)

    def _build_drawing(self, column: Any) -> None:
        self.drawing = self.qt.QWidget()
        form = self.qt.QFormLayout(self.drawing)
        form.setContentsMargins(0, 0, 0, 0)
        self.base, self.paint = self.qt.QComboBox(), self.qt.QComboBox()
        self.base_name, self.paint_name = self.qt.QLabel("begin with"), self.qt.QLabel("paint")
        form.addRow(self.base_name, self.base)
        form.addRow(self.paint_name, self.paint)
        self.hint = self.qt.QLabel(_HINT)
        self.hint.setWordWrap(True)
        form.addRow(self.hint)
        self.save, self.cancel = self.qt.QPushButton(), self.qt.QPushButton("Cancel   [Esc]")
        form.addRow(self.save)
        form.addRow(self.cancel)
        self.drawing.setVisible(False)
        column.addWidget(self.drawing)

    def _build_view(self, column: Any) -> None:
        row = self.qt.QHBoxLayout()
        self.back, self.on = self.qt.QPushButton("Previous   [←]"), self.qt.QPushButton("Next   [→]")
        row.addWidget(self.back)
        row.addWidget(self.on)
        column.addLayout(row)
        self.undo = self.qt.QPushButton("Undo my last answer   [u]")
        column.addWidget(self.undo)
        self.second = self.qt.QCheckBox("also what others have answered")
        self.hidden = self.qt.QCheckBox("hide the masks   [h]")
        self.differs = self.qt.QCheckBox("only where A and B differ   [d]")
        for box in (self.second, self.hidden, self.differs):
            column.addWidget(box)
        row = self.qt.QHBoxLayout()
        row.addWidget(self.qt.QLabel("opacity   [ ]"))
        self.opacity = self.qt.QSlider(self.core.Qt.Orientation.Horizontal)
        self.opacity.setRange(0, 100)
        self.opacity.setAccessibleName("Opacity of the masks")
        row.addWidget(self.opacity)
        column.addLayout(row)
        self.legend = self.qt.QListWidget()
        self.legend.setAccessibleName("Colours of the categories")
        self.legend.setMaximumHeight(110)
        self.legend.setSelectionMode(self.qt.QAbstractItemView.SelectionMode.NoSelection)
        self.legend.setFocusPolicy(self.core.Qt.FocusPolicy.NoFocus)
        column.addWidget(self.legend)

    def _text(self, text: str, column: Any) -> Any:
        label = self.qt.QLabel(text)
        label.setTextFormat(self.core.Qt.TextFormat.PlainText)  # names may hold markup
        label.setWordWrap(True)
        column.addWidget(label)
        return label

    def _swatch(self, color: Sequence[int] | None) -> Any:
        pixels = self.gui.QPixmap(14, 14)
        pixels.fill(self.gui.QColor(0, 0, 0, 0) if color is None else self.gui.QColor(*color))
        return self.gui.QIcon(pixels)


_HINT = (
    "Use napari's brush, polygon, fill and eraser (upper left) on the layer 'your drawing'; Ctrl+Z takes a stroke back."
)


def _told(described: Mapping[str, Any]) -> str:
    if not described:
        return ""
    told = f"Item {described['place'] + 1}: {described['detail']}."
    if described["others"]:
        told += f" Answered by {described['others']} other{'s' if described['others'] > 1 else ''}."
    mine = next((answer["label"] for answer in described["answers"] if answer["name"] == described["mine"]), "")
    return f"{told} Your answer: {mine}." if mine else told
