"""Whether a round pays: the paired interval of its out-of-fold gain over what was best before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from maskwright.evaluate import statistic_of
from maskwright.metrics import Counts, EmptyCases
from maskwright.recipe.predict import EvaluateSpec
from maskwright.statistics import Interval, bootstrap, paired_difference
from maskwright.types import Categories


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
        intervals = {name: vars(getattr(self, name)) for name in ("before", "after", "gain")}
        return {"metric": self.metric, **intervals, "adopted": self.adopted, "why": self.why}


def weigh(
    before: Counts,
    after: Counts,
    groups: Sequence[str],
    metric: str,
    categories: Categories,
    spec: EvaluateSpec,
    *,
    rule: str = "gain",
    seed: int = 0,
) -> Gain:
    """Compare a round with what was best before, both on the same out-of-fold images.

    Args:
        before: (images, C) counts.
        after: those of the round, of the same images.
        groups: of the images: what is resampled together.
        metric: name of a summary.
        categories: what the columns are.
        spec: empty cases, resamples, level.
        rule: gain: adopt where the interval of the gain lies above 0. always: adopt.
        seed: of the bootstrap.
    """
    cases = EmptyCases.of(spec)
    old, new = (statistic_of(counts, metric, categories.evaluated, cases) for counts in (before, after))
    options: dict[str, Any] = {"groups": groups, "samples": spec.samples, "confidence": spec.confidence}
    alone = [bootstrap(one, len(groups), rng=np.random.default_rng((seed, 7)), **options) for one in (old, new)]
    gain = paired_difference(new, old, len(groups), rng=np.random.default_rng((seed, 7)), **options)
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
