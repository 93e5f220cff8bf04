"""The one Lightning module: it runs a step, validates its predictor, and keeps what a checkpoint must know."""

from __future__ import annotations

from typing import Any

import lightning as L
import numpy as np
import torch

from maskwright.checkpoint import KEY
from maskwright.inference import infer, infer_tiled
from maskwright.losses.reduction import processes
from maskwright.metrics import SUMMARIES, Counts, EmptyCases, overlap_table, pooled_iou
from maskwright.passes import without
from maskwright.recipe import Recipe
from maskwright.recipe.optimise import PlateauSpec
from maskwright.train.memory import Parts
from maskwright.train.optimizer import build_optimizer, parameter_groups
from maskwright.train.schedules import Plateau, rate
from maskwright.train.steps import Step
from maskwright.types import Array, Categories


class SegmentationModule(L.LightningModule):
    """A step under Lightning.

    Args:
        step: the method; an nn.Module.
        recipe: resolved.
        categories: output channels, for validation.
        about: what a checkpoint must carry to be used alone.
        parts: noted in checkpoints, for a resumed run.
    """

    def __init__(self, step: Step, recipe: Recipe, categories: Categories, about: dict[str, Any], parts: Parts) -> None:
        super().__init__()
        self.step, self.recipe, self.spec = step, recipe, recipe.train
        self.categories, self.about, self.parts = categories, about, parts
        self.plateau = Plateau(recipe.train.schedule) if isinstance(recipe.train.schedule, PlateauSpec) else None
        self.never = categories.positions(recipe.predict.never, where="predict.never")
        self.validating = False
        self._trained: list[torch.nn.Parameter] = []
        self._tables: list[np.ndarray[Any, Any]] = []

    def training_step(self, batch: Any, batch_idx: int) -> dict[str, Any]:
        """Return the summed loss and its terms."""
        assert self.spec.steps is not None
        terms = self.step.losses(batch, self.global_step / self.spec.steps)
        total = torch.stack(list(terms.values())).sum()
        return {"loss": total, "terms": {name: term.detach() for name, term in terms.items()}}

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Update the parameters, then whatever follows them."""
        super().optimizer_step(*args, **kwargs)
        self.step.after_update()

    def configure_gradient_clipping(self, optimizer: Any, *args: Any, **kwargs: Any) -> None:
        """Clip the norm here: Lightning refuses beside a fused optimizer, though bfloat16 scales no gradient."""
        if self.spec.clip is not None:
            torch.nn.utils.clip_grad_norm_(self._trained, self.spec.clip)

    def configure_optimizers(self) -> Any:
        """The recipe's optimizer and schedule, stepped per update."""
        groups = parameter_groups(self.step, self.spec)  # type: ignore[arg-type]
        self._trained = [parameter for group in groups for parameter in group["params"]]
        optimizer = build_optimizer(groups, self.spec)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, self._rate)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def _rate(self, step: int) -> float:
        assert self.spec.steps is not None
        fallen = 1.0 if self.plateau is None else float(self.plateau.factor)
        return fallen * rate(self.spec.schedule, step, steps=self.spec.steps, warmup=self.spec.warmup)

    def on_validation_epoch_start(self) -> None:
        """Forget the last validation."""
        self._tables, self.validating = [], True

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Count the overlaps of a batch at working size."""
        images, labels = batch
        truth = labels.to(torch.uint8).cpu().numpy()
        for own, probabilities in zip(truth, self._probabilities(images), strict=True):
            predicted = without(probabilities, self.never).argmax(0).astype(np.uint8)
            self._tables.append(overlap_table(own, predicted, len(self.categories)))

    def _probabilities(self, images: torch.Tensor) -> Array:
        """Return (N, C, H, W) probabilities, large images by tiles, without views and other scales."""
        networks, spec, precision = [self.step.predictor], self.recipe.predict, str(self.spec.precision)
        if max(images.shape[2:]) <= spec.tile:
            return infer(networks, images, pad=spec.pad, precision=precision).cpu().numpy()
        how: dict[str, Any] = {"tile": spec.tile, "overlap": spec.overlap, "batch": spec.batch, "blend": spec.blend}
        return np.stack([infer_tiled(networks, image, **how, pad=spec.pad, precision=precision) for image in images])

    def on_validation_epoch_end(self) -> None:
        """Log every summary metric and the pooled IoU of each category."""
        self.validating = False
        scores = self.validation_scores()
        if self.plateau is not None:
            self.plateau.see(scores[self.recipe.metric()])
        for name, value in scores.items():
            self.log(name, value, logger=False)  # `Curves` sends whole rows

    def validation_scores(self) -> dict[str, float]:
        """Return the scores of the images validated since the last start."""
        counts, cases = Counts.from_table(np.stack(self._all_tables())), EmptyCases.of(self.recipe.evaluate)
        scores = {
            name: float(SUMMARIES[name].function(counts, self.categories.evaluated, None, cases)[0])
            for name in ("mean_dice", "mean_iou", "pooled_miou")
        }
        return scores | self._by_category("iou", counts, cases)

    def training_scores(self) -> dict[str, float]:
        """Return the scores of the crops that were learned from since the last call; {} without labelled ones."""
        if (table := self.step.trained_on.take()) is None:
            return {}
        whole = self.trainer.strategy.reduce(table, reduce_op="sum").cpu().numpy()
        counts, cases = Counts.from_table(whole[None]), EmptyCases.of(self.recipe.evaluate)
        mean = float(SUMMARIES["pooled_miou"].function(counts, self.categories.evaluated, None, cases)[0])
        return {"train_pooled_miou": mean} | self._by_category("train_iou", counts, cases)

    def _by_category(self, prefix: str, counts: Counts, cases: EmptyCases) -> dict[str, float]:
        """Return PREFIX_NAME → pooled IoU, of (images, C) counts."""
        pooled = pooled_iou(Counts(counts.tp.sum(0), counts.fp.sum(0), counts.fn.sum(0)), absent=cases.absent)
        return {f"{prefix}_{n}": float(v) for n, v in zip(self.categories.names, pooled, strict=True)}

    def _all_tables(self) -> list[Array]:
        """Return the tables of all devices, each of which validated its share."""
        if (count := processes()) == 1:
            return self._tables
        gathered: list[Any] = [None] * count
        torch.distributed.all_gather_object(gathered, self._tables)
        return [table for tables in gathered for table in tables]

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the specs, and torch's generators so that drawn dropout resumes, too."""
        checkpoint[KEY] = self.about
        self.parts.note(checkpoint)
        checkpoint["torch_generator"] = torch.get_rng_state()
        if self.device.type == "cuda":  # which draws from one of its own
            checkpoint["cuda_generator"] = torch.cuda.get_rng_state(self.device)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Put the generators back, and say that the epoch has ended: Lightning saves just before it counts it.

        Otherwise a loop that is bounded by steps ends the epoch a second time and enters the stream one epoch late.
        What the network once started from is known from the checkpoint alone.
        """
        self.about |= {key: value for key, value in checkpoint.get(KEY, {}).items() if key == "start"}
        torch.set_rng_state(checkpoint["torch_generator"])
        if self.device.type == "cuda" and "cuda_generator" in checkpoint:
            torch.cuda.set_rng_state(checkpoint["cuda_generator"].cpu(), self.device)
        loop = checkpoint["loops"]["fit_loop"]
        for part in ("total", "current"):
            epochs, batches = loop["epoch_progress"][part], loop["epoch_loop.batch_progress"][part]
            epochs.update(dict.fromkeys(("ready", "processed", "completed"), epochs["started"]))
            batches.update(dict.fromkeys(batches, batches["processed"] if part == "total" else 0))
        loop["epoch_loop.batch_progress"]["is_last_batch"] = False
