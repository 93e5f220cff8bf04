"""What is changed between encoder and decoder: features dropped by channel."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from maskwright.errors import RecipeError, problem

Change = Callable[[torch.Tensor], torch.Tensor]


@contextmanager
def features_changed(network: nn.Module, change: Change) -> Iterator[None]:
    """Let every feature map of the network's encoder go through a function on its way to the decoder.

    Args:
        network: its attribute `encoder` returns a tensor, or a list or tuple of them (nested, None allowed).
        change: of (N, C, h, w) maps or (N, L, C) tokens; may change N, for all alike.
    """
    handle = encoder_of(network).register_forward_hook(lambda module, inputs, features: _each(features, change))
    try:
        yield
    finally:
        handle.remove()


def encoder_of(network: nn.Module) -> nn.Module:
    """Return the network's encoder.

    Raises:
        RecipeError: it has none that is called as a whole.
    """
    encoder = getattr(network, "encoder", None)
    if not isinstance(encoder, nn.Module) or isinstance(encoder, nn.ModuleList | nn.ModuleDict):
        raise RecipeError(
            problem(
                "a network with an encoder that returns feature maps",
                type(network).__name__ + ", which has none",
                where="selftrain.method: feature_weight, complementary",
                next_move="set feature_weight to 0 and complementary to false, or choose a model with an encoder",
            )
        )
    return encoder


def with_dropped(features: torch.Tensor, *, last: int, share: float) -> torch.Tensor:
    """Return the features and, appended, those of the last so many images with a share of their channels dropped.

    The channels that stay are multiplied by 1 / (1 − share), as in dropout.
    """
    own = features[-last:]
    kept = torch.rand(last, _channels(features), device=features.device) >= share
    return torch.cat([features, own * _as_factor(kept / (1 - share), own)])


def complementary_dropout(features: torch.Tensor, whole: torch.Tensor) -> torch.Tensor:
    """Return the features of two views, N of each, the second keeping what the first drops: factors 2 and 0.

    Args:
        features: (2 N, …).
        whole: (N,) bool, images of which nothing is dropped.
    """
    first = 2.0 * (torch.rand(len(whole), _channels(features), device=features.device) < 0.5)
    first = torch.where(whole[:, None], 1.0, first)
    return features * _as_factor(torch.cat([first, 2 - first]), features)


def half_of(count: int, device: torch.device) -> torch.Tensor:
    """Return (count,) bool, True for a random half, rounded down."""
    found = torch.zeros(count, dtype=torch.bool, device=device)
    found[torch.randperm(count, device=device)[: count // 2]] = True
    return found


def _each(features: Any, change: Change) -> Any:
    if isinstance(features, torch.Tensor):
        return change(features)
    if isinstance(features, list | tuple):
        changed = [_each(one, change) for one in features]
        return type(features)(*changed) if hasattr(features, "_fields") else type(features)(changed)
    return features


def _channels(features: torch.Tensor) -> int:
    return features.shape[2] if features.ndim == 3 else features.shape[1]


def _as_factor(values: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
    """Return (N, C) values so that they multiply (N, C, h, w) maps or (N, L, C) tokens."""
    shaped = values[:, None] if features.ndim == 3 else values[:, :, None, None]
    return shaped.to(features.dtype)
