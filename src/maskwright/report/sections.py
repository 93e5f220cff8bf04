"""The sections of the report, from what the data is to how to make it again."""

from __future__ import annotations

import json
import math
import shlex
from collections import Counter

import polars as pl

from maskwright.decisions import LOG, read_decisions, standing
from maskwright.errors import DataError
from maskwright.report.blocks import DASH, Group, Section, Table, count, number, plural
from maskwright.report.collect import Artifacts
from maskwright.report.collect import number as to_float
from maskwright.report.data_sections import data
from maskwright.report.fold_sections import folds
from maskwright.report.gallery import Gallery
from maskwright.report.object_sections import objects
from maskwright.report.recipe_words import trained
from maskwright.report.round_sections import rounds
from maskwright.report.score_sections import categories, examples, scores
from maskwright.report.suspect_sections import suspects
from maskwright.report.training_charts import known_rows, training_charts
from maskwright.report.words import metric_name, seen_before, summary


def sections(artifacts: Artifacts, gallery: Gallery, thumbnails: int) -> list[Section]:
    """Return the sections that the artifacts allow, in reading order."""
    every = [
        Section("summary", "In short", groups=summary(artifacts)),
        missing(artifacts),
        data(artifacts, gallery, thumbnails),
        folds(artifacts),
        training(artifacts),
        rounds(artifacts, gallery, thumbnails),
        scores(artifacts),
        categories(artifacts),
        objects(artifacts, gallery, thumbnails),
        examples(artifacts, gallery, thumbnails),
        suspects(artifacts, gallery, thumbnails),
        again(artifacts),
    ]
    return [s for s in every if s is not None]


def missing(artifacts: Artifacts) -> Section | None:
    """Return what the run folder doesn't hold yet, with the commands that make it."""
    stages = [
        ("what is wrong with the data", "audit", artifacts.findings),
        ("the shares of the categories", "audit", artifacts.classes),
        ("folds", "split", artifacts.folds),
        ("the certificate of the folds", "split", artifacts.certificate),
        ("training curves", "train", artifacts.curves or None),
        ("scores", "evaluate", artifacts.scores or None),
        ("the confusion matrix", "evaluate", artifacts.confusion),
        ("scores of single images", "evaluate", artifacts.per_image),
        ("predicted label maps", "predict", (artifacts.folder / "predictions" / "labels").is_dir() or None),
        ("versions and times", "run", artifacts.run),
    ]
    rows = [(what, f"maskwright {stage} --out {artifacts.told}") for what, stage, it in stages if it is None]
    if not rows:
        return None
    table = Table("What is not here yet, and what makes it", ("not here", "command"), rows, frozenset({0, 1}))
    return Section("missing", "Not in this report", groups=[Group("What makes it", tables=[table])])


def training(artifacts: Artifacts) -> Section | None:
    """Return what was trained, and the curves, one group a round."""
    if not artifacts.curves:
        return None
    rounds = sorted({r for r, _ in artifacts.curves})
    groups = [group] if (group := trained(artifacts)) else []
    for r in rounds:
        tables = {f"fold {k}": table for (q, k), table in artifacts.curves.items() if q == r}
        title = "Curves" if len(rounds) == 1 else f"Round {r}"
        groups.append(Group(title, tables=[_training_table(tables)], charts=training_charts(tables)))
    words = [f"{plural(len(artifacts.curves), 'training')}."]
    words += [f"Fold {k} starts from the network {note['checkpoint']}." for k, note in artifacts.starts.items()]
    return Section("training", "Training", [*words, *seen_before(artifacts)], groups)


def _training_table(tables: dict[str, pl.DataFrame]) -> Table:
    metric = next(
        (m for m in ("mean_dice", "pooled_miou") if any(m in t.columns for t in tables.values())), "mean_dice"
    )
    rows = []
    for fold, table in tables.items():
        validated = known_rows(table, metric) if metric in table.columns else table.clear()
        best = validated.sort(metric, descending=True).row(0, named=True) if validated.height else {}
        last = to_float(validated[metric][-1]) if validated.height else math.nan
        loss = known_rows(table, "loss")["loss"] if "loss" in table.columns else pl.Series([], dtype=pl.Float64)
        minutes = to_float(table["seconds"].max()) / 60 if "seconds" in table.columns else math.nan
        rows.append(
            (
                fold,
                count(to_float(table["step"].max())),
                number(minutes, 1),
                number(to_float(loss[-1]) if len(loss) else math.nan),
                number(to_float(best.get(metric))),
                count(to_float(best.get("step"))),
                number(last),
            )
        )
    name = metric_name(metric)
    head = ("fold", "steps", "minutes", "last loss", f"best {name}", "at step", f"last {name}")
    return Table(f"Trainings; {name} on validation images", head, rows)


def again(artifacts: Artifacts) -> Section:
    """Return the recipe, the command, versions and times."""
    run = artifacts.run or {}
    command = run.get("command") or f"maskwright run --recipe {artifacts.told}/recipe.yaml --out NEW"
    if isinstance(command, list):
        command = shlex.join(str(c) for c in command)
    commands = [str(command), *map(str, run.get("later") or ())]
    words = [f"Seed {artifacts.recipe.get('seed', DASH)}. The same recipe, seed and machine give the same numbers."]
    words += _decided(artifacts)
    title = "Command" if len(commands) == 1 else "Commands, one after the other"
    groups = [Group(title, code="\n".join(commands)), Group("Recipe", code=artifacts.recipe_text.rstrip(), folded=True)]
    facts = {k: run.get(k) for k in ("started", "machine") if run.get(k)}
    facts |= {str(k): v for k, v in (run.get("versions") or {}).items()}
    if facts:
        text = [(k, v if isinstance(v, str) else json.dumps(v, ensure_ascii=False)) for k, v in facts.items()]
        table = Table("Machine and versions", ("what", "which"), text, frozenset({0, 1}))
        groups.append(Group("Machine and versions", tables=[table], folded=True))
    if seconds := run.get("seconds"):
        times = [(str(stage), number(to_float(s), 1)) for stage, s in seconds.items()]
        groups.append(Group("Times", tables=[Table("Time of each stage", ("stage", "seconds"), times)]))
    return Section("again", "Make it again", words, groups)


def _decided(artifacts: Artifacts) -> list[str]:
    """Return how many lines of people the log has, of which kinds, and what becomes of them in another folder."""
    try:
        people = [d for d in standing(read_decisions(artifacts.folder / LOG)) if not d.by_policy]
    except DataError:  # that the next command says
        return []
    if not people:
        return []
    kinds = Counter(decision.action for decision in people)
    told = ", ".join(f"{kind} {many}" for kind, many in sorted(kinds.items(), key=lambda entry: (-entry[1], entry[0])))
    copied = "to repeat the run in a new folder, copy decisions.jsonl and review/ there first"
    return [f"People's decisions are among what it was made from, {plural(len(people), 'line')} ({told}): {copied}."]
