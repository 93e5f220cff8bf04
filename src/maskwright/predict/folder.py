"""A folder of images in, a folder of label files out: resumable, in shards, images of any size."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from maskwright.data.categories import id_type, to_ids
from maskwright.data.images import LARGEST_PIXELS, read_image
from maskwright.data.store import ProbabilityStore
from maskwright.data.windows import BLOCK, write_tiled
from maskwright.errors import DataError, problem
from maskwright.predict.files import (
    Found,
    Source,
    load_ensemble,
    named_images,
    predict_to_files,
    source_of,
    write_label,
    write_overlay,
)
from maskwright.predict.log import PredictionLog
from maskwright.predict.memory import TIFF
from maskwright.predict.results import ResultLog, Shard, table_path, working_folder
from maskwright.progress import track
from maskwright.recipe.predict import PostprocessStep, PredictSpec
from maskwright.tasks import file_state, fingerprint, lock


def predict_folder(
    checkpoints: Sequence[Path] | Source,
    images: Path,
    out: Path,
    *,
    spec: PredictSpec | None = None,
    chain: Sequence[PostprocessStep] = (),
    overlays: bool = False,
    probabilities: bool = False,
    uncertainty: bool = False,
    shard: Shard | None = None,
    redo: bool = False,
    accelerator: str = "auto",
) -> list[Path]:
    """Predict every image below a folder (or one file) and write an index PNG for each, named as the image.

    What is there already is not predicted again, so a run that was cut short goes on. A TIFF of more than 2 ** 28
    pixels, or one that the memory is too small for, is read and predicted by windows; of more than 2 ** 28 pixels the
    labels are a TIFF, too, with tiles. Such an image comes after all others.

    Args:
        checkpoints: averaged; or something else that predicts.
        images: folder or file.
        out: `NAME.png` holds category ids; nested folders are kept.
        spec: tiles, views, batch; default: the recipe's defaults.
        chain: post-processing.
        overlays: also write `overlays/NAME.jpg`.
        probabilities: also write `probabilities/NAME.npz` (float16, at working size).
        uncertainty: also write `entropy/NAME.png`, of several networks `disagreement/NAME.png`, and their means into a
            table with a row an image, `predictions.parquet`. The maps are gray, 255 is 1; of an image that is predicted
            by windows they are TIFFs at working size.
        shard: predict these images alone, and write the table as `predictions-SHARD.parquet`. Other processes may
            predict other shards into the same folder at the same time.
        redo: replace label files that were made by other networks or with other settings.
        accelerator: as in the recipe; of checkpoints.

    Returns:
        the label files, in the order of the images.

    Raises:
        DataError: no image there, two images of one name, or, when all others are done, files that can't be read.
        StaleArtifactError: `out` holds labels that were made otherwise.
        UsageError: another process writes into `out`, or it holds labels of other shards.
    """
    source = _source(checkpoints, spec or PredictSpec(), accelerator)
    files = [(name, path) for name, path in named_images(images, new=True) if shard is None or name in shard]
    also = (overlays, probabilities, *(("uncertainty",) if uncertainty else ()))
    work = _Work(source, tuple(chain), out, working_folder(out, shard), also, shard is not None or uncertainty)
    work.targets = {name: _target(out, name, path) for name, path in files}
    work.maker = _maker(source, chain, also)
    with lock(work.place):
        work.log = PredictionLog(work.place)
        todo = work.log.open_items(files, work.targets, work.maker, redo=redo)
        for _ in track(work.predicted(todo), "predict", len(todo)):
            pass
        work.gather([name for name, _ in files if work.targets[name].is_file()], shard)
    if work.unreadable:
        raise _left_out(work.unreadable, len(files), out)
    return list(work.targets.values())


class _Work:
    """What is done to each image of a folder."""

    log: PredictionLog
    maker: str
    targets: dict[str, Path]

    def __init__(
        self,
        source: Source,
        chain: tuple[PostprocessStep, ...],
        out: Path,
        place: Path,
        also: Sequence[object],
        tabled: bool,
    ) -> None:
        self.source, self.chain, self.out, self.place = source, chain, out, place
        self.overlays, self.probabilities, self.uncertainty = also[0], also[1], len(also) > 2
        self.tabled, self.results, self.store = tabled, ResultLog(place), ProbabilityStore(out / "probabilities")
        self.paths, self.unreadable, self.large = dict[str, Path](), list[str](), list[tuple[str, Path]]()
        self.beside = None if source.beside is None else source.beside(out, place)
        self.clock = time.perf_counter()

    def predicted(self, todo: Sequence[tuple[str, Path]]) -> Iterator[str]:
        """Predict images; yield the name of each whose label file is written."""
        self.paths, self.clock = dict(todo), time.perf_counter()
        yield from predict_to_files(
            self.source,
            (item for item in todo if not self._is_large(item)),
            self.targets,
            chain=self.chain,
            before=self.note,
            uncertainty=self.uncertainty,
            unreadable=self.unreadable,
        )
        for name, path in self.large:
            try:
                self._predict_large(name, path)
            except DataError as error:
                self.unreadable.append(f"{path}: {error.got}")
                continue
            except MemoryError:
                self.unreadable.append(f"{path}: more pixels than there is memory for")
                continue
            yield name

    def gather(self, done: Sequence[str], shard: Shard | None) -> None:
        """Write what belongs to all images that are done."""
        if self.tabled:
            self.results.gather(done, table_path(self.out, shard))
        if self.beside is not None:
            self.beside.gather(done)

    def note(self, found: Found) -> None:
        """Write all that stands beside a label file, before it is written."""
        name, path = found.name, self.paths[found.name]
        self.log.add(name, path, self.maker)
        if self.probabilities:
            self.store.write(name, found.probabilities)
        if self.overlays:
            picture = self.out / "overlays" / f"{name}.jpg"
            write_overlay(picture, read_image(path), found.label, self.source.categories)
        if self.beside is not None:
            self.beside.write(found)
        if found.uncertainty is not None:
            found.uncertainty.write(self.out, name, found.size)
        self._tell(name, found.size, {} if found.uncertainty is None else found.uncertainty.means())

    def _tell(self, name: str, size: tuple[int, int], doubt: dict[str, float | None]) -> None:
        seconds = time.perf_counter() - self.clock
        self.clock += seconds
        if self.tabled:
            label = self.targets[name].relative_to(self.out).as_posix()
            row = {"name": name, "image": str(self.paths[name]), "label": label, "height": size[0], "width": size[1]}
            self.results.add(row | {"seconds": seconds, "entropy": None, "disagreement": None} | doubt)

    def _is_large(self, item: tuple[str, Path]) -> bool:
        large = self.source.is_large is not None and self.source.is_large(item[1])
        if large:
            self.large.append(item)
        else:  # also where that of an image that was larger then, and is replaced, was a TIFF
            self.targets[item[0]] = self.out / f"{item[0]}.png"
        return large

    def _predict_large(self, name: str, path: Path) -> None:
        if self.overlays or self.probabilities:
            raise DataError(
                problem(
                    "labels alone of an image that is predicted by windows",
                    "--overlays" if self.overlays else "--probabilities",
                    where=str(path),
                    next_move="predict this image in a call of its own, without them",
                )
            )
        assert self.source.windows is not None
        with self.source.windows(path, self.chain, self.uncertainty) as windows:
            size, labels, categories = windows.size, windows.labels(), self.source.categories
            self.log.add(name, path, self.maker)

            def before() -> None:
                for kind, found in windows.maps.items():
                    rows = (found[top : top + BLOCK] for top in range(0, len(found), BLOCK))
                    write_tiled(self.out / kind / f"{name}.tif", rows, windows.working, np.uint8)
                self._tell(name, size, windows.means())

            if size[0] * size[1] <= LARGEST_PIXELS:
                label = np.concatenate(list(labels))
                before()
                write_label(self.targets[name], label, categories)
                return
            self.targets[name] = self.out / f"{name}.tif"
            ids = (to_ids(rows, categories) for rows in labels)
            write_tiled(self.targets[name], ids, size, id_type(categories), before=before)


def _target(out: Path, name: str, image: Path) -> Path:
    """Return the label file of an image: a TIFF where that of a large one stands already."""
    large = out / f"{name}.tif"
    return large if image.suffix.lower() in TIFF and large.is_file() else out / f"{name}.png"


def _source(checkpoints: Sequence[Path] | Source, spec: PredictSpec, accelerator: str) -> Source:
    if isinstance(checkpoints, Source):
        return checkpoints
    made_by = {
        "checkpoints": [[str(path.resolve()), *file_state(path)] for path in checkpoints],
        "predict": spec.model_dump(mode="json", exclude={"overlays", "checkpoint", "batch"}),
    }
    return source_of(load_ensemble(checkpoints), spec, made_by, accelerator=accelerator)


def _maker(source: Source, chain: Sequence[PostprocessStep], also: Sequence[object]) -> str:
    """Return the fingerprint of all that decides what label files hold, and of what is written beside them."""
    steps = [step.model_dump(mode="json") for step in chain]
    return fingerprint({"source": source.made_by, "chain": steps, "also": list(also)})


def _left_out(unreadable: Sequence[str], count: int, out: Path) -> DataError:
    listed = "".join(f"\n    {line}" for line in unreadable[:20])
    more = f"\n    … and {len(unreadable) - 20} more" if len(unreadable) > 20 else ""
    return DataError(
        problem(
            f"{count} images that can be read",
            f"{len(unreadable)} that can't{'; the labels of the others are written' * (len(unreadable) < count)}:"
            f"{listed}{more}",
            where=str(out),
            next_move="replace these files, or move them out of the folder; the same command goes on",
        )
    )
