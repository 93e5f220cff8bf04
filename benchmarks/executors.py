"""Four folds on each executor: the scores of this process, also where a worker is killed in the middle of a training.

Ray runs on a cluster of two nodes (processes of this machine, one core each), SLURM in submitit's local mode. A killed
worker gets SIGKILL when its training has passed a checkpoint; then the run must finish by itself.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from benchmarks import record
from benchmarks.kills import SMALL, labels, scores
from benchmarks.record import Row
from maskwright.data.synthetic import make_playground
from maskwright.watching import all_told, told

FOLDS, STEPS, EVERY = 4, 60, 10
VICTIM = "train-fold-2"
EXECUTORS = {
    "processes": ("executor={jobs: 2}",),
    "ray, two nodes": ("executor={kind: ray, cpus: 1, gpus: 0, address: ADDRESS}",),
    "submitit, local mode": ("executor={kind: slurm, cluster: local, cpus: 1, jobs: 2}",),
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks executors", description=__doc__)
    parser.add_argument("--only", nargs="*", default=list(EXECUTORS), choices=list(EXECUTORS))
    parser.add_argument("--cases", nargs="*", default=["undisturbed", "killed"], choices=["undisturbed", "killed"])
    parser.add_argument("--folder", type=Path, help="keep the runs here, and don't make again what is finished")
    arguments = parser.parse_args()
    rows = record.read("executors")
    with tempfile.TemporaryDirectory() as name:
        folder = arguments.folder or Path(name)
        if not (folder / "data").is_dir():
            make_playground(folder / "data", labelled=24, unlabelled=2, size=(64, 96))
        alone, took = folder / "alone", run(folder, "alone", ())
        for executor in arguments.only:
            with two_nodes() if executor.startswith("ray") else nullcontext("") as address:
                settings = tuple(s.replace("ADDRESS", f"'{address}'") for s in EXECUTORS[executor])
                for case in arguments.cases:
                    seconds = run(folder, f"{executor}-{case}", settings, kill=case == "killed")
                    row = compare(alone, folder / f"{executor}-{case}", killed=case == "killed")
                    row.details |= {"seconds": round(seconds, 1), "seconds in this process": round(took, 1)}
                    rows[executor if case == "undisturbed" else f"{executor}, a worker killed"] = row
                    record.write("executors", rows, rivals=("ray", "submitit"))


def run(folder: Path, name: str, settings: tuple[str, ...], *, kill: bool = False) -> float:
    """Run the whole main job; return its seconds."""
    small = [s for s in SMALL if not s.startswith(("train.steps", "train.validate_every"))]
    every = [*small, f"train.steps={STEPS}", f"train.validate_every={EVERY}", *settings]
    words = [sys.executable, "-m", "maskwright", "run", "--data", str(folder / "data"), "--group", "scene"]
    words += ["--folds", str(FOLDS), "--holdout", ".2", "--out", str(folder / name)]
    started = time.perf_counter()
    with open(folder / f"{name}.log", "w", encoding="utf-8") as log:
        process = subprocess.Popen([*words, *(w for s in every for w in ("--set", s))], stdout=log, stderr=log)
        if kill:
            kill_in_the_middle(folder / name, process)
        if process.wait() != 0:
            raise SystemExit((folder / f"{name}.log").read_text(encoding="utf-8"))
    return time.perf_counter() - started


def kill_in_the_middle(root: Path, process: "subprocess.Popen[bytes]") -> None:
    """Kill the worker of a training that has a checkpoint and isn't done."""
    while process.poll() is None:
        said = told(root, VICTIM)
        if said.get("state") == "running" and EVERY < said["done"] < STEPS and said["total"] == STEPS:
            os.kill(said["pid"], signal.SIGKILL)
            return
        time.sleep(0.02)
    raise SystemExit(f"{VICTIM} was over before it could be killed")


@contextmanager
def two_nodes() -> Iterator[str]:
    """Start a Ray cluster of two nodes; yield its address."""
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}
    from ray.cluster_utils import Cluster  # type: ignore[import-not-found]

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        cluster.add_node(num_cpus=1)
        cluster.wait_for_nodes()
        yield cluster.address
    finally:
        cluster.shutdown()


def compare(alone: Path, other: Path, *, killed: bool) -> Row:
    """Compare a run with the one in a single process."""
    same = {
        "scores": scores(other) == scores(alone),
        "curves of every fold": curves(other) == curves(alone),
        "label files": labels(other) == labels(alone),
    }
    known = {name: said for name, said in all_told(other).items() if name.startswith("train-fold-")}
    details: dict[str, Any] = {"same": same, "attempts": {name: said["attempt"] for name, said in known.items()}}
    details |= {"trainings at a time": at_a_time(known), "processes": len({said["pid"] for said in known.values()})}
    reached = all(same.values())
    if killed:
        details["went on after step"] = known[VICTIM]["first"] - 1
        lines = (other / ".tasks" / "progress" / f"{VICTIM}.log").read_text(encoding="utf-8").splitlines()
        details["log"] = [line.rpartition("; ")[2] for line in lines if "worker lost" in line]
        reached &= known[VICTIM]["attempt"] == 2 and known[VICTIM]["first"] - 1 >= EVERY
    target = "3" + (", the training having gone on from a checkpoint" if killed else "")
    return Row(figure=sum(same.values()), unit="of 3 the same", target=target, reached=reached, details=details)


def curves(run: Path) -> list[list[str]]:
    """Return the rows of metrics.csv of every fold, without the times."""
    rows = []
    for fold in range(FOLDS):
        lines = (run / "round-0" / f"fold-{fold}" / "metrics.csv").read_text(encoding="utf-8").splitlines()
        timed = [n for n, column in enumerate(lines[0].split(",")) if column in ("seconds", "waited")]
        rows += [[cell for n, cell in enumerate(line.split(",")) if n not in timed] for line in lines]
    return rows


def at_a_time(known: dict[str, dict[str, Any]]) -> int:
    """Return the most trainings that ran at the same moment (last attempts)."""
    spans = [(said["started"], said["updated"]) for said in known.values()]
    return max(sum(start <= moment < end for start, end in spans) for moment, _ in spans)
