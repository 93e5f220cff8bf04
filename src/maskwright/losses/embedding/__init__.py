"""What embeddings are learned from: terms of single images, and the weighted sum that a recipe names.

A pixel's embedding is near those of its own instance and far from those of others, so that clustering finds the
instances. No term expands instances over pixels: sums are scattered, and pairs are taken in chunks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from maskwright.losses.embedding.consistency import consistency_loss, draw_anchors
from maskwright.losses.embedding.groups import IGNORED, UNLABELLED, Groups
from maskwright.losses.embedding.rotation import draw_degrees, rotate, rotate_back
from maskwright.losses.embedding.terms import (
    gaussian_exponent,
    norm_loss,
    object_loss,
    pull_loss,
    push_loss,
    unlabelled_push_loss,
)
from maskwright.losses.truth import full_precision
from maskwright.recipe.embedding import EmbeddingLossSpec
from maskwright.recipe.margin import margin_at

__all__ = [
    "IGNORED",
    "UNLABELLED",
    "EmbeddingLoss",
    "Groups",
    "TeacherView",
    "consistency_loss",
    "draw_anchors",
    "draw_degrees",
    "gaussian_exponent",
    "norm_loss",
    "object_loss",
    "pull_loss",
    "push_loss",
    "rotate",
    "rotate_back",
    "unlabelled_push_loss",
]


@dataclass(frozen=True)
class TeacherView:
    """What the momentum network says of the images.

    Attributes:
        embeddings: (N, E, H, W), of the same pixels as the student's.
        known: (N, H, W) bool, where they show the image; None: everywhere.
    """

    embeddings: torch.Tensor
    known: torch.Tensor | None = None


@dataclass(frozen=True)
class EmbeddingLoss:
    """The terms of a recipe, each with its weight: call → {name: weighted scalar}, to be summed.

    Every term is taken of each image alone and averaged over all images of the batch; one that finds nothing to learn
    from in an image is 0 there, with a gradient.

    Attributes:
        spec: weights and margins.
    """

    spec: EmbeddingLossSpec

    def __call__(
        self,
        embeddings: torch.Tensor,
        instances: torch.Tensor,
        progress: float = 0.0,
        *,
        teacher: TeacherView | None = None,
        generator: torch.Generator | None = None,
    ) -> dict[str, torch.Tensor]:
        """Return the weighted value of each term whose weight isn't 0.

        Args:
            embeddings: (N, E, H, W).
            instances: (N, H, W) int64: any ids from 1 on, 0 as the spec says, `UNLABELLED` or `IGNORED`.
            progress: of the training, from 0 to 1, by which the margins change.
            teacher: without it there is no consistency term.
            generator: for pixels and anchors; needed with a teacher.

        Raises:
            DataError: the sizes differ.
            MaskwrightError: embeddings that aren't finite.
        """
        found: dict[str, list[torch.Tensor]] = {}
        # unbound at once: the gradient of an image that is indexed is as large as the whole batch
        for number, own in enumerate(full_precision(embeddings).unbind()):
            groups = Groups.of(own, instances[number], zero=self.spec.zero, reach=self.spec.reach)
            for name, (weight, function) in self._terms(progress, generator).items():
                if weight:
                    found.setdefault(name, []).append(weight * function(groups))
            if teacher is not None and self.spec.consistency.weight:
                view = TeacherView(teacher.embeddings[number], None if teacher.known is None else teacher.known[number])
                value = self._consistency(own, instances[number], view, progress, generator)
                found.setdefault("consistency", []).append(value)
        return {name: torch.stack(values).mean() for name, values in found.items()}

    def _terms(
        self, progress: float, generator: torch.Generator | None
    ) -> dict[str, tuple[float, Callable[[Groups], torch.Tensor]]]:
        """Return weight and function of each term of the labels."""
        spec = self.spec
        near, far = margin_at(spec.pull_margin, progress), margin_at(spec.push_margin, progress)
        drawn = {"most_pairs": spec.pairs, "generator": generator}
        return {
            "pull": (spec.pull, lambda groups: pull_loss(groups, near)),
            "push": (spec.push, lambda groups: push_loss(groups, far)),
            "unlabelled_push": (spec.unlabelled_push, lambda groups: unlabelled_push_loss(groups, far, **drawn)),  # type: ignore[arg-type]
            "object": (
                spec.object,
                lambda groups: object_loss(groups, near, threshold=spec.threshold, **drawn),  # type: ignore[arg-type]
            ),
            "norm": (spec.norm, norm_loss),
        }

    def _consistency(
        self,
        embeddings: torch.Tensor,
        instances: torch.Tensor,
        view: TeacherView,
        progress: float,
        generator: torch.Generator | None,
    ) -> torch.Tensor:
        assert generator is not None, "anchors are drawn by a generator"
        spec = self.spec.consistency
        unlabelled = (instances == UNLABELLED) | ((instances == 0) & (self.spec.zero == "unlabelled"))
        seen = (instances > 0 if self.spec.zero == "ignore" else instances >= 0) | unlabelled
        seen = seen if view.known is None else seen & view.known
        return spec.weight * consistency_loss(
            embeddings,
            view.embeddings,
            unlabelled,
            margin_at(self.spec.pull_margin, progress),
            known=seen,
            anchors=spec.anchors,
            least=spec.least,
            threshold=self.spec.threshold,
            generator=generator,
        )
