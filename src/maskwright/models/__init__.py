"""Networks: images in, logits out. One literal table from spec type to builder."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from maskwright.models.own import OWN_MODELS
from maskwright.models.unet import build_unet
from maskwright.recipe.model import ModelSpec, PythonModelSpec, UNetSpec
from maskwright.recipe.target import import_target

__all__ = ["MODELS", "build_model", "count_parameters"]


def _build_python(spec: PythonModelSpec, *, in_channels: int, classes: int, levels: int) -> nn.Module:
    more = {"levels": levels} if levels > 1 else {}
    network = import_target(spec.target)(in_channels=in_channels, classes=classes, **more, **spec.arguments)
    assert isinstance(network, nn.Module), f"{spec.target} returned no nn.Module"
    return network


MODELS: dict[type, Callable[..., nn.Module]] = {UNetSpec: build_unet, PythonModelSpec: _build_python, **OWN_MODELS}


def build_model(spec: ModelSpec, *, in_channels: int, classes: int, levels: int = 1) -> nn.Module:
    """Return the network of a resolved spec: (N, in_channels, H, W) → logits (N, classes, H, W), H and W in 32s.

    Args:
        spec: which network.
        in_channels: of the images.
        classes: channels of the logits.
        levels: outputs to supervise; with several, the network in training returns a list of logits, the finest first,
            each as large as the image or smaller by a whole factor; outside training it returns the finest alone.
    """
    return MODELS[type(spec)](spec, in_channels=in_channels, classes=classes, levels=levels)


def count_parameters(network: nn.Module) -> int:
    """Return the number of trained parameters."""
    return sum(p.numel() for p in network.parameters() if p.requires_grad)
