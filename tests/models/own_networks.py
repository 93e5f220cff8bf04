"""Our own networks, small enough for a test: one of each kind."""

from __future__ import annotations

from maskwright.recipe.networks import AsppUNetSpec, BASNetSpec, CustomUNetSpec, DeepLabV2Spec, UNet3PlusSpec, WNetSpec

RESNET = {
    "encoder": "resnet10t",
    "encoder_weights": "none",
    "encoder_arguments": {"zero_init_last": False},  # else residual paths begin with a scale of zero
}
SMALL = {
    CustomUNetSpec: CustomUNetSpec(depth=3, width=8),
    AsppUNetSpec: AsppUNetSpec(depth=3, width=8),
    WNetSpec: WNetSpec(width=8),
    UNet3PlusSpec: UNet3PlusSpec(width=8),
    BASNetSpec: BASNetSpec(**RESNET, width=8, refine_width=8),
    DeepLabV2Spec: DeepLabV2Spec(**RESNET),
}
LEVELS = {CustomUNetSpec: 4, AsppUNetSpec: 4, WNetSpec: 3, UNet3PlusSpec: 5, BASNetSpec: 8, DeepLabV2Spec: 1}
"""Most outputs of these that can be supervised."""
