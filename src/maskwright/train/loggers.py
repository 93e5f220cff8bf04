"""Curves in the tools that people watch trainings with: TensorBoard, MLflow, Weights & Biases; each by its extra."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger, MLFlowLogger, TensorBoardLogger, WandbLogger

from maskwright.errors import RecipeError, problem

LOGGERS: dict[str, tuple[str, Callable[[Path, str], Logger]]] = {
    "tensorboard": ("tensorboard", lambda folder, name: TensorBoardLogger(folder / "tensorboard", "", name)),
    "mlflow": (
        "mlflow",
        lambda folder, name: MLFlowLogger(
            "maskwright",
            name,
            os.environ.get("MLFLOW_TRACKING_URI", f"sqlite:///{(folder / 'mlflow.db').resolve()}"),
        ),
    ),
    "wandb": (
        "wandb",
        lambda folder, name: WandbLogger(
            name, folder, offline=os.environ.get("WANDB_MODE", "offline") == "offline", project="maskwright"
        ),
    ),
}
"""Recipe name → (package, logger of a run folder and a training's name). Nothing leaves the machine unless the tool's
own environment variable says where to."""


def build_loggers(names: Sequence[str], folder: Path, settings: dict[str, Any]) -> list[Logger]:
    """Return the loggers of one training.

    Args:
        names: entries of `LOGGERS`.
        folder: of the training, RUN/round-R/fold-K.
        settings: the recipe as plain data, noted as hyperparameters.

    Raises:
        RecipeError: the tool isn't installed.
    """
    loggers = []
    for name in names:
        package, build = LOGGERS[name]
        if importlib.util.find_spec(package) is None:
            raise RecipeError(
                problem(
                    f"the package {package}",
                    "it isn't installed",
                    where="train.loggers",
                    next_move=f"pip install 'maskwright[{name}]', or leave {name} out",
                )
            )
        run = folder.parents[1]
        logger = build(run, f"{run.name}-{folder.parent.name}-{folder.name}")
        logger.log_hyperparams(settings)
        loggers.append(logger)
    return loggers


def close_loggers(loggers: Sequence[Logger]) -> None:
    """End the runs: Weights & Biases would take the next training for the same one."""
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            logger.experiment.finish()


def log_row(loggers: Sequence[Logger], row: dict[str, Any]) -> None:
    """Send a row of the curves to every logger."""
    values = {name: float(value) for name, value in row.items() if value is not None and name != "step"}
    for logger in loggers:
        logger.log_metrics(values, step=row["step"])
        logger.save()
