"""Any activation and any normalisation in any network: layers are exchanged after it was built."""

from __future__ import annotations

import timm.layers
from torch import nn

from maskwright.models.layers import make_activation, make_normalization
from maskwright.recipe.encoder import EncoderSpec
from maskwright.recipe.layers import Activation, Normalization

_ACTIVATIONS = (
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.SiLU, nn.Mish, nn.GELU, nn.Hardswish),
    *(timm.layers.Swish, timm.layers.Mish, timm.layers.HardSwish, timm.layers.GELU, timm.layers.GELUTanh),
)
"""Sigmoids and their like are gates, not activations."""
_NORMALIZATIONS = (nn.modules.batchnorm._BatchNorm, nn.modules.instancenorm._InstanceNorm, nn.GroupNorm)
"""Layer normalisation inside transformers and the like (nn.LayerNorm) is over channels alone: it stays."""


def replace_layers(network: nn.Module, spec: EncoderSpec) -> None:
    """Exchange what a spec names, in all of a network or in a part of it."""
    if spec.normalization:
        replace_normalizations(network, spec.normalization)
    if spec.activation:
        replace_activations(network, spec.activation)


def replace_activations(network: nn.Module, kind: Activation) -> None:
    """Exchange every activation inside a network."""
    for parent, name, module in _found(network, _ACTIVATIONS):
        new = make_activation(kind)
        if hasattr(new, "inplace"):
            new.inplace = bool(getattr(module, "inplace", False))  # type: ignore[assignment]
        setattr(parent, name, new)


def replace_normalizations(network: nn.Module, kind: Normalization) -> None:
    """Exchange every batch, instance and group normalisation; scale and shift of the old ones are kept."""
    for parent, name, module in _found(network, _NORMALIZATIONS):
        new = make_normalization(kind, _channels(module))
        old, own = module.state_dict(), new.state_dict()
        new.load_state_dict(own | {key: old[key] for key in own if key in old})
        behind = [part for part in (getattr(module, "drop", None), getattr(module, "act", None)) if part is not None]
        behind = [part for part in behind if not isinstance(part, nn.Identity)]  # of timm's fused layers
        setattr(parent, name, nn.Sequential(new, *behind) if behind else new)


def allow_single_values(network: nn.Module) -> None:
    """Let batch normalisation see one image's pooled map of one pixel, which PyTorch refuses."""
    for parent, name, module in _found(network, (nn.BatchNorm2d,)):
        new = make_normalization("batch", _channels(module))
        new.load_state_dict(module.state_dict())
        setattr(parent, name, new)


def _channels(module: nn.Module) -> int:
    return int(module.num_channels if isinstance(module, nn.GroupNorm) else module.num_features)  # type: ignore[arg-type]


def _found(network: nn.Module, kinds: tuple[type, ...]) -> list[tuple[nn.Module, str, nn.Module]]:
    """Return (parent, name, module) of every layer of these kinds."""
    return [
        (parent, name, child)
        for parent in network.modules()
        for name, child in parent.named_children()
        if isinstance(child, kinds)
    ]
