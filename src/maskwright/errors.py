"""The few exceptions of the package; every message says what was expected, what came, where, and the next move."""

from __future__ import annotations


class MaskwrightError(Exception):
    """Base of all errors that a user can act on. The command line prints the message without a traceback."""

    exit_code = 1

    @property
    def got(self) -> str:
        """What was found, of a message as `problem` makes it; of another one its first line.

        Example:
            >>> MaskwrightError(problem("a folder", "a file", where="/data", next_move="pass its parent folder")).got
            'a file'
        """
        return str(self).partition("\n")[0].split(", got ", 1)[-1]


class UsageError(MaskwrightError):
    """A command or function was called in a way that can't work."""

    exit_code = 2


class RecipeError(UsageError):
    """The recipe is not valid; the message lists every fault at once."""


class DataError(UsageError):
    """The data can't be read as what it was said to be."""


class StaleArtifactError(UsageError):
    """The run folder holds results of another recipe or other data."""


def problem(expected: str, got: str, *, where: str, next_move: str) -> str:
    """Return the four-part text of an error message.

    Args:
        expected: what would have been right.
        got: what was found instead.
        where: file, field or row.
        next_move: what the user can do now.

    Example:
        >>> print(problem("a folder", "a file", where="/data", next_move="pass its parent folder"))
        expected a folder, got a file
          where: /data
          next:  pass its parent folder
    """
    return f"expected {expected}, got {got}\n  where: {where}\n  next:  {next_move}"
