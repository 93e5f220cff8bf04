"""Training crops: which crop of which image, how it is varied, and what the losses need besides the label."""

from __future__ import annotations

import numpy as np
from torch.utils.data import Dataset

from maskwright.augment import Source, View, draw_view
from maskwright.data.intensity import standardise
from maskwright.data.tensors import image_tensor, label_tensor
from maskwright.recipe import Recipe
from maskwright.train.batch import Batch
from maskwright.train.targets import LabelTargets
from maskwright.train.working import WorkingImages
from maskwright.types import Array, LabelMap


class TrainingCrops(Dataset[Batch]):
    """Varied crops; item (draw, row) is the same in every run of the same seed."""

    def __init__(self, images: WorkingImages, recipe: Recipe) -> None:
        train = recipe.train
        assert train.crop is not None and train.batch is not None and train.steps is not None
        self.images, self.crop = images, train.crop
        self.specs, self.seed = recipe.augment, recipe.seed
        self.draws = train.steps * train.batch
        self.targets = LabelTargets(recipe)

    def __getitem__(self, key: tuple[int, int]) -> Batch:
        """Return image (C, h, w) and label (h, w) for a draw of the stream."""
        draw, row = key
        rng = np.random.default_rng((self.seed, 1, draw))
        image, label = self.varied(row, rng, progress=draw / self.draws)
        tensor = image_tensor(standardise(image, self.images.intensity))
        return Batch(tensor, label_tensor(label), self.targets(label))

    def varied(self, row: int, rng: np.random.Generator, *, progress: float) -> tuple[Array, LabelMap]:
        """Return the (h, w, C) crop in 0..255 and its (h, w) label."""
        image, label = self.images[row]
        view = self.view(row, rng, progress=progress)
        return view.apply_to_image(image), view.apply_to_label(label)

    def drawn(self, draw: int, row: int) -> View:
        """Return the view of a draw of the stream."""
        return self.view(row, np.random.default_rng((self.seed, 1, draw)), progress=draw / self.draws)

    def view(self, row: int, rng: np.random.Generator, *, progress: float) -> View:
        """Draw the view of an image that `varied` applies."""
        image, label = self.images[row]
        source = Source(label, self.images.index.categories.names, lambda: self.images.stain(row))
        size, channels = (label.shape[0], label.shape[1]), image.shape[2]
        return draw_view(
            self.specs, rng, size=size, crop=self.crop, channels=channels, progress=progress, source=source
        )
