"""What a round brought and what must be known of it: round-R/adopt.json; then which one is used: adopted.json."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from maskwright.artifacts import RunFolder, atomic, read_folds, read_json, read_table, write_json
from maskwright.data.index import Index
from maskwright.evaluate import statistic_of
from maskwright.metrics import EmptyCases
from maskwright.pipeline import divisions, labelling, stages
from maskwright.pipeline.folds import pool_of
from maskwright.pipeline.object_scores import object_statistics
from maskwright.pipeline.objectness import JUDGES
from maskwright.pipeline.rounds import counts_of, last_ledger
from maskwright.pipeline.teams import CHOICE, chosen_among, things_of_teams, training_teams
from maskwright.recipe import load_recipe
from maskwright.recipe.effort import effort_behind, said_of
from maskwright.recipe.predict import EvaluateSpec
from maskwright.recipe.selftrain import PseudoLabelsSpec, SelftrainSpec
from maskwright.selftrain import Gain, kept_apart, said_of_choices, weigh
from maskwright.selftrain.ledger import summary
from maskwright.statistics import Statistic

SHIFT, CHANCE = 0.2, 0.05
"""Energy coefficient from which on a pool is said to be unlike the labelled images, and how rarely chance does that."""

_FEW = 0.05
"""Share of the objects of the pool that are learned from, below which the verdict says so."""


def adopt(root: Path, spec: dict[str, Any]) -> None:
    """Compare a round with the one before on the same out-of-fold images: round-R/adopt.json, pseudo/ledger.parquet."""
    folder, number = RunFolder(root), spec["round"]
    whole, wanted = stages.decided(folder, spec), SelftrainSpec.model_validate(spec["selftrain"])
    evaluate = EvaluateSpec.model_validate(spec["evaluate"])
    rows, before, after = _statistics(folder, whole, spec, evaluate)
    groups = rows["group"].to_list()

    def compared(metric: str, rule: str) -> Gain:
        return weigh(before[metric], after[metric], groups, metric, evaluate, rule=rule, seed=spec["seed"])

    found = compared(spec["metric"], spec["rule"]).to_plain()
    others = [name for name in before if name in after and name != spec["metric"]]  # no AP where objects have no score
    found |= {"also": {name: compared(name, "gain").scores() for name in others}}
    found |= {"round": number, "method": wanted.method.kind, "protocol": wanted.protocol}
    effort = effort_behind(wanted, number, load_recipe(folder.recipe).train.batch)
    found |= {"rule": spec["rule"], "effort": effort._asdict()}
    if chosen_among(load_recipe(folder.recipe), number):  # else one that stands there is of another recipe
        found |= {"networks": read_json(root / f"round-{number}" / CHOICE)["all"]}
    remarks = [f"its network has {said}"] if (said := said_of(effort)) else []
    count = _speakers(folder, number)
    remarks += [f"{count} networks of a fold say the categories together: a part of the gain may be that"] * (count > 1)
    remarks += [] if wanted.protocol == "labelled_only" else measured_elsewhere(folder, whole)
    labels = _labels(folder, whole, number, wanted)
    remarks += said_of_none(labels.get("images", []))
    asked = isinstance(wanted.method, PseudoLabelsSpec) and wanted.method.objects.objectness is not None
    if labels and "instances" in spec and asked:
        remarks += said_of_unjudged(read_json(root / f"round-{number}" / "pseudo" / JUDGES))
    found["why"] = "; ".join([found["why"], *remarks])
    moved = kept_apart(folder, read_folds(folder.folds)).intersection(rows["image"])
    write_json(
        root / f"round-{number}" / "adopt.json",
        found | {"scored_by_round_0": len(moved)} | labels,
    )
    divisions.clean(folder, number)
    method = load_recipe(folder.recipe).selftrain.method  # the spec doesn't say what is kept
    if isinstance(method, PseudoLabelsSpec) and not method.keep_soft:
        labelling.clean_soft(folder, number)


def _speakers(folder: RunFolder, number: int) -> int:
    """Return how many networks of a fold say together what category a pixel is of, the most of any fold."""
    recipe = load_recipe(folder.recipe)
    if len(training_teams(recipe, number)) < 2:
        return 1
    told = (
        things_of_teams(folder, recipe.instances, recipe.data.to_categories(), [fold], number)
        for fold in range(recipe.split.folds)
    )
    return max(sum(map(bool, own)) for own in told)


def _statistics(
    folder: RunFolder, whole: Index, spec: dict[str, Any], evaluate: EvaluateSpec
) -> tuple[pl.DataFrame, dict[str, Statistic], dict[str, Statistic]]:
    """Return the scored rows of folds.csv, and {metric: score} of the round before and of this one, the deciding one
    first.
    """
    if "instances" in spec:
        rows, before = object_statistics(folder, whole, spec["round"] - 1, spec)
        return rows, before, object_statistics(folder, whole, spec["round"], spec)[1]
    metric, cases = spec["metric"], EmptyCases.of(evaluate)
    rows, old = counts_of(folder, whole, spec["round"] - 1)
    _, new = counts_of(folder, whole, spec["round"])
    one, two = ({metric: statistic_of(counts, metric, whole.categories.evaluated, cases)} for counts in (old, new))
    return rows, one, two


def adopted(root: Path, spec: dict[str, Any]) -> None:
    """Say which round is used: adopted.json."""
    folder, found, number = RunFolder(root), list[dict[str, Any]](), 0
    if "why" in spec:
        why = f"round 0, the supervised training, is used: {spec['why']}"
        write_json(folder.adopted, {"round": 0, "why": why, "rounds": []})
        return
    while number < spec["selftrain"]["rounds"] and (path := root / f"round-{number + 1}" / "adopt.json").is_file():
        verdict = read_json(path)
        found.append(verdict)
        if not verdict["adopted"]:
            break
        number += 1
    used = f"round {number}" if number else "round 0, the supervised training"
    why = f"{used} is used: " + "; ".join(f"round {one['round']}: {one['why']}" for one in found)
    judged = bool(found) and found[-1]["rule"] == "gain" and found[-1]["metric"] != "pq"
    record = {"record": said_of_choices(found[-1]["adopted"])} if judged else {}
    write_json(folder.adopted, {"round": number, "why": why, **record, "rounds": found})


def said_of_none(images: Sequence[dict[str, int]]) -> list[str]:
    """Return what is to be said where no pseudo-label was kept; nothing elsewhere.

    Args:
        images: of each fold: fold, pool and used, numbers of images, and objects and objects_kept.

    Example:
        >>> said_of_none([{"fold": 0, "used": 4, "objects": 0, "objects_kept": 0}, {"fold": 1, "used": 0}])
        ['fold 1 kept none of its pool and learned from labelled images alone: see selftrain.method.pixels']
        >>> said_of_none([{"fold": 0, "used": 4, "objects": 90, "objects_kept": 2}])
        ['fold 0 relied on 2 of 90 objects of its pool, and learned of it little but what is no object: see \
selftrain.method.objects']
    """
    none = [str(one["fold"]) for one in images if not one["used"]]
    which = f"fold{'s' * (len(none) > 1)} {', '.join(none)} kept none of {'its' if len(none) == 1 else 'their'} pool"
    found = [f"{which} and learned from labelled images alone: see selftrain.method.pixels"] if none else []
    few = [one for one in images if one["used"] and one["objects_kept"] < _FEW * one["objects"]]
    return found + [
        f"fold {one['fold']} relied on {one['objects_kept']} of {one['objects']} objects of its pool, and learned "
        "of it little but what is no object: see selftrain.method.objects"
        for one in few
    ]


def said_of_unjudged(judges: dict[str, Any]) -> list[str]:
    """Return what is to be said where no classifier chose among the objects that a fold learned from.

    Args:
        judges: of all folds together and of each, as plain data.

    Example:
        >>> none, some = ({"weights": weights, "instances": 30, "true": 4} for weights in ([], [1.0]))
        >>> said_of_unjudged({"objectness": some, "fold_objectness": {"0": some, "1": none}})[0][:49]
        'of 30 out-of-fold objects 4 are true: too few of '
        >>> said_of_unjudged({"objectness": some, "fold_objectness": {"0": some, "1": some}})
        []
    """
    whole, folds = judges["objectness"], judges["fold_objectness"]
    unjudged = [fold for fold, one in sorted(folds.items()) if not one["weights"]]
    if not unjudged and (folds or whole["weights"]):
        return []
    which = f" of fold{'s' * (len(unjudged) > 1)} {', '.join(unjudged)}" if unjudged else ""
    return [
        f"of {whole['instances']} out-of-fold objects {whole['true']} are true: too few of a kind, or too alike, to "
        f"learn which ones to rely on, so those of the pool{which} are chosen by the mean probability inside"
    ]


def measured_elsewhere(folder: RunFolder, whole: Index) -> list[str]:
    """Return what is to be said where the pool is from another domain than the images that score; nothing elsewhere.

    It is from another one if none of its images has the domain of a labelled one, or if the audit finds labelled and
    unlabelled images far apart.
    """
    folds = read_folds(folder.folds)
    scores, pool = whole.table.join(folds.drop_nulls("fold"), on="image", how="semi"), pool_of(whole.table, folds)
    own, others = (sorted(set(table["domain"].drop_nulls())) for table in (scores, pool))
    if own and others and not set(own) & set(others):
        where, elsewhere = f"images of {', '.join(own)}", f"the pool's {', '.join(others)}"
    elif (shift := _shift(folder)) is not None:
        where, elsewhere = "labelled images", f"the pool, which looks otherwise (shift {shift:.2f} of 1)"
    else:
        return []
    return [f"measured on {where}, and says little of {elsewhere}: judge it by some masks there"]


def _shift(folder: RunFolder) -> float | None:
    """Return how far the audit finds unlabelled images from labelled ones, None where that is little or chance."""
    path = folder.audit / "parts.parquet"
    if not path.is_file():
        return None
    rows = read_table(path).filter((pl.col("column") == "labels") & (pl.col("name") == "unlabelled"))
    far = rows.filter((pl.col("shift") >= SHIFT) & (pl.col("p") <= CHANCE))
    return float(far["shift"][0]) if far.height else None


def _labels(folder: RunFolder, whole: Index, number: int, wanted: SelftrainSpec) -> dict[str, Any]:
    """Write the ledgers of all folds as one; return what the labels come to, and which categories nobody predicts."""
    method = wanted.method
    if not isinstance(method, PseudoLabelsSpec) or wanted.protocol == "labelled_only":
        return {}
    folds = range(load_recipe(folder.recipe).split.folds)
    ledger = pl.concat([pl.scan_parquet(last_ledger(folder, number, fold, method)) for fold in folds])
    with atomic(folder.root / f"round-{number}" / "pseudo" / "ledger.parquet") as temporary:
        ledger.sink_parquet(temporary)
    _write_seconds(folder, number)
    names = whole.categories.names
    said = ledger.group_by("fold", "category").agg(pl.col("predicted").sum()).filter(pl.col("predicted") == 0).collect()
    never = {name: sorted(said.filter(pl.col("category") == name)["fold"].to_list()) for name in names}
    images = ledger.group_by("fold").agg(
        pool=pl.col("image").n_unique(),
        used=pl.col("image").filter(pl.col("used")).n_unique(),
        objects=pl.col("objects").sum(),
        objects_kept=pl.col("objects_kept").sum(),
    )
    return {
        "labels": summary(ledger, names),
        "never_predicted": {name: where for name, where in never.items() if where},
        "images": images.sort("fold").collect().to_dicts(),
    }


def _write_seconds(folder: RunFolder, number: int) -> None:
    """Write how long labelling took, all folds and passes together, and the share of the networks: pseudo/seconds.json.

    A file of its own: verdicts of the same run are the same.
    """
    files = sorted((folder.root / f"round-{number}" / "pseudo").glob("fold-*/seconds*.json"))
    known = [read_json(file) for file in files]
    sums = {key: sum(one[key] for one in known) for key in ("networks", "all", "images")}
    share = sums["networks"] / sums["all"] if sums["all"] else None
    write_json(folder.root / f"round-{number}" / "pseudo" / "seconds.json", sums | {"share": share})
