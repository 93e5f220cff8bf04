"""Networks of several recipes over one image: each prepared in its own way, at its own size, fused at the image's."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from maskwright.checkpoint import Trained
from maskwright.data.images import read_image
from maskwright.data.intensity import standardise, to_working
from maskwright.fusion import FUSIONS
from maskwright.inference import infer_stream, pick_device
from maskwright.passes import without
from maskwright.predict.files import Files, Predicted, Source, load_ensemble, never_predicted, read_ahead, to_full_size
from maskwright.recipe.predict import PredictSpec
from maskwright.types import Array, Probabilities


@dataclass(frozen=True)
class Member:
    """Networks that prepare images in one way, and what their mean counts among others.

    Attributes:
        trained: averaged.
        spec: tiles, views, scales.
        weight: above 0.
    """

    trained: tuple[Trained, ...]
    spec: PredictSpec
    weight: float = 1.0

    def predict(self, image: Array, accelerator: str = "auto") -> Probabilities:
        """Return the (C, H, W) probabilities of an image as it was read, at its own size."""
        first, spec = self.trained[0], self.spec
        working = standardise(to_working(image, first.intensity, first.scale), first.intensity)
        device = pick_device(accelerator)
        ((_, found),) = infer_stream(
            [trained.network.to(device) for trained in self.trained],
            [(None, working)],
            device=device,
            **spec.way(),
            precision=first.precision,
            channels_last=first.channels_last,
        )
        never = never_predicted(first.categories, spec)
        return to_full_size(without(found, never), (image.shape[0], image.shape[1]))


def load_member(checkpoints: Sequence[Path], spec: PredictSpec, weight: float = 1.0) -> Member:
    """Read the networks of one recipe.

    Raises:
        DataError: as `load_ensemble`.
    """
    return Member(tuple(load_ensemble(checkpoints)), spec, weight)


def predict_fused(
    members: Sequence[Member],
    files: Files,
    *,
    fusion: str = "mean",
    accelerator: str = "auto",
    unreadable: list[str] | None = None,
) -> Predicted:
    """Yield (name, (H, W), (C, H, W) fused probabilities at the image's size) for named image files.

    An image is decoded once. Of its maps two are held at a time, the fused one (two of them by ranks) and a member's.

    Args:
        members: of the same categories, in the same order.
        files: (name, image file).
        fusion: name in `maskwright.fusion.FUSIONS`.
        accelerator: as in the recipe.
        unreadable: as in `predict_files`.
    """

    def read(item: tuple[str, Path]) -> tuple[tuple[str, tuple[int, int]], Array]:
        image = read_image(item[1])
        return (item[0], (image.shape[0], image.shape[1])), image

    for (name, size), image in read_ahead(read, files, unreadable):
        fused = FUSIONS[fusion]()
        for member in members:
            fused.add(member.predict(image, accelerator), member.weight)
        yield name, size, fused.result()


def fused_source(members: Sequence[Member], *, fusion: str, accelerator: str, made_by: object) -> Source:
    """Return what `predict_folder` takes for networks that are fused.

    Args:
        members: at least one.
        fusion: as in `predict_fused`.
        accelerator: as in the recipe.
        made_by: plain data that tells these networks and settings from others.
    """

    def stream(files: Files, unreadable: list[str] | None) -> Predicted:
        return predict_fused(members, files, fusion=fusion, accelerator=accelerator, unreadable=unreadable)

    return Source(members[0].trained[0].categories, stream, made_by)


def seconds_an_image(member: Member, images: Sequence[Path], accelerator: str = "auto") -> float:
    """Return the median seconds that a member takes for an image in memory; the first image is predicted twice."""
    decoded: Iterator[Array] = (read_image(path) for path in images)
    taken = []
    for number, image in enumerate(decoded):
        if number == 0:
            member.predict(image, accelerator)
        started = time.perf_counter()
        member.predict(image, accelerator)
        taken.append(time.perf_counter() - started)
    return float(np.median(taken))
