"""ResNets of timm as encoders: dilated, or at the image's full size."""

from __future__ import annotations

from typing import Any

import timm
import torch
from torch import nn

from maskwright.errors import RecipeError, problem
from maskwright.models.layers import start_kaiming
from maskwright.models.unet import check_encoder, load_encoder
from maskwright.models.weights import cached_weights


class ResNetEncoder(nn.Module):
    """Stages 1 to 4 of a ResNet: images → a map of each.

    Args:
        name: of timm.
        in_channels: of the images.
        stride: of the last stage; stages that don't stride for it are dilated.

    Raises:
        RecipeError: timm has no such network, it is no ResNet, or it can't be dilated.
    """

    def __init__(self, name: str, in_channels: int, *, stride: int = 32) -> None:
        super().__init__()
        check_encoder(name)
        options: dict[str, Any] = {} if stride == 32 else {"output_stride": stride}
        try:
            model: Any = timm.create_model(
                name, features_only=True, out_indices=(1, 2, 3, 4), in_chans=in_channels, **options
            )
        except (RuntimeError, ValueError, TypeError, AttributeError, AssertionError, NotImplementedError) as error:
            raise _unfit(f"{name}: {error}", stride) from None
        if not {"conv1", "layer4"} <= set(model) or model.feature_info.reduction()[-1] != stride:
            raise _unfit(name, stride)
        self.model: Any = model
        self.channels: list[int] = model.feature_info.channels()

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Return four maps (N, channels[i], h, w), the finest first."""
        found: list[torch.Tensor] = self.model(images)
        return found

    def keep_size(self) -> None:
        """Begin with a 3×3 convolution of stride 1 and without pooling, so that the stages have strides 1, 2, 4, 8."""
        stem = [layer for layer in self.model["conv1"].modules() if isinstance(layer, nn.Conv2d)]
        self.model["conv1"] = nn.Conv2d(stem[0].in_channels, stem[-1].out_channels, 3, padding=1, bias=False)
        start_kaiming(self.model["conv1"])
        self.model["maxpool"] = nn.Identity()


def load_pretrained(network: nn.Module, encoder: str, choice: str, in_channels: int) -> None:
    """Load into `network.encoder.model` what `model.encoder_weights` means, if it is here."""
    if (path := cached_weights(encoder, choice)) is not None:
        load_encoder(network, path, in_channels)


def _unfit(got: str, stride: int) -> RecipeError:
    expected = "a ResNet" if stride == 32 else f"a ResNet that can be dilated to stride {stride}"
    next_move = "use resnet18, resnet34, resnet50 or resnet101"
    return RecipeError(problem(f"{expected} of timm", got, where="model.encoder", next_move=next_move))
