"""Networks with embeddings over image files: probabilities and objects of each, one image in memory at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np

from maskwright.checkpoint import Trained
from maskwright.data.tensors import image_tensor
from maskwright.errors import DataError, problem
from maskwright.inference import embed, embed_tiled
from maskwright.instances.telling import tell_apart
from maskwright.labels import InstanceMap
from maskwright.models import EmbeddingNetwork
from maskwright.predict.files import Files, read_ahead, reader_of
from maskwright.predict.networks import Networks
from maskwright.recipe.instances import InstancesSpec
from maskwright.recipe.predict import PredictSpec
from maskwright.types import Array, Probabilities

Told = Iterator[tuple[str, tuple[int, int], Probabilities, InstanceMap]]
"""(name, (H, W) of the image, (C, h, w) probabilities, (h, w) objects) one by one."""


class ObjectNetworks:
    """Networks of one recipe that tell objects apart.

    Probabilities are averaged over networks, views and scales as ever. Embeddings of several networks are stacked, each
    divided by the square root of their number: a distance is then the root mean square of theirs, and the margins mean
    what they mean for one. They are of the image as it is, without views and other scales.

    Args:
        trained: the networks.
        predict: tiles, views, scales.
        spec: how objects are clustered.
        accelerator: as of the recipe.

    Raises:
        DataError: a network without embeddings.
    """

    def __init__(
        self, trained: Sequence[Trained], predict: PredictSpec, spec: InstancesSpec, accelerator: str = "auto"
    ) -> None:
        self.predict, self.spec, self.first = predict, spec, trained[0]
        for one in trained:
            if not isinstance(one.network, EmbeddingNetwork):
                raise DataError(
                    problem(
                        "networks with embeddings",
                        "one without",
                        where=str(one.path),
                        next_move="train with --task instances or --task panoptic",
                    )
                )
        self.networks = Networks(trained, predict, accelerator)
        self.things = self.first.categories.things
        self.device = None if self.networks.device.type == "cpu" else str(self.networks.device)

    def stream(self, files: Files, unreadable: list[str] | None = None) -> Told:
        """Yield what is predicted of named image files; `unreadable` as of `predict_files`."""
        read = read_ahead(reader_of(self.networks), files, unreadable)
        for (name, size, image), found in self.networks.stream(((*key, image), image) for key, image in read):
            allowed = self.networks.allowed(found)
            told = tell_apart(allowed, self.embeddings(image), self.things, self.spec, device=self.device, where=name)
            yield name, size, allowed, told

    def embeddings(self, image: Array) -> Array:
        """Return the (E, h, w) embeddings of a prepared image, of several networks stacked."""
        tensor = image_tensor(image).to(self.networks.device)
        one = partial(embed, pad=self.predict.pad, precision=self.first.precision)
        if max(image.shape[:2]) > self.predict.tile:
            one = partial(embed_tiled, **one.keywords, tile=self.predict.tile, overlap=self.predict.overlap)
        found = [one(network, tensor).embeddings for network in self.networks.networks]  # type: ignore[arg-type]
        return np.concatenate(found) / np.float32(math.sqrt(len(found))) if len(found) > 1 else found[0]
