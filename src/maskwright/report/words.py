"""The summary in plain words: what the numbers of a run say, and what would help most."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import polars as pl

from maskwright.report.blocks import Group, count, listing, number, percent, plural
from maskwright.report.collect import Artifacts, Score, image_scores

METRICS = {
    "mean_dice": "mean Dice per image",
    "mean_iou": "mean IoU per image",
    "pooled_miou": "mean IoU over all pixels",
    "pooled_mdice": "mean Dice over all pixels",
    "pooled_mprecision": "mean precision over all pixels",
    "pooled_mrecall": "mean recall over all pixels",
    "mean_precision": "mean precision per image",
    "mean_recall": "mean recall per image",
    "mean_pixel_accuracy": "pixel accuracy per image",
    "keras_miou": "mean IoU as Keras has it",
    "mean_boundary_iou": "mean boundary IoU per image",
    "mean_boundary_f": "mean boundary F per image",
    "mean_nsd": "mean NSD per image",
    "mean_hausdorff": "mean Hausdorff distance, pixels",
    "mean_hd95": "mean HD95, pixels",
    "boundary_iou": "boundary IoU",
    "boundary_f": "boundary F",
    "nsd": "NSD",
    "hausdorff": "Hausdorff distance, pixels",
    "hd95": "HD95, pixels",
    "ece": "ECE",
    "mce": "MCE",
    "sbd": "SBD",
    "count_difference": "|DiC|",
    "precision_at_iou_50": "precision at IoU 0.5 (not AP)",
    "iou": "IoU",
    "dice": "Dice",
    "precision": "precision",
    "recall": "recall",
    "ap": "AP",
    "ap50": "AP at IoU 0.5",
    "pq": "PQ",
    "sq": "SQ",
    "rq": "RQ",
    "pq_dagger": "PQ†",
}
"""Metrics in words."""

GOOD, POOR = 0.8, 0.5
"""From where a category's score is called good, and below which poor."""
WIDE = 0.1
"""Width from which an interval is called wide."""
FEW = 30
"""Number of images below which a statement rests on few."""


def metric_name(metric: str) -> str:
    """Return a metric in words."""
    return METRICS.get(metric, metric.replace("_", " "))


def headline(artifacts: Artifacts) -> Score | None:
    """Return the score that the run is judged by: the recipe's own metric, or the first one that there is."""
    monitor = (artifacts.recipe.get("train") or {}).get("monitor", "auto")
    own = ("mean_dice" if artifacts.categories.binary else "pooled_miou") if monitor == "auto" else monitor
    for part in ("", "holdout", "oof"):
        if (score := artifacts.score(own, part)) is not None:
            return score
    return next((s for s in artifacts.scores if not s.category), None)


def category_scores(artifacts: Artifacts) -> list[Score]:
    """Return one score for each category that counts, IoU before Dice, out of fold before held out."""
    counted = {artifacts.categories.names[p] for p in artifacts.categories.evaluated}
    for metric in ("iou", "dice"):
        for part in ("oof", "holdout", ""):
            found = [s for s in artifacts.scores if (s.metric, s.part) == (metric, part) and s.category in counted]
            if found:
                return found
    return []


def summary(artifacts: Artifacts) -> list[Group]:
    """Return the summary: what the model can do, what it can't, how sure that is, what would help most."""
    titles = {
        "What the model can do": _can,
        "What it can’t do": _cannot,
        "How sure that is": _sure,
        "What would help most": _help,
    }
    return [Group(title, words=words) for title, say in titles.items() if (words := list(say(artifacts)))]


def seen_before(artifacts: Artifacts) -> Iterator[str]:
    """Yield what the older networks that trainings started from had seen of the images that score them."""
    leaked = {image for note in artifacts.starts.values() for image in note["leaked"]}
    if leaked:
        yield (
            f"The older networks that training started from had seen {plural(len(leaked), 'image')} that score these "
            "ones: the scores are too good."
        )
    if any(not note["checked"] for note in artifacts.starts.values()):
        yield "Nothing says what the older networks that training started from had seen: the scores may be too good."


def _can(artifacts: Artifacts) -> Iterator[str]:
    score = headline(artifacts)
    if score is None:
        yield "It has not been scored yet."
        return
    text = f"Its {metric_name(score.metric)} is {number(score.value)}"
    if math.isfinite(score.low):
        text += f", with {_confidence(artifacts)} confidence between {number(score.low)} and {number(score.high)}"
    yield f"{text}, on {_scored_on(artifacts, score)}."
    good = sorted((s for s in category_scores(artifacts) if s.value >= GOOD), key=lambda s: -s.value)
    if good and len(artifacts.categories.evaluated) > 1:
        yield f"It finds these well: {_with_values(good)}."
    if (objects := _objects(artifacts)) is not None and (true := objects[0] + objects[1]):
        yield f"It finds {count(objects[0])} of {plural(true, 'object')} ({percent(objects[0] / true)})."


