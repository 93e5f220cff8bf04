"""The method of source 4 in a recipe: its constants, and what doesn't fit together."""

from __future__ import annotations

import pytest
from pydantic import TypeAdapter, ValidationError

from maskwright.recipe.sac import NormAdaptationSpec, SacSpec
from maskwright.recipe.selftrain import MethodSpec
from maskwright.recipe.unlabelled import MaskedSpec

METHOD = TypeAdapter(MethodSpec)


def test_the_defaults_are_those_of_the_thesis_and_of_the_public_code():
    spec = METHOD.validate_python({"kind": "sac"})
    assert isinstance(spec, SacSpec)
    long = spec.at_length(100_000)
    assert (long.teacher_momentum, long.teacher_every, spec.focal) == (0.99, 100, 3)  # thesis, chapter 7.1
    assert (spec.upper, spec.beta, spec.floor, spec.prior_momentum) == (0.75, 1e-3, 0.2, 0.99)
    assert (spec.views, spec.zoom, spec.weight, spec.importance) == (4, (0.5, 1.0), 5, 0.75)
    assert (spec.denominator, spec.freeze_norm) == ("all", True)
    kinds = {item.kind: item for item in spec.noise}
    assert (kinds["blur"].probability, kinds["blur"].sigma) == (1, (0.1, 2))
    assert (kinds["colour"].probability, kinds["grayscale"].probability) == (0.5, 0.2)


@pytest.mark.parametrize(
    ("steps", "every", "momentum", "watched"),
    [(1, 1, 0.95, 20), (300, 1, 0.95, 30), (1999, 9, 0.95, 100), (2000, 10, 0.99, 100), (20_000, 100, 0.99, 100)],
)
def test_what_belongs_to_long_trainings_follows_the_length(steps, every, momentum, watched):
    """A two-hundredth of the steps from one update to the next, a tenth watched."""
    found = SacSpec().at_length(steps)
    assert (found.teacher_every, found.teacher_momentum, found.watch_steps) == (every, momentum, watched)
    stated = SacSpec(teacher_every=7, teacher_momentum=0.9, watch_steps=0)
    assert stated.at_length(steps) == stated


def test_what_a_step_costs():
    # a labelled crop forward and backward; four views through the teacher, and forward and backward through the network
    assert SacSpec().passes == (9, 5)
    assert SacSpec(masked=MaskedSpec()).passes == (10, 6)
    assert NormAdaptationSpec().passes == (2, 1)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"noise": [{"kind": "flip"}]}, "moves pixels"),
        ({"canvas": [{"kind": "colour"}]}, "canvas"),
        ({"zoom": [0.5, 1.5]}, "at most as large"),
        ({"zoom": [1.0, 0.5]}, "the smaller one comes first"),
        ({"zoom": [0, 1.0]}, "greater than 0"),
        ({"labelled_share": 0.5, "batch": 4}, "leave batch null"),
        ({"labelled_share": 1}, "less than 1"),
        ({"labelled_share": 0, "mix": {"kind": "classmix"}}, "pastes labelled crops"),
        ({"views": 0}, "greater than or equal to 1"),
        ({"denominator": "some"}, "denominator"),
    ],
)
def test_what_does_not_fit_together(fields, message):
    with pytest.raises(ValidationError, match=message):
        METHOD.validate_python({"kind": "sac", **fields})
