"""Warm starts: which tensors are taken over, by name and by category, and what is refused."""

from __future__ import annotations

import pytest
import torch

from maskwright.checkpoint import KEY, describe
from maskwright.errors import DataError
from maskwright.models import build_model
from maskwright.progress import listen
from maskwright.recipe import Recipe
from maskwright.recipe.data import DataSpec
from maskwright.recipe.model import FPNSpec
from maskwright.train.start import start_from
from maskwright.types import Category

MODEL = FPNSpec(encoder="test_efficientnet", encoder_weights="none", channels=8, segmentation_channels=32)


def a_recipe(*names, model=MODEL):
    categories = tuple(Category(n, name, values=(n,)) for n, name in enumerate(names))
    data = DataSpec(root=".", categories=categories, channels=1, value_range=(0.0, 255.0), mean=(0.5,), std=(0.2,))
    return Recipe(data=data, model=model)


def a_network(recipe, *, levels=1, seed=0):
    torch.manual_seed(seed)
    classes = len(recipe.data.categories)
    return build_model(recipe.model, in_channels=1, classes=classes, levels=levels)


def save(path, recipe, network, *, levels=1):
    about = describe(recipe.model, recipe.data, scale=1.0, precision="float32", channels_last=False, levels=levels)
    ours = network.state_dict()
    state = {f"step.average.network.{key}": value for key, value in ours.items()}
    torch.save({KEY: about, "state_dict": state | {"step.network.x": torch.zeros(1)}}, path)
    return ours


def test_the_same_network_takes_over_every_tensor(tmp_path):
    recipe = a_recipe("sky", "soil")
    old = save(tmp_path / "a.ckpt", recipe, a_network(recipe, seed=1))
    network = a_network(recipe, seed=2)
    started = start_from(network, tmp_path / "a.ckpt", recipe, levels=1)
    assert all(torch.equal(value, old[key]) for key, value in network.state_dict().items())
    assert (started.fresh, started.new, started.loaded) == ([], [], len(old))


def test_channels_are_taken_over_by_the_names_of_categories(tmp_path):
    # soil moves from 1 to 2, sky from 0 to 0, rock is new, sand is gone
    before, now = a_recipe("sky", "soil", "sand"), a_recipe("sky", "rock", "soil")
    old = save(tmp_path / "a.ckpt", before, a_network(before, seed=1))
    network = a_network(now, seed=2)
    drawn = {key: value.clone() for key, value in network.state_dict().items()}
    started = start_from(network, tmp_path / "a.ckpt", now, levels=1)
    own = network.state_dict()
    for key in ("segmentation_head.0.weight", "segmentation_head.0.bias"):
        assert torch.equal(own[key][0], old[key][0])
        assert torch.equal(own[key][2], old[key][1])
        assert torch.equal(own[key][1], drawn[key][1])
    assert torch.equal(own["decoder.p5.weight"], old["decoder.p5.weight"])
    assert (started.kept, started.new) == (["sky", "soil"], ["rock"])


def test_what_starts_fresh_is_named(tmp_path):
    recipe, said = a_recipe("sky", "soil"), []
    save(tmp_path / "a.ckpt", recipe, a_network(recipe, seed=1))
    network = a_network(recipe, levels=2, seed=2)
    with listen(lambda label, done, total, note: said.append(note)):
        started = start_from(network, tmp_path / "a.ckpt", recipe, levels=2)
    assert started.fresh == ["level_heads.0.0.weight", "level_heads.0.0.bias"]
    assert "2 start fresh: level_heads.0.0.weight, level_heads.0.0.bias" in said[0]


def test_another_number_of_channels_of_the_image_starts_its_convolution_fresh(tmp_path):
    gray = a_recipe("sky", "soil")
    save(tmp_path / "a.ckpt", gray, a_network(gray, seed=1))
    colour = gray.model_copy(
        update={"data": gray.data.model_copy(update={"channels": 3, "mean": (0.5,) * 3, "std": (0.2,) * 3})}
    )
    network = build_model(MODEL, in_channels=3, classes=2)
    assert start_from(network, tmp_path / "a.ckpt", colour, levels=1).fresh == ["encoder.model.conv_stem.weight"]


def test_the_draw_of_what_follows_is_not_changed(tmp_path):
    recipe = a_recipe("sky", "soil")
    save(tmp_path / "a.ckpt", recipe, a_network(recipe))
    network = a_network(recipe)
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    start_from(network, tmp_path / "a.ckpt", recipe, levels=1)
    assert torch.equal(torch.rand(1), expected)


def test_another_network_is_refused_with_what_differs(tmp_path):
    recipe = a_recipe("sky", "soil")
    save(tmp_path / "a.ckpt", recipe, a_network(recipe))
    other = a_recipe("sky", "soil", model=MODEL.model_copy(update={"encoder": "test_resnet"}))
    with pytest.raises(DataError, match=r"model\.encoder: test_efficientnet there, test_resnet here"):
        start_from(a_network(other), tmp_path / "a.ckpt", other, levels=1)


def test_another_file_is_refused(tmp_path):
    (tmp_path / "a.ckpt").write_bytes(b"nothing")
    recipe = a_recipe("sky")
    with pytest.raises(DataError, match="a checkpoint of maskwright"):
        start_from(a_network(recipe), tmp_path / "a.ckpt", recipe, levels=1)
