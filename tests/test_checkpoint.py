"""Checkpoints: what is saved builds the same network again; other files are refused."""

from __future__ import annotations

import pytest
import torch

from maskwright.checkpoint import KEY, describe, load_trained, network_state
from maskwright.data.intensity import Intensity
from maskwright.errors import DataError
from maskwright.models import build_model
from maskwright.recipe.data import DataSpec
from maskwright.recipe.model import UNetSpec
from maskwright.types import Categories, Category

DATA = DataSpec(
    root="/elsewhere",
    categories=(Category(0, "background", values=(0,)), Category(9, "tooth", (1, 2, 3), values=("#ff0000", 4))),
    ignore=(255,),
    leave_out=("background",),
    channels=1,
    value_range=(0.0, 4095.0),
    mean=(0.25,),
    std=(0.125,),
)
MODEL = UNetSpec(encoder="resnet10t", encoder_weights="auto", decoder_channels=(16, 16, 8))


def save(path, prefix, **more):
    network = build_model(MODEL.model_copy(update={"encoder_weights": "none"}), in_channels=1, classes=2)
    about = describe(MODEL, DATA, scale=0.5, precision="bfloat16", channels_last=True)
    state = {f"{prefix}{key}": value for key, value in network.state_dict().items()}
    torch.save({KEY: about, "state_dict": state | more}, path)
    return network


@pytest.mark.parametrize("prefix", ["step.network.", "step.average.network.", ""])
def test_a_saved_network_is_built_again(tmp_path, prefix):
    network = save(tmp_path / "a.ckpt", prefix).eval()
    trained = load_trained(tmp_path / "a.ckpt")
    images = torch.randn(1, 1, 32, 64)
    with torch.no_grad():
        assert torch.allclose(trained.network(images), network(images), atol=1e-5)
    assert not trained.network.training
    assert not any(p.requires_grad for p in trained.network.parameters())
    assert trained.categories == Categories(DATA.categories, frozenset({"background"}), (255,))
    assert trained.intensity == Intensity(1, (0.0, 4095.0), (0.25,), (0.125,))
    assert (trained.scale, trained.precision, trained.channels_last) == (0.5, "bfloat16", True)


def test_the_moving_average_is_what_ships():
    state = {"step.network.w": torch.zeros(1), "step.average.network.w": torch.ones(1), "step.average.updates": 3}
    assert network_state(state) == {"w": torch.ones(1)}


def test_a_checkpoint_does_not_say_where_the_data_lay(tmp_path):
    save(tmp_path / "a.ckpt", "step.network.")
    assert b"/elsewhere" not in (tmp_path / "a.ckpt").read_bytes()


@pytest.mark.parametrize("content", [b"", b"no checkpoint", "tensor", "dict", "cut"])
def test_other_files_are_refused_by_name(tmp_path, content):
    path = tmp_path / "a.ckpt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content == "cut":
        save(path, "step.network.")
        path.write_bytes(path.read_bytes()[:-2000])
    else:
        torch.save(torch.zeros(3) if content == "tensor" else {"state_dict": {}}, path)
    with pytest.raises(DataError, match=r"a checkpoint of maskwright(.|\n)*a\.ckpt"):
        load_trained(path)


def test_a_missing_checkpoint_says_how_to_get_one(tmp_path):
    with pytest.raises(DataError, match="maskwright train"):
        load_trained(tmp_path / "none.ckpt")
