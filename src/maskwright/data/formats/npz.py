"""Arrays in .npz files: training_set (N, 2, H, W) of gray images and masks beside test_set, or images and masks."""

from __future__ import annotations

import shutil
import threading
import zipfile
import zlib
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from maskwright.data.formats.files import MALFORMED
from maskwright.data.formats.rows import Content, Record, Records, Row, Source
from maskwright.data.formats.sidecars import meta_of, read_classes, read_meta, write_classes, write_meta
from maskwright.data.images import read_image
from maskwright.errors import DataError, UsageError, problem
from maskwright.types import IGNORE, Array

READS = ("*.npz", "classes.json", "meta.csv")

LARGEST = 1 << 33
"""Bytes of the arrays in a file, unpacked, up to which it is read: 8 GiB."""

_STACKS = ("training_set", "train_set")
_IMAGES = ("images", "image", "x_train", "x", "imgs")
_MASKS = ("masks", "mask", "labels", "y_train", "y", "segmentations")
_BROKEN = (
    *MALFORMED,
    OSError,
    EOFError,
    SyntaxError,
    NotImplementedError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
)
"""What NumPy and zipfile raise over files that are damaged, locked or packed in other ways."""

_UNLABELLED = ("test_set", "unlabeled", "unlabelled", "x_test")


@dataclass(frozen=True)
class _Plan:
    """Which arrays of a file hold what: names in the file; `stack` holds images and masks together."""

    stack: str | None
    images: str | None
    masks: str | None
    unlabelled: str | None
    instances: str | None


class _Arrays:
    """The arrays of a file, each unpacked when it is first asked for, by one thread, in the smallest fitting type."""

    def __init__(self, path: Path) -> None:
        self._path, self._lock = path, threading.Lock()
        self._found: dict[tuple[str, int | None], Array] = {}

    def get(self, name: str, plane: int | None = None) -> Array:
        """Return an array, or one plane of its second axis."""
        with self._lock:
            if (name, plane) not in self._found:
                try:
                    with np.load(self._path, allow_pickle=False) as file:
                        array = file[name]
                except _BROKEN as error:
                    raise _unreadable(self._path, error) from None
                planes = {None: array} if plane is None else {p: array[:, p] for p in range(array.shape[1])}
                self._found |= {(name, p): _narrow(part) for p, part in planes.items()}
            return self._found[name, plane]


def recognise(root: Path) -> bool:
    """Tell whether there is a .npz beside no folder of images."""
    return not (root / "images").is_dir() and any(path.is_file() for path in root.glob("*.npz"))


def read(root: Path) -> Source:
    """Return the rows: images are called by the file, what they are there for, and their number, `mars/training/00000`.

    Names come from the arrays training_names and test_names, where there are some; values are nobody's names:
    classes.json beside the file states them.

    Raises:
        DataError: a file can't be read, holds objects instead of numbers, more than `LARGEST`, or arrays whose meaning
            their names and shapes don't tell.
    """
    files = sorted(path for path in root.glob("*.npz") if path.is_file())
    meta = read_meta(root / "meta.csv")
    rows = []
    for path in files:
        shapes = _shapes(path)
        plan = _plan(shapes, path)
        arrays = _Arrays(path)
        prefix = f"{path.stem}/" if len(files) > 1 else ""
        training = _names(arrays, shapes, "training", shapes[plan.stack or plan.images or ""][0][0], path)
        for number, name in enumerate(training):
            place = f"{prefix}{name}"
            part = meta_of(meta, place).get("part")
            render = partial(_render, arrays, plan, number, str(path))
            ids = f"@/instances/{place}.png" if plan.instances else None
            rows.append(Row(f"@/images/{place}.png", f"@/masks/{place}.png", ids, part, meta_of(meta, place), render))
        count = shapes[plan.unlabelled][0][0] if plan.unlabelled else 0
        for number, name in enumerate(_names(arrays, shapes, "test", count, path)):
            place = f"unlabeled/{prefix}{name}"
            render = partial(_render_unlabelled, arrays, str(plan.unlabelled), number)
            rows.append(Row(f"@/{place}.png", None, None, "unlabeled", meta_of(meta, place), render))
    categories, ignore = read_classes(root / "classes.json")
    return Source("npz", rows, categories, ignore)


