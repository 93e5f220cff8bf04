"""Networks with embeddings over image files: probabilities and objects of each, one image in memory at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from maskwright.checkpoint import Trained
from maskwright.cluster import anchor_ious
from maskwright.errors import DataError, problem
from maskwright.instances.features import instance_features
from maskwright.instances.passes import Passes, Said
from maskwright.instances.telling import tell_apart
from maskwright.labels import InstanceMap
from maskwright.models import EmbeddingNetwork
from maskwright.panoptic import count_votes
from maskwright.predict.files import Files, read_ahead, reader_of
from maskwright.predict.networks import Networks
from maskwright.recipe.instances import InstancesSpec
from maskwright.recipe.margin import margin_at
from maskwright.recipe.predict import PredictSpec
from maskwright.types import Array, LabelMap, Probabilities

Guide = Callable[[str, tuple[int, int]], LabelMap]
"""From the name of an image and a size (h, w) to a label of that size."""


class Told(NamedTuple):
    """What is said of an image.

    Attributes:
        name: of the image.
        size: (H, W) of the image.
        probabilities: (C, h, w), at working size.
        objects: (h, w) ids 1..K.
        features: (K, F) of `instance_features`; None where nobody asked.
        members: (C, h, w) probabilities of each network, where they were asked for.
    """

    name: str
    size: tuple[int, int]
    probabilities: Probabilities
    objects: InstanceMap
    features: npt.NDArray[np.float64] | None
    members: tuple[Probabilities, ...] = ()


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
        guide: returns what objects are clustered inside of, for an image's name and the size that networks work at;
            None: the most probable category of each pixel.

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
        guide: Guide | None = None,
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
        channels = sum(getattr(one.network, "embedding_channels", 0) for one in trained)
        self.networks.need = replace(self.networks.need, embeddings=channels)
        self.passes = Passes(self.networks, predict)
        self.things = self.first.categories.things
        self.device = None if self.networks.device.type == "cpu" else str(self.networks.device)
        self.describe, self.guide = describe, guide
        self.others = [one.network.to(self.networks.device) for one in others]

    def stream(self, files: Files, unreadable: list[str] | None = None, *, members: bool = False) -> Iterator[Told]:
        """Yield what is predicted of named image files.

        Args:
            files: (name, path).
            unreadable: as of `predict_files`; images whose objects can't be told apart are among them.
            members: also the probabilities of each network.
        """
        read = read_ahead(reader_of(self.networks), files, unreadable)
        for (name, size), image, found in self.passes.probabilities(read):
            try:
                told = self._told(name, size, image, self.passes.of(image, found, members=members))
            except (DataError, MemoryError) as error:
                if unreadable is None:
                    raise
                unreadable.append(f"{name}: {error.got if isinstance(error, DataError) else 'too little memory'}")
                continue
            yield told

    def _told(self, name: str, size: tuple[int, int], image: Array, said: Said) -> Told:
        allowed, embeddings = self.networks.allowed(said.probabilities), said.embeddings
        label: LabelMap = allowed.argmax(axis=0).astype(np.uint8)
        if self.guide is not None:
            label = self.guide(name, (label.shape[0], label.shape[1]))
        objects = tell_apart(allowed, embeddings, self.things, self.spec, guide=label, device=self.device, where=name)
        known = self.features(image, label, allowed, embeddings, objects) if self.describe else None
        return Told(name, size, allowed, objects, known, tuple(map(self.networks.allowed, said.members)))

    def features(
        self, image: Array, label: LabelMap, probabilities: Probabilities, embeddings: Array, objects: InstanceMap
    ) -> npt.NDArray[np.float64]:
        """Return the (K, F) features of the objects of a prepared image, clustered inside of a label."""
        stability = None
        if self.others:
            other, radius = self.passes.embeddings(image, self.others), self.spec.loss.pull_margin
            stability = anchor_ious(objects, other, margin_at(radius, 1.0), mask=np.isin(label, self.things))
        return instance_features(
            objects,
            image=image,
            embeddings=embeddings,
            probabilities=probabilities,
            categories=count_votes(label, objects).winners(self.things),
            stability=stability,
        )
