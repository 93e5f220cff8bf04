"""What happens where a batch doesn't fit into a device's memory: it is taken in parts, and this is said."""

from __future__ import annotations

import math
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from maskwright.errors import DataError, UsageError, problem
from maskwright.progress import report
from maskwright.recipe import Recipe

KEY = "maskwright_parts"


@dataclass(frozen=True)
class Parts:
    """Into how many parts batches are cut.

    The gradients of the parts of a step are added up before the update, so that it sees as many crops; means over
    pixels are those of the step (`losses.step`). What is computed over a batch otherwise sees one part at a time: batch
    norm, Dice and Lovász over the batch, SSIM of valid windows where some pixels are ignored.

    Attributes:
        step: of a training step.
        validation: of a validation batch.
    """

    step: int = 1
    validation: int = 1

    @classmethod
    def of(cls, checkpoint: Path, *, step: int = 1) -> Parts:
        """Return those that a checkpoint was trained with; where there is none, `step` and whole validation batches.

        Raises:
            DataError: the checkpoint is cut off.
        """
        if not checkpoint.is_file():
            return cls(step)
        check_whole(checkpoint)
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)
        return cls(**state.get(KEY, {}))

    def note(self, checkpoint: dict[str, Any]) -> None:
        """Write them into a checkpoint."""
        checkpoint[KEY] = asdict(self)

    def smaller(self, recipe: Recipe, *, validating: bool) -> Parts:
        """Return what is tried next, and say so.

        Args:
            recipe: resolved.
            validating: the memory ran out in validation.

        Raises:
            UsageError: the parts are single images already, or are shared by devices, which can't retreat one by one.
        """
        batch = recipe.predict.batch if validating else (recipe.train.batch or 1)
        now = self.validation if validating else self.step
        method = recipe.selftrain.method
        pool = getattr(method, "batch", None)
        shared = batch if validating or pool is None else math.gcd(batch, pool)
        larger = [n for n in range(now + 1, shared + 1) if shared % n == 0]
        if not larger or recipe.train.devices > 1:
            size = "predict.batch, predict.tile" if validating else "train.batch, train.scale, model.encoder"
            fields = [f"selftrain.method.{name}" for name in ("batch", "views") if hasattr(method, name)]
            size += f"; of images without labels {', '.join(fields)}" if fields and not validating else ""
            raise UsageError(
                problem(
                    f"memory for {batch // now} image(s) at a time",
                    "not enough",
                    where="the device, in " + ("validation" if validating else "training"),
                    next_move=f"make one of these smaller: {size}",
                )
            )
        if validating:
            report("out of memory", larger[0], batch, f"validation batches are now taken in {larger[0]} parts")
            return Parts(self.step, larger[0])
        report("out of memory", larger[0], batch, f"steps of {batch} crops are now taken in {larger[0]} parts")
        return Parts(larger[0], self.validation)


def check_whole(checkpoint: Path) -> None:
    """Raise DataError if the checkpoint to go on from is cut off: it is a zip archive, its list at the end."""
    if checkpoint.is_file() and not zipfile.is_zipfile(checkpoint):
        raise DataError(
            problem(
                "a checkpoint to go on from",
                "a file that is cut off",
                where=str(checkpoint),
                next_move="delete it: the training of this fold then begins anew",
            )
        )
