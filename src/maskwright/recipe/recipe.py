"""The whole recipe."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from maskwright.recipe.augment import AffineSpec, AugmentSpec, ColourSpec, FlipSpec, ForClassesSpec
from maskwright.recipe.data import AuditSpec, DataSpec, SplitSpec
from maskwright.recipe.executor import ExecutorField, LocalSpec
from maskwright.recipe.instances import InstancesSpec
from maskwright.recipe.loss import CrossEntropySpec, DiceSpec, LevelSpec, LossSpec, left_out_names
from maskwright.recipe.mixing import MixSpec, blends_labels, check_mix, mixed_names
from maskwright.recipe.model import ModelSpec, UNetSpec
from maskwright.recipe.optimise import PlateauSpec
from maskwright.recipe.policies import AutoAugmentSpec
from maskwright.recipe.predict import EvaluateSpec, PostprocessSpec, PredictSpec, ReportSpec
from maskwright.recipe.sampling import SamplingSpec, UniformSpec, sampled_names
from maskwright.recipe.selftrain import PseudoLabelsSpec, SelftrainSpec
from maskwright.recipe.spec import Spec
from maskwright.recipe.suspects import SuspectSpec
from maskwright.recipe.train import TrainSpec


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
    instances: InstancesSpec = InstancesSpec()
    levels: tuple[LevelSpec, ...] = ()
    """Outputs of the network that are supervised, the finest first; empty: the finest alone, by `loss`."""
    augment: tuple[AugmentSpec, ...] = (FlipSpec(), AffineSpec(), ColourSpec())
    mix: tuple[MixSpec, ...] = ()
    """How crops are mixed with crops of other images, after `augment`; in order, each with its own partner."""
    sampling: SamplingSpec = UniformSpec()
    train: TrainSpec = TrainSpec()
    selftrain: SelftrainSpec = SelftrainSpec()
    predict: PredictSpec = PredictSpec()
    postprocess: PostprocessSpec = PostprocessSpec()
    evaluate: EvaluateSpec = EvaluateSpec()
    suspects: SuspectSpec = SuspectSpec()
    report: ReportSpec = ReportSpec()
    executor: ExecutorField = LocalSpec()

    @property
    def _losses(self) -> list[LossSpec]:
        """All terms, of every level."""
        return [*self.loss, *(term for level in self.levels for term in level.loss or ())]

    @model_validator(mode="after")
    def _has_folds_to_compare(self) -> Recipe:
        if self.report.price_of_leaks and self.split.folds < 2:
            raise ValueError("report.price_of_leaks compares out-of-fold scores: it needs split.folds of at least 2")
        if self.report.price_of_leaks and self.train.start:
            raise ValueError("report.price_of_leaks compares trainings from scratch: it needs train.start to be null")
        return self

    @model_validator(mode="after")
    def _has_scores_that_rounds_are_adopted_by(self) -> Recipe:
        if self.selftrain.rounds and self.split.folds < 2:
            raise ValueError(
                "selftrain.rounds: a round is adopted by its out-of-fold score: it needs split.folds of at least 2; "
                "from one labelled image or group `maskwright run --folds 1` learns, without rounds"
            )
        if self.selftrain.rounds and self.report.price_of_leaks:
            raise ValueError("report.price_of_leaks compares supervised trainings: set selftrain.rounds to 0")
        return self

    @model_validator(mode="after")
    def _learns_from_the_labels_that_rounds_make(self) -> Recipe:
        method = self.selftrain.method
        if not isinstance(method, PseudoLabelsSpec) or not self.selftrain.rounds:
            return self
        own = self.loss if method.loss is None else method.loss
        losses = [*own, *(term for level in self.levels for term in level.loss or ())]
        check_mix(self.mix if method.mix is None else method.mix, losses)
        hard = sorted({term.kind for term in losses if term.hard_only})
        if method.labels == "soft" and hard:
            raise ValueError(
                f"selftrain.method.labels: soft ones share a pixel among categories, and one category a pixel is what "
                f"{' and '.join(hard)} can learn from: name other terms in selftrain.method.loss"
            )
        if method.images.kind == "ensemble" and not method.fused_with and self.predict.checkpoint != "topk":
            raise ValueError(
                "selftrain.method.images: ensemble ranks by the agreement of several networks, and one labels: name "
                "other runs in selftrain.method.fused_with, or set predict.checkpoint to topk and train.keep to 3"
            )
        if method.images.kind == "agreement" and self.predict.checkpoint != "last":
            raise ValueError(
                "selftrain.method.images: agreement compares with the end of a training: set predict.checkpoint to last"
            )
        return self

    @model_validator(mode="after")
    def _can_tell_objects_apart(self) -> Recipe:
        if not self.tells_instances:
            return self
        task = f"data.task: {self.data.task}"
        if self.selftrain.rounds:
            self._can_learn_objects_from_a_pool(task)
        if blends_labels(self.mix):
            raise ValueError(f"{task}: a pixel that mixup blends is of two objects: use cutmix, classmix or copy_paste")
        if self.train.swa is not None:
            raise ValueError(f"{task} ships the moving average of train.ema: set train.swa to null")
        if self.report.price_of_leaks:
            raise ValueError(f"report.price_of_leaks compares semantic scores: it is not for {task}")
        if self.model.kind == "python" or self.predict.fusion != "mean":
            raise ValueError(f"{task} needs a model with `embedding`, and predict.fusion: mean")
        if (self.train.steps or self.instances.partner_every) < self.instances.partner_every:
            raise ValueError(
                f"instances.partner_every: after {self.instances.partner_every} steps, and there are "
                f"{self.train.steps}: what is shipped would be the network before the first step"
            )
        if self.instances.workflow != "all":
            self._can_train_teams(task)
        return self

    def _can_train_teams(self, task: str) -> None:
        where, rounds = f"instances.workflow: {self.instances.workflow}", self.selftrain
        if task.endswith("instances"):
            raise ValueError(f"{where} divides several things among networks, and {task} has one: set it to all")
        method = rounds.method
        if rounds.protocol != "mixed" or (isinstance(method, PseudoLabelsSpec) and method.relabels):
            raise ValueError(
                f"{where} has several trainings of a fold in a round, and one step for each: set selftrain.protocol to "
                "mixed, and selftrain.method.images.relabel_rest to false"
            )

    def _can_learn_objects_from_a_pool(self, task: str) -> None:
        method = self.selftrain.method
        if not isinstance(method, PseudoLabelsSpec):
            raise ValueError(
                f"{task} learns from a pool by pseudo_labels: set selftrain.method.kind to that, or data.task to "
                "semantic (of instance maps: --classes binary)"
            )
        if method.labels == "soft" or method.fused_with or method.images.kind == "ensemble":
            raise ValueError(
                f"{task} has no soft labels, and no labels of several runs or networks: set selftrain.method.labels to "
                "hard, leave out fused_with, and rank images by agreement or estimated_iou"
            )
        if blends_labels(method.mix or ()):
            raise ValueError(f"{task}: a pixel that mixup blends is of two objects: take it from selftrain.method.mix")

    @model_validator(mode="after")
    def _chooses_by_scores_that_see_mistakes(self) -> Recipe:
        if self.data.drawn < 1 and self.data.target == "instances":
            chosen = [("predict.checkpoint to last", self.predict.checkpoint != "last")]
            chosen += [("selftrain.adopt to always", self.selftrain.rounds > 0 and self.selftrain.adopt == "gain")]
            chosen += [("train.schedule to cosine", isinstance(self.train.schedule, PlateauSpec))]
            if found := [setting for setting, by_score in chosen if by_score]:
                raise ValueError(
                    "data.drawn: where objects are missing from the maps, a score doesn't see what is found too much, "
                    f"and chooses a network that finds objects everywhere: set {' and '.join(found)}"
                )
        return self

    @model_validator(mode="after")
    def _learns_from_something(self) -> Recipe:
        if not self.loss or any(level.loss == () for level in self.levels):
            raise ValueError("loss: an empty list, from which nothing is learned: name a term")
        if self.levels and not any(level.weight for level in self.levels):
            raise ValueError("levels: all weights are 0, and nothing would be learned: give one a weight")
        return self

    @model_validator(mode="after")
    def _validates_what_it_waits_for(self) -> Recipe:
        if isinstance(self.train.schedule, PlateauSpec) and self.split.folds < 2:
            raise ValueError(
                "train.schedule: a plateau is one of the validation score, and one fold has none: "
                "set split.folds to at least 2, or take another schedule"
            )
        return self

    @model_validator(mode="after")
    def _keeps_the_checkpoints_that_it_averages(self) -> Recipe:
        if self.predict.checkpoint == "topk" and (self.train.keep < 2 or self.split.folds < 2):
            raise ValueError(
                "predict.checkpoint: topk averages the best checkpoints of a fold: "
                "it needs train.keep and split.folds of at least 2"
            )
        return self

    @model_validator(mode="after")
    def _learns_from_what_it_mixes(self) -> Recipe:
        check_mix(self.mix, self._losses)
        return self

    @model_validator(mode="after")
    def _names_categories_that_are_there(self) -> Recipe:
        if self.data.categories is not None:
            known = [category.name for category in self.data.categories]
            places = {
                "mix": mixed_names(self.mix),
                "sampling": sampled_names(self.sampling),
                "leave_out of a loss": left_out_names(self._losses),
            }
            for place, names in places.items():
                for name in names:
                    if name not in known:
                        raise ValueError(f"{place}: no category is called {name!r}; there are {', '.join(known)}")
            things = [category.name for category in self.data.categories if category.isthing]
            if self.tells_instances and (wrong := self.instances.strangers(known, things)) is not None:
                raise ValueError(f"instances.{wrong}")
        return self

    @model_validator(mode="after")
    def _knows_the_categories(self) -> Recipe:
        names = [category.name for category in self.data.categories or ()]
        for spec in self.augment if names else ():
            inner = spec.augment if isinstance(spec, ForClassesSpec) else (spec,)
            if isinstance(spec, ForClassesSpec) and (unknown := sorted(set(spec.classes) - set(names))):
                raise ValueError(f"augment is for classes that there aren't: {', '.join(unknown)}; {_among(names)}")
            for fill in (item.label_fill for item in inner if isinstance(item, AutoAugmentSpec)):
                if isinstance(fill, int) and fill >= len(names):
                    raise ValueError(f"augment: label_fill {fill} is no category's position; {_among(names)}")
        return self

    @property
    def tells_instances(self) -> bool:
        """Whether objects are told apart; of a resolved recipe."""
        return self.data.task in ("instances", "panoptic")

    def metric(self) -> str:
        """Return the metric that choices are made by, of a resolved recipe."""
        if self.train.monitor != "auto":
            return self.train.monitor
        return "mean_dice" if self.data.to_categories().binary else "pooled_miou"

    def adoption_metric(self) -> str:
        """Return the metric that rounds are adopted by, of a resolved recipe."""
        return "pq" if self.tells_instances else self.metric()

    def tuned_metric(self) -> str:
        """Return the metric that post-processing is tuned for, of a resolved recipe."""
        return self.metric() if self.postprocess.metric == "auto" else self.postprocess.metric


def _among(names: list[str]) -> str:
    return "the categories are " + ", ".join(f"{position} {name}" for position, name in enumerate(names))
