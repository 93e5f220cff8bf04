"""The sections `mix` and `sampling`: what can't be applied or learned from is refused before anything is trained."""

from __future__ import annotations

import typing

import pytest

from maskwright.augment import MIXTURES
from maskwright.errors import RecipeError
from maskwright.recipe import Recipe, apply_settings
from maskwright.recipe.data import DataSpec
from maskwright.recipe.file import parse_recipe
from maskwright.recipe.mixing import MixSpec
from maskwright.types import Category

PLAIN = Recipe(data=DataSpec(root="/d"))
KNOWN = Recipe(data=DataSpec(root="/d", categories=(Category(0, "soil"), Category(1, "rock"))))


def test_the_table_has_every_kind_of_the_union():
    assert set(MIXTURES) == set(typing.get_args(typing.get_args(MixSpec)[0]))


def test_what_is_left_out_mixes_nothing_and_draws_evenly():
    assert PLAIN.mix == ()
    assert (PLAIN.sampling.kind, PLAIN.sampling.centred) == ("uniform", 0)


def test_settings_reach_both_sections():
    found = apply_settings(
        KNOWN,
        [
            "mix=[{kind: cutmix}, {kind: copy_paste, classes: [rock], feather: 1.5}, {kind: mixup, alpha: 0.4}]",
            "mix.0.probability=0.25",
            "sampling={kind: oversample, classes: [rock], isolate: background, background: soil}",
            "sampling.copies=4",
        ],
    )
    assert [spec.kind for spec in found.mix] == ["cutmix", "copy_paste", "mixup"]
    assert (found.mix[0].probability, found.sampling.copies) == (0.25, 4)
    assert parse_recipe(found.model_dump(mode="json"), where="test") == found


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("mix=[{kind: mixup}, {kind: cutmix}]", "mixup must stand last, and once"),
        ("mix=[{kind: mixup}, {kind: mixup}]", "mixup must stand last, and once"),
        ("mix=[{kind: cutmix, area: [0.4, 0.02]}]", "the smaller one first"),
        ("mix=[{kind: cutmix, area: [0.5, 1.5]}]", "at most 1"),
        ("mix=[{kind: cutmix, aspect: [0, 1]}]", "above 0"),
        ("mix=[{kind: copy_paste, scale: [0, 1]}]", "above 0"),
        ("mix=[{kind: cutmix, probability: 1.1}]", "less than or equal to 1"),
        ("mix=[{kind: cutmixx}]", "did you mean cutmix"),
        ("mix=[{kind: copy_paste, classes: [rok]}]", "mix: no category is called 'rok'; there are soil, rock"),
        ("sampling={kind: balanced, classes: [rok]}", "sampling: no category is called 'rok'; there are soil, rock"),
        ("sampling={kind: rare_class, classes: [rok]}", "sampling: no category is called 'rok'"),
        ("sampling={kind: oversample, classes: [rock], background: x}", "sampling: no category is called 'x'"),
        ("sampling={kind: oversample}", "sampling"),
        ("sampling={kind: oversample, classes: []}", "at least 1 item"),
        ("sampling={kind: balanced, centred: 2}", "less than or equal to 1"),
        ("sampling={kind: uniform, temperature: 2}", "temperature"),
        ("train.crop=[-32, 32]", "train.crop"),
        ("augment=[{kind: affine, scale: [0, 1]}]", "greater than 0"),
        ("augment=[{kind: affine, scale: [2, 1]}]", "the smaller one comes first"),
        ("loss=[]", "loss: an empty list"),
        ("levels=[{loss: []}]", "loss: an empty list"),
        ("levels=[{weight: 0}]", "all weights are 0"),
        ("loss=[{kind: focal, class_weights: [0, 0]}]", "all are 0"),
        ("loss=[{kind: dice, class_weights: [1, 2], class_weight_cap: 3}]", "bounds what a rule gives"),
        ("loss=[{kind: dice, class_weight_cap: 3}]", "bounds what a rule gives"),
        ("model.encoder_arguments={pretrained: true}", "only `maskwright weights fetch` goes to a network"),
    ],
)
def test_what_can_not_be_done_is_said(setting, words):
    with pytest.raises(RecipeError) as caught:
        apply_settings(KNOWN, [setting])
    assert words in str(caught.value)


def test_a_plateau_of_a_score_that_there_is_none_of_is_said():
    with pytest.raises(RecipeError, match=r"set split\.folds to at least 2"):
        apply_settings(PLAIN, ["train.schedule={kind: plateau}", "split.folds=1"])


def test_names_wait_until_the_categories_are_known():
    assert apply_settings(PLAIN, ["sampling={kind: balanced, classes: [rok]}"]).sampling.classes == ("rok",)


def test_losses_that_need_one_category_a_pixel_do_not_go_with_blended_labels():
    hard = ["loss=[{kind: cross_entropy}, {kind: kervadec_boundary}, {kind: lovasz}]", "mix=[{kind: mixup}]"]
    with pytest.raises(RecipeError, match="one category a pixel is what kervadec_boundary and lovasz can learn from"):
        apply_settings(KNOWN, hard)
    levels = ["levels=[{}, {loss: [{kind: lovasz}]}]", "mix=[{kind: cutmix}, {kind: mixup}]"]
    with pytest.raises(RecipeError, match="what lovasz can learn from"):
        apply_settings(KNOWN, levels)
    apply_settings(KNOWN, [hard[0], "mix=[{kind: cutmix}]"])
    apply_settings(KNOWN, ["mix=[{kind: mixup}]"])
