"""The stage between audit and split: decisions.jsonl is carried out, and the tables say what came of it."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from maskwright.artifacts import ACCEPTED, DECIDED, RunFolder, locate, read_json, read_table, write_json, write_table
from maskwright.audit.effects import Effect, effects
from maskwright.audit.replay import (
    Content,
    check_decisions,
    declared_copies,
    open_conflicts,
    outcome,
    replay,
    told_apart,
)
from maskwright.data.convert import write_index
from maskwright.data.index import load_index
from maskwright.decisions import CHANGES, UNSEALED, Decision, changes_of, read_decisions, settled
from maskwright.errors import DataError, problem
from maskwright.pipeline.folds import copies_of
from maskwright.recipe.data import AuditSpec, DataSpec
from maskwright.tasks import Task, lock

_LISTED = 20


def decide_task(folder: RunFolder, spec: dict[str, Any]) -> Task:
    """Return the task that carries out the decisions; the answers in the log are part of what it is made from.

    Raises:
        DataError: the log has a line that is no decision.
    """
    read_decisions(folder.decisions)  # a broken line is said before the audit begins
    outputs = ("decided", "imported/decided", folder.findings.relative_to(folder.root).as_posix())
    return Task("decide", decide, spec, ("index", "audit"), outputs, log_state, made=decided_state)


def log_state(root: Path) -> dict[str, Any]:
    """Return what the log of a run folder says, as it counts, and what the masks hold that it names."""
    path = RunFolder(root).decisions
    answers = settled(read_decisions(path)).values()
    named = sorted({name for d in answers for name in (d.file, d.objects, d.where, d.seen) if name})
    masks = {name: _digest(root / name) if (root / name).is_file() else None for name in named}
    return {path.name: settled_state(path), **masks}


def settled_state(path: Path) -> dict[str, str]:
    """Return image and question → the answer that counts as canonical JSON, for telling whether a log changed.

    What the log holds besides, such as overruled lines, times, seals and the order of lines, changes nothing of it.

    Raises:
        DataError: a line that is no decision.
    """
    answers = settled(read_decisions(path))  # of all lines: an answer may replace what changed something
    found = {f"{image} ({asked})": _canonical(d) for (image, asked), d in answers.items() if d.action != "confirm"}
    changes = changes_of(answers)
    changed = {d.image: changes.get(d.image, []) for d in answers.values() if d.action in CHANGES}
    orders = {i: " ".join(c.question[1] for c in each) for i, each in changed.items() if len(each) != 1}
    found |= {f"{image} (order)": order for image, order in orders.items()}
    return dict(sorted(found.items()))


def _canonical(decision: Decision) -> str:
    """Return all that an answer says; without a transform, or with `identity`, a mask is taken over as it stands."""
    said = decision.model_dump(
        mode="json", exclude_defaults=True, exclude={*UNSEALED, "image", "begun_with", "id", "item", "answer"}
    )
    if said.get("transform") == "identity":
        del said["transform"]
    return json.dumps(said, sort_keys=True, ensure_ascii=False)


def decided_state(root: Path) -> dict[str, Any]:
    """Return what is learned from and scored: the decided index, its masks, and what folds are cut by.

    Predictions that were accepted are in no fold: they are the concern of the trainings that learn from them. Reasons,
    findings that stop nothing, pictures and statistics are not among it, so that they may change.
    """
    folder = RunFolder(root)
    masks = locate(root, folder.imported, DECIDED)
    every = [path for kind in ("masks", "instances") for path in (masks / kind).rglob("*")]
    files = sorted(path for path in every if path.is_file())  # folders may have a dot in their name, too
    errors = read_table(folder.findings).filter((pl.col("severity") == "error") & (pl.col("decision") == "stop"))
    return {
        "images": read_table(folder.decided / "images.parquet").rows(),
        "contents": read_table(folder.decided / "contents.parquet").rows(),
        "masks": {file.relative_to(masks).as_posix(): _digest(file) for file in files},
        "copies": copies_of(folder),
        "unusable": read_json(folder.audit / "unusable.json"),
        "stopping": errors.select("image", "kind", "detail").rows(),
    }


def decide(root: Path, spec: dict[str, Any]) -> None:
    """Carry out the decisions: decided/ (images.parquet, removed.csv, contents.parquet), masks, findings.parquet."""
    folder = RunFolder(root)
    answers = settled(read_decisions(folder.decisions))
    findings = read_table(folder.audit / "as_found.parquet")
    said = [outcome(row, answers) for row in findings.iter_rows(named=True)]
    write_table(folder.findings, findings.with_columns(pl.Series("decision", said, pl.String)))
    if AuditSpec.model_validate(spec["audit"]).conflicts == "ask":
        _stop_on_open(folder, open_conflicts(findings, answers))
    index = load_index(folder.index, DataSpec.model_validate(spec["data"]))
    check_decisions(index, answers, read_json(folder.audit / "unusable.json"), folder.decisions)
    masks = locate(index.root, folder.imported, DECIDED)
    shutil.rmtree(masks, ignore_errors=True)
    masks.mkdir(parents=True)
    decided = replay(index, answers)
    write_table(folder.decided / "images.parquet", decided.table)
    write_table(folder.decided / "removed.csv", decided.removed)
    write_table(folder.decided / ACCEPTED, decided.accepted)
    write_json(folder.decided / "copies.json", declared_copies(answers))
    clusters = read_json(folder.audit / "duplicates.json")
    write_json(folder.decided / "duplicates.json", told_apart(clusters, findings, answers))
    write_table(
        folder.decided / "contents.parquet", _contents(read_table(folder.audit / "images.parquet"), decided.contents)
    )


def decision_effects(folder: RunFolder) -> list[Effect]:
    """Return what people's lines in the log of a run came to."""
    index = read_table(folder.index)
    sizes = {image: (width, height) for image, width, height in index.select("image", "width", "height").iter_rows()}
    conflicts = read_table(folder.findings).filter(pl.col("kind") == "conflict")
    disputed = {*conflicts["image"], *conflicts["other_image"]}
    return effects(read_decisions(folder.decisions), sizes, disputed)


