"""What the rounds of self-training came to, as lines."""

from __future__ import annotations

from typing import Any

from maskwright.cli.console import say, table


def say_rounds(found: dict[str, Any]) -> None:
    """Print what the rounds came to.

    Args:
        found: what adopted.json says.
    """
    rows = [
        (str(one["round"]), *(_shown(one[key], sign=key == "gain") for key in ("before", "after", "gain")), _kept(one))
        for one in found["rounds"]
    ]
    if rows:
        metric = found["rounds"][0]["metric"]
        table(f"Rounds: {metric} out of fold", ("round", "before", "after", "gain", "pixels kept"), rows)
    for one in found["rounds"]:
        for name, folds in one.get("never_predicted", {}).items():
            where = f"fold {', '.join(map(str, folds))}"
            say(f"round {one['round']}: {name} is predicted nowhere in the pool by the network of {where}")
    say(found["why"])


def _shown(interval: dict[str, float | None], *, sign: bool) -> str:
    form = "+.4f" if sign else ".4f"
    value, low, high = (interval[key] for key in ("value", "low", "high"))
    if value is None:
        return "–"
    return f"{value:{form}}" + ("" if low is None or high is None else f" [{low:{form}}, {high:{form}}]")


def _kept(one: dict[str, Any]) -> str:
    shares = [(label["predicted"], label["kept"]) for label in one.get("labels", ())]
    known = [(share, kept) for share, kept in shares if share is not None and kept is not None]
    return f"{sum(s * k for s, k in known) / sum(s for s, _ in known):.0%}" if known else "–"
