"""How often the rule of adoption chose rightly: out-of-fold gain above 0 against the gain on held-out images.

Looks at every finished run of `few_labels` below --keep that has a round. The rule uses the round where the interval of
its out-of-fold gain lies above 0. It was right if what it chose scores at least as well on the held-out images, which
no training saw, as what it left. Rounds whose held-out interval holds no 0 are a row of their own. The interval of a
share is Wilson's. Beside it stands how often it would have been right to use every round, and none. The first row is of
`maskwright selftrain` as it comes; the methods of others, which the rule may be asked about too, follow. Nothing is
trained.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks import record
from benchmarks.few_label_sets import METHODS, OURS, SETS
from benchmarks.few_labels import add_options, budget_of, named, run_folder, score_of
from benchmarks.record import Row
from benchmarks.rounds import held_out_tables, rule_adopts
from maskwright.artifacts import read_json
from maskwright.statistics import paired_difference


class Choice(NamedTuple):
    """A round, what the rule made of it, and what it was worth.

    Attributes:
        run: name of the folder.
        method: its label.
        adopted: by the rule.
        expected: the out-of-fold gain.
        gain: on the held-out images.
        sure: whether the interval of that gain holds no 0.
    """

    run: str
    method: str
    adopted: bool
    expected: float
    gain: float
    sure: bool

    @property
    def right(self) -> bool:
        """Whether the other choice would not have been better."""
        return self.gain >= 0 if self.adopted else self.gain <= 0

    @property
    def lost(self) -> float:
        """By how much the other choice would have been better."""
        return 0.0 if self.right else abs(self.gain)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks selftrain_choice", description=__doc__)
    add_options(parser)
    arguments = parser.parse_args()
    found = list(choices(arguments))
    if not found:
        parser.error(f"no finished run with a round in {arguments.keep}: run `python -m benchmarks few_labels` first")
    own = [one for one in found if one.method == OURS]
    rows = {OURS: to_row(own), f"{OURS}, told apart on held-out images": to_row([one for one in own if one.sure])}
    for label in dict.fromkeys(one.method for one in found if one.method != OURS):
        rows[label] = to_row([one for one in found if one.method == label])
    rows["all rounds"] = to_row(found)
    told = {named(name, arguments): row for name, row in rows.items() if row is not None}
    record.write("selftrain_choice", record.read("selftrain_choice") | told)


def choices(arguments: argparse.Namespace) -> Iterator[Choice]:
    """Yield what became of every finished run with a round."""
    for name, wanted in SETS.items():
        for share in wanted.shares:
            for label, method in METHODS.items():
                steps = method.steps(budget_of(arguments))
                for seed in arguments.seeds:
                    out = run_folder(arguments, name, share, label, steps, seed)
                    if method.selftrain is not None and out.with_name(f"{out.name}.json").is_file():
                        yield choice_of(out, name, label, arguments.data)


def choice_of(out: Path, name: str, label: str, data: Path) -> Choice:
    """Return what became of the round of a run."""
    wanted = SETS[name]
    before, after = (
        held_out_tables(out, number, data / wanted.folder, wanted.classes, wanted.binary) for number in (0, 1)
    )
    scores = [score_of(wanted, tables[None]) for tables, _ in (after, before)]
    gain = paired_difference(*scores, len(after[1]), groups=after[1], rng=np.random.default_rng(0))
    expected = read_json(out / "round-1" / "adopt.json")["gain"]["value"]
    return Choice(out.name, label, rule_adopts(out), expected, gain.value, not gain.low <= 0 <= gain.high)


def to_row(found: list[Choice]) -> Row | None:
    """Return how often the rule was right, None without a round."""
    if not found:
        return None
    right = sum(one.right for one in found)
    return Row(
        figure=right / len(found),
        unit=f"share of {len(found)} rounds where the rule chose rightly",
        interval=wilson(right, len(found)),
        details={
            "always would be right": sum(one.gain >= 0 for one in found) / len(found),
            "never would be right": sum(one.gain <= 0 for one in found) / len(found),
            "adopted": sum(one.adopted for one in found),
            "adopted and better": sum(one.adopted and one.gain > 0 for one in found),
            "left and not better": sum(not one.adopted and one.gain <= 0 for one in found),
            "mean lost by a wrong choice": float(np.mean([one.lost for one in found if not one.right] or [0.0])),
            "mean gain of always adopting": float(np.mean([one.gain for one in found])),
            "mean gain by the rule": float(np.mean([one.gain if one.adopted else 0.0 for one in found])),
            "rounds": [one._asdict() for one in found],
        },
    )


def wilson(right: int, count: int) -> tuple[float, float]:
    """Return the 95 % interval of a share by Wilson's score.

    Example:
        >>> tuple(round(end, 4) for end in wilson(8, 10))
        (0.4902, 0.9433)
    """
    z = 1.959963985
    share = right / count
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * np.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return float(middle - half), float(middle + half)
