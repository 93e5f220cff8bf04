"""One finding: a row of audit/findings.parquet."""

from __future__ import annotations

from typing import NamedTuple


class Finding(NamedTuple):
    """One row.

    Attributes:
        image: which it is about; empty: all of them.
        kind: what it is, such as `conflict`.
        severity: error, warning or note.
        other_image: the image that it was compared with.
        value: the figure it rests on.
        detail: for people.
        decision: what is made of it.
    """

    image: str
    kind: str
    severity: str
    other_image: str | None
    value: float | None
    detail: str
    decision: str
