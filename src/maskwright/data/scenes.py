"""A little planet to learn on: draws sky, ground, water, rocks and plants with the truth about every pixel.

A layout says what is there, a view from where and in which light; both are drawn first and rendered after.
Lengths on the ground are in units of twice the camera's height; the camera looks along Z, X is to its right.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt

from maskwright.types import Category

Array = npt.NDArray[np.float32]
Stencil = npt.NDArray[np.bool_]

CATEGORIES: tuple[Category, ...] = (
    Category(0, "sky", (150, 190, 225)),
    Category(1, "ground", (176, 128, 84)),
    Category(2, "water", (52, 105, 170)),
    Category(3, "rock", (110, 106, 112), isthing=True),
    Category(4, "plant", (70, 150, 60), isthing=True),
)
"""What the scenes show; ids are the values of the masks."""

SKY, GROUND, WATER, ROCK, PLANT = range(5)

_GROUNDS = ((0.64, 0.41, 0.27), (0.56, 0.47, 0.36), (0.47, 0.45, 0.42), (0.68, 0.58, 0.41))
_SKIES = ((0.58, 0.70, 0.84), (0.82, 0.69, 0.54), (0.76, 0.77, 0.77), (0.70, 0.62, 0.66))
_PLANTS = ((0.33, 0.41, 0.20), (0.27, 0.48, 0.24), (0.46, 0.34, 0.24), (0.44, 0.47, 0.30))
_TEXTURE = 512
_FOCAL = 0.9  # focal length in image widths
_HEIGHT = 0.5  # the camera's, in ground units
_SMALLEST = 16  # visible pixels below which an object is left out
_VISIBLE = 0.25  # share of an object below which it is left out


@dataclass(frozen=True)
class Item:
    """One countable object on the ground: `x`, `z` its foot, `size` its radius, `shape` its drawn form."""

    kind: Literal["rock", "plant"]
    x: float
    z: float
    size: float
    shape: Array
    color: Array


@dataclass(frozen=True)
class Layout:
    """What is there: colours (3,) in 0..1, hills as (amplitude, frequency, phase) rows, a pond's outline (K, 2)."""

    horizon: float
    hills: Array
    sky: Array
    ground: Array
    water: Array
    pond: Array | None
    texture: Array
    clouds: Array
    items: tuple[Item, ...]


@dataclass(frozen=True)
class View:
    """From where and in which light: shifts in ground units and image heights, gains around 1, sigmas in pixels."""

    shift: float
    zoom: float
    pitch: float
    sun: float
    exposure: float
    slope: float
    haze: float
    tint: Array
    blur: float
    noise: float


@dataclass(frozen=True)
class Scene:
    """A picture with its truth: image (H, W, 3) uint8 RGB, mask (H, W) uint8, instances (H, W) uint16, 0 none."""

    image: npt.NDArray[np.uint8]
    mask: npt.NDArray[np.uint8]
    instances: npt.NDArray[np.uint16]


def draw_layout(rng: np.random.Generator) -> Layout:
    """Return a new place."""
    ground = _color(_GROUNDS, rng)
    sky = _color(_SKIES, rng)
    return Layout(
        horizon=rng.uniform(0.2, 0.48),
        hills=_float32(rng.uniform((0.005, 1, 0), (0.07, 9, 6.3), (4, 3))),
        sky=sky,
        ground=ground,
        water=(0.55 * sky + 0.2 * ground + (0.0, 0.04, 0.09)).astype(np.float32),
        pond=_pond(rng) if rng.random() < 0.6 else None,
        texture=_fractal(_TEXTURE, 1.0, rng),
        clouds=_fractal(_TEXTURE, 0.2, rng),
        items=_draw_items(ground, rng),
    )


def draw_views(count: int, rng: np.random.Generator) -> list[View]:
    """Return standpoints and lights, near enough to see the same place and apart enough to be no near-duplicates."""
    shifts, pitches = (_spread(count, rng) for _ in range(2))
    return [
        View(
            shift=float(shift),
            zoom=rng.uniform(0.85, 1.3),
            pitch=0.08 * float(pitch),
            sun=rng.uniform(-1, 1),
            exposure=rng.uniform(0.75, 1.2),
            slope=rng.uniform(-0.35, 0.35),
            haze=rng.uniform(0.05, 0.45),
            tint=_float32(rng.normal(1, 0.03, 3)),
            blur=rng.uniform(0.2, 0.8),
            noise=rng.uniform(0.01, 0.035),
        )
        for shift, pitch in zip(shifts, pitches, strict=True)
    ]


