"""Data folders, recipes and run folders that people really have, each with one thing wrong.

Each function takes an empty folder and a monkeypatch, makes what its name says, and returns the command to run there.
"""

from __future__ import annotations

import errno
import json
import os
import sys
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import polars as pl
import pytest
import tifffile
from PIL import Image

import make_images as make
from maskwright.cli import main
from maskwright.recipe import Recipe, dump_recipe
from maskwright.recipe.data import DataSpec
from maskwright.recipe.model import UNetSpec
from maskwright.types import Category

Patch = pytest.MonkeyPatch
Command = list[object]
SIZE = (24, 32)
TINY = (
    "model.encoder=resnet10t", "model.encoder_weights=none", "model.decoder_channels=[16, 16, 8]", "train.steps=2",
    "train.validate_every=1", "train.batch=2", "train.crop=[32, 32]", "train.scale=1", "train.precision=float32",
    "train.channels_last=false", "train.threads=1", "evaluate.samples=100", "report.thumbnails=1",
)  # fmt: skip
TWO = '{"0": "background", "1": "rock"}'


def picture(seed: int) -> np.ndarray:
    """Return (24, 32) uint8 that no other seed resembles."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8), np.uint8)
    return np.asarray(Image.fromarray(coarse).resize(SIZE[::-1], Image.Resampling.BICUBIC))


def half(value: int = 1) -> np.ndarray:
    """Return a (24, 32) uint8 mask whose left half has a value."""
    mask = np.zeros(SIZE, np.uint8)
    mask[:, : SIZE[1] // 2] = value
    return mask


def put(path: Path, values: np.ndarray) -> Path:
    """Write an image file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)
    return path


def pairs(root: Path, count: int = 4, mask: np.ndarray | None = None) -> Path:
    """Make a data folder of images g0, g1 … with masks of 0 and 1; return it."""
    for i in range(count):
        put(root / "data" / "images" / f"g{i}.png", picture(i))
        put(root / "data" / "masks" / f"g{i}.png", half() if mask is None else mask)
    return root / "data"


def until(stage: str, data: Path, *more: object) -> Command:
    """Return the command that does a data folder up to a stage, in two folds."""
    return [stage, "--data", data, "--out", data.parent / "run", "--folds", 2, *more]


def with_bad(add: Callable[[Path], Any], stage: str, *more: object) -> Callable[[Path, Patch], Command]:
    """Return a maker of four good pairs and what `add` puts into the data folder."""

    def made(root: Path, patch: Patch) -> Command:
        add(pairs(root))
        return until(stage, root / "data", *more)

    return made


def window(
    screen: str | None, *absent: str, present: tuple[str, ...] = (), fault: str = ""
) -> Callable[[Path, Patch], Command]:
    """Return a maker of an audited run, and the command that opens a window of napari on it.

    Args:
        screen: what DISPLAY says; None: nothing.
        absent: packages that can't be imported; of napari itself, an empty module stands there.
        present: further packages of which an empty module stands there.
        fault: what is wrong with a Qt that opens windows.
    """

    def made(root: Path, patch: Patch) -> Command:
        assert main([str(word) for word in until("audit", pairs(root))]) == 0
        for name in ("DISPLAY", "WAYLAND_DISPLAY"):
            patch.delenv(name, raising=False)
        if screen is not None:
            patch.setenv("DISPLAY", screen)
        if fault:
            patch.setattr("maskwright.napari.window.screen_fault", lambda _: "")
            patch.setattr("maskwright.napari.window.binding_fault", lambda: fault)
        for name in ("napari", *present):
            patch.setitem(sys.modules, name, ModuleType(name))
        for name in absent:
            patch.setitem(sys.modules, name, None)
        return ["review", root / "run", "--napari", "--check"]

    return made


def annotated(name: str, text: str) -> Callable[[Path, Patch], Command]:
    """Return a maker of an image g0.png beside an annotation file, and the command that writes the two as folders."""

    def made(root: Path, patch: Patch) -> Command:
        put(root / "data" / "images" / "g0.png", picture(0))
        path = root / "data" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return ["convert", root / "data", root / "out", "--to", "folder"]

    return made


def coco(**fields: Any) -> str:
    """Return a COCO file of g0.png with one polygon; fields of `image`, `item`, `category` and `info` are replaced."""
    image = {"id": 1, "file_name": "g0.png", "height": SIZE[0], "width": SIZE[1]}
    item = {"id": 1, "image_id": 1, "category_id": 1, "segmentation": [[2, 2, 12, 2, 12, 9]]}
    category = {"id": 1, "name": "rock"}
    return json.dumps(
        {
            "info": fields.get("info", {}),
            "images": [image | fields.get("image", {})],
            "annotations": [item | fields.get("item", {})],
            "categories": [category | fields.get("category", {})],
        }
    )


def nothing(data: Path) -> None:
    """The data is good."""


