"""The index as the decisions leave it: images that are dropped, masks that are taken over, agreed on or cut out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import polars as pl

from maskwright.artifacts import DECIDED, IMPORTED, MADE, turned_like
from maskwright.audit.copies import fitted
from maskwright.audit.duplicates import clusters as linked
from maskwright.audit.inspect import object_sizes
from maskwright.audit.policies import majority
from maskwright.augment.dihedral import DIHEDRAL, apply
from maskwright.data.categories import as_written, read_label, to_ids
from maskwright.data.formats.files import name_of
from maskwright.data.images import read_objects
from maskwright.data.index import Index
from maskwright.data.intensity import resize_instances
from maskwright.data.written import write_array
from maskwright.decisions import POLICY, QUESTIONS, Decision
from maskwright.errors import DataError, problem
from maskwright.labels import objects
from maskwright.progress import track
from maskwright.types import IGNORE, Array, LabelMap

Answers = Mapping[tuple[str, str], Decision]
Content = tuple[list[int], int, float | None]
Region = tuple[int, int, int, int]

PAIRED = ("conflict", "crop", "duplicate_exact", "duplicate_near", "overlap")
"""Kinds of findings by which two images count as copies."""

CLEARED = "no stranger"
"""What a person's `keep` makes of an outlier."""

REMOVED_SCHEMA = {
    "image": pl.String,
    "kind": pl.String,
    "other_image": pl.String,
    "by": pl.String,
    "reason": pl.String,
    "value": pl.Float64,
}


@dataclass(frozen=True)
class Decided:
    """What the decisions come to.

    Attributes:
        table: the index without what is dropped; replaced masks are files below `DECIDED`; the column `twin_of` names
            the image whose mask an unlabelled copy has taken over (itself, where somebody accepted a prediction as its
            mask), null elsewhere: these are learned from and never scored.
        removed: one row a dropped image: image, kind, other_image, by, reason, value.
        contents: image → pixels of each category, objects and their median area, of the images with another mask than
            the folder's.
    """

    table: pl.DataFrame
    removed: pl.DataFrame
    contents: dict[str, Content]


def check_decisions(index: Index, answers: Answers, unusable: Sequence[str], log: Path) -> None:
    """Raise DataError if a decision can't be carried out: unknown images or transforms, masks that aren't there."""
    known = dict(zip(index.images, index.table[index.label_column].is_not_null(), strict=True))
    broken = set(unusable)
    for decision in answers.values():
        if decision.action == "confirm" or (decision.by_policy and decision.image not in known):
            continue  # nothing to carry out; of an image that the folder has no more
        sources: dict[str, str | None] = {**decision.others}
        if _takes(decision):
            sources[str(decision.other_image)] = decision.transform
        other = [decision.other_image] if decision.action in ("same", "not_same") else []
        strangers = [name for name in (decision.image, *other, *sources) if name not in known]
        masked = [*sources, *([decision.image] if decision.action == "ignore_region" else [])]
        bare = [name for name in masked if not known.get(str(name)) or name in broken]
        wrong = [transform for transform in sources.values() if transform not in (None, *DIHEDRAL)]
        if strangers:
            _refuse(decision, log, "images of the index", f"{strangers[0]!r}", f"see {log.parent / 'index.parquet'}")
        if wrong:
            _refuse(decision, log, f"a transform ({', '.join(DIHEDRAL)})", f"{wrong[0]!r}", "use one of these")
        if bare and decision.action != "own_mask":
            _refuse(decision, log, "images with a mask that can be used", f"{bare[0]}", "name another image")
        if decision.image in broken and decision.action not in ("drop", "same", "not_same"):
            _refuse(decision, log, "an image that can be used", decision.image, "mend its files, or drop it")
        if decision.action == "drawn_mask":
            _check_drawn(index, decision, log)
        if decision.action in ("consensus", "ignore_region", "drawn_mask") and index.target != "masks":
            _refuse(decision, log, "semantic masks", "instance maps", "drop the image instead, or use another mask")


