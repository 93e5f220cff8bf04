"""Rounds that can't be trained are refused before the first training, and checkpoints of thirds are of thirds."""

from __future__ import annotations

import pytest
import torch

from maskwright import pipeline
from maskwright.artifacts import THIRDS
from maskwright.data.index import build_index
from maskwright.data.synthetic import make_playground
from maskwright.errors import RecipeError
from maskwright.recipe import Recipe, apply_settings
from maskwright.recipe.data import DataSpec
from maskwright.train.fit import train_fold
from test_curve_cut import SMALL


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checked") / "data"
    make_playground(folder, labelled=8, unlabelled=4, size=(32, 48), planted=False)
    return folder


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (("model={kind: custom_unet}", "selftrain.method={kind: unimatch}"), "a network with an encoder"),
        (("train.compile=true", "selftrain.method={kind: unimatch_v2}"), "isn't compiled"),
        (("train.accumulate=2", "selftrain.method={kind: fixmatch, batch: 3}"), "a multiple of devices"),
    ],
)
def test_rounds_are_checked_before_the_first_training(data, tmp_path, settings, message):
    small = [s for s in SMALL if "model" not in s or "custom" not in settings[0]]
    recipe = apply_settings(Recipe(data=DataSpec(root=str(data))), [*small, "selftrain.rounds=1", *settings])
    with pytest.raises(RecipeError, match=message):
        pipeline.run(recipe, tmp_path / "run", until="train")
    assert not (tmp_path / "run" / "round-0").exists()
    plain = apply_settings(recipe, ["selftrain.rounds=0"])
    pipeline.run(plain, tmp_path / "plain", until="plan")  # what has no rounds asks for none of it


@pytest.mark.parametrize("steps", [11, 4])
def test_thirds_are_of_thirds_however_seldom_a_training_validates(data, tmp_path, steps):
    index, section, _ = build_index(DataSpec(root=str(data), task="semantic"))
    ranked = ["selftrain.rounds=1", "selftrain.method={kind: pseudo_labels, images: {kind: agreement}}"]
    settings = [*SMALL, "train.ema=0", f"train.steps={steps}", f"train.validate_every={steps}", *ranked]
    last = train_fold(tmp_path, index.labelled, None, apply_settings(Recipe(data=section), settings))
    done = [torch.load(tmp_path / name, weights_only=True)["global_step"] for name in THIRDS]
    assert done == [-(-steps // 3), -(-2 * steps // 3)]
    assert torch.load(last, weights_only=True)["global_step"] == steps
