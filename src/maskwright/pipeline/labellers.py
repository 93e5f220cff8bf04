"""Who labels for a fold: networks that have seen nothing of what scores it, of this run and of others, and as fused."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from maskwright.artifacts import THIRDS, RunFolder
from maskwright.data.images import read_image
from maskwright.data.index import Index
from maskwright.errors import DataError, problem
from maskwright.fusion import FUSIONS
from maskwright.pipeline.honest import honest_networks
from maskwright.pipeline.telling import Way, predict_objects
from maskwright.predict import load_ensemble, predict_files
from maskwright.processes import in_order
from maskwright.recipe import load_recipe
from maskwright.recipe.predict import PredictSpec
from maskwright.recipe.selftrain import PseudoLabelsSpec
from maskwright.selftrain.selection import image_score
from maskwright.types import LabelMap, Probabilities

if TYPE_CHECKING:
    from maskwright.instances.networks import Told
    from maskwright.predict.ensembles import Member
    from maskwright.predict.files import Predicted


class Said(NamedTuple):
    """What is said of an image.

    Attributes:
        name: of the image.
        probabilities: (C, h, w), at working size, or at the image's own where several runs are fused.
        score: by which it is ranked, NaN for none.
        told: with the image's objects, where they are told apart.
    """

    name: str
    probabilities: Probabilities
    score: float
    told: Told | None = None


@dataclass(frozen=True)
class Labellers:
    """Networks that label.

    Attributes:
        predict_spec: tiles, views, scales of this run.
        own: checkpoints of this run.
        earlier: checkpoints of the same training whose agreement ranks images.
        others: (checkpoints, how they predict) of other runs.
        kind: of `selftrain.method.images`.
        accelerator: as in the recipe.
        root: of the run.
        way: how objects are told apart; None: they aren't.
    """

    predict_spec: PredictSpec
    own: tuple[Path, ...]
    earlier: tuple[Path, ...]
    others: tuple[tuple[tuple[Path, ...], PredictSpec], ...]
    kind: str
    accelerator: str
    root: Path
    way: Way | None = None

    @classmethod
    def of(
        cls,
        folder: RunFolder,
        whole: Index,
        fold: int,
        own: Sequence[Path],
        method: PseudoLabelsSpec,
        predict: PredictSpec,
        way: Way | None = None,
    ) -> Labellers:
        """Find the networks that may label for a fold.

        Args:
            folder: of the run.
            whole: its index.
            fold: that is labelled for.
            own: checkpoints of this run.
            method: who else labels, and how images are ranked.
            predict: tiles, views, scales of this run.
            way: how objects are told apart; None: they aren't.

        Raises:
            DataError: another run has none that saw nothing of the fold, or a ranking needs more networks.
        """
        kind = method.images.kind
        others = tuple(honest_networks(RunFolder(Path(run)), folder, whole, fold) for run in method.fused_with)
        earlier = tuple(own[0].parent / name for name in THIRDS) if kind == "agreement" else ()
        if missing := [path for path in earlier if not path.is_file()]:
            next_move = "add --redo to train anew and keep them, or rank by another kind"
            raise DataError(
                problem("checkpoints of a third and two thirds", "none", where=str(missing[0]), next_move=next_move)
            )
        if kind == "ensemble" and len(own) + len(others) < 2:
            raise DataError(
                problem(
                    "at least two networks whose agreement ranks images",
                    "one",
                    where="selftrain.method.images: ensemble",
                    next_move="name other runs in selftrain.method.fused_with, or set predict.checkpoint=topk with "
                    "train.keep of at least 2",
                )
            )
        accelerator = load_recipe(folder.recipe).train.accelerator
        return cls(predict, tuple(own), earlier, others, kind, accelerator, folder.root.resolve(), way)

    @property
    def full_size(self) -> bool:
        """Whether what is said of an image has its own size: maps of several runs are fused there."""
        return bool(self.others) or self.kind == "ensemble"

    @property
    def made_by(self) -> list[str]:
        """The checkpoints, those of this run relative to its folder."""
        paths = [*self.own, *(path for paths, _ in self.others for path in paths)]
        return [_relative(path.resolve(), self.root) for path in paths]

    def predict(self, files: Sequence[tuple[str, Path]]) -> Iterator[Said]:
        """Yield what is said of (name, image file), one by one."""
        if self.full_size:
            yield from self._fused(files)
            return
        rest = [self._stream([path], files) for path in self.earlier]
        for found, *others in zip(self._own(files), *rest, strict=True):
            labels = [_labels(maps) for _, _, maps in others]
            yield found._replace(score=_score(self.kind, found.probabilities, labels))

    def _own(self, files: Sequence[tuple[str, Path]]) -> Iterator[Said]:
        """Yield what the networks of this run say, without a score."""
        if self.way is None:
            for name, _, probabilities in self._stream(self.own, files):
                yield Said(name, probabilities, math.nan)
            return
        for told in predict_objects(self.own, files, self.predict_spec, self.way, self.accelerator):
            yield Said(told.name, told.probabilities, math.nan, told)

    def _stream(self, paths: Sequence[Path], files: Sequence[tuple[str, Path]]) -> Predicted:
        return predict_files(load_ensemble(paths), files, self.predict_spec, accelerator=self.accelerator)

    def _fused(self, files: Sequence[tuple[str, Path]]) -> Iterator[Said]:
        from maskwright.predict import to_full_size
        from maskwright.predict.ensembles import load_member

        own = [[path] for path in self.own] if self.kind == "ensemble" else [list(self.own)]
        members = [load_member(paths, self.predict_spec, 1 / len(own)) for paths in own]
        members += [load_member(paths, spec) for paths, spec in self.others]
        _check_categories(members)
        everyone = [(member.networks(self.accelerator), member.weight) for member in members]
        for (name, _), image in zip(files, in_order(lambda file: read_image(file[1]), files), strict=True):
            fused, labels = FUSIONS[self.predict_spec.fusion](), list[LabelMap]()
            for networks, weight in everyone:
                found = to_full_size(networks.probabilities(image), (image.shape[0], image.shape[1]))
                fused.add(found, weight)
                labels += [_labels(found)] if self.kind == "ensemble" else []
            probabilities = fused.result()
            yield Said(name, probabilities, _score(self.kind, probabilities, labels))


def _check_categories(members: Sequence[Member]) -> None:
    first = members[0].trained[0]
    for other in (trained for member in members for trained in member.trained):
        if other.categories.names != first.categories.names:
            raise DataError(
                problem(
                    f"runs with the categories {', '.join(first.categories.names)}",
                    ", ".join(other.categories.names),
                    where=str(other.path),
                    next_move="fuse runs of the same categories in the same order",
                )
            )


def _score(kind: str, probabilities: Probabilities, labels: Sequence[LabelMap]) -> float:
    return math.nan if kind == "all" else image_score(kind, probabilities, labels)


def _labels(probabilities: Probabilities) -> LabelMap:
    return np.asarray(probabilities.argmax(0), np.uint8)


def _relative(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
