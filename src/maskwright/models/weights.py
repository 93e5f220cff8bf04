"""Pretrained encoder weights: a file, or what is cached on this machine. Nothing here goes to a network."""

from __future__ import annotations

import functools
import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from maskwright.errors import RecipeError, problem
from maskwright.progress import report

HUB = "hf:"
"""Encoders whose names begin so come through transformers."""
FILES = ("model.safetensors", "pytorch_model.bin")
"""Names that weights have in the cache, the first one found is used."""

_SHARE = 0.9
"""Of an encoder's tensors that a file of weights must fit."""


def find_weights(encoder: str, choice: str) -> str | None:
    """Return the path of the weights that `model.encoder_weights` means, None for training from scratch.

    Args:
        encoder: timm name, or hf:NAME.
        choice: `none`; `auto`: the cache, if they are there, which is said once; `cached`: the cache; else a file.

    Raises:
        RecipeError: the file is not there, or nothing is cached.
    """
    if choice == "none":
        return None
    if choice == "auto":
        path = cached_weights(encoder)
        _tell(encoder, path)
        return path
    if choice == "cached":
        if (path := cached_weights(encoder)) is None:
            got, next_move = f"none of {encoder}", f"maskwright weights fetch {encoder}"
            raise RecipeError(problem("cached weights", got, where="model.encoder_weights", next_move=next_move))
        return path
    if not Path(choice).is_file():
        expected = "auto, cached, none or a file"
        raise RecipeError(problem(expected, choice, where="model.encoder_weights", next_move="check the file's path"))
    return choice


def cached_weights(encoder: str) -> str | None:
    """Return the path of an encoder's weights in Hugging Face's cache, None if they aren't there."""
    from huggingface_hub import try_to_load_from_cache

    if (repository := repository_of(encoder)) is None:
        return None
    found = (try_to_load_from_cache(repository, name) for name in FILES)
    return next((path for path in found if isinstance(path, str)), None)


def repository_of(encoder: str) -> str | None:
    """Return where an encoder's weights are published on Hugging Face's hub; None if they are not."""
    if encoder.startswith(HUB):
        return encoder.removeprefix(HUB)
    import timm

    config = timm.get_pretrained_cfg(encoder, allow_unregistered=True)
    return None if config is None or not config.hf_hub_id else str(config.hf_hub_id)


def read_state(path: str) -> Mapping[str, torch.Tensor]:
    """Return the state dict of a .safetensors, .pth or .bin file.

    Raises:
        RecipeError: the file is none.
    """
    from safetensors import SafetensorError
    from timm.models import load_state_dict

    try:
        state: Mapping[str, torch.Tensor] = load_state_dict(path, weights_only=True)
    except (SafetensorError, RuntimeError, pickle.UnpicklingError, EOFError, ValueError, AttributeError) as error:
        got = f"another file ({type(error).__name__})"
        next_move = "give a .safetensors or .pth file of weights alone"
        raise RecipeError(problem("a state dict", got, where=path, next_move=next_move)) from None
    return state


def load_fitting(model: nn.Module, state: Mapping[str, torch.Tensor], *, path: str, in_channels: int) -> None:
    """Load what fits; the first convolution is summed or repeated for other than 3 input channels.

    Raises:
        RecipeError: less than nine tenths of the network's tensors are in the state.
    """
    from timm.models import adapt_input_conv

    own = model.state_dict()
    fitting = {}
    for key, value in state.items():
        if key in own and value.ndim == 4 and value.shape[1] == 3 and own[key].shape[1] == in_channels:
            value = adapt_input_conv(in_channels, value)
        if key in own and own[key].shape == value.shape:
            fitting[key] = value
    if len(fitting) < _SHARE * len(own):
        raise RecipeError(
            problem(
                f"weights of the encoder ({len(own)} tensors)",
                f"{len(fitting)} that fit",
                where=path,
                next_move="give a timm state dict of the same encoder, or model.encoder_weights=none",
            )
        )
    model.load_state_dict(own | fitting)


@functools.cache
def _tell(encoder: str, path: str | None) -> None:
    """Say what `auto` has come to; once, however many networks are built."""
    report("encoder weights", 1, 1, told_weights(encoder, path))


def told_weights(encoder: str, path: str | None) -> str:
    """Return the line that says what `auto` has come to."""
    if path is not None:
        return f"{encoder} starts from the pretrained weights that are cached: {path}"
    if repository_of(encoder) is None:
        return f"{encoder} starts from random numbers: no pretrained weights of it are published"
    return (
        f"{encoder} starts from random numbers: its pretrained weights are not cached. They have seen a large set of "
        "images and mostly learn faster and score higher where masks are few. Get them with "
        f"`maskwright weights fetch {encoder}`; for a machine without a network use `maskwright weights bundle` on "
        "another one, or give a file as model.encoder_weights"
    )
