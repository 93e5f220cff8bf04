"""What tasks tell those who watch, from whatever process or machine: one small file a task in the run folder.

A running task only notes its progress in memory; a thread writes it down about once a second, so a training step never
waits for a disk. Nothing here can stop a task: where the file can't be written, nobody sees the progress.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import re
import shutil
import socket
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from maskwright.artifacts import RECORDS, read_json
from maskwright.processes import use_of
from maskwright.progress import listen, relay

FOLDER = "progress"
"""Folder inside that of the records."""

INTERVAL = 1.0
"""Seconds between two writings."""

_SUFFIX = ".progress.json"
_GPU_INTERVAL = 10.0
_GPU_FIELDS = ("index", "uuid", "utilization.gpu", "memory.used", "memory.total")
_PLACE = re.compile(r"fold-(\d+)")


def announce(root: Path, name: str, paths: Sequence[str], *, attempt: int = 1, note: str = "") -> None:
    """Write down that a task waits to be begun.

    Args:
        root: the run folder.
        name: of the task.
        paths: what it makes; a table of curves among them is where its scores are looked for.
        attempt: the number of workers that have begun it, this one included.
        note: why it is begun again.
    """
    told: dict[str, Any] = {"task": name, "state": "waiting", "attempt": attempt, "note": note, "updated": time.time()}
    told["metrics"] = next((path for path in paths if path.endswith("metrics.csv")), None)
    folds = [match[1] for path in (name, *paths) if (match := _PLACE.search(path))]
    told["fold"] = int(folds[0]) if folds else None
    _write(_path(root, name), told)
    if note:
        log(root, name, note)


@contextmanager
def telling(root: Path, name: str) -> Iterator[None]:
    """Write down how far the task is that runs inside; its progress goes on to who listens already, too."""
    teller = _Teller(root, name)
    with listen(relay(teller.hear)):
        teller.start()
        try:
            yield
        except BaseException as error:
            teller.stop("failed" if isinstance(error, Exception) else "stopped")
            log(root, name, f"{type(error).__name__}: {error}" if isinstance(error, Exception) else "interrupted")
            raise
        teller.stop("done")


def told(root: Path, name: str) -> dict[str, Any]:
    """Return what a task told last; empty if it told nothing."""
    try:
        found: dict[str, Any] = read_json(_path(root, name))
    except (OSError, ValueError):
        return {}
    return found


def all_told(root: Path) -> dict[str, dict[str, Any]]:
    """Return {task: what it told last} of all tasks that told anything."""
    names = sorted(path.name.removesuffix(_SUFFIX) for path in (root / RECORDS / FOLDER).glob(f"*{_SUFFIX}"))
    known = {name: told(root, name) for name in names}
    return {name: said for name, said in known.items() if said}


def untell(root: Path, name: str) -> None:
    """Remove what a task told."""
    for path in (_path(root, name), log_path(root, name)):
        path.unlink(missing_ok=True)


def log(root: Path, name: str, text: str) -> None:
    """Add a line to a task's log."""
    now = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
    line = " ".join(text.split())
    with contextlib.suppress(OSError), open(log_path(root, name), "a", encoding="utf-8") as file:
        file.write(f"{now} {socket.gethostname()} {line}\n")


def log_path(root: Path, name: str) -> Path:
    """Return where the notes of a task are kept: what it said beside its progress, losses, errors."""
    return root / RECORDS / FOLDER / f"{name}.log"


class _Teller:
    """Keeps the last progress of a task and writes it down from a thread of its own."""

    def __init__(self, root: Path, name: str) -> None:
        self.root, self.name = root, name
        now = time.time()
        self.said = told(root, name) | {
            "task": name,
            "state": "running",
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "started": now,
            "label": name,
            "since": now,
            "first": 0,
            "done": 0,
            "total": None,
        }
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._write_on, name=f"tell {name}", daemon=True)
        self.clock, self.seconds = time.perf_counter(), use_of(os.getpid())[0]
        self.gpus = _gpus()

    def hear(self, label: str, done: int, total: int | None, note: str) -> None:
        """Keep what was reported."""
        said = self.said
        if label != said["label"] or done < said["done"]:
            said = said | {"label": label, "since": time.time(), "first": done}
        if note and note != said.get("note"):
            said = said | {"note": note}
            log(self.root, self.name, f"{label}: {note}")
        self.said = said | {"done": done, "total": total}

    def start(self) -> None:
        self.thread.start()

    def stop(self, state: str) -> None:
        """Write down the end."""
        self.ended.set()
        self.thread.join()
        self._write(state)

    def _write_on(self) -> None:
        wait = 0.2  # who asks soon sees something; most short tasks have ended by then
        while not self.ended.wait(wait):
            self._write("running")
            wait = INTERVAL

    def _write(self, state: str) -> None:
        now = time.perf_counter()
        seconds, memory = use_of(os.getpid())
        cpu = (seconds - self.seconds) / max(now - self.clock, 1e-9)
        self.clock, self.seconds = now, seconds
        use: dict[str, Any] = {"cpu": round(cpu, 2), "memory": memory}
        use["gpus"] = self.gpus() if state == "running" else []
        _write(_path(self.root, self.name), self.said | {"state": state, "updated": time.time(), **use})


def _gpus() -> Callable[[], list[dict[str, Any]]]:
    """Return what asks for the use of the GPUs that this process sees, at most every ten seconds."""
    program, known, asked = shutil.which("nvidia-smi"), list[dict[str, Any]](), [-_GPU_INTERVAL]

    def ask() -> list[dict[str, Any]]:
        if program is not None and time.monotonic() - asked[0] >= _GPU_INTERVAL:
            asked[0] = time.monotonic()
            words = [program, f"--query-gpu={','.join(_GPU_FIELDS)}", "--format=csv,noheader,nounits"]
            with contextlib.suppress(OSError, subprocess.SubprocessError, ValueError):
                found = subprocess.run(words, capture_output=True, text=True, check=True, timeout=5).stdout
                known[:] = list(_read_gpus(found, os.environ.get("CUDA_VISIBLE_DEVICES")))
        return known

    return ask


def _read_gpus(text: str, visible: str | None) -> Iterator[dict[str, Any]]:
    """Yield index, use (share) and memory (bytes) of each GPU, of those that are visible."""
    for line in text.strip().splitlines():
        index, name, use, memory, total = (field.strip() for field in line.split(","))
        if visible is None or {index, name} & {word.strip() for word in visible.split(",")}:
            numbers = [float(word) if word.replace(".", "").isdigit() else None for word in (use, memory, total)]
            share, used, whole = numbers
            mebi = 1 << 20
            yield {
                "index": int(index),
                "use": None if share is None else share / 100,
                "memory": None if used is None else int(used * mebi),
                "total": None if whole is None else int(whole * mebi),
            }


def _path(root: Path, name: str) -> Path:
    return root / RECORDS / FOLDER / f"{name}{_SUFFIX}"


def _write(path: Path, value: dict[str, Any]) -> None:
    """Replace a small file; unlike artifacts it isn't forced onto the disk: after a power cut nobody misses it."""
    temporary = path.with_name(f".{uuid.uuid4().hex[:12]}.tmp.json")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(value), encoding="utf-8")
        os.replace(temporary, path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
