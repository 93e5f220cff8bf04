"""The views of SAC: a whole one, and zoomed crops of it that are warped back onto it later."""

from __future__ import annotations

import numpy as np

from maskwright.augment import Geometry, View, draw_geometry, draw_view
from maskwright.augment.occasion import Occasion
from maskwright.recipe import Recipe
from maskwright.recipe.chance import chance_at
from maskwright.recipe.sac import NormAdaptationSpec, SacSpec
from maskwright.train.unlabelled.views import Draw, PoolViews, still, weak_of
from maskwright.types import Array


def sac_views(recipe: Recipe, spec: SacSpec) -> Draw:
    """Return what draws the whole view of an image, `spec.views` − 1 zoomed crops of it, and the noise of each.

    Drawn besides: `order` (V, C) float64, by which ClassMix picks categories, infinite where it picks none; `masked`
    (rows, columns) bool, the blocks that are hidden of the whole view.
    """
    categories = len(recipe.data.to_categories())

    def draw(rng: np.random.Generator, size: tuple[int, int], occasion: Occasion) -> PoolViews:
        crop = occasion.crop
        whole = draw_geometry(spec.canvas, rng, size=size, crop=crop, progress=occasion.progress)
        zooms = [draw_zoom(spec, rng, crop) for _ in range(spec.views - 1)]
        inner = [Geometry((whole.matrix @ zoom), crop, whole.outside) for zoom in zooms]
        noise = [
            draw_view(
                spec.noise,
                rng,
                size=crop,
                crop=crop,
                channels=occasion.channels,
                progress=occasion.progress,
                source=occasion.source,
            ).steps
            for _ in range(spec.views)
        ]
        clean = tuple(View(geometry) for geometry in (whole, *inner))
        drawn: dict[str, Array] = {}
        if spec.mix is not None:
            happens = rng.random(spec.views) < chance_at(spec.mix.probability, occasion.progress)
            drawn["order"] = np.where(happens[:, None], rng.random((spec.views, categories)), np.inf)
        if spec.masked is not None:
            rows, columns = (-(-side // spec.masked.block) for side in crop)
            drawn["masked"] = rng.random((rows, columns)) < spec.masked.share
        return PoolViews(clean, tuple(View(still(crop), steps) for steps in noise), drawn)

    return draw


def plain_views(recipe: Recipe, spec: NormAdaptationSpec) -> Draw:
    """Return what draws one clean view of an image."""
    weak = weak_of(recipe, spec)

    def draw(rng: np.random.Generator, size: tuple[int, int], occasion: Occasion) -> PoolViews:
        geometry = draw_geometry(weak, rng, size=size, crop=occasion.crop, progress=occasion.progress)
        return PoolViews((View(geometry),), (), {})

    return draw


def draw_zoom(spec: SacSpec, rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """Return (3, 3) from (x, y) pixels of a zoomed crop to those of the view of (h, w) that it is a crop of."""
    height, width = size
    share = rng.uniform(*spec.zoom)
    left, top = rng.random(2) * (1 - share) * (width, height)
    matrix = np.array([[share, 0, left + share / 2 - 0.5], [0, share, top + share / 2 - 0.5], [0, 0, 1]])
    mirrored = rng.random() < spec.zoom_flip
    return matrix @ np.array([[-1, 0, width - 1], [0, 1, 0], [0, 0, 1]]) if mirrored else matrix
