"""Views of an image without labels: how it is seen is drawn for all of them at once, then each is made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from maskwright.augment import Geometry, Outside, View, draw_view
from maskwright.augment.mixing import Box, draw_box
from maskwright.augment.occasion import Occasion
from maskwright.augment.view import GEOMETRY
from maskwright.recipe import Recipe
from maskwright.recipe.augment import AugmentSpec
from maskwright.recipe.chance import chance_at
from maskwright.recipe.mixing import CutMixSpec
from maskwright.recipe.sac import NormAdaptationSpec
from maskwright.recipe.unlabelled import ConsistencySpec
from maskwright.types import IGNORE, Array

CUTOUT = CutMixSpec()
"""The box of ST++'s cutout: area and aspect are those of CutMix."""


@dataclass(frozen=True)
class LimitedNoise:
    """Gaussian noise of a standard deviation and a largest value, in gray levels; the sum isn't cut off."""

    sigma: float
    limit: float
    seed: int

    def apply(self, image: Array) -> Array:
        """Return the (h, w, C) image with noise, float32."""
        noise = np.random.default_rng(self.seed).standard_normal(image.shape, np.float32) * np.float32(self.sigma)
        noisy: Array = image + np.clip(noise, -self.limit, self.limit)
        return noisy


class PoolViews(NamedTuple):
    """What is drawn for one image.

    Attributes:
        clean: V views, changes of colour included.
        noisy: for each of S views what is done to clean view s % V besides: changes of the image alone.
        drawn: what the step mixes and masks by, by name; becomes `PoolBatch.drawn`.
        disturbed: what is done to the clean views after the noisy ones were made of them: the teacher's alone.
    """

    clean: tuple[View, ...]
    noisy: tuple[View, ...]
    drawn: dict[str, Array]
    disturbed: LimitedNoise | None = None


Draw = Callable[[np.random.Generator, tuple[int, int], Occasion], PoolViews]
"""(generator, (H, W) of the image, what else is known) → its views."""


def weak_of(recipe: Recipe, spec: ConsistencySpec | NormAdaptationSpec) -> tuple[AugmentSpec, ...]:
    """Return how clean views are varied: what the method says, else the geometry of the recipe's `augment`."""
    return tuple(one for one in recipe.augment if isinstance(one, GEOMETRY)) if spec.weak is None else spec.weak


def whole_geometry(view: View) -> Geometry:
    """Return all geometry of a view in one."""
    first, *others = view.geometries
    for geometry in others:
        first = geometry.after(first)
    return first


def inside(geometry: Geometry, size: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Return (h, w): whether a pixel of a view comes from inside the image of (H, W), whatever is shown beyond it."""
    marked = replace(geometry, outside=Outside(label=IGNORE)).apply_to_label(np.zeros(size, np.uint8))
    found: npt.NDArray[np.bool_] = marked != IGNORE
    return found


def still(crop: tuple[int, int]) -> Geometry:
    """Return the geometry that moves nothing."""
    return Geometry(np.eye(3), crop)


def consistency_views(recipe: Recipe, spec: ConsistencySpec) -> Draw:
    """Return what draws one weak view of an image and `spec.views` strong ones on top of it.

    Drawn besides: `boxes` (S, 4) int64 of CutMix and `cutout` (S, 4), top, left, height and width, the height 0 where
    there is none; `order` (C,) float64, by which ClassMix picks categories; `masked` (rows, columns) bool, the blocks
    that are hidden of a masked view.
    """
    weak, categories = weak_of(recipe, spec), len(recipe.data.to_categories())

    def draw(rng: np.random.Generator, size: tuple[int, int], occasion: Occasion) -> PoolViews:
        crop = occasion.crop
        options = {"crop": crop, "channels": occasion.channels, "progress": occasion.progress}
        clean = draw_view(weak, rng, size=size, source=occasion.source, **options)  # type: ignore[arg-type]
        drawn: dict[str, Array] = {}
        strong = [draw_view(spec.strong, rng, size=crop, source=occasion.source, **options) for _ in range(spec.views)]  # type: ignore[arg-type]
        noisy = tuple(View(still(crop), view.steps) for view in strong)
        if isinstance(spec.mix, CutMixSpec):
            drawn["boxes"] = _boxes(spec.mix, rng, spec.views, occasion)
        elif spec.mix is not None:
            happens = rng.random() < chance_at(spec.mix.probability, occasion.progress)
            drawn["order"] = rng.random(categories) if happens else np.full(categories, np.inf)
        if spec.cutout:
            drawn["cutout"] = _boxes(CUTOUT.model_copy(update={"probability": spec.cutout}), rng, spec.views, occasion)
        if spec.masked is not None:
            rows, columns = (-(-side // spec.masked.block) for side in crop)
            drawn["masked"] = rng.random((rows, columns)) < spec.masked.share
        disturbed = None
        if spec.noise:
            disturbed = LimitedNoise(255 * spec.noise, 255 * spec.noise_limit, int(rng.integers(2**31)))
        return PoolViews((clean,), noisy, drawn, disturbed)

    return draw


def _boxes(spec: CutMixSpec, rng: np.random.Generator, count: int, occasion: Occasion) -> Array:
    """Return (count, 4) boxes, all 0 where none was drawn."""
    found = []
    for _ in range(count):
        box = draw_box(rng, occasion.crop, area=spec.area, aspect=spec.aspect)
        found.append(box if occasion.happens(spec.probability, rng) else Box(0, 0, 0, 0))
    return np.array(found, np.int64)