def _objects(artifacts: Artifacts) -> tuple[int, int, int] | None:
    """Return how many objects are found, missed and made up, held out where something is; None: none are told apart."""
    table, task = artifacts.per_image, (artifacts.recipe.get("data") or {}).get("task")
    if table is None or "segments_tp" not in table.columns or task not in ("instances", "panoptic"):
        return None
    counts = table.filter(pl.col("category").is_in([c.name for c in artifacts.categories.items if c.isthing]))
    part = "holdout" if (counts["part"] == "holdout").any() else "oof"
    sums = counts.filter(pl.col("part") == part).select("segments_tp", "segments_fn", "segments_fp").sum()
    found, missed, made_up = sums.row(0)
    return int(found), int(missed), int(made_up)


def _cannot(artifacts: Artifacts) -> Iterator[str]:
    scores = category_scores(artifacts)
    poor = sorted((s for s in scores if s.value < POOR), key=lambda s: s.value)
    if poor:
        yield f"It finds these poorly: {_with_values(poor)}."
    elif scores and len(artifacts.categories.evaluated) > 1:
        known = [s for s in scores if math.isfinite(s.value)]
        if known:
            yield f"Its weakest category is {_with_values([min(known, key=lambda s: s.value)])}."
    if (objects := _objects(artifacts)) is not None and objects[2]:
        shown = objects[0] + objects[2]
        yield (
            f"Of the {plural(shown, 'object')} that it shows, {count(objects[2])} ({percent(objects[2] / shown)}) are "
            "none, or differ from a true one by half or more."
        )
    for truth, predicted, share in confusions(artifacts)[:2]:
        verb = "is missed altogether" if predicted == "nothing" else f"is taken for {predicted}"
        yield f"{percent(share)} of the area of {truth} {verb}."
    if unknown := [s.category for s in scores if math.isnan(s.value)]:
        yield f"Nothing is known about {listing(unknown)}: no scored image holds it or shows it predicted."
    if artifacts.per_image is not None:
        dice = image_scores(artifacts.per_image, artifacts.categories)
        low = dice.filter(pl.col("dice") < POOR)
        if low.height:
            worst = dice.row(0, named=True)
            yield (
                f"{count(low.height)} of {plural(dice.height, 'scored image')} have a Dice below {POOR}; "
                f"the worst, {worst['image']}, has {number(worst['dice'])}."
            )


def confusions(artifacts: Artifacts, least: float = 0.1, part: str = "") -> list[tuple[str, str, float]]:
    """Return (truth, prediction, share of the truth's pixels) for mix-ups from `least` on, largest first.

    Without a part, those out of fold, or held out where there are none.
    """
    if artifacts.confusion is None:
        return []
    names = [str(n) for n in artifacts.confusion["categories"]]
    counted = {artifacts.categories.names[p] for p in artifacts.categories.evaluated}
    matrix: list[list[float]] = next(
        (m for p in ([part] if part else ["oof", "holdout"]) if (m := artifacts.confusion.get(p))), []
    )
    found = []
    for truth, row in zip(names, matrix, strict=False):
        total = sum(row)
        for predicted, pixels in zip([*names, "nothing"], row, strict=False):
            if predicted != truth and truth in counted and total and pixels / total >= least:
                found.append((truth, predicted, pixels / total))
    return sorted(found, key=lambda f: -f[2])


def _sure(artifacts: Artifacts) -> Iterator[str]:
    yield from seen_before(artifacts)
    score = headline(artifacts)
    if score is None:
        return
    width = score.high - score.low
    if math.isnan(width):
        yield "There is no interval, so a difference to another run may be chance."
    elif width > WIDE:
        yield f"The interval is wide ({number(width, 2)}): a difference to another run that is smaller may be chance."
    else:
        yield f"The interval is {number(width, 2)} wide: take differences to other runs that are smaller for chance."
    if score.n is not None and score.n < FEW:
        yield f"The score rests on only {plural(score.n, 'image')}."
    single, ensemble = artifacts.score(score.metric, "oof"), artifacts.score(score.metric, "holdout")
    if single is not None and ensemble is not None:
        yield (
            f"The single fold models have {number(single.value)} on images they didn’t train on, "
            f"the ensemble of all of them, which is what predicts, {number(ensemble.value)} on the held-out part: "
            "these are other images, so the difference isn’t what the ensemble earned"
            + (". That stands with the scores." if artifacts.members else " (predict.members=true measures that).")
        )
    yield from _leaks(artifacts)
    yield from _chosen(artifacts)


def _leaks(artifacts: Artifacts) -> Iterator[str]:
    if artifacts.certificate is None:
        return
    crossing = crossing_groups(artifacts)
    if crossing:
        yield f"{plural(crossing, 'group')} lie in more than one fold, so the scores are too good."
    else:
        yield "No group of related images lies in more than one fold, so no score comes from images known in training."
    groups = artifacts.certificate.get("groups")
    if isinstance(groups, int) and groups < FEW and groups < artifacts.labelled:
        yield f"The labelled images come from only {plural(groups, 'group')}; new groups may differ more than these do."


