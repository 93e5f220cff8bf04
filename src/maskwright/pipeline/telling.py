"""Objects clustered while a part of a run, or its pool, is predicted: into the store, beside the probabilities."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from maskwright.data.store import ProbabilityStore
from maskwright.instances.store import write_objects
from maskwright.recipe.instances import InstancesSpec
from maskwright.recipe.predict import PredictSpec

if TYPE_CHECKING:
    from maskwright.instances.networks import Told


def predict_objects(
    checkpoints: Sequence[Path],
    todo: Sequence[tuple[str, Path]],
    predict: PredictSpec,
    instances: InstancesSpec,
    accelerator: str,
    *,
    stable: bool = False,
) -> Iterator[Told]:
    """Yield what networks say of images, with the features of their objects.

    Args:
        checkpoints: of the networks.
        todo: (name, image file).
        predict: tiles, views, scales.
        instances: how objects are clustered.
        accelerator: as of the recipe.
        stable: also how well the networks that were trained beside their moving averages have each object.
    """
    from maskwright.checkpoint import load_trained
    from maskwright.instances.networks import ObjectNetworks
    from maskwright.predict import load_ensemble

    others = [load_trained(path, average=False) for path in checkpoints] if stable else []
    trained = load_ensemble(checkpoints)
    yield from ObjectNetworks(trained, predict, instances, accelerator, describe=True, others=others).stream(todo)


def store_told(store: ProbabilityStore, told: Told) -> None:
    """Write an image's objects, then its probabilities: where these are, those are, too."""
    assert told.features is not None
    write_objects(store, told.name, told.objects, told.features)
    store.write(told.name, told.probabilities)
