"""What predicts a folder with its objects, and what it writes beside the labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from maskwright.instances.files import ObjectFiles
from maskwright.instances.networks import ObjectNetworks, Told
from maskwright.instances.objectness import Objectness, ObjectScores, object_scores
from maskwright.instances.telling import to_panoptic
from maskwright.labels import InstanceMap
from maskwright.predict.files import Doubted, Files, Found, Predicted, Source, load_ensemble
from maskwright.predict.uncertainty import Uncertainty
from maskwright.recipe import Recipe
from maskwright.recipe.instances import InstancesSpec
from maskwright.tasks import file_state
from maskwright.types import Probabilities


def object_source(
    checkpoints: Sequence[Path],
    recipe: Recipe,
    judge: Objectness | None = None,
    *,
    middles: Mapping[int, int] | None = None,
    asked: Sequence[Sequence[int]] | None = None,
) -> Source:
    """Return networks that tell objects apart as what predicts a folder.

    Images must fit into the memory: what is larger is named as one that can't be read.

    Args:
        checkpoints: of one recipe.
        recipe: resolved; how they predict, and how objects are clustered and merged.
        judge: says how likely each object is a true one; None: its score is the mean probability of its category.
        middles: things that are parted by their shape, as of `to_panoptic`.
        asked: of each network the positions of the things that it tells apart; None: each tells all.
    """
    spec = recipe.instances.filled_in()
    about = recipe.predict, spec, recipe.train.accelerator
    judged = judge is not None and bool(judge.weights)
    networks = ObjectNetworks(load_ensemble(checkpoints), *about, describe=judged, asked=asked)
    waiting = dict[str, tuple[InstanceMap, ObjectScores | None]]()

    def noted(told: Told) -> tuple[str, tuple[int, int], Probabilities]:
        known = None if judge is None or told.features is None else object_scores(judge, told.features)
        waiting[told.name] = told.objects, known
        return told.name, told.size, told.probabilities

    def stream(files: Files, unreadable: list[str] | None) -> Predicted:
        yield from map(noted, networks.stream(files, unreadable))

    def members(files: Files, unreadable: list[str] | None) -> Doubted:
        for told in networks.stream(files, unreadable, members=True):
            yield *noted(told), Uncertainty.of(told.probabilities, told.members)

    categories = networks.first.categories
    return Source(
        categories,
        stream,
        {
            "checkpoints": [[str(path.resolve()), *file_state(path)] for path in checkpoints],
            "predict": recipe.predict.model_dump(mode="json", exclude={"overlays", "checkpoint", "batch"}),
            "instances": spec.model_dump(mode="json", exclude={"loss"}),
            **({"asked": [list(team.things) for team in networks.teams]} if len(networks.teams) > 1 else {}),
            **({} if judge is None else {"objectness": judge.to_plain()}),
            **({"middles": {categories.names[thing]: own for thing, own in middles.items()}} if middles else {}),
        },
        members,
        beside=lambda out, place: _Objects(ObjectFiles(out, categories, place), spec, waiting, middles or {}),
    )


class _Objects:
    """The objects of each image beside its label."""

    def __init__(
        self,
        files: ObjectFiles,
        spec: InstancesSpec,
        waiting: dict[str, tuple[InstanceMap, ObjectScores | None]],
        middles: Mapping[int, int],
    ) -> None:
        self.files, self.spec, self.waiting, self.middles = files, spec, waiting, middles

    def write(self, found: Found) -> None:
        """Merge the objects into the label and write them."""
        objects, scores = self.waiting.pop(found.name)
        about = found.label, objects, found.at_size, self.files.things, self.spec
        told = to_panoptic(*about, scores=scores, middles=self.middles, where=found.name)
        self.files.write(found.name, told)

    def gather(self, names: Sequence[str]) -> None:
        """Write the lists."""
        self.files.gather(names)
