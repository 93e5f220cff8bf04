"""What several tests of prediction start from."""

from __future__ import annotations

import pytest
from small_networks import a_checkpoint

from maskwright.artifacts import RunFolder, write_json, write_text
from maskwright.recipe import Recipe, apply_settings, dump_recipe
from maskwright.recipe.data import DataSpec


@pytest.fixture
def run_folder(tmp_path):
    """A run folder of one finished training."""
    folder = RunFolder(tmp_path / "run")
    write_json(folder.records / "train-fold-0.json", {})
    write_text(folder.recipe, dump_recipe(apply_settings(Recipe(data=DataSpec(root="none")), ["split.folds=1"])))
    folder.fold(0).mkdir(parents=True)
    a_checkpoint(folder.fold(0) / "last.ckpt")
    return folder.root
