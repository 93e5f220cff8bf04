"""How often the rule of adoption chose rightly in our own measurements: what a verdict is to be read with."""

from __future__ import annotations

from typing import NamedTuple


class Choices(NamedTuple):
    """Rounds of which the rule made the same.

    Attributes:
        rounds: how many.
        right: of these, after which the other choice would have scored no better on held-out images.
    """

    rounds: int
    right: int


ADOPTED, LEFT = Choices(14, 14), Choices(71, 54)
"""All rounds of `python -m benchmarks selftrain_choice`; a test holds these to its result file."""

DEFAULT_ADOPTED, DEFAULT_LEFT = Choices(4, 4), Choices(13, 10)
"""Of these, the ones of the default method."""


def said_of_choices(adopted: bool) -> str:
    """Return how often the rule was right in what it has just chosen.

    Example:
        >>> said_of_choices(True)[:65]
        'how often that is right: in our own measurements the rule adopted'
    """
    measured, own = (ADOPTED, DEFAULT_ADOPTED) if adopted else (LEFT, DEFAULT_LEFT)
    done, other = ("adopted", "better") if adopted else ("left", "no better")
    verb = "were" if adopted else "would have been"
    return (
        f"how often that is right: in our own measurements the rule {done} {measured.rounds} of "
        f"{ADOPTED.rounds + LEFT.rounds} rounds, of which {measured.right} {verb} {other} on held-out images; of the "
        f"default method {own.rounds} of {DEFAULT_ADOPTED.rounds + DEFAULT_LEFT.rounds}, of which {own.right} {verb}"
    )
