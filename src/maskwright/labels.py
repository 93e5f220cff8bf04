"""Label-map algebra: connected components, their areas, borders, consecutive ids, the share of equal pixels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt

from maskwright.errors import DataError, problem
from maskwright.types import IGNORE, Array, LabelMap

Connectivity = Literal[4, 8]
InstanceMap = npt.NDArray[np.int32]
Areas = npt.NDArray[np.int64]

_LARGEST_TABLE = 1 << 24
"""Ids up to here are renumbered by a table of that length (64 MiB of int32); sparser ones by sorting."""


def components(mask: npt.NDArray[Any], connectivity: Connectivity = 8) -> tuple[InstanceMap, int]:
    """Number the connected components of a mask.

    Args:
        mask: (H, W) bool or number; every pixel that is not 0 belongs to the mask.
        connectivity: 8 if pixels that share a corner are connected, 4 if they must share a side.

    Returns:
        An (H, W) int32 map with 0 outside the mask and 1..count inside, and the count. An empty mask gives 0.

    Example:
        >>> components(np.eye(2))[1], components(np.eye(2), 4)[1]
        (1, 2)
    """
    if mask.size == 0:  # OpenCV takes no image without pixels
        return np.zeros(mask.shape, np.int32), 0
    binary = np.ascontiguousarray(mask != 0).view(np.uint8)
    count, numbered = cv2.connectedComponents(binary, connectivity=connectivity, ltype=cv2.CV_32S)
    return np.asarray(numbered, np.int32), int(count) - 1


def component_areas(component_map: InstanceMap, count: int) -> Areas:
    """Areas of numbered components.

    Args:
        component_map: int32 of any shape with 0 for background and 1..count, as `components` returns it.
        count: the number of components.

    Returns:
        (count,) int64 areas in pixels; entry k is component k + 1.
    """
    return np.bincount(component_map.ravel(), minlength=count + 1)[1:].astype(np.int64, copy=False)


def relabel_consecutive(instance_map: npt.NDArray[np.integer[Any]]) -> InstanceMap:
    """Renumber the ids of an instance map 1..K without gaps, in the order of the old ids.

    Args:
        instance_map: (H, W) integers from 0; 0 is background and stays 0.

    Returns:
        (H, W) int32 with the ids 1..K.

    Raises:
        DataError: an id is negative.

    Example:
        >>> relabel_consecutive(np.array([[0, 70000, 9]])).tolist()
        [[0, 2, 1]]
    """
    if instance_map.size == 0:
        return np.zeros(instance_map.shape, np.int32)
    if (lowest := int(instance_map.min())) < 0:
        raise DataError(
            problem(
                "ids from 0 on",
                f"{lowest}",
                where="instance map",
                next_move="write the background as 0, objects from 1",
            )
        )
    if (largest := int(instance_map.max())) >= _LARGEST_TABLE:
        return _renumbered_by_sorting(instance_map)
    return _renumbered_by_table(instance_map, largest)


def apart_by_category(instance_map: InstanceMap, label: LabelMap, things: Sequence[int]) -> InstanceMap:
    """Return the map in which a number that lies on several things is another one on each of them.

    Args:
        instance_map: (H, W) ids, 0 for none.
        label: (H, W) uint8 positions.
        things: positions of the categories whose objects they are; a number on others stays.

    Returns:
        (H, W) int32: the things of a number after its first one have numbers after the largest.

    Example:
        >>> apart_by_category(np.int32([[1, 1, 2, 1, 0]]), np.uint8([[3, 3, 4, 4, 4]]), [3, 4]).tolist()
        [[1, 1, 2, 3, 0]]
    """
    known = (instance_map > 0) & np.isin(label, things)
    pairs, place = np.unique(instance_map[known].astype(np.int64) * 256 + label[known], return_inverse=True)
    further = np.flatnonzero(np.diff(pairs >> 8, prepend=-1) == 0)
    if not len(further):
        return instance_map
    numbers = (pairs >> 8).astype(np.int32)
    numbers[further] = int(instance_map.max()) + 1 + np.arange(len(further))
    found = instance_map.copy()
    found[known] = numbers[place]
    return found


def objects_by_category(
    label: LabelMap, positions: Sequence[int], ids: npt.NDArray[np.integer[Any]] | None = None
) -> Iterator[tuple[int, Array]]:
    """Yield what is one object: each category, and the (H, W) id map of its objects, 0 elsewhere.

    Without ids, objects are the 8-connected components of a category. With them, all pixels of an id are one object,
    and it is of the category of most of them, of equal ones the first; an id that has no pixel of these categories is
    none. A component that no id touches is an object, too, with a number above all ids: nothing that was predicted is
    lost only because its category has no ids.

    Args:
        label: (H, W) uint8 map of category positions with `IGNORE`.
        positions: the categories that have objects.
        ids: (H, W) id map, 0 background.

    Example:
        >>> label, ids = np.uint8([[1, 1, 2, 0, 2]]), np.array([[7, 7, 7, 0, 0]])
        >>> [(position, own.tolist()) for position, own in objects_by_category(label, [1, 2], ids)]
        [(1, [[7, 7, 7, 0, 0]]), (2, [[0, 0, 0, 0, 8]])]
    """
    if ids is None or ids.size == 0:
        yield from ((position, components(label == position)[0]) for position in positions)
        return
    numbered = relabel_consecutive(ids)
    largest = int(ids.max())
    place_of_object = _majority(label, positions, numbered)
    for place, position in enumerate(positions):
        parts, count = components(label == position)
        alone = np.arange(count + 1) > 0
        alone[parts[numbered > 0]] = False
        beyond = np.cumsum(alone) + largest
        own = np.where(place_of_object[numbered] == place, ids, 0).astype(np.int64, copy=False)
        yield position, np.where(alone[parts], beyond[parts], own)
        largest += int(alone.sum())


def borders(label: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Tell which pixels of an (H, W) label map touch, over a side, a pixel of another value; (H, W) bool.

    Example:
        >>> borders(np.array([[1, 1, 2, 2, 2]])).tolist()
        [[False, True, True, False, False]]
    """
    edge = np.zeros(label.shape, bool)
    down, right = label[1:] != label[:-1], label[:, 1:] != label[:, :-1]
    edge[1:] |= down
    edge[:-1] |= down
    edge[:, 1:] |= right
    edge[:, :-1] |= right
    return edge


