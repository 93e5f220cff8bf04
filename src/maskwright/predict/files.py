"""Image files in, probabilities or label files out: read ahead, predicted in batches, written whole or not at all."""

from __future__ import annotations

import io
import itertools
import zlib
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import cv2
import numpy as np
from PIL import Image

from maskwright.artifacts import write_bytes
from maskwright.data.categories import to_ids
from maskwright.data.formats.files import find_images
from maskwright.data.images import read_image
from maskwright.errors import DataError, problem
from maskwright.fusion import FUSIONS
from maskwright.pictures import encode, overlay, to_rgb8
from maskwright.postprocess import apply_chain
from maskwright.predict.log import written_here
from maskwright.predict.memory import Need, check_memory, goes_by_windows
from maskwright.predict.uncertainty import Uncertainty
from maskwright.processes import free_memory
from maskwright.progress import report
from maskwright.recipe.predict import PostprocessStep, PredictSpec
from maskwright.types import Array, Categories, LabelMap, Probabilities

if TYPE_CHECKING:  # what predicts without torch imports this module, too
    from maskwright.checkpoint import Trained
    from maskwright.predict.networks import Networks
    from maskwright.predict.windows import Windows

_AHEAD = 8
_PENDING_BYTES = 256 << 20
_Read = tuple[tuple[str, tuple[int, int]], Array]
Files = Iterable[tuple[str, Path]]
"""(name, image file) pairs."""
Predicted = Iterator[tuple[str, tuple[int, int], Probabilities]]
"""(name, (H, W) of the image, probabilities) one by one."""
Doubted = Iterator[tuple[str, tuple[int, int], Probabilities, Uncertainty]]
"""The same with how uncertain it is."""


class Beside(Protocol):
    """What is written beside the labels of a folder."""

    def write(self, found: Found) -> None:
        """Write what belongs to an image, before its label."""
        ...

    def gather(self, names: Sequence[str]) -> None:
        """Write what belongs to all of these images, of a shard to those of the other shards as well."""
        ...


@dataclass(frozen=True)
class Source:
    """What predicts the images of a folder.

    Attributes:
        categories: of the probabilities.
        stream: from (name, image file) pairs and a list for unreadable ones to what is predicted.
        made_by: plain data that tells it from others: labels that were made otherwise are not continued.
        members: as `stream`, with the uncertainty among several networks; None: of the mean alone.
        is_large: whether an image has to go by windows; None: none can.
        windows: opens a large image, with the chain, and whether the uncertainty is asked for.
        beside: opens what is written beside each label, from the folder and that of the notes; None: nothing more.
    """

    categories: Categories
    stream: Callable[[Files, list[str] | None], Predicted]
    made_by: object
    members: Callable[[Files, list[str] | None], Doubted] | None = None
    is_large: Callable[[Path], bool] | None = None
    windows: Callable[[Path, Sequence[PostprocessStep], bool], Windows] | None = None
    beside: Callable[[Path, Path], Beside] | None = None

    def doubted(self, files: Files, unreadable: list[str] | None) -> Doubted:
        """Yield what is predicted, and how uncertain it is."""
        if self.members is not None:
            yield from self.members(files, unreadable)
            return
        for name, size, found in self.stream(files, unreadable):
            yield name, size, found, Uncertainty.of(found, [found])


@dataclass(frozen=True)
class Found:
    """What is known of an image when its label file is about to be written.

    Attributes:
        name: of the image.
        size: (H, W) of the image.
        probabilities: (C, h, w) at working size.
        label: (H, W) positions.
        at_size: (C, H, W) probabilities at the image's size.
        uncertainty: where it was asked for.
    """

    name: str
    size: tuple[int, int]
    probabilities: Probabilities
    label: LabelMap
    at_size: Probabilities
    uncertainty: Uncertainty | None = None


def _check_room(first: Trained, count: int) -> None:
    """Raise DataError if the memory doesn't hold as many networks as the first, which is there."""
    each = sum(values.numel() * values.element_size() for values in first.network.state_dict().values())
    free = free_memory()
    if free is not None and each * (count - 1) > free:
        raise DataError(
            problem(
                f"{each * count / 1e9:.1f} GB of memory for {count} networks that predict together",
                f"{(free + each) / 1e9:.1f} GB",
                where=str(first.path),
                next_move="take a machine with more; or train with fewer folds (split.folds), or fewer networks of "
                "each (instances.workflow, predict.checkpoint: last)",
            )
        )


