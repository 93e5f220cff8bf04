"""Run folders as layers: images in a stack, with masks, predictions and pseudo-labels over them, read when shown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from maskwright.artifacts import RECORDS
from maskwright.audit.masks import DecidedMasks
from maskwright.data.formats.files import name_of
from maskwright.data.images import read_ids
from maskwright.data.intensity import resize_label
from maskwright.decisions import read_decisions, settled
from maskwright.doors import need
from maskwright.errors import DataError, UsageError, problem
from maskwright.napari.layers import NO_LABEL, captions, colormap
from maskwright.pictures import to_rgb8
from maskwright.review import Reviewed
from maskwright.review.page import shown_categories
from maskwright.review.sources import label_folders
from maskwright.types import Array, LabelMap

RUN = "maskwright_run"
"""What in the metadata of a layer names the run folder that it comes from."""

PREDICTED = "predictions/labels"

_KEPT = 8
LayerData = tuple[Any, dict[str, Any], str]


def reader_of(path: str | Sequence[str]) -> Callable[[str | Sequence[str]], list[LayerData]] | None:
    """Return what reads a run folder, None for anything else; a file of it stands for the folder."""
    if not isinstance(path, str):
        return None
    place = Path(path)
    folder = place if place.is_dir() else place.parent
    return (lambda _: run_layers(folder)) if (folder / RECORDS).is_dir() else None


def run_layers(run: Path) -> list[LayerData]:
    """Return the layers of a run: its images, one an image along the first axis, and its labels.

    Images are as high and wide as the largest one, the smaller ones at the upper left. Masks are what counts now, with
    what people decided.

    Raises:
        UsageError: the folder holds no audited run.
        DataError: an artifact is damaged.
    """
    source = Reviewed.of(run)
    about = {RUN: str(run)}
    colors = colormap(shown_categories(source.index.categories))
    found = list[LayerData]()
    for name, stack in run_stacks(source).items():
        shown: dict[str, Any] = {"name": name, "metadata": about}
        if stack.ndim == 4:
            found.append((stack, shown | {"rgb": True}, "image"))
            continue
        known = {"colormap": colors} if stack.dtype == np.uint8 else {}  # of objects, napari's own
        found.append((stack, shown | known | {"opacity": 0.45, "visible": name == "masks"}, "labels"))
    found.append(_names(_shown(source), about))
    return found


def run_stacks(source: Reviewed) -> dict[str, Stack]:
    """Return the images of a run, its labels and the numbers of its objects, one an image, by what they are.

    Labels are (N, H, W) uint8 category positions, `NO_LABEL` where there is none; numbers are int32, 0 where there are
    none. Masks and their objects are those that count now, read anew when somebody wrote to the log.
    """
    images = _shown(source)
    size, masks = _largest(source, images), _masks_now(source)
    shape = (len(images), *size)
    found = {"images": Stack(lambda row: to_rgb8(source.picture(images[row])), (*shape, 3), 0)}
    for name, read in _label_readers(source, images, masks).items():
        found[name] = Stack(read, shape, NO_LABEL, stamp=source.stamp)
    for name, numbers in _object_readers(source, images, masks).items():
        found[name] = Stack(numbers, shape, 0, dtype=np.int32, stamp=source.stamp)
    return found


class Stack:
    """Pictures of several files as one array, of which napari reads what it shows.

    Args:
        read: row → (H, W) or (H, W, 3) array, at most of the stack's size; None: there is none.
        shape: of all, rows first.
        blank: value where there is nothing.
        dtype: of the values.
        stamp: what changes when a row has to be read anew.
    """

    def __init__(
        self,
        read: Callable[[int], Array | None],
        shape: Sequence[int],
        blank: int,
        *,
        dtype: type[np.generic] = np.uint8,
        stamp: Callable[[], object] = lambda: None,
    ) -> None:
        self.shape, self.ndim, self.dtype = tuple(shape), len(shape), np.dtype(dtype)
        self._read, self._blank, self._stamp = read, blank, stamp
        self._kept = lru_cache(_KEPT)(self._row)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> Array:
        rows, *inner = key if isinstance(key, tuple) else (key,)
        if isinstance(rows, (int, np.integer)):
            return np.asarray(self._kept(range(len(self))[int(rows)], self._stamp())[tuple(inner)])
        chosen = range(len(self))[rows] if isinstance(rows, slice) else [int(row) for row in rows]
        empty = np.empty((0, *self.shape[1:]), self.dtype)
        found = np.stack([self._kept(row, self._stamp()) for row in chosen]) if len(chosen) else empty
        return np.asarray(found[(slice(None), *inner)])

    def __setitem__(self, key: Any, value: Any) -> None:
        next_move = "open the widget Review of maskwright, which saves what is drawn"
        raise UsageError(problem("labels to draw on", "those of a run", where="the layer", next_move=next_move))

    def _row(self, row: int, _: object) -> Array:
        found = np.full(self.shape[1:], self._blank, self.dtype)
        try:
            picture = self._read(row)
        except (DataError, OSError) as error:  # one file can't be read; the others can
            need("napari.utils.notifications", "napari").show_warning(str(error))
            return found
        if picture is not None:
            height, width = picture.shape[:2]
            found[:height, :width] = picture[: self.shape[1], : self.shape[2]]
        return found


def _shown(source: Reviewed) -> list[str]:
    return [image for image in source.index.images if image not in source.unreadable]


def _masks_now(source: Reviewed) -> Callable[[], DecidedMasks]:
    """Return what gives the masks as the log leaves them, which is read when somebody wrote to it."""
    kept = lru_cache(1)(lambda _: source.masks(settled(read_decisions(source.folder.decisions))))
    return lambda: kept(source.stamp())


def _label_readers(
    source: Reviewed, images: Sequence[str], masks: Callable[[], DecidedMasks]
) -> dict[str, Callable[[int], LabelMap | None]]:
    """Return what reads the labels of a row, by what they are."""

    def mask(row: int) -> LabelMap | None:
        now, image = masks(), images[row]
        return now.label(image) if now.labelled(image) or now.differs(image) else None

    def predicted(folder: str) -> Callable[[int], LabelMap | None]:
        def read(row: int) -> LabelMap | None:
            file = f"{folder}/{name_of(images[row])}.png"
            if not (source.folder.root / file).is_file():
                return None
            return np.asarray(resize_label(source.label_file(file), source.size(images[row])), np.uint8)

        return read

    found: dict[str, Callable[[int], LabelMap | None]] = {"masks": mask}
    if (source.folder.root / PREDICTED).is_dir():
        found["predictions"] = predicted(PREDICTED)
    for labels in label_folders(source.folder.root):
        found[f"pseudo-labels of {labels.told}"] = predicted(labels.folder)
    return found


def _object_readers(
    source: Reviewed, images: Sequence[str], masks: Callable[[], DecidedMasks]
) -> dict[str, Callable[[int], Array | None]]:
    """Return what reads the object numbers of a row, where the run has any."""
    found: dict[str, Callable[[int], Array | None]] = {}
    if source.index.table["instances"].is_not_null().any():
        found["objects"] = lambda row: masks().numbers(images[row])
    folder = source.folder.predictions / "instances"
    if folder.is_dir():

        def predicted(row: int) -> Array | None:
            file = folder / f"{name_of(images[row])}.png"
            return read_ids(file) if file.is_file() else None

        found["predicted objects"] = predicted
    return found


def _largest(source: Reviewed, images: Sequence[str]) -> tuple[int, int]:
    sizes = np.array([source.size(image) for image in images] or [(1, 1)])
    height, width = sizes.max(axis=0).tolist()
    return int(height), int(width)


def _names(images: Sequence[str], about: dict[str, Any]) -> LayerData:
    """Return the images' names, above them."""
    points = np.array([(row, -1.0, 0.0) for row in range(len(images))]).reshape(-1, 3)
    shown = captions(images) | {"name": "names", "metadata": about}
    return points, shown, "points"
