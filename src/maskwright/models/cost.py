"""What a network costs: parameters, multiply-adds, and the time of a training step on this machine."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from maskwright.models import MODELS, build_model, count_parameters
from maskwright.recipe.encoder import EncoderSpec
from maskwright.recipe.model import ModelSpec, PythonModelSpec

_ENCODER = "resnet18"
_CHANNELS = (256, 128, 64, 32, 16)


@dataclass(frozen=True)
class Cost:
    """What one network costs.

    Attributes:
        parameters: that are trained.
        multiply_adds: of one image's forward pass; multiplications of convolutions, matrices and attention.
        step_seconds: of a training step of one batch, None if it wasn't measured.
    """

    parameters: int
    multiply_adds: int
    step_seconds: float | None


def example_specs(encoder: str | None = None) -> dict[str, ModelSpec]:
    """Return a complete spec of each kind of the table but `python`, from scratch.

    Args:
        encoder: timm name for those that have one; None: each kind's own, else resnet18.
    """
    found: dict[str, ModelSpec] = {}
    for kind in MODELS:
        if kind is not PythonModelSpec:
            spec = complete(kind(), encoder)
            found[spec.kind] = spec
    return found


def complete(spec: ModelSpec, encoder: str | None = None) -> ModelSpec:
    """Return a spec with its open fields filled in, without pretrained weights."""
    filled: dict[str, object] = {}
    if isinstance(spec, EncoderSpec):
        filled = {"encoder": encoder or spec.encoder or _ENCODER, "encoder_weights": "none"}
    standard = {"decoder_channels": _CHANNELS, "output_stride": 1}
    filled |= {key: value for key, value in standard.items() if getattr(spec, key, value) is None}
    return spec.model_copy(update=filled)


def measure_cost(
    spec: ModelSpec, size: tuple[int, int], *, in_channels: int, classes: int, batch: int = 0, repeats: int = 3
) -> Cost:
    """Return what a network costs.

    Args:
        spec: resolved.
        size: height and width of the images, in 32s.
        in_channels: of the images.
        classes: channels of the logits.
        batch: images of the steps that are timed; 0: none are.
        repeats: steps that count; one more warms up.
    """
    network = build_model(spec, in_channels=in_channels, classes=classes)
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):  # whose products the counter knows
        network.eval()(torch.zeros(1, in_channels, *size))
    seconds = _time_steps(network, (batch, in_channels, *size), repeats) if batch else None
    return Cost(count_parameters(network), counter.get_total_flops() // 2, seconds)


def _time_steps(network: nn.Module, shape: tuple[int, ...], repeats: int) -> float:
    """Return the median seconds of forward, backward and update in float32."""
    images = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    optimizer = torch.optim.AdamW(network.train().parameters(), lr=1e-6)
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        network(images).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])
