"""What is known of single instances: numbers that describe them, and how likely each is a true one."""

from __future__ import annotations

from maskwright.instances.features import FEATURES, instance_features, truly_matched
from maskwright.instances.objectness import Objectness, fit_objectness

__all__ = ["FEATURES", "Objectness", "fit_objectness", "instance_features", "truly_matched"]
