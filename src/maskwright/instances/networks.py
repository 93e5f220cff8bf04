"""Networks with embeddings over image files: probabilities and objects of each, one image in memory at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from torch import nn

from maskwright.checkpoint import Trained
from maskwright.cluster import anchor_ious
from maskwright.data.tensors import image_tensor
from maskwright.errors import DataError, problem
from maskwright.inference import embed, embed_tiled
from maskwright.instances.features import instance_features
from maskwright.instances.telling import tell_apart
from maskwright.labels import InstanceMap
from maskwright.models import EmbeddingNetwork
from maskwright.panoptic import count_votes
from maskwright.predict.files import Files, read_ahead, reader_of
from maskwright.predict.networks import Networks
from maskwright.recipe.instances import InstancesSpec
from maskwright.recipe.margin import margin_at
from maskwright.recipe.predict import PredictSpec
from maskwright.types import Array, Probabilities


class Told(NamedTuple):
    """What is said of an image.

    Attributes:
        name: of the image.
        size: (H, W) of the image.
        probabilities: (C, h, w), at working size.
        objects: (h, w) ids 1..K.
        features: (K, F) of `instance_features`; None where nobody asked.
    """

    name: str
    size: tuple[int, int]
    probabilities: Probabilities
    objects: InstanceMap
    features: npt.NDArray[np.float64] | None


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
        describe: also work out the objects' features.
        others: the same networks beside their moving average, against which each object's stability is taken; none: it
            isn't.

    Raises:
        DataError: a network without embeddings.
    """

    def __init__(
        self,
        trained: Sequence[Trained],
        predict: PredictSpec,
        spec: InstancesSpec,
        accelerator: str = "auto",
        *,
        describe: bool = False,
        others: Sequence[Trained] = (),
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
        self.describe = describe
        self.others = [one.network.to(self.networks.device) for one in others]

    def stream(self, files: Files, unreadable: list[str] | None = None) -> Iterator[Told]:
        """Yield what is predicted of named image files; `unreadable` as of `predict_files`."""
        read = read_ahead(reader_of(self.networks), files, unreadable)
        for (name, size, image), found in self.networks.stream(((*key, image), image) for key, image in read):
            allowed = self.networks.allowed(found)
            embeddings = self.embeddings(image)
            told = tell_apart(allowed, embeddings, self.things, self.spec, device=self.device, where=name)
            known = self.features(image, allowed, embeddings, told) if self.describe else None
            yield Told(name, size, allowed, told, known)

    def features(
        self, image: Array, probabilities: Probabilities, embeddings: Array, objects: InstanceMap
    ) -> npt.NDArray[np.float64]:
        """Return the (K, F) features of the objects of a prepared image."""
        label = probabilities.argmax(axis=0).astype(np.uint8)
        stability = None
        if self.others:
            other, radius = self.embeddings(image, self.others), self.spec.loss.pull_margin
            stability = anchor_ious(objects, other, margin_at(radius, 1.0), mask=np.isin(label, self.things))
        return instance_features(
            objects,
            image=image,
            embeddings=embeddings,
            probabilities=probabilities,
            categories=count_votes(label, objects).winners(self.things),
            stability=stability,
        )

    def embeddings(self, image: Array, networks: Sequence[nn.Module] | None = None) -> Array:
        """Return the (E, h, w) embeddings of a prepared image, of several networks stacked; None: of all."""
        tensor = image_tensor(image).to(self.networks.device)
        one = partial(embed, pad=self.predict.pad, precision=self.first.precision)
        if max(image.shape[:2]) > self.predict.tile:
            one = partial(embed_tiled, **one.keywords, tile=self.predict.tile, overlap=self.predict.overlap)
        chosen = self.networks.networks if networks is None else networks
        found = [one(network, tensor).embeddings for network in chosen]  # type: ignore[arg-type]
        return np.concatenate(found) / np.float32(math.sqrt(len(found))) if len(found) > 1 else found[0]
