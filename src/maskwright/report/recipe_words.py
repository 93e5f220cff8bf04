"""What was trained, in words: the network, what it minimised, what it was fed, from where it started."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from maskwright.report.blocks import Group, Table, number
from maskwright.report.collect import Artifacts
from maskwright.report.collect import number as to_float

_RULES = {
    "inverse_frequency": "inverse frequency",
    "median_frequency": "median frequency",
    "effective_number": "effective number",
}
_TERM = re.compile(r"loss_(?P<name>.+?)(?:_level_(?P<level>\d+))?(?P<learned>_uncertainty)?")


def trained(artifacts: Artifacts) -> Group | None:
    """Return what was trained on what; None for a recipe that says nothing of it."""
    recipe = artifacts.recipe
    if not recipe.get("model"):
        return None
    rows = [
        ("network", _network(recipe["model"])),
        ("starts from", _start(recipe)),
        *_minimised(recipe),
        *_weights(artifacts.class_weights),
        ("augmentation", _listed(recipe.get("augment"), _chance) or "none"),
        ("mixing of two images", _listed(recipe.get("mix"), _mixture) or "none"),
        ("which images come", _sampling(recipe.get("sampling") or {})),
        ("steps of a fold", _steps(recipe.get("train") or {})),
    ]
    tables = [Table("What was trained, and on what", ("", ""), rows, frozenset({0, 1}))]
    return Group("What was trained", tables=[*tables, *_terms(artifacts)])


def _network(model: Mapping[str, Any]) -> str:
    """Name the network, its encoder, and what was exchanged in it."""
    told = [str(model["kind"]) if model["kind"] != "python" else f"your own, {model.get('target')}"]
    if model.get("form"):
        told.append(f"{model['form']} form")
    if model.get("encoder"):
        told.append(f"encoder {model['encoder']}")
    told += [f"{key} {model[key]}" for key in ("activation", "normalization") if model.get(key)]
    return ", ".join(told)


def _start(recipe: Mapping[str, Any]) -> str:
    older = (recipe.get("train") or {}).get("start")
    if older:
        return f"the networks of {older}"
    weights = recipe["model"].get("encoder_weights", "none")
    if weights in ("none", None) or not recipe["model"].get("encoder"):
        return "random numbers"
    return "pretrained encoder weights" + ("" if weights in ("cached", "auto") else f" of {weights}")


def _minimised(recipe: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the sum that each supervised output minimises."""
    whole, levels = recipe.get("loss") or (), recipe.get("levels") or ()
    if not levels:
        yield "minimises", _sum(whole)
    for place, level in enumerate(levels):
        which = "finest output" if place == 0 else f"output {place + 1}"
        yield f"minimises, {which} (× {level.get('weight', 1):g})", _sum(level.get("loss") or whole)


def _sum(terms: Any) -> str:
    return " + ".join(map(_term, terms)) or "nothing"


def _term(term: Mapping[str, Any]) -> str:
    """Write a term of a loss with its weight, its class weights and what it leaves out."""
    weight = term.get("weight", 1)
    factor = "learned weight × " if weight == "learned" else "" if weight == 1 else f"{weight:g} × "
    notes = []
    if rule := _RULES.get(str(term.get("class_weights"))):
        cap = term.get("class_weight_cap")
        notes.append(f"class weights by {rule}" + (f", at most {cap:g}" if cap else ""))
    elif not isinstance(term.get("class_weights", "none"), str):
        notes.append("class weights by hand")
    if term.get("leave_out"):
        notes.append(f"without {', '.join(term['leave_out'])}")
    if term.get("schedule") in ("growing", "rebalanced"):
        notes.append(f"{term['schedule']} to {term.get('end', 1):g}")
    name = term["target"] if term["kind"] == "python" else term["kind"]
    return f"{factor}{name}" + (f" ({'; '.join(notes)})" if notes else "")


def _weights(found: Mapping[int, tuple[str, ...]]) -> Iterator[tuple[str, str]]:
    """Yield the class weights of each fold, each text once."""
    for fold, lines in found.items():
        for line in dict.fromkeys(lines):
            term, _, weights = line.partition(": ")
            yield f"class weights of {term}, fold {fold}", weights


def _listed(items: Any, write: Any) -> str:
    return ", ".join(write(item) for item in items or ())


def _chance(item: Mapping[str, Any]) -> str:
    """Write an augmentation, with its probability where it has a single one."""
    name = str(item["kind"])
    if name == "for_classes":
        return f"for {', '.join(item.get('classes', ()))}: ({_listed(item.get('augment'), _chance)})"
    chance = item.get("probability")
    if isinstance(chance, Mapping):
        return f"{name} ({_scheduled(chance)})"
    return name if chance is None else f"{name} ({100 * chance:g} %)"


def _scheduled(chance: Mapping[str, Any]) -> str:
    end = chance["end"] if chance["then"] is None else chance["then"]
    return f"{100 * chance['start']:g} % at first, {100 * end:g} % at last"


def _mixture(item: Mapping[str, Any]) -> str:
    of = f" of {', '.join(item['classes'])}" if item.get("classes") else ""
    return _chance(item) + of


def _sampling(item: Mapping[str, Any]) -> str:
    """Say how often which image comes."""
    kind, classes = item.get("kind", "uniform"), ", ".join(item.get("classes") or ())
    told = {
        "uniform": "each once a turn",
        "oversample": f"those with {classes} {item.get('copies', 1)} times more",
        "repeat_factor": "those with categories that are in few images more often",
        "balanced": f"each category{f' of {classes}' if classes else ''} equally often",
        "rare_class": "those with categories of few pixels more often",
    }.get(kind, str(kind))
    if item.get("isolate"):
        told += f", all other pixels of these set to {item['isolate']}"
    if item.get("centred"):
        told += f"; {100 * item['centred']:g} % of the crops on a pixel of the category"
    return told


def _steps(train: Mapping[str, Any]) -> str:
    told = []
    if train.get("steps"):
        told.append(f"{train['steps']} steps")
    if train.get("batch") and train.get("crop"):
        told.append(f"{train['batch']} crops of {train['crop'][1]} × {train['crop'][0]} pixels each")
    if train.get("optimizer"):
        told.append(f"{train['optimizer']['kind']} with a rate of {train.get('lr', 0.001):g}")
    if train.get("schedule"):
        told.append(f"{train['schedule']['kind']} schedule")
    return ", ".join(told) or "not decided yet"


def _terms(artifacts: Artifacts) -> list[Table]:
    """Return the terms of the loss at the first and the last step that was noted, means over the folds."""
    ends: dict[str, list[tuple[float, float]]] = {}
    for table in artifacts.curves.values():
        for column in (c for c in table.columns if c.startswith("loss_")):
            if len(known := table[column].drop_nulls().drop_nans()):
                ends.setdefault(column, []).append((to_float(known[0]), to_float(known[-1])))
    rows = []
    for column, pairs in ends.items():
        match = _TERM.fullmatch(column)
        assert match is not None, "the pattern takes every such name"
        name = match["name"] + (", what its learned weight adds" if match["learned"] else "")
        first, last = (sum(pair[k] for pair in pairs) / len(pairs) for k in (0, 1))
        rows.append((name, match["level"] or "–", number(first), number(last)))
    caption = "Terms of the loss, times their weights, over the training; means of the folds (output 1 is the finest)"
    return [Table(caption, ("term", "output", "first", "last"), rows)] if rows else []
