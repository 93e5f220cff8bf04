"""Names of normalisations and activations that any network may have."""

from __future__ import annotations

from typing import Literal

Normalization = Literal["batch", "instance", "layer", "group", "none"]
"""Over what a layer normalises, per channel or group: batch: N, H, W; instance: H, W of each channel; layer: C, H, W at
once (one group); group: H, W and the channels of each of several groups; none: no such layer."""

Activation = Literal["relu", "leaky_relu", "elu", "gelu", "swish", "mish", "none"]
"""leaky_relu has slope 0.01; swish is x · sigmoid(x), PyTorch's SiLU; none: no such layer."""
