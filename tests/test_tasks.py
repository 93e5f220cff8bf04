"""Tasks: skipped, repeated, refused, continued, spread. The functions append to a file, so that runs can be counted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from maskwright.errors import MaskwrightError, StaleArtifactError, UsageError
from maskwright.tasks import Task, fingerprint, forget, lock, run_tasks, status


def copy(root: Path, spec: dict) -> None:
    """Write `text` (and the file named by `source`) to the file named by `to`."""
    with (root / "calls").open("a") as calls:
        calls.write(spec["to"] + "\n")
    before = (root / spec["source"]).read_text() if "source" in spec else ""
    (root / spec["to"]).write_text(before + spec["text"])


def resolve(root: Path, spec: dict) -> dict:
    """Fill in what is null."""
    copy(root, {"to": "a", "text": "x"})
    return spec | {"size": spec["size"] or 7}


def fail(root: Path, spec: dict) -> None:
    raise UsageError("wrong")


def count_up(root: Path, spec: dict) -> None:
    """Continue a checkpoint; killed at the step that `die_at` names."""
    kept = root / "kept"
    kept.mkdir(exist_ok=True)
    state = kept / "state"
    for step in range(int(state.read_text()) if state.exists() else 0, 4):
        with (root / "steps").open("a") as steps:
            steps.write(f"{step}\n")
        state.write_text(str(step + 1))
        if (root / "die").exists() and step == 1:
            os._exit(9)
    (root / "out").write_text("done")


def leave_pid(root: Path, spec: dict) -> None:
    (root / spec["to"]).write_text(str(os.getpid()))


def hold(root: Path) -> None:
    with lock(root):
        (root / "held").write_text("")
        time.sleep(30)


def hold_own(root: Path, spec: dict) -> None:
    hold(root / spec["folder"])


def a(text: str = "1", **more: object) -> Task:
    return Task("a", copy, {"to": "a", "text": text}, outputs=("a",), **more)


def b(text: str = "2") -> Task:
    return Task("b", copy, {"source": "a", "to": "b", "text": text}, ("a",), ("b",))


def calls(root: Path) -> list[str]:
    return (root / "calls").read_text().split()


def test_each_task_runs_once_and_in_order(tmp_path):
    assert set(run_tasks(tmp_path, [b(), a()])) == {"a", "b"}  # given the wrong way round
    assert (tmp_path / "b").read_text() == "12"
    assert run_tasks(tmp_path, [a(), b()]) == {}
    assert calls(tmp_path) == ["a", "b"]
    assert status(tmp_path, [a(), b()]) == {"a": "done", "b": "done"}


def test_a_task_whose_basis_was_forgotten_is_stale(tmp_path):
    run_tasks(tmp_path, [a(), b()])
    forget(tmp_path, a())  # as a redo does before it is cut short
    assert status(tmp_path, [a(), b()]) == {"a": "open", "b": "stale"}


def test_an_output_that_is_gone_is_made_again(tmp_path):
    run_tasks(tmp_path, [a(), b()])
    (tmp_path / "a").unlink()
    assert set(run_tasks(tmp_path, [a(), b()])) == {"a"}


def test_the_resolved_spec_counts_as_done_too(tmp_path):
    def task(size: int | None) -> Task:
        return Task("r", resolve, {"size": size, "list": (1, 2)}, outputs=("a",))

    run_tasks(tmp_path, [task(None)])
    assert run_tasks(tmp_path, [task(None)]) == run_tasks(tmp_path, [task(7)]) == {}
    with pytest.raises(StaleArtifactError, match="size: 7 → 8"):
        run_tasks(tmp_path, [task(8)])


def test_a_task_that_lost_an_output_is_open_and_done_again(tmp_path):
    run_tasks(tmp_path, [a(), b()])
    (tmp_path / "a").unlink()
    assert status(tmp_path, [a(), b()]) == {"a": "open", "b": "done"}
    assert set(run_tasks(tmp_path, [a(), b()])) == {"a"}
    assert status(tmp_path, [a(), b()]) == {"a": "done", "b": "done"}


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (Task("a", copy, {"to": "a", "text": "9"}, outputs=("a",)), "text: 1 → 9"),
        (Task("a", copy, {"to": "a", "text": "1", "new": [4]}, outputs=("a",)), "new.0: (nothing) → 4"),
        (a(outside={"data": {"bytes": 5}}), "data.bytes: (nothing) → 5"),
        (a(schema=2), "form of the artifacts"),
    ],
)
def test_a_mismatch_says_what_changed_and_changes_nothing(tmp_path, changed, words):
    run_tasks(tmp_path, [a()])
    with pytest.raises(StaleArtifactError) as caught:
        run_tasks(tmp_path, [changed])
    assert words in str(caught.value)
    assert "--redo" in str(caught.value)
    assert status(tmp_path, [changed]) == {"a": "stale"}
    assert (tmp_path / "a").read_text() == "1"
    assert calls(tmp_path) == ["a"]


def test_redo_removes_the_outputs_and_repeats_what_builds_on_them(tmp_path):
    run_tasks(tmp_path, [a(), b()])
    assert set(run_tasks(tmp_path, [a("5"), b()], redo=True)) == {"a", "b"}
    assert (tmp_path / "b").read_text() == "52"
    assert run_tasks(tmp_path, [a("5"), b()], redo=True) == {}  # --redo of what fits does nothing


def test_a_dependent_is_stale_when_its_input_was_made_anew(tmp_path):
    run_tasks(tmp_path, [a(), b()])
    run_tasks(tmp_path, [a("5")], redo=True)
    with pytest.raises(StaleArtifactError, match="a was made anew"):
        run_tasks(tmp_path, [a("5"), b()])


def test_a_change_back_to_the_same_leaves_the_dependents(tmp_path):
    run_tasks(tmp_path, [a(), b()])
    run_tasks(tmp_path, [a("5")], redo=True)
    run_tasks(tmp_path, [a()], redo=True)
    assert run_tasks(tmp_path, [a(), b()]) == {}


def test_a_failing_task_leaves_no_record(tmp_path):
    with pytest.raises(UsageError):
        run_tasks(tmp_path, [Task("f", fail)])
    assert status(tmp_path, [Task("f", fail)]) == {"f": "open"}


def test_a_task_that_does_not_make_what_it_promised_is_our_own_fault(tmp_path):
    with pytest.raises(AssertionError, match="did not make"):
        run_tasks(tmp_path, [Task("a", copy, {"to": "a", "text": ""}, outputs=("other",))])


def test_a_broken_record_names_the_file(tmp_path):
    run_tasks(tmp_path, [a()])
    (tmp_path / ".tasks" / "a.json").write_text('{"spec"')
    with pytest.raises(MaskwrightError, match=r"a\.json"):
        run_tasks(tmp_path, [a()])


def cut_short(root: Path) -> Task:
    """Run `count_up` in a process that is killed after two of its four steps."""
    (root / "die").touch()
    code = "import test_tasks as t, pathlib, sys; t.run_tasks(pathlib.Path(sys.argv[1]), [t.counting()])"
    run = subprocess.run([sys.executable, "-c", code, str(root)], env=with_tests_on_path(), check=False)
    assert run.returncode == 9
    (root / "die").unlink()
    return counting()


def counting(**spec: object) -> Task:
    return Task("c", count_up, spec, outputs=("out",), keeps=("kept",))


def with_tests_on_path() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])}


def test_a_killed_task_is_open_and_continues_from_what_it_keeps(tmp_path):
    task = cut_short(tmp_path)
    assert status(tmp_path, [task]) == {"c": "open"}
    assert set(run_tasks(tmp_path, [task])) == {"c"}
    assert (tmp_path / "steps").read_text().split() == ["0", "1", "2", "3"]


def test_what_a_killed_task_kept_is_not_continued_by_another_spec(tmp_path):
    cut_short(tmp_path)
    with pytest.raises(StaleArtifactError, match="lr"):
        run_tasks(tmp_path, [counting(lr=1)])
    assert (tmp_path / "kept" / "state").read_text() == "2"
    run_tasks(tmp_path, [counting(lr=1)], redo=True)
    assert (tmp_path / "steps").read_text().split() == ["0", "1", "0", "1", "2", "3"]


def test_redo_removes_what_is_kept(tmp_path):
    run_tasks(tmp_path, [counting()])
    run_tasks(tmp_path, [counting(lr=1)], redo=True)
    assert (tmp_path / "steps").read_text().split() == ["0", "1", "2", "3"] * 2


def test_jobs_run_in_processes_of_their_own(tmp_path):
    tasks = [Task(name, leave_pid, {"to": name}, outputs=(name,)) for name in ("x", "y")]
    run_tasks(tmp_path, [*tasks, Task("z", leave_pid, {"to": "z"}, ("x", "y"), ("z",))], jobs=2)
    assert str(os.getpid()) not in {(tmp_path / name).read_text() for name in "xyz"}
    assert json.loads((tmp_path / ".tasks" / "z.json").read_text())["after"].keys() == {"x", "y"}


def test_an_error_in_a_job_comes_through(tmp_path):
    with pytest.raises(UsageError, match="wrong"):
        run_tasks(tmp_path, [Task("f", fail)], jobs=2)


def test_the_processes_of_a_killed_run_end_with_it(tmp_path):
    code = (
        "import test_tasks as t, pathlib, sys\n"
        "if __name__ == '__main__':\n"
        "    tasks = [t.Task(name, t.hold_own, {'folder': name}) for name in ('x', 'y')]\n"
        "    t.run_tasks(pathlib.Path(sys.argv[1]), tasks, jobs=2)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], env=with_tests_on_path()) as process:
        wait_for(lambda: all((tmp_path / name / "held").exists() for name in "xy"))
        process.send_signal(signal.SIGKILL)
    wait_for(lambda: all(is_free(tmp_path / name) for name in "xy"), seconds=5)


def is_free(root: Path) -> bool:
    try:
        with lock(root):
            return True
    except UsageError:
        return False


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_the_lock_refuses_a_second_process_and_falls_with_the_first(tmp_path):
    code = "import test_tasks as t, pathlib, sys; t.hold(pathlib.Path(sys.argv[1]))"
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], env=with_tests_on_path()) as process:
        wait_for((tmp_path / "held").exists)
        with pytest.raises(UsageError, match="another process"), lock(tmp_path):
            pass
        process.send_signal(signal.SIGKILL)
        process.wait()
    with lock(tmp_path):
        pass


def test_the_lock_is_free_again_after_an_error(tmp_path):
    with pytest.raises(RuntimeError), lock(tmp_path):
        raise RuntimeError
    with lock(tmp_path):
        pass


def test_a_fingerprint_does_not_depend_on_the_order_of_keys():
    assert fingerprint({"a": 1, "b": [2]}) == fingerprint({"b": [2], "a": 1})
    assert fingerprint([1, 2]) != fingerprint([2, 1])


def answers(root: Path) -> dict:
    """Return what a file says, as `a` leaves it."""
    return {"log": json.loads((root / "log").read_text()) if (root / "log").exists() else {}}


def first_letter(root: Path) -> str:
    return (root / "a").read_text()[0]


def test_what_is_outside_is_read_when_the_task_is_due(tmp_path):
    def write(root: Path, spec: dict) -> None:
        (root / "log").write_text('{"x": 1}')

    first = Task("log", write, outputs=("log",))
    second = Task("a", copy, {"to": "a", "text": "1"}, ("log",), ("a",), answers)
    run_tasks(tmp_path, [first, second])
    assert run_tasks(tmp_path, [first, second]) == {}  # the log as the first task left it
    (tmp_path / "log").write_text('{"x": 2}')
    with pytest.raises(StaleArtifactError, match=r"log\.x: 1 → 2"):
        run_tasks(tmp_path, [first, second])


def test_an_empty_log_that_fills_is_told_by_its_entries_alone(tmp_path):
    task = a(outside=answers)
    run_tasks(tmp_path, [task])
    (tmp_path / "log").write_text('{"x": {"y": 2}}')
    with pytest.raises(StaleArtifactError) as caught:
        run_tasks(tmp_path, [task])
    assert "log.x.y: (nothing) → 2" in str(caught.value)
    assert "{}" not in str(caught.value)


def test_later_tasks_depend_on_what_was_made_where_a_task_says_so(tmp_path):
    def made(text: str) -> Task:
        return a(text, made=first_letter)

    run_tasks(tmp_path, [made("12"), b()])
    assert set(run_tasks(tmp_path, [made("13"), b()], redo=True)) == {"a"}  # its first letter is the same
    assert status(tmp_path, [made("13"), b()]) == {"a": "done", "b": "done"}
    assert set(run_tasks(tmp_path, [made("23"), b()], redo=True)) == {"a", "b"}
