"""The log of decisions as a server reads it: again and again, of a log that grew only what is new."""

from __future__ import annotations

from pathlib import Path

from maskwright.decisions import Decision, parse_decision


class LogReader:
    """The lines of a log, parsed once.

    Args:
        path: of the log.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._text, self._lines, self._found = b"", 0, list[Decision]()

    def read(self) -> list[Decision]:
        """Return what `read_decisions` does, with its errors."""
        data = self.path.read_bytes() if self.path.is_file() else b""
        if not data.startswith(self._text) or (self._text and not self._text.endswith(b"\n")):
            self._text, self._lines, self._found = b"", 0, []
        lines = data[len(self._text) :].decode().split("\n")
        new = [parse_decision(line, self.path, n) for n, line in enumerate(lines, self._lines + 1) if line.strip()]
        self._text, self._lines = data, self._lines + len(lines) - 1
        self._found = [*self._found, *new]
        return self._found