def render(layout: Layout, view: View, size: tuple[int, int], rng: np.random.Generator) -> Scene:
    """Return `layout` as `view` sees it, with noise from `rng`.

    Args:
        layout: what is there.
        view: from where and in which light.
        size: (height, width) in pixels.
        rng: source of the sensor noise.
    """
    camera = _Camera(layout, view, (2 * size[0], 2 * size[1]))  # drawn twice as large, for smooth edges
    picture, mask = _backdrop(layout, view, camera)
    instances = np.zeros(mask.shape, np.uint16)
    for number, (item, stencil) in enumerate(_visible(layout.items, camera), start=1):
        if item.kind == "rock":
            _paint_rock(picture, item, stencil, camera, view, layout.texture)
        else:
            _paint_plant(picture, item, stencil, camera, view)
        mask[stencil] = ROCK if item.kind == "rock" else PLANT
        instances[stencil] = number
    small = cv2.resize(picture, size[::-1], interpolation=cv2.INTER_AREA)
    return Scene(_develop(np.asarray(small, np.float32), view, rng), mask[::2, ::2].copy(), _numbered(instances))


class _Camera:
    """The view's geometry on a canvas: where ground points land, and which ground each pixel sees."""

    def __init__(self, layout: Layout, view: View, size: tuple[int, int]) -> None:
        self.height, self.width = size
        self.focal = _FOCAL * view.zoom * self.width
        self.horizon = (layout.horizon + view.pitch) * self.height
        self.shift = view.shift
        ys, xs = np.mgrid[: self.height, : self.width].astype(np.float32)
        below = np.maximum(ys - self.horizon, 0.5)
        self.z: Array = (self.focal * _HEIGHT / below).astype(np.float32)
        self.bearing: Array = ((xs - self.width / 2) / self.focal).astype(np.float32)
        self.x: Array = (self.bearing * self.z + view.shift).astype(np.float32)
        self.xs, self.ys = xs, ys

    def project(self, x: Any, z: Any) -> Array:
        """Return canvas points (..., 2) of ground points."""
        u = self.width / 2 + self.focal * (np.asarray(x) - self.shift) / z
        return np.stack([u, self.horizon + self.focal * _HEIGHT / np.asarray(z)], axis=-1).astype(np.float32)

    def fill(self, *polygons: Array) -> Stencil:
        """Return the canvas pixels (H, W) inside any of the polygons (K, 2)."""
        canvas = np.zeros((self.height, self.width), np.uint8)
        for polygon in polygons:
            cv2.fillPoly(canvas, [np.round(polygon * 8).astype(np.int32)], 1, shift=3)
        return canvas > 0


