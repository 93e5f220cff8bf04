"""Objects in a run: clustered while its parts are predicted, merged, scored and drawn when they are evaluated."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from maskwright.artifacts import RunFolder, write_bytes
from maskwright.data.formats.files import name_of
from maskwright.data.images import read_ids, read_image
from maskwright.data.index import Index
from maskwright.data.store import ProbabilityStore
from maskwright.data.written import write_array
from maskwright.errors import DataError, problem
from maskwright.evaluate.measure import Measured
from maskwright.instances.files import ObjectFiles
from maskwright.instances.measuring import measure_objects
from maskwright.instances.telling import to_panoptic
from maskwright.labels import InstanceMap
from maskwright.panoptic import PanopticMap
from maskwright.pictures import encode, fit, instance_picture, panoptic_beside, side_by_side, to_rgb8
from maskwright.recipe.instances import InstancesSpec
from maskwright.recipe.predict import EvaluateSpec, PredictSpec
from maskwright.types import LabelMap, Probabilities

_LONGEST = 480


def predict_objects(
    store: ProbabilityStore, checkpoints: Sequence[Path], todo: Sequence[tuple[str, Path]], spec: dict[str, Any]
) -> Iterator[str]:
    """Predict images into a store, the ids of their objects first, at working size, and yield their names."""
    from maskwright.instances.networks import ObjectNetworks
    from maskwright.predict import load_ensemble

    told = InstancesSpec.model_validate(spec["instances"])
    predict = PredictSpec.model_validate(spec["predict"])
    networks = ObjectNetworks(load_ensemble(checkpoints), predict, told, spec["accelerator"])
    for name, _, probabilities, objects in networks.stream(todo):
        write_array(_ids_file(store, name), objects)
        store.write(name, probabilities)
        yield name


class ToldApart:
    """The objects of a run's parts: their maps, their scores, their files and pictures.

    Args:
        folder: of the run.
        whole: its index.
        spec: of the stage: data and instances.
        evaluate: which families are scored.
    """

    def __init__(self, folder: RunFolder, whole: Index, spec: dict[str, Any], evaluate: EvaluateSpec) -> None:
        self.folder, self.whole, self.evaluate = folder, whole, evaluate
        self.spec = InstancesSpec.model_validate(spec["instances"])
        self.stuff = spec["data"]["task"] == "panoptic"
        self.categories = whole.categories
        self.things = self.categories.things
        self.files, self.names = ObjectFiles(folder.predictions, self.categories), list[str]()
        self.files.log.unlink(missing_ok=True)

    def panoptic(self, part: str, image: str, label: LabelMap, probabilities: Probabilities) -> PanopticMap:
        """Return the panoptic map of a predicted image, and write its files.

        Args:
            part: whose store has its objects.
            image: as the index has it.
            label: (H, W) after post-processing.
            probabilities: (C, H, W).

        Raises:
            DataError: the objects of the image aren't there.
        """
        name = name_of(image)
        objects = read_objects(ProbabilityStore(self.folder.store(part)), name)
        found = to_panoptic(label, objects, probabilities, self.things, self.spec, where=image)
        self.files.write(name, found)
        self.names.append(name)
        return found

    def measured(
        self, row: int, images: Index, truth: LabelMap, label: LabelMap, found: PanopticMap, likely: Probabilities
    ) -> Measured:
        """Return what a row of the index is scored by."""
        return measure_objects(
            truth,
            images.read_instances(row),
            label,
            found,
            self.categories,
            self.evaluate,
            stuff=self.stuff,
            probabilities=likely,
            where=images.images[row],
        )

    def draw(self, image: str, found: PanopticMap, truth: tuple[LabelMap, InstanceMap | None] | None = None) -> None:
        """Draw the instances over the image, beside what is true of it: pictures/NAME.jpg."""
        pixels = to_rgb8(fit(read_image(self.whole.path(image)), _LONGEST))
        own = fit(found.label, _LONGEST), fit(found.instances(self.things), _LONGEST)
        maps = [own]
        if truth is not None:
            label, ids = truth
            thing = np.isin(label, self.things)
            known = np.zeros(label.shape, np.int32) if ids is None else np.where(thing, ids, np.int32(0))
            maps = [(fit(label, _LONGEST), fit(known, _LONGEST)), own]
        if self.stuff:
            picture = side_by_side([panoptic_beside(pixels, maps, self.categories.palette()), _over(pixels, own)])
        else:
            picture = side_by_side([pixels, *(_over(pixels, one) for one in maps)])
        path = self.folder.predictions / "pictures" / f"{name_of(image)}.jpg"
        write_bytes(path, encode(picture, "jpeg", 85))

    def finish(self) -> None:
        """Write the lists of all segments."""
        self.files.gather(self.names)


def read_objects(store: ProbabilityStore, name: str) -> InstanceMap:
    """Return the (h, w) objects of a predicted image, at working size.

    Raises:
        DataError: there are none.
    """
    path = _ids_file(store, name)
    found = next((p for p in (path, path.with_suffix(".tif")) if p.is_file()), None)
    if found is None:
        raise DataError(
            problem("the objects of an image", "none", where=str(path), next_move="predict anew: maskwright run --redo")
        )
    return read_ids(found).astype(np.int32)


def _over(pixels: Any, one: tuple[LabelMap, InstanceMap]) -> Any:
    return instance_picture(pixels, one[1])


def _ids_file(store: ProbabilityStore, name: str) -> Path:
    return store.folder / "objects" / f"{name}.png"