def write(root: Path, records: Records) -> None:
    """Write records as data.npz: gray images as training_set and test_set, RGB ones as images, masks and test_set.

    Objects are in `instances`, names in training_names and test_names, categories in classes.json. Masks hold
    positions, ignored pixels `IGNORE`.

    Raises:
        UsageError: images of several sizes, types or channels, or float images.
    """
    names: dict[str, list[str]] = {"training": [], "test": []}
    meta: dict[str, dict[str, str]] = {}
    kinds: dict[str, tuple[tuple[int, ...], np.dtype[Any]]] = {}
    scratch = root / ".arrays"
    scratch.mkdir()
    counted = 0
    for record in records:
        members = _members(record)
        _check(record, members, kinds)
        for name, array in members.items():
            kinds.setdefault(name, (array.shape, array.dtype))
            with open(scratch / name, "ab") as file:
                file.write(np.ascontiguousarray(array).tobytes())
        counted += "instances" in members
        place = record.name.removeprefix("unlabeled/")
        names["test" if "test_set" in members else "training"].append(place)
        own_part = {"part": record.part} if record.part not in (None, "unlabeled") else {}
        meta[f"unlabeled/{place}" if "test_set" in members else place] = {**record.meta, **own_part}
    if counted not in (0, len(names["training"])):
        raise _refused("objects in every labelled image, or in none", f"{counted}", f"{len(names['training'])} images")
    _pack(root / "data.npz", scratch, kinds, names)
    shutil.rmtree(scratch)
    write_classes(root / "classes.json", records.categories, IGNORE, first=0)
    write_meta(root / "meta.csv", meta)


def _shapes(path: Path) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
    """Return {name: (shape, dtype)} from the headers; nothing is unpacked.

    Raises:
        DataError: the file can't be read, holds objects, or is larger than `LARGEST` when unpacked.
    """
    found = {}
    try:
        with zipfile.ZipFile(path) as file:
            for name in file.namelist():
                with file.open(name) as member:
                    version = np.lib.format.read_magic(member)
                    read_header = (
                        np.lib.format.read_array_header_1_0
                        if version == (1, 0)
                        else np.lib.format.read_array_header_2_0
                    )
                    shape, _, dtype = read_header(member)
                    found[name.removesuffix(".npy")] = shape, dtype
    except _BROKEN as error:
        raise _unreadable(path, error) from None
    objects = [name for name, (_, dtype) in found.items() if dtype.hasobject]
    size = sum(int(np.prod(shape, dtype=object)) * dtype.itemsize for shape, dtype in found.values())
    if objects or size > LARGEST:
        raise DataError(
            problem(
                f"arrays of numbers of at most {LARGEST >> 30} GiB together",
                f"Python objects in {', '.join(objects)}, which are never unpickled"
                if objects
                else f"{size / (1 << 30):.1f} GiB",
                where=str(path),
                next_move="save the arrays as numbers of one shape" if objects else "cut the file into several",
            )
        )
    return found


def _plan(shapes: dict[str, tuple[tuple[int, ...], np.dtype[Any]]], path: Path) -> _Plan:
    """Find images and masks by their names, and see that their shapes fit.

    Raises:
        DataError: they don't, or nothing is known by its name; the message lists what is there.
    """
    lower = {name.lower(): name for name in shapes}

    def named(names: tuple[str, ...]) -> str | None:
        return next((lower[name] for name in names if name in lower), None)

    plan = _Plan(named(_STACKS), named(_IMAGES), named(_MASKS), named(_UNLABELLED), named(("instances",)))
    dims = {name: shape for name, (shape, _) in shapes.items()}
    if plan.stack is not None:
        fits = len(dims[plan.stack]) == 4 and dims[plan.stack][1] == 2
    else:
        images, masks = dims.get(plan.images or "", ()), dims.get(plan.masks or "", ())
        fits = len(masks) == 3 or (len(masks) == 4 and masks[3] == 1)
        fits = fits and images[:3] == masks[:3] and (len(images) == 3 or images[3:] in ((1,), (3,)))
    bare = dims.get(plan.unlabelled or "")
    if not fits or (bare is not None and not (len(bare) == 3 or (len(bare) == 4 and bare[3] in (1, 3)))):
        raise DataError(
            problem(
                "training_set (N, 2, H, W), or images (N, H, W) or (N, H, W, 3) with masks (N, H, W)",
                "; ".join(f"{name} {shape} {dtype}" for name, (shape, dtype) in sorted(shapes.items())) or "nothing",
                where=str(path),
                next_move="save the arrays under these names and in these shapes",
            )
        )
    return plan


def _names(arrays: _Arrays, shapes: dict[str, Any], which: str, count: int, path: Path) -> list[str]:
    key = f"{which}_names"
    if key not in shapes:
        return [f"{which}_{number:05d}" for number in range(count)]
    names = [str(name) for name in np.ravel(arrays.get(key))]
    safe = [name for name in names if name and not Path(name).is_absolute() and ".." not in Path(name).parts]
    if len(names) != count or len(set(safe)) != count:
        raise DataError(
            problem(
                f"{count} distinct names without ..",
                f"{len(names)}, {len(set(safe))} of them usable",
                where=f"{path}: {key}",
                next_move="mend the names, or leave the array out",
            )
        )
    return names