def load_ensemble(paths: Sequence[Path]) -> list[Trained]:
    """Read checkpoints that are to be averaged.

    Raises:
        DataError: none, or they differ in categories or in how they prepare images, or there is too little memory.
    """
    from maskwright.checkpoint import load_trained

    if not paths:
        raise DataError(
            problem("at least one checkpoint", "none", where="predict", next_move="train first, or finish the training")
        )
    first = load_trained(paths[0])
    _check_room(first, len(paths))
    trained = [first, *(load_trained(path) for path in paths[1:])]
    for other in trained[1:]:
        if (other.categories, other.intensity, other.scale) != (first.categories, first.intensity, first.scale):
            raise DataError(
                problem(
                    "checkpoints of one recipe",
                    "different categories, intensities or scales",
                    where=f"{first.path} and {other.path}",
                    next_move="predict with each run on its own, or fuse them: maskwright fuse RUN RUN --out FUSED",
                )
            )
    return trained


def predict_files(
    trained: Sequence[Trained],
    files: Files,
    spec: PredictSpec,
    *,
    accelerator: str = "auto",
    unreadable: list[str] | None = None,
) -> Predicted:
    """Yield (name, (H, W) of the image, (C, h, w) mean probabilities at working size) for named image files.

    Files that can't be read, or need more memory than there is, are passed over and added to `unreadable`; without that
    list they are a DataError. Categories of `predict.never` have probability 0, the others' are divided by their sum.
    """
    from maskwright.predict.networks import Networks

    networks = Networks(trained, spec, accelerator)
    for (name, size), found in networks.stream(read_ahead(reader_of(networks), files, unreadable)):
        yield name, size, networks.allowed(found)


def predict_members(
    trained: Sequence[Trained],
    files: Files,
    spec: PredictSpec,
    *,
    accelerator: str = "auto",
    unreadable: list[str] | None = None,
) -> Doubted:
    """Yield what `predict_files` does, and how uncertain it is; arguments as there.

    The networks disagree as they are, each without the categories of `predict.never`.
    """
    from maskwright.predict.networks import Networks

    networks = Networks(trained, spec, accelerator)
    copies = itertools.tee(read_ahead(reader_of(networks), files, unreadable), len(trained))
    streams = [networks.stream(copy, [one]) for one, copy in zip(networks.networks, copies, strict=True)]
    for parts in zip(*streams, strict=True):
        (name, size), members = parts[0][0], [part for _, part in parts]
        fused = FUSIONS[spec.fusion]()
        for member in members:
            fused.add(member)
        mean = networks.allowed(fused.result())
        yield name, size, mean, Uncertainty.of(mean, [networks.allowed(part) for part in members])


def never_predicted(categories: Categories, spec: PredictSpec) -> list[int]:
    """Return the positions of the categories that the recipe never lets predict.

    Raises:
        RecipeError: a name that no category has.
    """
    return categories.positions(spec.never, where="predict.never")


def need_of(first: Trained, spec: PredictSpec) -> Need:
    """Return what decides how much memory an image takes."""
    return Need(first.scale, first.intensity.channels, len(first.categories), spec.scales)


def source_of(
    trained: Sequence[Trained], spec: PredictSpec, made_by: object = None, *, accelerator: str = "auto"
) -> Source:
    """Return the networks of one recipe as what predicts a folder."""
    first = trained[0]
    never_predicted(first.categories, spec)  # before anything is written

    def windows(path: Path, chain: Sequence[PostprocessStep], uncertain: bool) -> Windows:
        from maskwright.predict.windows import Windows

        return Windows(trained, path, spec, chain=chain, uncertain=uncertain, accelerator=accelerator)

    def stream(files: Files, unreadable: list[str] | None) -> Predicted:
        return predict_files(trained, files, spec, accelerator=accelerator, unreadable=unreadable)

    def members(files: Files, unreadable: list[str] | None) -> Doubted:
        return predict_members(trained, files, spec, accelerator=accelerator, unreadable=unreadable)

    return Source(
        first.categories,
        stream,
        made_by,
        members,
        lambda path: goes_by_windows(path, need_of(first, spec)),
        windows,
    )


def predict_to_files(
    source: Source,
    files: Files,
    targets: Mapping[str, Path],
    *,
    chain: Sequence[PostprocessStep] = (),
    before: Callable[[Found], None] | None = None,
    uncertainty: bool = False,
    unreadable: list[str] | None = None,
) -> Iterator[str]:
    """Write a label file for each image and yield its name; what follows the network runs while it is busy.

    Of the maps that wait to be written, 8 are kept or 256 MB, and at least one.

    Args:
        source: what predicts.
        files: (name, image file).
        targets: name → label file.
        chain: post-processing.
        before: called before the label file is written.
        uncertainty: whether `before` gets to know it.
        unreadable: as in `predict_files`.
    """
    paths = dict[str, Path]()

    def noted() -> Iterator[tuple[str, Path]]:
        for name, path in files:
            paths[name] = path
            yield name, path

    def finish(name: str, size: tuple[int, int], found: Probabilities, doubt: Uncertainty | None = None) -> str:
        path = paths.pop(name)
        at_size = to_full_size(found, size)
        label = apply_chain(at_size, chain, image=lambda: read_image(path))
        if before is not None:
            before(Found(name, size, found, label, at_size, doubt))
        write_label(targets[name], label, source.categories)
        return name

    pending: deque[tuple[Future[str], int]] = deque()
    predict: Callable[[Files, list[str] | None], Iterator[tuple[Any, ...]]]
    predict = source.doubted if uncertainty else source.stream
    with ThreadPoolExecutor(1) as pool:
        for name, size, found, *doubt in predict(noted(), unreadable):
            pending.append((pool.submit(finish, name, size, found, *doubt), found.nbytes))
            while len(pending) > 1 and (len(pending) >= _AHEAD or sum(n for _, n in pending) > _PENDING_BYTES):
                yield pending.popleft()[0].result()
        while pending:
            yield pending.popleft()[0].result()


