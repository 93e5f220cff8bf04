"""Networks of one recipe over images: prepared in its way, predicted at its size, without what it never predicts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import nn

from maskwright.checkpoint import Trained
from maskwright.data.intensity import standardise, to_working
from maskwright.errors import UsageError, problem
from maskwright.inference import Room, infer_stream, pick_device
from maskwright.passes import Key, without
from maskwright.predict.files import need_of, never_predicted
from maskwright.recipe.predict import PredictSpec
from maskwright.types import Array, Probabilities


class Networks:
    """Networks that are averaged, on the device that predicts.

    Args:
        trained: of one recipe.
        spec: tiles, views, scales, categories that are never predicted.
        accelerator: as of the recipe.

    Raises:
        RecipeError: `never` names what is no category.
        UsageError: the device has no memory for the networks.

    Attributes:
        device: where they are.
        networks: in evaluation mode.
        need: how much memory images take.
        room: how many images go at a time.
    """

    def __init__(self, trained: Sequence[Trained], spec: PredictSpec, accelerator: str = "auto") -> None:
        self.first, self.spec, self.room = trained[0], spec, Room()
        self.never, self.need = never_predicted(self.first.categories, spec), need_of(self.first, spec)
        self.device = pick_device(accelerator)
        try:
            self.networks: list[nn.Module] = [one.network.to(self.device) for one in trained]
        except torch.OutOfMemoryError:
            raise UsageError(
                problem(
                    f"memory for {len(trained)} network(s)",
                    "not enough",
                    where=f"the device {self.device}",
                    next_move="end what else runs on it, or use the processor: put CUDA_VISIBLE_DEVICES= before the "
                    "command",
                )
            ) from None

    def prepare(self, image: Array) -> Array:
        """Return an image as it was read as the networks see it: (h, w, C) float32, standardised, at working size."""
        return standardise(to_working(image, self.first.intensity, self.first.scale), self.first.intensity)

    def stream(
        self, images: Iterable[tuple[Key, Array]], networks: Sequence[nn.Module] | None = None
    ) -> Iterator[tuple[Key, Probabilities]]:
        """Yield (key, (K, h, w) probabilities at working size) for prepared images.

        Args:
            images: neighbours of one size go together.
            networks: some of them; None: all.
        """
        yield from infer_stream(
            self.networks if networks is None else networks,
            images,
            device=self.device,
            **self.spec.way(),
            precision=self.first.precision,
            channels_last=self.first.channels_last,
            room=self.room,
        )

    def allowed(self, probabilities: Probabilities) -> Probabilities:
        """Return probabilities without the categories that are never predicted."""
        return without(probabilities, self.never)

    def probabilities(self, image: Array) -> Probabilities:
        """Return the (K, h, w) probabilities of an image as it was read, at working size."""
        ((_, found),) = self.stream([(None, self.prepare(image))])
        return self.allowed(found)
