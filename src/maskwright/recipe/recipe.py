"""The whole recipe."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from maskwright.recipe.augment import AffineSpec, AugmentSpec, ColourSpec, FlipSpec
from maskwright.recipe.data import AuditSpec, DataSpec, SplitSpec
from maskwright.recipe.loss import CrossEntropySpec, DiceSpec, LevelSpec, LossSpec
from maskwright.recipe.model import ModelSpec, UNetSpec
from maskwright.recipe.predict import EvaluateSpec, PostprocessSpec, PredictSpec, ReportSpec
from maskwright.recipe.spec import Spec
from maskwright.recipe.suspects import SuspectSpec
from maskwright.recipe.train import TrainSpec


class ExecutorSpec(Spec):
    """Where tasks run."""

    kind: Literal["local"] = "local"
    """local: processes on this machine."""
    jobs: int = Field(1, ge=1)
    """Tasks at a time; 1 runs them in this process."""


class Recipe(Spec):
    """Everything a run does, in the order in which it does it."""

    version: Literal[1] = 1
    """Version of the recipe's own form."""
    seed: int = Field(0, ge=0)
    """Seed of every generator."""
    data: DataSpec
    audit: AuditSpec = AuditSpec()
    split: SplitSpec = SplitSpec()
    model: ModelSpec = UNetSpec()
    loss: tuple[LossSpec, ...] = (CrossEntropySpec(), DiceSpec())
    levels: tuple[LevelSpec, ...] = ()
    """Outputs of the network that are supervised, the finest first; empty: the finest alone, by `loss`."""
    augment: tuple[AugmentSpec, ...] = (FlipSpec(), AffineSpec(), ColourSpec())
    train: TrainSpec = TrainSpec()
    predict: PredictSpec = PredictSpec()
    postprocess: PostprocessSpec = PostprocessSpec()
    evaluate: EvaluateSpec = EvaluateSpec()
    suspects: SuspectSpec = SuspectSpec()
    report: ReportSpec = ReportSpec()
    executor: ExecutorSpec = ExecutorSpec()

    @model_validator(mode="after")
    def _has_folds_to_compare(self) -> Recipe:
        if self.report.price_of_leaks and self.split.folds < 2:
            raise ValueError("report.price_of_leaks compares out-of-fold scores: it needs split.folds of at least 2")
        if self.report.price_of_leaks and self.train.start:
            raise ValueError("report.price_of_leaks compares trainings from scratch: it needs train.start to be null")
        return self

    def metric(self) -> str:
        """Return the metric that choices are made by, of a resolved recipe."""
        if self.train.monitor != "auto":
            return self.train.monitor
        return "mean_dice" if self.data.to_categories().binary else "pooled_miou"