def write_cleaned(folder: RunFolder, target: Path, to: str) -> int:
    """Write the data of a run as the decisions leave it, and removed.csv, into a new folder; return the images.

    The run is held meanwhile: nobody changes the decided masks while they are copied.

    Raises:
        UsageError: the format isn't written, the target holds something, or another process works in the run folder.
        DataError: a file can't be read.
    """
    spec = DataSpec.model_validate(read_json(folder.records / "index.json")["resolved"]["data"])
    with lock(folder.root):
        index = replace(load_index(folder.index, spec), table=read_table(folder.decided / "images.parquet"))
        meta, removed = read_table(folder.root / "meta.parquet"), read_table(folder.decided / "removed.csv")
        return write_index(index, meta, target, to, removed)


def _digest(file: Path) -> str:
    return hashlib.blake2b(file.read_bytes(), digest_size=8).hexdigest()


def _contents(known: pl.DataFrame, changed: dict[str, Content]) -> pl.DataFrame:
    """Return what the masks hold, those that were changed counted afresh."""
    new = pl.DataFrame([(image, *content) for image, content in changed.items()], schema=known.schema, orient="row")
    return pl.concat([known.filter(~pl.col("image").is_in(list(changed))), new])


def _stop_on_open(folder: RunFolder, conflicts: list[tuple[str, str]]) -> None:
    if not conflicts:
        return
    first, second = conflicts[0]
    listed = "\n".join(f"    {a} and {b}" for a, b in conflicts[:_LISTED])
    more = f"\n    … and {len(conflicts) - _LISTED} more" if len(conflicts) > _LISTED else ""
    raise DataError(
        problem(
            "a decision on each picture with conflicting masks",
            f"none on {len(conflicts)} pair(s), drawn in {folder.audit / 'conflicts.png'}:\n{listed}{more}",
            where="audit.conflicts: ask",
            next_move=f"add a line for each to {folder.decisions} and give the same command again, such as\n"
            f'         {{"image": "{second}", "action": "drop", "by": "YOUR NAME", "reason": "the mask of {first}"}}\n'
            "         (or keep, for both; use_mask_of with other_image and transform)",
        )
    )
