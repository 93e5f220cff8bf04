"""What tuning tries, as the recipe says it."""

from __future__ import annotations

import pickle
from typing import get_args

import pytest

from maskwright.errors import RecipeError
from maskwright.metrics import SUMMARIES
from maskwright.recipe import Recipe, apply_settings, dump_recipe
from maskwright.recipe.data import DataSpec
from maskwright.recipe.file import parse_recipe
from maskwright.recipe.predict import (
    MinimumAreaSpec,
    PostprocessSpec,
    PostprocessStep,
    SearchMetric,
    SearchStep,
    ThresholdSpec,
)
from maskwright.recipe.steps import ClosingSpec, MajoritySpec, SelectSpec, SmoothSpec, SplitSpec

RECIPE = Recipe(data=DataSpec(root="."))


def entries(*plain):
    return PostprocessSpec.model_validate({"search": plain}).search


def combinations(plain, area=10_000, positions=2):
    (entry,) = entries(plain)
    return entry.combinations(area, positions)


def box(size):
    return SmoothSpec(weights="box", size=size)


def test_every_step_can_be_searched():
    steps = {step.model_fields["kind"].default for step in get_args(get_args(PostprocessStep)[0])}
    assert {entry.model_fields["kind"].default for entry in get_args(get_args(SearchStep)[0])} == steps


@pytest.mark.parametrize(
    ("plain", "expected"),
    [
        ({"kind": "threshold", "value": [0.3, 0.4]}, [ThresholdSpec(value=0.3), ThresholdSpec(value=0.4)]),
        ({"kind": "threshold", "value": 0.3}, [ThresholdSpec(value=0.3)]),
        ({"kind": "majority"}, [MajoritySpec(size=3)]),
        (
            {"kind": "select", "drop": 0.1, "high": [0.5, 0.6], "lower": [0.2, 0.3]},
            [SelectSpec(drop=0.1, high=h, lower=w) for h in (0.5, 0.6) for w in (0.2, 0.3)],
        ),
        # of 10 000 pixels: .001 are 10, .00001 less than one; the side is 100
        ({"kind": "minimum_area", "share": [0.001, 1e-5]}, [MinimumAreaSpec(pixels=10), MinimumAreaSpec(pixels=1)]),
        ({"kind": "smooth", "share": [0.015, 0.0001]}, [SmoothSpec(sigma=1.5), SmoothSpec(sigma=0.5)]),
        # of a box its side is meant, of a Gaussian its deviation; the other has no say
        ({"kind": "smooth", "weights": "box", "share": [0.05, 0.09]}, [box(5), box(9)]),
        (
            {"kind": "smooth", "weights": ["gaussian", "box"], "share": [0.05]},
            [SmoothSpec(sigma=5), box(5)],
        ),
        (
            {"kind": "smooth", "weights": ["gaussian", "box"], "sigma": [1, 2], "size": [3, 5]},
            [SmoothSpec(sigma=1), SmoothSpec(sigma=2), box(3), box(5)],
        ),
        # windows are odd and have at least 3 pixels; equal ones are tried once
        ({"kind": "closing", "share": [0.09, 0.01, 0.02]}, [ClosingSpec(size=9), ClosingSpec(size=3)]),
        ({"kind": "split", "share": 0.12}, [SplitSpec(distance=12)]),
    ],
    ids=str,
)
def test_candidates_worked_by_hand(plain, expected):
    assert combinations(plain) == [expected]


def test_categories_on_their_own_but_the_first():
    found = combinations({"kind": "minimum_area", "pixels": [4, 9], "by_category": True}, positions=3)
    assert found == [[MinimumAreaSpec(pixels=n, category=c) for n in (4, 9)] for c in (1, 2)]


