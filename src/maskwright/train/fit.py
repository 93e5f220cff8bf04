"""Training one fold: from an index and a resolved recipe to checkpoints, resumed where an earlier run stopped."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning as L
import polars as pl
import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO

from maskwright.artifacts import atomic
from maskwright.checkpoint import describe
from maskwright.data.index import Index
from maskwright.data.intensity import Intensity
from maskwright.errors import UsageError, problem
from maskwright.inference import free_memory
from maskwright.losses import build_levels
from maskwright.losses.embedding import EmbeddingLoss
from maskwright.models import build_model
from maskwright.progress import report
from maskwright.recipe import Recipe
from maskwright.recipe.unlabelled import OnlineMethodSpec
from maskwright.train.callbacks import Curves, Thirds
from maskwright.train.class_weights import class_weight_lines, with_class_weights
from maskwright.train.device import training_device
from maskwright.train.distributed import train_together
from maskwright.train.embedding import EmbeddingStep
from maskwright.train.loader import training_batches, validation_batches
from maskwright.train.loggers import build_loggers, close_loggers
from maskwright.train.memory import Parts
from maskwright.train.module import SegmentationModule
from maskwright.train.start import start_from
from maskwright.train.steps import SupervisedStep
from maskwright.train.unlabelled import build_step, build_views, learns_online
from maskwright.train.unlabelled.collapse import PoolWatch, ended_early, pool_lines
from maskwright.train.unlabelled.domains import (
    adapt_first,
    check_start,
    gone_on,
    renormalised,
    weights_of_pool,
    with_shares,
)
from maskwright.train.unlabelled.pool import PoolStream, pool_batch
from maskwright.train.working import WorkingImages, cache_of

_PRECISION = {"float32": "32-true", "bfloat16": "bf16-mixed"}


def train_fold(
    folder: Path,
    training: Index,
    validation: Index | None,
    recipe: Recipe,
    *,
    fold: int = 0,
    start: Path | None = None,
    pool: Index | None = None,
) -> Path:
    """Train one network and leave best.ckpt, last.ckpt and metrics.csv in `folder`.

    A `last.ckpt` that is there already is continued; the result is the same as without the interruption.

    Args:
        folder: where the checkpoints go.
        training: labelled images to learn from.
        validation: labelled images to validate on, None for none; best.ckpt is then the last one.
        recipe: resolved.
        fold: its number; changes the order of images and the network's start.
        start: checkpoint of an older training whose network this one starts from.
        pool: images to learn from without their labels, as `selftrain.method` says; where it holds none, the training
            is the supervised one, which is said.

    Returns:
        the path of last.ckpt.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pool = _checked(pool, recipe, start)
    arguments = (folder, training, validation, recipe, fold, start, pool)
    last = folder / "last.ckpt"
    if pool is not None and ended_early(last):
        report(f"train {folder.name}", recipe.train.steps or 1, recipe.train.steps, "ended early, see log.txt")
    elif recipe.train.devices > 1:
        train_together(_train, arguments, devices=recipe.train.devices)
    else:
        _train(0, *arguments)
    if not (folder / "best.ckpt").is_file():
        with atomic(folder / "best.ckpt") as temporary:
            shutil.copyfile(last, temporary)
    return last


def _train(
    rank: int,
    folder: Path,
    training: Index,
    validation: Index | None,
    recipe: Recipe,
    fold: int,
    start: Path | None,
    pool: Index | None,
) -> None:
    """Do one process's share of a training: all of it, if there is one device."""
    spec = recipe.train
    assert spec.steps is not None and spec.scale is not None and spec.validate_every is not None
    rank_zero_only.rank = rank  # type: ignore[attr-defined]  # whatever the environment of a cluster says
    if spec.threads is not None:
        torch.set_num_threads(spec.threads)
    training = replace(training, partial=False)  # what nobody drew is learned less, not left out
    cache, told = cache_of(recipe), recipe.tells_instances
    images = WorkingImages(training, Intensity.of(recipe.data), scale=spec.scale, cache=cache, instances=told)
    unlabelled = None
    if pool is not None:
        recipe = renormalised(gone_on(with_shares(recipe), start), pool)
        unlabelled = WorkingImages(pool, Intensity.of(recipe.data), scale=spec.scale, cache=cache, labels=False)
    recipe = with_class_weights(recipe, map(images.label, range(len(images))))
    seen = Intensity.of(recipe.data)
    held = None if validation is None else WorkingImages(validation, seen, scale=spec.scale, cache=cache)
    last = folder / "last.ckpt"
    parts = Parts.of(last, step=spec.accumulate)
    while True:
        module = build_module(recipe, fold, parts, start, pool=pool is not None)
        watch, method = None, recipe.selftrain.method
        if pool is not None and isinstance(method, OnlineMethodSpec):
            watch = PoolWatch(folder, method, recipe.metric())
        trainer = build_trainer(folder, recipe, validates=held is not None, parts=parts.step, rank=rank, watch=watch)
        stream = None
        if unlabelled is not None:
            if not last.is_file():
                plain = PoolStream.of(unlabelled, recipe, fold, build_views(recipe), parts=parts.step)
                adapt_first(
                    module.step, recipe, training_batches(images, recipe, fold, parts=parts.step, rank=rank, pool=plain)
                )
            weights = weights_of_pool(folder, module.step.predictor, unlabelled, recipe, write=rank == 0)
            stream = PoolStream.of(unlabelled, recipe, fold, build_views(recipe), parts=parts.step, weights=weights)
        loaders = (
            training_batches(images, recipe, fold, parts=parts.step, rank=rank, pool=stream),
            None if held is None else validation_batches(held, recipe, parts=parts.validation, rank=rank),
        )
        if _fits(trainer, module, loaders, resume=last if last.is_file() else None):
            break
        parts = parts.smaller(recipe, validating=module.validating)
        del module, trainer, loaders
        free_memory()
    if trainer.is_global_zero:
        more = [] if pool is None or watch is None else pool_lines(pool, recipe, module, watch)
        _write_log(folder / "log.txt", recipe, module, training, validation, parts, more)


