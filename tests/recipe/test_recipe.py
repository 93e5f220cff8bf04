"""Recipes: files that round-trip, errors that list every fault with the nearest name, overrides, component tables."""

from __future__ import annotations

import typing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskwright.errors import RecipeError
from maskwright.losses import LOSSES
from maskwright.models import MODELS
from maskwright.recipe import Recipe, apply_settings, dump_recipe, flatten, load_recipe, recipe_schema
from maskwright.recipe.data import DataSpec
from maskwright.recipe.file import parse_recipe
from maskwright.recipe.loss import DiceSpec, LossSpec
from maskwright.recipe.model import ModelSpec, PythonModelSpec
from maskwright.recipe.predict import MinimumAreaSpec, PostprocessSpec, ThresholdSpec
from maskwright.types import Category


def plain() -> Recipe:
    return Recipe(data=DataSpec(root="/d"))


def rich() -> Recipe:
    categories = (Category(0, "sky", (1, 2, 3), values=(0, "#010203")), Category(7, "Ärzte: yes", values="rest"))
    data = DataSpec(
        root="/d: x", categories=categories, ignore=(255, "#ffffff"), mean=(0.1,), value_range=(0.0, 4095.5)
    )
    chain = PostprocessSpec(chain=(ThresholdSpec(value=0.35), MinimumAreaSpec(pixels=12)))
    model = PythonModelSpec(target="package.module:name", arguments={"depth": 3, "names": ["a", "b"]})
    return Recipe(data=data, postprocess=chain, model=model)


@pytest.mark.parametrize("make", [plain, rich])
def test_a_dumped_recipe_is_complete_and_loads_as_the_same(tmp_path, make):
    path = tmp_path / "recipe.yaml"
    path.write_text(dump_recipe(make()), encoding="utf-8")
    assert load_recipe(path) == make()
    assert dump_recipe(load_recipe(path)) == path.read_text(encoding="utf-8")
    for field in Recipe.model_fields:
        assert f"\n{field}:" in path.read_text(encoding="utf-8")


@given(st.floats(1e-12, 1e6), st.sampled_from(["{:g}", "{:e}", "{:.3E}"]))
def test_every_notation_of_a_number_is_a_number(value, notation):
    text = notation.format(value)
    assert apply_settings(plain(), [f"train.lr={text}"]).train.lr == float(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-3", 0.001), ("1E3", 1000.0), (".5", 0.5), ("2.", 2.0), ("3", 3.0), ("1_000.5", 1000.5), ("+1e+2", 100.0)],
)
def test_numbers_as_people_write_them(text, value):
    assert apply_settings(plain(), [f"train.lr={text}"]).train.lr == value


def test_text_that_looks_a_bit_like_a_number_stays_text():
    for text in ("1e", "e5", "1-2", "s01", "1.2.3"):
        assert apply_settings(plain(), [f"data.group={text}"]).data.group == text


def test_all_faults_come_at_once_each_with_the_nearest_name(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text("data: {root: /d, clases: all}\ntrain: {lr: fast, stepz: 3}\nloss: [{kind: dise}]\nmodle: {}\n")
    with pytest.raises(RecipeError) as caught:
        load_recipe(path)
    text = str(caught.value)
    assert text.startswith("expected a valid recipe, got 5 fault(s)")
    assert str(path) in text
    assert "data.clases: no such field; did you mean classes?" in text
    assert "train.stepz: no such field; did you mean steps?" in text
    assert "modle: no such field; did you mean model?" in text
    assert "train.lr" in text
    assert "'fast'" in text
    assert "loss.0.kind: Input should be one of these, got 'dise'; did you mean dice?" in text


def test_an_unknown_field_inside_a_union_is_told_the_names_of_its_own_kind():
    with pytest.raises(RecipeError, match="smooth"):
        parse_recipe({"data": {"root": "/d"}, "loss": [{"kind": "dice", "smoth": 1}]}, where="test")


def test_a_category_with_an_unknown_key_is_an_error():
    tree = {"data": {"root": "/d", "categories": [{"id": 0, "name": "a", "colour": [0, 0, 0]}]}}
    with pytest.raises(RecipeError, match=r"categories\.0\.colour"):
        parse_recipe(tree, where="test")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, ("expected a recipe file", "nothing")),
        ("train: [1, 2", ("expected YAML", "line")),
        ("- a\n- b\n", ("expected a mapping", "list")),
        ("", ("expected a mapping", "NoneType")),
    ],
)
def test_files_that_are_no_recipe(tmp_path, content, words):
    path = tmp_path / "recipe.yaml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(RecipeError) as caught:
        load_recipe(path)
    assert all(word in str(caught.value) for word in (*words, str(path)))


