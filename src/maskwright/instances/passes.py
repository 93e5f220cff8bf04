"""What networks say of an image, its probabilities and its embeddings, in no more passes than it takes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch

from maskwright.data.tensors import image_tensor
from maskwright.errors import UsageError, problem
from maskwright.inference import STRIDE, Embedded, embed, embed_tiled, free_memory
from maskwright.predict.networks import Networks
from maskwright.progress import report
from maskwright.recipe.predict import PredictSpec
from maskwright.types import Array, Probabilities

Key = TypeVar("Key")
_SMALLEST = 2 * STRIDE
"""Side of the smallest tiles that are tried where the device has too little memory."""


class Said(NamedTuple):
    """What networks say of an image.

    Attributes:
        probabilities: (C, h, w), the mean of all networks, views and scales.
        embeddings: (E, h, w), of several networks stacked.
        members: (C, h, w) of each network, where they were asked for.
    """

    probabilities: Probabilities
    embeddings: Array
    members: tuple[Probabilities, ...] = ()


class Passes:
    """Networks with embeddings over prepared images.

    The pass of the image as it is gives both its probabilities and its embeddings, and other views follow; unless there
    are other scales, or tiles, whose probabilities are blended and whose embeddings aren't. A device that has too
    little memory for an image gets tiles half as large, and so on.

    Args:
        networks: with embeddings.
        predict: tiles, views, scales.
    """

    def __init__(self, networks: Networks, predict: PredictSpec) -> None:
        self.networks, self.predict, self.tile = networks, predict, predict.tile
        self.views = tuple(view for view in predict.tta if view != "identity")
        self.plain = len(self.views) == len(predict.tta) - 1 and tuple(predict.scales) == (1.0,)

    def probabilities(self, images: Iterator[tuple[Key, Array]]) -> Iterator[tuple[Key, Array, Probabilities | None]]:
        """Yield each prepared image with its probabilities, None where the pass that embeds it gives them, too."""
        if self.plain:
            for key, image in images:
                yield key, image, None
        else:
            for (key, image), found in self.networks.stream((item, item[1]) for item in images):
                yield key, image, found

    def of(self, image: Array, found: Probabilities | None = None, *, members: bool = False) -> Said:
        """Return what is said of a prepared image.

        Args:
            image: (h, w, channels) float32.
            found: its probabilities, as of `probabilities`; None: they aren't known.
            members: also those of each network.
        """
        if self.plain and found is None and max(image.shape[:2]) <= self.predict.tile:
            embeddings, each = self._embedded(image, self.networks.networks)
            each = [
                self._with_views(network, image, one) for network, one in zip(self.networks.networks, each, strict=True)
            ]
            return Said(np.mean(each, axis=0) if len(each) > 1 else each[0], embeddings, tuple(each) if members else ())
        each = [self._alone(image, [one]) for one in self.networks.networks] if members else []
        if found is None:
            found = np.mean(each, axis=0) if each else self._alone(image, self.networks.networks)
        return Said(found, self.embeddings(image), tuple(each))

    def embeddings(self, image: Array, networks: Sequence[torch.nn.Module] | None = None) -> Array:
        """Return the (E, h, w) embeddings of a prepared image, of several networks stacked; None: of all."""
        return self._embedded(image, self.networks.networks if networks is None else networks)[0]

    def _with_views(self, network: torch.nn.Module, image: Array, found: Probabilities) -> Probabilities:
        """Return the mean of what is said of the image as it is and of its other views."""
        if not self.views:
            return found
        stack = image_tensor(image)[None]
        if self.networks.first.channels_last:
            stack = stack.contiguous(memory_format=torch.channels_last)
        how: dict[str, Any] = {"pad": self.predict.pad, "precision": self.networks.first.precision}
        more = self.networks.room.infer([network], stack, self.networks.device, tta=self.views, **how)[0]
        mean: Probabilities = (found + len(self.views) * more) / np.float32(1 + len(self.views))
        return mean

    def _alone(self, image: Array, networks: Sequence[torch.nn.Module]) -> Probabilities:
        ((_, found),) = self.networks.stream([(None, image)], networks)
        return found

    def _embedded(self, image: Array, networks: Sequence[Any]) -> tuple[Array, list[Probabilities]]:
        """Return stacked embeddings, and the probabilities of each network."""
        tensor, root = image_tensor(image).to(self.networks.device), np.float32(math.sqrt(len(networks)))
        whole, likely = np.zeros((0,)), list[Probabilities]()
        for number, network in enumerate(networks):  # never all of them twice
            found = self._pass(network, tensor)
            channels = len(found.embeddings)
            if number == 0:
                size = (channels * len(networks), *found.embeddings.shape[1:])
                whole = np.empty(size, np.float32) if len(networks) > 1 else found.embeddings
            if len(networks) > 1:
                np.divide(found.embeddings, root, out=whole[number * channels : (number + 1) * channels])
            likely.append(found.probabilities)
        return whole, likely

    def _pass(self, network: Any, tensor: torch.Tensor) -> Embedded:
        first, longest = self.networks.first, max(tensor.shape[1:])
        how: dict[str, Any] = {"pad": self.predict.pad, "precision": first.precision}
        how["channels_last"] = first.channels_last
        while True:
            try:
                if longest <= self.tile:
                    return embed(network, tensor, **how)
                return embed_tiled(network, tensor, **how, tile=self.tile, overlap=self.predict.overlap)
            except torch.OutOfMemoryError:
                pass  # what the attempt held is out of reach only here
            self._retreat(min(longest, self.tile))

    def _retreat(self, side: int) -> None:
        """Take tiles half as large, and say so."""
        free_memory()
        if side <= _SMALLEST:
            raise UsageError(
                problem(
                    f"memory for the embeddings of a tile of {side} pixels",
                    "not enough",
                    where=f"the device {self.networks.device}, in prediction",
                    next_move="end what else runs on it, or use the processor: put CUDA_VISIBLE_DEVICES= before the "
                    "command",
                )
            )
        self.tile = max(_SMALLEST, -(-side // (2 * STRIDE)) * STRIDE)
        report("out of memory", self.tile, side, f"objects are now told apart by tiles of {self.tile} pixels")