def truncated_image(data: Path) -> None:
    make.truncated_png(data / "images", "bad")
    put(data / "masks" / "bad.png", half())


def text_as_first_mask(data: Path) -> None:
    put(data / "images" / "a.png", picture(9))
    (data / "masks" / "a.png").write_text("not a picture")


def mask_of_another_size(data: Path) -> None:
    make.wrong_size(data / "images", data / "masks", "bad")


def unknown_values(data: Path) -> None:
    (data / "classes.json").write_text(TWO)
    put(data / "images" / "bad.png", picture(9))
    put(data / "masks" / "bad.png", half(7))


def orphan(data: Path) -> None:
    put(data / "masks" / "train" / "g0.png", half())


def rare_category(data: Path) -> None:
    put(data / "images" / "rare.png", picture(9))
    put(data / "masks" / "rare.png", half(2))


def same_stem(data: Path) -> None:
    make.bgr_jpeg(data / "images", "g0")


def same_name_as_pool(data: Path) -> None:
    put(data / "images" / "unlabeled" / "x.png", picture(8))
    put(data / "unlabeled" / "x.png", picture(9))


def odd_names(data: Path) -> None:
    """One name holds `é` as one letter in images/ and as two in masks/, as copies between systems do."""
    name = "dent gauche 牙 é"
    put(data / "images" / f"{unicodedata.normalize('NFC', name)}.png", picture(9))
    put(data / "masks" / f"{unicodedata.normalize('NFD', name)}.png", half())


def linked_files(data: Path) -> None:
    for part, values in (("images", picture(9)), ("masks", half())):
        (data / part / "linked.png").symlink_to(put(data.parent / "store" / part / "x.png", values))


def linked_folders(data: Path) -> None:
    for part, values in (("images", picture(9)), ("masks", half())):
        put(data.parent / "store" / part / "x.png", values)
        (data / part / "day").symlink_to(data.parent / "store" / part)


def broken_link(data: Path) -> None:
    (data / "images" / "bad.png").symlink_to(data / "gone.png")


def looping_file(data: Path) -> None:
    (data / "images" / "bad.png").symlink_to(data / "images" / "bad2.png")
    (data / "images" / "bad2.png").symlink_to(data / "images" / "bad.png")


def looping_folder(data: Path) -> None:
    (data / "images" / "again").symlink_to(data / "images")


def masks_of(values: np.ndarray, stage: str = "split") -> Callable[[Path, Patch], Command]:
    """Return a maker of four pairs with a mask of other values, or as RGB."""
    return lambda root, patch: until(stage, pairs(root, mask=values))


def palette_masks(root: Path, patch: Patch) -> Command:
    data = root / "data"
    for i in range(4):
        put(data / "images" / f"g{i}.png", np.roll(picture(i)[:12, :16], i, 1))
        make.palette_png(data / "masks", f"g{i}")
    return until("audit", data)


def deep_images(root: Path, patch: Patch) -> Command:
    data = pairs(root)
    for i in range(4):
        (data / "images" / f"g{i}.png").unlink()
        tifffile.imwrite(data / "images" / f"g{i}.tif", picture(i).astype(np.uint16) * 16)
    return until("split", data)


def turned(*, upright: bool) -> Callable[[Path, Patch], Command]:
    """Return a maker of four pairs of another size and a photo stored lying, its mask lying or upright."""

    def add(data: Path) -> None:
        make.turned_jpeg(data / "images", data / "masks", "turned", mask_upright=upright)

    return with_bad(add, "split", "--classes", "binary")


def empty_folder(root: Path, patch: Patch) -> Command:
    (root / "data").mkdir()
    return until("audit", root / "data")


def empty_images(root: Path, patch: Patch) -> Command:
    (root / "data" / "images").mkdir(parents=True)
    return until("audit", root / "data")


def one_image(root: Path, patch: Patch) -> Command:
    return until("split", pairs(root, 1))


def file_for_out(root: Path, patch: Patch) -> Command:
    (root / "taken").write_text("a file")
    return ["audit", "--data", pairs(root), "--out", root / "taken"]


def file_above_out(root: Path, patch: Patch) -> Command:
    (root / "taken").write_text("a file")
    return ["evaluate", pairs(root) / "masks", root / "data" / "masks", "--out", root / "taken" / "scores"]


