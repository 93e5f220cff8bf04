"""Networks of several recipes over one image: each prepared in its own way, at its own size, fused at the image's."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from maskwright.checkpoint import Trained
from maskwright.data.images import read_image
from maskwright.fusion import FUSIONS
from maskwright.predict.files import Files, Predicted, Source, load_ensemble, read_ahead, to_full_size
from maskwright.predict.memory import check_memory
from maskwright.predict.networks import Networks
from maskwright.recipe.predict import PredictSpec
from maskwright.types import Array


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

    def networks(self, accelerator: str = "auto") -> Networks:
        """Return the networks on the device that predicts."""
        return Networks(self.trained, self.spec, accelerator)


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

    everyone = [(member.networks(accelerator), member.weight) for member in members]

    def read(item: tuple[str, Path]) -> tuple[tuple[str, tuple[int, int]], Array]:
        image = read_image(item[1])
        size = (image.shape[0], image.shape[1])
        for networks, _ in everyone:
            check_memory(item[1], size, networks.need)
        return (item[0], size), image

    for (name, size), image in read_ahead(read, files, unreadable):
        fused = FUSIONS[fusion]()
        for networks, weight in everyone:
            fused.add(to_full_size(networks.probabilities(image), size), weight)
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
    networks, taken = member.networks(accelerator), []

    def predict(image: Array) -> None:
        to_full_size(networks.probabilities(image), (image.shape[0], image.shape[1]))

    for number, image in enumerate(decoded):
        if number == 0:
            predict(image)
        started = time.perf_counter()
        predict(image)
        taken.append(time.perf_counter() - started)
    return float(np.median(taken))
