"""Changes of gray values that are no single matrix and curve: noise, blur, sharpening, equalisation, stains."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from maskwright.augment.colour import Colour
from maskwright.augment.enhance import ENHANCE
from maskwright.augment.occasion import Occasion
from maskwright.augment.stain import Stained, StainFit, jitter, restain
from maskwright.recipe.augment import (
    BlurSpec,
    BrightnessSpec,
    ClaheSpec,
    GrayscaleSpec,
    NoiseSpec,
    SharpenSpec,
    StainJitterSpec,
    StainSpec,
)
from maskwright.recipe.chance import chance_at
from maskwright.types import Array

_LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class Noise:
    """Gaussian noise of a standard deviation in gray levels, each value's own; the same for the same seed."""

    sigma: float
    seed: int
    clip: bool

    def __str__(self) -> str:
        return f"noise {self.sigma:.1f}"

    def apply(self, image: Array) -> Array:
        """Return the (h, w, C) image with noise, of its own type and range if clipped, else float32."""
        noise = np.empty((image.shape[0], image.shape[1] * image.shape[2]), np.float32)  # one channel: one sigma
        cv2.setRNGSeed(self.seed)  # of this thread's generator: what is drawn depends on the seed alone
        cv2.randn(noise, 0, self.sigma)  # type: ignore[call-overload]
        noise = noise.reshape(image.shape)
        if not self.clip:
            return cv2.add(image, noise, dtype=cv2.CV_32F).reshape(image.shape)
        if image.dtype == np.uint8:
            return cv2.add(image, noise, dtype=cv2.CV_8U).reshape(image.shape)
        noisy: Array = np.clip(image + noise, 0, 255)
        return noisy


@dataclass(frozen=True)
class Blur:
    """A Gaussian of a standard deviation in pixels; the border is mirrored."""

    sigma: float

    def __str__(self) -> str:
        return f"blur {self.sigma:.1f}"

    def apply(self, image: Array) -> Array:
        """Return the (h, w, C) image blurred."""
        return cv2.GaussianBlur(image, (0, 0), self.sigma, borderType=cv2.BORDER_REFLECT_101).reshape(image.shape)


@dataclass(frozen=True)
class Enhance:
    """One of Pillow's colour operations."""

    operation: str
    amount: float

    def __str__(self) -> str:
        return f"{self.operation} {self.amount:.3g}"

    def apply(self, image: Array) -> Array:
        """Return the (h, w, C) image changed."""
        return ENHANCE[self.operation](image, self.amount)


@dataclass(frozen=True)
class Clahe:
    """Contrast-limited adaptive histogram equalisation of the lightness (L of CIE L*a*b*), or of the one channel."""

    clip: float
    tiles: int

    def __str__(self) -> str:
        return f"CLAHE {self.clip:.1f}"

    def apply(self, image: Array) -> Array:
        """Return the (h, w, C) image equalised; float images in 16 bits."""
        tiles = min(self.tiles, *image.shape[:2])
        equaliser = cv2.createCLAHE(self.clip, (tiles, tiles))
        if image.shape[2] == 1:
            return self._apply_to_plane(image[..., 0], equaliser)[..., None]
        scale = 1 if image.dtype == np.uint8 else np.float32(1 / 255)
        lab = cv2.cvtColor(image * scale if image.dtype != np.uint8 else image, cv2.COLOR_RGB2LAB)
        if image.dtype == np.uint8:
            lab[..., 0] = equaliser.apply(np.ascontiguousarray(lab[..., 0]))
            return cv2.cvtColor(lab, cv2.COLOR_LAB2RGB)
        lab[..., 0] = self._apply_to_plane(lab[..., 0] * np.float32(2.55), equaliser) / np.float32(2.55)
        equalised: Array = np.clip(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB) * 255, 0, 255)
        return equalised

    def _apply_to_plane(self, plane: Array, equaliser: cv2.CLAHE) -> Array:
        if plane.dtype == np.uint8:
            return np.asarray(equaliser.apply(np.ascontiguousarray(plane)))
        deep = (np.clip(plane, 0, 255) * 257).round().astype(np.uint16)
        found: Array = equaliser.apply(deep).astype(np.float32) / 257
        return found


