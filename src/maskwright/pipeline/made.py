"""What made a run, for its report: the commands in their order, versions, the machine and times."""

from __future__ import annotations

import datetime
import platform
import shlex
from importlib.metadata import version
from pathlib import Path
from typing import Any

from maskwright.artifacts import RunFolder, read_json, write_json
from maskwright.processes import cores

_VERSIONS = (
    "maskwright",
    "torch",
    "lightning",
    "timm",
    "segmentation-models-pytorch",
    "numpy",
    "opencv-python-headless",
)

_SAYS_NOTHING = {"--recipe", "--out", "--redo", "--json"}


def note_made(folder: RunFolder, seconds: dict[str, float], command: str | None) -> None:
    """Keep what the report says of how the run was made; the first command and times of earlier sessions stay.

    Args:
        folder: of the run.
        seconds: stage → how long it took, of what ran; nothing is noted of a session in which nothing did.
        command: what the user typed.
    """
    path = folder.root / "run.json"
    known: dict[str, Any] = read_json(path) if path.is_file() else {}
    if known and not seconds:  # nothing ran: what made the run stays what it was
        return
    first = known.get("command") or command or f"maskwright run --recipe {folder.recipe}"
    later = list(known.get("later", ()))
    if command and _bare(command) not in map(_bare, (first, *later)) and not _goes_on(folder, command):
        later.append(command)
    write_json(
        path,
        {
            "command": first,
            "later": later,
            "started": known.get("started") or datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
            "versions": {name: version(name) for name in _VERSIONS} | {"python": platform.python_version()},
            "machine": f"{platform.machine()}, {cores()} cores, {platform.system()}",
            "seconds": known.get("seconds", {}) | {name: round(value, 2) for name, value in seconds.items()},
        },
    )


def _bare(command: str) -> list[str]:
    """Return the words of a command that say what is made."""
    return [word for word in shlex.split(command) if word not in ("--redo", "--json")]


def _goes_on(folder: RunFolder, command: str) -> bool:
    """Tell whether a command goes on with the recipe of the run itself and changes nothing of it."""
    words = [part for word in shlex.split(command) for part in word.split("=", 1)]
    own = any(Path(word).resolve() == folder.recipe.resolve() for word in words if word.endswith(folder.recipe.name))
    return own and {word for word in words if word.startswith("-")} <= _SAYS_NOTHING
