"""Image files in, probabilities or label files out: read ahead, predicted in batches, written whole or not at all."""

from __future__ import annotations

import io
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from PIL import Image

from maskwright.artifacts import write_bytes
from maskwright.data.categories import to_ids
from maskwright.data.formats.files import find_images
from maskwright.data.images import read_image
from maskwright.data.intensity import standardise, to_working
from maskwright.data.store import ProbabilityStore
from maskwright.errors import DataError, problem
from maskwright.pictures import encode, overlay, to_rgb8
from maskwright.postprocess import apply_chain
from maskwright.predict.log import PredictionLog
from maskwright.progress import track
from maskwright.recipe.predict import PostprocessStep, PredictSpec
from maskwright.tasks import file_state, fingerprint, lock
from maskwright.types import Array, Categories, LabelMap, Probabilities

if TYPE_CHECKING:  # what predicts without torch imports this module, too
    from maskwright.checkpoint import Trained

_AHEAD = 8
_PENDING_BYTES = 256 << 20
_Read = tuple[tuple[str, tuple[int, int]], Array]
Predicted = Iterator[tuple[str, tuple[int, int], Probabilities]]
"""(name, (H, W) of the image, probabilities) one by one."""


@dataclass(frozen=True)
class Source:
    """What predicts the images of a folder, other than the checkpoints of one recipe.

    Attributes:
        categories: of the probabilities.
        stream: from (name, image file) pairs and a list for unreadable ones to what is predicted.
        made_by: plain data that tells it from others: labels that were made otherwise are not continued.
    """

    categories: Categories
    stream: Callable[[Sequence[tuple[str, Path]], list[str] | None], Predicted]
    made_by: object


def load_ensemble(paths: Sequence[Path]) -> list[Trained]:
    """Read checkpoints that are to be averaged.

    Raises:
        DataError: none, or they differ in categories or in how they prepare images.
    """
    from maskwright.checkpoint import load_trained

    if not paths:
        raise DataError(
            problem("at least one checkpoint", "none", where="predict", next_move="train first, or finish the training")
        )
    trained = [load_trained(path) for path in paths]
    first = trained[0]
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
    files: Sequence[tuple[str, Path]],
    spec: PredictSpec,
    *,
    accelerator: str = "auto",
    unreadable: list[str] | None = None,
) -> Iterator[tuple[str, tuple[int, int], Probabilities]]:
    """Yield (name, (H, W) of the image, (C, h, w) mean probabilities at working size) for named image files.

    Files that can't be read are passed over and added to `unreadable`; without that list they are a DataError.
    """
    from maskwright.inference import infer_stream, pick_device

    first, device = trained[0], pick_device(accelerator)
    networks = [t.network.to(device) for t in trained]

    def read(item: tuple[str, Path]) -> tuple[tuple[str, tuple[int, int]], Array]:
        image = read_image(item[1])
        working = standardise(to_working(image, first.intensity, first.scale), first.intensity)
        return (item[0], (image.shape[0], image.shape[1])), working

    stream = infer_stream(
        networks,
        read_ahead(read, files, unreadable),
        device=device,
        **spec.way(),
        precision=first.precision,
        channels_last=first.channels_last,
    )
    for (name, size), probabilities in stream:
        yield name, size, probabilities


def predict_folder(
    checkpoints: Sequence[Path] | Source,
    images: Path,
    out: Path,
    *,
    spec: PredictSpec | None = None,
    chain: Sequence[PostprocessStep] = (),
    overlays: bool = False,
    probabilities: bool = False,
    redo: bool = False,
) -> list[Path]:
    """Predict every image below a folder (or one file) and write an index PNG for each, named as the image.

    What is there already is not predicted again, so a run that was cut short goes on.

    Args:
        checkpoints: averaged; or something else that predicts.
        images: folder or file.
        out: `NAME.png` holds category ids; nested folders are kept.
        spec: tiles, views, batch; default: the recipe's defaults.
        chain: post-processing.
        overlays: also write `overlays/NAME.jpg`.
        probabilities: also write `probabilities/NAME.npz` (float16, at working size).
        redo: replace label files that were made by other networks or with other settings.

    Returns:
        the label files, in the order of the images.

    Raises:
        DataError: no image there, two images of one name, or, when all others are done, files that can't be read.
        StaleArtifactError: `out` holds labels that were made otherwise.
        UsageError: another process writes into `out`.
    """
    source = checkpoints if isinstance(checkpoints, Source) else _source_of(checkpoints, spec or PredictSpec())
    files = named_images(images)
    categories = source.categories
    targets = {name: out / f"{name}.png" for name, _ in files}
    maker = _maker(source, chain, also=(overlays, probabilities))
    unreadable: list[str] = []
    with lock(out):
        log = PredictionLog(out)
        todo = log.open_items(files, targets, maker, redo=redo)
        paths = dict(todo)
        store = ProbabilityStore(out / "probabilities")

        def before(name: str, found: Probabilities, label: LabelMap) -> None:
            log.add(name, paths[name], maker)
            if probabilities:
                store.write(name, found)
            if overlays:
                write_overlay(out / "overlays" / f"{name}.jpg", read_image(paths[name]), label, categories)

        stream = source.stream(todo, unreadable)
        written = _write_labels(stream, todo, targets, categories, chain=chain, before=before)
        for _ in track(written, "predict", len(todo)):
            pass
    if unreadable:
        raise _left_out(unreadable, len(files), out)
    return list(targets.values())


