"""How finely a mask is drawn: the length of its outlines, counted by the image's own edges under them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from maskwright.audit.hashing import gray_of
from maskwright.errors import RecipeError, problem
from maskwright.recipe.target import import_target
from maskwright.types import IGNORE, Array, LabelMap

Scorer = Callable[[Array, LabelMap], float]

_DETAIL = 1 / 250
"""Standard deviation of the smoothing, as a share of the square root of the image's area."""

_LEAST = 0.7
"""The same in pixels, at least: below it, what is measured is the raster."""


def fineness(image: Array, label: LabelMap) -> float:
    """Score how finely a mask is drawn; of two masks of one image the finer one scores higher.

    F = 1 / √(H·W) · ½ Σ_c Σ_p |∇(G_σ ∗ 1_c)|(p) · (2 ρ(p) - 1), where 1_c is the area of category c, G_σ a Gaussian
    with σ = √(H·W) / 250 (at least 0.7 pixels), and ρ(p) the share of the image's pixels whose gradient, smoothed
    alike, is weaker than that at p. The inner sum alone is the length of c's outlines (total variation), each border
    between two categories being there twice: small objects, holes and every turn of an outline lengthen it, polygons
    with few corners, convex hulls and forgotten objects shorten it. The factor lets length count by what can be seen
    below it: 1 on the strongest edge, 0 on average where outlines lie at random. Outlines that cut corners, are
    shifted, blocky from enlargement or ragged from noise may be long, too, but don't lie on edges. Borders with
    ignored pixels don't count. Magnified together, image and mask keep their score.

    Args:
        image: (H, W, C) of any type.
        label: (H, W) uint8 map of category positions with `IGNORE`.

    Returns:
        The score; 0 for a mask of one category or none, below 0 where outlines avoid the edges.
    """
    return fineness_on(image)(label)


def fineness_on(image: Array) -> Callable[[LabelMap], float]:
    """Return `fineness` of masks of one image, what the image has to do with it being counted once.

    Args:
        image: (H, W, C) of any type.
    """
    side = float(np.sqrt(image.shape[0] * image.shape[1]))
    sigma = max(side * _DETAIL, _LEAST)
    strength = _gradient(gray_of(image).astype(np.float32), sigma)
    rank = (rankdata(strength, "min").reshape(strength.shape) - 1) / max(strength.size - 1, 1)
    weight = 2 * rank - 1

    def score(label: LabelMap) -> float:
        ignored = (label == IGNORE).astype(np.uint8)
        seen = cv2.dilate(ignored, np.ones((3, 3), np.uint8), iterations=int(np.ceil(3 * sigma)) + 1) == 0
        length = 0.0
        for category in np.unique(label[label != IGNORE]):
            border = _gradient((label == category).astype(np.float32), sigma)
            length += float((border * weight)[seen].sum()) / 2
        return length / side if side else 0.0

    return score


def load_scorer(target: str | None) -> Scorer:
    """Return the scorer that a recipe names as `package:name`, `fineness` if it names none.

    Raises:
        RecipeError: there is none of this name, or it can't be called.
    """
    found: Any = fineness if target is None else import_target(target)
    if not callable(found):
        raise RecipeError(
            problem(
                "a function of (image, label) that returns a number",
                f"{type(found).__name__}",
                where=f"audit.fineness: {target}",
                next_move="name a function as package.module:name",
            )
        )
    scorer: Scorer = found
    return scorer


def _gradient(values: npt.NDArray[np.float32], sigma: float) -> npt.NDArray[np.float32]:
    """Return the length of the gradient of the smoothed values, per pixel."""
    smooth = cv2.GaussianBlur(values, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
    steps = [np.gradient(smooth, axis=axis) if n > 1 else np.zeros_like(smooth) for axis, n in enumerate(smooth.shape)]
    return np.asarray(np.hypot(*steps), np.float32)
