"""Frames one after the other, all of one size, as fast as they come: labels, and how long each took."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from maskwright.checkpoint import Trained
from maskwright.data.images import read_image
from maskwright.errors import DataError, problem
from maskwright.postprocess import apply_chain
from maskwright.predict.files import named_images, to_full_size
from maskwright.predict.networks import Networks
from maskwright.recipe.predict import PostprocessStep, PredictSpec
from maskwright.types import Array, LabelMap

VIDEOS = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v")
WARM_UP = 3
"""Frames at the beginning whose time is not counted: memory and kernels are found then."""

Frame = tuple[str, Callable[[], Array]]
"""Name, and what reads the (H, W, 1 or 3) pixels."""


@dataclass(frozen=True)
class Latency:
    """How long frames took, from the file to the label that is handed on. In milliseconds.

    Attributes:
        frames: that were labelled.
        counted: those behind the warm-up, which the other numbers are of; all, where there are no more than these.
        median: of a frame.
        p99: which 99 of 100 frames don't exceed; linear between the frames next to it.
        longest: of a frame.
        network: the median of the part between image and probabilities.
        frames_per_second: frames over the sum of their times.
        skipped: "name: why" of frames that could not be read or have another size.
    """

    frames: int
    counted: int
    median: float
    p99: float
    longest: float
    network: float
    frames_per_second: float
    skipped: tuple[str, ...] = ()


def frames_of(source: Path) -> Iterator[Frame]:
    """Yield the frames of a folder in the order of their names, or of a video file, named by their numbers from 0.

    Raises:
        DataError: there are none, or the video can't be opened.
    """
    if source.suffix.lower() not in VIDEOS or source.is_dir():
        for name, path in named_images(source, new=True):
            yield name, lambda path=path: read_image(path)  # type: ignore[misc]
        return
    video = cv2.VideoCapture(str(source))
    try:
        number = 0
        while True:
            done, pixels = video.read()
            if not done:
                break
            yield f"{number:06d}", lambda pixels=pixels: cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)  # type: ignore[misc]
            number += 1
    finally:
        video.release()
    if number == 0:
        next_move = "give a video that OpenCV opens, or a folder of frames"
        raise DataError(problem("a video with frames", "none", where=str(source), next_move=next_move))


def predict_stream(
    trained: Sequence[Trained],
    frames: Iterator[Frame],
    spec: PredictSpec,
    each: Callable[[str, LabelMap], None],
    *,
    chain: Sequence[PostprocessStep] = (),
    accelerator: str = "auto",
    clock: Callable[[], float] = time.perf_counter,
) -> Latency:
    """Label frames of one size; hand each on before the next is read.

    The first frame that can be read decides the size. Labels are those of `predict_files`.

    Args:
        trained: averaged.
        frames: as `frames_of` yields them.
        spec: tiles and views.
        each: called with name and (H, W) label; its time counts.
        chain: post-processing.
        accelerator: as of the recipe.
        clock: seconds.

    Raises:
        DataError: no frame can be read.
    """
    networks = Networks(trained, spec, accelerator)
    times, inner, skipped, size = list[float](), list[float](), list[str](), None
    start = clock()
    for name, read in frames:
        try:
            pixels = read()
            size = size or pixels.shape
            if pixels.shape != size:
                raise DataError(_of_one_size(name, size, pixels.shape))
        except DataError as error:
            skipped.append(f"{name}: {error.got}")
            start = clock()
            continue
        begun = clock()
        found = networks.probabilities(pixels)
        inner.append(clock() - begun)
        each(name, apply_chain(to_full_size(found, (size[0], size[1])), chain, image=pixels))
        end = clock()
        times.append(end - start)
        start = end
    if not times:
        listed = "; ".join(skipped[:3])
        next_move = "replace the files, or give another folder"
        raise DataError(problem("frames that can be read", listed or "none", where="the stream", next_move=next_move))
    return _summary(times, inner, skipped)


def _of_one_size(name: str, size: tuple[int, ...], found: tuple[int, ...]) -> str:
    sides = [f"{shape[1]}×{shape[0]}" for shape in (found, size)]
    next_move = "give frames of one size and kind"
    return problem(f"frames of {sides[1]}", f"{sides[0]} after {sides[1]}", where=name, next_move=next_move)


def _summary(times: list[float], inner: list[float], skipped: list[str]) -> Latency:
    first = WARM_UP if len(times) > WARM_UP else 0
    whole, network = (np.array(part[first:]) * 1000 for part in (times, inner))
    return Latency(
        frames=len(times),
        counted=len(whole),
        median=float(np.median(whole)),
        p99=float(np.percentile(whole, 99)),
        longest=float(whole.max()),
        network=float(np.median(network)),
        frames_per_second=float(1000 * len(whole) / whole.sum()),
        skipped=tuple(skipped),
    )
