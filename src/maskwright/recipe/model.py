"""Which network: the decoders of segmentation-models-pytorch on any encoder of timm, and a network of your own."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from maskwright.recipe.encoder import EncoderSpec
from maskwright.recipe.networks import OwnModelSpec
from maskwright.recipe.spec import PythonSpec


class BlocksSpec(EncoderSpec):
    """Networks whose decoder doubles the size level by level."""

    decoder_channels: tuple[int, ...] | None = Field(None, min_length=3, max_length=5)
    """Channels of the decoder levels, deepest first; as many as encoder levels used; null: chosen by the probe."""
    interpolation: Literal["nearest", "bilinear"] = "nearest"
    """How the decoder doubles the size."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Share of channels that training drops before each output."""


_REDUCTION = 16
"""By which squeeze and excitation divides the channels."""


def _check_excitation(attention: str | None, channels: tuple[int, ...] | None) -> None:
    if attention is not None and channels is not None and min(channels) < _REDUCTION:
        raise ValueError(f"attention: {attention} needs decoder_channels of at least {_REDUCTION}, got {min(channels)}")


class UNetSpec(EncoderSpec):
    """A U-Net (Ronneberger et al. 2015) on any encoder; the encoder's last stage is the bridge."""

    kind: Literal["unet"] = "unet"
    decoder_channels: tuple[int, ...] | None = Field(None, min_length=3, max_length=5)
    """Channels of the decoder levels, deepest first; as many as encoder levels used; null: chosen by the probe."""
    output_stride: Literal[1, 2, 4] | None = None
    """Stride of the decoder's last level; 2 and 4 save the costliest ones; null: chosen by the probe."""
    interpolation: Literal["nearest", "bilinear", "transposed"] = "nearest"
    """How the decoder doubles the size; transposed: a learned 2 × 2 transposed convolution."""
    attention: Literal["scse"] | None = None
    """scse: concurrent spatial and channel squeeze and excitation (Roy et al. 2018) in each block."""
    residual: bool = False
    """Each block has a 1 × 1 convolution from its input to its output."""
    image_skip: bool = False
    """The image itself is the skip connection of the last block."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Share of channels that training drops at the end of each block."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        _check_excitation(self.attention, self.decoder_channels)
        return self


class UNetPlusPlusSpec(BlocksSpec):
    """U-Net++ (Zhou et al. 2018): dense skip connections."""

    kind: Literal["unetplusplus"] = "unetplusplus"
    attention: Literal["scse"] | None = None
    """scse: concurrent spatial and channel squeeze and excitation in each block."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        _check_excitation(self.attention, self.decoder_channels)
        return self


class MAnetSpec(BlocksSpec):
    """MA-Net (Fan et al. 2020): position-wise attention at the bridge, attention over channels in the skips."""

    kind: Literal["manet"] = "manet"
    attention_channels: int = Field(64, ge=1)
    """Channels of the position-wise attention."""


class LinkNetSpec(EncoderSpec):
    """LinkNet (Chaurasia and Culurciello 2017): skip connections are added; transposed convolutions."""

    kind: Literal["linknet"] = "linknet"
    dropout: float = Field(0.0, ge=0, lt=1)
    """Share of channels that training drops before each output."""


class FPNSpec(EncoderSpec):
    """A feature pyramid network for segmentation (Kirillov et al. 2019); works at stride 4."""

    kind: Literal["fpn"] = "fpn"
    channels: int = Field(256, ge=1)
    """Of the pyramid."""
    segmentation_channels: int = Field(128, ge=32, multiple_of=32)
    """Of what the levels of the pyramid are summed up as."""
    interpolation: Literal["nearest", "bilinear"] = "nearest"
    """How the pyramid doubles the size."""
    dropout: float = Field(0.2, ge=0, lt=1)
    """Share of channels that training drops before each output."""


class PSPNetSpec(EncoderSpec):
    """PSPNet (Zhao et al. 2017): pyramid pooling on the encoder's third stage (the paper dilates)."""

    kind: Literal["pspnet"] = "pspnet"
    depth: Literal[3, 4, 5] = 3
    """Stages of the encoder used: it works at stride 2^depth."""
    channels: int = Field(512, ge=1)
    """Of the decoder."""
    dropout: float = Field(0.2, ge=0, lt=1)
    """Share of channels that training drops before the output."""


