"""What a reviewer's page sends: one answer, checked as it comes in."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationError

from maskwright.decisions import POLICY
from maskwright.errors import UsageError, problem
from maskwright.recipe.spec import Spec

_STROKES, _POINTS, _FAR = 5000, 20_000, 1e7

Coordinate = Annotated[float, Field(ge=-_FAR, le=_FAR)]


class Stroke(Spec):
    """One change of a mask."""

    tool: Literal["polygon", "brush"]
    """polygon: filled. brush: everything within `radius` of the line."""
    category: int = Field(ge=0, le=255)
    """Position of the category that is painted; 255: ignored."""
    points: tuple[tuple[Coordinate, Coordinate], ...] = Field(min_length=1, max_length=_POINTS)
    """x and y in pixels of the image, 0 the left and upper border of the first pixel."""
    radius: float = Field(default=1.0, gt=0, le=10_000)
    """Of the brush, in pixels of the image."""


def tidied(by: str) -> str:
    """Return a reviewer's name as the log has it: whatever was typed between two words is one space.

    Example:
        >>> tidied(" Anna\\u00a0  Lind")
        'Anna Lind'
    """
    return re.sub(r"\s+", " ", "".join(c if c.isprintable() else " " for c in by)).strip()


def _named(by: str) -> str:
    name = tidied(by)
    if not name or name.startswith(POLICY):
        raise ValueError("a person's name is needed")
    return name


class Reply(Spec):
    """An answer to an item."""

    item: str = Field(pattern=r"^[0-9a-f]{16}$")
    """Its key."""
    answer: str = Field(pattern=r"^[a-z_]{1,20}$")
    """One of those that the item takes."""
    by: Annotated[str, Field(max_length=80), AfterValidator(_named)]
    """Who answers."""
    id: str = Field(default="", pattern=r"^([0-9a-f]{16,32})?$")
    """Names the answer, so that it isn't taken twice; empty: a new one."""
    base: int = Field(default=0, ge=-1, le=1)
    """Of an edit: which suggestion it began with; -1: with nothing."""
    strokes: tuple[Stroke, ...] = Field(default=(), max_length=_STROKES)
    """Of an edit: what was drawn, in order."""
    region: tuple[int, int, int, int] | None = None
    """Left, top, right and bottom that are to be ignored; None: the item's own."""
    shown: tuple[Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")], ...] = Field(default=(), max_length=2)
    """What was shown: the digest of each suggestion's label."""
    time: str = Field(default="", pattern=r"^([0-9T:.+Z-]{10,40})?$")
    """When it was answered; empty: now."""


def read_reply(value: Any) -> Reply:
    """Return an answer from JSON.

    Raises:
        UsageError: it is none; says why.
    """
    try:
        return Reply.model_validate(value)
    except ValidationError as error:
        faults = "; ".join(".".join(map(str, e["loc"])) + f" {e['msg']}" for e in error.errors()[:3])
        raise UsageError(
            problem("an answer", faults, where="the review", next_move="reload the page and answer again")
        ) from None
