"""What the loader makes for the losses, and the class weights of a fold."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from maskwright.data.distances import signed_distances
from maskwright.losses import build_levels
from maskwright.recipe import Recipe
from maskwright.recipe.data import DataSpec
from maskwright.train.class_weights import class_weight_lines, with_class_weights
from maskwright.train.targets import LabelTargets

DATA = DataSpec.model_validate({"root": "none", "categories": [{"id": i, "name": n} for i, n in enumerate("ab")]})
LABEL = np.array([[0, 0, 1, 1]], np.uint8)


def recipe(**sections):
    return Recipe.model_validate({"data": DATA, **sections})


def test_distances_are_made_for_losses_that_need_them():
    assert LabelTargets(recipe())(LABEL) == {}
    levels = [{}, {"loss": [{"kind": "kervadec_boundary"}]}]
    made = LabelTargets(recipe(levels=levels))(LABEL)
    assert list(made) == ["distance_map"]
    torch.testing.assert_close(made["distance_map"], torch.from_numpy(signed_distances(LABEL, 2)))


def test_rules_become_numbers_everywhere():
    rule = {"kind": "cross_entropy", "class_weights": "inverse_frequency", "class_weight_cap": 1.5}
    given = {"kind": "dice", "class_weights": [1, 2]}
    left = {"kind": "focal", "class_weights": "inverse_frequency", "leave_out": ["a"]}
    found = with_class_weights(recipe(loss=[rule, given], levels=[{}, {"loss": [left]}]), [LABEL, np.zeros_like(LABEL)])
    # 6 pixels of a, 2 of b: 8 / (2·6), 8 / (2·2) = 2, capped
    assert found.loss[0].class_weights == pytest.approx((2 / 3, 1.5))
    assert found.loss[1].class_weights == (1, 2)
    assert found.levels[1].loss[0].class_weights == (0, 1)
    assert class_weight_lines(found) == [
        "class weights of cross_entropy: a 0.6667, b 1.5",
        "class weights of dice: a 1, b 2",
        "class weights of focal: a 0, b 1",
    ]
    build_levels(found.levels, found.loss, found.data.to_categories())


def test_labels_are_not_looked_at_without_a_rule():
    def never():
        raise AssertionError
        yield

    same = recipe()
    assert with_class_weights(same, never()) is same
    assert class_weight_lines(same) == []