class PANSpec(EncoderSpec):
    """A pyramid attention network (Li et al. 2018); sides below 128 pixels are padded."""

    kind: Literal["pan"] = "pan"
    channels: int = Field(32, ge=1)
    """Of the decoder."""
    interpolation: Literal["nearest", "bilinear"] = "bilinear"
    """How the decoder doubles the size."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Share of channels that training drops before each output."""


class DeepLabV3Spec(EncoderSpec):
    """DeepLabV3 (Chen et al. 2017): parallel dilated convolutions and a pooled image on a dilated encoder."""

    kind: Literal["deeplabv3"] = "deeplabv3"
    encoder_stride: Literal[8, 16] = 8
    """Stride of the encoder's last stage; the stages that don't stride are dilated instead."""
    rates: tuple[int, int, int] = (12, 24, 36)
    """Dilation rates; one as large as the feature map (crop / encoder_stride) sees hardly more than its centre."""
    channels: int = Field(256, ge=1)
    """Of the decoder."""
    separable: bool = False
    """Depthwise separable convolutions instead of whole ones."""
    dropout: float = Field(0.5, ge=0, lt=1)
    """Share of values that training drops behind the parallel convolutions."""


class DeepLabV3PlusSpec(EncoderSpec):
    """DeepLabV3+ (Chen et al. 2018): DeepLabV3 with a decoder that adds the encoder's stage of stride 4."""

    kind: Literal["deeplabv3plus"] = "deeplabv3plus"
    encoder_stride: Literal[8, 16] = 16
    """Stride of the encoder's last stage; the stages that don't stride are dilated instead."""
    rates: tuple[int, int, int] = (12, 24, 36)
    """Dilation rates; one as large as the feature map (crop / encoder_stride) sees hardly more than its centre."""
    channels: int = Field(256, ge=1)
    """Of the decoder."""
    separable: bool = True
    """Depthwise separable convolutions instead of whole ones."""
    dropout: float = Field(0.5, ge=0, lt=1)
    """Share of values that training drops behind the parallel convolutions."""


class UPerNetSpec(EncoderSpec):
    """UPerNet (Xiao et al. 2018): pyramid pooling on top of a feature pyramid; works at stride 4."""

    kind: Literal["upernet"] = "upernet"
    channels: int = Field(256, ge=1)
    """Of the decoder."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Share of channels that training drops before each output."""


class SegformerSpec(EncoderSpec):
    """SegFormer's decoder (Xie et al. 2021): one linear layer a level; works at stride 4."""

    kind: Literal["segformer"] = "segformer"
    channels: int = Field(256, ge=1)
    """Of the decoder."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Share of channels that training drops before the output."""


class DPTSpec(EncoderSpec):
    """A dense prediction transformer (Ranftl et al. 2021): four layers of a plain ViT, reassembled and fused."""

    kind: Literal["dpt"] = "dpt"
    encoder: str | None = "vit_small_patch16_dinov3"
    """timm name of a plain ViT."""
    readout: Literal["cat", "add", "ignore"] = "cat"
    """What becomes of the class token."""
    reassembled: tuple[int, int, int, int] = (256, 512, 1024, 1024)
    """Channels of the four layers at strides 4, 8, 16 and 32."""
    channels: int = Field(256, ge=1)
    """Of the decoder."""


class PythonModelSpec(PythonSpec):
    """A network of your own: `target(in_channels=…, classes=…, **arguments)` returns an nn.Module giving logits.

    With several `levels` it is called with `levels=…`, too, and returns a list of logits in training, the finest first.
    """

    kind: Literal["python"] = "python"


ModelSpec = Annotated[
    UNetSpec
    | UNetPlusPlusSpec
    | MAnetSpec
    | LinkNetSpec
    | FPNSpec
    | PSPNetSpec
    | PANSpec
    | DeepLabV3Spec
    | DeepLabV3PlusSpec
    | UPerNetSpec
    | SegformerSpec
    | DPTSpec
    | OwnModelSpec
    | PythonModelSpec,
    Field(discriminator="kind"),
]
