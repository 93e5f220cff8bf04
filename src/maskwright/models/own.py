"""Our own networks: one literal table from spec type to builder."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from maskwright.models.custom_unet import build_custom_unet
from maskwright.recipe.networks import CustomUNetSpec

OWN_MODELS: dict[type, Callable[..., nn.Module]] = {
    CustomUNetSpec: build_custom_unet,
}
