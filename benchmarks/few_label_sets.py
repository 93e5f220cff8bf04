"""The sets and methods that `few_labels` measures, and what a method's passes come to in steps."""

import json
from typing import Any, NamedTuple

from maskwright.recipe.selftrain import SelftrainSpec

UNIT = 3
"""What a labelled crop costs in a supervised step: one forward pass, and a backward pass that costs as much as two."""


class Method(NamedTuple):
    """A way to learn.

    Attributes:
        selftrain: the recipe's section, `rounds` and `adopt` aside; None: supervised.
        trainings: of equal length that it takes for each fold, all of which count; of a teacher that labels while it
            trains, the one training that is used (its round 0 serves nothing but the rule of adoption).
    """

    selftrain: dict[str, Any] | None = None
    trainings: int = 1

    def steps(self, budget: int) -> int:
        """Return the steps of each training that the passes of `budget` supervised steps pay for.

        Example:
            >>> Method().steps(360), Method({}, 2).steps(360), Method({}, 3).steps(360)
            (360, 176, 120)
        """
        if self.selftrain is None:
            return budget
        method = SelftrainSpec.model_validate(self.selftrain).method
        passes = getattr(method, "passes", None)  # of what a teacher labels while the training runs
        cost = 1.0 if passes is None else (passes.forward + 2 * passes.backward) / UNIT
        return max(8, int(budget / self.trainings / cost) // 8 * 8)  # whole eighths: validated eight times


def _pseudo(**fields: Any) -> dict[str, Any]:
    return {"method": {"kind": "pseudo_labels", **fields}}


_STRONG = [
    {"kind": "colour", "probability": 0.8, "brightness": 0.25, "contrast": 0.5, "saturation": 0.5, "tint": 0.25},
    {"kind": "grayscale", "probability": 0.2},
    {"kind": "blur", "probability": 0.5, "sigma": [0.1, 2.0]},
]
_GEOMETRY = [{"kind": "flip"}, {"kind": "affine"}]

SUPERVISED, OURS = "supervised", "ours"
METHODS = {
    SUPERVISED: Method(),
    "ST": Method(_pseudo(pixels={"kind": "all"}, augment=[*_GEOMETRY, *_STRONG]), 2),
    "ST++": Method(_pseudo(pixels={"kind": "all"}, images={"kind": "agreement"}, augment=[*_GEOMETRY, *_STRONG]), 3),
    "FixMatch": Method({"method": {"kind": "fixmatch"}}),
    "UniMatch": Method({"method": {"kind": "unimatch"}}),
    OURS: Method({}, 2),
}
"""ST and ST++ (Yang et al. 2022): every pixel, strong variation of images with pseudo-labels; ours: the defaults."""


def network(*, accelerator: bool) -> str:
    """Return the setting that chooses the network: one with an encoder, whose features UniMatch drops."""
    small = {"encoder": "resnet10t", "decoder_channels": [128, 64, 48, 32, 16], "output_stride": 2}
    large = {"encoder": "resnet34"}
    chosen = {"kind": "unet", "encoder_weights": "none"} | (large if accelerator else small)
    return f"model={json.dumps(chosen)}"


PRECISION = ("train.precision=bfloat16", "train.channels_last=true")
"""Stated, so that no probe on a busy machine trains one method otherwise than the next."""


class Set(NamedTuple):
    """Data of which only a share of the labels is learned from.

    Attributes:
        folder: in the data folder.
        options: of the command line.
        rule: name in `parts.RULES`, or of `few_labels`.
        classes: number of categories.
        binary: whether everything but 0 is foreground.
        shares: of the labels.
        settings: of the recipe.
        held_out: what the names of the held-out images begin with; empty: as the options say.
    """

    folder: str
    options: list[str]
    rule: str
    classes: int
    binary: bool
    shares: tuple[str, ...]
    settings: tuple[str, ...]
    held_out: str = ""


SETS = {
    "mars_gray": Set(
        "mars_gray",
        ["--group", "sol", "--leave-out", "background", "--holdout", "0.3"],
        "terrain",
        5,
        False,
        ("1/16", "1/8"),
        ("train.scale=1", "train.crop=[64, 128]", "train.batch=8"),
    ),
    "teeth": Set(
        "teeth",
        ["--classes", "binary", "--holdout", "0.3"],
        "mean_dice",
        2,
        True,
        ("1/16", "1/8"),
        ("train.scale=[128, 128]", "train.crop=[128, 128]", "train.batch=4"),
    ),
    "camvid": Set(
        "camvid",
        ["--ignore", "void", "--group-regex", r"^(.*)\d\d$"],  # some four frames, which follow one another
        "void_left_out",
        12,
        False,
        ("1/8",),
        ("train.scale=0.3334", "train.crop=[128, 160]", "train.batch=4"),
        held_out="0006R0",
    ),
}
