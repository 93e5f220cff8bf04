"""A small folder of images with and without labels, and trainings on it that can be cut short."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image

from maskwright.data.index import build_index
from maskwright.progress import listen
from maskwright.recipe import Recipe, apply_settings
from maskwright.recipe.data import DataSpec
from maskwright.train.fit import train_fold

SETTINGS = (
    "model.encoder=resnet10t",
    "model.encoder_weights=none",
    "model.decoder_channels=[16, 16, 8]",
    "train.steps=6",
    "train.validate_every=2",
    "train.batch=2",
    "train.crop=[32, 64]",
    "train.scale=1",
    "train.precision=float32",
    "train.channels_last=false",
    "train.accelerator=cpu",
    "train.threads=1",
    "train.ema=0.9",
)


class PowerCutError(Exception):
    """Stands for the plug that was pulled."""


def make_folder(place):
    """Seven labelled gray images of 32 × 48, five others of other sizes."""
    rng = np.random.default_rng(0)
    for folder in ("images", "masks", "unlabeled"):
        (place / folder).mkdir(parents=True)
    for i in range(12):
        image = rng.integers(0, 255, (32, 48) if i < 7 else (20 + 10 * i, 40), np.uint8)
        Image.fromarray(image).save(place / ("images" if i < 7 else "unlabeled") / f"i{i:02}.png")
        if i < 7:
            Image.fromarray((image > 128).astype(np.uint8)).save(place / "masks" / f"i{i:02}.png")
    index, section, _ = build_index(DataSpec(root=str(place)))
    return index, Recipe(data=section)


def train(folder, data, *settings, stop_at=None, pool="whole", labelled=5, heard=None):
    """Train on so many labelled images and on a pool, an index or None; stop before a step is counted."""
    index, recipe = data
    recipe = apply_settings(recipe, [*SETTINGS, *settings])
    images = index.labelled.images

    def watch(label, done, total, note):
        if heard is not None:
            heard.append(note)
        if label.startswith("train") and done == stop_at:
            raise PowerCutError

    with listen(watch):
        return train_fold(
            folder,
            index.only(images[:labelled]),
            index.only(images[5:]),
            recipe,
            fold=1,
            pool=index.unlabelled if isinstance(pool, str) else pool,
        )


def same(one, two):
    """Tell whether two checkpoints hold the same numbers."""
    states = [torch.load(path, weights_only=True)["state_dict"] for path in (one, two)]
    assert states[0].keys() == states[1].keys()
    return all(torch.equal(states[0][key], states[1][key]) for key in states[0])
