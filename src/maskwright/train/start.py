"""A network that starts from an older one: its tensors by name, its output channels by the names of the categories."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn

from maskwright.checkpoint import KEY, network_state, read_checkpoint
from maskwright.errors import DataError, problem
from maskwright.models import build_model
from maskwright.progress import report
from maskwright.recipe import Recipe
from maskwright.recipe.data import DataSpec
from maskwright.recipe.edit import flatten
from maskwright.recipe.encoder import EncoderSpec

_SHARE = 0.5
_SHOWN = 8


@dataclass(frozen=True)
class Started:
    """What a network took over.

    Attributes:
        path: of the checkpoint.
        loaded: tensors taken over, whole or in part.
        fresh: names of the tensors that the checkpoint has not, or in another shape.
        kept: categories whose channels were taken over.
        new: categories whose channels start fresh.
    """

    path: Path
    loaded: int
    fresh: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    new: list[str] = field(default_factory=list)

    def describe(self) -> dict[str, object]:
        """Return the plain data that a checkpoint carries."""
        return {"loaded": self.loaded, "fresh": self.fresh, "kept": self.kept, "new": self.new}

    def __str__(self) -> str:
        more = f" and {len(self.fresh) - _SHOWN} more" if len(self.fresh) > _SHOWN else ""
        fresh = f"{len(self.fresh)} start fresh: {', '.join(self.fresh[:_SHOWN])}{more}" if self.fresh else "all"
        channels = f"; channels of new categories start fresh: {', '.join(self.new)}" if self.new else ""
        return f"{self.loaded} tensors from {self.path}, {fresh}{channels}"


def start_from(network: nn.Module, path: Path, recipe: Recipe, *, levels: int) -> Started:
    """Give a network the tensors of an older run's checkpoint, of its moving average where one was kept.

    What depends on the number of categories is taken over channel by channel, by the categories' names.

    Args:
        network: of the recipe, freshly built.
        path: of the checkpoint.
        recipe: resolved.
        levels: outputs of the network.

    Raises:
        DataError: no checkpoint of ours, or hardly anything of it fits.
    """
    state = read_checkpoint(path)
    old = network_state(state["state_dict"])
    about = state[KEY]
    before = DataSpec.model_validate({**about["data"], "root": "."}).to_categories().names
    now = recipe.data.to_categories().names
    axes = _category_axes(network, recipe, len(now), levels)
    own, fresh, loaded = network.state_dict(), list[str](), 0
    for name, tensor in own.items():
        given = old.get(name)
        if given is None or not _fits(given, tensor, axes.get(name), len(before)):
            fresh.append(name)
            continue
        loaded += 1
        if name in axes:
            _take_channels(tensor, given, axes[name], before, now)
        else:
            tensor.copy_(given)
    if loaded < _SHARE * len(own):
        raise _other_network(path, loaded, len(own), about["model"], recipe)
    new = [name for name in now if name not in before]
    started = Started(path, loaded, fresh, [name for name in now if name in before], new)
    report("start", 1, 1, str(started))
    return started


def _fits(given: torch.Tensor, own: torch.Tensor, axis: int | None, categories: int) -> bool:
    """Say whether a tensor can be taken over; along `axis` are the categories, of which there were so many."""
    expected = list(own.shape)
    if axis is not None:
        expected[axis] = categories
    return list(given.shape) == expected


def _category_axes(network: nn.Module, recipe: Recipe, categories: int, levels: int) -> dict[str, int]:
    """Return the axis of the categories of each tensor that has one: what grows in a network with one more."""
    spec = recipe.model
    if isinstance(spec, EncoderSpec):
        spec = spec.model_copy(update={"encoder_weights": "none"})
    assert recipe.data.channels is not None
    with torch.random.fork_rng(devices=[]):
        larger = build_model(spec, in_channels=recipe.data.channels, classes=categories + 1, levels=levels)
    axes = {}
    for (name, own), other in zip(network.state_dict().items(), larger.state_dict().values(), strict=True):
        grown = [axis for axis, pair in enumerate(zip(own.shape, other.shape, strict=True)) if pair[0] != pair[1]]
        if grown:
            axes[name] = grown[0]
    return axes


def _take_channels(
    own: torch.Tensor, given: torch.Tensor, axis: int, before: Sequence[str], now: Sequence[str]
) -> None:
    """Copy the channels of the categories that both have."""
    for channel, name in enumerate(now):
        if name in before:
            own.select(axis, channel).copy_(given.select(axis, before.index(name)))


def _other_network(path: Path, loaded: int, total: int, model: Mapping[str, object], recipe: Recipe) -> DataError:
    there, here = flatten(dict(model)), flatten(recipe.model.model_dump(mode="json"))
    keys = [key for key in here if there.get(key) != here[key] and key != "encoder_weights"]
    differs = ", ".join(f"model.{key}: {there.get(key)} there, {here[key]} here" for key in keys[:_SHOWN])
    return DataError(
        problem(
            f"a checkpoint of the same network ({total} tensors)",
            f"{loaded} that fit" + (f" ({differs})" if differs else ""),
            where=str(path),
            next_move="state the same model section, or leave train.start null",
        )
    )