def same_labels(a: LabelMap, b: LabelMap) -> float:
    """Share of equal pixels among those where at least one of two label maps is not `IGNORE`.

    Args:
        a: (H, W) uint8 map of category positions with `IGNORE`.
        b: the other map, of the same shape.

    Returns:
        The share, 0..1. A pixel that only one map ignores counts as different. NaN if no pixel is left.

    Raises:
        DataError: the shapes differ.
    """
    if a.shape != b.shape:
        raise DataError(
            problem(
                "two label maps of one size",
                f"{a.shape} and {b.shape}",
                where="same_labels",
                next_move="compare maps of the same image, at the same size",
            )
        )
    neither = int(np.count_nonzero((a == IGNORE) & (b == IGNORE)))
    equal = int(np.count_nonzero(a == b))
    return (equal - neither) / (a.size - neither) if a.size > neither else float("nan")


def _majority(label: LabelMap, positions: Sequence[int], numbered: InstanceMap) -> Array:
    """Return, by an object's number, the place of its category in `positions`; −1 of the background and of none."""
    places = np.full(256, -1)
    places[list(positions)] = np.arange(len(positions))
    place = places[label]
    inside = (numbered > 0) & (place >= 0)
    objects_there, categories = int(numbered.max(initial=0)) + 1, max(1, len(positions))
    codes = numbered[inside].astype(np.int64) * categories + place[inside]
    counts = np.bincount(codes, minlength=objects_there * categories).reshape(objects_there, categories)
    return np.where(counts.any(axis=1), counts.argmax(axis=1), -1)


def _renumbered_by_table(instance_map: Array, largest: int) -> InstanceMap:
    table = np.zeros(largest + 1, np.int32)
    table[instance_map] = 1
    table[0] = 0
    table = np.cumsum(table, dtype=np.int32) * table
    return table[instance_map]


def _renumbered_by_sorting(instance_map: Array) -> InstanceMap:
    ids, inverse = np.unique(instance_map, return_inverse=True)
    first = 0 if ids[0] == 0 else 1
    return (inverse.reshape(instance_map.shape) + first).astype(np.int32)
