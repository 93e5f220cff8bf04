"""The index as the decisions leave it: images that are dropped, masks that are taken over, agreed on or cut out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import polars as pl

from maskwright.artifacts import DECIDED, IMPORTED, MADE
from maskwright.audit.duplicates import CROWD
from maskwright.audit.duplicates import clusters as linked
from maskwright.audit.inspect import object_sizes
from maskwright.audit.masks import Answers, DecidedMasks, takes
from maskwright.audit.shapes import measure_all
from maskwright.augment.dihedral import DIHEDRAL
from maskwright.data.categories import as_written, read_label, to_ids
from maskwright.data.formats.files import name_of
from maskwright.data.images import size_of
from maskwright.data.index import Index
from maskwright.data.written import write_array
from maskwright.decisions import QUESTIONS, Decision
from maskwright.errors import DataError, problem
from maskwright.progress import track
from maskwright.types import Array

Content = tuple[list[int], int, float | None]

PAIRED = ("conflict", "crop", "duplicate_exact", "duplicate_near", "overlap")
"""Kinds of findings by which two images count as copies."""

CLEARED = "no stranger"
"""What a person's `belongs` makes of an outlier, or a `keep` that is about it."""

REMOVED_SCHEMA = {
    "image": pl.String,
    "kind": pl.String,
    "other_image": pl.String,
    "by": pl.String,
    "reason": pl.String,
    "value": pl.Float64,
}

ACCEPTED_SCHEMA = {"image": pl.String, "mask": pl.String, "seen": pl.String, "strokes": pl.String}
"""Of images that have no mask but by networks: `mask` is learned from by trainings that are scored on no image that the
networks have learned from (`seen`, a file in the run folder; null: nobody knows), `strokes`, what a person drew on it,
by all others; null where there is none."""


@dataclass(frozen=True)
class Decided:
    """What the decisions come to.

    Attributes:
        table: the index without what is dropped; replaced masks are files below `DECIDED`; the column `twin_of` names
            the image whose mask an unlabelled copy has taken over, null elsewhere: these are learned from and never
            scored.
        removed: one row a dropped image: image, kind, other_image, by, reason, value.
        contents: image → pixels of each category, objects and their median area, of the images with another mask than
            the folder's.
        accepted: one row an image whose mask is a prediction that somebody accepted, or drew on: see `ACCEPTED_SCHEMA`.
    """

    table: pl.DataFrame
    removed: pl.DataFrame
    contents: dict[str, Content]
    accepted: pl.DataFrame


def check_decisions(index: Index, answers: Answers, unusable: Sequence[str], log: Path) -> None:
    """Raise DataError if a decision can't be carried out: unknown images or transforms, masks that aren't there."""
    known = dict(zip(index.images, index.table[index.label_column].is_not_null(), strict=True))
    broken = set(unusable)
    for decision in answers.values():
        if decision.action == "confirm" or (decision.by_policy and decision.image not in known):
            continue  # nothing to carry out; of an image that the folder has no more
        sources: dict[str, str | None] = {**decision.others}
        if takes(decision):
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
        for name in (decision.file, decision.objects, decision.where):
            if name is not None:
                _check_drawn(index, decision, name, log)
        if decision.action in ("consensus", "ignore_region", "drawn_mask", "patch_mask") and index.target != "masks":
            _refuse(decision, log, "semantic masks", "instance maps", "drop the image instead, or use another mask")


def _check_drawn(index: Index, decision: Decision, name: str, log: Path) -> None:
    """Raise DataError if a mask that a line names isn't in the run folder, or can't be that of its image."""
    if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
        _refuse(decision, log, "a file in the run folder", name, "name it relative to that")
    file, row = index.path(MADE + name), index.images.index(decision.image)
    if not file.is_file():
        _refuse(decision, log, f"the mask {name} in the run folder", "none", "draw it again, or undo this line")
    size = index.table["height"][row], index.table["width"][row]
    found = read_label(file, as_written(index.categories)).shape if name == decision.file else size_of(file)[:2]
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
    masks = DecidedMasks(index, answers)
    changed = masks.changed - set(dropped)
    changes = [(row, image) for row, image in enumerate(index.images) if image in changed]
    writer = _Writer(index, masks)
    with ThreadPoolExecutor(4) as pool:
        written = list(track(pool.map(lambda change: writer.write(*change), changes), "write masks", len(changes)))
    new = {image: files for (_, image), files in zip(changes, written, strict=True) if files}
    taken = [image for image in new if takes(masks.answer(image)) and not masks.labelled(image)]
    twins = {image: str(masks.answer(image).other_image) for image in taken}
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
    contents = {image: writer.contents[image] for _, image in changes if image in writer.contents}  # in one order
    accepted = [writer.accepted[image] for _, image in changes if image in writer.accepted]
    return Decided(
        table,
        pl.DataFrame(removed, schema=REMOVED_SCHEMA, orient="row"),
        contents,
        pl.DataFrame(accepted, schema=ACCEPTED_SCHEMA, orient="row"),
    )


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
    if row["kind"].startswith("outlier_") and not gone and (said := _belongs(row["image"], answers)) is not None:
        return f"{CLEARED} ({said.by})"
    masks = [answers[name, "mask"] for name in names if (name, "mask") in answers and name not in gone]
    taken = [m for m in masks if m.action == "consensus" or (takes(m) and m.other_image in names)]
    told = [f"{mask.image}: {mask.told()}" for mask in taken if len(names) == 2]
    if gone:
        told += [f"dropped {' and '.join(gone)} ({', '.join(dict.fromkeys(uses[name].by for name in gone))})"]
    if told:
        return "; ".join(told)
    if row["kind"] == "conflict":
        return f"both kept in one fold ({next(iter(uses.values())).by})" if uses else "open"
    return str(row["decision"])


