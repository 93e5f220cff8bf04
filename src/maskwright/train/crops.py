"""Training crops: which crop of which image, how it is varied and mixed, and what the losses need besides the label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from torch.utils.data import Dataset

from maskwright.augment import Crop, Source, View, draw_mixture, draw_view
from maskwright.augment.mixing import SoftLabel, soft_label
from maskwright.data.index import PSEUDO, SOFT, WEIGHT
from maskwright.data.intensity import resize_shares, standardise
from maskwright.data.sampling import Centring, count_pixels, isolation, plan_turn, weighted
from maskwright.data.store import ProbabilityStore
from maskwright.data.tensors import image_tensor, label_tensor, share_tensor
from maskwright.recipe import Recipe
from maskwright.recipe.augment import AugmentSpec
from maskwright.recipe.chance import chance_at
from maskwright.recipe.mixing import CopyPasteSpec, CutoutSpec, MixSpec, blends_labels
from maskwright.recipe.selftrain import PseudoLabelsSpec
from maskwright.train.batch import Batch
from maskwright.train.partners import Partners
from maskwright.train.targets import LabelTargets, ObjectTargets, Undrawn
from maskwright.train.working import WorkingImages
from maskwright.types import IGNORE, Array, Categories, LabelMap

_VIEW, _MIX, _FOCUS, _UNDRAWN = 1, 2, 3, 4
"""Which of a draw's generators: how an image is seen, what is mixed in, where the crop lies, what isn't learned."""


class TrainingCrops(Dataset[Batch]):
    """Varied crops; item (draw, entry) is the same in every run of the same seed.

    Args:
        images: to learn from.
        recipe: resolved.

    Attributes:
        turn: the entries that the stream counts.
    """

    def __init__(self, images: WorkingImages, recipe: Recipe) -> None:
        train = recipe.train
        assert train.crop is not None and train.batch is not None and train.steps is not None
        self.images, self.crop = images, train.crop
        self.seed = recipe.seed
        self.draws = train.steps * train.batch
        self.categories = recipe.data.to_categories()
        pixels = _pixels(images, recipe, self.categories)
        self.turn = plan_turn(recipe.sampling, pixels, self.categories)
        weights = images.index.table[WEIGHT].to_numpy() if WEIGHT in images.index.table else np.ones(len(images))
        if (weights != 1).any():  # else the order stays what it is without weights
            self.turn = weighted(self.turn, weights)
        self.centring = Centring.of(recipe.sampling, pixels, self.categories)
        self.isolation = isolation(recipe.sampling, self.categories)
        table = images.index.table
        self.pseudo = table[PSEUDO].to_numpy() if PSEUDO in table else np.zeros(len(images), bool)
        common = recipe.augment, recipe.mix
        ways = (common, _way_of_pool(recipe) if self.pseudo.any() else common)
        # where objects are missing, what nobody drew is learned otherwise than in pseudo-labels: they aren't mixed
        rows = (~self.pseudo, self.pseudo) if recipe.data.drawn < 1 else (None, None)
        self.ways = [_Way.of(*way, pixels, self.categories, own) for way, own in zip(ways, rows, strict=True)]
        self.files = table[SOFT].to_list() if SOFT in table else [None] * len(images)
        self.soft = any(blends_labels(way.mix) for way in self.ways) or any(self.files)
        self.targets = LabelTargets(recipe)
        self.objects = ObjectTargets(recipe) if recipe.tells_instances else None
        self.undrawn = Undrawn(recipe)

    def __getitem__(self, key: tuple[int, int]) -> Batch:
        """Return image (C, h, w) and label for a draw of the stream.

        The label is (h, w) int64; where the recipe's `mix` has mixup, (C, h, w) float32 shares for every draw.
        """
        crop, pseudo = self.seen(key), bool(self.pseudo[int(self.turn.rows[key[1]])])
        tensor = image_tensor(standardise(crop.image, self.images.intensity))
        passed_over = None if pseudo else self.undrawn(crop.label, self._generator(_UNDRAWN, key[0]))
        if not self.soft:
            more = {} if self.objects is None else self.objects(crop, pseudo=pseudo)
            label = crop.label if passed_over is None else np.where(passed_over, np.uint8(IGNORE), crop.label)
            return Batch(tensor, label_tensor(label), self.targets(crop.label) | more)
        shares = soft_label(crop.label, len(self.categories)) if crop.shares is None else crop.shares
        return Batch(tensor, share_tensor(shares if passed_over is None else shares * ~passed_over), {})

    def seen(self, key: tuple[int, int]) -> Crop:
        """Return what the network sees for a draw of the stream, before it is standardised: varied and mixed."""
        draw, entry = key
        row, progress = int(self.turn.rows[entry]), draw / self.draws
        crop = self._varied(row, self._generator(_VIEW, draw), progress, self._focus(key))
        if self.turn.copy[entry]:
            crop = replace(crop, label=self.isolation[crop.label], shares=None)
            crop = replace(crop, shares=soft_label(crop.label, len(self.categories)) if any(self.files) else None)
        for number in range(len(self._way(row).mix)):
            crop = self._mixed(crop, number, row, self._generator(_MIX, draw, number), progress)
        return crop

    def drawn(self, key: tuple[int, int]) -> View:
        """Return the view of a draw of the stream, before anything is mixed in."""
        draw, entry = key
        row = int(self.turn.rows[entry])
        return self._view(row, self.images[row], self._generator(_VIEW, draw), draw / self.draws, self._focus(key))

    def _focus(self, key: tuple[int, int]) -> int | None:
        return self.centring.draw(self.turn, key[1], self._generator(_FOCUS, key[0]))

    def _way(self, row: int) -> _Way:
        return self.ways[int(self.pseudo[row])]

    def _varied(self, row: int, rng: np.random.Generator, progress: float, focus: int | None) -> Crop:
        """Return a crop of an image in 0..255 and its label, centred on a pixel of a category if one is given."""
        image, label = self.images[row]
        view = self._view(row, (image, label), rng, progress, focus)
        seen = view.apply_to_label(label)
        objects = None if self.objects is None else view.apply_to_instances(self.images.instances(row))
        shares = self._shares(row, view, seen) if any(self.files) else None
        return Crop(view.apply_to_image(image), seen, objects, shares)

    def _shares(self, row: int, view: View, label: LabelMap) -> SoftLabel:
        """Return the soft label of a view: of what was predicted, or of the one category; 0 where it is ignored."""
        if (file := self.files[row]) is None:
            return soft_label(label, len(self.categories))
        path = Path(file)
        shares = resize_shares(ProbabilityStore(path.parent).read(path.stem), self.images.size(row))
        found = view.apply_to_shares(shares)
        return np.asarray(found / np.maximum(found.sum(0), 1e-6) * (label != IGNORE), np.float32)

    def _view(
        self, row: int, pair: tuple[Array, LabelMap], rng: np.random.Generator, progress: float, focus: int | None
    ) -> View:
        image, label = pair
        size, channels = (label.shape[0], label.shape[1]), image.shape[2]
        centre = None if focus is None else _pixel_of(label, focus, rng)
        source = Source(label, self.categories.names, lambda: self.images.stain(row), centre)
        return draw_view(
            self._way(row).augment, rng, size=size, crop=self.crop, channels=channels, progress=progress, source=source
        )

    def _mixed(self, crop: Crop, number: int, row: int, rng: np.random.Generator, progress: float) -> Crop:
        way = self._way(row)
        spec = way.mix[number]
        if rng.random() >= chance_at(spec.probability, progress):
            return crop
        if isinstance(spec, CutoutSpec):  # which asks for no partner
            return draw_mixture(spec, rng, crop, categories=self.categories).apply(crop, crop)
        chosen = way.partners[number].draw(row, rng)
        if chosen is None:
            return crop
        partner = self._varied(chosen.row, rng, progress, chosen.focus)
        return draw_mixture(spec, rng, partner, categories=self.categories).apply(crop, partner)

    def _generator(self, *key: int) -> np.random.Generator:
        return np.random.default_rng((self.seed, *key))


@dataclass(frozen=True)
class _Way:
    """How crops of some images are varied and mixed.

    Attributes:
        augment: the recipe's list.
        mix: the recipe's list.
        partners: of each item of `mix`.
    """

    augment: Sequence[AugmentSpec]
    mix: Sequence[MixSpec]
    partners: Sequence[Partners]

    @classmethod
    def of(
        cls,
        augment: Sequence[AugmentSpec],
        mix: Sequence[MixSpec],
        pixels: npt.NDArray[np.int64],
        categories: Categories,
        rows: npt.NDArray[np.bool_] | None,
    ) -> _Way:
        return cls(augment, mix, [Partners.of(spec, pixels, categories, rows) for spec in mix])


def _way_of_pool(recipe: Recipe) -> tuple[Sequence[AugmentSpec], Sequence[MixSpec]]:
    """Return how images with pseudo-labels are varied and mixed."""
    method = recipe.selftrain.method
    if not isinstance(method, PseudoLabelsSpec):
        return recipe.augment, recipe.mix
    augment = recipe.augment if method.augment is None else method.augment
    return augment, recipe.mix if method.mix is None else method.mix


def _pixel_of(label: LabelMap, category: int, rng: np.random.Generator) -> tuple[int, int]:
    """Return the (y, x) of a pixel of a category, each as likely."""
    places = np.flatnonzero(label == category)
    y, x = divmod(int(places[rng.integers(len(places))]), label.shape[1])
    return y, x


def _pixels(images: WorkingImages, recipe: Recipe, categories: Categories) -> npt.NDArray[np.int64]:
    """Return (images, C) pixels of each category, zeros where nothing in the recipe asks for them."""
    asked = recipe.sampling.kind != "uniform" or recipe.sampling.centred
    if asked or any(isinstance(spec, CopyPasteSpec) for spec in (*recipe.mix, *_way_of_pool(recipe)[1])):
        return count_pixels(images.index, len(categories), scale=images.scale)
    return np.zeros((len(images), len(categories)), np.int64)
