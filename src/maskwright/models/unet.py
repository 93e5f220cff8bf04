"""U-Net on any convolutional encoder of timm, through segmentation-models-pytorch."""

from __future__ import annotations

import difflib

import segmentation_models_pytorch as smp
import timm
import torch
from segmentation_models_pytorch.base import SegmentationHead
from torch import nn
from torch.nn import functional

from maskwright.errors import RecipeError, problem
from maskwright.models.weights import cached_weights
from maskwright.recipe.model import UNetSpec


def build_unet(spec: UNetSpec, *, in_channels: int, classes: int, levels: int) -> nn.Module:
    """Return the U-Net of a resolved spec, its encoder pretrained if the spec says so and the weights are here.

    Raises:
        RecipeError: timm has no such encoder, or it gives no feature maps.
    """
    assert spec.encoder and spec.decoder_channels, "the recipe is not resolved"
    check_encoder(spec.encoder)
    try:
        network: nn.Module = smp.Unet(
            f"tu-{spec.encoder}",
            encoder_weights=None,
            encoder_depth=len(spec.decoder_channels),
            decoder_channels=list(spec.decoder_channels),
            in_channels=in_channels,
            classes=classes,
        )
    except (RuntimeError, ValueError, AttributeError, IndexError) as error:
        raise RecipeError(
            problem(
                "an encoder with feature maps at strides 2, 4, 8, …",
                f"{spec.encoder}: {error}",
                where="model.encoder",
                next_move="use a convolutional encoder such as resnet18, efficientnet_b0 or convnext_atto",
            )
        ) from None
    if spec.output_stride not in (None, 1):
        _stop_early(network, spec.output_stride, spec.decoder_channels, classes)
    if (path := cached_weights(spec.encoder, spec.encoder_weights)) is not None:
        load_encoder(network, path, in_channels)
    return network


def _stop_early(network: nn.Module, stride: int, channels: tuple[int, ...], classes: int) -> None:
    """Drop the decoder's last levels; the head sees the level at `stride`."""
    levels = len(channels) - stride.bit_length() + 1
    network.decoder.blocks = network.decoder.blocks[:levels]  # type: ignore[union-attr,index]
    head = SegmentationHead(channels[levels - 1], classes, kernel_size=3)
    network.segmentation_head = nn.Sequential(head, UpsampleOutsideTraining(stride))


class UpsampleOutsideTraining(nn.Module):
    """Logits at the input's size, bilinear; in training they stay coarse, and the loss thins out the labels instead.

    Cell i stands for pixel factor · i + factor // 2, in training (`thin_out`) and here alike.
    """

    def __init__(self, factor: int) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, logits: torch.Tensor) -> torch.Tensor:
        """Return (N, C, H · factor, W · factor), or the logits as they are in training."""
        if self.training:
            return logits
        factor, (height, width) = self.factor, logits.shape[2:]
        size = (factor * (height - 1) + 1, factor * (width - 1) + 1)
        between = functional.interpolate(logits.float(), size, mode="bilinear", align_corners=True)
        before, after = factor // 2, factor - 1 - factor // 2
        return functional.pad(between, (before, after, before, after), mode="replicate")


def check_encoder(name: str) -> None:
    """Raise RecipeError, with the nearest names, if timm has no such encoder."""
    if not timm.is_model(name):
        near = difflib.get_close_matches(name, timm.list_models(), 3, 0.4)
        raise RecipeError(
            problem("an encoder of timm", name, where="model.encoder", next_move=f"did you mean {', '.join(near)}?")
        )


def load_encoder(network: nn.Module, path: str, in_channels: int) -> None:
    """Load a timm state dict into the encoder; the first convolution is summed to fewer input channels."""
    from safetensors.torch import load_file

    state = load_file(path) if path.endswith(".safetensors") else torch.load(path, weights_only=True)
    encoder = network.encoder.model  # type: ignore[union-attr]
    own = encoder.state_dict()  # type: ignore[union-attr]
    fitting = {}
    for key, value in state.items():
        if key in own and value.ndim == 4 and value.shape[1] == 3 and own[key].shape[1] == in_channels == 1:
            value = value.sum(1, keepdim=True)
        if key in own and own[key].shape == value.shape:
            fitting[key] = value
    if len(fitting) < 0.9 * len(own):
        raise RecipeError(
            problem(
                f"weights of the encoder ({len(own)} tensors)",
                f"{len(fitting)} that fit",
                where=path,
                next_move="give a timm state dict of the same encoder, or model.encoder_weights=none",
            )
        )
    encoder.load_state_dict(own | fitting)  # type: ignore[union-attr]
