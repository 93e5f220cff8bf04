"""The rows that `parts` measures: which recipe, compared with which."""

import json
from typing import Any, NamedTuple


class Part(NamedTuple):
    """A recipe of a table.

    `settings`: on top of the table's own; `against`: label of the row that it is compared with.
    """

    settings: tuple[str, ...] = ()
    against: str | None = None


class Table(NamedTuple):
    """Recipes that are compared with one another on one set."""

    folder: str
    options: list[str]
    rules: tuple[str, ...]
    classes: int
    binary: bool
    steps: int
    settings: tuple[str, ...]
    parts: dict[str, Part]


def _set(key: str, value: Any) -> str:
    return f"{key}={json.dumps(value)}"


_CE = _set("loss", [{"kind": "cross_entropy"}])
_RULE = {"class_weights": "median_frequency", "class_weight_cap": 10}
_WEIGHTED = {"kind": "cross_entropy", **_RULE}
_MIXES = {"high": (0.2, 0.5, 0.3), "inter": (0.3, 0.5, 0.2), "low": (0.4, 0.0, 0.6)}
"""Table 3 of source 2: focal, Dice, boundary."""


def _levels(more: dict[str, Any]) -> str:
    """Return source 2's levels: high .4, inter .5, low .1, each with its own mix; `more`: on its focal terms."""
    levels = []
    for weight, (focal, dice, boundary) in zip((0.4, 0.5, 0.1), _MIXES.values(), strict=True):
        terms: list[dict[str, Any]] = [{"kind": "focal", "weight": focal, **_RULE, **more}]
        terms += [{"kind": "dice", "weight": dice}] if dice else []
        terms.append({"kind": "kervadec_boundary", "weight": boundary})
        levels.append({"weight": weight, "loss": terms})
    return _set("levels", levels)


_ASPP = _set("model", {"kind": "aspp_unet", "depth": 3, "width": 16})
_WNET = _set("model", {"kind": "wnet", "form": "simplified", "width": 16})
_FALLING = {"start": 0.4, "end": 0.0, "over": [0, 29 / 30]}
"""Source 1: .4, falling to nothing before the last five of 150 epochs."""


def _augmented(more: dict[str, Any]) -> str:
    return _set("augment", [{"kind": "flip", "vertical": 0.5}, {"kind": "affine"}, {"kind": "colour"}, more])


_OVERSAMPLED = _set(
    "sampling", {"kind": "oversample", "classes": ["big_rock"], "isolate": "background", "copies": 3, "centred": 0.5}
)
_LEFT_OUT = {"leave_out": ["background"]}
_CE_LEFT_OUT = _set("loss", [{"kind": "cross_entropy", **_LEFT_OUT}])
_MARS = ["--group", "sol", "--leave-out", "background", "--holdout", "0.3"]
_MARS_SETTINGS = ("train.scale=1", "train.batch=8", "train.threads=1")

TABLES: dict[str, Table] = {
    "losses": Table(
        "mars_gray",
        _MARS,
        ("terrain", "keras"),
        5,
        False,
        600,
        (*_MARS_SETTINGS, _WNET),
        {
            "CE": Part((_CE,)),
            "+ class weights": Part((_set("loss", [_WEIGHTED]),), "CE"),
            "+ focal, Dice, boundary by level": Part((_levels({}),), "+ class weights"),
            "+ oversampling": Part((_levels({}), _OVERSAMPLED), "+ focal, Dice, boundary by level"),
            "+ class 0 left out": Part((_levels(_LEFT_OUT), _OVERSAMPLED), "+ oversampling"),
            "CE, class 0 left out": Part((_CE_LEFT_OUT,), "CE"),
        },
    ),
    "networks": Table(
        "mars_gray",
        _MARS,
        ("terrain", "keras"),
        5,
        False,
        600,
        _MARS_SETTINGS,
        {
            "U-Net": Part((_set("model", {"kind": "custom_unet", "depth": 3, "width": 16}),)),
            "U-Net with ASPP": Part((_ASPP,), "U-Net"),
            "U-Net with ASPP, class 0 left out": Part((_ASPP, _CE_LEFT_OUT), "U-Net with ASPP"),
            "WNet, simplified": Part((_WNET,), "U-Net"),
        },
    ),
    "inputs": Table(
        "glas",
        ["--classes", "binary", "--group", "patient ID", "--holdout", "0.3"],
        ("mean_dice",),
        2,
        True,
        400,
        (
            _set("model", {"kind": "unet", "encoder": "resnet10t", "output_stride": 1}),
            "train.batch=4",
            "train.threads=1",
        ),
        {
            "plain": Part(
                (_set("augment", [{"kind": "flip", "vertical": 0.5}, {"kind": "affine"}, {"kind": "colour"}]),)
            ),
            "stain inputs": Part((_augmented({"kind": "stain", "norm": 0.15, "hematoxylin": 0.1}),), "plain"),
            "auto-augmentation": Part((_augmented({"kind": "auto_augment", "probability": _FALLING}),), "plain"),
            "deep supervision": Part((_set("levels", [{"weight": w} for w in (1, 1 / 4, 1 / 16)]),), "plain"),
        },
    ),
    "cutmix at 1/8 of the labels": Table(
        "mars_gray",
        _MARS,
        ("terrain", "keras"),
        5,
        False,
        600,
        (*_MARS_SETTINGS, "split.labelled=1/8"),
        {
            "without": Part(),
            "with CutMix": Part((_set("mix", [{"kind": "cutmix", "probability": 0.5}]),), "without"),
        },
    ),
}
