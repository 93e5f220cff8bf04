"""The sets and methods that `few_labels` measures, and what a method's passes come to in steps."""

import json
from typing import Any, NamedTuple

import torch
from torch.cpu import get_capabilities

from maskwright.recipe.effort import all_rounds
from maskwright.recipe.selftrain import PseudoLabelsSpec, SelftrainSpec
from maskwright.recipe.unlabelled import OURS as DEFAULT
from maskwright.recipe.unlabelled import OURS_LENGTH
from maskwright.selftrain import scaled_steps


class Method(NamedTuple):
    """A way to learn.

    Attributes:
        selftrain: the recipe's section, `rounds` and `adopt` aside; None: supervised.
    """

    selftrain: dict[str, Any] | None = None

    @property
    def cost(self) -> float:
        """What all trainings of a fold cost together, in supervised ones of as many steps each.

        Labels made beforehand take the supervised training that makes them and the one that learns them, ranked images
        one more between. A teacher that labels while the training runs takes that training, whose steps cost more, and
        the supervised one before where it goes on from that; otherwise that one serves nothing but the rule of
        adoption, and isn't counted.
        """
        if self.selftrain is None:
            return 1.0
        spec = SelftrainSpec.model_validate({**self.selftrain, "rounds": 1})
        return all_rounds(spec) + (isinstance(spec.method, PseudoLabelsSpec) or spec.goes_on)

    def steps(self, budget: int) -> int:
        """Return the steps of each training that the passes of `budget` supervised steps pay for.

        Example:
            >>> ranked = {"method": {"kind": "pseudo_labels", "images": {"kind": "agreement"}}}
            >>> Method().steps(1200), Method({"method": {"kind": "fixmatch"}}).steps(1200), Method(ranked).steps(1200)
            (1200, 360, 400)
        """
        return max(8, int(budget / self.cost) // 8 * 8)  # whole eighths: validated eight times

    def trainings(self, steps: int) -> tuple[int, ...]:
        """Return the steps of the supervised training and of those of the round, one after the other.

        Example:
            >>> Method().trainings(800), METHODS["ST++"].trainings(264), METHODS[OURS].trainings(616)
            ((800,), (264, 264, 264), (616, 154))
        """
        if self.selftrain is None:
            return (steps,)
        spec = SelftrainSpec.model_validate({**self.selftrain, "rounds": 1})
        own = scaled_steps(steps, steps // 8, spec.length)[0]
        again = isinstance(spec.method, PseudoLabelsSpec) and spec.method.relabels
        return (steps, own, own) if again else (steps, own)


def _pseudo(**fields: Any) -> dict[str, Any]:
    return {"method": {"kind": "pseudo_labels", **fields}}


_STRONG = [
    {
        "kind": "colour",
        "probability": 0.8,
        "brightness": 0.25,
        "contrast": 0.5,
        "saturation": 0.5,
        "tint": 0.25,
        "gamma": 0.0,  # ST++'s jitter has none
    },
    {"kind": "grayscale", "probability": 0.2},
    {"kind": "blur", "probability": 0.5, "sigma": [0.1, 2.0]},
]
_GEOMETRY = [{"kind": "flip"}, {"kind": "affine"}]
_ST = {"pixels": {"kind": "all"}, "augment": [*_GEOMETRY, *_STRONG], "mix": [{"kind": "cutout"}]}

SUPERVISED, OURS = "supervised", "ours"
METHODS = {
    SUPERVISED: Method(),
    "ST": Method(_pseudo(**_ST)),
    "ST++": Method(_pseudo(**_ST, images={"kind": "agreement"})),
    "FixMatch": Method({"method": {"kind": "fixmatch", "mix": {"kind": "cutmix"}}}),
    "UniMatch": Method({"method": {"kind": "unimatch"}}),
    OURS: Method({"method": DEFAULT.model_dump(mode="json"), "length": OURS_LENGTH}),
}
"""ST and ST++ (Yang et al. 2022): every pixel, labels of an image and its mirror image, strong variation of images with
pseudo-labels, and a box of half of them cut out. FixMatch as in UniMatch's paper, with pasted boxes. Ours: as it
comes."""


def network(*, accelerator: bool) -> str:
    """Return the setting that chooses the network: one with an encoder, whose features UniMatch drops."""
    small = {"encoder": "resnet10t", "decoder_channels": [64, 48, 32, 24, 16], "output_stride": 2}
    large = {"encoder": "resnet34"}
    chosen = {"kind": "unet", "encoder_weights": "none"} | (large if accelerator else small)
    return f"model={json.dumps(chosen)}"


_HALF = torch.cuda.is_available() or any(get_capabilities().get(name) for name in ("avx512_bf16", "amx_bf16"))
PRECISION = (f"train.precision={'bfloat16' if _HALF else 'float32'}", "train.channels_last=true")
"""Stated, so that no probe on a busy machine trains one method otherwise than the next; a processor that only emulates
bfloat16 takes longer in it than in float32."""


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
