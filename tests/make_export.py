"""A run folder whose networks were never trained, for tests of exports: quick to make, complete for `export`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch
from torch import nn

from maskwright import pipeline
from maskwright.artifacts import RunFolder, write_json
from maskwright.checkpoint import KEY, describe
from maskwright.data.synthetic import make_playground
from maskwright.models import build_model
from maskwright.recipe import Recipe, apply_settings, load_recipe
from maskwright.recipe.data import DataSpec

MAKING = ("torch", "torchvision", "timm", "segmentation_models_pytorch", "lightning", "onnx", "onnxscript")
"""What makes exports and is not there where they are used."""


def without(modules: Iterable[str], then: str = "from maskwright.cli import main\ncode = main(sys.argv[1:])") -> str:
    """Return a program that runs in a process where whoever imports one of the modules gets an ImportError.

    Args:
        modules: names of packages.
        then: what it runs; sets `code`, its exit code.
    """
    return f"""
import importlib.machinery, sys
FORBIDDEN = {set(modules)!r}
class Forbid:
    def find_spec(self, name, path=None, target=None):  # others may look whether it is there
        return importlib.machinery.ModuleSpec(name, self) if name in FORBIDDEN else None
    def create_module(self, spec):
        raise ImportError(spec.name + " is forbidden here")
    def exec_module(self, module):
        pass
sys.meta_path.insert(0, Forbid())
{then}
assert not FORBIDDEN & set(sys.modules)
sys.exit(code)
"""


SETTINGS = (
    "data.task=semantic",
    "model.kind=python",
    "model.target=make_export:Small",
    "split.folds=2",
    "train.steps=2",
    "train.validate_every=1",
    "train.batch=2",
    "train.crop=[32, 32]",
    "train.threads=1",
    "train.precision=float32",
    "train.channels_last=false",
    "train.scale=1",
    "audit.pictures=false",
    "evaluate.samples=100",
)


class Small(nn.Module):
    """Halves and doubles the size once, so that it sees neighbours, borders and the parity of sides."""

    def __init__(self, in_channels: int, classes: int, width: int = 8) -> None:
        super().__init__()
        self.down = nn.Conv2d(in_channels, width, 3, stride=2, padding=1)
        self.up = nn.ConvTranspose2d(width, classes, 2, stride=2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return 4 * self.up(self.down(images).relu())


def make_run(root: Path, *more: str, size: tuple[int, int] = (32, 48), unlabelled: int = 2) -> RunFolder:
    """Return a run folder with folds, recipe and a checkpoint a fold, its data beside it.

    Args:
        root: folder for both.
        more: settings of the recipe.
        size: of the images.
        unlabelled: images without masks, one of them a copy of one that has some.
    """
    make_playground(root / "data", labelled=16, unlabelled=unlabelled, size=size)
    recipe = apply_settings(Recipe(data=DataSpec(root=str(root / "data"))), [*SETTINGS, *more])
    folder = pipeline.run(recipe, root / "run", until="plan")
    recipe = load_recipe(folder.recipe)
    assert recipe.data.channels and recipe.data.categories and recipe.train.scale
    for fold in range(recipe.split.folds):
        torch.manual_seed(fold)
        network = build_model(recipe.model, in_channels=recipe.data.channels, classes=len(recipe.data.categories))
        about = describe(
            recipe.model,
            recipe.data,
            scale=recipe.train.scale,
            precision=recipe.train.precision or "float32",
            channels_last=False,
        )
        state = {f"step.network.{name}": value for name, value in network.state_dict().items()}
        folder.fold(fold).mkdir(parents=True)
        torch.save({"state_dict": state, KEY: about}, folder.fold(fold) / "last.ckpt")
        write_json(folder.records / f"train-fold-{fold}.json", {})
    return folder
