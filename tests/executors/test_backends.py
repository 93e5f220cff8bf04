"""Every executor keeps the same promises: equal results, lost workers, errors, interruptions, progress."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from maskwright.errors import MaskwrightError, UsageError
from maskwright.executors import _BACKENDS
from maskwright.processes import is_running
from maskwright.progress import listen
from maskwright.recipe.executor import ExecutorSpec, LocalSpec, RaySpec, SlurmSpec
from maskwright.tasks import Task, run_tasks, status
from maskwright.watching import log_path, told
from spread_work import STEPS, climbing, lingering, refuse

TESTS = Path(__file__).parents[1]


def needs(package: str, *marks: pytest.MarkDecorator) -> list[pytest.MarkDecorator]:
    missing = importlib.util.find_spec(package) is None
    return [*marks, pytest.mark.skipif(missing, reason=f"{package} is not installed")]


SPECS = {
    "local": LocalSpec(jobs=2),
    "ray": RaySpec(jobs=2, cpus=1, gpus=0),
    "slurm": SlurmSpec(jobs=2, cpus=1, cluster="local"),
}
MARKS = {"local": [], "ray": needs("ray", pytest.mark.slow, pytest.mark.timeout(1500)), "slurm": needs("submitit")}
EVERY = pytest.mark.parametrize("spec", [pytest.param(SPECS[kind], id=kind, marks=MARKS[kind]) for kind in SPECS])


@pytest.fixture(autouse=True)
def _importable(monkeypatch):
    """Workers on a cluster import what the tests let them do."""
    path = os.pathsep.join([str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])])
    monkeypatch.setenv("PYTHONPATH", path)
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")


def test_every_kind_has_a_backend():
    assert {spec.__class__ for spec in SPECS.values()} == set(_BACKENDS)


def score(root: Path, name: str) -> int:
    return int((root / name / "score").read_text())


def steps(root: Path, name: str) -> list[int]:
    return [int(line) for line in (root / name / "steps").read_text().split()]


@EVERY
def test_results_are_those_of_this_process_and_a_lost_worker_costs_nothing(tmp_path, spec: ExecutorSpec):
    here, there = tmp_path / "here", tmp_path / "there"
    for root in (here, there):
        root.mkdir()
    run_tasks(here, [climbing("a"), climbing("b", 3)])
    reports: list[tuple[object, ...]] = []
    with listen(lambda *words: reports.append(words)):
        ran = run_tasks(there, [climbing("a"), climbing("b", 3, die_at=4, deaths=1)], executor=spec)
    assert set(ran) == {"a", "b"}
    assert score(there, "a") == score(here, "a") == 0 + 1 + 4 + 9 + 16 + 25
    assert score(there, "b") == score(here, "b") == 9 + 16 + 25 + 36 + 49 + 64
    assert steps(there, "b") == [*range(STEPS)]  # the second attempt went on where the first was killed
    assert str(os.getpid()) not in {(there / name / "pid").read_text() for name in "ab"}
    assert "attempt 2 of 3" in log_path(there, "b").read_text(encoding="utf-8")
    assert any("worker lost" in str(note) and "attempt 2 of 3" in str(note) for *_, note in reports)
    assert ("2 tasks", 2 * STEPS, 2 * STEPS, "") in reports  # all tasks together
    assert told(there, "b") | {"state": "done", "attempt": 2, "done": STEPS, "total": STEPS} == told(there, "b")
    assert not [*there.rglob("*.tmp*"), *there.rglob("*.lock")]
    assert run_tasks(there, [climbing("a")], executor=spec) == {}


@EVERY
def test_a_worker_that_is_lost_again_and_again_is_given_up(tmp_path, spec: ExecutorSpec):
    task = climbing("a", die_at=2, deaths=9)
    with pytest.raises(MaskwrightError, match="2 that were lost") as caught:
        run_tasks(tmp_path, [task], executor=spec.model_copy(update={"attempts": 2}))
    assert "the same command goes on" in str(caught.value)
    assert (tmp_path / "a" / "died").read_text() == "xx"
    assert status(tmp_path, [task]) == {"a": "open"}


@EVERY
def test_an_error_of_the_task_itself_comes_through_and_is_not_tried_again(tmp_path, spec: ExecutorSpec):
    with pytest.raises(UsageError, match="no such thing"):
        run_tasks(tmp_path, [Task("r", refuse, {"error": "own"})], executor=spec)
    assert (tmp_path / "calls").read_text() == "x"
    assert "no such thing" in log_path(tmp_path, "r").read_text(encoding="utf-8")
    assert told(tmp_path, "r")["state"] == "failed"


@pytest.mark.parametrize(("kind", "raised"), [("foreign", KeyError), ("unpicklable", MaskwrightError)])
def test_any_error_travels(tmp_path, kind, raised):
    with pytest.raises(raised) as caught:
        run_tasks(tmp_path, [Task("r", refuse, {"error": kind})], jobs=2)
    told_of = "".join(getattr(caught.value, "__notes__", ())) + str(caught.value)
    assert "spread_work.py" in told_of  # the traceback in the worker
    assert (tmp_path / "calls").read_text() == "x"


@EVERY
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "sigterm"])
def test_an_interruption_stops_all_workers_and_the_same_command_goes_on(tmp_path, spec: ExecutorSpec, sent):
    if spec.kind != "local" and sent == signal.SIGTERM:
        pytest.skip("one of the two is enough where each start costs seconds")
    words = [sys.executable, "-m", "spread_work", str(tmp_path), spec.model_dump_json()]
    with subprocess.Popen(words) as process:
        wait_for(lambda: all(pid_of(tmp_path, name) for name in "xy"), process)
        pids = [pid_of(tmp_path, name) for name in "xy"]
        process.send_signal(sent)
        assert process.wait(120) == 130
    wait_for(lambda: not any(map(is_running, pids)), seconds=5)
    assert status(tmp_path, [lingering("x"), lingering("y")]) == {"x": "open", "y": "open"}
    (tmp_path / "quick").touch()
    assert subprocess.run(words, check=False).returncode == 0
    assert status(tmp_path, [lingering("x"), lingering("y")]) == {"x": "done", "y": "done"}


def pid_of(root: Path, name: str) -> int:
    path = root / f"{name}.pid"
    return int((path.read_text().split() or [0])[-1]) if path.exists() else 0


def wait_for(
    condition: Callable[[], object], process: subprocess.Popen[bytes] | None = None, seconds: float = 400
) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert process is None or process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_cluster_is_not_asked_for_nothing(tmp_path, monkeypatch):
    run_tasks(tmp_path, [climbing("a"), climbing("b")])
    monkeypatch.setattr("maskwright.tasks.open_executor", None)
    for executor in (LocalSpec(jobs=2), RaySpec(), SlurmSpec()):
        assert run_tasks(tmp_path, [climbing("a"), climbing("b")], executor=executor) == {}


def test_threads_are_shared_out_fairly(tmp_path, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("maskwright.executors.local.cores", lambda: 8)
    run_tasks(tmp_path, [climbing("a"), climbing("b")], executor=LocalSpec(jobs=5))  # two tasks: four each
    assert [(tmp_path / name / "threads").read_text() for name in "ab"] == ["4", "4"]


def test_a_missing_package_names_its_extra(tmp_path, monkeypatch):
    for module, extra, spec in (("ray", "ray", RaySpec()), ("submitit", "slurm", SlurmSpec())):
        monkeypatch.setitem(sys.modules, module, None)
        with pytest.raises(UsageError, match=rf"pip install 'maskwright\[{extra}\]'"):
            run_tasks(tmp_path, [climbing("a")], executor=spec)


@pytest.mark.skipif(importlib.util.find_spec("submitit") is None, reason="submitit is not installed")
@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (SlurmSpec(), "sbatch"),
        (SlurmSpec(cluster="local", parameters={"slurm_partitoin": "x"}), "slurm_partitoin"),
    ],
)
def test_what_slurm_lacks_is_said(tmp_path, monkeypatch, spec, words):
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(UsageError, match=words):
        run_tasks(tmp_path, [climbing("a")], executor=spec)


@pytest.mark.skipif(importlib.util.find_spec("submitit") is None, reason="submitit is not installed")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # it leaves its logs open
def test_submitits_debug_mode_stays_in_this_process(tmp_path):
    run_tasks(tmp_path, [climbing("a")], executor=SlurmSpec(cluster="debug"))
    assert (tmp_path / "a" / "pid").read_text() == str(os.getpid())
    assert json.loads((tmp_path / ".tasks" / "a.json").read_text())["outputs"] == ["a/score", "a"]


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed")
def test_a_ray_cluster_that_is_not_there_is_said_at_once(tmp_path):
    with pytest.raises(UsageError, match=r"127\.0\.0\.1:1") as caught:
        run_tasks(tmp_path, [climbing("a")], executor=RaySpec(address="127.0.0.1:1"))
    assert "refused" in str(caught.value)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed")
def test_more_than_a_ray_cluster_has_is_said_at_once(tmp_path):
    with pytest.raises(UsageError, match="50 GPUs"):
        run_tasks(tmp_path, [climbing("a")], executor=RaySpec(cpus=1, gpus=50))
