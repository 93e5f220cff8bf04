"""The domains that `adaptation` measures on: day and dusk of a camera, and a drawn world and another like it."""

import csv
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from maskwright.data.index import Index, build_index
from maskwright.data.scenes import CATEGORIES, Layout, View, draw_layout, draw_views, render
from maskwright.recipe.data import DataSpec

STRONG = (
    "augment=[{kind: flip}, {kind: affine, probability: 1.0, rotate: 5, scale: [0.75, 1.5]}, "
    "{kind: colour, probability: 0.8, brightness: 0.3, contrast: 0.5, saturation: 0.5, tint: 0.3, gamma: 0.5}, "
    "{kind: grayscale, probability: 0.2}, {kind: blur, probability: 0.3}, {kind: noise, probability: 0.3, "
    "sigma: [0.0, 0.08]}]"
)
"""Strong augmentation, of every row."""


@dataclass(frozen=True)
class Domains:
    """What is learned from and scored on.

    Attributes:
        data: the source's data section.
        source: labelled.
        pool: of the target; its labels are used by the upper end alone.
        test: of the target, labelled.
        groups: of the test images.
    """

    data: DataSpec
    source: Index
    pool: Index
    test: Index
    groups: list[str]


@dataclass(frozen=True)
class Set:
    """A pair of domains and how networks are trained on it.

    Attributes:
        name: of its folders.
        domains: (folder of the data sets, folder to write into) → its images.
        steps: of the first and the second training.
        settings: of both.
        second: of the second.
        sac: its method.
        extras: its method with more.
    """

    name: str
    domains: Callable[[Path, Path], Domains]
    steps: tuple[int, int]
    settings: tuple[str, ...]
    second: tuple[str, ...]
    sac: str
    extras: str


def camvid(data: Path, out: Path) -> Domains:
    """Return day → dusk: the first half of the dusk sequence is the pool, its last quarter the test, a gap between."""
    root, out = data / "camvid", out / "camvid"
    with (root / "meta.csv").open(newline="") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: row["name"])
    dusk = [row for row in rows if row["sequence"] == "0001TP"]
    parts = {
        "source": [row for row in rows if row["domain"] == "day"],
        "pool": dusk[: len(dusk) // 2],
        "test": dusk[len(dusk) - len(dusk) // 4 :],
    }
    for part, chosen in parts.items():
        for row in chosen:
            for kind, suffix in (("images", "jpg"), ("masks", "png")):
                _link(root / kind / row["split"] / f"{row['name']}.{suffix}", out / part / kind)
        _link(root / "classes.json", out / part)
    return _domains(out, ignore=(11,), group=_runs_of_three)


def scenes(data: Path, out: Path) -> Domains:
    """Return drawn scenes → scenes of other places with other textures, light and noise."""
    out = out / "scenes"
    if not (out / "made").is_file():
        rng = np.random.default_rng(7)
        for part, places, change in (("source", 40, None), ("pool", 20, other_world), ("test", 12, other_world)):
            for place in range(places):
                layout = draw_layout(rng)
                for number, view in enumerate(draw_views(3, rng)):
                    seen = (layout, view) if change is None else change(layout, view, np.random.default_rng(place))
                    scene = render(*seen, (96, 128), rng)
                    for kind, array in (("images", scene.image), ("masks", scene.mask)):
                        (out / part / kind).mkdir(parents=True, exist_ok=True)
                        Image.fromarray(array).save(out / part / kind / f"p{place:02d}_{number}.png")
            names = {str(category.id): category.name for category in CATEGORIES}
            (out / part / "classes.json").write_text(json.dumps(names))
        (out / "made").touch()
    return _domains(out, ignore=(), group=lambda name, number: name.split("_")[0])


def other_world(layout: Layout, view: View, rng: np.random.Generator) -> tuple[Layout, View]:
    """Return the same place with coarser textures and other rock, under a weak blue light, by a poorer camera.

    Args:
        layout: the place.
        view: of it.
        rng: draws which way the ground slopes.
    """
    light = np.array([0.5, 0.62, 0.85], np.float32)
    stripes = np.sin(np.arange(512, dtype=np.float32) / 6)[None, :].repeat(512, 0)
    changed = replace(
        layout,
        sky=layout.sky[[2, 1, 0]] * light,
        ground=layout.ground * light,
        water=layout.water * light,
        texture=(0.6 * np.roll(layout.texture, 100, 0) + 1.2 * stripes).astype(np.float32),
        items=tuple(replace(item, color=item.color[[2, 0, 1]] * np.float32(0.9) * light) for item in layout.items),
    )
    seen = replace(
        view,
        exposure=view.exposure * 0.75,
        slope=view.slope + float(rng.choice([-0.5, 0.5])),
        haze=min(0.9, view.haze + 0.25),
        blur=view.blur + 0.7,
        noise=view.noise * 2.5,
    )
    return changed, seen


def _domains(out: Path, *, ignore: tuple[int, ...], group: Callable[[str, int], str]) -> Domains:
    source, section, _ = build_index(DataSpec(root=str(out / "source"), ignore=ignore))
    pool, test = (
        replace(build_index(DataSpec(root=str(out / part), ignore=ignore))[0], categories=source.categories)
        for part in ("pool", "test")
    )
    groups = [group(Path(image).stem, number) for number, image in enumerate(test.images)]
    return Domains(section, source, pool, test, groups)


def _runs_of_three(name: str, number: int) -> str:
    return f"frames {number // 3}"


def _link(file: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / file.name).exists():
        (folder / file.name).symlink_to(file.resolve())


_BASE = (
    STRONG,
    "model.encoder=resnet18",
    "model.encoder_weights=none",
    "train.accelerator=cpu",
    "train.threads=1",
    "train.workers=0",
)
_SAC = (
    "{kind: sac, batch: 2, teacher_every: 5, teacher_momentum: 0.95, weight: 2, ramp: {shape: linear, until: 0.2}, "
    "adapt_norm: false"
)
"""Shorter trainings than the thesis's: the teacher follows within some hundred steps. The one before has adapted batch
norm."""
_EXTRAS = ", mix: {kind: classmix, probability: 0.5}, masked: {block: 32, weight: 0.5}}"

SETS = {
    "camvid": Set(
        "camvid",
        camvid,
        (480, 200),
        (*_BASE, "model.decoder_channels=[64, 32, 16]", "train.scale=0.5", "train.crop=[160, 224]", "train.batch=4"),
        ("train.lr=3e-4",),
        _SAC + "}",
        _SAC + _EXTRAS,
    ),
    "scenes": Set(
        "scenes",
        scenes,
        (600, 400),
        (*_BASE, "model.decoder_channels=[64, 32, 16]", "train.scale=1", "train.crop=[96, 128]", "train.batch=4"),
        ("train.lr=3e-4",),
        _SAC + "}",
        _SAC + _EXTRAS,
    ),
}
