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
from maskwright.recipe.loss import DiceSpec, LossSpec, LovaszSpec
from maskwright.recipe.model import DPTSpec, ModelSpec, PythonModelSpec
from maskwright.recipe.predict import MinimumAreaSpec, PostprocessSpec, ThresholdSpec
from maskwright.recipe.target import import_target
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
    assert "loss.0.kind: no such kind, got 'dise'; did you mean dice?; known: cross_entropy, focal" in text


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
        ("loss.7.weight=1", ("loss.7.weight", "loss has 2 item(s), numbered from 0; --set 'loss=[…]'")),
        ("levels.0.weight=1", ("levels has no items; --set 'levels=[…]'",)),
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


@pytest.mark.parametrize(
    ("setting", "fault"),
    [  # one line a fault, as one writes the field, and what belongs there
        ("loss.0.weight=learn", "loss.0.weight: should be a number or 'learned', got 'learn'; did you mean learned?"),
        ("loss.0.weight=-1", "loss.0.weight: should be greater than or equal to 0, got -1"),
        ("train.scale=0", "train.scale: should be greater than 0, got 0"),
        ("train.scale=half", "train.scale: should be a number or a list, got 'half'"),
        ("train.scale=[64, 0]", "train.scale.1: should be greater than or equal to 1, got 0"),
        ("train.lr=fast", "train.lr: should be a number, got 'fast'"),
        ("train.monitor=dice", "train.monitor: should be 'auto', 'mean_dice', 'mean_iou' or 'pooled_miou', got 'dice'"),
        ("model.decoder_channels=[16, 8]", "model.decoder_channels: should have at least 3 items, not 2, got [16, 8]"),
        ("model=unet", "model: should be fields with a kind, got 'unet'; write {kind: unet}"),
        ("model=unett", "write {kind: unet}"),
        ("train.optimizer=sgd", "train.optimizer: should be fields with a kind, got 'sgd'; write {kind: sgd}"),
        ("mix=cutmix", "mix: should be a list, got 'cutmix'; write [{kind: cutmix}]"),
        ("mix=7", "mix: should be a list, got 7"),
        ("mix=zzz", "got 'zzz'; write [{kind: …}]; known: cutmix, cutout, classmix, copy_paste, mixup"),
        ("mix={kind: cutmix}", "mix: should be a list, got {'kind': 'cutmix'}; put it into [ ]"),
        ("mix=[{probability: 0.5}]", "mix.0.kind: missing; one of: cutmix, cutout, classmix, copy_paste, mixup"),
        ("levels=[1]", "levels.0: should be fields (loss, weight), got 1"),
        ("predict.tta=[identity, rotate90]", "did you mean rotate_90?"),
        ("predict.tta=[]", "predict.tta: should have at least 1 item"),
        ("predict.scales=[0]", "predict.scales.0: should be greater than or equal to 0.125, got 0"),
        ("predict.scales=[1, 1]", "predict: scales: each factor once"),
        ("predict.scale_weights=[1, 2]", "predict: scale_weights (2) must be as many as scales (1)"),
        ("predict.checkpoint=topk", "topk averages the best checkpoints of a fold: it needs train.keep"),
        (
            "augment=[{kind: noise, probability: {begin: 0.4}}]",
            "augment.0.probability.begin: no such field; did you mean end?",
        ),
        ("augment=[{kind: noise, probability: {start: 2}}]", "probability.start: should be less than or equal to 1"),
        ("augment=[{kind: noise, probability: {end: 0}}]", "augment.0.probability.start: a value is missing"),
        (
            "augment=[{kind: for_classes, classes: [a], augment: [{kind: flp}]}]",
            "augment.0.augment.0.kind: no such kind",
        ),
        ("loss=[{kind: ssim, window: 4}]", "loss.0: window (4) must be odd"),
        (
            "loss=[{kind: kervadec_boundary, weight: learned}]",
            "loss.0.weight: must be a number: the boundary loss gets",
        ),
        (
            "loss.0.class_weights=median",
            "loss.0.class_weights: should be 'none', 'inverse_frequency', 'median_frequency' or 'effective_number' or "
            "a list, got 'median'; did you mean median_frequency?",
        ),
    ],
)
def test_a_fault_is_told_in_the_words_of_recipes(setting, fault):
    with pytest.raises(RecipeError) as caught:
        apply_settings(plain(), [setting])
    text = str(caught.value)
    assert fault in text
    for foreign in ("Value error", "Input", "constrained", "function-after", "tuple[", "Tuple", "dictionary"):
        assert foreign not in text


