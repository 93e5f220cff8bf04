"""Whether a round pays: the paired interval of its out-of-fold gain over what was best before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from maskwright.recipe.predict import EvaluateSpec
from maskwright.statistics import Interval, Statistic, bootstrap, paired_difference


@dataclass(frozen=True)
class Gain:
    """What a round brought, on the images of all folds.

    Attributes:
        metric: its name.
        before: score of what was best before.
        after: score of the round.
        gain: after − before, paired.
        adopted: whether the round is the one that is used from now on.
        why: in words.
    """

    metric: str
    before: Interval
    after: Interval
    gain: Interval
    adopted: bool
    why: str

    def to_plain(self) -> dict[str, Any]:
        """Return plain data."""
        return {"metric": self.metric, **self.scores(), "adopted": self.adopted, "why": self.why}

    def scores(self) -> dict[str, Any]:
        """Return the intervals of before, after and gain as plain data."""
        return {name: vars(getattr(self, name)) for name in ("before", "after", "gain")}


def weigh(
    before: Statistic,
    after: Statistic,
    groups: Sequence[str],
    metric: str,
    spec: EvaluateSpec,
    *,
    rule: str = "gain",
    seed: int = 0,
) -> Gain:
    """Compare a round with what was best before, both on the same out-of-fold images.

    Args:
        before: the score of the images as the function of their weights.
        after: that of the round, of the same images.
        groups: of the images: what is resampled together.
        metric: what the score is.
        spec: resamples, level.
        rule: gain: adopt where the interval of the gain lies above 0. always: adopt.
        seed: of the bootstrap.
    """
    options: dict[str, Any] = {"groups": groups, "samples": spec.samples, "confidence": spec.confidence}
    alone = [bootstrap(one, len(groups), rng=np.random.default_rng((seed, 7)), **options) for one in (before, after)]
    gain = paired_difference(after, before, len(groups), rng=np.random.default_rng((seed, 7)), **options)
    adopted, why = _verdict(gain, spec.confidence, rule)
    return Gain(metric, alone[0], alone[1], gain, adopted, why)


def _verdict(gain: Interval, confidence: float, rule: str) -> tuple[bool, str]:
    said = f"the out-of-fold gain is {gain.value:+.4f}"
    if rule == "always":
        return True, f"{said}; adopted whatever it is (selftrain.adopt: always)"
    if np.isnan(gain.low):
        return False, f"{said}, and there are too few groups for an interval: not adopted"
    said += f" with a {confidence:.0%} interval of [{gain.low:+.4f}, {gain.high:+.4f}]"
    if gain.low > 0:
        return True, f"{said}, above 0: adopted"
    return False, f"{said}, " + ("below 0: not adopted" if gain.high < 0 else "which holds 0: not adopted")
