"""Validation chooses the checkpoint: it predicts as `predict` will."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from maskwright.errors import RecipeError
from maskwright.inference import infer_tiled
from maskwright.metrics import overlap_table
from maskwright.recipe import Recipe, apply_settings
from maskwright.recipe.data import DataSpec
from maskwright.train.memory import Parts
from maskwright.train.module import SegmentationModule
from maskwright.types import Categories, Category

THREE = Categories(tuple(Category(i, f"c{i}") for i in range(3)))


def module(network, *changes):
    recipe = apply_settings(Recipe(data=DataSpec(root=".")), ["train.precision=float32", *changes])
    step = SimpleNamespace(predictor=network.eval())
    return SegmentationModule(step, recipe, THREE, {}, Parts())


def validated(network, images, labels, *changes):
    found = module(network, *changes)
    found.on_validation_epoch_start()
    found.validation_step((images, labels), 0)
    return found


class Same(nn.Module):
    """Says the same of every pixel: c2 before c1 before c0."""

    def forward(self, images):
        return torch.tensor([0.0, 1.0, 2.0])[None, :, None, None].expand(len(images), 3, *images.shape[2:])


class Left(nn.Module):
    """Is the surer of c1 the farther left in what it sees, so that tiles contradict each other."""

    def forward(self, images):
        logits = torch.zeros(len(images), 3, *images.shape[2:])
        logits[:, 1] = torch.linspace(3, -2, images.shape[3])
        return logits


def test_categories_that_are_never_predicted_are_not_in_validation():
    images, labels = torch.zeros(2, 1, 32, 32), torch.ones(2, 32, 32, dtype=torch.int64)
    assert validated(Same(), images, labels).validation_scores()["iou_c1"] == 0
    assert validated(Same(), images, labels, "predict.never=[c2]").validation_scores()["iou_c1"] == 1
    with pytest.raises(RecipeError, match=r"predict\.never"):
        module(Same(), "predict.never=[water]")


def test_tiles_are_blended_as_the_recipe_says():
    """The oracle: tiles blended by `infer_tiled`, counted."""
    images, labels = torch.zeros(1, 1, 32, 160), torch.from_numpy(np.random.default_rng(0).integers(0, 3, (1, 32, 160)))
    tables = {}
    for blend in ("flat", "linear", "gaussian"):
        settings = [f"predict.blend={blend}", "predict.tile=64", "predict.overlap=0.5"]
        ((table,),) = (validated(Left(), images, labels, *settings)._tables,)
        maps = infer_tiled([Left()], images[0], tile=64, overlap=0.5, blend=blend)
        assert np.array_equal(table, overlap_table(labels[0].numpy().astype(np.uint8), maps.argmax(0).astype("u1"), 3))
        tables[blend] = table.tolist()
    assert tables["flat"] != tables["linear"]
