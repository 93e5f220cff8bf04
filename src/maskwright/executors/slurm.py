"""SLURM through submitit: each task is a job. All machines see the run folder and the data under the same paths.

A job goes on when the command that submitted it is gone: started again, the command takes over the jobs that are still
queued or running.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from maskwright.artifacts import RECORDS, read_json, write_json
from maskwright.doors import need
from maskwright.errors import UsageError, problem
from maskwright.executors.outcome import LostError, Submit, outcome_of, pack, settle
from maskwright.recipe.executor import SlurmSpec
from maskwright.watching import log

_INTERVAL = 0.5
_PATIENCE = 30.0
_SIGNAL_SECONDS = 60
_UNDER_WAY = ("PENDING", "CONFIGURING", "RUNNING", "REQUEUED", "COMPLETING", "SUSPENDED")
_PREEMPTED_SECONDS = 120.0
"""So long a preempted job may wait to be queued again by SLURM itself."""


@contextmanager
def on_slurm(spec: SlurmSpec, root: Path, tasks: int) -> Iterator[Submit]:
    """Yield what submits jobs; a thread here looks after them."""
    jobs = _Jobs(_executor(spec, root), spec, root)
    try:
        yield jobs.submit
    except BaseException:
        jobs.cancel()
        raise
    finally:
        jobs.ended.set()
        jobs.thread.join()


class _Jobs:
    """Jobs that haven't ended yet, and the futures of their tasks."""

    def __init__(self, executor: Any, spec: SlurmSpec, root: Path) -> None:
        self.executor, self.spec, self.root = executor, spec, root
        self.open: list[tuple[Any, Future[Any]]] = []
        self.preempted: dict[str, float] = {}
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._look, name="jobs", daemon=True)
        self.thread.start()

    def submit(self, name: str, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Submit a job, unless one of the same work is queued or runs already."""
        future: Future[Any] = Future()
        content = pack(function, arguments)
        job = self._left_over(name, content)
        if job is None:
            self.executor.update_parameters(name=f"maskwright-{name}"[:60])
            job = self.executor.submit(outcome_of, content)
            write_json(_note(self.root, name), {"job": job.job_id, "work": _hash(content)})
            log(self.root, name, f"submitted as job {job.job_id}")
        self.open.append((job, future))
        return future

    def cancel(self) -> None:
        """Cancel all jobs; return when they have ended."""
        for job, _ in list(self.open):
            with contextlib.suppress(Exception):
                job.cancel()
        end = time.monotonic() + _PATIENCE
        while self.open and time.monotonic() < end:
            time.sleep(_INTERVAL / 5)

    def _left_over(self, name: str, content: bytes) -> Any:
        """Return the job that an earlier command submitted and that hasn't ended; one of other work is cancelled."""
        if self.spec.cluster != "slurm":
            return None
        try:
            known = read_json(_note(self.root, name))
        except (OSError, ValueError):
            return None
        job = need("submitit", "slurm").SlurmJob(folder=_folder(self.spec, self.root), job_id=known["job"])
        if str(job.state).partition(" ")[0] not in _UNDER_WAY:
            return None
        if known["work"] == _hash(content):
            log(self.root, name, f"took over job {job.job_id}")
            return job
        job.cancel(check=False)
        return None

    def _look(self) -> None:
        while not self.ended.wait(_INTERVAL):
            for job, future in list(self.open):
                try:
                    over, preempted = job.done(), self._is_preempted(job)
                except Exception as error:  # nothing is known of it any more
                    over, preempted = False, False
                    future.set_exception(LostError(f"job {job.job_id}: {error}"))
                if preempted:
                    job.cancel(check=False)
                    future.set_exception(LostError(f"job {job.job_id} was preempted"))
                elif over:
                    settle(future, job.result)
                if future.done():
                    self.open.remove((job, future))

    def _is_preempted(self, job: Any) -> bool:
        """Tell whether a job was preempted for good: submitit waits for such ones."""
        if self.spec.cluster != "slurm" or job.get_info(mode="standard").get("State") != "PREEMPTED":
            self.preempted.pop(job.job_id, None)
            return False
        since = self.preempted.setdefault(job.job_id, time.monotonic())
        return time.monotonic() - since > _PREEMPTED_SECONDS


def _executor(spec: SlurmSpec, root: Path) -> Any:
    submitit = need("submitit", "slurm")
    if spec.cluster == "slurm" and shutil.which("sbatch") is None:
        next_move = "run this on a machine of the cluster, or try it without: --set executor.cluster=local"
        raise UsageError(
            problem("SLURM's sbatch", "no such program", where="executor.kind: slurm", next_move=next_move)
        )
    executor = submitit.AutoExecutor(folder=_folder(spec, root), cluster=spec.cluster)
    resources: dict[str, Any] = {
        "timeout_min": spec.minutes,
        "cpus_per_task": spec.cpus,
        "gpus_per_node": spec.gpus or None,
        "mem_gb": spec.memory,
        "slurm_partition": spec.partition,
        "slurm_signal_delay_s": _SIGNAL_SECONDS,
        "slurm_setup": [f"export OMP_NUM_THREADS={spec.cpus}"],
        "slurm_srun_args": [f"--cpus-per-task={spec.cpus}"],  # it takes over no more what sbatch was told
    }
    given = {key: value for key, value in resources.items() if value is not None} | spec.parameters
    try:
        executor.update_parameters(**given)
    except (NameError, TypeError, ValueError) as error:  # what submitit raises where it doesn't know a parameter
        next_move = "see the parameters of submitit.AutoExecutor and submitit.SlurmExecutor (with slurm_ before them)"
        raise UsageError(
            problem("parameters of submitit", str(error), where="executor.parameters", next_move=next_move)
        ) from None
    return executor


def _folder(spec: SlurmSpec, root: Path) -> Path:
    return root / "slurm" if spec.logs is None else Path(spec.logs).expanduser()


def _note(root: Path, name: str) -> Path:
    return root / RECORDS / "jobs" / f"{name}.job.json"


def _hash(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=8).hexdigest()