def read_only_out(root: Path, patch: Patch) -> Command:
    """Tests may run as root, whom no mode of a folder stops."""

    def refuse(path: Path, *more: object, **options: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    patch.setattr("maskwright.tasks.open", refuse, raising=False)
    return until("audit", pairs(root))


def full_in_other_words(root: Path, patch: Patch) -> Command:
    def full(*more: object, **options: object) -> None:
        raise pl.exceptions.ComputeError("parquet: underlying IO error: No space left on device (os error 28)")

    patch.setattr(pl.DataFrame, "write_parquet", full)
    return until("audit", pairs(root))


def foreign_out(root: Path, patch: Patch) -> Command:
    (root / "run").mkdir()
    (root / "run" / "thesis.txt").write_text("mine")
    return until("audit", pairs(root))


def interrupted(root: Path, patch: Patch) -> Command:
    def stop(*more: object, **options: object) -> None:
        raise KeyboardInterrupt

    patch.setattr("maskwright.audit.findings.inspect_row", stop)
    return until("audit", pairs(root))


def recipe(text: str) -> Callable[[Path, Patch], Command]:
    """Return a maker of a recipe with a text; FOLDER stands for a good data folder."""

    def made(root: Path, patch: Patch) -> Command:
        (root / "recipe.yaml").write_text(text.replace("FOLDER", str(pairs(root))))
        return ["audit", "--recipe", root / "recipe.yaml", "--out", root / "run"]

    return made


def laughs(levels: int = 9, *, merged: bool = False) -> str:
    """Return YAML of under a kilobyte whose anchors, written out, are 10 ** levels values."""
    lines = ["a0: &a0 {x: 1}" if merged else "a0: &a0 [x]"]
    for i in range(1, levels):
        ten = ", ".join([f"*a{i - 1}"] * 10)
        lines.append(f"a{i}: &a{i} {{<<: [{ten}]}}" if merged else f"a{i}: &a{i} [{ten}]")
    return "\n".join([*lines, f"data: {{root: FOLDER, classes: *a{levels - 1}}}"])


def other_recipe(root: Path, patch: Patch) -> Command:
    assert main([str(word) for word in until("split", pairs(root))]) == 0
    return until("split", root / "data", "--seed", 1)


def finished_run(root: Path, change: Callable[[dict[str, Any]], Any] = lambda state: None) -> Path:
    """Make what `predict` needs of a run folder, one fold, its checkpoint changed; return it."""
    import torch

    from maskwright.checkpoint import KEY, describe
    from maskwright.models import build_model

    categories = (Category(0, "background", values=(0,)), Category(1, "rock", values=(1,)))
    data = DataSpec(root=str(root), categories=categories, channels=1, value_range=(0, 255), mean=(0.5,), std=(0.25,))
    model = UNetSpec(encoder="resnet10t", decoder_channels=(8, 8, 8), encoder_weights="none")
    network = build_model(model, in_channels=1, classes=2)
    state = {f"step.network.{name}": value for name, value in network.state_dict().items()}
    about = describe(model, data, scale=1.0, precision="float32", channels_last=False)
    checkpoint = {"state_dict": state, KEY: about}
    change(checkpoint)
    run = root / "finished"
    for folder in (run / ".tasks", run / "round-0" / "fold-0"):
        folder.mkdir(parents=True)
    (run / "recipe.yaml").write_text(dump_recipe(Recipe(data=data, split={"folds": 1})))
    (run / ".tasks" / "train-fold-0.json").write_text("{}")
    torch.save(checkpoint, run / "round-0" / "fold-0" / "last.ckpt")
    return run


def predicted(
    change: Callable[[dict[str, Any]], Any] = lambda state: None, *, keep: int | None = None, add: Any = None
) -> Callable[[Path, Patch], Command]:
    """Return a maker of a finished run whose checkpoint is changed or cut, and the command that predicts with it."""

    def made(root: Path, patch: Patch) -> Command:
        run, images = finished_run(root, change), pairs(root)
        checkpoint = run / "round-0" / "fold-0" / "last.ckpt"
        checkpoint.write_bytes(checkpoint.read_bytes()[:keep])
        if add is not None:
            add(images)
        return ["predict", run, images / "images", "--out", root / "labels"]

    return made


def no_images_to_predict(root: Path, patch: Patch) -> Command:
    (root / "new").mkdir()
    return ["predict", finished_run(root), root / "new", "--out", root / "labels"]


def no_path_to_predict(root: Path, patch: Patch) -> Command:
    return ["predict", finished_run(root), root / "gone", "--out", root / "labels"]


def sizes_to_evaluate(root: Path, patch: Patch) -> Command:
    data = pairs(root)
    put(root / "labels" / "g0.png", half()[:10])
    for name in ("g1", "g2", "g3"):
        put(root / "labels" / f"{name}.png", half())
    return ["evaluate", root / "labels", data / "masks"]


def trained(data: Path, settings: Sequence[str], *more: object) -> Command:
    """Return the whole command, made small."""
    words = [word for setting in settings for word in ("--set", setting)]
    return ["run", "--data", data, "--out", data.parent / "run", *words, *more]


def call(capsys: pytest.CaptureFixture[str], words: Command) -> tuple[int, str]:
    """Return the exit code of a command and what it says."""
    code = main([str(word) for word in words])
    return code, " ".join(capsys.readouterr().err.split())


def half_written(root: Path) -> list[Path]:
    """Return the temporary files below a folder."""
    return [path for path in root.rglob("*") if ".tmp" in path.name]
