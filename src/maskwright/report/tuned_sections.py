"""How the post-processing was chosen: what it gains, what a naive search would have claimed, what each fold chose."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from maskwright.report.blocks import DASH, Group, Table, percent, plural

_MAIN = ("value", "high", "factor", "pixels", "sigma", "size", "distance")
"""Fields that say how strong a step is; the first that it has is always told."""
_USUAL = {"weights": "gaussian", "edges": "none", "background": 4, "ratio": 0.0, "connectivity": 8}
"""Values that are not told."""

Rows = tuple[Sequence[str], Sequence[Sequence[str]]]


def tuned_group(tuned: Mapping[str, Any]) -> Group:
    """Return the report's part about tuned.json; of a chain that the recipe states, what it is."""
    chain = tuned.get("chain") or []
    words = [f"Adopted: {chain_words(chain)}." if tuned.get("adopted") else _refused(tuned)]
    if tuned.get("fitted_on"):
        words.append(f"Fitted on {tuned['fitted_on']}.")
    tables = []
    if "naive_gain" in tuned:
        words += [vanished(tuned), _agreement(tuned)]
        tables = [
            Table(f"What the chain gains in {tuned['metric']}", *gain_rows(tuned), frozenset({0})),
            Table("What each fold’s search chose on the others", *fold_rows(tuned), frozenset({0, 1})),
            Table("How the search on all folds went", *_trail_rows(tuned), frozenset({0})),
            Table(f"What was tried, {plural(tuned['tried'], 'chain')}", *_tried_rows(tuned), frozenset({0, 3})),
        ]
    elif gain := tuned.get("gain"):
        words.append(f"Gain: {_gain(gain)}.")
    steps = chain or tuned.get("best") or []
    return Group("Post-processing", words, tables, code=json.dumps(steps, indent=1, ensure_ascii=False))


def chain_words(chain: Sequence[Mapping[str, Any]]) -> str:
    """Write a chain in a line.

    Example:
        >>> chain_words([{"kind": "threshold", "value": 0.4}, {"kind": "fill_holes", "pixels": None, "edges": "each"}])
        'threshold 0.4 → fill_holes (edges each)'
        >>> chain_words([])
        'none'
    """
    return " → ".join(map(_step_words, chain)) or "none"


def gain_rows(tuned: Mapping[str, Any]) -> Rows:
    """Return head and rows of the gains: naive, cross-fitted, held out."""
    naive = _value(tuned["naive_gain"])
    rows = []
    for name, key in (
        ("fitted and scored on all folds (naive)", "naive_gain"),
        ("fitted on the other folds (cross-fitted)", "gain"),
        ("fitted on all folds, on the held-out part", "held_out_gain"),
    ):
        if (found := tuned.get(key)) is not None:
            lost = DASH if key == "naive_gain" or not naive > 0 else percent(max(0.0, 1 - _value(found) / naive))
            rows.append((name, _gain(found), lost))
    return ("scored how", "gain", "of the naive gain vanished"), rows


def fold_rows(tuned: Mapping[str, Any]) -> Rows:
    """Return head and rows of the folds' own choices."""
    rows = [
        (str(f["fold"]), chain_words(f["chain"]), _signed(f["inside"]), _signed(f["outside"])) for f in tuned["folds"]
    ]
    return ("fold", "chain", "gain on the others", "gain on the fold"), rows


def vanished(tuned: Mapping[str, Any]) -> str:
    """Say how much of what a naive search claims is left."""
    naive, real, held = _value(tuned["naive_gain"]), _value(tuned["gain"]), tuned.get("held_out_gain")
    if not naive > 0:
        return "No chain gained anything, not even on the images that it was fitted on."
    said = (
        f"A search fitted and scored on the same images claims {_signed(naive)}; on folds that had no part in the "
        f"choice it is {_signed(real)}"
    )
    if math.isnan(real):
        said += ", so how much of it vanishes isn't known"
    else:
        said += f", so {percent(1 - real / naive)} of it vanishes" if real < naive else ", so nothing of it vanishes"
    if held is not None:
        said += f". On the held-out images, which no search saw, the chain gains {_gain(held)}"
    return f"{said}."