def _check_drawn(index: Index, decision: Decision, log: Path) -> None:
    """Raise DataError if a drawn mask isn't in the run folder, or can't be that of its image."""
    name = str(decision.file)
    if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
        _refuse(decision, log, "a file in the run folder", name, "name it relative to that")
    file, row = index.path(MADE + name), index.images.index(decision.image)
    if not file.is_file():
        _refuse(decision, log, f"the mask {name} in the run folder", "none", "draw it again, or undo this line")
    size = index.table["height"][row], index.table["width"][row]
    found = read_label(file, as_written(index.categories)).shape
    if found != size:
        got = f"{found[0]} × {found[1]} in {name}"
        _refuse(decision, log, f"a mask of {size[0]} × {size[1]} pixels", got, "draw it again, or undo this line")


def replay(index: Index, answers: Answers) -> Decided:
    """Carry out decisions that were checked; write the masks that they change.

    Args:
        index: as the folder gives it.
        answers: as `settled` returns them.
    """
    table = index.table
    uses = {image: answer for (image, asked), answer in answers.items() if asked == "use"}
    dropped = [image for image in index.images if image in uses and uses[image].action == "drop"]
    changed = {d.image for d in answers.values() if QUESTIONS[d.action] in ("mask", "region")} - set(dropped)
    changes = [(row, image) for row, image in enumerate(index.images) if image in changed]
    masks = _Masks(index, answers)
    with ThreadPoolExecutor(4) as pool:
        written = list(track(pool.map(lambda change: masks.write(*change), changes), "write masks", len(changes)))
    new = {image: files for (_, image), files in zip(changes, written, strict=True) if files}
    taken = [image for image in new if _takes(_mask_answer(answers, image)) and image not in masks.labelled]
    twins = {image: str(_mask_answer(answers, image).other_image) for image in taken}
    twins |= {image: image for image in new if image not in masks.labelled and _mask_answer(answers, image).made_by}
    columns = {
        column: [new.get(r["image"], r)[column] for r in table.select("image", column).to_dicts()]
        for column in ("mask", "instances")
    }
    gone = set(dropped)
    twin_of = [t if (t := twins.get(image)) not in gone else None for image in index.images]
    table = table.with_columns(
        *(pl.Series(name, values, pl.String) for name, values in columns.items()),
        pl.Series("twin_of", twin_of, pl.String),
    ).filter(~pl.col("image").is_in(dropped))
    said = [(image, uses[image]) for image in dropped]
    removed = [(image, d.kind or "decision", d.other_image, d.by, d.reason, d.value) for image, d in said]
    contents = {image: masks.contents[image] for _, image in changes if image in masks.contents}  # in one order
    return Decided(table, pl.DataFrame(removed, schema=REMOVED_SCHEMA, orient="row"), contents)


def outcome(row: Mapping[str, Any], answers: Answers) -> str:
    """Return what the decisions make of a finding: its column `decision`.

    Args:
        row: of the table of findings.
        answers: as `settled` returns them.
    """
    names = [name for name in (row["image"], row["other_image"]) if name]
    uses = {name: answers[name, "use"] for name in names if (name, "use") in answers}
    gone = [name for name, answer in uses.items() if answer.action == "drop"]
    if row["severity"] == "error":
        return "dropped" if gone else str(row["decision"])
    pair = answers.get((min(names), f"same {max(names)}")) if len(names) == 2 else None
    if pair is not None and not gone and row["kind"] in PAIRED:
        return f"{'the same' if pair.action == 'same' else 'not the same'} ({pair.by})"
    kept = uses.get(names[0]) if names and not gone else None
    if row["kind"].startswith("outlier_") and kept is not None and not kept.by_policy:
        return f"{CLEARED} ({kept.by})"
    masks = [answers[name, "mask"] for name in names if (name, "mask") in answers and name not in gone]
    taken = [m for m in masks if m.action == "consensus" or (_takes(m) and m.other_image in names)]
    told = [f"{mask.image}: {mask.told()}" for mask in taken if len(names) == 2]
    if gone:
        told += [f"dropped {' and '.join(gone)} ({', '.join(dict.fromkeys(uses[name].by for name in gone))})"]
    if told:
        return "; ".join(told)
    if row["kind"] == "conflict":
        return f"both kept in one fold ({next(iter(uses.values())).by})" if uses else "open"
    return str(row["decision"])


