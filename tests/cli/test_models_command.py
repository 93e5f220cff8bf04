"""`maskwright models` and `maskwright weights` from the command line."""

from __future__ import annotations

import json

import pytest

from maskwright.cli import main


def call(capsys, *arguments):
    code = main(list(arguments))
    out, err = capsys.readouterr()
    return code, out, err


def test_models_lists_what_was_asked_for(capsys):
    code, out, err = call(
        capsys, "models", "--kind", "unet,pan", "--encoder", "test_vit", "--size", "40x64", "--time", "--batch", "1",
        "--json",
    )  # fmt: skip
    found = json.loads(out)
    assert code == 0
    assert found["size"] == [64, 64]
    (unet,) = found["models"]
    assert (unet["kind"], unet["encoder"]) == ("unet", "test_vit")
    assert unet["parameters"] > 0 and unet["multiply_adds"] > 0 and unet["step_seconds"] > 0
    assert "dilated" in found["left_out"]["pan"]
    assert "dilated" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--kind", "unett"], "known: unet"),
        (["--size", "large"], "HEIGHTxWIDTH"),
        (["--size", "0x64"], "HEIGHTxWIDTH"),
    ],
)
def test_models_says_what_it_does_not_know(capsys, arguments, message):
    code, _, err = call(capsys, "models", *arguments)
    assert code == 2
    assert message in err


def test_weights_are_fetched_listed_bundled_and_added(capsys, tmp_path, monkeypatch):
    import timm
    from huggingface_hub import constants
    from safetensors.torch import save_file

    save_file(timm.create_model("test_resnet").state_dict(), tmp_path / "test_resnet.safetensors")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "one"))
    assert call(capsys, "weights", "fetch", "test_resnet", "--from", str(tmp_path))[0] == 0
    code, out, _ = call(capsys, "weights", "list", "--json")
    (item,) = json.loads(out)["weights"]
    assert (code, item["name"]) == (0, "timm/test_resnet.r160_in1k")
    assert call(capsys, "weights", "bundle", "test_resnet", "--out", str(tmp_path / "w.zip"))[0] == 0
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "other"))
    assert call(capsys, "weights", "add", str(tmp_path / "w.zip"))[0] == 0
    assert json.loads(call(capsys, "weights", "list", "--json")[1])["weights"][0]["name"] == item["name"]


@pytest.mark.parametrize("arguments", [["fetch"], ["fetch", "resnet_18"], ["bundle", "--out", "w.zip"]])
def test_weights_of_nothing(capsys, arguments):
    code, _, err = call(capsys, "weights", *arguments)
    assert code == 2
    assert "expected" in err
