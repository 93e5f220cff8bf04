"""Our own networks: one literal table from spec type to builder."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from maskwright.models.aspp import build_aspp_unet
from maskwright.models.basnet import build_basnet
from maskwright.models.custom_unet import build_custom_unet
from maskwright.models.deeplabv2 import build_deeplabv2
from maskwright.models.unet3plus import build_unet3plus
from maskwright.models.wnet import build_wnet
from maskwright.recipe.networks import AsppUNetSpec, BASNetSpec, CustomUNetSpec, DeepLabV2Spec, UNet3PlusSpec, WNetSpec

OWN_MODELS: dict[type, Callable[..., nn.Module]] = {
    CustomUNetSpec: build_custom_unet,
    AsppUNetSpec: build_aspp_unet,
    WNetSpec: build_wnet,
    UNet3PlusSpec: build_unet3plus,
    BASNetSpec: build_basnet,
    DeepLabV2Spec: build_deeplabv2,
}
