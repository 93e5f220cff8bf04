"""The options that commands share. Each only sets a field of the recipe."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Group, Parameter

from maskwright.errors import UsageError, problem
from maskwright.processes import command_line
from maskwright.recipe import Recipe, apply_settings, load_recipe
from maskwright.recipe.data import DataSpec
from maskwright.recipe.executor import of_kind

_DATA = (
    "Data folder, its format recognised: images/ with masks/ and/or instances/ under the same names (unlabeled/, "
    "meta.csv, classes.json), or COCO, VOC, YOLO, LabelMe, CVAT, Label Studio, Cityscapes, nnU-Net, DICOM, .npz and "
    "more; --set data.format=NAME where it isn't (a wrong NAME is answered with the list)."
)
DATA, RUN = Group("Data", sort_key=1), Group("Run", sort_key=2)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Options:
    """What is run, on what, into which folder."""

    data: Annotated[Path | None, Parameter(group=DATA, help=_DATA)] = None
    recipe: Annotated[Path | None, Parameter(group=DATA)] = None
    """Recipe file; --data and all other options override its fields."""
    out: Annotated[Path | None, Parameter(group=RUN)] = None
    """Run folder; default: runs/NAME of the data folder."""
    settings: Annotated[tuple[str, ...], Parameter(name=["--set"], group=RUN, negative=())] = ()
    """Any field of the recipe as key.path=value, such as train.lr=1e-3; may be repeated."""
    seed: Annotated[int | None, Parameter(group=RUN)] = None
    """Seed of everything that is drawn (default 0)."""
    executor: Annotated[Literal["local", "ray", "slurm"] | None, Parameter(group=RUN)] = None
    """Where trainings run: processes of this machine (local, the default), a Ray cluster, or SLURM; see executor in
    the recipe, such as --set executor.jobs=4."""
    redo: Annotated[bool, Parameter(group=RUN, negative=())] = False
    """Replace results in the run folder that were made from another recipe or other data."""
    json: Annotated[bool, Parameter(group=RUN, negative=())] = False
    """Write the result as JSON to stdout; everything else goes to stderr."""
    classes: Annotated[str | None, Parameter(group=DATA)] = None
    """all; binary (everything but 0 is foreground); or names, comma-separated (the rest becomes background)."""
    task: Annotated[Literal["semantic", "instances", "panoptic"] | None, Parameter(group=DATA)] = None
    """What is predicted: the category of each pixel; objects of one category, told apart; or both, of all categories
    (default: instances where instances/ is without masks/, panoptic where both are there, else semantic)."""
    ignore: Annotated[str | None, Parameter(group=DATA)] = None
    """Mask values or category names whose pixels no loss and no metric sees, comma-separated."""
    leave_out: Annotated[str | None, Parameter(group=DATA)] = None
    """Categories left out of the metric's means, comma-separated."""
    group: Annotated[str | None, Parameter(group=DATA)] = None
    """Column of meta.csv (patient, site, day …) whose images stay in one fold."""
    group_regex: Annotated[str | None, Parameter(group=DATA)] = None
    """Expression on the file name whose first group is the fold group."""

    folds: Annotated[int | None, Parameter(group=RUN)] = None
    """Folds (default 5); 1 trains one network on all that isn't held out."""
    holdout: Annotated[float | None, Parameter(group=RUN)] = None
    """Share of labelled images held out (default .15 from 100 labelled images on, else 0)."""
    labelled: Annotated[str | None, Parameter(group=RUN)] = None
    """Learn from so many of the training images only: a share such as 1/8, or a number; the rest becomes the pool."""
    workers: Annotated[int | None, Parameter(group=RUN)] = None
    """Threads that prepare batches (default 1)."""
    minutes: Annotated[float | None, Parameter(group=RUN)] = None
    """Budget for the training of all folds together."""

    def to_recipe(self) -> Recipe:
        """Return the recipe that the options describe.

        Raises:
            UsageError: neither data nor recipe.
            RecipeError: a field that doesn't exist or a value that doesn't fit.
        """
        if self.recipe is None and self.data is None:
            raise UsageError(
                problem(
                    "--data FOLDER or --recipe FILE",
                    "neither",
                    where="the command line",
                    next_move="try `maskwright demo` to see it work, then `maskwright run --data FOLDER`",
                )
            )
        recipe = load_recipe(self.recipe) if self.recipe else Recipe(data=DataSpec(root=str(self.data)))
        recipe = apply_settings(recipe, [f"{field}=null" for field in self._asked_anew()])
        if self.executor is not None and self.executor != recipe.executor.kind:
            recipe = recipe.model_copy(update={"executor": of_kind(recipe.executor, self.executor)})
        pairs = [f"{key}={json.dumps(value)}" for key, value in self._shortcuts().items() if value is not None]
        return apply_settings(recipe, [*pairs, *self.settings])

    def folder(self, recipe: Recipe) -> Path:
        """Return the run folder."""
        if self.out is not None:
            return self.out
        return Path("runs") / Path(recipe.data.root).resolve().name

    def _asked_anew(self) -> list[str]:
        """Return the fields of a resolved recipe that the options ask to decide again."""
        fields = [] if self.classes is None and self.task is None else ["data.categories", "data.leave_out"]
        if self.holdout is not None:
            fields += ["split.use_parts"]
        if self.minutes is not None and not any(s.startswith("train.steps=") for s in self.settings):
            fields += ["train.steps", "train.validate_every"]
        return fields

    def _shortcuts(self) -> dict[str, Any]:
        """Return recipe field → value of each option that only sets a field; None: not given."""
        return {
            "data.root": None if self.data is None else str(self.data),
            "data.group": self.group,
            "data.group_regex": self.group_regex,
            "data.task": self.task,
            "data.classes": self.classes if self.classes in ("all", "binary") else _names(self.classes),
            "data.ignore": listed(self.ignore),
            "data.leave_out": _names(self.leave_out),
            "split.folds": self.folds,
            "split.holdout": self.holdout,
            "split.labelled": self.labelled,
            "train.minutes": self.minutes,
            "train.workers": self.workers,
            "seed": self.seed,
        }


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class FoldOptions(Options):
    """What can change the folds; --help leaves the others out, which may be given all the same."""

    workers: Annotated[int | None, Parameter(group=RUN, show=False)] = None
    minutes: Annotated[float | None, Parameter(group=RUN, show=False)] = None


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class DataOptions(FoldOptions):
    """What can change the findings."""

    folds: Annotated[int | None, Parameter(group=RUN, show=False)] = None
    holdout: Annotated[float | None, Parameter(group=RUN, show=False)] = None
    labelled: Annotated[str | None, Parameter(group=RUN, show=False)] = None


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class CurveOptions(Options):
    """What a curve can be of; which labels is its own matter."""

    folds: Annotated[int | None, Parameter(group=RUN)] = None
    """Networks of each point (default 2, or 1 with --labels-only)."""
    labelled: Annotated[str | None, Parameter(group=RUN, show=False)] = None
    minutes: Annotated[float | None, Parameter(group=RUN)] = None
    """Budget for all points together."""


def typed_command() -> str:
    """Return what the user typed, so that it can be typed again."""
    return str(command_line()["command"])


def listed(text: str | None) -> list[str | int] | None:
    """Return the comma-separated words of an option, numbers as numbers."""
    if text is None:
        return None
    words = [word.strip() for word in text.split(",") if word.strip()]
    return [int(word) if word.lstrip("-").isdigit() else word for word in words]


def _names(text: str | None) -> list[str] | None:
    words = listed(text)
    return None if words is None else [str(word) for word in words]
