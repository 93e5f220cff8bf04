"""Encoders: images in, feature maps at strides 1, 2, 4, 8, 16 and 32 out; convolutional, pyramidal, or plain ViTs."""

from __future__ import annotations

import difflib
import functools
from typing import Any

import timm
import torch
from segmentation_models_pytorch.encoders import TimmUniversalEncoder
from torch import nn

from maskwright.errors import RecipeError, problem
from maskwright.models.sam import load_sam
from maskwright.models.vit import PlainViT, SimplePyramid
from maskwright.models.weights import HUB, find_weights, load_fitting, read_state
from maskwright.recipe.encoder import EncoderSpec

_NO_MAPS = (RuntimeError, ValueError, AttributeError, IndexError, TypeError, NotImplementedError, AssertionError)


def build_encoder(spec: EncoderSpec, *, in_channels: int, depth: int = 5, stride: int = 32) -> nn.Module:
    """Return an encoder with `out_channels` of its `depth` + 1 maps; the first map is the image, absent ones have none.

    Args:
        spec: resolved; its weights are loaded if it says so and they are here.
        in_channels: of the images.
        depth: stages that are used.
        stride: of the last stage; smaller than 2^depth: the stages that don't stride are dilated.

    Raises:
        RecipeError: timm has no such encoder, it can't be dilated, or its weights don't fit.
    """
    name = known_encoder(spec)
    plain = name.startswith(HUB) or is_plain_vit(name)
    if plain and stride < 2**depth:
        raise _unfit(name, f"an encoder that can be dilated to stride {stride}", "a plain ViT")
    if plain:
        return SimplePyramid(build_vit(spec, in_channels), depth=depth, channels=spec.pyramid_channels)
    arguments: dict[str, Any] = {"in_channels": in_channels, "depth": depth, "output_stride": min(stride, 32)}
    if name.startswith("swin"):  # it pads its windows, once it is allowed to
        arguments["strict_img_size"] = False
    try:
        encoder: nn.Module = TimmUniversalEncoder(name, pretrained=False, **(arguments | spec.encoder_arguments))
    except _NO_MAPS as error:
        wanted = "an encoder with feature maps at strides 2, 4, 8, …"
        raise _unfit(
            name, wanted if stride == 32 else f"{wanted} that can be dilated to stride {stride}", error
        ) from None
    if (path := find_weights(name, spec.encoder_weights)) is not None:
        load_flat(encoder.model, path, in_channels)  # type: ignore[arg-type]
    return encoder


def build_vit(spec: EncoderSpec, in_channels: int) -> nn.Module:
    """Return a plain ViT with its weights: images → maps of its layers, all at one stride.

    Raises:
        RecipeError: it is none, takes images of one size only, or its weights don't fit.
    """
    name = known_encoder(spec)
    if name.startswith(HUB):
        return load_sam(name, in_channels, find_weights(name, spec.encoder_weights), spec.encoder_arguments)
    try:
        vit = PlainViT(name, in_channels, spec.encoder_arguments)
    except _NO_MAPS as error:
        raise _unfit(name, "a plain ViT that takes images of any size", error) from None
    if (path := find_weights(name, spec.encoder_weights)) is not None:
        load_fitting(vit.model, vit.converted(read_state(path)), path=path, in_channels=in_channels)
    return vit


def known_encoder(spec: EncoderSpec) -> str:
    """Return the encoder's name; RecipeError, with the nearest names, if there is no such encoder."""
    assert spec.encoder, "the recipe is not resolved"
    name = spec.encoder
    if not name.startswith(HUB) and not timm.is_model(name):
        near = difflib.get_close_matches(name, timm.list_models(), 3, 0.4)
        next_move = f"did you mean {', '.join(near)}?" if near else "see timm.list_models()"
        raise RecipeError(problem("an encoder of timm", name, where="model.encoder", next_move=next_move))
    return name


@functools.cache
def is_plain_vit(name: str) -> bool:
    """Say whether all layers of an encoder have one stride."""
    try:
        with torch.device("meta"):
            model: Any = timm.create_model(name, features_only=True)
        return len(set(model.feature_info.reduction())) == 1
    except _NO_MAPS:  # whatever is wrong with it is said where it is built
        return False


def load_flat(model: nn.Module, path: str, in_channels: int) -> None:
    """Load a timm state dict into its network of feature maps, whose `stages_0` are the others' `stages.0`."""
    named = {key.replace(".", "_"): key for key in model.state_dict()}
    state = {named.get(key.replace(".", "_"), key): value for key, value in read_state(path).items()}
    load_fitting(model, state, path=path, in_channels=in_channels)


def _unfit(name: str, expected: str, got: object) -> RecipeError:
    return RecipeError(
        problem(
            expected,
            f"{name}: {got}",
            where="model.encoder",
            next_move="use a convolutional encoder such as resnet18, efficientnet_b0 or convnext_atto",
        )
    )
