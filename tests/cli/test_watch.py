"""`watch`: every task of a run folder, whatever state the run is in."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from maskwright.cli import main
from maskwright.errors import UsageError
from maskwright.states import command_of, task_states
from maskwright.tasks import Task, lock, run_tasks
from maskwright.watching import _read_gpus, announce, told
from spread_work import climb, climbing, refuse


def watch(capsys, *words):
    capsys.readouterr()
    code = main(["watch", *map(str, words)])
    out, err = capsys.readouterr()
    return code, out, err


def with_curves(root: Path, spec: dict) -> None:
    """Leave a table of curves as trainings do, then climb."""
    climb(root, spec)
    (root / spec["name"] / "metrics.csv").write_text(
        "step,seconds,lr,waited,loss,loss_dice,mean_dice,dice/rock\n1,.1,1,0,.9,.5,.25,.1\n2,.2,1,0,.7,.4,,\n"
    )


def training(name: str, **more: int) -> Task:
    outputs = (f"{name}/metrics.csv", f"{name}/score")
    return Task(f"train-{name}", with_curves, {"name": name, "seed": 0, **more}, outputs=outputs, keeps=(name,))


def test_a_finished_run_shows_scores_and_what_was_typed(tmp_path, capsys):
    with lock(tmp_path):
        run_tasks(tmp_path, [training("fold-0"), training("fold-1")])
    code, out, err = watch(capsys, tmp_path, "--json")
    assert code == 0
    found = json.loads(out)
    assert not found["running"]
    assert [task["name"] for task in found["tasks"]] == ["train-fold-0", "train-fold-1"]
    first = found["tasks"][0]
    assert (first["state"], first["fold"], first["attempt"]) == ("done", 0, 1)
    assert first["scores"] == {"loss": 0.7, "mean_dice": 0.25}  # the last that is there of each
    code, _, err = watch(capsys, tmp_path, "--once")
    assert code == 0
    assert "2 done" in err and "loss 0.7, mean_dice 0.25" in err and "nothing runs; all 2 tasks" in err
    assert sys.argv[-1] in err  # of the command that made it


def test_a_running_task_shows_step_time_left_and_use(tmp_path, capsys):
    code = (
        "import spread_work as w, pathlib, sys, time\n"
        "from maskwright.progress import report\n"
        "from maskwright.tasks import Task, lock, run_tasks\n"
        "def slowly(root, spec):\n"
        "    for step in range(3): report('train fold-3', step, 50, 'a note'); time.sleep(.2)\n"
        "    while not (root / 'end').exists(): time.sleep(.05)\n"
        "root = pathlib.Path(sys.argv[1])\n"
        "with lock(root): run_tasks(root, [w.climbing('first'), Task('train-fold-3', slowly), w.climbing('later')])"
    )
    path = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    words = [sys.executable, "-c", code, str(tmp_path), "an argument"]
    with subprocess.Popen(words, env=os.environ | {"PYTHONPATH": path}) as process:
        end = time.monotonic() + 60
        while told(tmp_path, "train-fold-3").get("done") != 2:
            assert time.monotonic() < end
            time.sleep(0.05)
        command = command_of(tmp_path)
        states = {state.name: state for state in task_states(tmp_path, command)}
        assert watch(capsys, tmp_path, "--once")[0] == 0
        (tmp_path / "end").touch()
        process.wait(60)
    assert (command.running, command.pid) == (True, process.pid)
    assert "'an argument'" in command.command
    running = states["train-fold-3"]
    assert (running.state, running.done, running.total, running.fold) == ("running", 2, 50, 3)
    assert running.left is not None and running.left > 48 * 0.2  # two steps took .4 s or more: 48 take 9.6 s or more
    assert running.memory is not None and running.memory > 1 << 20
    assert running.log == "train fold-3: a note"
    assert {name: state.state for name, state in states.items()} == {
        "first": "done",
        "train-fold-3": "running",
        "later": "waiting",
    }
    assert not command_of(tmp_path).running


def test_a_run_that_was_killed_says_how_it_goes_on(tmp_path, capsys):
    code = (
        "import spread_work as w, pathlib, sys; from maskwright.tasks import lock, run_tasks\n"
        "root = pathlib.Path(sys.argv[1])\n"
        "with lock(root): run_tasks(root, [w.climbing('a', die_at=3, deaths=9), w.climbing('b')])"
    )
    path = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    words = [sys.executable, "-c", code, str(tmp_path), "--like this"]
    subprocess.run(words, env=os.environ | {"PYTHONPATH": path}, check=False)
    announced = told(tmp_path, "a") | {"state": "running", "updated": time.time() - 90, "host": "", "started": 0}
    (tmp_path / ".tasks" / "progress" / "a.progress.json").write_text(json.dumps(announced))  # killed a while ago
    _, out, err = watch(capsys, tmp_path, "--json")
    assert [task["state"] for task in json.loads(out)["tasks"]] == ["stopped", "waiting"]
    _, _, err = watch(capsys, tmp_path)  # no terminal: once
    assert "not running; 2 of 2 tasks are not done" in err
    assert "'--like this'" in err


def test_a_failed_task_shows_its_error(tmp_path):
    with pytest.raises(UsageError):
        run_tasks(tmp_path, [Task("r", refuse, {"error": "own"})])
    (state,) = task_states(tmp_path, command_of(tmp_path))
    assert (state.state, state.log) == ("failed", "UsageError: no such thing")


def test_runs_inside_a_curve_or_protocols_are_seen_too(tmp_path, capsys):
    with lock(tmp_path):  # before any task of its own
        assert watch(capsys, tmp_path)[0] == 0
        for inner in ("base", "points/a", "protocols/mixed"):
            run_tasks(tmp_path / inner, [training("fold-0")])
        (tmp_path / "protocols" / "mixed" / ".tasks" / "copied.json").write_text("{}")  # another run's record
        states = task_states(tmp_path, command_of(tmp_path))
    places = ("base", "points/a", "protocols/mixed")
    assert [state.name for state in states] == [f"{place}/train-fold-0" for place in places]
    assert all(state.state == "done" and state.scores["mean_dice"] == 0.25 for state in states)


@pytest.mark.parametrize("made", [True, False])
def test_a_folder_that_is_no_run_is_refused(tmp_path, capsys, made):
    folder = tmp_path / "x"
    if made:
        folder.mkdir()
    code, _, err = watch(capsys, folder)
    assert code == 2
    assert "the folder of a run" in err and "--out" in err


def test_fifty_tasks_are_all_shown_once_and_the_running_ones_first_on_a_screen(tmp_path, capsys):
    from maskwright.cli.watch import _table
    from maskwright.states import TaskState

    for number in range(50):
        announce(tmp_path, f"train-fold-{number}", (f"round-0/fold-{number}",))
    _, out, err = watch(capsys, tmp_path, "--json")
    tasks = json.loads(out)["tasks"]
    assert [task["fold"] for task in tasks] == list(range(50))  # 10 after 9, not after 1
    _, _, err = watch(capsys, tmp_path, "--once")
    assert all(f"train-fold-{number} " in err for number in range(50))
    states = [TaskState(f"t{n}", "running" if n == 40 else "done" if n < 40 else "waiting") for n in range(50)]
    drawn = _table(tmp_path, states, rows=3)
    assert drawn.row_count == 3
    assert list(drawn.columns[0].cells) == ["t40", "t41", "t42"]
    assert drawn.caption == "40 more done, 7 more waiting"


def test_watching_never_refuses_a_command_the_folder(tmp_path):
    """The lock is asked for only where its last holder may be at work."""
    with lock(tmp_path):
        run_tasks(tmp_path, [climbing("a")])
        assert command_of(tmp_path).running
        assert command_of(tmp_path).pid == os.getpid()
    ended = threading.Event()

    def look():
        while not ended.is_set():
            command_of(tmp_path)

    known = json.loads((tmp_path / ".lock").read_text())
    (tmp_path / ".lock").write_text(json.dumps(known | {"pid": 2**22 + 1}))  # a process that is gone
    thread = threading.Thread(target=look)
    thread.start()
    try:
        for _ in range(50):
            with lock(tmp_path):
                (tmp_path / ".lock").write_text(json.dumps(known | {"pid": 2**22 + 1}))
    finally:
        ended.set()
        thread.join()


def test_what_nvidia_smi_says_is_read():
    text = "0, GPU-aa, 87, 1024, 81559\n1, GPU-bb, [N/A], 3, 81559\n"
    first, second = _read_gpus(text, None)
    assert first == {"index": 0, "use": 0.87, "memory": 1 << 30, "total": 81559 << 20}
    assert second["use"] is None
    assert [gpu["index"] for gpu in _read_gpus(text, "GPU-bb")] == [1]
    assert [gpu["index"] for gpu in _read_gpus(text, "0")] == [0]
    assert [*_read_gpus(text, "")] == []
