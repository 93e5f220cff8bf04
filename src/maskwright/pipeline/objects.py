"""Objects in a run: clustered while its parts are predicted, merged, scored and drawn when they are evaluated."""

from __future__ import annotations

from typing import Any

import numpy as np

from maskwright.artifacts import RunFolder, write_bytes
from maskwright.data.formats.files import name_of
from maskwright.data.images import read_image
from maskwright.data.index import Index
from maskwright.data.store import ProbabilityStore
from maskwright.evaluate.measure import Measured
from maskwright.instances.files import ObjectFiles
from maskwright.instances.measuring import measure_objects
from maskwright.instances.objectness import object_scores
from maskwright.instances.store import read_features, read_objects
from maskwright.instances.telling import to_panoptic
from maskwright.labels import InstanceMap
from maskwright.panoptic import PanopticMap
from maskwright.pictures import encode, fit, instance_picture, panoptic_beside, side_by_side, to_rgb8
from maskwright.pipeline.object_ways import Ways
from maskwright.pipeline.objectness import Judges
from maskwright.recipe.instances import InstancesSpec
from maskwright.recipe.predict import EvaluateSpec
from maskwright.split import HELD_OUT
from maskwright.types import LabelMap, Probabilities

_LONGEST = 480


class ToldApart:
    """The objects of a run's parts: their maps, their scores, their files and pictures.

    Args:
        folder: of the run.
        whole: its index.
        spec: of the stage: data and instances.
        evaluate: which families are scored.
        tuned: what tuned.json holds: who says how likely objects are true, and by what those of each thing are parted.
    """

    def __init__(
        self, folder: RunFolder, whole: Index, spec: dict[str, Any], evaluate: EvaluateSpec, tuned: dict[str, Any]
    ) -> None:
        self.folder, self.whole, self.evaluate = folder, whole, evaluate
        self.judges, self.ways = Judges.from_plain(tuned), Ways.from_plain(tuned, whole.categories)
        self.spec = InstancesSpec.model_validate(spec["instances"])
        self.stuff = spec["data"]["task"] == "panoptic"
        self.categories = whole.categories
        self.things = self.categories.things
        self.files, self.names = ObjectFiles(folder.predictions, self.categories), list[str]()
        self.files.log.unlink(missing_ok=True)

    def panoptic(
        self, part: str, image: str, label: LabelMap, probabilities: Probabilities, fold: int = HELD_OUT
    ) -> PanopticMap:
        """Return the panoptic map of a predicted image, and write its files.

        Args:
            part: whose store has its objects.
            image: as the index has it.
            label: (H, W) after post-processing.
            probabilities: (C, H, W).
            fold: of the image, if it is in one.

        Raises:
            DataError: the objects of the image aren't there.
        """
        name, store = name_of(image), ProbabilityStore(self.folder.store(part))
        scores = None if self.judges is None else object_scores(self.judges.of(fold), read_features(store, name))
        objects = read_objects(store, name)
        how = {"scores": scores, "middles": self.ways.of(fold), "where": image}
        found = to_panoptic(label, objects, probabilities, self.things, self.spec, **how)  # type: ignore[arg-type]
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


def _over(pixels: Any, one: tuple[LabelMap, InstanceMap]) -> Any:
    return instance_picture(pixels, one[1])
