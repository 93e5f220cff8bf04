"""The playground of `maskwright demo`: a data folder of drawn scenes with known copies, conflicts and strangers."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypedDict

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

from maskwright.data.scenes import CATEGORIES, Scene, draw_layout, draw_views, render
from maskwright.errors import UsageError, problem
from maskwright.types import Categories

Array = npt.NDArray[Any]

_TURNS: dict[str, Callable[[Array], Array]] = {
    "flip_lr": lambda array: array[:, ::-1],
    "rotate_180": lambda array: array[::-1, ::-1],
    "rotate_90": lambda array: np.rot90(array, -1),
}
"""Transform that brings a planted copy back (a name of `DIHEDRAL`), and what made the copy."""

_EXACT, _ALIENS = 2, 3
_ORIGINALS = _EXACT + len(_TURNS) + 2  # one for the conflict, one for the unlabelled twin
_PLANTED = _EXACT + len(_TURNS) + 1 + _ALIENS  # labelled images that are planted


class Planted(TypedDict):
    """What was hidden in a playground; names are file names without suffix.

    Attributes:
        exact: (image, copy) with the same pixels and the same mask.
        flipped: (image, copy, transform): the transform, one of `DIHEDRAL`, of the copy is the image.
        conflict: (image, copy) with the same pixels; the copy's mask is coarser and lacks an object.
        twins: (labelled image, unlabelled image) with the same pixels.
        aliens: images that show something else, with masks of nothing but category 0.
    """

    exact: list[tuple[str, str]]
    flipped: list[tuple[str, str, str]]
    conflict: list[tuple[str, str]]
    twins: list[tuple[str, str]]
    aliens: list[str]


@dataclass(frozen=True)
class _Entry:
    """One image of the folder: `place` and `kind` are its row in meta.csv."""

    name: str
    place: str
    scene: Scene
    kind: str = "scene"
    labelled: bool = True


def make_playground(
    folder: str | Path,
    *,
    seed: int = 0,
    labelled: int = 64,
    unlabelled: int = 24,
    size: tuple[int, int] = (96, 128),
    planted: bool = True,
) -> Planted:
    """Write a data folder of synthetic scenes: `images/`, `masks/`, `instances/`, `unlabeled/`, meta.csv, classes.json.

    Scenes come in series of up to four pictures of one place (`scene` in meta.csv), seen from other standpoints in
    other light; the unlabelled ones are of other places. Unless `planted` is False, nine of the labelled images and one
    of the unlabelled are copies, conflicts and strangers (`kind` in meta.csv: scene, copy, alien). A copy has a `scene`
    of its own, as if it had been collected twice: only its pixels tell.

    Args:
        folder: made if missing.
        seed: the same arguments give the same bytes.
        labelled: images with masks; at least 16, or 1 if nothing is planted.
        unlabelled: images without; at least 1, or 0 if nothing is planted.
        size: (height, width) in pixels, at least 32 each.
        planted: hide copies, conflicts and aliens among the scenes.

    Returns:
        What was planted where.

    Raises:
        UsageError: if the counts or the size are too small, or if the folder holds other images.
    """
    _check_counts(labelled, unlabelled, size, planted)
    rng = np.random.default_rng(seed)
    entries = _series(labelled - planted * _PLANTED, "s", size, rng)
    pool = [replace(entry, labelled=False) for entry in _series(unlabelled - planted, "u", size, rng)]
    answers = Planted(exact=[], flipped=[], conflict=[], twins=[], aliens=[])
    if planted:
        entries += _plant(entries, len(pool), size, answers, rng)
    entries += pool
    _check_folder(Path(folder), entries)
    for entry in entries:
        _write_images(Path(folder), entry)
    _write_tables(Path(folder), entries)
    return answers


def _check_counts(labelled: int, unlabelled: int, size: tuple[int, int], planted: bool) -> None:
    least = (_PLANTED + _ORIGINALS, 1) if planted else (1, 0)
    if labelled < least[0] or unlabelled < least[1] or min(size) < 32:
        raise UsageError(
            problem(
                f"at least {least[0]} labelled and {least[1]} unlabelled images of 32×32 pixels or more",
                f"{labelled} and {unlabelled} of {size[0]}×{size[1]}",
                where="make_playground",
                next_move="ask for more, or for planted=False",
            )
        )


def _check_folder(root: Path, entries: list[_Entry]) -> None:
    """Make sure that no image of something else is mixed in."""
    known = {path for entry in entries for path in _paths(root, entry)}
    present = [p for part in ("images", "masks", "instances", "unlabeled") for p in (root / part).rglob("*")]
    if strangers := sorted(path for path in present if path.is_file() and path not in known):
        raise UsageError(
            problem(
                "an empty folder or an earlier playground of the same size",
                f"{len(strangers)} other files, such as {strangers[0].relative_to(root)}",
                where=str(root),
                next_move="choose another folder",
            )
        )


def _paths(root: Path, entry: _Entry) -> list[Path]:
    parts = ("images", "masks", "instances") if entry.labelled else ("unlabeled",)
    return [root / part / f"{entry.name}.png" for part in parts]


def _series(count: int, prefix: str, size: tuple[int, int], rng: np.random.Generator) -> list[_Entry]:
    """Return `count` scenes of as many places as it takes, three or four of each; places are s01, s02 …"""
    entries: list[_Entry] = []
    number = 0
    while len(entries) < count:
        number += 1
        place, layout = f"{prefix}{number:02d}", draw_layout(rng)
        views = draw_views(int(rng.integers(3, 5)), rng)
        scenes = [render(layout, view, size, rng) for view in views[: count - len(entries)]]
        entries += [_Entry(f"{place}_{frame}", place, scene) for frame, scene in enumerate(scenes, start=1)]
    return entries


def _plant(
    entries: list[_Entry], pooled: int, size: tuple[int, int], answers: Planted, rng: np.random.Generator
) -> list[_Entry]:
    """Return the planted images for a folder that holds `entries`, and fill in the `answers`."""
    places = len({entry.place for entry in entries})
    planted: list[_Entry] = []

    def add(scene: Scene, kind: str) -> str:
        place = f"s{places + len(planted) + 1:02d}"
        planted.append(_Entry(f"{place}_1", place, scene, kind))
        return planted[-1].name

    rich = int(np.argmax([len(np.unique(entry.scene.instances)) for entry in entries]))  # can lose an object
    others = rng.permutation([position for position in range(len(entries)) if position != rich])
    originals = [entries[position] for position in others[: _ORIGINALS - 1]]
    for entry in originals[:_EXACT]:
        answers["exact"].append((entry.name, add(entry.scene, "copy")))
    for entry, (back, turn) in zip(originals[_EXACT:-1], _TURNS.items(), strict=True):
        answers["flipped"].append((entry.name, add(_turned(entry.scene, turn), "copy"), back))
    answers["conflict"].append((entries[rich].name, add(_coarse(entries[rich].scene), "copy")))
    nothing = np.zeros(size, np.uint8)
    for _ in range(_ALIENS):
        answers["aliens"].append(add(Scene(_chart(size, rng), nothing, nothing.astype(np.uint16)), "alien"))
    twin = _Entry(f"u{pooled + 1:02d}_1", f"u{pooled + 1:02d}", originals[-1].scene, "copy", labelled=False)
    answers["twins"].append((originals[-1].name, twin.name))
    return [*planted, twin]


def _turned(scene: Scene, turn: Callable[[Array], Array]) -> Scene:
    return Scene(*(np.ascontiguousarray(turn(array)) for array in (scene.image, scene.mask, scene.instances)))


def _coarse(scene: Scene) -> Scene:
    """Return the scene as a hurried annotator sees it: convex outlines, one of the two largest objects forgotten."""
    instances = np.zeros_like(scene.instances)
    things = scene.instances > 0
    nearest = ndimage.distance_transform_edt(things, return_distances=False, return_indices=True)
    mask = scene.mask[tuple(nearest)]
    sizes = np.bincount(scene.instances.ravel())[1:]
    forgotten = int(np.argsort(sizes)[-2:][0]) + 1
    for number in [n for n in range(1, len(sizes) + 1) if n != forgotten]:
        where = scene.instances == number
        hull = cv2.convexHull(np.argwhere(where)[:, ::-1].astype(np.int32))
        filled = cv2.fillPoly(np.zeros(where.shape, np.uint8), [hull], 1) > 0
        mask[filled], instances[filled] = scene.mask[where][0], number
    numbers = np.unique(np.append(instances, 0), return_inverse=True)[1]  # the 0 makes sure that 0 stays 0
    return Scene(scene.image, mask, numbers[:-1].reshape(mask.shape).astype(np.uint16))


def _chart(size: tuple[int, int], rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Return a picture that isn't of this world, (H, W, 3) uint8: a camera test card with bars, wedge and rings."""
    height, width = size
    card = np.full((height, width, 3), rng.integers(90, 200), np.uint8)
    colors = rng.permutation(
        [(235, 235, 235), (235, 235, 16), (16, 235, 235), (16, 235, 16), (235, 16, 235), (16, 16, 235)]
    )
    top = int(height * rng.uniform(0.3, 0.6))
    edges = np.linspace(0, width, len(colors) + 1).astype(int)
    for left, right, color in zip(edges, edges[1:], colors, strict=False):
        card[:top, left:right] = color
    card[-height // 8 :] = np.linspace(0, 255, width, dtype=np.uint8)[:, None]
    center = tuple(rng.integers((width // 4, top), (3 * width // 4, height - height // 8)).tolist())
    for radius in range(height // 3, 1, -max(height // 16, 2)):
        cv2.circle(card, center, radius, (20, 20, 20), 1)
    cv2.line(card, (0, top), (width, height), (20, 20, 20), 1)
    return card


def _write_images(root: Path, entry: _Entry) -> None:
    scene = entry.scene
    mask = Image.fromarray(scene.mask)
    mask.putpalette(Categories(CATEGORIES).palette().tobytes())
    pictures = (Image.fromarray(scene.image), mask, Image.fromarray(scene.instances))
    for path, picture in zip(_paths(root, entry), pictures, strict=False):  # unlabelled: the image only
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(path)


def _write_tables(root: Path, entries: list[_Entry]) -> None:
    with (root / "meta.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("name", "scene", "kind"))
        writer.writerows((entry.name, entry.place, entry.kind) for entry in entries)
    categories = [{"id": c.id, "name": c.name, "color": list(c.color), "isthing": c.isthing} for c in CATEGORIES]
    text = json.dumps({"categories": categories}, indent=2)
    (root / "classes.json").write_text(text + "\n", encoding="utf-8")
