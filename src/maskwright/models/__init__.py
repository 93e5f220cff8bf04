"""Networks: images in, logits out. One literal table from spec type to builder."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from maskwright.errors import RecipeError, problem
from maskwright.models.embedding import EmbeddingNetwork, SharedDecoder
from maskwright.models.library import build_library
from maskwright.models.own import OWN_MODELS
from maskwright.recipe.model import (
    DeepLabV3PlusSpec,
    DeepLabV3Spec,
    DPTSpec,
    FPNSpec,
    LinkNetSpec,
    MAnetSpec,
    ModelSpec,
    PANSpec,
    PSPNetSpec,
    PythonModelSpec,
    SegformerSpec,
    UNetPlusPlusSpec,
    UNetSpec,
    UPerNetSpec,
)
from maskwright.recipe.target import import_target

__all__ = ["MODELS", "EmbeddingNetwork", "build_model", "count_parameters"]


def _build_python(spec: PythonModelSpec, *, in_channels: int, classes: int, levels: int) -> nn.Module:
    more = {"levels": levels} if levels > 1 else {}
    network = import_target(spec.target)(in_channels=in_channels, classes=classes, **more, **spec.arguments)
    assert isinstance(network, nn.Module), f"{spec.target} returned no nn.Module"
    return network


MODELS: dict[type, Callable[..., nn.Module]] = {
    UNetSpec: build_library,
    UNetPlusPlusSpec: build_library,
    MAnetSpec: build_library,
    LinkNetSpec: build_library,
    FPNSpec: build_library,
    PSPNetSpec: build_library,
    PANSpec: build_library,
    DeepLabV3Spec: build_library,
    DeepLabV3PlusSpec: build_library,
    UPerNetSpec: build_library,
    SegformerSpec: build_library,
    DPTSpec: build_library,
    PythonModelSpec: _build_python,
    **OWN_MODELS,
}


def build_model(spec: ModelSpec, *, in_channels: int, classes: int, levels: int = 1) -> nn.Module:
    """Return the network of a resolved spec: (N, in_channels, H, W) → logits (N, classes, H, W), H and W in 32s.

    Args:
        spec: which network.
        in_channels: of the images.
        classes: channels of the logits.
        levels: outputs to supervise; with several, the network in training returns a list of logits, the finest first,
            each as large as the image or smaller by a whole factor; outside training it returns the finest alone.

    With `embedding` in the spec it is an `EmbeddingNetwork`: called it returns logits all the same.
    """
    wanted, build = getattr(spec, "embedding", None), MODELS[type(spec)]
    if wanted is None or (build is build_library and wanted.decoder != "shared"):
        return build(spec, in_channels=in_channels, classes=classes, levels=levels)
    if wanted.decoder == "own":
        raise RecipeError(
            problem(
                "shared (or auto): this network has no decoder that could be there twice",
                "own",
                where="model.embedding.decoder",
                next_move="set it to auto, or choose a network of segmentation-models-pytorch, such as unet",
            )
        )
    plain = spec.model_copy(update={"embedding": None})
    network = build(plain, in_channels=in_channels, classes=classes + wanted.channels, levels=levels)
    return SharedDecoder(network, classes, wanted.channels)


def count_parameters(network: nn.Module) -> int:
    """Return the number of trained parameters."""
    return sum(p.numel() for p in network.parameters() if p.requires_grad)
