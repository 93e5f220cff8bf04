"""Which parameters learn how fast, and the optimizer."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from maskwright.errors import RecipeError, problem
from maskwright.recipe.optimise import SGDSpec
from maskwright.recipe.train import TrainSpec

_ENCODER = re.compile(r"((?:.*?\.)??encoder\.)(.+)")
_BACKBONE = "vit."  # what has weights of others in an encoder that is a feature pyramid on top of it
_NUMBERED = re.compile(r"(.*?\.(?:\d+|downsample))(?:\.|$)")
_END = re.compile(r"(?:^|\.)(?:norm|fc_norm|norm_head|final_conv|conv_head|bn2|neck)\.")  # what follows the blocks


def parameter_groups(step: nn.Module, spec: TrainSpec) -> list[dict[str, Any]]:
    """Return the optimizer's groups: weights of two and more axes decay, norms and biases don't.

    With `head_lr` what isn't the encoder has a rate of its own; with `layer_decay` each layer of the encoder has.

    Raises:
        RecipeError: these are asked for, and the network has no encoder.
    """
    named = [(name, p) for name, p in step.named_parameters() if p.requires_grad]
    factors = _factors([name for name, _ in named], spec)
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for (_, parameter), factor in zip(named, factors, strict=True):
        groups.setdefault((factor, parameter.ndim > 1), []).append(parameter)
    return [
        {"params": parameters, "lr": spec.lr * factor, "weight_decay": spec.weight_decay if decays else 0.0}
        for (factor, decays), parameters in groups.items()
    ]


def build_optimizer(groups: Iterable[dict[str, Any]], spec: TrainSpec) -> torch.optim.Optimizer:
    """Return the optimizer of the recipe."""
    if isinstance(spec.optimizer, SGDSpec):
        options: dict[str, Any] = {"momentum": spec.optimizer.momentum, "nesterov": spec.optimizer.nesterov}
        return torch.optim.SGD(groups, lr=spec.lr, fused=True, **options)
    return torch.optim.AdamW(groups, lr=spec.lr, betas=spec.optimizer.betas, fused=True)


def _factors(names: list[str], spec: TrainSpec) -> list[float]:
    """Return the factor on the rate of each parameter."""
    if spec.head_lr == 1 and spec.layer_decay == 1:
        return [1.0] * len(names)
    inside = _inside(names)
    if not any(inside):
        raise RecipeError(
            problem(
                "a network with an encoder",
                "one without",
                where="train.head_lr, train.layer_decay",
                next_move="leave both at 1, or choose a model with an encoder",
            )
        )
    layers = {layer: number for number, layer in enumerate(dict.fromkeys(_layer(name) for name in inside if name))}
    return [
        spec.head_lr if name is None else spec.layer_decay ** (len(layers) - layers[_layer(name)]) for name in inside
    ]


def _inside(names: list[str]) -> list[str | None]:
    """Return the names within the encoder, None for the rest, encoders further inside and a ViT's pyramid included."""
    found = [_ENCODER.match(name) for name in names]
    outermost = min((match.group(1).count(".") for match in found if match), default=0)
    inside = [m.group(2) if m and m.group(1).count(".") == outermost else None for m in found]
    if any(name and name.startswith(_BACKBONE) for name in inside):
        return [name if name and name.startswith(_BACKBONE) else None for name in inside]
    return inside


def _layer(name: str) -> str:
    """Return the layer that an encoder's parameter belongs to: the name up to its first number, else a word for all.

    What halves the map before a stage (`downsample`) is a layer, too.

    Example:
        >>> [_layer(n) for n in ("model.blocks.3.attn.qkv.weight", "model.layer2.1.conv1.weight", "model.pos_embed")]
        ['model.blocks.3', 'model.layer2.1', 'stem']
        >>> _layer("model.norm.bias")
        'end'
    """
    numbered = _NUMBERED.match(name)
    if numbered:
        return numbered.group(1)
    return "end" if _END.search(name) else "stem"
