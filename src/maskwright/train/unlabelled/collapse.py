"""What happens where a teacher's labels collapse: it is said, and the training goes back, ends or goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import torch

from maskwright.data.index import Index
from maskwright.progress import report
from maskwright.recipe import Recipe
from maskwright.recipe.sac import SacSpec
from maskwright.recipe.unlabelled import OnlineMethodSpec, TeacherSpec
from maskwright.train.memory import check_whole
from maskwright.train.unlabelled.consistency import ConsistencyStep
from maskwright.train.unlabelled.kept import KeptLabels
from maskwright.train.unlabelled.pool import pool_batch

_LESS = 0.5
"""Factor on the weight of what is learned from images without labels, once the training went back."""


class PoolWatch(L.Callback):
    """Looks at a step's `kept` at the end of each epoch.

    The state to go back to is last.ckpt: at the end of an epoch, before it is written anew, it holds the end of the
    epoch before. Weights, averages, optimizer and counts go back; the stream of images, the steps and the rate go on.
    A run that was cut short does the same again.

    Args:
        folder: of the training.
        spec: the method's.
        monitor: name of the metric that best.ckpt is chosen by; of a state gone back to it is what it was.
    """

    def __init__(self, folder: Path, spec: OnlineMethodSpec, monitor: str) -> None:
        self.folder, self.spec, self.monitor = folder, spec, monitor
        self.lines: list[str] = []
        self.stopped, self._back, self._said = False, False, ""
        self._halved = dict[str, int]()  # category → how often it was missed
        self._metric: float | None = None

    def row(self, module: L.LightningModule) -> dict[str, float]:
        """Return the epoch's shares of kept labels, by column name."""
        row, self._said = kept_of(module).row(module.global_step / max(1, int(module.trainer.max_steps)))
        return row

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Begin an epoch as a resumed training does."""
        if isinstance(pl_module.step, ConsistencyStep):
            pl_module.step.forget()

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Act on what has collapsed in the epoch; `row` has been called by now."""
        metrics = trainer.callback_metrics
        if not self._said:
            found = metrics.get(self.monitor)
            self._metric = None if found is None else float(found)
            if missing := kept_of(pl_module).missing:
                self._never_begun(trainer, pl_module, missing)
            return
        goes_back = self.spec.collapse != "on" and (self.folder / "last.ckpt").is_file()
        self.stopped = goes_back and (self._back or self.spec.collapse == "stop")
        done = "went on"
        if goes_back:
            self._restore(trainer, pl_module)
            if self._metric is not None:
                metrics[self.monitor] = torch.tensor(self._metric)
            done = "ended with the state of the epoch before"
        if goes_back and not self.stopped:
            kept_of(pl_module).trust.mul_(_LESS)
            self._back, done = True, "went back to the state of the epoch before, with half the weight"
        if not goes_back and any(self._said in line for line in self.lines):
            return
        self._say(trainer, f"labels of the pool collapsed by step {trainer.global_step}: {self._said}; {done}")

    def _never_begun(self, trainer: L.Trainer, module: L.LightningModule, missing: tuple[str, ...]) -> None:
        """Act on categories of which no label was ever kept: less is learned from the pool, then nothing."""
        back = self.spec.collapse == "back"
        trust, times = kept_of(module).trust, [self._halved.get(name, 0) for name in missing]
        if min(times) > back or (back and not bool(trust.any())):
            return  # it has been said, and nothing is left to be done
        if self.spec.collapse == "on":
            done = "went on"
        elif not back:
            self.stopped, done = True, "ended"
        else:  # none at all for a category that was missed in an epoch before, too
            trust.mul_(0.0 if any(times) else _LESS)
            done = "went on from labels alone" if any(times) else "went on with half the weight"
        self._halved |= {name: 1 + self._halved.get(name, 0) for name in missing}
        names = ", ".join(missing)
        self._say(trainer, f"no label of the pool was kept as {names} by step {trainer.global_step}; {done}")

    def _say(self, trainer: L.Trainer, line: str) -> None:
        """Note a line, report it, and end the training if it is over."""
        self.lines.append(line)
        report(f"pool {self.folder.name}", trainer.global_step, int(trainer.max_steps), line)
        if self.stopped:
            trainer.should_stop = True
            report(f"train {self.folder.name}", int(trainer.max_steps), int(trainer.max_steps), line)

    def _restore(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Take over the state of last.ckpt, but for the rates, which the schedule has set."""
        state = torch.load(self.folder / "last.ckpt", map_location=module.device, weights_only=True)
        ever = kept_of(module).ever.clone()
        module.load_state_dict(state["state_dict"])
        kept_of(module).ever.logical_or_(ever)  # what was kept was kept, whatever became of it
        optimizer = trainer.optimizers[0]
        rates = [group["lr"] for group in optimizer.param_groups]
        optimizer.load_state_dict(state["optimizer_states"][0])
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        trainer.strategy.barrier()  # the first process writes last.ckpt anew only when all have read it

    def state_dict(self) -> dict[str, Any]:
        """Return what was said and done so far."""
        done = {"stopped": self.stopped, "back": self._back, "halved": self._halved}
        return {"lines": self.lines, "metric": self._metric, **done}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from it."""
        self.lines, self.stopped = list(state_dict["lines"]), state_dict["stopped"]
        self._back, self._halved, self._metric = state_dict["back"], dict(state_dict["halved"]), state_dict["metric"]


def pool_lines(pool: Index, recipe: Recipe, module: L.LightningModule, watch: PoolWatch) -> list[str]:
    """Return what a training's log says of the images without labels."""
    kept, method = kept_of(module), recipe.selftrain.method
    lines = [f"images without labels: {len(pool)}, {pool_batch(recipe)} a step, by {method.kind}"]
    teacher = getattr(method, "teacher", None)
    if isinstance(teacher, TeacherSpec) and teacher.ramp == "auto":
        lines.append(f"the teacher's average begins by the ramp {teacher.ramp_of(recipe.train.steps or 1)}")
    if isinstance(method, SacSpec):
        sac = method.at_length(recipe.train.steps or 1)
        lines.append(
            f"the teacher moves every {sac.teacher_every} step(s), with a momentum of {sac.teacher_momentum:g}"
        )
    never = [name for name, was in zip(kept.names, kept.ever.tolist(), strict=True) if not was]
    lines += [f"no label of the pool was ever kept as: {', '.join(never)}"] if never else []
    return lines + watch.lines


def kept_of(module: L.LightningModule) -> KeptLabels:
    """Return the counts of a module whose step learns from a pool."""
    step: Any = module.step
    found: KeptLabels = step.kept
    return found


def ended_early(checkpoint: Path) -> bool:
    """Tell whether a training ended before its last step, because of a collapse: it isn't gone on with.

    Raises:
        DataError: the checkpoint is cut off.
    """
    if not checkpoint.is_file():
        return False
    check_whole(checkpoint)
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    return bool(state.get("callbacks", {}).get(PoolWatch.__qualname__, {}).get("stopped", False))
