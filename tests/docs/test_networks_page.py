"""The figures of docs/networks.md are those of the networks that it names."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
import yaml
from pydantic import TypeAdapter

from maskwright.errors import RecipeError
from maskwright.models import build_model, count_parameters
from maskwright.models.own import OWN_MODELS
from maskwright.recipe.networks import OwnModelSpec

PAGE = Path(__file__).parents[2] / "docs" / "networks.md"
ROW = re.compile(r"^\| `(\{kind: .*?\})` \|.*\| (\d+|depth \+ 1) \| ([\d,]+) \|$", re.MULTILINE)


def rows():
    found = ROW.findall(PAGE.read_text(encoding="utf-8"))
    assert len(found) >= len(OWN_MODELS)
    return found


def spec_of(text):
    settings = yaml.safe_load(text)
    if settings["kind"] in ("basnet", "deeplabv2"):
        settings["encoder_weights"] = "none"
    return TypeAdapter(OwnModelSpec).validate_python(settings)


def build(spec, levels=1):
    with torch.device("meta"):
        return build_model(spec, in_channels=3, classes=5, levels=levels)


@pytest.mark.parametrize(("text", "outputs", "parameters"), rows(), ids=lambda value: str(value)[:60])
def test_parameters_and_outputs_are_as_printed(text, outputs, parameters):
    spec = spec_of(text)
    assert f"{count_parameters(build(spec)):,}" == parameters
    most = spec.depth + 1 if outputs == "depth + 1" else int(outputs)
    build(spec, most)
    with pytest.raises(RecipeError, match=f"at most {most} level\\(s\\)"):
        build(spec, most + 1)


def test_every_network_has_a_row():
    assert {type(spec_of(text)) for text, _, _ in rows()} == set(OWN_MODELS)
