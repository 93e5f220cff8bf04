"""Image files in, label files out, by an export: what `predict` does with a run. Imports without torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from maskwright.artifacts import MANIFEST
from maskwright.data.images import read_image
from maskwright.data.store import ProbabilityStore
from maskwright.export.manifest import sha256
from maskwright.export.runner import Runner
from maskwright.predict.files import finish_behind, left_out, named_images, read_ahead, write_label, write_overlay
from maskwright.predict.log import PredictionLog
from maskwright.progress import track
from maskwright.tasks import fingerprint, lock
from maskwright.types import Array, Probabilities


def runner_files(
    runner: Runner, files: Sequence[tuple[str, Path]], unreadable: list[str] | None = None
) -> Iterator[tuple[str, tuple[int, int], Probabilities]]:
    """Yield (name, (H, W) of the image, (K, h, w) probabilities at working size) for named image files.

    Files that can't be read are passed over and added to `unreadable`; without that list they are a DataError.
    """

    def read(item: tuple[str, Path]) -> tuple[tuple[str, tuple[int, int]], Array]:
        image = read_image(item[1])
        return (item[0], (image.shape[0], image.shape[1])), runner.prepare(image)

    for (name, size), found in runner.stream(read_ahead(read, files, unreadable)):
        yield name, size, found


def predict_with_export(
    export: Path,
    images: Path,
    out: Path,
    *,
    overlays: bool = False,
    probabilities: bool = False,
    redo: bool = False,
    threads: int | None = None,
) -> list[Path]:
    """Predict every image below a folder (or one file) and write an index PNG for each, named as the image.

    What is there already is not predicted again, so a call that was cut short goes on.

    Args:
        export: its folder.
        images: folder or file.
        out: `NAME.png` holds category ids; nested folders are kept.
        overlays: also write `overlays/NAME.jpg`.
        probabilities: also write `probabilities/NAME.npz` (float16, at working size).
        redo: replace label files that were made by other networks or with other settings.
        threads: of the runtime; None: one a core.

    Returns:
        the label files, in the order of the images.

    Raises:
        DataError: no export, no image, two images of one name, or, when all others are done, unreadable files.
        StaleArtifactError: `out` holds labels that were made otherwise.
        UsageError: the runtime isn't installed, or another process writes into `out`.
    """
    runner, files = Runner(export, threads=threads), named_images(images)
    targets = {name: out / f"{name}.png" for name, _ in files}
    maker = fingerprint({"export": sha256(export / MANIFEST), "also": [overlays, probabilities]})
    unreadable: list[str] = []
    with lock(out):
        log = PredictionLog(out)
        todo = log.open_items(files, targets, maker, redo=redo)
        paths, store = dict(todo), ProbabilityStore(out / "probabilities")

        def finish(name: str, size: tuple[int, int], found: Probabilities) -> str:
            label = runner.finish(found, size)
            log.add(name, paths[name], maker)
            if probabilities:
                store.write(name, found)
            if overlays:
                write_overlay(out / "overlays" / f"{name}.jpg", read_image(paths[name]), label, runner.categories)
            write_label(targets[name], label, runner.categories)
            return name

        written = finish_behind(runner_files(runner, todo, unreadable), finish)
        for _ in track(written, "predict", len(todo)):
            pass
    if unreadable:
        raise left_out(unreadable, len(files), out)
    return list(targets.values())
