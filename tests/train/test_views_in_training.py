"""Training crops: what is drawn depends on seed, draw and progress alone; stains are fitted once an image."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from slides import make_slide

from maskwright.data.index import build_index
from maskwright.data.intensity import Intensity
from maskwright.recipe import Recipe, apply_settings
from maskwright.recipe.data import DataSpec
from maskwright.train import working
from maskwright.train.crops import TrainingCrops
from maskwright.train.working import WorkingImages


@pytest.fixture
def make(tmp_path):
    for part in ("images", "masks"):
        (tmp_path / part).mkdir()
    for seed in range(3):
        slide, concentrations = make_slide(seed=seed)
        image = slide if seed else np.full_like(slide, 255)
        Image.fromarray(image).save(tmp_path / "images" / f"{seed}.png")
        Image.fromarray((concentrations[0] > 0).astype(np.uint8)).save(tmp_path / "masks" / f"{seed}.png")

    def made(*settings, cache=0.25):
        recipe = Recipe(data=DataSpec(root=str(tmp_path)))
        index, data, _ = build_index(recipe.data)
        recipe = recipe.model_copy(update={"data": data})
        plan = ["train.crop=[32, 64]", "train.batch=2", "train.steps=50", "train.scale=1"]
        recipe = apply_settings(recipe, [*plan, *settings])
        return TrainingCrops(WorkingImages(index, Intensity.of(data), scale=1, cache=cache), recipe)

    return made


def test_stains_are_fitted_once_an_image_and_only_if_drawn(make, monkeypatch):
    fitted = []
    fit = working.fit_stains
    monkeypatch.setattr(working, "fit_stains", lambda image: fitted.append(image.shape) or fit(image))
    crops = make("augment=[{kind: stain, norm: 0.5, hematoxylin: 0}]")
    views = [crops.drawn((draw, draw % 3)) for draw in range(30)]
    assert fitted == [(60, 80, 3)] * 3
    assert {str(view).split("; ")[1] for view in views if view.steps} == {"norm", "norm: no stain found"}
    make("augment=[{kind: stain, norm: 0, hematoxylin: 0}]").drawn((0, 1))
    assert len(fitted) == 3


def test_a_schedule_follows_the_draws(make):
    """50 steps of 2: sure to be blurred before draw 90 of 100, never from then on."""
    crops = make("augment=[{kind: blur, probability: {start: 1, end: 1, over: [0, 0.9], then: 0}}]")
    assert [bool(crops.drawn((draw, 0)).steps) for draw in range(0, 100, 10)] == [True] * 9 + [False]


def test_the_crop_is_the_drawn_views(make):
    crops = make("augment=[{kind: flip}, {kind: auto_augment, probability: 1}, {kind: noise, probability: 1}]")
    for draw in range(6):
        batch, view = crops[draw, draw % 3], crops.drawn((draw, draw % 3))
        image, label = crops.images[draw % 3]
        assert np.array_equal(batch.labels.numpy(), view.apply_to_label(label))
        again = crops[draw, draw % 3]
        assert np.array_equal(batch.images.numpy(), again.images.numpy())
        mean, std = (np.float32(v) * 255 for v in (crops.images.intensity.mean, crops.images.intensity.std))
        expected = (view.apply_to_image(image).astype(np.float32) - mean) / std
        assert np.array_equal(batch.images.numpy(), expected.transpose(2, 0, 1))


def test_cached_or_read_anew_crops_are_the_same(make):
    settings = "augment=[{kind: stain_jitter, probability: 1}, {kind: turn}]"
    cached, read = make(settings), make(settings, cache=0)
    for key in ((0, 1), (7, 2)):
        assert np.array_equal(cached[key].images.numpy(), read[key].images.numpy())
