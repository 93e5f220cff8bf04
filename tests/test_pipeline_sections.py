"""What a stage depends on is in its fingerprint."""

from __future__ import annotations

from maskwright.pipeline.run import _LEARNING
from maskwright.recipe import Recipe

BESIDES = {"version", "audit", "predict", "postprocess", "evaluate", "suspects", "report", "executor"}
"""Sections that change nothing in a training."""


def test_every_section_either_decides_a_training_or_does_not():
    assert set(Recipe.model_fields) == _LEARNING | BESIDES
    assert not _LEARNING & BESIDES