def _checked(pool: Index | None, recipe: Recipe, start: Path | None) -> Index | None:
    """Return the images to learn from without labels, None where there are none.

    Raises:
        UsageError: the recipe's method is one that learns from labels made beforehand.
        UsageError: objects are to be told apart.
        RecipeError: the method needs a network to start from, or its images can't be shared out.
    """
    if pool is None or not len(pool):
        if pool is not None:
            report("pool", 0, 0, "no images without labels: learning from labels alone")
        return None
    if not learns_online(recipe):
        raise UsageError(
            problem(
                "a method that learns from images without labels while it trains",
                recipe.selftrain.method.kind,
                where="train_fold(…, pool=…)",
                next_move="choose another selftrain.method, or give the images with their pseudo-labels as training",
            )
        )
    if recipe.tells_instances:
        raise UsageError(
            problem(
                "a semantic recipe",
                f"data.task: {recipe.data.task}",
                where="train_fold(…, pool=…)",
                next_move="leave the pool out: what tells objects apart learns from labelled images",
            )
        )
    check_start(recipe, start)
    pool_batch(with_shares(recipe))
    readable = pool.where(pl.col("width").is_not_null())
    if len(readable) < len(pool):
        left_out = len(pool) - len(readable)
        report("pool", len(readable), len(readable), f"{left_out} file(s) of the pool can't be read, and are left out")
    return _checked(readable, recipe, start) if len(readable) == 0 else readable


def build_module(
    recipe: Recipe,
    fold: int,
    parts: Parts = Parts(),  # noqa: B008
    start: Path | None = None,
    *,
    pool: bool = False,
) -> SegmentationModule:
    """Return the Lightning module of a resolved recipe.

    Its network is drawn from the seed and the fold, or starts from the one in the checkpoint `start`. With a pool its
    step is that of the recipe's method, else the supervised one.
    """
    spec, categories = recipe.train, recipe.data.to_categories()
    assert recipe.data.channels is not None and spec.scale is not None
    torch.manual_seed(recipe.seed * 1000 + fold)
    levels = len(recipe.levels) or 1
    network = build_model(recipe.model, in_channels=recipe.data.channels, classes=len(categories), levels=levels)
    started = None if start is None else start_from(network, start, recipe, levels=levels)
    if spec.channels_last:
        network = network.to(memory_format=torch.channels_last)
    if spec.compile:
        network.compile()
    loss = build_levels(recipe.levels, recipe.loss, categories)
    mean_from = None if spec.swa is None else round(spec.swa * (spec.steps or 1))
    average: dict[str, Any] = {"momentum": spec.ema, "mean_from": mean_from}
    step: Any
    if recipe.tells_instances:
        embedding = EmbeddingLoss(recipe.instances.loss)
        how = {"momentum": spec.ema, "every": recipe.instances.partner_every, "compiled": bool(spec.compile)}
        step = EmbeddingStep(network, embedding, loss, seed=recipe.seed * 1000 + fold, **how)  # type: ignore[arg-type]
    else:
        step = build_step(network, loss, recipe, **average) if pool else SupervisedStep(network, loss, **average)
    about = describe(
        recipe.model,
        recipe.data,
        scale=spec.scale,
        precision=str(spec.precision),
        channels_last=bool(spec.channels_last),
        levels=levels,
    )
    if started is not None:
        about["start"] = started.describe()
    return SegmentationModule(step, recipe, categories, about, parts)