def _refused(tuned: Mapping[str, Any]) -> str:
    if tuned.get("gain") is None:
        return "No post-processing was chosen."
    if not tuned.get("best", True):
        return "Not adopted: no step makes it better."
    best = f" of {chain_words(tuned['best'])}" if "best" in tuned else ""
    low, high = (tuned["gain"].get(end) for end in ("low", "high"))
    if low is None or high is None or math.isnan(low) or math.isnan(high):
        return f"Not adopted: the gain{best} has no interval."
    if low > 0 and tuned.get("pq_gain") is not None:
        lost = _gain(tuned["pq_gain"])
        return f"Not adopted: it gains {_gain(tuned['gain'])} in {tuned['metric']}, and {lost} in the PQ of objects."
    why = "its interval lies below 0" if high < 0 else "its interval holds 0"
    return f"Not adopted: the gain{best} is not there: {why}."


def _agreement(tuned: Mapping[str, Any]) -> str:
    folds = tuned["folds"]
    same = round(tuned["agreement"] * len(folds))
    kinds = Counter(kind for fold in folds for kind in {step["kind"] for step in fold["chain"]})
    steps = ", ".join(f"{kind} {number}" for kind, number in kinds.most_common())
    of_steps = f"; how many chose each kind of step: {steps}" if steps else ""
    return f"How stable the choice is: {same} of {plural(len(folds), 'fold')} chose the same chain{of_steps}."


def _trail_rows(tuned: Mapping[str, Any]) -> Rows:
    return ("chain", "naive gain"), [(chain_words(step["chain"]), _signed(step["gain"])) for step in tuned["trail"]]


def _tried_rows(tuned: Mapping[str, Any]) -> Rows:
    rows = []
    for entry in tuned["candidates"]:
        steps = entry["steps"]
        chosen = sum(any(step in steps for step in fold["chain"]) for fold in tuned["folds"])
        rows.append((_kinds(steps), str(entry["number"]), str(chosen), _values(steps)))
    return ("step", "candidates", "folds that chose one", "values"), rows


def _kinds(steps: Sequence[Mapping[str, Any]]) -> str:
    names = dict.fromkeys(step["kind"] for step in steps)
    category = steps[0].get("category")
    return " or ".join(names) + (f" of category {category}" if category is not None else "")


def _values(steps: Sequence[Mapping[str, Any]]) -> str:
    """Return the values of each field that differ between candidates."""
    found = []
    for kind in dict.fromkeys(step["kind"] for step in steps):
        own = [step for step in steps if step["kind"] == kind]
        for field in own[0]:
            values = list(dict.fromkeys(json.dumps(step[field]) for step in own))
            if len(values) > 1 or (len(own) == 1 and field == _main(own[0])):
                found.append(f"{field} {', '.join('any' if v == 'null' else v for v in values)}")
    return "; ".join(found)


def _step_words(step: Mapping[str, Any]) -> str:
    main = _main(step)
    said = f"{step['kind']}" + (f" {step[main]}" if main and step[main] is not None else "")
    others = [
        f"{key} {value}"
        for key, value in step.items()
        if key not in ("kind", main)
        and value is not None
        and not isinstance(value, list)
        and _USUAL.get(key) != value
        and not (step["kind"] == "smooth" and key in ("sigma", "size"))
    ]
    return said + (f" ({', '.join(others)})" if others else "")


def _main(step: Mapping[str, Any]) -> str | None:
    if step["kind"] == "smooth":
        return "size" if step["weights"] == "box" else "sigma"
    return next((name for name in _MAIN if name in step), None)


def _signed(value: float | None) -> str:
    return DASH if value is None or value != value else f"{value:+.4f}"


def _value(found: Mapping[str, Any]) -> float:
    return float("nan") if found["value"] is None else float(found["value"])


def _gain(found: Mapping[str, Any]) -> str:
    value, low, high = (found.get(key) for key in ("value", "low", "high"))
    if low is None or high is None or low != low:
        return _signed(value)
    return f"{_signed(value)} ({_signed(low)} to {_signed(high)})"
