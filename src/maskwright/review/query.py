"""Which images to label next: those the networks are unsure of, that look like no other, with what is rare or missed.

An image's worth is the rank of its uncertainty among all (0..1), times how unlike it is to every image that has a mask
or was chosen before it (0..1), times 1 to 3/2 by how rare or badly predicted the categories are that it seems to hold,
times .8 for each image of its group that was chosen. One after the other, the image of the largest worth is chosen.
The same run folder gives the same images.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from maskwright.artifacts import read_json, read_table
from maskwright.audit.features import Features, features
from maskwright.audit.replay import CLEARED
from maskwright.data.formats.files import name_of
from maskwright.data.images import read_preview
from maskwright.data.store import ProbabilityStore
from maskwright.decisions import read_decisions, settled
from maskwright.errors import DataError, UsageError, problem
from maskwright.predict.uncertainty import entropy
from maskwright.progress import track
from maskwright.review.queue import pictures_of
from maskwright.review.source import Reviewed
from maskwright.review.sources import rarity_of
from maskwright.types import Array, Probabilities

Values = npt.NDArray[np.float64]

MOST_LOOKED_AT = 5000
"""Images without a mask whose looks are compared at most: of more, those of the largest uncertainty and need. Of those
with a mask, at most so many, too: every so many-th."""

_TAIL = 0.1
"""Share of the pixels, the most uncertain, whose entropy is averaged: that of all pixels is low wherever an object is
small. A choice."""
_THERE = 0.001
_GIVING = ("use_mask_of", "consensus", "drawn_mask", "patch_mask")
_GROUP = 0.8
_SIDE = 256
_THREADS = 4


@dataclass(frozen=True)
class Candidate:
    """An image without a mask.

    Attributes:
        image: as the index has it.
        uncertainty: 0..1: mean entropy of the tenth of its pixels that are most uncertain.
        need: 0..1, how rare or badly predicted the neediest category is that is predicted in it.
        category: that category.
        group: as the index has it.
    """

    image: str
    uncertainty: float
    need: float = 0.0
    category: str = ""
    group: str | None = None


@dataclass(frozen=True)
class Chosen:
    """A candidate that was chosen.

    Attributes:
        candidate: the image.
        worth: what it was chosen by.
        rank: 0..1, the place of its uncertainty among all candidates.
        novelty: 0..1, how unlike it is to what has a mask and was chosen before it: .5 is usual at the start.
        nearest: the image with a mask, or chosen before, that looks most like it; empty for none.
    """

    candidate: Candidate
    worth: float
    rank: float
    novelty: float
    nearest: str = ""


def query(run: Reviewed, count: int, *, asked: Iterable[str] = ()) -> tuple[list[Chosen], int]:
    """Return the images of a run's pool to label next, the most worth first, and how many there were to choose from.

    Left out are images that have a mask by a decision, copies of such, those that a person dropped, that can't be read
    or that the audit finds unlike all others (unless a person said that they belong).

    Args:
        run: finished: its networks have predicted the pool.
        count: how many, at least 1.
        asked: images that are being labelled.

    Raises:
        UsageError: there is nothing to choose from, or the pool isn't predicted.
        DataError: an artifact is damaged, or none of the images can be read.
    """
    taken = frozenset(asked)
    found = candidates(run, taken)
    if not found:
        raise _nothing(run, taken)
    kept = sorted(found, key=lambda c: (-c.uncertainty * (1 + c.need / 2), c.image))[:MOST_LOOKED_AT]
    labelled = [image for image in run.index.images if run.masked(image) and image not in run.unusable]
    labelled = labelled[:: -(-len(labelled) // MOST_LOOKED_AT) or 1]
    known = [*labelled, *sorted(taken & run.rows.keys())]
    looks, own = _looks(run, known), _looks(run, [candidate.image for candidate in kept])
    shown = [candidate for candidate in kept if candidate.image in own]
    if not shown:
        got, next_move = f"none of {len(kept)}", "put the images back that the run was made of"
        raise DataError(problem("images that can be read", got, where=str(run.index.root), next_move=next_move))
    table = np.array([own[candidate.image] for candidate in shown], np.float64)
    anchors = {image: np.asarray(values, np.float64) for image, values in looks.items()}
    return choose(shown, table, anchors, count, copies=pictures_of(run), ranks=_ranks(found)), len(found)


def candidates(run: Reviewed, asked: frozenset[str] = frozenset()) -> list[Candidate]:
    """Return the images of a run's pool that could be labelled, with what their predictions say; see `query`."""
    answers = settled(read_decisions(run.folder.decisions))
    given = {d.image for d in answers.values() if d.action in _GIVING and (d.action != "patch_mask" or not d.made_by)}
    out = {d.image for d in answers.values() if d.action == "drop"} | given | run.unusable | _strangers(run) | asked
    copies = pictures_of(run)
    covered = {copies[i] for i in run.index.images if i in copies and (run.masked(i) or i in asked | given)}
    pool = [i for i in run.index.images if not run.masked(i) and i not in out and copies.get(i) not in covered]
    store = ProbabilityStore(run.folder.store("pool", run.folder.adopted_round))
    pool = [image for image in pool if name_of(image) in store]
    need, names = need_of(run), run.index.categories.names
    groups = dict(run.index.table.select("image", "group").iter_rows())

    def read(image: str) -> Candidate | None:
        try:
            return _candidate(image, store.read(name_of(image)), names, need, groups[image])
        except (DataError, OSError):  # a map that can't be read is nobody's choice
            return None

    with ThreadPoolExecutor(_THREADS) as threads:
        found = list(track(threads.map(read, pool), "query: predictions of the pool", len(pool)))
    return [candidate for candidate in found if candidate is not None]


