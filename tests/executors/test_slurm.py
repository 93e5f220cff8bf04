"""SLURM, played by four small programs: what is asked of it; jobs that outlive their command, and are taken back."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from maskwright.processes import is_running
from maskwright.recipe.executor import SlurmSpec
from maskwright.tasks import status
from maskwright.watching import log_path
from spread_work import lingering

pytestmark = pytest.mark.skipif(importlib.util.find_spec("submitit") is None, reason="submitit is not installed")

TESTS = Path(__file__).parents[1]
PROGRAMS = {
    "sbatch": """
number = 100 + len(list(home.glob("*.job")))
about = {"SLURM_JOB_ID": number, "SLURM_NTASKS": 1, "SLURM_JOB_NUM_NODES": 1, "SLURM_JOB_NODELIST": "n1"}
about |= {"SLURM_NODEID": 0, "SLURM_PROCID": 0, "SLURM_LOCALID": 0}
quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True}
job = subprocess.Popen(["bash", sys.argv[-1]], env=os.environ | {k: str(v) for k, v in about.items()}, **quiet)
(home / f"{number}.sh").write_text(pathlib.Path(sys.argv[-1]).read_text())
(home / f"{number}.job").write_text(str(job.pid))
print("Submitted batch job", number)
""",
    "sacct": """
print("JobID|State|NodeList")
for job in sorted(home.glob("*.job")):
    stat = pathlib.Path("/proc", job.read_text(), "stat")
    alive = stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"
    print(f"{job.stem}|{'RUNNING' if alive else 'FAILED'}|n1")
""",
    "scancel": """
(home / "cancelled").open("a").write(sys.argv[-1] + " ")
os.killpg(int((home / f"{sys.argv[-1]}.job").read_text()), signal.SIGKILL)
""",
    "srun": """
words = sys.argv[1:]
while words[0].startswith("-"):
    del words[: 2 if words[0] in ("--output", "--error") else 1]
os.execvp(words[0], words)
""",
}


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """A folder with the programs, which is on the path, and what they note of jobs."""
    home = tmp_path / "slurm-of-the-test"
    home.mkdir()
    for name, text in PROGRAMS.items():
        head = f"#!{sys.executable}\nimport os, pathlib, signal, subprocess, sys\nhome = pathlib.Path({str(home)!r})\n"
        (home / name).write_text(head + text)
        (home / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{home}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")]))
    yield home
    for job in home.glob("*.job"):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(int(job.read_text()), signal.SIGKILL)


def command(root: Path, spec: SlurmSpec) -> list[str]:
    return [sys.executable, "-m", "spread_work", str(root), spec.model_dump_json()]


def pids(root: Path) -> list[list[int]]:
    return [[*map(int, path.read_text().split())] for path in sorted(root.glob("*.pid"))]


def wait_for(condition: Callable[[], object], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.timeout(600)
def test_jobs_outlive_their_command_which_takes_them_over_again_and_takes_them_back(slurm, tmp_path):
    root = tmp_path / "run"
    spec = SlurmSpec(partition="night", minutes=90, cpus=3, memory=1.5, parameters={"slurm_account": "lab"})
    with subprocess.Popen(command(root, spec)) as process:
        wait_for(lambda: len(pids(root)) == 2 and all(pids(root)))
        process.send_signal(signal.SIGKILL)
    begun = pids(root)
    assert all(is_running(pid) for (pid,) in begun)
    asked = (slurm / "100.sh").read_text()
    for words in ("--partition=night", "--time=90", "--cpus-per-task=3", "--mem=1536MB", "--account=lab"):
        assert words in asked
    assert "OMP_NUM_THREADS=3" in asked and "gpus" not in asked and "--job-name=maskwright-x" in asked

    with subprocess.Popen(command(root, spec)) as process:  # takes over both jobs, then Ctrl-C takes them back
        wait_for(lambda: "took over job 101" in log_path(root, "y").read_text(encoding="utf-8"))
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
    assert pids(root) == begun  # nothing was begun a second time
    assert sorted((slurm / "cancelled").read_text().split()) == ["100", "101"]
    assert status(root, [lingering("x"), lingering("y")]) == {"x": "open", "y": "open"}

    (root / "quick").touch()
    assert subprocess.run(command(root, spec), check=False).returncode == 0
    assert status(root, [lingering("x"), lingering("y")]) == {"x": "done", "y": "done"}
    assert len(list(slurm.glob("*.job"))) == 4
