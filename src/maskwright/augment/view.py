"""A view of an image: everything that is drawn for it at once, then applied to image and label alike, or inverted."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from maskwright.augment import pixels
from maskwright.augment.centring import centred_on
from maskwright.augment.colour import draw_colour
from maskwright.augment.geometry import Geometry, draw_geometry
from maskwright.augment.occasion import Occasion, Source
from maskwright.augment.policies import draw_auto_augment
from maskwright.errors import RecipeError, problem
from maskwright.recipe.augment import (
    AffineSpec,
    AugmentSpec,
    BlurSpec,
    BrightnessSpec,
    ClaheSpec,
    ColourSpec,
    CropSpec,
    FlipSpec,
    ForClassesSpec,
    GrayscaleSpec,
    NoiseSpec,
    OutsideSpec,
    SharpenSpec,
    StainJitterSpec,
    StainSpec,
    TurnSpec,
)
from maskwright.recipe.policies import AutoAugmentSpec
from maskwright.types import Array, LabelMap

Step = Geometry | pixels.Change

GEOMETRY = (FlipSpec, TurnSpec, AffineSpec, CropSpec, OutsideSpec)
"""Kinds that are one warp together."""

DRAWS: dict[type, Callable[[Any, np.random.Generator, Occasion], Sequence[Step]]] = {
    BrightnessSpec: pixels.draw_brightness,
    NoiseSpec: pixels.draw_noise,
    BlurSpec: pixels.draw_blur,
    GrayscaleSpec: pixels.draw_grayscale,
    SharpenSpec: pixels.draw_sharpen,
    ClaheSpec: pixels.draw_clahe,
    AutoAugmentSpec: draw_auto_augment,
    StainSpec: pixels.draw_stain,
    StainJitterSpec: pixels.draw_stain_jitter,
}
"""Kinds that are steps of their own → what draws them."""


@dataclass(frozen=True)
class View:
    """What was drawn for one image.

    Attributes:
        geometry: crop, flips, turns and affine changes in one; comes first.
        steps: what follows, in order: changes of the image alone, and geometry that fills what it uncovers.
    """

    geometry: Geometry
    steps: tuple[Step, ...] = ()

    def __str__(self) -> str:
        return "; ".join(text for text in map(str, (self.geometry, *self.steps)) if text)

    def apply_to_image(self, image: Array) -> Array:
        """Return the (h, w, C) view of the (H, W, C) image in 0..255."""
        image = self.geometry.apply_to_image(image)
        for step in self.steps:
            image = step.apply_to_image(image) if isinstance(step, Geometry) else step.apply(image)
        return image

    def apply_to_label(self, label: LabelMap) -> LabelMap:
        """Return the (h, w) view of the label map."""
        for geometry in self.geometries:
            label = geometry.apply_to_label(label)
        return label

    def apply_to_shares(self, shares: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return the (C, h, w) view of soft labels, (C, H, W) shares of the categories."""
        for geometry in self.geometries:
            shares = geometry.apply_to_shares(shares)
        return shares

    def apply_to_instances(self, instances: Array) -> Array:
        """Return the (h, w) view of the uint16 or int32 instance map."""
        for geometry in self.geometries:
            instances = geometry.apply_to_instances(instances)
        return instances

    @property
    def geometries(self) -> tuple[Geometry, ...]:
        """All geometry, in order."""
        return (self.geometry, *(step for step in self.steps if isinstance(step, Geometry)))

    def inverse(self, size: tuple[int, int]) -> Geometry:
        """Return the geometry that leads back from the view to the image of the given (H, W), all steps in one.

        Pixels of the image that the view doesn't show are treated as its last geometry treats uncovered ones.
        """
        whole = self.geometry
        for geometry in self.geometries[1:]:
            whole = geometry.after(whole)
        return whole.inverse(size)


def draw_view(
    specs: Sequence[AugmentSpec],
    rng: np.random.Generator,
    *,
    size: tuple[int, int],
    crop: tuple[int, int],
    channels: int,
    progress: float = 0.0,
    source: Source = Source(),  # noqa: B008
) -> View:
    """Draw a view: all geometry at once, then the other kinds in the recipe's order.

    Args:
        specs: the recipe's list.
        rng: generator.
        size: (H, W) of the image.
        crop: (h, w) of the view.
        channels: of the image.
        progress: of the training, from 0 to 1.
        source: what else is known of the image; stains and classes are asked of it.

    Raises:
        RecipeError: a change is for a class that there isn't.
    """
    occasion = Occasion(crop, channels, progress, source)
    specs = [spec for given in specs for spec in _resolved(given, source)]
    geometry = draw_geometry(specs, rng, size=size, crop=crop, progress=progress)
    if source.centre is not None:
        geometry = centred_on(geometry, source.centre, size)
    return View(geometry, tuple(_draw_steps(specs, rng, occasion, geometry)))


def _draw_steps(
    specs: Sequence[AugmentSpec], rng: np.random.Generator, occasion: Occasion, geometry: Geometry
) -> Iterator[Step]:
    """Draw everything but the one warp; neighbouring changes of colour are one."""
    for kind, group in itertools.groupby((spec for spec in specs if not isinstance(spec, GEOMETRY)), type):
        if kind is ColourSpec:
            yield draw_colour(list(group), rng, channels=occasion.channels, progress=occasion.progress)
            continue
        for spec in group:
            if isinstance(spec, ForClassesSpec):
                yield from _draw_for_classes(spec, rng, occasion, geometry)
            else:
                yield from DRAWS[kind](spec, rng, occasion)


def _resolved(spec: AugmentSpec, source: Source) -> Sequence[AugmentSpec]:
    """Return what a spec comes to for an image: one for classes of the image is what it holds, or nothing."""
    if not isinstance(spec, ForClassesSpec) or spec.seen_in == "crop":
        return [spec]
    return spec.augment if _holds(source.label, spec, source.names) else []


def _draw_for_classes(
    spec: ForClassesSpec, rng: np.random.Generator, occasion: Occasion, geometry: Geometry
) -> Iterator[Step]:
    """Draw what a spec for classes of the crop holds, if it shows them; its geometry is a warp of the crop."""
    label = occasion.source.label
    if not _holds(None if label is None else geometry.apply_to_label(label), spec, occasion.source.names):
        return
    if any(isinstance(inner, GEOMETRY) for inner in spec.augment):
        yield draw_geometry(spec.augment, rng, size=occasion.crop, crop=occasion.crop, progress=occasion.progress)
    yield from _draw_steps(spec.augment, rng, occasion, geometry)


def _holds(label: LabelMap | None, spec: ForClassesSpec, names: Sequence[str]) -> bool:
    if unknown := [name for name in spec.classes if name not in names]:
        raise RecipeError(
            problem(
                f"names among {', '.join(names) or 'none: there are no labels'}",
                ", ".join(unknown),
                where="augment: classes of `kind: for_classes`",
                next_move="use the names of the categories",
            )
        )
    return label is not None and any(bool((label == names.index(name)).any()) for name in spec.classes)