def open_conflicts(findings: pl.DataFrame, answers: Answers) -> list[tuple[str, str]]:
    """Return the pairs of images with conflicting masks of which no person has decided.

    What decides is which of them is used, or what mask one has, or that they don't show the same; an ignored region, or
    what was said of one of them and a third image, leaves the conflict as it is.
    """
    people = {d.image for d in answers.values() if not d.by_policy and QUESTIONS[d.action] in ("use", "mask")}
    apart = {question for question, answer in answers.items() if answer.action == "not_same"}
    rows = findings.filter(pl.col("kind") == "conflict").select("image", "other_image").iter_rows()
    return [(a, b) for a, b in rows if not {a, b} & people and (min(a, b), f"same {max(a, b)}") not in apart]


def declared_copies(answers: Answers) -> list[list[str]]:
    """Return the images that decisions call one picture: those whose masks one of them takes over or agrees on."""
    masked = [answer for (_, asked), answer in sorted(answers.items()) if asked == "mask"]
    taken = [[answer.image, str(answer.other_image)] for answer in masked if _takes(answer)]
    taken += [[a.image, str(a.other_image)] for _, a in sorted(answers.items()) if a.action == "same"]
    return taken + [sorted({answer.image, *answer.others}) for answer in masked if answer.others]


def told_apart(clusters: Sequence[Sequence[str]], findings: pl.DataFrame, answers: Answers) -> list[list[str]]:
    """Return the clusters of copies without the pairs that decisions call different pictures.

    Two images stay in one cluster where a third one is a copy of both.

    Args:
        clusters: as the audit has them.
        findings: its table, with the pairs that the clusters were made from.
        answers: as `settled` returns them.
    """
    apart = {question for question, answer in answers.items() if answer.action == "not_same"}
    if not apart:
        return [list(cluster) for cluster in clusters]
    rows = findings.filter(pl.col("kind").is_in(PAIRED) & pl.col("other_image").is_not_null())
    pairs = {(min(pair), max(pair)) for pair in rows.select("image", "other_image").iter_rows()}
    kept = [(a, b) for a, b in sorted(pairs) if (a, f"same {b}") not in apart]
    found = list[list[str]]()
    for cluster in clusters:
        place = {image: number for number, image in enumerate(cluster)}
        if any(image in place and other.removeprefix("same ") in place for image, other in apart):
            parts = linked(len(cluster), [(place[a], place[b]) for a, b in kept if a in place and b in place])
            found += [[cluster[number] for number in part] for part in parts]
        else:
            found.append(list(cluster))
    return found


