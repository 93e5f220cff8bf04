"""Training crops: which crop of which image, how it is varied and mixed, and what the losses need besides the label."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from torch.utils.data import Dataset

from maskwright.augment import Crop, Source, View, draw_mixture, draw_view
from maskwright.augment.mixing import soft_label
from maskwright.data.index import WEIGHT
from maskwright.data.intensity import standardise
from maskwright.data.sampling import Centring, count_pixels, isolation, plan_turn, weighted
from maskwright.data.tensors import image_tensor, label_tensor, share_tensor
from maskwright.recipe import Recipe
from maskwright.recipe.chance import chance_at
from maskwright.recipe.mixing import CopyPasteSpec, MixSpec, blends_labels
from maskwright.train.batch import Batch
from maskwright.train.partners import Partners
from maskwright.train.targets import LabelTargets
from maskwright.train.working import WorkingImages
from maskwright.types import Array, Categories, LabelMap

_VIEW, _MIX, _FOCUS = 1, 2, 3
"""Which of a draw's generators: how an image is seen, what is mixed in, where the crop lies."""


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
        self.specs, self.mix, self.seed = recipe.augment, recipe.mix, recipe.seed
        self.draws = train.steps * train.batch
        self.categories = recipe.data.to_categories()
        pixels = _pixels(images, recipe, self.categories)
        self.turn = plan_turn(recipe.sampling, pixels, self.categories)
        if WEIGHT in images.index.table:
            self.turn = weighted(self.turn, images.index.table[WEIGHT].to_numpy())
        self.centring = Centring.of(recipe.sampling, pixels, self.categories)
        self.isolation = isolation(recipe.sampling, self.categories)
        self.partners = [Partners.of(spec, pixels, self.categories) for spec in recipe.mix]
        self.soft = blends_labels(recipe.mix)
        self.targets = LabelTargets(recipe)

    def __getitem__(self, key: tuple[int, int]) -> Batch:
        """Return image (C, h, w) and label for a draw of the stream.

        The label is (h, w) int64; where the recipe's `mix` has mixup, (C, h, w) float32 shares for every draw.
        """
        crop = self.seen(key)
        tensor = image_tensor(standardise(crop.image, self.images.intensity))
        if not self.soft:
            return Batch(tensor, label_tensor(crop.label), self.targets(crop.label))
        shares = soft_label(crop.label, len(self.categories)) if crop.shares is None else crop.shares
        return Batch(tensor, share_tensor(shares), {})

    def seen(self, key: tuple[int, int]) -> Crop:
        """Return what the network sees for a draw of the stream, before it is standardised: varied and mixed."""
        draw, entry = key
        row, progress = int(self.turn.rows[entry]), draw / self.draws
        image, label = self._varied(row, self._generator(_VIEW, draw), progress, self._focus(key))
        crop = Crop(image, self.isolation[label] if self.turn.copy[entry] else label)
        for number, spec in enumerate(self.mix):
            crop = self._mixed(crop, number, spec, row, self._generator(_MIX, draw, number), progress)
        return crop

    def drawn(self, key: tuple[int, int]) -> View:
        """Return the view of a draw of the stream, before anything is mixed in."""
        draw, entry = key
        row = int(self.turn.rows[entry])
        return self._view(row, self.images[row], self._generator(_VIEW, draw), draw / self.draws, self._focus(key))

    def _focus(self, key: tuple[int, int]) -> int | None:
        return self.centring.draw(self.turn, key[1], self._generator(_FOCUS, key[0]))

    def _varied(self, row: int, rng: np.random.Generator, progress: float, focus: int | None) -> tuple[Array, LabelMap]:
        """Return a crop of an image in 0..255 and its label, centred on a pixel of a category if one is given."""
        image, label = self.images[row]
        view = self._view(row, (image, label), rng, progress, focus)
        return view.apply_to_image(image), view.apply_to_label(label)

    def _view(
        self, row: int, pair: tuple[Array, LabelMap], rng: np.random.Generator, progress: float, focus: int | None
    ) -> View:
        image, label = pair
        size, channels = (label.shape[0], label.shape[1]), image.shape[2]
        centre = None if focus is None else _pixel_of(label, focus, rng)
        source = Source(label, self.categories.names, lambda: self.images.stain(row), centre)
        return draw_view(
            self.specs, rng, size=size, crop=self.crop, channels=channels, progress=progress, source=source
        )

    def _mixed(
        self, crop: Crop, number: int, spec: MixSpec, row: int, rng: np.random.Generator, progress: float
    ) -> Crop:
        if rng.random() >= chance_at(spec.probability, progress):
            return crop
        chosen = self.partners[number].draw(row, rng)
        if chosen is None:
            return crop
        partner = Crop(*self._varied(chosen.row, rng, progress, chosen.focus))
        return draw_mixture(spec, rng, partner, categories=self.categories).apply(crop, partner)

    def _generator(self, *key: int) -> np.random.Generator:
        return np.random.default_rng((self.seed, *key))


def _pixel_of(label: LabelMap, category: int, rng: np.random.Generator) -> tuple[int, int]:
    """Return the (y, x) of a pixel of a category, each as likely."""
    places = np.flatnonzero(label == category)
    y, x = divmod(int(places[rng.integers(len(places))]), label.shape[1])
    return y, x


def _pixels(images: WorkingImages, recipe: Recipe, categories: Categories) -> npt.NDArray[np.int64]:
    """Return (images, C) pixels of each category, zeros where nothing in the recipe asks for them."""
    asked = recipe.sampling.kind != "uniform" or recipe.sampling.centred
    if asked or any(isinstance(spec, CopyPasteSpec) for spec in recipe.mix):
        return count_pixels(images.index, len(categories), scale=images.scale)
    return np.zeros((len(images), len(categories)), np.int64)
