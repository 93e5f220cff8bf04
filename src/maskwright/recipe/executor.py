"""Where tasks run: processes on this machine, Ray, or SLURM."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from maskwright.recipe.spec import Spec


class _Spread(Spec):
    kind: str
    attempts: int = Field(3, ge=1)
    """How often a task is begun whose process is lost (killed, out of memory, its machine gone). Each time it goes on
    from its last checkpoint. An error of the task itself is never tried again."""


class LocalSpec(_Spread):
    """Tasks run on this machine."""

    kind: Literal["local"] = "local"
    jobs: int = Field(1, ge=1)
    """Tasks at a time; 1 runs them in this process, more in processes of their own, which share the cores."""


class RaySpec(_Spread):
    """Tasks run on a Ray cluster whose machines all see the run folder and the data under the same paths."""

    kind: Literal["ray"] = "ray"
    jobs: int | None = Field(None, ge=1)
    """Tasks at a time; null: as many as the cluster has room for."""
    address: str | None = Field(None, min_length=1)
    """null: a cluster of this machine alone, for as long as the command runs; auto: the one that this machine belongs
    to; HOST:PORT or ray://HOST:PORT: another."""
    cpus: int | None = Field(None, ge=1)
    """Cores of a task and threads of a training; null: the cores of this machine, shared by the tasks at a time."""
    gpus: float | None = Field(None, ge=0)
    """GPUs of a task; null: one where the cluster has any."""


class SlurmSpec(_Spread):
    """Tasks run as SLURM jobs, whose machines all see the run folder and the data under the same paths."""

    kind: Literal["slurm"] = "slurm"
    jobs: int | None = Field(None, ge=1)
    """Jobs in the queue at a time; null: all whose turn it is."""
    partition: str | None = Field(None, min_length=1)
    """Where jobs are queued; null: SLURM's default."""
    minutes: int = Field(1440, ge=1)
    """Time limit of a job. A training that takes longer is submitted again and goes on, `attempts` times in all."""
    cpus: int = Field(4, ge=1)
    """Cores of a job and threads of a training."""
    gpus: int = Field(0, ge=0)
    """GPUs of a job."""
    memory: float | None = Field(None, gt=0)
    """Memory of a job in GB; null: SLURM's default."""
    logs: str | None = Field(None, min_length=1)
    """Folder of submitit's files and of what the jobs print; null: slurm/ in the run folder."""
    parameters: dict[str, object] = Field({})
    """Further parameters of submitit's AutoExecutor, such as {slurm_account: lab, slurm_constraint: a100}."""
    cluster: Literal["slurm", "local", "debug"] = "slurm"
    """local and debug try it without SLURM: submitit's own processes on this machine, or all in this process."""


def _kind_is_local(value: Any) -> Any:
    return {"kind": "local"} | value if isinstance(value, dict) else value


ExecutorSpec = LocalSpec | RaySpec | SlurmSpec
"""Where tasks run."""

ExecutorField = Annotated[
    Annotated[ExecutorSpec, Field(discriminator="kind")],
    BeforeValidator(_kind_is_local),
]
"""As a field of the recipe: local where no kind is named."""


def of_kind(spec: ExecutorSpec, kind: Literal["local", "ray", "slurm"]) -> ExecutorSpec:
    """Return an executor of another kind, with those stated fields that it has, too.

    Example:
        >>> of_kind(SlurmSpec(jobs=4, partition="night"), "local")
        LocalSpec(kind='local', attempts=3, jobs=4)
    """
    models: dict[str, type[LocalSpec | RaySpec | SlurmSpec]] = {"local": LocalSpec, "ray": RaySpec, "slurm": SlurmSpec}
    stated = {key: value for key, value in spec.model_dump(exclude_defaults=True).items() if key != "kind"}
    return models[kind](**{key: value for key, value in stated.items() if key in models[kind].model_fields})


def at_a_time(spec: ExecutorSpec, tasks: int) -> int:
    """Return how many of these tasks run at a time, as far as the recipe says."""
    return max(1, tasks if spec.jobs is None else min(spec.jobs, tasks))


def cores_of_task(spec: ExecutorSpec, tasks: int, cores: int) -> int:
    """Return how many cores each of these tasks gets.

    Args:
        spec: the executor.
        tasks: their number.
        cores: of this machine.

    Example:
        >>> [cores_of_task(spec, 5, 8) for spec in (LocalSpec(jobs=4), LocalSpec(jobs=1), RaySpec())]
        [2, 8, 1]
    """
    stated = None if isinstance(spec, LocalSpec) else spec.cpus
    return stated or max(1, cores // at_a_time(spec, tasks))
