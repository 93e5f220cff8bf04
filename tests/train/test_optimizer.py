"""Rates by schedule and by layer, optimizers, and what a training makes of them."""

from __future__ import annotations

import itertools
import json

import numpy as np
import polars as pl
import pytest
import timm
import torch
from PIL import Image
from pydantic import TypeAdapter
from torch import nn

from maskwright.data.index import build_index
from maskwright.errors import RecipeError
from maskwright.models import build_model
from maskwright.predict.files import load_ensemble, predict_files
from maskwright.recipe import Recipe, apply_settings
from maskwright.recipe.data import DataSpec
from maskwright.recipe.model import ModelSpec
from maskwright.recipe.optimise import ConstantSpec, CosineSpec, PlateauSpec, PolynomialSpec, SGDSpec, StepSpec
from maskwright.recipe.predict import PredictSpec
from maskwright.recipe.train import TrainSpec
from maskwright.train.fit import train_fold
from maskwright.train.optimizer import build_optimizer, parameter_groups
from maskwright.train.schedules import Plateau, rate


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        # 10 steps, 2 of warm-up; then s = (step − 2) / 8 at steps 2, 4, 6, 10
        (CosineSpec(to=0.1), [1, 0.1 + 0.9 * (1 + np.sqrt(0.5)) / 2, 0.55, 0.1]),
        (PolynomialSpec(power=2), [1, 0.75**2, 0.5**2, 0]),
        (ConstantSpec(), [1, 1, 1, 1]),
        (PlateauSpec(), [1, 1, 1, 1]),
        (StepSpec(every=0.3, factor=0.5), [1, 0.5, 0.25, 0.125]),  # falls at steps 3, 6 and 9
    ],
)
def test_the_schedules_worked_by_hand(spec, expected):
    assert [rate(spec, step, steps=10, warmup=0.2) for step in (0, 1)] == [0.5, 1]
    assert [rate(spec, step, steps=10, warmup=0.2) for step in (2, 4, 6, 10)] == pytest.approx(expected)


def test_a_step_schedule_is_that_of_torch():
    # source 1: x .75 every 5 of 150 epochs, 4 updates an epoch
    weight = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    oracle = torch.optim.lr_scheduler.StepLR(optimizer, step_size=20, gamma=0.75)
    for step in range(600):
        assert rate(StepSpec(), step, steps=600, warmup=0) == pytest.approx(oracle.get_last_lr()[0]), step
        optimizer.step()
        oracle.step()


def test_a_plateau_lowers_the_rate_as_torch_does():
    weight = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    options = {"mode": "max", "factor": 0.5, "patience": 2, "threshold": 1e-4, "threshold_mode": "abs"}
    oracle = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, **options)
    plateau = Plateau(PlateauSpec())
    generator = np.random.default_rng(0)
    scores = [0.1, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 0.5, *generator.random(40).round(2)]
    for score in scores:
        oracle.step(score)
        plateau.see(score)
        assert float(plateau.factor) == optimizer.param_groups[0]["lr"]
    assert float(plateau.factor) < 0.1
    before = float(plateau.factor)
    for _ in range(3):
        plateau.see(float("nan"))
    assert float(plateau.factor) == before / 2


def test_a_plateau_resumes():
    one, two = Plateau(PlateauSpec(patience=1)), Plateau(PlateauSpec(patience=1))
    for score in (0.5, 0.4, 0.3, 0.2):
        one.see(score)
    two.load_state_dict(one.state_dict())
    for plateau in (one, two):
        plateau.see(0.1)
    assert float(one.factor) == float(two.factor) == 0.25


class WithEncoder(nn.Module):
    def __init__(self, encoder):
        super().__init__()
        self.encoder = encoder
        self.head = nn.Conv2d(4, 2, 1)


def rates_by_name(module, **fields):
    spec = TrainSpec(lr=1.0, **fields)
    lr = {id(p): group["lr"] for group in parameter_groups(module, spec) for p in group["params"]}
    return {name: lr[id(p)] for name, p in module.named_parameters()}


def test_layers_of_a_transformer_learn_the_slower_the_earlier_they_are():
    encoder = timm.create_model("vit_tiny_patch16_224", depth=3, num_classes=0)
    rates = rates_by_name(WithEncoder(encoder), layer_decay=0.5, head_lr=10)
    # stem, three blocks, the last norm: five layers, the last one half as fast as what follows the encoder at factor 1
    expected = {"patch_embed.proj.weight": 1 / 32, "cls_token": 1 / 32, "pos_embed": 1 / 32, "norm.weight": 1 / 2}
    expected |= {f"blocks.{i}.attn.qkv.weight": 2.0 ** (i - 4) for i in range(3)}
    assert {name: rates[f"encoder.{name}"] for name in expected} == expected
    assert rates["head.weight"] == rates["head.bias"] == 10