@dataclass(frozen=True)
class Restain:
    """The image with its stains at reference colours, or one of them alone; as it is where none could be fitted."""

    shown: Stained
    fit: StainFit | None

    def __str__(self) -> str:
        return self.shown if self.fit is not None else f"{self.shown}: no stain found"

    def apply(self, image: Array) -> Array:
        """Return the (h, w, 3) image recoloured."""
        return restain(image, self.fit, self.shown)


@dataclass(frozen=True)
class StainJitter:
    """The image with other concentrations of its stains; as it is where none could be fitted."""

    scale: tuple[float, float]
    shift: tuple[float, float]
    fit: StainFit | None

    def __str__(self) -> str:
        if self.fit is None:
            return "stain jitter: no stain found"
        return "stains " + ", ".join(f"× {s:.2f} + {o:.2f}" for s, o in zip(self.scale, self.shift, strict=True))

    def apply(self, image: Array) -> Array:
        """Return the (h, w, 3) image recoloured."""
        return jitter(image, self.fit, scale=np.array(self.scale), shift=np.array(self.shift))


Change = Colour | Noise | Blur | Enhance | Clahe | Restain | StainJitter
"""What changes the image and leaves the label: `apply(image)`, and text for captions."""


def draw_brightness(spec: BrightnessSpec, rng: np.random.Generator, occasion: Occasion) -> list[Change]:
    """Draw a factor on all values."""
    if not occasion.happens(spec.probability, rng):
        return []
    return [Colour(rng.uniform(*spec.factor) * np.eye(occasion.channels, occasion.channels + 1), 1.0)]


def draw_noise(spec: NoiseSpec, rng: np.random.Generator, occasion: Occasion) -> list[Change]:
    """Draw the strength and the seed of noise."""
    if not occasion.happens(spec.probability, rng):
        return []
    return [Noise(255 * float(rng.uniform(*spec.sigma)), int(rng.integers(1, 2**31)), spec.clip)]


def draw_blur(spec: BlurSpec, rng: np.random.Generator, occasion: Occasion) -> list[Change]:
    """Draw the width of a blur."""
    return [Blur(float(rng.uniform(*spec.sigma)))] if occasion.happens(spec.probability, rng) else []


def draw_grayscale(spec: GrayscaleSpec, rng: np.random.Generator, occasion: Occasion) -> list[Change]:
    """Draw whether colour goes; an image of one channel has none."""
    if not occasion.happens(spec.probability, rng) or occasion.channels != 3:
        return []
    return [Colour(np.column_stack([np.tile(_LUMA, (3, 1)), np.zeros(3)]), 1.0)]


def draw_sharpen(spec: SharpenSpec, rng: np.random.Generator, occasion: Occasion) -> list[Change]:
    """Draw how much is sharpened."""
    if not occasion.happens(spec.probability, rng):
        return []
    return [Enhance("sharpness", 1 + float(rng.uniform(*spec.strength)))]


def draw_clahe(spec: ClaheSpec, rng: np.random.Generator, occasion: Occasion) -> list[Change]:
    """Draw the limit of the contrast."""
    return [Clahe(float(rng.uniform(*spec.clip)), spec.tiles)] if occasion.happens(spec.probability, rng) else []


def draw_stain(spec: StainSpec, rng: np.random.Generator, occasion: Occasion) -> list[Change]:
    """Draw which of the alternative inputs is shown, if not the image itself."""
    drawn = rng.random()
    kinds: tuple[Stained, ...] = ("norm", "hematoxylin", "eosin")
    for kind in kinds:
        drawn -= chance_at(getattr(spec, kind), occasion.progress)
        if drawn < 0:
            return [Restain(kind, occasion.source.stain())]
    return []


def draw_stain_jitter(spec: StainJitterSpec, rng: np.random.Generator, occasion: Occasion) -> list[Change]:
    """Draw the concentrations of the stains."""
    if not occasion.happens(spec.probability, rng):
        return []
    (a, b), (c, d) = rng.uniform(-spec.scale, spec.scale, 2), rng.uniform(-spec.shift, spec.shift, 2)
    return [StainJitter((1 + float(a), 1 + float(b)), (float(c), float(d)), occasion.source.stain())]
