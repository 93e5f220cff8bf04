"""The step that learns logits and embeddings: from labels, from instances, and from a momentum network's view."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from maskwright.errors import DataError, problem
from maskwright.losses import LevelsLoss, thin_out
from maskwright.losses.embedding import UNLABELLED, EmbeddingLoss, TeacherView, draw_degrees, rotate, rotate_back
from maskwright.models import EmbeddingNetwork
from maskwright.train.batch import Batch
from maskwright.train.steps import TrainedOn
from maskwright.train.targets import INSTANCES
from maskwright.train.teacher import Teacher


class EmbeddingStep(nn.Module):
    """Learning to tell instances, and the categories of pixels, by one network.

    Args:
        network: an `EmbeddingNetwork`.
        embedding: the loss of the embeddings.
        loss: of the logits; None: they aren't learned, and the batch's labels aren't looked at.
        momentum: of the moving average, whose view of turned images gives the consistency; it is what is shipped.
        every: updates after which the average moves, and stays frozen until then; with a momentum of 0 it is a copy of
            the network of that time.
        compiled: the network's pass is compiled by torch.
        seed: of the generator of angles, anchors and pixels. What is drawn depends on it and on the calls so far.
    """

    def __init__(
        self,
        network: nn.Module,
        embedding: EmbeddingLoss,
        loss: LevelsLoss | None,
        *,
        momentum: float = 0.999,
        every: int = 1,
        seed: int = 0,
        compiled: bool = False,
    ) -> None:
        super().__init__()
        assert isinstance(network, EmbeddingNetwork), "a network with embeddings"
        self.network, self.embedding, self.loss, self.seed = network, embedding, loss, seed
        self.both = torch.compile(network.both) if compiled else network.both
        self.average = Teacher(network, momentum, ramp="shipping")
        self.every, self.calls, self.updates, self.trained_on = every, 0, 0, TrainedOn()

    def losses(self, batch: Batch, progress: float) -> dict[str, torch.Tensor]:
        """Return the terms of the logits, and those of the embeddings as embedding_NAME."""
        if INSTANCES not in batch.targets:
            raise DataError(
                problem(
                    "instances for each image",
                    "a batch without",
                    where="training of embeddings",
                    next_move="give images without any a map of zeros",
                )
            )
        logits, embeddings = self.both(batch.images)
        terms: dict[str, torch.Tensor] = {}
        if self.loss is not None:
            outputs = logits if isinstance(logits, list) else [logits]
            self.trained_on.add(outputs[0], batch.labels)
            terms |= self.loss(outputs, batch.labels, batch.targets, progress, batch.counts)
        generator = torch.Generator().manual_seed(self.seed + 1_000_003 * self.calls)
        self.calls += 1
        found = self.embedding(
            embeddings,
            thin_out(batch.targets[INSTANCES], embeddings),
            progress,
            teacher=self._teacher(batch, embeddings, generator),
            generator=generator,
        )
        return terms | {f"embedding_{name}": value for name, value in found.items()}

    @torch.no_grad()
    def _teacher(self, batch: Batch, embeddings: torch.Tensor, generator: torch.Generator) -> TeacherView | None:
        """Return what the moving average says of the turned images, turned back; None if nobody asks."""
        spec, images = self.embedding.spec, batch.images
        asked = spec.zero == "unlabelled" or bool((batch.targets[INSTANCES] == UNLABELLED).any())
        if spec.consistency.weight == 0 or not asked:
            return None
        degrees = draw_degrees(len(images), spec.consistency.rotation, generator)
        _, turned = self.average.network.both(rotate(images, degrees))  # type: ignore[operator]
        back, known = rotate_back(turned, degrees)
        return TeacherView(thin_out(back, embeddings), thin_out(known, embeddings))

    def after_update(self) -> None:
        """Move the average, if it is time."""
        self.updates += 1
        if self.updates % self.every == 0:
            self.average.update(self.network)

    @property
    def predictor(self) -> nn.Module:
        """The moving average."""
        return self.average.network

    def get_extra_state(self) -> dict[str, Any]:
        """Return how far it has come, so that a resumed training draws on."""
        return {"calls": self.calls, "updates": self.updates}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Take what `get_extra_state` returned."""
        self.calls, self.updates = int(state["calls"]), int(state["updates"])
