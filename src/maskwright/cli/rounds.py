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
    if "record" in found:
        say(found["record"])


_WORDS = {
    "labelled_only": "labelled images alone",
    "pretrain_finetune": "pretrained on pseudo-labels, then on real ones",
    "mixed": "real and pseudo-labels from the start",
    "pretrain_mixed": "pretrained on pseudo-labels, then on both",
}
"""In the order of source 0's table."""


def print_protocols(found: dict[str, dict[str, Any]], key: str, title: str) -> None:
    """Print a table of protocols.

    Args:
        found: what protocols.json says.
        key: part/metric.
        title: of the table.
    """
    rows = [
        (words, _shown(found[name][key], sign=False), _shown(found[name][f"gain/{key}"], sign=True))
        for name, words in _WORDS.items()
    ]
    table(title, ("protocol", "score", "gain over labelled images alone"), rows)


def say_kept(found: dict[str, dict[str, Any]]) -> None:
    """Print what protocols learned from less than a round is expected to.

    Args:
        found: what protocols.json says.
    """
    for name, words in _WORDS.items():
        if none := [str(one["fold"]) for one in found[name].get("images", ()) if not one["used"]]:
            say(
                f"{words}: fold {', '.join(none)} kept no pseudo-label and learned from labelled images alone, "
                "whatever the table shows; more are kept with another selftrain.method.pixels"
            )


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
