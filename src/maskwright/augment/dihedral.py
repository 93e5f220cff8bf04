"""The eight flips and quarter turns: each is at most one transposition followed by flips of rows and of columns."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

T = TypeVar("T", bound=np.generic)

_FACTORS: dict[str, tuple[bool, bool, bool]] = {
    "identity": (False, False, False),
    "flip_lr": (False, False, True),
    "flip_ud": (False, True, False),
    "rotate_90": (True, True, False),
    "rotate_180": (False, True, True),
    "rotate_270": (True, False, True),
    "transpose": (True, False, False),
    "transpose_anti": (True, True, True),
}
_NAMES = {factors: name for name, factors in _FACTORS.items()}

DIHEDRAL: tuple[str, ...] = tuple(_FACTORS)
"""Names of the transforms. Turns are counter-clockwise as seen on the screen, like `numpy.rot90`; `transpose`
mirrors at the main diagonal, `transpose_anti` at the other one."""


def factors(name: str) -> tuple[bool, bool, bool]:
    """Return what the transform does, in this order: transpose, reverse the rows, reverse the columns.

    Raises:
        KeyError: if `name` is not in `DIHEDRAL`.
    """
    return _FACTORS[name]


def apply(array: npt.NDArray[T], name: str, axes: tuple[int, int] = (0, 1)) -> npt.NDArray[T]:
    """Return `array` flipped or turned.

    Args:
        array: any shape and type; images, label maps, stacks of them.
        name: one of `DIHEDRAL`.
        axes: the axis of the rows (y, down) and the axis of the columns (x, right).

    Returns:
        A contiguous array, quarter turns and transpositions with the two axes' lengths exchanged. It is `array`
        itself where nothing changes and it is contiguous already.

    Example:
        >>> apply(np.array([[1, 2, 3]]), "rotate_90").tolist()
        [[3], [2], [1]]
    """
    transpose, flip_rows, flip_columns = factors(name)
    if transpose:
        array = np.swapaxes(array, *axes)
    if flipped := tuple(axis for axis, flip in zip(axes, (flip_rows, flip_columns), strict=True) if flip):
        array = np.flip(array, flipped)
    return np.ascontiguousarray(array)


def inverse(name: str) -> str:
    """Return the transform that undoes `name`.

    Example:
        >>> inverse("rotate_90")
        'rotate_270'
    """
    transpose, flip_rows, flip_columns = factors(name)
    return _NAMES[(transpose, flip_columns, flip_rows)] if transpose else name


def compose(first: str, second: str) -> str:
    """Return the one transform that equals `first`, then `second`.

    Example:
        >>> compose("transpose", "flip_ud")
        'rotate_90'
    """
    transpose, flip_rows, flip_columns = factors(first)
    transpose_after, rows_after, columns_after = factors(second)
    if transpose_after:  # a later transposition exchanges the earlier flips
        flip_rows, flip_columns = flip_columns, flip_rows
    return _NAMES[(transpose != transpose_after, flip_rows != rows_after, flip_columns != columns_after)]


def matrix(name: str, height: int, width: int) -> npt.NDArray[np.float64]:
    """Return the matrix that maps a pixel of the transformed image to the pixel of the image it came from.

    Args:
        name: one of `DIHEDRAL`.
        height: rows of the image before the transform.
        width: columns of the image before the transform.

    Returns:
        (3, 3) float64: output (x, y, 1) to input (x, y, 1), in pixels whose centres are integers. This is the map
        that `cv2.warpAffine` takes with `WARP_INVERSE_MAP`.

    Example:
        >>> matrix("flip_lr", 2, 5) @ [0, 1, 1]
        array([4., 1., 1.])
    """
    transpose, flip_rows, flip_columns = factors(name)
    rows, columns = (width, height) if transpose else (height, width)
    unflip: npt.NDArray[Any] = np.eye(3)
    if flip_columns:
        unflip[0] = -1, 0, columns - 1
    if flip_rows:
        unflip[1] = 0, -1, rows - 1
    return unflip[[1, 0, 2]] if transpose else unflip
