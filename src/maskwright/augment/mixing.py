"""Mixing a crop with a partner: what of the partner comes in is drawn, then applied to image, label and instances."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from maskwright.augment.geometry import Geometry
from maskwright.errors import UsageError, problem
from maskwright.labels import InstanceMap, components, relabel_consecutive
from maskwright.recipe.mixing import BoxSpec, ClassMixSpec, CopyPasteSpec, CutMixSpec, CutoutSpec, MixSpec, MixUpSpec
from maskwright.types import IGNORE, Array, Categories, LabelMap

Mask = npt.NDArray[np.bool_]
SoftLabel = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Crop:
    """What is mixed.

    Attributes:
        image: (h, w, channels) in 0..255.
        label: (h, w) uint8 positions with `IGNORE`.
        instances: (h, w) uint16 or int32 ids, 0 for none; None where nobody knows.
        shares: (C, h, w) float32 of the categories where labels are soft, or after MixUp, see `blend_labels`; `label`
            then has the larger one.
    """

    image: Array
    label: LabelMap
    instances: Array | None = None
    shares: SoftLabel | None = None


@dataclass(frozen=True)
class Pasting:
    """Pixels that are taken from the partner.

    Attributes:
        mask: (h, w), where.
        geometry: how the partner is moved first; None: not at all.
        feather: standard deviation in pixels by which the mask is softened for the image alone.
    """

    mask: Mask
    geometry: Geometry | None = None
    feather: float = 0.0

    def apply(self, crop: Crop, partner: Crop) -> Crop:
        """Return the crop with the partner's pixels.

        Raises:
            UsageError: only one of the two has an instance map.
        """
        if (crop.instances is None) != (partner.instances is None):
            got = "one of the crop alone" if partner.instances is None else "one of the partner alone"
            next_move = "give both instance maps, or none"
            raise UsageError(problem("instance maps of both", got, where="mixing", next_move=next_move))
        instances = None
        if crop.instances is not None and partner.instances is not None:
            instances = self.apply_to_instances(crop.instances, partner.instances)
        image = self.apply_to_image(crop.image, partner.image)
        label = self.apply_to_label(crop.label, partner.label)
        return Crop(image, label, instances, self._pasted_shares(crop, partner))

    def _pasted_shares(self, crop: Crop, partner: Crop) -> SoftLabel | None:
        """Return the shares of both, None where labels are hard."""
        if crop.shares is None or partner.shares is None:
            return None
        over = partner.shares if self.geometry is None else self.geometry.apply_to_shares(partner.shares)
        return np.where(self.mask, over, crop.shares)

    def apply_to_image(self, image: Array, partner: Array) -> Array:
        """Return the (h, w, channels) image, of the same type."""
        over = partner if self.geometry is None else self.geometry.apply_to_image(partner)
        if not self.feather:
            return _pasted(image, over, self.mask)
        weight = cv2.GaussianBlur(self.mask.astype(np.float32), (0, 0), self.feather)[..., None]
        mixed: Array = image + weight * (over.astype(np.float32) - image)
        return mixed.astype(image.dtype) if image.dtype.kind == "f" else np.rint(mixed).astype(image.dtype)

    def apply_to_label(self, label: LabelMap, partner: LabelMap) -> LabelMap:
        """Return the (h, w) label map; ignored pixels of the partner come along."""
        over = partner if self.geometry is None else self.geometry.apply_to_label(partner)
        return _pasted(label, over, self.mask)

    def apply_to_instances(self, instances: Array, partner: Array) -> InstanceMap:
        """Return (h, w) int32 ids; those of the crop stay, those of the partner come after the largest of them.

        An object that is covered in part keeps its id; one that is pasted in part gets an id of its own.
        """
        over = partner if self.geometry is None else self.geometry.apply_to_instances(partner)
        pasted = relabel_consecutive(np.where(self.mask, over, 0))
        under = instances.astype(np.int32)
        if int(under.max(initial=0)) > np.iinfo(np.int32).max - int(pasted.max(initial=0)):
            under = relabel_consecutive(under)
        pasted[pasted > 0] += under.max(initial=0)
        return np.where(self.mask, pasted, under)


@dataclass(frozen=True)
class Blend:
    """A weighted mean with the partner (MixUp).

    Attributes:
        share: λ of the crop itself; the partner has 1 − λ.
        categories: C.
    """

    share: float
    categories: int

    def apply(self, crop: Crop, partner: Crop) -> Crop:
        """Return the blended crop, its label soft.

        Raises:
            UsageError: there are instance maps: a pixel of two objects has no id.
        """
        if crop.instances is not None or partner.instances is not None:
            got, next_move = "instance maps", "paste with cutmix, classmix or copy_paste"
            raise UsageError(problem("crops without instance maps", got, where="mixup", next_move=next_move))
        first, second = (crop.label, partner.label) if self.share >= 0.5 else (partner.label, crop.label)
        if crop.shares is None or partner.shares is None:
            shares = self.apply_to_label(crop.label, partner.label)
        else:
            shares = blend_shares(crop.shares, partner.shares, self.share)
        return Crop(
            self.apply_to_image(crop.image, partner.image), np.where(first == IGNORE, second, first), shares=shares
        )

    def apply_to_image(self, image: Array, partner: Array) -> Array:
        """Return the (h, w, channels) image, of the same type."""
        return cv2.addWeighted(image, self.share, partner, 1 - self.share, 0).reshape(image.shape)

    def apply_to_label(self, label: LabelMap, partner: LabelMap) -> SoftLabel:
        """Return the (C, h, w) shares of the categories."""
        return blend_labels(label, partner, self.share, self.categories)


@dataclass(frozen=True)
class Cutout:
    """Pixels that show noise, and aren't learned from.

    Attributes:
        mask: (h, w), where.
        seed: of the noise, uniform in 0..255.
    """

    mask: Mask
    seed: int

    def apply(self, crop: Crop, partner: Crop) -> Crop:
        """Return the crop without these pixels; an object that is covered as a whole is gone."""
        instances = None if crop.instances is None else np.where(self.mask, 0, crop.instances)
        shares = None if crop.shares is None else np.where(self.mask, np.float32(0), crop.shares)
        return Crop(self.apply_to_image(crop.image), self.apply_to_label(crop.label), instances, shares)

    def apply_to_image(self, image: Array) -> Array:
        """Return the (h, w, channels) image, of the same type."""
        noise = np.random.default_rng(self.seed).integers(0, 256, image.shape, np.uint8)
        return np.where(self.mask[..., None], noise.astype(image.dtype), image)

    def apply_to_label(self, label: LabelMap) -> LabelMap:
        """Return the (h, w) label map."""
        return np.where(self.mask, np.uint8(IGNORE), label)


Mixture = Pasting | Blend | Cutout


class Box(NamedTuple):
    """A box in pixels."""

    top: int
    left: int
    height: int
    width: int


def draw_mixture(spec: MixSpec, rng: np.random.Generator, partner: Crop, *, categories: Categories) -> Mixture:
    """Draw what of a partner comes in; `probability` is the caller's.

    Args:
        spec: an item of the recipe's list.
        rng: generator.
        partner: of the same size as the crop that it will be mixed into.
        categories: what its label means.
    """
    return MIXTURES[type(spec)](spec, rng, partner, categories)


def blend_labels(label: LabelMap, partner: LabelMap, share: float, categories: int) -> SoftLabel:
    """Return the shares of the categories in `share` of one label and 1 − `share` of another.

    A pixel that one of the two ignores has the other's category alone: the ignored share is left out and the rest
    counts as the whole. A pixel that both ignore has no shares: all are 0, the mark of an ignored pixel.

    Args:
        label: (h, w) uint8 with `IGNORE`.
        partner: likewise.
        share: of `label`, from 0 to 1.
        categories: C.

    Returns:
        (C, h, w) float32 whose sum over C is 1, or 0 where ignored.

    Example:
        >>> a, b = np.array([[0, 1, 255]], np.uint8), np.array([[1, 255, 255]], np.uint8)
        >>> blend_labels(a, b, 0.75, 2).tolist()
        [[[0.75, 0.0, 0.0]], [[0.25, 1.0, 0.0]]]
    """
    own, other = (_is_category(one, categories).view(np.uint8).reshape(categories, -1) for one in (label, partner))
    shares = np.asarray(cv2.addWeighted(own, share, other, 1 - share, 0, dtype=cv2.CV_32F), np.float32)
    alone = np.flatnonzero((label == IGNORE) != (partner == IGNORE))
    shares[:, alone] = own[:, alone] | other[:, alone]
    return shares.reshape(categories, *label.shape)


def blend_shares(shares: SoftLabel, partner: SoftLabel, share: float) -> SoftLabel:
    """Return `share` of one soft label and 1 − `share` of another, (C, h, w) each; as `blend_labels` of hard ones."""
    ignored, alone = (one.sum(0) == 0 for one in (shares, partner))
    mixed = share * shares + (1 - share) * partner
    return np.asarray(np.where(ignored, partner, np.where(alone, shares, mixed)), np.float32)


def soft_label(label: LabelMap, categories: int) -> SoftLabel:
    """Return the (C, h, w) float32 shares of a label that is not mixed: 1 for its category, all 0 where ignored."""
    return _is_category(label, categories).astype(np.float32)


def draw_box(
    rng: np.random.Generator, size: tuple[int, int], *, area: tuple[float, float], aspect: tuple[float, float]
) -> Box:
    """Draw a box inside a crop of any size.

    The area is drawn first and kept; an aspect ratio with which the box would be higher or wider than the crop gives
    way to the nearest one with which it isn't. All places are equally likely.

    Args:
        rng: generator.
        size: (h, w) of the crop.
        area: smallest and largest share of the crop's area, drawn uniformly.
        aspect: smallest and largest height over width, drawn uniformly.

    Returns:
        a box of at least one pixel.
    """
    pixels, ratio = rng.uniform(*area) * size[0] * size[1], rng.uniform(*aspect)
    ratio = min(max(ratio, pixels / size[1] ** 2), size[0] ** 2 / pixels)
    height = min(max(1, round(math.sqrt(pixels * ratio))), size[0])
    width = min(max(1, round(math.sqrt(pixels / ratio))), size[1])
    top, left = rng.integers(size[0] - height + 1), rng.integers(size[1] - width + 1)
    return Box(int(top), int(left), height, width)


def pasted_positions(spec: CopyPasteSpec, categories: Categories) -> list[int]:
    """Return the positions of the categories whose objects are pasted.

    Raises:
        RecipeError: a name that no category has.
    """
    if spec.classes is not None:
        return categories.positions(spec.classes, where="mix: copy_paste.classes")
    things = categories.things
    return things or categories.evaluated


def _draw_cutmix(spec: CutMixSpec, rng: np.random.Generator, partner: Crop, categories: Categories) -> Pasting:
    return Pasting(_drawn_box(spec, rng, partner))


def _draw_cutout(spec: CutoutSpec, rng: np.random.Generator, partner: Crop, categories: Categories) -> Cutout:
    return Cutout(_drawn_box(spec, rng, partner), int(rng.integers(2**31)))


def _drawn_box(spec: BoxSpec, rng: np.random.Generator, partner: Crop) -> Mask:
    size = (partner.label.shape[0], partner.label.shape[1])
    box, mask = draw_box(rng, size, area=spec.area, aspect=spec.aspect), np.zeros(size, bool)
    mask[box.top : box.top + box.height, box.left : box.left + box.width] = True
    return mask


def _draw_classmix(spec: ClassMixSpec, rng: np.random.Generator, partner: Crop, categories: Categories) -> Pasting:
    present = np.flatnonzero(np.bincount(partner.label.ravel(), minlength=IGNORE + 1)[: len(categories)])
    half = (len(present) + len(present) % 2) // 2
    return Pasting(_among(partner.label, rng.choice(present, half, replace=False), IGNORE))


def _draw_copy_paste(spec: CopyPasteSpec, rng: np.random.Generator, partner: Crop, categories: Categories) -> Pasting:
    numbered = _objects(partner, pasted_positions(spec, categories))
    count, size = int(numbered.max(initial=0)), (numbered.shape[0], numbered.shape[1])
    number = int(rng.integers(1, min(count, spec.objects) + 1)) if count else 0
    chosen = _among(numbered, 1 + rng.choice(count, number, replace=False) if count else [], count)
    mirrors, zoom = rng.random() < spec.flip, math.exp(rng.uniform(*np.log(spec.scale)))
    geometry = _jitter(size, zoom=zoom, mirrors=mirrors)
    # what lies outside is mirrored from inside: an object that came in twice would be one object no more
    flags, whole = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP, np.ones(size, np.uint8)
    inside = cv2.warpAffine(whole, geometry.matrix[:2], size[::-1], flags=flags).reshape(size)
    mask = (geometry.apply_to_label(chosen.astype(np.uint8)) > 0) & (inside > 0)
    return Pasting(mask, geometry, spec.feather)


def _draw_mixup(spec: MixUpSpec, rng: np.random.Generator, partner: Crop, categories: Categories) -> Blend:
    return Blend(float(rng.beta(spec.alpha, spec.alpha)), len(categories))


MIXTURES: dict[type, Callable[[Any, np.random.Generator, Crop, Categories], Mixture]] = {
    CutMixSpec: _draw_cutmix,
    CutoutSpec: _draw_cutout,
    ClassMixSpec: _draw_classmix,
    CopyPasteSpec: _draw_copy_paste,
    MixUpSpec: _draw_mixup,
}


def _is_category(label: LabelMap, categories: int) -> Mask:
    """Return (C, h, w): whether a pixel is of a category."""
    return np.asarray(label == np.arange(categories, dtype=np.uint8)[:, None, None])


def _pasted(under: Array, over: Array, mask: Mask) -> Array:
    return cv2.copyTo(over, mask.view(np.uint8), under.copy()).reshape(under.shape)


def _among(values: Array, chosen: Sequence[int] | Array, largest: int) -> Mask:
    """Tell which values, integers from 0 to `largest`, are among the chosen ones."""
    table = np.zeros(largest + 1, bool)
    table[np.asarray(chosen, int)] = True
    return table[values]


def _objects(crop: Crop, positions: Sequence[int]) -> InstanceMap:
    """Return the (h, w) objects of some categories, numbered 1..K: instances where there is a map, else components."""
    if crop.instances is not None:
        return relabel_consecutive(np.where(_among(crop.label, positions, IGNORE), crop.instances, 0))
    numbered, total = np.zeros(crop.label.shape, np.int32), 0
    for position in positions:
        found, count = components(crop.label == position)
        numbered = _pasted(numbered, found + np.int32(total), crop.label == position)
        total += count
    return numbered


def _jitter(size: tuple[int, int], *, zoom: float, mirrors: bool) -> Geometry:
    """Return the zoom around the crop's middle, mirrored on request."""
    middle = (np.array(size[::-1]) - 1) / 2
    matrix = np.diag([-1 / zoom if mirrors else 1 / zoom, 1 / zoom, 1.0])
    matrix[:2, 2] = middle - np.diag(matrix)[:2] * middle
    return Geometry(matrix, size)