def test_nan_and_infinity_are_refused():
    for text in (".nan", ".inf"):
        with pytest.raises(RecipeError, match=r"train\.lr"):
            apply_settings(plain(), [f"train.lr={text}"])


def test_settings_reach_leaves_list_items_unions_and_whole_sections():
    found = apply_settings(
        plain(),
        [
            "loss.1.weight=0.5",
            "augment.0.vertical=0.5",
            "model.encoder=resnet10t",
            "train.crop=[32, 64]",
            "postprocess.chain=[{kind: threshold, value: 0.4}]",
            "data.classes=[a, b]",
            "data.classes=binary",
            "executor={jobs: 2}",
            "train.minutes=null",
        ],
    )
    assert found.loss[1] == DiceSpec(weight=0.5)
    assert found.augment[0].vertical == 0.5
    assert found.train.crop == (32, 64)
    assert found.postprocess.chain == (ThresholdSpec(value=0.4),)
    assert found.data.classes == "binary"  # the later one wins
    assert found.executor.jobs == 2


def test_a_union_changes_its_kind_as_a_whole():
    found = apply_settings(plain(), ["model={kind: python, target: 'a:b'}", "loss=[{kind: dice, smooth: 2}]"])
    assert found.model == PythonModelSpec(target="a:b")
    assert found.loss == (DiceSpec(smooth=2),)


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("train.lrr=1", ("train.lrr", "did you mean train.lr?")),
        ("trian.lr=1", ("did you mean train?",)),
        ("loss.7.weight=1", ("loss.7.weight",)),
        ("loss.first.weight=1", ("loss.first.weight",)),
        ("loss.-3.weight=1", ("loss.-3.weight",)),
        ("train.lr.x=1", ("train.lr.x",)),
        ("train.lr", ("expected key.path=value",)),
        ("train.lr=-1", ("train.lr", "greater than 0")),
        ("=1", ("'=1': no such field",)),
        ("train.crop=[32", ("YAML", "train.crop")),
    ],
)
def test_settings_that_lead_nowhere(setting, words):
    with pytest.raises(RecipeError) as caught:
        apply_settings(plain(), [setting])
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_settings_leave_the_given_recipe_alone():
    recipe = plain()
    apply_settings(recipe, ["loss.0.weight=9"])
    assert recipe == plain()


def test_flatten_names_every_leaf_by_its_path():
    assert flatten({"a": {"b": [1, {"c": 2}]}, "d": [], "e": {}}) == {"a.b.0": 1, "a.b.1.c": 2, "d": [], "e": {}}


def test_the_schema_describes_what_the_recipe_holds():
    schema = recipe_schema()
    assert set(schema["properties"]) == set(Recipe.model_fields)
    assert schema["additionalProperties"] is False
    assert schema["required"] == ["data"]
    train = schema["$defs"]["TrainSpec"]["properties"]
    assert train["lr"]["exclusiveMinimum"] == 0
    assert "learning rate" in train["lr"]["description"]
    kinds = schema["properties"]["loss"]["items"]["discriminator"]["mapping"]
    assert set(kinds) == {spec.model_fields["kind"].default for spec in LOSSES}


def kinds_of(union: object) -> set[type]:
    return set(typing.get_args(typing.get_args(union)[0]))


@pytest.mark.parametrize(("table", "union"), [(MODELS, ModelSpec), (LOSSES, LossSpec)])
def test_component_tables_cover_exactly_the_kinds_of_their_union(table, union):
    assert set(table) == kinds_of(union)
