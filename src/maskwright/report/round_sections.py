"""What was learned from images without labels: what each round brought, what it learned from, and which one is used."""

from __future__ import annotations

from typing import Any

from maskwright.report.blocks import DASH, Chart, Group, Section, Table, between, count, percent, plural
from maskwright.report.collect import Artifacts
from maskwright.report.collect import number as to_float
from maskwright.report.compared_sections import compared, made_with_truth, number_chart
from maskwright.report.gallery import Gallery
from maskwright.report.words import metric_name


def rounds(artifacts: Artifacts, gallery: Gallery, thumbnails: int) -> Section | None:
    """Return what the rounds came to, None where there were none."""
    found = artifacts.selftrain
    if found is None:
        return None
    words = [f"{one[:1].upper()}{one[1:]}." for one in (found["why"], found.get("record")) if one]
    if any(one["method"] == "pseudo_labels" and one["protocol"] != "labelled_only" for one in found["rounds"]):
        words.append(
            "In a round each fold's network labels the images without masks for its own fold alone: every other one "
            "was trained on the masks that this fold is scored by."
        )
    if found["round"] and found["rounds"][found["round"] - 1].get("rule") != "always":
        words.append("The round was adopted by the out-of-fold scores that stand here: a little optimistic.")
    shapes = (artifacts.tuned or {}).get("ways", {}).get("all", {}).values()
    if found["rounds"] and any(distance is not None for distance in shapes):
        words.append(
            "Rounds are judged by the objects that embeddings part; the other scores of this report are of what is "
            "used, where shape parts some."
        )
    words += made_with_truth(artifacts)
    moved = max((one.get("scored_by_round_0", 0) for one in found["rounds"]), default=0)
    if moved:
        words.append(
            f"{plural(moved, 'image')} with low scores (and their groups) were moved into the training of their own "
            "fold: out of fold they are scored by the network of round 0, which has not seen them."
        )
    words += [_networks(one) for one in found["rounds"] if one.get("networks")]
    tables = [_gains(found["rounds"]), *_objects(found["rounds"])]
    groups = (
        [Group("What each round brought", tables=tables, charts=_chart(found["rounds"]))] if found["rounds"] else []
    )
    groups += compared(artifacts, gallery, thumbnails)
    groups += [_labels(one, artifacts.labelling.get(one["round"])) for one in found["rounds"] if one.get("labels")]
    return Section("rounds", "Learning from images without masks", words, groups)


_WHOSE = {"all": "the network of all things", "together": "that of its group", "each": "one of its own"}


def _networks(verdict: dict[str, Any]) -> str:
    """Return which network each thing has, where a round chose."""
    named = [f"{thing} {_WHOSE[level]}" for thing, level in verdict["networks"].items()]
    return f"In round {verdict['round']} each thing has the network that tells it best out of fold: {', '.join(named)}."


def _gains(verdicts: list[dict[str, Any]]) -> Table:
    rows = [
        (
            str(one["round"]),
            f"{one['method']}, {one['protocol']}",
            metric_name(one["metric"]),
            *(between(one[key]) for key in ("before", "after", "gain")),
            "adopted" if one["adopted"] else "not adopted",
        )
        for one in verdicts
    ]
    names = ("round", "how", "metric", "before", "after", "gain (paired)", "")
    return Table("Out-of-fold scores, without post-processing", names, rows, frozenset({0, 1, 2, 6}))


_NUMBERS = {"true_objects": "true objects an image", "false_objects": "false objects an image"}
_OBJECTS = {"sq": "SQ", "rq": "RQ", "ap": "AP"} | _NUMBERS


def _objects(verdicts: list[dict[str, Any]]) -> list[Table]:
    """Return what became of objects, nothing where they aren't told apart."""
    rows = [
        (str(one["round"]), words, *(between(scores[key]) for key in ("before", "after", "gain")))
        for one in verdicts
        for name, words in _OBJECTS.items()
        if (scores := one.get("also", {}).get(name))
    ]
    names = ("round", "score", "before", "after", "gain (paired)")
    return (
        [Table("Out-of-fold objects, of which the round is adopted by PQ alone", names, rows, frozenset({0, 1}))]
        if rows
        else []
    )


def _chart(verdicts: list[dict[str, Any]]) -> list[Chart]:
    """Return the true and the false out-of-fold objects over the rounds, nothing where they aren't told apart."""
    if not all(name in one.get("also", {}) for one in verdicts for name in _NUMBERS):  # of an earlier version, too
        return []
    steps = [verdicts[0]["round"] - 1, *(one["round"] for one in verdicts)]
    known = {name: [one["also"][name] for one in verdicts] for name in _NUMBERS}
    found = {
        name: [to_float(own[0]["before"]["value"]), *(to_float(one["after"]["value"]) for one in own)]
        for name, own in known.items()
    }
    return [number_chart({_NUMBERS[name]: (steps, values) for name, values in found.items()}, "Out-of-fold objects")]


def _labels(verdict: dict[str, Any], labelling: dict[str, Any] | None) -> Group:
    """Return what the pseudo-labels of a round come to, and how long they took."""
    rows = [
        (
            one["category"],
            percent(to_float(one["predicted"])),
            percent(to_float(one["kept"])),
            percent(to_float(one["precision"])),
            ", ".join(map(str, verdict.get("never_predicted", {}).get(one["category"], ()))) or DASH,
        )
        for one in verdict["labels"]
    ]
    names = ("category", "predicted", "of that learned from", "of that right (estimated)", "never predicted by fold")
    used = [
        f"Fold {one['fold']} learns from {count(one['used'])} of {plural(one['pool'], 'image')} of its pool."
        for one in verdict.get("images", ())
    ]
    words = [
        *used,
        *_labelling(labelling),
        "What is right is estimated from out-of-fold predictions of the same category and confidence; on images unlike "
        "the labelled ones it is less.",
    ]
    caption = "Pseudo-labels, over all folds; each image, fold and category is in round-R/pseudo/ledger.parquet"
    table = Table(caption, names, rows, frozenset({0, 4}))
    return Group(f"Labels of round {verdict['round']}", words, [table])


def _labelling(found: dict[str, Any] | None) -> list[str]:
    """Return what share of the time that labelling took the networks had."""
    if not found or found["share"] is None:
        return []
    return [
        f"Labelling took {found['all']:.0f} s for {plural(found['images'], 'image')} (one for each fold "
        f"that an image is labelled for); {percent(found['share'])} of that was waiting for the networks."
    ]
