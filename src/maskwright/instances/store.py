"""Objects beside probability maps on disk: ids at working size, and the numbers by which true ones are told."""

from __future__ import annotations

import io
import shutil
from collections.abc import Collection
from pathlib import Path

import numpy as np
import numpy.typing as npt

from maskwright.artifacts import atomic, write_bytes
from maskwright.data.images import read_ids
from maskwright.data.store import ProbabilityStore, unpack
from maskwright.data.written import write_array
from maskwright.errors import DataError, problem
from maskwright.labels import InstanceMap
from maskwright.types import Array

Features = npt.NDArray[np.float64]

SEEN = 160
"""Longest side, in pixels, at which embeddings are kept to be looked at."""

_OBJECTS, _SEEN = "objects", "embeddings"
_SUFFIXES = (".png", ".tif", ".npy")


def write_objects(store: ProbabilityStore, name: str, objects: InstanceMap, features: Features) -> None:
    """Write the (h, w) ids 1..K of an image's objects and their (K, F) features beside its map: objects/NAME."""
    path = _file(store, name)
    written = write_array(path.with_name(f"{path.name}.png"), objects)
    buffer = io.BytesIO()
    np.save(buffer, features.astype(np.float32), allow_pickle=False)
    write_bytes(written.with_suffix(".npy"), buffer.getvalue())


def read_objects(store: ProbabilityStore, name: str) -> InstanceMap:
    """Return the (h, w) objects of a predicted image, at working size.

    Raises:
        DataError: there are none.
    """
    return read_ids(_there(store, name, ".png", ".tif")).astype(np.int32)


def read_features(store: ProbabilityStore, name: str) -> Features:
    """Return the (K, F) features of these objects, in the order of their ids.

    Raises:
        DataError: there are none.
    """
    return np.asarray(unpack(_there(store, name, ".npy").read_bytes()), np.float64)


def thinned_out(array: Array) -> Array:
    """Return every so many pixels of an array (…, h, w), so that neither side is longer than `SEEN`; floats as float16.

    Pixels aren't averaged: a mean of two objects' embeddings would be that of none.
    """
    step = max(1, -(-max(array.shape[-2:]) // SEEN))
    thin = array[..., ::step, ::step]
    limit = float(np.finfo(np.float16).max)
    found: Array = thin.clip(-limit, limit).astype(np.float16) if thin.dtype.kind == "f" else thin.copy()
    return found


def write_seen(store: ProbabilityStore, name: str, seen: Array) -> None:
    """Write the embeddings of an image as `thinned_out` made them: embeddings/NAME.npy beside its map."""
    buffer = io.BytesIO()
    np.save(buffer, seen, allow_pickle=False)
    write_bytes(_with(store.folder / _SEEN / name, ".npy"), buffer.getvalue())


def read_seen(store: ProbabilityStore, name: str) -> Array | None:
    """Return the (E, h', w') float16 embeddings of an image to look at, None where none were kept."""
    path = _with(store.folder / _SEEN / name, ".npy")
    if not path.is_file():
        return None
    found: Array = np.load(path, allow_pickle=False)
    return found


def copy_objects(before: ProbabilityStore, now: ProbabilityStore, names: Collection[str]) -> None:
    """Copy the objects of images from one store into another, where they have any."""
    for name in names:
        for suffix in _SUFFIXES:
            source, target = (_with(_file(store, name), suffix) for store in (before, now))
            if source.is_file() and not target.is_file():
                with atomic(target) as temporary:
                    shutil.copyfile(source, temporary)


def _there(store: ProbabilityStore, name: str, *suffixes: str) -> Path:
    path = _file(store, name)
    found = next((p for p in (_with(path, suffix) for suffix in suffixes) if p.is_file()), None)
    if found is None:
        raise DataError(
            problem("the objects of an image", "none", where=str(path), next_move="predict anew: maskwright run --redo")
        )
    return found


def _file(store: ProbabilityStore, name: str) -> Path:
    return store.folder / _OBJECTS / name


def _with(path: Path, suffix: str) -> Path:
    return path.with_name(f"{path.name}{suffix}")
