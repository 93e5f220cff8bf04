"""Networks with embeddings over image files: probabilities and objects of each, one image in memory at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from maskwright.checkpoint import Trained
from maskwright.cluster import anchor_ious
from maskwright.errors import DataError, problem
from maskwright.instances.features import instance_features
from maskwright.instances.passes import Passes, Said
from maskwright.instances.store import thinned_out
from maskwright.instances.telling import tell_apart
from maskwright.labels import InstanceMap, components
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
        seen: (E, h', w') float16 embeddings of every so many pixels, to be looked at; None where nobody asked.
    """

    name: str
    size: tuple[int, int]
    probabilities: Probabilities
    objects: InstanceMap
    features: npt.NDArray[np.float64] | None
    members: tuple[Probabilities, ...] = ()
    seen: Array | None = None


class TeamOfNetworks(NamedTuple):
    """Networks that tell the same things apart.

    Attributes:
        things: their positions.
        members: which of all networks these are.
    """

    things: tuple[int, ...]
    members: tuple[int, ...]

    def part_of(self, embeddings: Array, count: int) -> Array:
        """Return these networks' part of the stacked embeddings (E, h, w) of `count` networks, as if of them alone."""
        if len(self.members) == count:
            return embeddings
        channels = len(embeddings) // count
        parts = [embeddings[number * channels : (number + 1) * channels] for number in self.members]
        found: Array = np.concatenate(parts) * np.float32(math.sqrt(count / len(self.members)))
        return found


def teams_of(asked: Sequence[Sequence[int]]) -> list[TeamOfNetworks]:
    """Return the teams of networks of which each is asked for some things, in the order of their first members."""
    members = dict[tuple[int, ...], list[int]]()
    for number, things in enumerate(asked):
        members.setdefault(tuple(things), []).append(number)
    return [TeamOfNetworks(things, tuple(own)) for things, own in members.items()]


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
        shown: names of the images whose embeddings are kept, thinned out.
        asked: of each network the positions of the things that it tells apart, no two of which overlap but where they
            are the same; None: all tell all things apart.

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
        shown: Collection[str] = (),
        asked: Sequence[Sequence[int]] | None = None,
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
        categories = self.first.categories
        self.things = [t for t in categories.things if spec.only is None or categories.names[t] in spec.only]
        self.teams = teams_of([self.things] * len(trained) if asked is None else asked)
        self.device = None if self.networks.device.type == "cpu" else str(self.networks.device)
        self.describe, self.guide, self.shown = describe, guide, frozenset(shown)
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
        others = self.passes.embeddings(image, self.others) if self.others and self.describe else None
        objects, known = np.zeros(label.shape, np.int32), list[npt.NDArray[np.float64]]()
        for team in self.teams:
            mine = team.part_of(embeddings, len(self.networks.networks))
            how = {"guide": label, "device": self.device, "where": name}
            own = tell_apart(allowed, mine, team.things, self.spec, **how)  # type: ignore[arg-type]
            if self.describe:
                other = None if others is None else team.part_of(others, len(self.others))
                known.append(self.features(image, label, allowed, mine, own, other, team.things))
            objects = np.where(own > 0, own + objects.max(initial=0), objects)
        members = tuple(map(self.networks.allowed, said.members))
        seen = thinned_out(self._seen(embeddings, label)) if name in self.shown else None
        features = np.concatenate(known) if self.describe else None
        return Told(name, size, allowed, objects, features, members, seen)

    def _seen(self, embeddings: Array, label: LabelMap) -> Array:
        """Return one embedding of each pixel, that of the networks which tell its thing apart, else of the first ones.

        Where some have more channels than others, those of the first networks are shown alone.
        """
        count = len(self.networks.networks)
        found = self.teams[0].part_of(embeddings, count)
        for team in self.teams[1:]:
            own = team.part_of(embeddings, count)
            if len(own) == len(found):
                found = np.where(np.isin(label, team.things), own, found)
        return found

    def features(
        self,
        image: Array,
        label: LabelMap,
        probabilities: Probabilities,
        embeddings: Array,
        objects: InstanceMap,
        other: Array | None = None,
        things: Sequence[int] | None = None,
    ) -> npt.NDArray[np.float64]:
        """Return the (K, F) features of objects of a prepared image, clustered inside of a label.

        Args:
            image: (h, w, channels) float32.
            label: (h, w) uint8 positions.
            probabilities: (C, h, w).
            embeddings: (E, h, w) that the objects were clustered by.
            objects: (h, w) ids 1..K.
            other: (E, h, w) of the same networks beside their moving average; None: stability isn't worked out.
            things: positions of those that the networks tell apart, whose pixels alone count for the stability: to
                them others are stuff. None: all.
        """
        stability = None
        if other is not None:
            radius = self.spec.loss.pull_margin
            mask = np.isin(label, self.things if things is None else things)
            regions = components(mask)[0] if self.spec.apart else None  # distant objects may share an embedding
            stability = anchor_ious(objects, other, margin_at(radius, 1.0), mask=mask, regions=regions)
        return instance_features(
            objects,
            image=image,
            embeddings=embeddings,
            probabilities=probabilities,
            categories=count_votes(label, objects).winners(self.things),
            stability=stability,
        )
