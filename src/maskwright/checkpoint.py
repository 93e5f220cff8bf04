"""Checkpoints hold specs and tensors, never objects: what is needed to build the network again and use it rightly."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter, ValidationError
from torch import nn

from maskwright.data.intensity import Intensity, Scale
from maskwright.errors import DataError, problem
from maskwright.models import build_model
from maskwright.recipe.data import DataSpec
from maskwright.recipe.encoder import EncoderSpec
from maskwright.recipe.model import ModelSpec
from maskwright.types import Categories

KEY = "maskwright"
VERSION = 1
"""Version of the form of checkpoints."""
_MODEL: TypeAdapter[Any] = TypeAdapter(ModelSpec)


@dataclass(frozen=True)
class Trained:
    """A network with all that using it needs.

    Attributes:
        network: in evaluation mode; its moving average where one was kept, unless the trained one is asked for.
        categories: its output channels.
        intensity: how images are prepared.
        scale: factor from an image's size to the size that the network works at, or that size.
        precision: `float32` or `bfloat16`.
        channels_last: memory format.
        path: where it was read from.
    """

    network: nn.Module
    categories: Categories
    intensity: Intensity
    scale: Scale
    precision: str
    channels_last: bool
    path: Path


def describe(
    model: ModelSpec, data: DataSpec, *, scale: Scale, precision: str, channels_last: bool, levels: int = 1
) -> dict[str, Any]:
    """Return the plain data that a checkpoint carries under `KEY`."""
    return {
        "version": VERSION,
        "model": model.model_dump(mode="json"),
        "data": data.model_dump(mode="json", exclude={"root"}),
        "scale": scale,
        "precision": precision,
        "channels_last": channels_last,
        "levels": levels,
    }


def load_trained(path: Path, *, average: bool = True) -> Trained:
    """Return the network of a checkpoint, ready to be used.

    Args:
        path: of the checkpoint.
        average: the moving average where one was kept; False: the network that was trained beside it.

    Raises:
        DataError: no such file, or not one of ours.
    """
    state = read_checkpoint(path)
    try:
        return _build(state, path, average=average)
    except (ValidationError, LookupError, RuntimeError, TypeError) as error:
        raise _foreign(path, f"one of another version ({_told(error)})") from None


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Return what a checkpoint holds: `state_dict`, and under `KEY` what `describe` made.

    Raises:
        DataError: no such file, or not one of ours.
    """
    if not path.is_file():
        raise DataError(
            problem("a checkpoint", "nothing", where=str(path), next_move="train first: maskwright train --data FOLDER")
        )
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError, ValueError) as error:
        raise _foreign(path, f"a file that is cut off or none of ours ({_told(error)})") from None
    if not isinstance(state, dict) or KEY not in state:
        raise _foreign(path, "another file")
    if (version := state[KEY].get("version", 1)) != VERSION:
        raise _foreign(path, f"one of form {version}, this version of maskwright reads form {VERSION}")
    return state


def _foreign(path: Path, got: str) -> DataError:
    next_move = "use the version of maskwright that made it, or train again: maskwright train --redo"
    return DataError(problem("a checkpoint of maskwright", got, where=str(path), next_move=next_move))


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split()).split('. ')[0][:120]}"


def _build(state: dict[str, Any], path: Path, *, average: bool) -> Trained:
    about = state[KEY]
    data = DataSpec.model_validate({**about["data"], "root": "."})
    categories, intensity = data.to_categories(), Intensity.of(data)
    spec = _MODEL.validate_python(about["model"])
    if isinstance(spec, EncoderSpec):
        spec = spec.model_copy(update={"encoder_weights": "none"})
    network = build_model(spec, in_channels=intensity.channels, classes=len(categories), levels=about.get("levels", 1))
    network.load_state_dict(network_state(state["state_dict"], average=average))
    network.eval().requires_grad_(False)
    if about["channels_last"]:
        network = network.to(memory_format=torch.channels_last)
    scale = tuple(about["scale"]) if isinstance(about["scale"], list) else about["scale"]
    return Trained(network, categories, intensity, scale, about["precision"], about["channels_last"], path)


def network_state(state: dict[str, torch.Tensor], *, average: bool = True) -> dict[str, torch.Tensor]:
    """Return the network's own tensors out of a training state: the moving average's where there is one and it is asked
    for.
    """
    for prefix in ("step.average.network.", "step.network.")[0 if average else 1 :]:
        chosen = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
        if chosen:
            return chosen
    return state