def build_trainer(
    folder: Path,
    recipe: Recipe,
    *,
    validates: bool,
    parts: int = 1,
    rank: int = 0,
    watch: PoolWatch | None = None,
) -> L.Trainer:
    """Return the Lightning trainer of a resolved recipe, with the callbacks that write into `folder`.

    Args:
        folder: of the training.
        recipe: resolved.
        validates: there is a validation part.
        parts: batches of the loader that make one step.
        rank: of this process; the first one keeps the curves.
        watch: of what a step learns from a pool.
    """
    spec = recipe.train
    on_cuda = training_device(spec.accelerator).type == "cuda"
    # two keepers: Lightning's `save_last` writes only where the best one was written, too
    kept: dict[str, Any] = {"save_on_train_epoch_end": True, "enable_version_counter": False}
    by_metric: dict[str, Any] = {"monitor": recipe.metric(), "mode": "max", **kept}
    keepers = [_Keeper(folder, filename="best", **by_metric)] if validates else []
    if validates and spec.keep > 1:
        options: dict[str, Any] = {"save_top_k": spec.keep, "auto_insert_metric_name": False}
        keepers.append(_Keeper(folder, filename="top-{step}", **options, **by_metric))
    last = _Keeper(folder, filename="last", **kept)
    thirds = [Thirds(folder)] if recipe.selftrain.keeps_thirds else []
    with _quietly():
        return L.Trainer(
            accelerator="gpu" if on_cuda else "cpu",
            devices=spec.devices,
            strategy="ddp" if spec.devices > 1 else "auto",
            sync_batchnorm=spec.devices > 1 and on_cuda,
            precision=_PRECISION[spec.precision],  # type: ignore[arg-type]
            max_steps=spec.steps or -1,
            max_epochs=-1,
            accumulate_grad_batches=parts,
            num_sanity_val_steps=0,
            callbacks=[
                Curves(folder / "metrics.csv", None if watch is None else watch.row),
                *([] if watch is None else [watch]),
                *thirds,
                *keepers,
                last,
            ],
            logger=(build_loggers(spec.loggers, folder, recipe.model_dump(mode="json")) if rank == 0 else []) or False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
            default_root_dir=folder,
            plugins=[
                _WholeCheckpoints(),
                LightningEnvironment(),
            ],  # a cluster's own would take our processes for its tasks
        )


def _fits(trainer: L.Trainer, module: SegmentationModule, loaders: tuple[Any, Any], *, resume: Path | None) -> bool:
    """Run the loop; return False if the memory ran out. An interruption comes out as one, not as exit code 1."""
    with _quietly():
        try:
            trainer.fit(module, *loaders, None, None if resume is None else str(resume), weights_only=True)
        except torch.OutOfMemoryError:
            return False
        except SystemExit:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            raise KeyboardInterrupt from None
        finally:
            close_loggers(trainer.loggers)
    return True


class _Keeper(ModelCheckpoint):
    """Knows its best checkpoint again also where the run folder was moved since."""

    @property
    def state_key(self) -> str:
        return f"{super().state_key} {self.filename}"

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        old, new = str(state_dict["dirpath"]), str(self.dirpath)

        def moved(value: Any) -> Any:
            if isinstance(value, dict):
                return {moved(key): moved(item) for key, item in value.items()}
            return value.replace(old, new, 1) if isinstance(value, str) and value.startswith(old) else value

        super().load_state_dict(moved(state_dict))


class _WholeCheckpoints(TorchCheckpointIO):
    """Writes a checkpoint whole or not at all, also where the temporary folder is on another disk."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        with atomic(path) as temporary:
            torch.save(checkpoint, temporary)


class _quietly(warnings.catch_warnings):  # noqa: N801
    """Silences Lightning's tips; its errors still come through."""

    def __enter__(self) -> Any:
        entered = super().__enter__()
        os.environ.setdefault("POSSIBLE_USER_WARNINGS", "off")
        warnings.simplefilter("ignore")
        for name in ("lightning.pytorch", "lightning.fabric"):
            logging.getLogger(name).setLevel(logging.ERROR)
        return entered


def _write_log(
    path: Path,
    recipe: Recipe,
    module: SegmentationModule,
    training: Index,
    validation: Index | None,
    parts: Parts,
    more: list[str],
) -> None:
    parameters = sum(p.numel() for p in module.parameters() if p.requires_grad)
    held = 0 if validation is None else len(validation)
    lines = [f"images: {len(training)} to learn from, {held} to validate on", f"trained parameters: {parameters}"]
    if parts.step > recipe.train.accumulate:
        lines.append(f"at the end each step in {parts.step} parts: a whole batch did not fit into the device's memory")
    if started := module.about.get("start"):
        lines.append(f"tensors taken over from {recipe.train.start}: {started['loaded']}")
        lines += [f"starts fresh: {name}" for name in started["fresh"]]
        lines += [f"starts fresh: the channel of {name}" for name in started["new"]]
    lines += more
    lines += class_weight_lines(recipe)
    lines += [f"train.{key}: {value}" for key, value in recipe.train.model_dump(mode="json").items()]
    with atomic(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
