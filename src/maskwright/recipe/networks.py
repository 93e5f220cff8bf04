"""Our own networks: which, how deep, how wide, and what they are put together from."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from maskwright.recipe.layers import Activation, Normalization
from maskwright.recipe.spec import Spec

BlockKind = Literal["simple", "residual", "inception", "dilated"]
"""simple: two 3×3 convolutions; dilated: 3×3 convolutions at rates 1, 2 and 4 side by side."""
BottleneckKind = Literal["simple", "pointwise", "residual", "inception", "parallel", "dual", "dilated", "pyramid"]
"""pointwise: one 1×1 convolution; pyramid: pyramid pooling."""
Upsampling = Literal["nearest", "transposed"]
"""nearest: each pixel four times; transposed: a trained 2×2 transposed convolution with stride 2."""
Probability = Annotated[float, Field(ge=0, lt=1)]


class StyledSpec(Spec):
    """Fields shared by all of our own networks."""

    normalization: Normalization = "batch"
    """After each convolution. batch: over images and pixels; instance: pixels of a channel; layer: all channels and
    pixels of an image (one group); group: groups of at least 4 channels; none."""
    activation: Activation = "relu"
    """After each normalisation: relu, leaky_relu (slope 0.01), elu, gelu, swish, mish or none."""


class CustomUNetSpec(StyledSpec):
    """A U-Net (Ronneberger et al. 2015) without an encoder of others, each part of which is chosen.

    It takes any size of at least 2^depth pixels a side. It has depth + 1 outputs to supervise: one for each decoder
    level, and one at the bottleneck.
    """

    kind: Literal["custom_unet"] = "custom_unet"
    depth: int = Field(4, ge=2, le=5)
    """How often the size is halved."""
    width: int = Field(32, ge=4)
    """Channels of the finest level; each coarser one has twice as many, the bottleneck twice the coarsest."""
    encoder: BlockKind | tuple[BlockKind, ...] = "simple"
    """Block of every encoder level, or one for each, the finest first."""
    bottleneck: BottleneckKind = "simple"
    """Between encoder and decoder."""
    decoder: BlockKind | tuple[BlockKind, ...] = "simple"
    """Block of every decoder level, or one for each, the coarsest first."""
    upsampling: Upsampling | tuple[Upsampling, ...] = "transposed"
    """nearest or transposed, for every decoder level, or one for each, the coarsest first."""
    attention: bool = False
    """Skip connections pass an attention gate (Oktay et al. 2018)."""
    gating: bool = False
    """The attention gates see the coarser map through a 1×1 convolution of its own, the gating signal."""
    squeeze_excitation: bool = False
    """Squeeze-and-excitation (Hu et al. 2018) after every encoder and decoder block."""
    dropout: Probability = 0.0
    """Share of the bottleneck's channels that a training step drops."""
    block_dropout: Probability = 0.0
    """The same after every encoder and decoder block."""

    @model_validator(mode="after")
    def _one_for_each_level(self) -> CustomUNetSpec:
        for key in ("encoder", "decoder", "upsampling"):
            value = getattr(self, key)
            if isinstance(value, tuple) and len(value) != self.depth:
                raise ValueError(f"{key} has {len(value)} entries for a depth of {self.depth}: give one for each level")
        if self.gating and not self.attention:
            raise ValueError("gating is a part of the attention gates: set attention to true")
        return self


OwnModelSpec = CustomUNetSpec
"""Each of our own networks."""
