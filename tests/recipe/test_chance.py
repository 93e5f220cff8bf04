"""Probabilities that change over the training."""

from __future__ import annotations

import pytest

from maskwright.errors import RecipeError
from maskwright.recipe import Recipe, apply_settings
from maskwright.recipe.chance import ScheduleSpec, chance_at
from maskwright.recipe.data import DataSpec
from maskwright.types import Category


def test_source_1_worked_by_hand():
    """.4 to nothing by 145 of 150 epochs: at 29 a fifth is gone, at 144 1/145 is left, then none."""
    text = ScheduleSpec(start=0.4, over=(0, 145 / 150))
    assert [chance_at(text, epoch / 150) for epoch in (0, 29, 144, 145, 149)] == pytest.approx(
        [0.4, 0.32, 0.4 / 145, 0, 0]
    )
    # the public code's own: p to .3 p until 29/30, then 0
    code = ScheduleSpec(start=0.1, end=0.03, over=(0, 29 / 30), then=0)
    assert [chance_at(code, p) for p in (0, 29 / 60, 28.999 / 30, 29 / 30)] == pytest.approx(
        [0.1, 0.065, 0.03, 0], abs=1e-5
    )


@pytest.mark.parametrize(
    ("schedule", "values"),
    [
        ({"start": 0.2, "end": 0.8, "over": [0.25, 0.75]}, [0.2, 0.2, 0.5, 0.8, 0.8]),
        ({"start": 1, "end": 0, "over": [0.5, 0.5]}, [1, 1, 0, 0, 0]),
        ({"start": 0, "end": 1}, [0, 0.25, 0.5, 0.75, 1]),
    ],
)
def test_schedules(schedule, values):
    found = ScheduleSpec.model_validate(schedule)
    assert [chance_at(found, p / 4) for p in range(5)] == pytest.approx(values)


def test_every_probability_of_the_recipe_may_have_one():
    recipe = Recipe(data=DataSpec(root="."))
    found = apply_settings(recipe, ["augment.1.probability={start: 0.7, over: [0, 0.9]}", "augment.0.horizontal=0.3"])
    assert found.augment[1].probability == ScheduleSpec(start=0.7, over=(0, 0.9))
    assert apply_settings(found, ["augment.1.probability.end=0.5"]).augment[1].probability.end == 0.5


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("augment.1.probability=1.5", "less than or equal to 1"),
        ("augment.1.probability={start: 0.4, over: [0.9, 0.1]}", "must not end before it begins"),
        ("augment=[{kind: stain, norm: 0.8, hematoxylin: 0.4}]", "together are 1.2: at most 1"),
        ("augment=[{kind: noise, sigma: [0.2, 0.1]}]", "the smaller one comes first"),
        ("augment=[{kind: crop, area: [0.5, 2]}]", "two shares above 0, up to 1"),
        ("augment=[{kind: noisy}]", "did you mean noise?"),
        ("augment=[{kind: auto_augment, policies: []}]", "at least 1 item"),
        ("augment=[{kind: auto_augment, policies: [[{op: sheer_x}]]}]", "did you mean shear_x?"),
        ("augment=[{kind: for_classes, classes: [a], augment: [{kind: for_classes}]}]", "augment.0"),
    ],
)
def test_faults_are_said(setting, words):
    with pytest.raises(RecipeError) as caught:
        apply_settings(Recipe(data=DataSpec(root=".")), [setting])
    assert words in str(caught.value), str(caught.value)


@pytest.mark.parametrize(
    ("augment", "words"),
    [
        (
            "[{kind: for_classes, classes: [moon], augment: [{kind: blur}]}]",
            "there aren't: moon; the categories are 0 sky",
        ),
        ("[{kind: auto_augment, label_fill: 2}]", "label_fill 2 is no category's position"),
        ("[{kind: for_classes, classes: [sky], augment: [{kind: auto_augment, label_fill: 9}]}]", "label_fill 9"),
    ],
)
def test_categories_that_there_are_not(augment, words):
    recipe = Recipe(data=DataSpec(root=".", categories=(Category(0, "sky"), Category(1, "soil"))))
    with pytest.raises(RecipeError) as caught:
        apply_settings(recipe, [f"augment={augment}"])
    assert words in str(caught.value), str(caught.value)
    unresolved = Recipe(data=DataSpec(root="."))
    assert apply_settings(unresolved, [f"augment={augment}"])