def named_images(images: Path, *, new: bool = False) -> list[tuple[str, Path]]:
    """Return (name, path) of the images below a folder, or of one file; a name is the relative path without suffix.

    Args:
        images: folder or file.
        new: leave out what `predict_folder` wrote there, and say so.

    Raises:
        DataError: there are none, or two of one name.
    """
    if images.is_file():
        return [(images.stem, images)]
    if not images.exists():
        next_move = "give a folder with images, or an image file"
        raise DataError(problem("images", "a path that doesn't exist", where=str(images), next_move=next_move))
    paths = find_images(images)
    if new and (ours := set(written_here(images, paths))):
        report("left out", len(ours), len(ours), f"{len(ours)} files below {images} that `predict` wrote, no images")
        paths = [path for path in paths if path not in ours]
    files = [(p.relative_to(images).with_suffix("").as_posix(), p) for p in paths]
    if not files:
        raise DataError(
            problem("images", "none", where=str(images), next_move="give a folder with images, or an image file")
        )
    if doubles := sorted(name for name, count in Counter(name for name, _ in files).items() if count > 1):
        raise DataError(
            problem(
                "one image a name",
                f"several called {', '.join(doubles[:5])}",
                where=str(images),
                next_move="rename them: their label files would overwrite each other",
            )
        )
    return files


def to_full_size(probabilities: Probabilities, size: tuple[int, int]) -> Probabilities:
    """Return (C, H, W) probabilities of (C, h, w) ones, bilinear."""
    if probabilities.shape[1:] == size:
        return probabilities
    full = np.empty((len(probabilities), *size), probabilities.dtype)
    for plane, small in zip(full, probabilities, strict=True):  # one by one: not all of them twice
        plane[:] = cv2.resize(small, size[::-1], interpolation=cv2.INTER_LINEAR)
    return full


def write_label(path: Path, label: LabelMap, categories: Categories) -> None:
    """Write a label map as a gray PNG whose values are category ids.

    Runs of equal bytes are all that is looked for: files of label maps are smaller by it, and written in half the time.
    """
    buffer = io.BytesIO()
    Image.fromarray(to_ids(label, categories)).save(buffer, "PNG", compress_type=zlib.Z_RLE)
    write_bytes(path, buffer.getvalue())


def write_overlay(path: Path, image: Array, label: LabelMap, categories: Categories) -> None:
    """Write a JPEG of the image with its labels drawn over it."""
    write_bytes(path, encode(overlay(to_rgb8(image), label, categories.palette()), "jpeg", 85))


def reader_of(networks: Networks) -> Callable[[tuple[str, Path]], _Read]:
    """Return what reads a named file and prepares it for the networks."""

    def read(item: tuple[str, Path]) -> _Read:
        image = read_image(item[1])
        size = (image.shape[0], image.shape[1])
        check_memory(item[1], size, networks.need)
        return (item[0], size), networks.prepare(image)

    return read


def read_ahead(
    read: Callable[[tuple[str, Path]], _Read], files: Files, unreadable: list[str] | None
) -> Iterator[_Read]:
    """Yield what `read` returns for each file, a few read before they are asked for: 8, or 256 MB, and at least one.

    Unreadable files are treated as `predict_files` says.
    """

    def attempt(item: tuple[str, Path]) -> _Read | None:
        try:
            return read(item)
        except DataError as error:
            if unreadable is None:
                raise
            unreadable.append(f"{item[1]}: {error.got}")
            return None

    pending, ahead = deque[Future[_Read | None]](), 2
    with ThreadPoolExecutor(2) as pool:
        for item in itertools.chain(files, [None]):
            pending += [] if item is None else [pool.submit(attempt, item)]
            while pending and (item is None or len(pending) >= ahead):
                if (done := pending.popleft().result()) is not None:
                    ahead = max(1, min(_AHEAD, ahead + 1, _PENDING_BYTES // done[1].nbytes))
                    yield done