def test_layers_of_a_convolutional_encoder():
    rates = rates_by_name(WithEncoder(timm.create_model("resnet10t", features_only=True)), layer_decay=0.8)
    ordered = list(dict.fromkeys(rates.values()))
    assert ordered == sorted(ordered)
    assert rates["encoder.layer1.0.conv1.weight"] < rates["encoder.layer4.0.conv1.weight"] == pytest.approx(0.8)


def rates_of_a_model(fields, **given):
    spec = TypeAdapter(ModelSpec).validate_python({"encoder_weights": "none", **fields})
    return rates_by_name(nn.ModuleDict({"network": build_model(spec, in_channels=3, classes=2)}), **given)


def test_the_pyramid_on_a_transformer_learns_like_the_head():
    fields = {"kind": "unet", "encoder": "vit_tiny_patch16_224", "decoder_channels": [8] * 5, "pyramid_channels": 8}
    rates = rates_of_a_model({**fields, "encoder_arguments": {"depth": 2}}, layer_decay=0.5, head_lr=10)
    inside = "network.encoder."  # stem, two blocks, the last norm
    assert rates[f"{inside}vit.model.patch_embed.proj.weight"] == 1 / 16
    assert rates[f"{inside}vit.model.blocks.1.attn.qkv.weight"] == 1 / 4
    assert rates[f"{inside}vit.model.norm.weight"] == 1 / 2
    others = {rate for name, rate in rates.items() if not name.startswith(f"{inside}vit.")}
    assert others == {10}
    assert any(name.startswith(f"{inside}levels.") for name in rates)


def test_only_the_outermost_encoder_is_the_encoder():
    rates = rates_of_a_model({"kind": "basnet", "encoder": "resnet10t", "width": 4, "refine_width": 4}, head_lr=10)
    assert {rate for name, rate in rates.items() if name.startswith("network.encoder.")} == {1}
    assert {rate for name, rate in rates.items() if not name.startswith("network.encoder.")} == {10}


def test_what_halves_the_map_before_a_stage_is_one_layer():
    rates = rates_by_name(WithEncoder(timm.create_model("convnext_atto", features_only=True)), layer_decay=0.5)
    norm, convolution, block = (
        rates[f"encoder.stages_3.{name}.weight"] for name in ("downsample.0", "downsample.1", "blocks.0.conv_dw")
    )
    assert norm == convolution == block / 2


def test_a_network_without_an_encoder_has_no_layers_to_tell_apart():
    with pytest.raises(RecipeError, match=r"train\.head_lr"):
        parameter_groups(nn.Conv2d(1, 1, 1), TrainSpec(head_lr=10))


def test_sgd_is_that_of_torch_with_decay_on_weights_alone():
    ours, theirs = nn.Conv2d(1, 2, 3), nn.Conv2d(1, 2, 3)
    theirs.load_state_dict(ours.state_dict())
    spec = TrainSpec(lr=0.1, weight_decay=0.01, optimizer=SGDSpec(momentum=0.9, nesterov=True))
    one = build_optimizer(parameter_groups(ours, spec), spec)
    groups = [{"params": [theirs.weight], "weight_decay": 0.01}, {"params": [theirs.bias], "weight_decay": 0.0}]
    two = torch.optim.SGD(groups, lr=0.1, momentum=0.9, nesterov=True)
    images = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    for _ in range(5):
        for network, optimizer in ((ours, one), (theirs, two)):
            optimizer.zero_grad()
            network(images).square().mean().backward()
            optimizer.step()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b)


class Plain(nn.Module):
    """Group norm, so that parts of a batch add up."""

    def __init__(self, in_channels: int, classes: int) -> None:
        super().__init__()
        layers = nn.Conv2d(in_channels, 8, 3, padding=1), nn.GroupNorm(2, 8), nn.ReLU(), nn.Conv2d(8, classes, 1)
        self.layers = nn.Sequential(*layers)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.layers(images)


SETTINGS = (
    "train.steps=8", "train.validate_every=2", "train.batch=6", "train.crop=[32, 32]", "train.scale=1",
    "train.precision=float32", "train.channels_last=false", "train.accelerator=cpu", "train.threads=1",
    'loss=[{"kind": "cross_entropy"}]', 'model={"kind": "python", "target": "test_optimizer:Plain"}',
)  # fmt: skip


@pytest.fixture
def data(tmp_path):
    generator = np.random.default_rng(0)
    for part in ("images", "masks"):
        (tmp_path / "data" / part).mkdir(parents=True)
    for i in range(8):
        image = generator.integers(0, 255, (32, 32), np.uint8)
        Image.fromarray(image).save(tmp_path / "data" / "images" / f"i{i}.png")
        Image.fromarray((image > 128).astype(np.uint8)).save(tmp_path / "data" / "masks" / f"i{i}.png")
    index, section, _ = build_index(DataSpec(root=str(tmp_path / "data")))
    return index, Recipe(data=section)