def need_of(run: Reviewed) -> dict[str, float]:
    """Return category → 0..1: how rare it is in the labelled images, or 1 - its out-of-fold Dice, whichever is more.

    The held-out part has no say in what is labelled: it scores what was learned from that. Categories that the metric
    leaves out are needed by nobody: 0.
    """
    needed, path = rarity_of(run), run.folder.predictions / "evaluation.json"
    scores = read_json(path) if path.is_file() else {}
    left_out = run.index.categories.left_out
    found = dict[str, float]()
    for name in run.index.categories.names:
        dice = scores.get(f"oof/dice/{name}", {}).get("value")
        badly = 0.0 if dice is None else 1 - float(dice)
        found[name] = 0.0 if name in left_out else min(1.0, max(badly, needed.get(name, 0.0)))
    return found


def choose(
    found: Sequence[Candidate],
    table: Values,
    anchors: Mapping[str, Values],
    count: int,
    *,
    copies: Mapping[str, int] | None = None,
    ranks: Mapping[str, float] | None = None,
) -> list[Chosen]:
    """Choose images one after the other by their worth; of copies of one picture at most one.

    Novelty is d / (d + m), where d is the distance to the nearest image with a mask or chosen before, in features that
    are standardised over all images, and m the median of these distances at the start.

    Args:
        found: to choose from.
        table: (n, F) features of each.
        anchors: image with a mask → its (F,) features.
        count: how many at most.
        copies: image → number of the cluster of copies that it is in.
        ranks: image → 0..1; default: of the uncertainty among `found`.

    Returns:
        those that were chosen, in order; fewer than `count` where there are no more.
    """
    if not found:
        return []
    known = np.array([*anchors.values()], np.float64).reshape(len(anchors), table.shape[1])
    scaled, fixed = _standardised(table, known)
    nearest, distance = _nearest(scaled, fixed)
    names, median = [*anchors], float(np.median(distance)) if anchors else 0.0
    places = ranks or _ranks(found)
    rank = np.array([places[candidate.image] for candidate in found])
    wanted = rank * (1 + 0.5 * np.array([candidate.need for candidate in found]))
    left, kin, chosen = np.ones(len(found), bool), Counter[str](), list[Chosen]()
    median = median or _spread(scaled)
    while len(chosen) < count and left.any():
        novelty = np.ones(len(found)) if not names else distance / (distance + median) if median else 0 * distance
        damped = np.array([_GROUP ** kin[c.group] if c.group is not None else 1.0 for c in found])
        worth = np.where(left, wanted * novelty * damped, -1.0)
        best = int(worth.argmax())
        candidate = found[best]
        like = names[nearest[best]] if names else ""
        chosen.append(Chosen(candidate, float(worth[best]), float(rank[best]), float(novelty[best]), like))
        kin.update([] if candidate.group is None else [candidate.group])
        same = None if copies is None else copies.get(candidate.image)
        left &= np.array([c.image != candidate.image and (same is None or _of(copies, c) != same) for c in found])
        to_this = np.sqrt(((scaled - scaled[best]) ** 2).sum(axis=1))
        nearest = np.where(to_this < distance, len(names), nearest)
        distance, names = np.minimum(distance, to_this), [*names, candidate.image]
    return chosen


