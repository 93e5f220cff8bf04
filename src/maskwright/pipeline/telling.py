"""Objects clustered while a part of a run, or its pool, is predicted: into the store, beside the probabilities."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from maskwright.data.store import ProbabilityStore
from maskwright.instances.store import write_objects, write_seen
from maskwright.recipe.instances import InstancesSpec
from maskwright.recipe.predict import PredictSpec

if TYPE_CHECKING:
    from maskwright.instances.networks import Guide, Told


@dataclass(frozen=True)
class Way:
    """How objects are told apart.

    Attributes:
        instances: how they are clustered.
        stable: also work out how well the networks that were trained beside their moving averages have each object.
        guide: what they are clustered inside of; None: the most probable category of each pixel.
        shown: names of the images whose embeddings are kept to be looked at.
        asked: of each network the positions of the things that it tells apart; None: each tells all.
    """

    instances: InstancesSpec
    stable: bool = False
    guide: Guide | None = None
    shown: frozenset[str] = frozenset()
    asked: tuple[tuple[int, ...], ...] | None = None


def predict_objects(
    checkpoints: Sequence[Path], todo: Sequence[tuple[str, Path]], predict: PredictSpec, way: Way, accelerator: str
) -> Iterator[Told]:
    """Yield what networks say of images, with the features of their objects.

    Args:
        checkpoints: of the networks.
        todo: (name, image file).
        predict: tiles, views, scales.
        way: how objects are told apart.
        accelerator: as of the recipe.
    """
    from maskwright.checkpoint import load_trained
    from maskwright.instances.networks import ObjectNetworks
    from maskwright.predict import load_ensemble

    others = [load_trained(path, average=False) for path in checkpoints] if way.stable else []
    networks = ObjectNetworks(
        load_ensemble(checkpoints),
        predict,
        way.instances,
        accelerator,
        describe=True,
        others=others,
        guide=way.guide,
        shown=way.shown,
        asked=way.asked,
    )
    yield from networks.stream(todo)


def store_told(store: ProbabilityStore, told: Told) -> None:
    """Write an image's objects, then its probabilities: where these are, those are, too."""
    assert told.features is not None
    if told.seen is not None:
        write_seen(store, told.name, told.seen)
    write_objects(store, told.name, told.objects, told.features)
    store.write(told.name, told.probabilities)
