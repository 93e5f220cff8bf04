"""The workflows of source 4: which things share a network, as its section 9.3 has them, and what doesn't fit."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from maskwright.recipe import Recipe
from maskwright.recipe.data import DataSpec
from maskwright.recipe.instances import InstancesSpec
from maskwright.recipe.workflow import WORKFLOWS

RANKED = {"kind": "pseudo_labels", "images": {"kind": "agreement"}}
THINGS = ["car", "bus", "truck", "train", "person", "rider", "bicycle", "motorcycle"]
AUTO, HUMAN, BIKE = ("car", "bus", "truck", "train"), ("person", "rider"), ("bicycle", "motorcycle")


def spec_of(workflow):
    return InstancesSpec(workflow=workflow, together=(AUTO, HUMAN, BIKE))


@pytest.mark.parametrize(
    ("workflow", "first", "rounds"),
    [  # trainings of a fold: figure 9.3, and table 12.2 for mix
        ("all", [tuple(THINGS)], [tuple(THINGS)]),
        ("icm", [tuple(THINGS)], [(thing,) for thing in THINGS]),
        ("base", [tuple(THINGS)], [AUTO, HUMAN, BIKE]),
        ("ccm", [AUTO, HUMAN, BIKE], [AUTO, HUMAN, BIKE]),
        ("mix", [tuple(THINGS)], [tuple(THINGS), AUTO, HUMAN, BIKE, *((thing,) for thing in THINGS)]),
    ],
)
def test_the_thesis_divides_its_eight_things(workflow, first, rounds):
    spec = spec_of(workflow)
    assert list(spec.teams(THINGS, 0)) == first
    assert list(spec.teams(THINGS, 1)) == list(spec.teams(THINGS, 2)) == rounds
    for number in (0, 1):  # each thing is in one team of each division
        for division in spec.divisions(THINGS, number).values():
            assert sorted(thing for team in division for thing in team) == sorted(THINGS)


def test_teams_that_are_the_same_are_trained_once():
    spec = InstancesSpec(workflow="mix", together=(("car",), ("bus", "rider")))
    assert spec.teams(["car", "bus", "rider"], 1) == (
        ("car", "bus", "rider"), ("car",), ("bus", "rider"), ("bus",), ("rider",)
    )  # fmt: skip
    assert InstancesSpec(workflow="icm").teams(["cell"], 1) == (("cell",),)
    assert list(InstancesSpec(workflow="mix").divisions(["a", "b"], 1)) == ["all", "each"]
    assert set(WORKFLOWS) == {"all", "icm", "base", "ccm", "mix"}


def test_what_is_left_out_is_in_no_team():
    spec = InstancesSpec(workflow="icm", only=("bus", "car"))
    assert spec.teams(THINGS, 1) == (("bus",), ("car",))


def recipe_of(task="panoptic", **fields):
    items = [{"id": k, "name": name, "isthing": name != "road"} for k, name in enumerate(["road", *THINGS])]
    sections = {key: fields.pop(key) for key in ("selftrain",) if key in fields}
    return Recipe(data=DataSpec(root=".", task=task, categories=items), instances=fields, **sections)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"workflow": "base"}, "name them in instances.together"),
        ({"together": [["car", "car"]]}, "each thing once"),
        ({"together": [["car"], []]}, "no group without one"),
        ({"together": [["car", "lorry"]]}, "'lorry' isn't there"),
        ({"only": ["road"]}, "'road' is no thing"),
        ({"workflow": "base", "together": [AUTO, HUMAN]}, "together: bicycle, motorcycle in none of them"),
        ({"workflow": "icm", "selftrain": {"protocol": "pretrain_mixed"}}, "selftrain.protocol to mixed"),
        ({"workflow": "icm", "selftrain": {"method": RANKED}}, "relabel_rest"),
        ({"workflow": "icm", "task": "instances"}, "set it to all"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_told(fields, told):
    with pytest.raises(ValidationError, match=told):
        recipe_of(**fields)


def test_what_fits():
    assert recipe_of(workflow="ccm", together=[AUTO, HUMAN, BIKE]).instances.together == (AUTO, HUMAN, BIKE)
    assert recipe_of("semantic", only=["lorry"]).instances.only == ("lorry",)  # without effect