def _belongs(image: str, answers: Answers) -> Decision | None:
    """Return by what a person says that an image is no stranger; a `keep` about something else says nothing of it."""
    said, keep = answers.get((image, "belongs")), answers.get((image, "use"))
    if said is None and keep is not None and keep.action == "keep":
        kind = keep.kind.removeprefix("review:")
        said = keep if not kind or kind.startswith("outlier") else None
    return None if said is None or said.by_policy else said


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
    taken = [[answer.image, str(answer.other_image)] for answer in masked if takes(answer)]
    taken += [[a.image, str(a.other_image)] for _, a in sorted(answers.items()) if a.action == "same"]
    return taken + [sorted({answer.image, *answer.others}) for answer in masked if answer.others]


def told_apart(clusters: Sequence[Sequence[str]], findings: pl.DataFrame, answers: Answers) -> list[list[str]]:
    """Return the clusters of copies without the pairs that decisions call different pictures.

    Two images stay in one cluster where a third one is a copy of both. Of images with equal pixels, or one value
    throughout, and of crowds, the audit lists pairs with one of them only: there, what is like the one is like the
    other.

    Args:
        clusters: as the audit has them.
        findings: its table, with the pairs that the clusters were made from.
        answers: as `settled` returns them.
    """
    apart = {question for question, answer in answers.items() if answer.action == "not_same"}
    if not apart:
        return [list(cluster) for cluster in clusters]
    rows = findings.filter(pl.col("kind").is_in(PAIRED) & pl.col("other_image").is_not_null())
    pairs, equal = set[tuple[str, str]](), set[tuple[str, str]]()
    for first, second, kind, value in rows.select("image", "other_image", "kind", "value").iter_rows():
        pair = min(first, second), max(first, second)
        pairs.add(pair)
        if kind == "duplicate_exact" or (kind == "duplicate_near" and value is not None and value >= 1):
            equal.add(pair)
    found = list[list[str]]()
    for cluster in clusters:
        place = {image: number for number, image in enumerate(cluster)}
        inside = [(a, b) for a, b in sorted(pairs) if a in place and b in place]
        gone = [(a, b) for a, b in inside if (a, f"same {b}") in apart]
        if gone:
            links = [pair for pair in inside if pair not in gone]
            links += _implied(gone, inside if len(cluster) > CROWD else [pair for pair in inside if pair in equal])
            parts = linked(len(cluster), [(place[a], place[b]) for a, b in links])
            found += [[cluster[number] for number in part] for part in parts]
        else:
            found.append(list(cluster))
    return found


def _implied(gone: Sequence[tuple[str, str]], alike: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the pairs that nobody listed, since each of the two was like one and the same: x – a – b gives x – b."""
    near = dict[str, set[str]]()
    for first, second in alike:
        near.setdefault(first, set()).add(second)
        near.setdefault(second, set()).add(first)
    found = list[tuple[str, str]]()
    for first, second in gone:
        if second in near.get(first, ()):
            found += [(second, other) for other in sorted(near[first] - {second})]
            found += [(first, other) for other in sorted(near[second] - {first})]
    return found


class _Writer:
    """Masks and object numbers as the decisions say, written as files."""

    def __init__(self, index: Index, masks: DecidedMasks) -> None:
        self.index, self.masks = index, masks
        self.contents: dict[str, Content] = {}
        self.accepted: dict[str, tuple[str, str | None, str | None, str | None]] = {}

    def write(self, row: int, image: str) -> dict[str, str | None]:
        """Write the labels of an image and return the two label columns; empty where its own stay as they are."""
        files: dict[str, str | None] = {c: self.index.table[c][row] for c in ("mask", "instances")}
        if not self.masks.differs(image):
            return {}
        if self.masks.predicted(image):
            self.accepted[image] = self._accepted(image)
            return {}
        label = self.masks.label(image)
        if self.index.target == "masks":
            files["mask"] = self._write("masks", image, to_ids(label, self.index.categories))
        numbers = self.masks.numbers(image)
        files["instances"] = None if numbers is None else self._write("instances", image, numbers)
        counts = np.bincount(label.ravel(), minlength=256)[: len(self.index.categories)]
        told = numbers if self.index.both or self.index.target == "instances" else None
        measured = measure_all(label, self.index.categories, told, both=self.index.both)
        areas = [found for found, _ in measured]
        self.contents[image] = (counts.tolist(), *object_sizes(self.index.categories, areas))
        return files

    def _accepted(self, image: str) -> tuple[str, str | None, str | None, str | None]:
        """Write what is learned from an image without a mask of its own; return its row."""
        answer, categories, mask, strokes = self.masks.answer(image), self.index.categories, None, None
        if answer.action == "drawn_mask":
            mask = self._write("accepted", image, to_ids(self.masks.label(image), categories))
        if self.masks.changes.get(image):
            strokes = self._write("strokes", image, to_ids(self.masks.strokes(image), categories))
        return image, mask, answer.seen or None, strokes

    def _write(self, kind: str, image: str, array: Array) -> str:
        """Write a label file and return its path as the index has it."""
        target = self.index.imported / DECIDED.removeprefix(IMPORTED) / kind / name_of(image)
        made = write_array(target.with_name(target.name + ".png"), array)
        return f"{DECIDED}{kind}/{name_of(image)}{made.suffix}"


def _refuse(decision: Decision, log: Path, expected: str, got: str, next_move: str) -> None:
    where = f"{log}, line {decision.line}" if decision.line else str(log)
    raise DataError(problem(expected, got, where=where, next_move=next_move))
