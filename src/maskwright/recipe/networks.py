"""Our own networks: which, how deep, how wide, and what they are put together from."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from maskwright.recipe.embedding import EmbeddingSpec
from maskwright.recipe.encoder import EncoderSpec
from maskwright.recipe.layers import Activation, Normalization
from maskwright.recipe.spec import Spec

BlockKind = Literal["simple", "residual", "inception", "dilated"]
"""simple: two 3×3 convolutions; dilated: 3×3 convolutions at rates 1, 2 and 4 side by side."""
BottleneckKind = Literal["simple", "pointwise", "residual", "inception", "parallel", "dual", "dilated", "pyramid"]
"""pointwise: one 1×1 convolution; pyramid: pyramid pooling."""
Upsampling = Literal["nearest", "transposed"]
"""nearest: each pixel four times; transposed: a trained 2×2 transposed convolution with stride 2."""
Probability = Annotated[float, Field(ge=0, lt=1)]
Rate = Annotated[int, Field(ge=1)]


class StyledSpec(Spec):
    """Fields shared by our own networks without an encoder of others."""

    normalization: Normalization = "batch"
    """After each convolution. batch: over images and pixels; instance: pixels of a channel; layer: all channels and
    pixels of an image (one group); group: groups of at least 4 channels; none."""
    activation: Activation = "relu"
    """After each normalisation: relu, leaky_relu (slope 0.01), elu, gelu, swish, mish or none."""
    embedding: EmbeddingSpec | None = None
    """What the network gives out besides logits, from which instances are clustered; null: nothing."""


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
    encoder_blocks: BlockKind | tuple[BlockKind, ...] = "simple"
    """Block of every encoder level, or one for each, the finest first."""
    bottleneck: BottleneckKind = "simple"
    """Between encoder and decoder."""
    decoder_blocks: BlockKind | tuple[BlockKind, ...] = "simple"
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
        for key in ("encoder_blocks", "decoder_blocks", "upsampling"):
            value = getattr(self, key)
            if isinstance(value, tuple) and len(value) != self.depth:
                raise ValueError(f"{key}: {len(value)} entries for a depth of {self.depth}: give one for each level")
        if self.gating and not self.attention:
            raise ValueError("gating is a part of the attention gates: set attention to true")
        return self


class AsppUNetSpec(StyledSpec):
    """A U-Net with atrous spatial pyramid pooling (Chen et al. 2017) in the place of its bottleneck.

    It takes any size of at least 2^depth pixels a side, and has depth + 1 outputs to supervise.
    """

    kind: Literal["aspp_unet"] = "aspp_unet"
    depth: int = Field(3, ge=2, le=5)
    """How often the size is halved; the pyramid works at stride 2^depth."""
    width: int = Field(32, ge=4)
    """Channels of the finest level; each coarser one has twice as many, the pyramid twice the coarsest."""
    rates: Literal["auto"] | tuple[Rate, ...] = Field("auto", min_length=1)
    """Dilation rates of the 3×3 convolutions. auto: 6, 12, 18, scaled down to the first map seen in training as they
    were to one of 33 × 33. Rates as large as the map's shorter side are an error: they see padding alone."""
    allow_empty_rates: bool = False
    """Take such rates all the same."""
    block: BlockKind = "simple"
    """Block of every encoder and decoder level."""
    upsampling: Upsampling = "transposed"
    """nearest or transposed."""
    dropout: Probability = 0.0
    """Share of the pyramid's channels that a training step drops."""
    block_dropout: Probability = 0.0
    """The same after every encoder and decoder block."""


class WNetSpec(StyledSpec):
    """Two U-Nets, one after the other; the second sees the image and the last map of the first.

    Three outputs to supervise: the end ("high"), the end of the first U ("inter"), its bottleneck ("low").
    simplified: table 2 of source 2, its lost first encoder taken as three simple blocks like the others. full: four
    levels each, with inception and residual blocks, our own choice, as the source names these but not where they stood.
    """

    kind: Literal["wnet"] = "wnet"
    form: Literal["simplified", "full"] = "simplified"
    """simplified: three levels, bottlenecks inception and 1×1; full: four, bottlenecks parallel and dual."""
    width: int = Field(32, ge=4)
    """Channels of the finest level; each coarser one has twice as many, the bottleneck twice the coarsest."""
    upsampling: Upsampling = "transposed"
    """nearest or transposed."""
    attention: bool = False
    """Skip connections pass an attention gate."""
    squeeze_excitation: bool = False
    """Squeeze-and-excitation after every encoder and decoder block."""
    dropout: Probability = 0.0
    """Share of each bottleneck's channels that a training step drops."""
    block_dropout: Probability = 0.0
    """The same after every encoder and decoder block."""


class UNet3PlusSpec(StyledSpec):
    """UNet 3+ (Huang et al. 2020): each decoder level sees all encoder levels and all coarser decoder levels.

    With depth + 1 outputs to supervise; without the classification-guided module, which asks if there is an object.
    """

    kind: Literal["unet3plus"] = "unet3plus"
    depth: int = Field(4, ge=2, le=5)
    """How often the size is halved."""
    width: int = Field(64, ge=4)
    """Channels of the finest encoder level, doubled by each coarser one, and of each map that a decoder level sees."""
    full_size_outputs: bool = True
    """All supervised outputs are enlarged to the image's size, as in the paper; false: each stays at its own size."""


class BASNetSpec(EncoderSpec):
    """BASNet (Qin et al. 2019): a U-Net on a ResNet that keeps the image's size, and a small U-Net that refines it.

    Eight outputs to supervise: the refined one, the six decoder levels, the bridge. Slow by design: its first stage
    works at full size.
    """

    kind: Literal["basnet"] = "basnet"
    encoder: str | None = "resnet34"
    """timm name of a ResNet."""
    width: int = Field(64, ge=4)
    """Channels of the finest decoder level; the coarsest have eight times as many."""
    refine_width: int = Field(64, ge=4)
    """Channels of the refining U-Net."""
    full_size_outputs: bool = True
    """All supervised outputs are enlarged to the image's size, as in the paper; false: each stays at its own size."""


class DeepLabV2Spec(EncoderSpec):
    """DeepLabV2 (Chen et al. 2016) on a ResNet at stride 8: the sum of four dilated 3×3 convolutions, enlarged.

    It has one output to supervise. Outside its encoder there is nothing to normalise or activate.
    """

    kind: Literal["deeplabv2"] = "deeplabv2"
    encoder: str | None = "resnet101"
    """timm name of a ResNet, or of another convolutional encoder that can be dilated."""
    rates: Literal["auto"] | tuple[Rate, ...] = Field("auto", min_length=1)
    """Dilation rates. auto: 6, 12, 18, 24, scaled down to the first map seen in training as they were to one of
    41 × 41, which crops of 321 give. Rates as large as the map's shorter side are an error: they see padding alone."""
    allow_empty_rates: bool = False
    """Take such rates all the same."""


OwnModelSpec = CustomUNetSpec | AsppUNetSpec | WNetSpec | UNet3PlusSpec | BASNetSpec | DeepLabV2Spec
"""Each of our own networks."""
