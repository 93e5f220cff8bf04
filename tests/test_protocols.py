"""What the command that trains by all protocols refuses before anything is trained."""

import pytest

from maskwright.errors import RecipeError, UsageError
from maskwright.pipeline.protocols import run_protocols
from maskwright.recipe import Recipe
from maskwright.recipe.data import DataSpec
from maskwright.recipe.edit import apply_settings


def recipe(*settings):
    return apply_settings(Recipe(data=DataSpec(root="data")), ["selftrain.rounds=1", *settings])


@pytest.mark.parametrize(
    ("setting", "error", "told"),
    [
        ('selftrain.method={"kind": "fixmatch"}', RecipeError, "pretrain_finetune is one of pseudo_labels"),
        ("selftrain.rounds=0", UsageError, "at least one round"),
    ],
)
def test_nothing_is_trained_where_a_protocol_cannot_be(tmp_path, setting, error, told):
    with pytest.raises(error, match=told):
        run_protocols(recipe(setting), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_checkpoints_that_agree_are_those_of_one_training():
    with pytest.raises(RecipeError, match="rank by ensemble or estimated_iou"):
        recipe('selftrain.method={"kind": "pseudo_labels", "images": {"kind": "agreement"}, "fused_with": ["other"]}')
