"""The rows that `parts` measures."""

from typing import NamedTuple


class Part(NamedTuple):
    """A recipe of a table.

    `settings`: on top of the table's own; `against`: label of the row that it is compared with.
    """

    settings: tuple[str, ...] = ()
    against: str | None = None


class Table(NamedTuple):
    """Recipes that are compared with one another on one set."""

    folder: str
    options: list[str]
    rules: tuple[str, ...]
    classes: int
    binary: bool
    steps: int
    settings: tuple[str, ...]
    parts: dict[str, Part]


_CE = 'loss=[{"kind": "cross_entropy"}]'
_MARS = ["--group", "sol", "--leave-out", "background", "--holdout", "0.3"]

TABLES: dict[str, Table] = {}
