"""Where items come from: the audit's findings, suspect masks, pseudo-labels and predictions of a run."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from maskwright.artifacts import read_folds
from maskwright.augment.dihedral import DIHEDRAL
from maskwright.data.formats.files import name_of
from maskwright.data.store import ProbabilityStore
from maskwright.errors import DataError
from maskwright.predict.uncertainty import entropy
from maskwright.progress import track
from maskwright.review.doubted import Doubted, doubted_objects
from maskwright.review.items import Item, Suggestion
from maskwright.review.source import Reviewed, digest_of
from maskwright.split import HELD_OUT
from maskwright.types import IGNORE, LabelMap

MOST_POOL = 2000
"""Images without masks whose predictions are read at most; of more, every so many-th."""

REGIONS = 3
"""Suspect regions of one image that are asked about."""

_RARE = 0.25
_APART = 0.005
_SIDE = 128


@dataclass(frozen=True)
class Labels:
    """A folder of predicted labels.

    Attributes:
        told: what people read.
        folder: where it lies, relative to the run folder.
        number, fold: of the round and the fold of its networks; fold None: all.
    """

    told: str
    folder: str
    number: int
    fold: int | None


def pair_items(run: Reviewed, findings: pl.DataFrame) -> Iterator[Item]:
    """Yield conflicts, and pairs that may show the same thing; the more so the less they are alike."""
    for row in findings.filter(pl.col("other_image").is_not_null()).iter_rows(named=True):
        image, other, kind = row["image"], row["other_image"], row["kind"]
        if not {image, other} <= run.rows.keys() or {image, other} & run.unusable:
            continue
        turn = _transform(row["detail"])
        if kind == "conflict":
            two = Suggestion("mask of the first", image), Suggestion("mask of the second", other)
            agree = row["value"] if row["value"] is not None else 1.0
            told = f"{agree:.1%} of the pixels agree"
            yield Item("conflict", image, other, turn, score=1 - agree, detail=told, suggestions=two)
        elif kind in ("duplicate_near", "crop", "overlap"):
            alike = row["value"] if row["value"] is not None else 1.0
            told = {"duplicate_near": "nearly the same", "crop": "one is cut out of the other"}.get(
                kind, "they overlap"
            )
            told = f"{told}, correlation {alike:.4f}"
            yield Item("duplicate", image, other, turn, score=1 - alike, detail=told)


def outlier_items(run: Reviewed, findings: pl.DataFrame) -> Iterator[Item]:
    """Yield images that are unlike the others, one item an image."""
    seen = set[str]()
    rows = findings.filter(pl.col("kind").str.starts_with("outlier_"))
    for row in rows.sort("value", "image", descending=[True, False], nulls_last=True).iter_rows(named=True):
        if row["image"] in run.rows and row["image"] not in seen:
            seen.add(row["image"])
            way = row["kind"].removeprefix("outlier_")
            yield Item("outlier", row["image"], score=row["value"] or 0.0, detail=f"it stands out ({way})")


def rare_items(run: Reviewed, findings: pl.DataFrame) -> Iterator[Item]:
    """Yield the only masks that hold a category."""
    for image in sorted(set(findings.filter(pl.col("kind") == "rare_category")["image"])):
        if image in run.rows and run.masked(image):
            told = "a category that no other mask holds"
            mask = (Suggestion("mask", image),)
            yield Item("rare", image, score=1.0, need=1.0, detail=told, suggestions=mask)


def suspect_items(run: Reviewed, rarity: dict[str, float]) -> Iterator[Item]:
    """Yield masks that lie in the wrong place, and regions that predictions contradict, the first of each image."""
    shifts, regions = (run.table(run.folder.suspects / f"{name}.parquet") for name in ("images", "suspects"))
    for row in [] if shifts is None else shifts.filter("shifted").iter_rows(named=True):
        if row["image"] in run.rows:
            move = row["shift_down"], row["shift_right"]
            told = f"moved by {move[0]} px down and {move[1]} px right it fits its prediction best"
            two = Suggestion("mask", row["image"]), Suggestion("moved mask", row["image"], shift=move)
            yield Item("shifted", row["image"], score=row["shift_gain"], detail=told, suggestions=two)
    counts = dict[str, int]()
    for row in [] if regions is None else regions.iter_rows(named=True):
        image = row["image"]
        counts[image] = counts.get(image, 0) + 1
        if image not in run.rows or counts[image] > REGIONS:
            continue
        box = row["left"], row["top"], row["left"] + row["width"], row["top"] + row["height"]
        swap = row["given"], row["suggested"]
        told = f"drawn as {swap[0]}, predicted as {swap[1]}: {row['area']:.0f} px"
        found = [Suggestion("mask", image)]
        if (file := run.prediction(image)) is not None:
            found.append(Suggestion(f"{swap[0]} → {swap[1]}", image, file, swap))
        need = max(rarity.get(name, 0.0) for name in swap)
        yield Item("suspect", image, None, None, box, row["score"], need, told, tuple(found))


def pool_items(run: Reviewed, rarity: dict[str, float], answered: frozenset[str]) -> Iterator[Item]:
    """Yield images without masks: where two pseudo-labels disagree, or objects have low scores, else by uncertainty.

    Args:
        run: what is read.
        rarity: 0..1 of each category.
        answered: images that have a mask by a decision, or are dropped.
    """
    pool = [i for i in run.index.images if not run.masked(i) and i not in answered and i not in run.unusable]
    step = -(-len(pool) // MOST_POOL) or 1
    store, rounds = ProbabilityStore(run.folder.store("pool")), label_folders(run.folder.root)
    objects = doubted_objects(run)
    for image in track(pool[::step], "review: images without masks", len(pool[::step])):
        try:
            found = _pool_item(run, image, store, rounds, rarity, objects.get(name_of(image)))
        except (DataError, OSError, ValueError, KeyError):  # a file that can't be read is nobody's choice
            continue
        if found is not None:
            yield found


def rarity_of(run: Reviewed) -> dict[str, float]:
    """Return category → 0..1: 0 in a quarter of the labelled images or more, 1 in none."""
    classes = run.table(run.folder.audit / "classes.parquet")
    if classes is None:
        return {}
    shares = classes.select("category", "image_share").iter_rows()
    return {name: max(0.0, 1 - share / _RARE) for name, share in shares}


def label_folders(root: Path) -> list[Labels]:
    """Return the pseudo-labels of the last two rounds; those of a round are made by the networks of the one before."""
    found = []
    for path in root.glob("round-*/pseudo/fold-*/labels*"):
        place = re.fullmatch(r"round-(\d+)/pseudo/fold-(\d+)/labels(-2)?", path.relative_to(root).as_posix())
        if place and path.is_dir():
            found.append((int(place[1]), int(place[2]), place[3] or "", path.relative_to(root).as_posix()))
    last = max((number for number, *_ in found), default=0)
    kept = [entry for entry in sorted(found) if entry[0] >= last - 1]
    second = {(number, fold) for number, fold, again, _ in kept if again}
    chosen = [e for e in kept if e[2] or (e[0], e[1]) not in second]  # the second pass is the one that is learned from
    return [Labels(f"round {n}, fold {fold}", folder, n if again else n - 1, fold) for n, fold, again, folder in chosen]


def _pool_item(
    run: Reviewed,
    image: str,
    store: ProbabilityStore,
    rounds: Sequence[Labels],
    rarity: dict[str, float],
    objects: Doubted | None,
) -> Item | None:
    name = name_of(image)
    known = [_predicted(run, image, f"{labels.folder}/{name}.png", labels) for labels in rounds]
    found = [suggestion for suggestion in known if suggestion is not None]
    everyone = Labels("prediction", "predictions/labels", *delivering(run))
    mean = _predicted(run, image, f"{everyone.folder}/{name}.png", everyone)
    if mean is not None and (mean.learnable or not found):
        found.append(mean)
    small = [_small(run.label_file(str(suggestion.file))) for suggestion in found]
    names = run.index.categories.names
    there = {names[p] for label in small for p in np.unique(label).tolist() if p < len(names)}
    need = max((rarity.get(category, 0.0) for category in there), default=0.0)
    apart = {(a, b): _disagreement(small[a], small[b]) for a, b in combinations(range(len(small)), 2)}
    if apart and (worst := max(apart.values())) >= _APART:
        first, second = next(pair for pair, share in apart.items() if share == worst)
        told = f"they differ in {worst:.1%} of the pixels"
        two = found[first], found[second]
        return Item("disagreement", image, score=worst, need=need, detail=told, suggestions=two)
    if objects is not None and mean is not None:
        box = objects.box(run, image)
        return Item("objectness", image, None, None, box, objects.score, need, objects.told, (mean,))
    if not found or name not in store:
        return None
    unsure = float(entropy(store.read(name)[:, ::4, ::4]).mean())
    last = [s for s in found if s.maker is not None and s.maker[0] == max(o.maker[0] for o in found if o.maker)]
    one = (last[sum(image.encode()) % len(last)],)  # the folds take turns: a label is learned from by its own
    return Item("uncertain", image, score=unsure, need=need, detail=f"entropy {unsure:.3f} of 1", suggestions=one)


def _predicted(run: Reviewed, image: str, file: str, labels: Labels) -> Suggestion | None:
    """Return a predicted label as it stands in its file, None if there is none."""
    path = run.folder.root / file
    if not path.is_file():
        return None
    label = run.label_file(file)
    digest = digest_of(label)
    return Suggestion(labels.told, image, file, maker=(labels.number, labels.fold), digest=digest)


def delivering(run: Reviewed) -> tuple[int, int | None]:
    """Return the round and the fold of the networks that predict the pool; None: those of all folds."""
    folds = read_folds(run.folder.folds) if run.folder.folds.is_file() else None
    alone = folds is not None and folds.filter(pl.col("fold") != HELD_OUT)["fold"].n_unique() == 1
    return run.folder.adopted_round, 0 if alone else None


def _small(label: LabelMap) -> LabelMap:
    """Return a label map thinned to at most `_SIDE` rows and columns."""
    rows, columns = (np.linspace(0, n - 1, min(n, _SIDE)).round().astype(int) for n in label.shape)
    return np.asarray(label[np.ix_(rows, columns)], np.uint8)


def _disagreement(first: LabelMap, second: LabelMap) -> float:
    """Return the share of pixels in which two label maps differ, of those that both know; 0 where these are few."""
    if first.shape != second.shape:
        return 0.0
    known = (first != IGNORE) & (second != IGNORE)
    return float((first != second)[known].mean()) if known.mean() > 0.01 else 0.0


def _transform(detail: str) -> str:
    """Return the flip or turn that a finding's detail names: `the same picture (flip_lr) with …`, `flip_lr, …`."""
    words: list[Any] = re.split(r"[(),\s]+", detail)
    return next((word for word in words if word in DIHEDRAL), "identity")
