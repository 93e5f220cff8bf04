"""Strong views learn what a weak view of the same image is labelled as: FixMatch, UniMatch, mean teacher and kin."""

from __future__ import annotations

from functools import partial

import torch
from torch import nn

from maskwright.errors import RecipeError, problem
from maskwright.losses import LevelsLoss, thin_out
from maskwright.recipe import Recipe
from maskwright.recipe.unlabelled import ConsistencySpec, TeacherSpec
from maskwright.train.batch import Batch, PoolBatch
from maskwright.train.teacher import Teacher, first_logits
from maskwright.train.unlabelled.agreement import Guess, disagreement, hard_labels, known_guess
from maskwright.train.unlabelled.alignment import Alignment
from maskwright.train.unlabelled.kept import KeptLabels
from maskwright.train.unlabelled.masks import block_masks, box_masks, half_of_categories
from maskwright.train.unlabelled.norm import PoolStep
from maskwright.train.unlabelled.peaks import Peaks
from maskwright.train.unlabelled.perturb import (
    complementary_dropout,
    encoder_of,
    features_changed,
    half_of,
    with_dropped,
)


class ConsistencyStep(PoolStep):
    """Learning from labelled crops and from strong views of others, whose labels come from a weak view.

    What a step costs, in images through the network, for N labelled crops and M images without labels: N and S · M
    forward and backward for labels and S strong views; M forward for the weak view (the teacher's, or the network's own
    in evaluation mode). With dropped features M weak views go forward and backward together with the labelled crops,
    through the decoder twice; where the network itself is the teacher, its labels are those of this pass, as in
    UniMatch, and cost nothing more. Mirror images cost M forward, a masked view M forward and backward.
    `ConsistencySpec.passes` has the sums.

    CutMix takes the box of image i from image i − 1 of the batch, the first one from the last; where a batch, or a part
    of a step (`train.accumulate`), has one image, from that of the batch before, so that only the first of an epoch has
    none. Means over pixels are those of all processes, but those of the single parts of a step.

    Args:
        network: images → logits.
        loss: of the labelled crops.
        recipe: resolved.
        spec: the method's.
        momentum: of the moving average that is shipped.
        mean_from: see `SupervisedStep`.
    """

    def __init__(
        self,
        network: nn.Module,
        loss: LevelsLoss,
        recipe: Recipe,
        spec: ConsistencySpec,
        *,
        momentum: float,
        mean_from: int | None = None,
    ) -> None:
        super().__init__(network, loss, momentum=momentum, mean_from=mean_from)
        self.spec = spec
        self.teacher = None if spec.teacher is None else _teacher(network, spec.teacher, recipe)
        names = recipe.data.to_categories().names
        self.alignment = Alignment(len(names), spec.align) if spec.align else None
        self.peaks = None if spec.adaptive is None else Peaks(len(names), spec.adaptive)
        self.kept = KeptLabels(names, spec, {} if self.peaks is None else {"threshold_": self.peaks.thresholds})
        self._before: dict[int, tuple[torch.Tensor, Guess]] = {}
        self.frozen = spec.freeze_norm is True
        self.train()
        if spec.changes_features:
            check_features(network, recipe)

    def losses(self, batch: Batch, progress: float) -> dict[str, torch.Tensor]:
        """Return the terms of the labelled crops, none where their share is 0, and those of the others: `strong`,
        `features` and `masked`.
        """
        if batch.pool is None:
            return super().losses(batch, progress)
        spec, pool = self.spec, batch.pool
        labelled, own, dropped = self._first_passes(batch.images, pool.clean[:, 0])
        terms = {} if spec.labelled_share == 0 else self._labelled(labelled, batch, progress)
        terms = {name: spec.labelled_weight * value for name, value in terms.items()}
        guess = self._guess(own, labelled[0], batch)
        weight = self.kept.trust * (spec.weight * (1.0 if spec.ramp is None else spec.ramp.at(progress)))
        terms["strong"] = weight * spec.strong_weight * self._strong(pool, guess, batch)
        if dropped is not None:
            terms["features"] = weight * spec.feature_weight * self._term(dropped, guess)
        if spec.masked is not None:
            terms["masked"] = weight * spec.masked.weight * self._masked(pool, guess)
        return terms

    def after_update(self) -> None:
        """Move the average and the teacher."""
        super().after_update()
        if self.teacher is not None:
            self.teacher.update(self.network)

    def forget(self) -> None:
        """Forget the batch before: an epoch begins, and one that goes on from a checkpoint knows of none."""
        self._before = {}

    def _first_passes(
        self, images: torch.Tensor, weak: torch.Tensor
    ) -> tuple[list[torch.Tensor], torch.Tensor, torch.Tensor | None]:
        """Return all outputs of the labelled crops, the weak view's probabilities, its logits with features dropped."""
        told = None
        if not (self.spec.feature_weight and self.teacher is None and not self.spec.mirrored):
            told = self._told(weak)  # first: the next pass moves batch norm
        if not self.spec.feature_weight:
            assert told is not None
            return self._outputs(images), told, None
        count, more = len(images), len(weak)
        with features_changed(self.network, partial(with_dropped, last=more, share=self.spec.feature_drop)):
            outputs = self._outputs(torch.cat([images, weak]))
        own = outputs[0][count : count + more].detach().float().softmax(1) if told is None else told
        return [one[:count] for one in outputs], own, outputs[0][count + more :]

    def _told(self, images: torch.Tensor) -> torch.Tensor:
        """Return the probabilities of who labels: of the images, or the mean of theirs and their mirror images'."""
        labels = self._own_labels if self.teacher is None else self.teacher
        return (labels(images) + labels(images.flip(-1)).flip(-1)) / 2 if self.spec.mirrored else labels(images)

    @torch.no_grad()
    def _own_labels(self, images: torch.Tensor) -> torch.Tensor:
        """Return the network's own probabilities, in evaluation mode."""
        self.network.eval()
        try:
            return first_logits(self.network(images)).float().softmax(1)
        finally:
            self.train()
            torch.clear_autocast_cache()  # weights that were cast here have no graph

    def _guess(self, probabilities: torch.Tensor, like: torch.Tensor, batch: Batch) -> Guess:
        """Return the labels of the weak view at the size of the logits `like`, and count them."""
        assert batch.pool is not None
        spec, valid = self.spec, thin_out(batch.pool.valid[:, 0], like)
        probabilities = thin_out(probabilities, like)
        if self.alignment is not None:
            probabilities = self.alignment(probabilities, valid, hard_labels(batch.labels))
        threshold: float | torch.Tensor = spec.threshold
        if self.peaks is not None:
            self.peaks.update(probabilities, valid)
            threshold = self.peaks.thresholds()
        guess, confidence, kept = Guess.of(probabilities, valid, threshold=threshold, weighting=spec.weighting)
        self.kept.add(guess.labels, kept, confidence, batch.labels)
        return guess if spec.loss in ("soft", "mse") else guess._replace(probabilities=None)

    def _strong(self, pool: PoolBatch, guess: Guess, batch: Batch) -> torch.Tensor:
        """Return the mean term of the strong views, each mixed on its own."""
        views = pool.noisy.shape[1]
        mixed = [self._mixed(pool, view, guess, batch) for view in range(views)]
        images = torch.cat([one for one, _ in mixed])
        if self.spec.complementary:
            whole = half_of(len(pool.noisy), pool.noisy.device)
            with features_changed(self.network, partial(complementary_dropout, whole=whole)):
                logits = self._outputs(images)[0]
        else:
            logits = self._outputs(images)[0]
        found = [self._term(own, told) for own, (_, told) in zip(logits.chunk(views), mixed, strict=True)]
        return torch.stack(found).mean()

    def _mixed(self, pool: PoolBatch, view: int, guess: Guess, batch: Batch) -> tuple[torch.Tensor, Guess]:
        """Return a strong view and what is said of it, with what the method cuts out and pastes in."""
        images, size = pool.noisy[:, view], (pool.noisy.shape[3], pool.noisy.shape[4])
        if "cutout" in pool.drawn:
            guess = guess.without(thin_out(box_masks(pool.drawn["cutout"][:, view], size), guess.labels))
        if "boxes" in pool.drawn:
            mask = box_masks(pool.drawn["boxes"][:, view], size)
            others, other = self._others(view, images, guess)
        elif "order" in pool.drawn:
            turn = torch.arange(len(images), device=images.device) % len(batch.images)
            labels, others = hard_labels(batch.labels)[turn], batch.images[turn]
            mask = half_of_categories(labels, pool.drawn["order"])
            categories = None if guess.probabilities is None else guess.probabilities.shape[1]
            other = known_guess(thin_out(labels, guess.labels), categories)
        else:
            return images, guess
        return torch.where(mask[:, None], others, images), guess.pasted(thin_out(mask, guess.labels), other)

    def _others(self, view: int, images: torch.Tensor, guess: Guess) -> tuple[torch.Tensor, Guess]:
        """Return what boxes are taken from: the images and guess moved on by one, or those of the batch before."""
        if len(images) > 1:
            return images.roll(1, 0), guess.rolled()
        before = self._before.get(view, (images, guess))
        self._before[view] = (images, guess)
        return before

    def _masked(self, pool: PoolBatch, guess: Guess) -> torch.Tensor:
        """Return the term of a view with hidden blocks, which show the mean colour."""
        assert self.spec.masked is not None
        images, block = pool.noisy[:, 0], self.spec.masked.block
        hidden = block_masks(pool.drawn["masked"], block, (images.shape[2], images.shape[3]))
        if "cutout" in pool.drawn:
            cut = box_masks(pool.drawn["cutout"][:, 0], (images.shape[2], images.shape[3]))
            guess = guess.without(thin_out(cut, guess.labels))
        return self._term(self._outputs(torch.where(hidden[:, None], 0.0, images))[0], guess)

    def _term(self, logits: torch.Tensor, guess: Guess) -> torch.Tensor:
        return disagreement(logits, guess, loss=self.spec.loss, denominator=self.spec.denominator)


def _teacher(network: nn.Module, spec: TeacherSpec, recipe: Recipe) -> Teacher:
    assert recipe.train.steps is not None
    return Teacher(network, spec.momentum, ramp=spec.ramp_of(recipe.train.steps), every=spec.every)


def check_features(network: nn.Module, recipe: Recipe) -> None:
    """Raise RecipeError if the features of a recipe's network can't be changed on their way to its decoder."""
    encoder_of(network)
    if recipe.train.compile:
        raise RecipeError(
            problem(
                "a network that isn't compiled, whose features can be changed on their way",
                "train.compile: true",
                where="selftrain.method: feature_weight, complementary",
                next_move="set train.compile to false, or feature_weight to 0 and complementary to false",
            )
        )