def test_another_kind_keeps_what_was_stated_and_takes_its_own_defaults():
    unet = apply_settings(plain(), ["model.encoder=resnet18", "model.activation=mish"])
    fpn = apply_settings(unet, ["model.kind=upernet"])
    assert (fpn.model.kind, fpn.model.encoder, fpn.model.activation) == ("upernet", "resnet18", "mish")
    assert apply_settings(plain(), ["model.kind=dpt"]).model.encoder == DPTSpec().encoder
    assert apply_settings(plain(), ["loss.1.weight=2", "loss.1.kind=lovasz"]).loss[1] == LovaszSpec(weight=2)
    with pytest.raises(RecipeError, match=r"model\.residual: no such field"):  # stated, so it isn't dropped in silence
        apply_settings(plain(), ["model.residual=true", "model.kind=upernet"])
    with pytest.raises(RecipeError, match=r"model\.kind: no such kind, got 'unett'; did you mean unet\?"):
        apply_settings(plain(), ["model.kind=unett"])


@pytest.mark.parametrize("text", ["true", "'true'"])
def test_true_objects_may_be_named_as_yaml_reads_it(text, tmp_path):
    """In YAML and JSON `true` is no text; the recipe that is written says it as one."""
    recipe = apply_settings(plain(), [f"selftrain.method.objects.votes={text}"])
    assert recipe.selftrain.method.objects.votes == "true"
    (tmp_path / "recipe.yaml").write_text(dump_recipe(recipe), encoding="utf-8")
    assert load_recipe(tmp_path / "recipe.yaml") == recipe


def test_a_field_of_a_section_that_is_left_out_states_it():
    """`model.embedding` and `selftrain.hard` are null by default."""
    recipe = apply_settings(plain(), ["model.embedding.channels=4", "selftrain.hard.share=0.2"])
    assert (recipe.model.embedding.channels, recipe.selftrain.hard.share) == (4, 0.2)
    with pytest.raises(RecipeError, match=r"did you mean model\.embedding\.channels\?"):
        apply_settings(plain(), ["model.embedding.channel=4"])


def test_a_category_that_a_loss_leaves_out_is_there():
    tree = {"root": "/d", "categories": [{"id": 0, "name": "soil"}, {"id": 1, "name": "rock"}]}
    known = parse_recipe({"data": tree}, where="test")
    apply_settings(known, ["loss.1.leave_out=[rock]"])
    for setting in ("loss.1.leave_out=[rok]", "levels=[{}, {loss: [{kind: dice, leave_out: [rok]}]}]"):
        with pytest.raises(RecipeError, match="leave_out of a loss: no category is called 'rok'; there are soil, rock"):
            apply_settings(known, [setting])


@pytest.mark.parametrize("target", ["math:pi", "math:nothing", "no_such_package:f", "math"])
def test_a_target_is_something_that_can_be_called(target):
    assert import_target("math:sqrt")(4) == 2
    with pytest.raises(RecipeError, match=r"package\.module:name(.|\n)*" + target):
        import_target(target)


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


def test_a_file_that_is_read_again_gives_a_recipe_of_its_own(tmp_path):
    file = tmp_path / "recipe.yaml"
    file.write_text("data: {root: x, map: {road: street}}\n")
    first = load_recipe(file)
    first.data.map["road"] = "way"
    assert load_recipe(file).data.map == {"road": "street"}
    file.write_text("data: {root: x, map: {road: lane}}\n")
    assert load_recipe(file).data.map == {"road": "lane"}
    file.write_text("data: {rout: x}\n")
    for _ in range(2):
        with pytest.raises(RecipeError, match="rout"):
            load_recipe(file)


def test_maps_in_coarse_steps_are_refused_with_low_thresholds():
    base = Recipe(data=DataSpec(root="."))
    fine = ["selftrain.method.soft_type=uint8", "selftrain.method.pixels={kind: class_adaptive, floor: 0.1}"]
    assert apply_settings(base, fine).selftrain.method.soft_type == "uint8"
    for pixels in ("{kind: threshold, value: 0.05}", "{kind: class_adaptive, floor: 0.01}"):
        with pytest.raises(RecipeError, match="too coarse"):
            apply_settings(base, ["selftrain.method.soft_type=uint8", f"selftrain.method.pixels={pixels}"])


def test_labelled_images_alone_name_the_command_that_trains_on_them():
    with pytest.raises(RecipeError, match="maskwright run"):
        apply_settings(Recipe(data=DataSpec(root=".")), ["selftrain.rounds=1", "selftrain.protocol=labelled_only"])