def _render(arrays: _Arrays, plan: _Plan, number: int, where: str) -> Content:
    if plan.stack is not None:
        image, mask = arrays.get(plan.stack, 0)[number], arrays.get(plan.stack, 1)[number]
    else:
        image, mask = arrays.get(str(plan.images))[number], arrays.get(str(plan.masks))[number]
    mask = mask[..., 0] if mask.ndim == 3 else mask
    whole = mask.astype(np.int32)
    if not np.array_equal(whole, mask):
        got = f"{np.unique(mask[whole != mask])[:4].tolist()}"
        next_move = "round the masks before they are saved"
        raise DataError(problem("masks of whole numbers", got, where=f"{where}, mask {number}", next_move=next_move))
    ids = arrays.get(plan.instances)[number] if plan.instances else None
    return Content(image=image, mask=whole, instances=ids)


def _render_unlabelled(arrays: _Arrays, name: str, number: int) -> Content:
    return Content(image=arrays.get(name)[number])


def _narrow(array: Array) -> Array:
    """Return whole numbers from 0 on as uint8, uint16 or int32, others as float32; names stay as they are.

    The type is that of the whole array, so that an image which happens to be all zeros is read as the others are.
    """
    if array.dtype in (np.uint8, np.uint16) or array.dtype.kind not in "biuf":
        return array
    if array.dtype.kind == "b":
        return array.astype(np.uint8)
    highest, lowest = (float(array.max()), float(array.min())) if array.size else (0.0, 0.0)
    if not (lowest >= 0 and highest < 1 << 31) or (array.dtype.kind == "f" and (np.trunc(array) != array).any()):
        return array.astype(np.float32)
    return array.astype(np.uint8 if highest < 1 << 8 else np.uint16 if highest < 1 << 16 else np.int32)


def _members(record: Record) -> dict[str, Array]:
    """Return what a record adds to each array."""
    pixels = read_image(record.image) if isinstance(record.image, Path) else record.image
    image = pixels[..., 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels
    if record.label is None:
        return {"test_set": image}
    if image.ndim == 2:
        found = {"training_set": np.stack([image, record.label.astype(image.dtype)])}
    else:
        found = {"images": image, "masks": record.label}
    return found if record.instances is None else {**found, "instances": record.instances}


def _check(record: Record, members: dict[str, Array], kinds: dict[str, tuple[tuple[int, ...], np.dtype[Any]]]) -> None:
    """See that a record's image is like those before.

    Raises:
        UsageError: it isn't, or is no whole numbers; or it has objects without a mask.
    """
    image = next(iter(members.values()))
    own = image.shape[1:] if "training_set" in members else image.shape, image.dtype
    for name in ("training_set", "images", "test_set"):
        if name not in kinds:
            continue
        shape, dtype = kinds[name]
        known = (shape[1:] if name == "training_set" else shape), dtype
        if known != own:
            raise _refused("images of one size and type", f"{own[0]} {own[1]} after {known[0]} {known[1]}", record.name)
    if image.dtype.kind == "f":
        raise _refused("images of 8 or 16 bits", str(image.dtype), record.name)
    if record.label is None and record.instances is not None:
        raise _refused("masks", "objects alone", record.name)


def _refused(expected: str, got: str, where: str) -> UsageError:
    next_move = "cut or convert the images first, or choose another format"
    return UsageError(problem(expected, got, where=f"{where}, --to npz", next_move=next_move))


def _pack(
    path: Path, scratch: Path, kinds: dict[str, tuple[tuple[int, ...], np.dtype[Any]]], names: dict[str, list[str]]
) -> None:
    """Write the arrays from their raw bytes, so that one image at a time is in memory."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, (shape, dtype) in kinds.items():
            count = len(names["test" if name == "test_set" else "training"])
            with file.open(f"{name}.npy", "w", force_zip64=True) as member, open(scratch / name, "rb") as source:
                header = {
                    "descr": np.lib.format.dtype_to_descr(dtype),
                    "fortran_order": False,
                    "shape": (count, *shape),
                }
                np.lib.format.write_array_header_1_0(member, header)
                shutil.copyfileobj(source, member)
        for key, listed in names.items():
            if listed:
                with file.open(f"{key}_names.npy", "w") as member:
                    np.lib.format.write_array(member, np.array(listed), allow_pickle=False)


def _unreadable(path: Path, error: Exception) -> DataError:
    next_move = "replace the file, or move it out of the folder"
    return DataError(
        problem("an .npz file of arrays", f"{type(error).__name__}: {error}", where=str(path), next_move=next_move)
    )