def predict_to_files(
    trained: Sequence[Trained],
    files: Sequence[tuple[str, Path]],
    targets: Mapping[str, Path],
    spec: PredictSpec,
    *,
    chain: Sequence[PostprocessStep] = (),
    before: Callable[[str, Probabilities, LabelMap], None] | None = None,
    unreadable: list[str] | None = None,
) -> Iterator[str]:
    """Write a label file for each image and yield its name; what follows the network runs while it is busy.

    Of the maps that wait to be written, 8 are kept or 256 MB, and at least one.

    Args:
        trained: averaged.
        files: (name, image file).
        targets: name → label file.
        spec: tiles, views, batch.
        chain: post-processing.
        before: called with name, probabilities at working size and label before the label file is written.
        unreadable: as in `predict_files`.
    """
    found = predict_files(trained, files, spec, unreadable=unreadable)
    yield from _write_labels(found, files, targets, trained[0].categories, chain=chain, before=before)


def _write_labels(
    predicted: Predicted,
    files: Sequence[tuple[str, Path]],
    targets: Mapping[str, Path],
    categories: Categories,
    *,
    chain: Sequence[PostprocessStep],
    before: Callable[[str, Probabilities, LabelMap], None] | None,
) -> Iterator[str]:
    """See `predict_to_files`."""
    paths = dict(files)

    def finish(name: str, size: tuple[int, int], found: Probabilities) -> str:
        label = apply_chain(to_full_size(found, size), chain, image=lambda: read_image(paths[name]))
        if before is not None:
            before(name, found, label)
        write_label(targets[name], label, categories)
        return name

    pending: deque[tuple[Future[str], int]] = deque()
    with ThreadPoolExecutor(1) as pool:
        for name, size, found in predicted:
            pending.append((pool.submit(finish, name, size, found), found.nbytes))
            while len(pending) > 1 and (len(pending) >= _AHEAD or sum(n for _, n in pending) > _PENDING_BYTES):
                yield pending.popleft()[0].result()
        while pending:
            yield pending.popleft()[0].result()


def named_images(images: Path) -> list[tuple[str, Path]]:
    """Return (name, path) of the images below a folder, or of one file; a name is the relative path without suffix."""
    if images.is_file():
        return [(images.stem, images)]
    files = [(p.relative_to(images).with_suffix("").as_posix(), p) for p in find_images(images)]
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
    """Write a label map as a gray PNG whose values are category ids."""
    buffer = io.BytesIO()
    Image.fromarray(to_ids(label, categories)).save(buffer, "PNG")
    write_bytes(path, buffer.getvalue())


def write_overlay(path: Path, image: Array, label: LabelMap, categories: Categories) -> None:
    """Write a JPEG of the image with its labels drawn over it."""
    write_bytes(path, encode(overlay(to_rgb8(image), label, categories.palette()), "jpeg", 85))


def _source_of(checkpoints: Sequence[Path], spec: PredictSpec) -> Source:
    trained = load_ensemble(checkpoints)
    made_by = {
        "checkpoints": [[str(path.resolve()), *file_state(path)] for path in checkpoints],
        "predict": spec.model_dump(mode="json", exclude={"overlays", "checkpoint", "batch"}),
    }
    return Source(
        trained[0].categories,
        lambda files, unreadable: predict_files(trained, files, spec, unreadable=unreadable),
        made_by,
    )


def _maker(source: Source, chain: Sequence[PostprocessStep], also: tuple[bool, ...]) -> str:
    """Return the fingerprint of all that decides what label files hold, and of what is written beside them."""
    steps = [step.model_dump(mode="json") for step in chain]
    return fingerprint({"source": source.made_by, "chain": steps, "also": list(also)})


def _left_out(unreadable: Sequence[str], count: int, out: Path) -> DataError:
    listed = "".join(f"\n    {line}" for line in unreadable[:20])
    more = f"\n    … and {len(unreadable) - 20} more" if len(unreadable) > 20 else ""
    return DataError(
        problem(
            f"{count} images that can be read",
            f"{len(unreadable)} that can't; the labels of the others are written:{listed}{more}",
            where=str(out),
            next_move="replace these files, or move them out of the folder; the same command goes on",
        )
    )


def read_ahead(
    read: Callable[[tuple[str, Path]], _Read], files: Iterable[tuple[str, Path]], unreadable: list[str] | None
) -> Iterator[_Read]:
    """Yield what `read` returns for each file, a few read before they are asked for; see `predict_files`."""

    def attempt(item: tuple[str, Path]) -> _Read | None:
        try:
            return read(item)
        except DataError as error:
            if unreadable is None:
                raise
            unreadable.append(f"{item[1]}: {str(error).splitlines()[0].split(', got ', 1)[-1]}")
            return None

    pending: deque[Future[_Read | None]] = deque()
    with ThreadPoolExecutor(2) as pool:
        for item in [*files, None]:
            pending += [] if item is None else [pool.submit(attempt, item)]
            while pending and (item is None or len(pending) >= _AHEAD):
                if (done := pending.popleft().result()) is not None:
                    yield done
