"""What `maskwright selftrain` learns by where nothing, an option, a setting or a file says how."""

from __future__ import annotations

import pytest

from maskwright.cli.options import CurveOptions, Options
from maskwright.cli.selftrain import recipe_of, with_method
from maskwright.errors import UsageError
from maskwright.recipe.selftrain import PseudoLabelsSpec
from maskwright.recipe.unlabelled import OURS, OURS_LENGTH, FixMatchSpec, UniMatchSpec


def method_of(tmp_path, *settings, **said):
    return section_of(tmp_path, *settings, **said).method


def section_of(tmp_path, *settings, file=None, method=None, protocols=False):
    path = None
    if file is not None:
        path = tmp_path / "recipe.yaml"
        path.write_text(f"data: {{root: {tmp_path}}}\n{file}\n")
    options = Options(data=tmp_path, recipe=path, settings=settings)
    found = recipe_of(options, None, method, protocols=protocols).selftrain
    assert found.rounds == 1
    return found


def test_where_nothing_says_how(tmp_path):
    assert method_of(tmp_path) == OURS
    assert method_of(tmp_path, "selftrain.start=fresh", file="selftrain: {aliens: keep}") == OURS


@pytest.mark.parametrize("setting", ["selftrain={rounds: 1}", "selftrain.rounds=1", "selftrain.aliens=keep"])
def test_settings_that_say_nothing_of_it(tmp_path, setting):
    assert method_of(tmp_path, setting) == OURS


def test_a_field_of_ours_is_set_in_ours(tmp_path):
    assert method_of(tmp_path, "selftrain.method.warm_lr=.3") == OURS.model_copy(update={"warm_lr": 0.3})


@pytest.mark.parametrize(("field", "value"), [("labelled_share", 0.3), ("mix", None), ("loss", "mse")])
def test_so_is_one_that_pseudo_labels_have_too(tmp_path, field, value):
    setting = f"selftrain.method.{field}={'null' if value is None else value}"
    found = section_of(tmp_path, setting)
    assert found.method == OURS.model_copy(update={field: value}) and found.length == OURS_LENGTH


@pytest.mark.parametrize(
    ("method", "field", "value"),
    [
        ("unimatch", "labelled_share", 0.3),
        ("unimatch", "mix", None),
        ("fixmatch", "threshold", 0.9),
        ("fixmatch", "freeze_norm", True),
        ("sac", "views", 3),
        ("pseudo_labels", "labelled_share", 0.3),
    ],
)
def test_fields_of_the_method_that_is_asked_for(tmp_path, method, field, value):
    setting = f"selftrain.method.{field}={'null' if value is None else value}"
    for settings in ([setting], ["selftrain.rounds=1", setting]):
        found = method_of(tmp_path, *settings, method=method)
        assert found.kind == method and getattr(found, field) == value


@pytest.mark.parametrize(
    ("method", "setting", "value"),
    [
        ("pseudo_labels", "pixels.value=.8", 0.8),
        ("pseudo_labels", "regions.pixels=20", 20),
        ("unimatch", "mix.probability=.3", 0.3),
        ("unimatch_v2", "teacher.momentum=.9", 0.9),
        ("fixmatch", "teacher.momentum=.9", 0.9),
        ("mean_teacher", "ramp.until=.3", 0.3),
        ("sac", "ramp.until=.3", 0.3),
    ],
)
def test_fields_of_a_part_of_the_method_that_is_asked_for(tmp_path, method, setting, value):
    """What is left out has its default, of which one field is set, whichever way the method is named."""
    section, field = setting.partition("=")[0].split(".")
    setting = f"selftrain.method.{setting}"
    for settings, asked in (([setting], method), ([f"selftrain.method.kind={method}", setting], None)):
        found = method_of(tmp_path, *settings, method=asked)
        default = getattr(type(found)(), section)
        assert found.kind == method and getattr(getattr(found, section), field) == value
        assert default is None or getattr(found, section) == default.model_copy(update={field: value})


def test_no_rounds_are_refused_and_those_of_a_run_are_begun(tmp_path):
    assert section_of(tmp_path, file="selftrain: {rounds: 0}").rounds == 1
    for settings in (["selftrain.rounds=0"], ["selftrain={rounds: 0}"]):
        with pytest.raises(UsageError, match="maskwright run"):
            section_of(tmp_path, *settings)
    with pytest.raises(UsageError, match="one round or more"):
        recipe_of(Options(data=tmp_path), 0, None)


def test_fields_of_a_file_stay_where_its_own_method_is_asked_for(tmp_path):
    file = "selftrain: {method: {kind: fixmatch, threshold: .7}}"
    assert method_of(tmp_path, file=file, method="fixmatch") == FixMatchSpec(threshold=0.7)


@pytest.mark.parametrize(
    ("said", "length"),
    [
        ({}, OURS_LENGTH),
        ({"file": "selftrain: {aliens: keep}"}, OURS_LENGTH),
        ({"file": "selftrain: {length: 2}"}, 2),
        ({"settings": ["selftrain.length=2"]}, 2),
        ({"settings": ["selftrain={length: 2}"]}, 2),
        ({"settings": ["selftrain={rounds: 1}"]}, OURS_LENGTH),
        ({"method": "fixmatch"}, 1),
        ({"file": "selftrain: {method: {kind: pseudo_labels}}"}, 1),
    ],
)
def test_rounds_of_ours_are_short_where_nothing_says_how_long(tmp_path, said, length):
    said = dict(said)
    assert section_of(tmp_path, *said.pop("settings", ()), **said).length == length


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"method": "pseudo_labels"}, PseudoLabelsSpec()),
        ({"method": "fixmatch"}, FixMatchSpec()),
        ({"method": "unimatch"}, UniMatchSpec()),
        ({"file": "selftrain: {method: {kind: pseudo_labels}}"}, PseudoLabelsSpec()),
        ({"file": "selftrain: {method: {kind: fixmatch}}", "method": "unimatch"}, UniMatchSpec()),
        ({"file": "selftrain: {protocol: pretrain_mixed}"}, PseudoLabelsSpec()),
        ({"protocols": True}, PseudoLabelsSpec()),
    ],
)
def test_where_it_is_said(tmp_path, said, expected):
    assert method_of(tmp_path, **said) == expected


@pytest.mark.parametrize(
    "setting",
    [
        "selftrain.method.pixels.value=.7",
        "selftrain={method: {kind: pseudo_labels}}",
        "selftrain={protocol: pretrain_mixed}",
        "selftrain.protocol=pretrain_mixed",
    ],
)
def test_where_a_setting_says_it(tmp_path, setting):
    assert method_of(tmp_path, setting) == PseudoLabelsSpec()


def test_the_curve_measures_what_selftrain_does(tmp_path):
    assert with_method(CurveOptions(data=tmp_path)).selftrain.method == OURS
