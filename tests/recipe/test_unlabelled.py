"""The methods' published constants, and what can't be asked for."""

from __future__ import annotations

import typing

import pytest
import yaml
from pydantic import ValidationError

from maskwright.recipe.selftrain import MethodSpec, PseudoLabelsSpec, SelftrainSpec
from maskwright.recipe.unlabelled import (
    DACSSpec,
    FixMatchSpec,
    MaskedSpec,
    MeanTeacherSpec,
    OnlineSpec,
    RampSpec,
    TeacherSpec,
    UniMatchSpec,
    UniMatchV2Spec,
)


def test_weights_are_those_of_the_papers():
    """UniMatch: (Lx + .25 Ls1 + .25 Ls2 + .5 Lfp) / 2; V2: (Lx + (Ls1 + Ls2) / 2) / 2; strong terms are means."""
    one, two = UniMatchSpec(), UniMatchV2Spec()
    assert one.labelled_weight == 1 / 2
    assert one.weight * one.strong_weight / one.views == 0.25 / 2
    assert one.weight * one.feature_weight == 0.5 / 2
    assert two.labelled_weight == 1 / 2
    assert two.weight * two.strong_weight / two.views == 1 / 4
    assert (one.threshold, two.threshold, one.feature_drop) == (0.95, 0.95, 0.5)
    assert (one.mix.probability, one.mix.area, one.mix.aspect) == (0.5, (0.02, 0.4), (0.3, 10 / 3))
    assert (two.teacher.momentum, MeanTeacherSpec().teacher.momentum, DACSSpec().teacher.momentum) == (
        0.996,
        0.99,
        0.999,
    )
    assert (MaskedSpec().block, MaskedSpec().share, MaskedSpec().weight) == (64, 0.7, 1)


def test_ramps():
    """exp(−5 (1 − x)²): .006738, .060055, .286505, 1."""
    ramp = RampSpec(until=0.5)
    assert [ramp.at(p) for p in (0, 0.125, 0.25, 0.5, 0.9)] == pytest.approx(
        [0.006738, 0.060055, 0.286505, 1, 1], abs=1e-6
    )
    assert [RampSpec(shape="linear", until=0.5).at(p) for p in (0, 0.25, 1)] == [0, 0.5, 1]


def test_every_kind_has_its_parts():
    from maskwright.train.unlabelled import METHODS

    kinds = set(typing.get_args(typing.get_args(MethodSpec)[0]))
    assert set(METHODS) == kinds - {PseudoLabelsSpec}
    assert set(typing.get_args(OnlineSpec)) < kinds


@pytest.mark.parametrize("written", ["on", "'on'", "true"])
def test_on_is_what_yaml_reads_as_true(written):
    assert SelftrainSpec(method=yaml.safe_load(f"{{kind: fixmatch, collapse: {written}}}")).method.collapse == "on"


@pytest.mark.parametrize(
    ("spec", "passes"),
    [
        (FixMatchSpec(), (3, 2)),  # labelled and strong both ways, weak forward
        (UniMatchSpec(), (4.5, 4.5)),  # labelled, weak, half for the decoder again, two strong, all both ways
        (UniMatchV2Spec(), (4, 3)),  # labelled and two strong both ways, the teacher forward
        (MeanTeacherSpec(), (3, 2)),
        (FixMatchSpec(masked=MaskedSpec(), views=2), (5, 4)),
        (UniMatchV2Spec(feature_weight=0.5), (5.5, 4.5)),
        (FixMatchSpec(mirrored=True), (4, 2)),
        (UniMatchSpec(mirrored=True), (6.5, 4.5)),  # labels of a pass of their own, and of its mirror image
    ],
)
def test_what_a_step_costs(spec, passes):
    assert tuple(spec.passes) == passes


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ({"kind": "fixmatch", "strong": [{"kind": "flip"}]}, "flip moves pixels"),
        ({"kind": "fixmatch", "strong": [{"kind": "auto_augment"}]}, "auto_augment moves pixels"),
        ({"kind": "unimatch_v2", "views": 3}, "two strong views, and views is 3"),
        ({"kind": "fixmatch", "mix": {"kind": "mixup"}}, "mixup"),
        ({"kind": "fixmatch", "treshhld": 0.5}, "treshhld"),
        ({"kind": "fixmatch", "collapse": "panic"}, "collapse"),
        ({"kind": "dacs", "labelled_share": 0}, "pastes labelled crops"),
        ({"kind": "fixmatch", "labelled_share": 0, "align": 1}, "shares of labelled crops"),
    ],
)
def test_what_makes_no_sense_is_refused(method, message):
    with pytest.raises(ValidationError, match=message):
        SelftrainSpec(method=method)


def test_how_an_average_begins():
    """By the length of the training where it isn't stated: 20 spans of 1 / (1 − momentum) updates."""
    assert {UniMatchV2Spec().teacher.ramp, MeanTeacherSpec().teacher.ramp, DACSSpec().teacher.ramp} == {"auto"}
    assert DACSSpec().teacher.ramp_of(19_000) == "shipping"
    assert DACSSpec().teacher.ramp_of(21_000) == "inverse"
    assert TeacherSpec(ramp="inverse").ramp_of(10) == "inverse"  # as published
    assert TeacherSpec(momentum=1.0).ramp_of(10**6) == "shipping"  # which freezes, as does each


@pytest.mark.parametrize("spec", [FixMatchSpec, UniMatchSpec, UniMatchV2Spec, MeanTeacherSpec, DACSSpec])
def test_every_field_is_explained(spec):
    assert all(field.description for name, field in spec.model_fields.items() if name != "kind")
    assert SelftrainSpec(method=spec().model_dump()).method == spec()
