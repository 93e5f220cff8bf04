"""Auto-augmentation: the 25 sub-policies of CIFAR-10, and how the operations of any sub-policy are drawn.

The sub-policies are those of Cubuk et al. (2019) as public code holds them. Two of that code's faults are mended: a
vertical shift is a share of the height, not of the width, and labels take the nearest pixel, not a soft edge.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from maskwright.augment.geometry import Geometry, Outside
from maskwright.augment.occasion import Occasion
from maskwright.augment.pixels import Enhance
from maskwright.recipe.policies import AutoAugmentSpec, Operation, OperationSpec
from maskwright.types import IGNORE, Array

_CIFAR10 = """
invert .1 7 | contrast .2 6            rotate .7 2 | translate_x .3 9          sharpness .8 1 | sharpness .9 3
shear_y .5 8 | translate_y .7 9        autocontrast .5 8 | equalize .9 2       shear_y .2 7 | posterize .3 7
color .4 3 | brightness .6 7           sharpness .3 9 | brightness .7 9        equalize .6 5 | equalize .5 1
contrast .6 7 | sharpness .6 5         color .7 7 | translate_x .5 8           equalize .3 7 | autocontrast .4 8
translate_y .4 3 | sharpness .2 6      brightness .9 6 | color .2 8            solarize .5 2 | invert .0 3
equalize .2 0 | autocontrast .6 0      equalize .2 8 | equalize .6 4           color .9 9 | equalize .6 6
autocontrast .8 4 | solarize .2 8      brightness .1 3 | color .7 0            solarize .4 5 | autocontrast .9 3
translate_y .9 9 | translate_y .7 9    autocontrast .9 2 | solarize .8 3       equalize .8 8 | invert .1 3
translate_y .7 9 | autocontrast .9 1
"""
"""Operation, probability, magnitude; two make a sub-policy. In the order of the public code, row by row."""

_POSTERIZE = (8, 8, 7, 7, 6, 6, 5, 5, 4, 4)
_SIGNED = ("shear_x", "shear_y", "translate_x", "translate_y", "rotate", "color", "contrast", "sharpness", "brightness")


def _parsed(text: str) -> tuple[tuple[OperationSpec, ...], ...]:
    words = text.replace("|", " ").split()
    triples = [words[i : i + 3] for i in range(0, len(words), 3)]
    found = [
        OperationSpec.model_validate({"op": op, "probability": float(p), "magnitude": int(m)}) for op, p, m in triples
    ]
    return tuple(zip(found[::2], found[1::2], strict=True))


POLICIES: dict[str, tuple[tuple[OperationSpec, ...], ...]] = {"cifar10": _parsed(_CIFAR10)}
"""Named lists of sub-policies."""


def amount_of(operation: Operation, magnitude: int) -> float:
    """Return what a magnitude of 0..9 means, without sign.

    Returns:
        shear: pixels a pixel; translate: share of the side; rotate: degrees; color, contrast, sharpness, brightness:
        distance of the factor from 1; posterize: bits that stay; solarize: first gray level that is inverted.

    Example:
        >>> round(amount_of("shear_y", 8), 4), amount_of("posterize", 7), amount_of("solarize", 9)
        (0.2667, 5, 0.0)
    """
    share = magnitude / 9
    if operation in ("shear_x", "shear_y"):
        return 0.3 * share
    if operation in ("translate_x", "translate_y"):
        return 150 / 331 * share
    if operation == "rotate":
        return 30 * share
    if operation == "posterize":
        return _POSTERIZE[magnitude]
    if operation == "solarize":
        return 256 - 256 * share
    return 0.9 * share if operation in _SIGNED else 0.0


def draw_auto_augment(spec: AutoAugmentSpec, rng: np.random.Generator, occasion: Occasion) -> list[Geometry | Enhance]:
    """Draw a sub-policy, which of its operations are done, and their signs."""
    if not occasion.happens(spec.probability, rng):
        return []
    policies = POLICIES[spec.policies] if isinstance(spec.policies, str) else spec.policies
    outside = Outside(spec.fill, IGNORE if spec.label_fill == "ignore" else spec.label_fill)
    return _steps(policies[rng.integers(len(policies))], rng, occasion.crop, outside)


def _steps(
    policy: Sequence[OperationSpec], rng: np.random.Generator, size: tuple[int, int], outside: Outside
) -> list[Geometry | Enhance]:
    steps: list[Geometry | Enhance] = []
    for operation in policy:
        done, sign = rng.random() < operation.probability, 1 - 2 * int(rng.integers(2))
        if not done:
            continue
        amount = amount_of(operation.op, operation.magnitude)
        if operation.op in ("color", "contrast", "sharpness", "brightness"):
            steps.append(Enhance(operation.op, 1 + sign * amount))
        elif operation.op in _SIGNED:
            steps.append(Geometry(matrix_of(operation.op, sign * amount, size), size, outside))
        else:
            steps.append(Enhance(operation.op, amount))
    return steps


def matrix_of(operation: str, amount: float, size: tuple[int, int]) -> Array:
    """Return output pixel to input pixel, centres at integers, of a geometric operation as Pillow does it.

    Args:
        operation: shear_x, shear_y (about the top left corner), translate_x, translate_y (by whole pixels), rotate
            (about the middle, counter-clockwise).
        amount: with its sign; see `amount_of`.
        size: (h, w) of the image.
    """
    height, width = size
    matrix = np.eye(3)
    if operation == "shear_x":
        matrix[0, 1:] = amount, amount / 2
    elif operation == "shear_y":
        matrix[1, [0, 2]] = amount, amount / 2
    elif operation == "translate_x":
        matrix[0, 2] = math.floor(amount * width + 0.5)
    elif operation == "translate_y":
        matrix[1, 2] = math.floor(amount * height + 0.5)
    else:
        cos, sin = math.cos(math.radians(amount)), math.sin(math.radians(amount))
        middle = np.array([(width - 1) / 2, (height - 1) / 2])
        matrix[:2, :2] = [[cos, -sin], [sin, cos]]
        matrix[:2, 2] = middle - matrix[:2, :2] @ middle
    return matrix
