"""Our own networks: one literal table from spec type to builder."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from maskwright.models.aspp import build_aspp_unet
from maskwright.models.custom_unet import build_custom_unet
from maskwright.models.unet3plus import build_unet3plus
from maskwright.models.wnet import build_wnet
from maskwright.recipe.networks import AsppUNetSpec, CustomUNetSpec, UNet3PlusSpec, WNetSpec

OWN_MODELS: dict[type, Callable[..., nn.Module]] = {
    CustomUNetSpec: build_custom_unet,
    AsppUNetSpec: build_aspp_unet,
    WNetSpec: build_wnet,
    UNet3PlusSpec: build_unet3plus,
}