@pytest.mark.parametrize(
    ("plain", "message"),
    [
        ([{"kind": "smoth"}], r"postprocess\.search\.0\.kind: no such kind, got 'smoth'; did you mean smooth"),
        ([{"kind": "smooth", "sigm": 1}], r"postprocess\.search\.0\.sigm: no such field; did you mean sigma\?"),
        ([{"kind": "smooth", "sigma": [1, 0]}], r"postprocess\.search\.0\.sigma\.1: should be greater than 0, got 0"),
        ([{"kind": "majority", "size": 4}], "an odd number of pixels is expected"),
        ([{"kind": "minimum_area"}], r"pixels: no candidate: name some, such as pixels: \[…\], or share: \[…\]"),
        ([{"kind": "threshold", "value": []}], r"value: no candidate: name some, such as value: \[…\]\n"),
        (
            [{"kind": "minimum_area", "pixels": [4], "share": 0.1}],
            r"pixels: either candidates in pixels or share: \[…\]",
        ),
        ([{"kind": "fill_holes", "pixels": 9, "share": 0.1}], r"pixels: either candidates in pixels or share"),
        ([{"kind": "smooth", "sigma": 1, "share": 0.1}], r"sigma: either candidates in pixels or share"),
        (
            [{"kind": "smooth", "weights": "box", "size": 5, "share": 0.1}],
            r"size: either candidates in pixels or share",
        ),
        ([{"kind": "smooth", "share": 2}], "less than or equal to 1"),
        ([{"kind": "threshold", "share": 0.1}], "no such field"),
        ({"kind": "threshold"}, r"should be a list, got .*; put it into \[ \]"),
    ],
    ids=str,
)
def test_faults_name_the_field(plain, message):
    with pytest.raises(RecipeError, match=message):
        parse_recipe({"data": {"root": "."}, "postprocess": {"search": plain}}, where="here")


@pytest.mark.parametrize("name", ["boundary_f", "hd95", "pq", "ap50"])
def test_metrics_that_no_sum_of_pixels_gives_are_refused(name):
    with pytest.raises(RecipeError, match=r"postprocess\.metric: a metric that adds up from the true and false pixels"):
        apply_settings(RECIPE, [f"postprocess.metric={name}"])


def test_the_metrics_are_those_of_a_table():
    names = set(get_args(get_args(SearchMetric)[0])) - {"auto"}
    assert names == set(SUMMARIES)
    for name in names:
        apply_settings(RECIPE, [f"postprocess.metric={name}"])
    with pytest.raises(RecipeError, match="should be 'auto', 'mean_dice'"):
        apply_settings(RECIPE, ["postprocess.metric=accuracy"])


def test_the_metric_is_that_of_training_unless_one_is_named():
    recipe = apply_settings(RECIPE, ["train.monitor=mean_iou"])
    assert recipe.tuned_metric() == "mean_iou"
    assert apply_settings(recipe, ["postprocess.metric=mean_recall"]).tuned_metric() == "mean_recall"


def test_a_search_can_be_set_and_is_written_whole():
    recipe = apply_settings(RECIPE, ["postprocess.search=[{kind: closing, size: [3, 5]}, {kind: smooth, share: 0.01}]"])
    recipe = apply_settings(recipe, ["postprocess.search.0.size=[7]", "postprocess.search.1.share=[0.02, 0.03]"])
    closing, smooth = recipe.postprocess.search
    assert closing.size == (7,) and smooth.share == (0.02, 0.03)
    assert parse_recipe_text(dump_recipe(recipe)) == recipe


def parse_recipe_text(text):
    import yaml

    return parse_recipe(yaml.safe_load(text), where="text")


def test_a_recipe_goes_to_other_processes():
    recipe = Recipe(data=DataSpec(root="."))
    assert pickle.loads(pickle.dumps(recipe)) == recipe


def test_a_resolved_recipe_is_read_again():
    """It states every field, the sizes that `share` stands for as well: at their defaults."""
    plain = [
        {"kind": "smooth", "share": 0.1},
        {"kind": "minimum_area", "share": 0.1},
        {"kind": "fill_holes", "share": 1},
    ]
    recipe = parse_recipe({"data": {"root": "."}, "postprocess": {"search": plain}}, where="here")
    tree = recipe.model_dump(mode="json")
    assert tree["postprocess"]["search"][0]["sigma"] == [1.0]
    assert parse_recipe(tree, where="here") == recipe
    tree["postprocess"]["search"][0]["sigma"] = [2.0]
    with pytest.raises(RecipeError, match=r"postprocess\.search\.0\.?.*sigma: either"):
        parse_recipe(tree, where="here")