def _spread(count: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Return `count` values in -1..1, one in the middle of each of as many equal parts, in random order."""
    return (2 * (rng.permutation(count) + rng.uniform(0.3, 0.7, count)) / count) - 1


def _float32(values: Any) -> Array:
    return np.asarray(values, np.float32)


def _color(family: tuple[tuple[float, float, float], ...], rng: np.random.Generator) -> Array:
    base = np.array(family[rng.integers(len(family))])
    return _float32(base * rng.uniform(0.88, 1.1) + rng.normal(0, 0.02, 3))


def _fractal(side: int, rough: float, rng: np.random.Generator) -> Array:
    """Return a texture (side, side) that repeats without a seam, mean about 0, deviation 1; `rough` weighs detail."""
    total = np.zeros((side, side), np.float32)
    for cells, weight in ((4, 1.0), (16, 0.8), (64, 0.7 * rough), (256, 0.6 * rough)):
        grid = np.pad(rng.normal(0, 1, (cells, cells)).astype(np.float32), 2, mode="wrap")
        step = side // cells
        fine = cv2.resize(grid, None, fx=step, fy=step, interpolation=cv2.INTER_CUBIC)
        total += weight * fine[2 * step : 2 * step + side, 2 * step : 2 * step + side]
    return np.asarray(total / total.std(), np.float32)


def _pond(rng: np.random.Generator) -> Array:
    angles = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    radius = 1 + 0.25 * np.sin(2 * angles + rng.uniform(0, 6)) + 0.12 * np.sin(5 * angles + rng.uniform(0, 6))
    center, spread = rng.uniform((-1.2, 2.2), (1.2, 3.6)), rng.uniform((0.6, 0.7), (1.8, 1.6))
    outline = center + spread * radius[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    outline[:, 1] = outline[:, 1].clip(0.7)
    return _float32(outline)


def _draw_items(ground: Array, rng: np.random.Generator) -> tuple[Item, ...]:
    """Return 12 to 24 rocks and plants, the farthest first."""
    items = []
    greenness, plant = rng.uniform(0.25, 0.75), _color(_PLANTS, rng)
    for _ in range(rng.integers(12, 25)):
        z = float(1.1 + 3.4 * rng.random() ** 1.5)
        x = rng.uniform(-0.8, 0.8) * z + rng.uniform(-0.4, 0.4)
        jitter = rng.normal(0, 0.025, 3)
        if rng.random() < greenness:
            count = rng.integers(7, 13)
            blades = rng.uniform((-1.2, 0.7, -0.4, 0.8), (1.2, 1.3, 0.4, 1.2), (count, 4))
            items.append(Item("plant", x, z, rng.uniform(0.13, 0.24), _float32(blades), _float32(plant + jitter)))
        else:
            outline = rng.uniform(0.6, 1.15, rng.integers(6, 11))
            gray = ground.mean() * np.ones(3)
            color = (rng.uniform(0.5, 0.9) * ground + rng.uniform(0.1, 0.4) * gray) + jitter
            items.append(Item("rock", x, z, rng.uniform(0.09, 0.26), _float32(outline), _float32(color)))
    return tuple(sorted(items, key=lambda item: -item.z))


def _backdrop(layout: Layout, view: View, camera: _Camera) -> tuple[Array, npt.NDArray[np.uint8]]:
    """Return the picture (H, W, 3) and the mask without objects."""
    depth = (camera.ys / camera.height)[..., None]
    clouds = _sample(layout.clouds, 300 * camera.bearing + 40 * view.sun, 1.2 * camera.ys)[..., None]
    sky = layout.sky * (1.12 - 0.35 * depth) + 0.05 * clouds
    fade = np.exp(-camera.z / 5)[..., None]
    coarse = _sample(layout.texture, 40 * camera.x, 40 * camera.z)[..., None]
    fine = _sample(layout.texture, 210 * camera.x, 210 * camera.z)[..., None]
    ground = layout.ground * (1 + (0.13 * coarse + 0.1 * fine) * fade)
    ground = ground + (layout.sky - ground) * view.haze * (1 - fade)

    amplitude, frequency, phase = layout.hills.T[:, :, None]
    ridge = (amplitude * np.sin(frequency * camera.bearing[0] + phase)).clip(0).sum(axis=0) * camera.height
    mask = np.where(camera.ys < camera.horizon - ridge, SKY, GROUND).astype(np.uint8)
    picture: Array = np.where((mask == SKY)[..., None], sky, ground).astype(np.float32)
    if layout.pond is not None:
        _paint_pond(picture, mask, layout, camera)
    return picture, mask


def _paint_pond(picture: Array, mask: npt.NDArray[np.uint8], layout: Layout, camera: _Camera) -> None:
    assert layout.pond is not None
    outline = camera.project(*layout.pond.T)
    shore = camera.fill(*(outline + _float32([0, move]) for move in (-2, 3)))
    water = camera.fill(outline)
    ripples = _sample(layout.texture, 25 * camera.x, 5 * camera.ys)[..., None]
    depth = ((camera.ys - outline[:, 1].min()) / max(float(np.ptp(outline[:, 1])), 1.0))[..., None]
    picture[shore] *= 0.7
    picture[water] = (layout.water * (1.15 - 0.4 * depth) + 0.035 * ripples)[water]
    mask[water] = WATER


def _visible(items: tuple[Item, ...], camera: _Camera) -> list[tuple[Item, Stencil]]:
    """Return the objects, farthest first, of which enough can be seen, each with all its pixels."""
    stencils = [(item, camera.fill(*_outlines(item, camera))) for item in items]
    covered = np.zeros((camera.height, camera.width), bool)
    kept: list[tuple[Item, Stencil]] = []
    for item, stencil in reversed(stencils):
        seen = int((stencil & ~covered)[::2, ::2].sum())
        if seen >= max(_SMALLEST, _VISIBLE * stencil.sum() / 4):
            kept.append((item, stencil))
            covered |= stencil
    return kept[::-1]


def _outlines(item: Item, camera: _Camera) -> list[Array]:
    """Return the polygons of an object on the canvas."""
    foot, radius = camera.project(item.x, item.z), camera.focal * item.size / item.z
    if item.kind == "plant":
        return [foot + radius * blade for blade in _blades(item.shape)]
    angles = np.linspace(0, 2 * np.pi, len(item.shape), endpoint=False)
    corners = item.shape[:, None] * np.stack([np.cos(angles), 0.75 * np.sin(angles)], axis=1)
    return [(foot + radius * (corners - (0, 0.5))).astype(np.float32)]


def _blades(shape: Array) -> list[Array]:
    """Return leaves (9, 2) that grow up from the origin; `shape` rows are (lean, length, curl, width)."""
    along = np.linspace(0, 1, 5)
    blades = []
    for lean, length, curl, width in shape:
        middle = np.stack(
            [lean * along + curl * along**2, -1.9 * length * along * (1 - 0.35 * abs(lean) * along)], axis=1
        )
        half = np.stack([0.13 * width * (1 - along) ** 0.7 + 0.02, 0 * along], axis=1)
        blades.append(_float32(np.concatenate([middle - half, (middle + half)[:-1][::-1]])))
    return blades


def _paint_rock(picture: Array, item: Item, stencil: Stencil, camera: _Camera, view: View, texture: Array) -> None:
    foot, radius = camera.project(item.x, item.z), camera.focal * item.size / item.z
    shadow = np.stack([np.cos(np.linspace(0, 6.3, 16)), 0.3 * np.sin(np.linspace(0, 6.3, 16))], axis=1)
    picture[camera.fill(_float32(foot + radius * (shadow + _float32([-0.5 * view.sun, 0.15])))) & ~stencil] *= 0.62
    rows, columns = np.nonzero(stencil)
    right, down = (columns - foot[0]) / radius, (rows - foot[1]) / radius + 0.5
    facet = 2 * np.pi / len(item.shape)
    angle = (np.floor(np.arctan2(down, right) / facet) + 0.5) * facet  # flat sides, no smooth ball
    lean = np.hypot(right, down).clip(0, 1.2)
    light = 0.92 + 0.32 * lean * (view.sun * np.cos(angle) - 0.9 * np.sin(angle))
    grain = texture[np.int64(60 * down) % _TEXTURE, np.int64(60 * right + 97 * item.x) % _TEXTURE]
    picture[rows, columns] = item.color * (light + 0.05 * grain)[:, None]


def _paint_plant(picture: Array, item: Item, stencil: Stencil, camera: _Camera, view: View) -> None:
    foot, radius = camera.project(item.x, item.z), camera.focal * item.size / item.z
    shade = camera.fill(foot + _float32([[-0.6, 0], [0, -0.15], [0.6, 0], [0, 0.2]]) * radius)
    picture[shade & ~stencil] *= 0.75
    for outline, (lean, *_, tone) in zip(_outlines(item, camera), item.shape, strict=True):
        leaf = camera.fill(outline)
        picture[leaf] = item.color * (tone + 0.2 * view.sun * lean)
    rows, columns = np.nonzero(stencil)
    picture[rows, columns] *= (0.75 - 0.3 * (rows - foot[1]) / radius).clip(0.6, 1.25)[:, None]


def _sample(texture: Array, x: Array, y: Array) -> Array:
    """Return `texture` at (x, y), repeated in both directions."""
    side = texture.shape[0]
    u, v = _float32(np.mod(x, side)), _float32(np.mod(y, side))
    return _float32(cv2.remap(texture, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP))


def _develop(picture: Array, view: View, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Return the photograph: light falling off to one side, tint, blur, noise, 8 bits."""
    across = np.linspace(-1, 1, picture.shape[1], dtype=np.float32)[:, None]
    lit = picture * view.exposure * (1 + view.slope * across) * view.tint
    blurred = cv2.GaussianBlur(lit.astype(np.float32), (0, 0), view.blur)
    noisy = blurred + view.noise * rng.standard_normal(blurred.shape, np.float32)
    return np.round(noisy.clip(0, 1) * 255).astype(np.uint8)


def _numbered(instances: npt.NDArray[np.uint16]) -> npt.NDArray[np.uint16]:
    """Return every second row and column with ids 1, 2, 3 … and no gaps."""
    small = instances[::2, ::2]
    numbers = np.unique(np.append(small, 0), return_inverse=True)[1]  # the 0 makes sure that 0 stays 0
    return numbers[:-1].reshape(small.shape).astype(np.uint16)