def train(folder, data, *settings):
    index, recipe = data
    path = train_fold(folder, index, index, apply_settings(recipe, [*SETTINGS, *settings]))
    return torch.load(path, weights_only=True), pl.read_csv(path.with_name("metrics.csv"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("loss", "mix"),
    [
        ({"kind": "cross_entropy"}, []),
        ({"kind": "cross_entropy", "class_weights": (1.0, 5.0)}, [{"kind": "mixup"}]),
        ({"kind": "dice", "per_image": True}, []),
    ],
)
def test_accumulated_steps_are_those_of_the_large_batch(data, tmp_path, loss, mix):
    # what comes from outside is ignored: every crop has another number of pixels that count
    augment = [{"kind": "affine", "probability": 1, "rotate": 90, "shift": 0.4}, {"kind": "outside"}]
    uneven = [f"loss={json.dumps([loss])}", f"mix={json.dumps(mix)}", f"augment={json.dumps(augment)}"]
    whole, curves = train(tmp_path / "whole", data, *uneven)
    for parts in (2, 3):
        cut, of_parts = train(tmp_path / f"cut-{parts}", data, *uneven, f"train.accumulate={parts}")
        assert curves["loss"].to_list() == pytest.approx(of_parts["loss"].to_list(), rel=1e-4)
        assert cut["global_step"] == whole["global_step"] == 8
        for name, value in whole["state_dict"].items():
            torch.testing.assert_close(value, cut["state_dict"][name], rtol=1e-4, atol=1e-6)
        assert "in parts" not in (tmp_path / f"cut-{parts}" / "log.txt").read_text()


@pytest.mark.slow
def test_the_best_checkpoints_are_kept(data, tmp_path):
    _, curves = train(tmp_path / "run", data, "train.keep=3", "train.lr=0.05")
    ranked = curves.sort("mean_dice", descending=True)["step"].to_list()
    kept = sorted(int(path.stem.removeprefix("top-")) for path in (tmp_path / "run").glob("top-*.ckpt"))
    assert kept == sorted(ranked[:3])
    best = torch.load(tmp_path / "run" / "best.ckpt", weights_only=True)
    assert best["global_step"] == ranked[0]


@pytest.mark.slow
def test_the_rate_of_a_training_falls_on_a_plateau(data, tmp_path):
    settings = ('train.schedule={"kind": "plateau", "patience": 0, "threshold": 1.0}', "train.warmup=0")
    _, curves = train(tmp_path / "run", data, *settings)
    rates = curves["lr"].to_list()
    assert all(later <= earlier for earlier, later in itertools.pairwise(rates))
    assert rates[0] == pytest.approx(1e-3) and rates[-1] <= 1e-3 / 4


@pytest.mark.slow
def test_the_shipped_network_is_the_mean_of_the_last_ones(data, tmp_path):
    state, _ = train(tmp_path / "run", data, "train.swa=0.5")
    tensors = state["state_dict"]
    shipped, own = (tensors[f"step.{kind}layers.0.weight"] for kind in ("average.network.", "network."))
    assert int(tensors["step.average.updates"]) == 8
    assert not torch.allclose(shipped, own)
    copied, _ = train(tmp_path / "copied", data, "train.swa=0.99")  # from update 8 on: never
    tensors = copied["state_dict"]
    shipped, own = (tensors[f"step.{kind}layers.0.weight"] for kind in ("average.network.", "network."))
    assert torch.equal(shipped, own)


@pytest.mark.slow
def test_every_image_is_brought_to_one_size(data, tmp_path):
    index, _ = data
    whole = (*SETTINGS[:3], "train.crop=[64, 32]", "train.scale=[64, 32]")
    state, _ = train(tmp_path / "run", data, *whole)
    assert tuple(state["maskwright"]["scale"]) == (64, 32)
    trained = load_ensemble([tmp_path / "run" / "last.ckpt"])
    ((_, size, probabilities),) = predict_files(trained, [("i0", index.path(index.images[0]))], PredictSpec())
    assert size == (32, 32)
    assert probabilities.shape == (2, 64, 32)


@pytest.mark.slow
def test_a_compiled_training_gives_the_same_numbers(data, tmp_path):
    eager, _ = train(tmp_path / "eager", data)
    compiled, _ = train(tmp_path / "compiled", data, "train.compile=true")
    assert eager["state_dict"].keys() == compiled["state_dict"].keys()
    for name, value in eager["state_dict"].items():
        torch.testing.assert_close(value, compiled["state_dict"][name], rtol=1e-3, atol=1e-5)