class _Masks:
    """Masks and object numbers as the decisions say, written as files."""

    def __init__(self, index: Index, answers: Answers) -> None:
        self.index, self.answers = index, answers
        self.rows = {image: row for row, image in enumerate(index.images)}
        self.labelled = set(index.labelled.images)
        self.contents: dict[str, Content] = {}
        self.regions: dict[str, list[Region]] = {}
        for answer in answers.values():
            if answer.region is not None and answer.action == "ignore_region":
                self.regions.setdefault(answer.image, []).append(answer.region)

    def write(self, row: int, image: str) -> dict[str, str | None]:
        """Write the labels of an image and return the two label columns; empty where its own stay as they are."""
        files: dict[str, str | None] = {c: self.index.table[c][row] for c in ("mask", "instances")}
        if image not in self.regions and _mask_answer(self.answers, image).action == "own_mask":
            return {}
        label = self._label(image, ())
        if self.index.target == "masks":
            files["mask"] = self._write("masks", image, to_ids(label, self.index.categories))
        numbers = self._numbers(image)
        files["instances"] = None if numbers is None else self._write("instances", image, numbers)
        counts = np.bincount(label.ravel(), minlength=256)[: len(self.index.categories)]
        areas = [objects(label, c) for c in range(len(self.index.categories))]
        self.contents[image] = (counts.tolist(), *object_sizes(self.index.categories, areas))
        return files

    def _label(self, image: str, asked: tuple[str, ...]) -> LabelMap:
        """Return the mask of an image as the decisions say, those of others on the way included."""
        if image in asked:
            raise DataError(
                problem(
                    "masks that lead to a mask of the folder",
                    f"a ring: {' → '.join((*asked, image))}",
                    where="use_mask_of in decisions.jsonl",
                    next_move="let one of these images keep its own_mask",
                )
            )
        answer = _mask_answer(self.answers, image)
        if _takes(answer):
            label = self._label(str(answer.other_image), (*asked, image))
            label = fitted(label, answer.transform or "identity", self._size(image))
        elif answer.action == "consensus":
            label = self._agreed(answer)
        elif answer.action == "drawn_mask":
            label = read_label(self.index.path(f"{MADE}{answer.file}"), as_written(self.index.categories))
        else:
            label = self._own(image)
        return _cut(label, self.regions.get(image, ()), IGNORE)

    def _numbers(self, image: str) -> Array | None:
        """Return the object numbers of an image, 0 wherever its mask says something else now; None without any."""
        answer = _mask_answer(self.answers, image)
        if _takes(answer):
            numbers = self._numbers(str(answer.other_image))
            if numbers is None:
                return None
            turned = apply(numbers, answer.transform or "identity").astype(np.int32)
            numbers = resize_instances(turned, self._size(image))
        else:
            file = self.index.table["instances"][self.rows[image]]
            if file is None:
                return None
            numbers = read_objects(self.index.path(file), like=turned_like(file, self.index.path(image)))
            if answer.action in ("consensus", "drawn_mask") and image in self.labelled:
                numbers = np.where(self._label(image, ()) == self._own(image), numbers, 0)
        return _cut(numbers, self.regions.get(image, ()), 0)

    def _agreed(self, answer: Decision) -> LabelMap:
        size = self._size(answer.image)
        own = [fitted(self._own(other), turn or "identity", size) for other, turn in answer.others.items()]
        return majority(np.stack(own))

    def _own(self, image: str) -> LabelMap:
        label = self.index.read_label(self.rows[image])
        assert label is not None, "checked before"
        return label

    def _size(self, image: str) -> tuple[int, int]:
        row = self.rows[image]
        return self.index.table["height"][row], self.index.table["width"][row]

    def _write(self, kind: str, image: str, array: Array) -> str:
        """Write a label file and return its path as the index has it."""
        target = self.index.imported / DECIDED.removeprefix(IMPORTED) / kind / name_of(image)
        made = write_array(target.with_name(target.name + ".png"), array)
        return f"{DECIDED}{kind}/{name_of(image)}{made.suffix}"


def _cut(values: Array, regions: Sequence[Region], blank: int) -> Array:
    """Return a map with regions blanked."""
    values = values.copy() if regions else values
    for left, top, right, bottom in regions:
        values[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)] = blank
    return values


def _takes(decision: Decision) -> bool:
    return decision.action == "use_mask_of"


def _mask_answer(answers: Answers, image: str) -> Decision:
    return answers.get((image, "mask"), Decision(image=image, action="own_mask", by=POLICY))


def _refuse(decision: Decision, log: Path, expected: str, got: str, next_move: str) -> None:
    where = f"{log}, line {decision.line}" if decision.line else str(log)
    raise DataError(problem(expected, got, where=where, next_move=next_move))