def _chosen(artifacts: Artifacts) -> Iterator[str]:
    if (artifacts.recipe.get("predict") or {}).get("checkpoint") in ("best", "topk"):
        yield (
            "The checkpoints were chosen by their score on the fold that they are scored on: "
            "out-of-fold scores are a little too good."
        )
    tuned = artifacts.tuned
    if tuned and tuned.get("adopted"):
        gain = tuned.get("gain") or {}
        yield (
            f"The post-processing was fitted on {tuned.get('fitted_on') or 'out-of-fold predictions'}; "
            f"its gain is {_gain(gain)}."
        )


def _gain(gain: dict[str, float]) -> str:
    value, low, high = (gain.get(k) for k in ("value", "low", "high"))
    if value is None:
        return "not known"
    return f"{value:+.3f}" + (f" ({low:+.3f} to {high:+.3f})" if low is not None and high is not None else "")


def crossing_groups(artifacts: Artifacts) -> int:
    """Return how many groups lie in more than one fold, as folds.json says."""
    crossing = (artifacts.certificate or {}).get("crossing_groups") or 0
    return len(crossing) if isinstance(crossing, list) else int(crossing)


def _help(artifacts: Artifacts) -> Iterator[str]:
    yield from _open_findings(artifacts)
    yield from _scarce(artifacts)
    score = headline(artifacts)
    if score is not None and (score.high - score.low > WIDE or (score.n or FEW) < FEW):
        yield (
            "Label more images, from new groups first: the scores become surer, and twice as many narrow "
            "the interval by about a third."
        )
    if climbing := still_improving(artifacts):
        yield (
            f"Train longer (--minutes): the validation score was still rising at the end in "
            f"{count(climbing)} of {plural(len(artifacts.curves), 'training')}."
        )
    if pool := artifacts.index.height - artifacts.labelled:
        yield (
            f"Images without a mask: {count(pool)} of {count(artifacts.index.height)}. To choose which "
            f"to label first: maskwright query {artifacts.told}."
        )
    if artifacts.per_image is not None:
        yield (
            "Look at the worst images below: wrong masks among them are the cheapest thing to mend, in the browser: "
            f"maskwright review {artifacts.told}."
        )


def _open_findings(artifacts: Artifacts) -> Iterator[str]:
    if artifacts.findings is None:
        return
    undecided = pl.col("decision").is_null() | (pl.col("decision") == "")
    for severity, advice in (("error", "Mend what the audit calls errors"), ("warning", "Look at its warnings")):
        rows = artifacts.findings.filter((pl.col("severity") == severity) & undecided)
        if rows.height:
            kinds = rows["kind"].value_counts(sort=True).iter_rows()
            what = listing([f"{str(kind).replace('_', ' ')} ({count(n)})" for kind, n in kinds])
            yield f"{advice}: {what}."


def _scarce(artifacts: Artifacts) -> Iterator[str]:
    if artifacts.classes is None or not artifacts.labelled:
        return
    images = dict(artifacts.classes.select("category", "images").iter_rows())
    weak = [s for s in category_scores(artifacts) if not s.value >= GOOD and s.category in images]
    for score in sorted(weak, key=lambda s: (math.isnan(s.value), s.value))[:3]:
        have = int(images[score.category])
        if have < FEW or have < 0.2 * artifacts.labelled:
            yield (
                f"Label more images that show {score.category} ({metric_name(score.metric)} {number(score.value, 2)}): "
                f"{count(have)} of {plural(artifacts.labelled, 'labelled image')} so far."
            )


def still_improving(artifacts: Artifacts) -> int:
    """Return how many trainings had their best validation score at the last of at least four validations."""
    found = 0
    for table in artifacts.curves.values():
        name = next((c for c in ("mean_dice", "pooled_miou") if c in table.columns), None)
        values = [] if name is None else table[name].fill_nan(None).drop_nulls().to_list()
        found += len(values) >= 4 and values[-1] >= max(values[:-1]) + 0.002
    return found


def _scored_on(artifacts: Artifacts, score: Score) -> str:
    images = "images" if score.n is None else plural(score.n, "image")
    held = artifacts.score(score.metric, "holdout")
    if score.part == "holdout" or (held is not None and held.value == score.value):
        return f"{images} of a held-out part that no model saw"
    if artifacts.score(score.metric, "oof") is not None:
        return f"{images}, each scored by a model that didn’t train on it"
    return images


def _confidence(artifacts: Artifacts) -> str:
    level = (artifacts.recipe.get("evaluate") or {}).get("confidence", 0.95)
    return f"{100 * float(level):.0f} %"


def _with_values(scores: Sequence[Score]) -> str:
    metric = metric_name(scores[0].metric)
    return listing([f"{s.category} ({metric} {number(s.value, 2)})" for s in scores])
