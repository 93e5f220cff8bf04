"""What happens around the loop: progress, the table of curves, and what it keeps."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import polars as pl
import torch

from maskwright.artifacts import THIRDS, write_table
from maskwright.progress import report
from maskwright.train.loggers import log_row


class Curves(L.Callback):
    """Keeps metrics.csv: one row an epoch with the mean of each loss term, the rate and the scores of both parts.

    The rows are part of the checkpoint, so a resumed run continues the table where the checkpoint stood. `waited` is
    the share of the epoch's time in which the loop waited for data.

    Args:
        path: of the table.
        more: returns further columns of the epoch that ends, of the module.
    """

    def __init__(self, path: Path, more: Callable[[L.LightningModule], dict[str, float]] | None = None) -> None:
        self.path, self.more = path, more
        self.rows: list[dict[str, Any]] = []
        self._sums: dict[str, torch.Tensor] = {}
        self._batches, self._waited = 0, 0.0
        self._seconds, self._started, self._ended = 0.0, 0.0, 0.0

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the sums."""
        self._sums, self._batches, self._waited = {}, 0, 0.0
        self._started = self._ended = time.perf_counter()

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Add the wait since the last batch ended."""
        self._waited += time.perf_counter() - self._ended

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Add the terms of the loss; report the step."""
        terms = outputs["terms"]
        for name, value in {"loss": torch.stack(list(terms.values())).sum(), **_named(terms)}.items():
            self._sums[name] = self._sums[name] + value if name in self._sums else value.clone()
        self._batches += 1
        report(f"train {self.path.parent.name}", trainer.global_step, int(trainer.max_steps))
        self._ended = time.perf_counter()

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Add a row and write the table. Validation has run by now."""
        elapsed = self._ended - self._started
        self._seconds += time.perf_counter() - self._started
        row: dict[str, Any] = {
            "step": trainer.global_step,
            "seconds": round(self._seconds, 2),
            "lr": trainer.optimizers[0].param_groups[0]["lr"],
            "waited": round(self._waited / max(elapsed, 1e-9), 4),
        }
        row |= {
            name: float(trainer.strategy.reduce(value, reduce_op="mean")) / self._batches
            for name, value in self._sums.items()
        }
        row |= {name: float(value) for name, value in trainer.callback_metrics.items()}
        module: Any = pl_module
        row |= module.training_scores()
        row |= {} if self.more is None else self.more(pl_module)
        self.rows.append({k: None if isinstance(v, float) and math.isnan(v) else v for k, v in row.items()})
        if not trainer.is_global_zero:
            return
        write_table(self.path, pl.DataFrame(self.rows, infer_schema_length=None))
        log_row(trainer.loggers, self.rows[-1])

    def state_dict(self) -> dict[str, Any]:
        """Return the rows and the time so far."""
        return {"rows": self.rows, "seconds": self._seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from them."""
        self.rows, self._seconds = list(state_dict["rows"]), state_dict["seconds"]


class Thirds(L.Callback):
    """Keeps the checkpoints of a third and of two thirds of a training, without what resuming needs.

    After the step with which so much is done, however seldom it validates. One that stands is not written again.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_train_batch_end(self, trainer: L.Trainer, *arguments: Any) -> None:
        """Write the one that is due."""
        for number, name in enumerate(THIRDS, 1):
            due = trainer.global_step * (len(THIRDS) + 1) >= number * int(trainer.max_steps)
            if due and not (self.folder / name).is_file():
                trainer.save_checkpoint(self.folder / name, weights_only=True)


def _named(terms: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {f"loss_{name}": value for name, value in terms.items()}