def _of(copies: Mapping[str, int] | None, candidate: Candidate) -> int | None:
    return None if copies is None else copies.get(candidate.image)


def _candidate(
    image: str, probabilities: Probabilities, names: Sequence[str], need: Mapping[str, float], group: str | None
) -> Candidate:
    step = max(1, round(max(probabilities.shape[1:]) / _SIDE))
    thin = probabilities[:, ::step, ::step]
    shares = np.bincount(thin.argmax(axis=0).ravel(), minlength=len(names)) / thin[0].size
    there = [name for name, share in zip(names, shares, strict=False) if share >= _THERE]
    neediest = max(there, key=lambda name: need.get(name, 0.0))
    return Candidate(image, tail_entropy(entropy(thin)), need.get(neediest, 0.0), neediest, group)


def tail_entropy(values: Array) -> float:
    """Return the mean of the tenth of the values that are largest, of at least one.

    Example:
        >>> tail_entropy(np.arange(20.0))
        18.5
    """
    most = max(1, round(_TAIL * values.size))
    return float(np.partition(values.ravel(), values.size - most)[values.size - most :].mean(dtype=np.float64))


def _ranks(found: Sequence[Candidate]) -> dict[str, float]:
    """Return image → share of the candidates that are no more uncertain than it; equal ones have one rank."""
    ordered = np.sort([candidate.uncertainty for candidate in found])
    return {c.image: float(np.searchsorted(ordered, c.uncertainty, "right") / len(found)) for c in found}


def _looks(run: Reviewed, images: Sequence[str]) -> dict[str, Features]:
    """Return image → what it looks like, of those that can be read."""

    def read(image: str) -> Features | None:
        try:
            path = run.path(run.index.table["image"][run.rows[image]])
            return features(read_preview(path, _SIDE, color=True).pixels)
        except DataError:
            return None

    with ThreadPoolExecutor(_THREADS) as threads:
        found = list(track(threads.map(read, images), "query: looks of images", len(images)))
    return {image: values for image, values in zip(images, found, strict=True) if values is not None}


def _standardised(table: Values, known: Values) -> tuple[Values, Values]:
    """Return both tables with mean 0 and standard deviation 1 over all rows; what doesn't vary is 0."""
    whole = np.concatenate([table, known])
    mean, spread = whole.mean(axis=0), whole.std(axis=0)
    varies = spread > 1e-9 * np.maximum(1, np.abs(mean))
    scale = np.where(varies, spread, 1.0)
    return np.where(varies, (table - mean) / scale, 0.0), np.where(varies, (known - mean) / scale, 0.0)


def _nearest(scaled: Values, fixed: Values) -> tuple[npt.NDArray[np.int64], Values]:
    """Return for each row the place of the nearest fixed one, and the distance; infinity where there is none."""
    place, distance = np.zeros(len(scaled), np.int64), np.full(len(scaled), np.inf)
    for number, row in enumerate(fixed):
        to_this = np.sqrt(((scaled - row) ** 2).sum(axis=1))
        place, distance = np.where(to_this < distance, number, place), np.minimum(distance, to_this)
    return place, distance


def _spread(scaled: Values) -> float:
    """Return the median distance of the images to their mean: the measure where none has a mask."""
    return float(np.median(np.sqrt((scaled**2).sum(axis=1))))


def _strangers(run: Reviewed) -> frozenset[str]:
    found = read_table(run.folder.findings).filter(pl.col("kind").str.starts_with("outlier_"))
    return frozenset(found.filter(~pl.col("decision").fill_null("").str.starts_with(CLEARED))["image"])


def _nothing(run: Reviewed, asked: frozenset[str]) -> UsageError:
    bare = [image for image in run.index.images if not run.masked(image) and image not in run.unusable]
    if not bare:
        got, next_move = "none: every image has a mask", "put images into unlabeled/ of the data folder, and run again"
        next_move += f": maskwright run --recipe {run.folder.recipe} --out {run.folder.root} --redo"
    elif not any(run.folder.store("pool", run.folder.adopted_round).rglob("*.npz")):
        got = f"{len(bare)} that this run has not predicted"
        next_move = f"finish it: maskwright run --recipe {run.folder.recipe} --out {run.folder.root}"
    else:
        got = f"{len(bare)}, of which all are copies, dropped, unlike all others, or asked for before ({len(asked)})"
        next_move = "bring back what was asked for (--import EXPORT), or see audit/findings.parquet for the others"
    return UsageError(
        problem("images without a mask to choose from", got, where=str(run.folder.root), next_move=next_move)
    )
