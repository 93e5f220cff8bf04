"""What answers in the review bring: score against number of decisions, in the queue's order and in a random one.

Of `teeth` (binary) and `mars_gray`, three tenths of the groups are held out; of the others a quarter keeps its masks,
and the rest is the pool. Of the masks that are left, three tenths are made wrong, half of them moved by a sixteenth of
the image's height, half with their largest connected piece taken for something else. The run learns from that with a
round of pseudo-labels, `maskwright review` puts together its queue, an expert who sees the truth answers its first
items, and the same run learns from the answers. The other order is that of the same items drawn at random. Both learn
as many steps, from the same start; both begin with the run without answers, whose score is the row of 0.

The expert presses keys and never draws: A or B, whichever agrees with the truth in more pixels; a prediction is good
enough from nine tenths of the pixels on, else it is passed over, which counts as a decision; pictures are the same if
every pixel is; none is alien. An answer that can't be taken any more, for another about the image came first, counts.

Scores are those of the mean of the two folds' networks after the round on the held-out images, whose masks are right,
the mean of the seeds; a seed also draws which masks are kept, which are wrong, and the random order. Intervals resample
the groups.

Resumable: with --keep, runs that are finished aren't run again, and one that was cut short goes on.
"""

import argparse
import csv
import json
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from benchmarks import record
from benchmarks.few_label_sets import PRECISION, SETS, Set, network
from benchmarks.few_labels import Measured, add_options, budget_of, compared, run_once, score_of
from benchmarks.record import Row
from benchmarks.rounds import held_out_of_all, held_out_tables, where_it_runs
from maskwright.errors import UsageError
from maskwright.labels import components
from maskwright.review import Desk, Reply, Reviewed, build_queue
from maskwright.review.answers import ANSWERS, answers_of
from maskwright.review.items import Kind
from maskwright.statistics import bootstrap
from maskwright.types import IGNORE, LabelMap

QUEUE, RANDOM = "queue", "random"
GOOD = 0.9
"""Share of the pixels from which on a prediction is good enough to learn from."""
ANSWERED = {kind: {answer.name for answer in taken} for kind, taken in ANSWERS.items()}
"""Names of the answers that an item of each kind takes."""

_HELD, _KEPT, _WRONG = 0.3, 0.25, 0.3
_SETTINGS = ("audit.crops=false", "audit.pictures=false", "predict.overlays=0", "evaluate.families=[]")
_PLAIN = ("postprocess.search=[]", "split.folds=2", "split.seed=0", "report.price_of_leaks=false")
_ROUND = {"rounds": 1, "adopt": "always", "method": {"kind": "pseudo_labels"}}


class Point(NamedTuple):
    """Runs of one number of decisions in one order: the run folder of each seed, and what was answered there."""

    outs: list[Path]
    answers: list[dict[str, int]]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks review_decisions", description=__doc__)
    add_options(parser)
    parser.set_defaults(seeds=[0, 1, 2])
    parser.add_argument("--only", nargs="*", default=["mars_gray", "teeth"], choices=["mars_gray", "teeth"])
    parser.add_argument("--images", type=int, help="of each set, for a try; default: all")
    parser.add_argument("--decisions", nargs="*", type=int, default=[20, 80])
    arguments = parser.parse_args()
    rows = record.read("review_decisions")
    for name in arguments.only:
        wanted, steps = SETS[name], budget_of(arguments) // 2 // 8 * 8  # two trainings, validated eight times each
        with ThreadPoolExecutor(arguments.jobs) as pool:
            bases = list(pool.map(lambda seed, n=name, s=steps: base_run(n, seed, s, arguments), arguments.seeds))
        points = {
            (number, order): answered_runs(bases, order, number, arguments)
            for number in arguments.decisions
            for order in (RANDOM, QUEUE)
        }
        scored = held_out_of_all([*bases, *(out for point in points.values() for out in point.outs)])
        about = (wanted, arguments.data / wanted.folder, steps, scored)
        before = measured(bases, *about)
        rows[f"{name}, 0 decisions"] = to_row(wanted, before, None, "", arguments, {})
        for number in arguments.decisions:
            found = {}
            for order in (RANDOM, QUEUE):
                point = points[number, order]
                found[order] = measured(point.outs, *about)
                told = dict(zip(map(str, arguments.seeds), point.answers, strict=True))
                against, what = (before, "no answers") if order == RANDOM else (found[RANDOM], "a random order")
                gain = {} if order == RANDOM else {"gain over no answers": gain_of(wanted, found[order], before)}
                rows[f"{name}, {number} decisions: {order}"] = to_row(
                    wanted, found[order], against, what, arguments, {"answers": told} | gain
                )
                record.write("review_decisions", rows)


def base_run(name: str, seed: int, steps: int, arguments: argparse.Namespace) -> Path:
    """Run without answers; return the run folder."""
    wanted, where = SETS[name], "-accelerated" if arguments.accelerator else ""
    data = arguments.keep / "data" / f"{name}-{seed}"
    make_folder(arguments.data / wanted.folder, data, wanted, seed, arguments.images)
    settings = [*_SETTINGS, *_PLAIN, *PRECISION, *wanted.settings, network(accelerator=arguments.accelerator)]
    settings += [f"train.steps={steps}", "train.accelerator=gpu" if arguments.accelerator else "train.threads=1"]
    settings += [f"selftrain={json.dumps(_ROUND)}", f"split.file={data.with_name(f'{data.name}-parts.csv')}"]
    place = wanted.options.index("--holdout")
    options = [*wanted.options[:place], *wanted.options[place + 2 :]]
    words = ["run", "--data", str(data), *options, "--seed", str(seed)]
    out = arguments.keep / f"{name}-{steps}-{seed}{where}"
    run_once([*words, *(word for setting in settings for word in ("--set", setting))], out)
    return Path(out)


def make_folder(root: Path, out: Path, wanted: Set, seed: int, limit: int | None) -> None:
    """Write a data folder: masks that are kept, some of them wrong, the pool, and a file that says what is held out."""
    parts = out.with_name(f"{out.name}-parts.csv")
    if parts.is_file():
        return
    shutil.rmtree(out, ignore_errors=True)  # cut short
    for name in ("images", "masks", "unlabeled"):
        (out / name).mkdir(parents=True)
    for name in ("classes.json", "meta.csv"):
        (out / name).symlink_to(root / name)
    images = {path.stem: path for path in sorted((root / "images").iterdir())[:limit]}
    groups = groups_of(root, list(images), wanted)
    held = draw_groups(groups, _HELD, np.random.default_rng(0))
    rng = np.random.default_rng((seed, 9))
    kept = draw_groups({name: group for name, group in groups.items() if name not in held}, _KEPT, rng)
    wrong = rng.permutation(sorted(kept))[: round(_WRONG * len(kept))].tolist()
    for name, path in images.items():
        labelled = name in held or name in kept
        (out / ("images" if labelled else "unlabeled") / path.name).symlink_to(path)
        if name in wrong:
            mask = np.array(Image.open(root / "masks" / f"{name}.png"))
            spoiled = moved(mask) if wrong.index(name) % 2 else mistaken(mask, rng, binary=wanted.binary)
            Image.fromarray(spoiled).save(out / "masks" / f"{name}.png")
        elif labelled:
            (out / "masks" / f"{name}.png").symlink_to(root / "masks" / f"{name}.png")
    rows = [(f"images/{images[name].name}", "val" if name in held else "train") for name in sorted(held | kept)]
    with parts.open("w", newline="") as file:
        csv.writer(file).writerows([("image", "part"), *rows])


def groups_of(root: Path, names: list[str], wanted: Set) -> dict[str, str]:
    """Return name → group; an image without one is its own."""
    if "--group" not in wanted.options:
        return {name: name for name in names}
    column = wanted.options[wanted.options.index("--group") + 1]
    with (root / "meta.csv").open(newline="") as file:
        known = {row["name"]: row[column] for row in csv.DictReader(file)}
    return {name: known[name] for name in names}


def draw_groups(groups: dict[str, str], share: float, rng: np.random.Generator) -> set[str]:
    """Return the names of whole groups that are at least a share of all.

    Example:
        >>> groups = {f"{group}_{k}": str(group) for group in range(20) for k in range(5)}
        >>> len(draw_groups(groups, 0.3, np.random.default_rng(0)))
        30
    """
    found = set[str]()
    for group in rng.permutation(sorted({*groups.values()})):
        if len(found) >= share * len(groups):
            break
        found |= {name for name, own in groups.items() if own == group}
    return found


def moved(mask: LabelMap) -> LabelMap:
    """Return a mask that is moved down and to the right by a sixteenth of its height; what comes in is its border.

    Example:
        >>> moved(np.eye(16, dtype=np.uint8)).sum()
        np.uint64(15)
    """
    step = max(1, mask.shape[0] // 16)
    return np.pad(mask, ((step, 0), (step, 0)), "edge")[: mask.shape[0], : mask.shape[1]]


def mistaken(mask: LabelMap, rng: np.random.Generator, *, binary: bool) -> LabelMap:
    """Return a mask whose largest connected piece of a category that isn't 0 is called something else.

    Example:
        >>> mistaken(np.uint8([[1, 1, 0, 1]]), np.random.default_rng(0), binary=True).tolist()
        [[0, 0, 0, 1]]
    """
    found, largest = mask.copy(), np.zeros(mask.shape, bool)
    for value in [1] if binary else np.unique(mask[mask > 0]).tolist():
        pieces, _ = components(mask > 0 if binary else mask == value)
        sizes = np.bincount(pieces.ravel())[1:]
        if len(sizes) and sizes.max() > largest.sum():
            largest = pieces == sizes.argmax() + 1
    others = [0] if binary else [v for v in np.unique(mask).tolist() if not (mask[largest] == v).any()] or [0]
    found[largest] = rng.choice(others)
    return found


def answered_runs(bases: list[Path], order: str, number: int, arguments: argparse.Namespace) -> Point:
    """Answer so many items of copies of the runs in an order, and run these again."""

    def one(job: tuple[Path, int]) -> tuple[Path, dict[str, int]]:
        base, seed = job
        out = base.with_name(f"{base.name}-{order}-{number}")
        note = out.with_name(f"{out.name}-answers.json")
        if not note.is_file():
            shutil.rmtree(out, ignore_errors=True)
            shutil.copytree(base, out, symlinks=True)
            told = answer(out, truth_of(base, arguments), order, number, seed)
            note.write_text(json.dumps(told))
        if not (done := out.with_name(f"{out.name}-done")).is_file():
            words = ["run", "--recipe", str(out / "recipe.yaml"), "--out", str(out), "--redo"]
            subprocess.run([sys.executable, "-m", "maskwright", *words], check=True)
            done.touch()
        return out, json.loads(note.read_text())

    with ThreadPoolExecutor(arguments.jobs) as pool:
        found = list(pool.map(one, zip(bases, arguments.seeds, strict=True)))
    return Point([out for out, _ in found], [told for _, told in found])


def truth_of(base: Path, arguments: argparse.Namespace) -> "Truth":
    """Return what is right of the images of a run."""
    name = next(name for name in SETS if base.name.startswith(f"{name}-"))
    return Truth(arguments.data / SETS[name].folder, SETS[name].binary)


class Truth(NamedTuple):
    """The masks of a set.

    Attributes:
        root: of the set.
        binary: whether everything but 0 is foreground.
    """

    root: Path
    binary: bool

    def of(self, image: str) -> LabelMap:
        """Return the (H, W) mask of an image."""
        mask = np.array(Image.open(self.root / "masks" / f"{Path(image).stem}.png"))
        return np.asarray(mask > 0 if self.binary else mask, np.uint8)


def answer(out: Path, truth: Truth, order: str, number: int, seed: int) -> dict[str, int]:
    """Answer so many items of a run; return how often what was said."""
    run = Reviewed.of(out)
    desk, counted = Desk(run, build_queue(run)), Counter[str]()
    places = list(range(len(desk.items)))
    if order == RANDOM:
        places = np.random.default_rng((seed, 10)).permutation(places).tolist()
    for place in places[:number]:
        told = Expert(desk, place, truth).answer
        kind = desk.items[place].kind
        try:
            if told is not None:
                shown = [run.digest(suggestion, desk.answers(place)) for suggestion in desk.items[place].suggestions]
                desk.decide(Reply(item=desk.keys[place], answer=told, by="expert", shown=tuple(shown)))
        except UsageError:
            told = "too late"
        counted[f"{kind}: {told or 'passed over'}"] += 1
    return dict(sorted(counted.items()))


class Expert:
    """Who sees the truth.

    Args:
        desk: with the items.
        place: of what is asked.
        truth: of its images.
    """

    def __init__(self, desk: Desk, place: int, truth: Truth) -> None:
        self.desk, self.item, self.truth = desk, desk.items[place], truth
        self.known = desk.answers(place)

    @property
    def answer(self) -> str | None:
        """What is answered; None: nothing, the item is passed over."""
        item, names = self.item, {answer.name for answer in answers_of(self.item, target="masks")}
        if item.kind == "outlier":
            return "not_alien"
        if item.kind == "duplicate":
            first, second = (self.desk.run.picture(image) for image in item.images)
            return "same" if np.array_equal(first, second) else "not_same"
        if item.kind == "suspect":
            return "b" if "b" in names and self._contradiction_is_right() else "a"
        return said(item.kind, names, [agreement(label, self._truth) for label in self._labels])

    @cached_property
    def _truth(self) -> LabelMap:
        return self.truth.of(self.item.image)

    @property
    def _labels(self) -> Iterator[LabelMap]:
        return (self.desk.run.suggestion(self.item, suggestion, self.known) for suggestion in self.item.suggestions)

    def _contradiction_is_right(self) -> bool:
        mask = self.desk.run.mask(self.item.image, self.known)
        where = self.desk.run.contradicted(self.item, self.item.suggestions[1], mask)
        return bool(where.any()) and float((self._truth == mask)[where].mean()) < 0.5


def said(kind: Kind, names: set[str], right: list[float]) -> str | None:
    """Return what is answered where labels are right in such shares of their pixels; None: nothing.

    Args:
        kind: of the item.
        names: of the answers that it takes.
        right: of each of its labels.

    Example:
        >>> said("conflict", {"a", "b"}, [0.4, 0.9]), said("uncertain", {"accept"}, [0.4])
        ('b', None)
    """
    best = int(np.argmax(right))
    if kind in ("conflict", "shifted"):
        return "ab"[best]
    if kind == "rare":
        return "accept" if right[0] >= GOOD else "reject"
    wanted = "accept" if kind == "uncertain" else "ab"[best]
    return wanted if wanted in names and right[best] >= GOOD else None


def agreement(label: LabelMap, truth: LabelMap) -> float:
    """Return the share of the pixels, of those that a label knows, in which it is right; 0 where it knows none.

    Example:
        >>> agreement(np.uint8([[1, 0, 255]]), np.uint8([[1, 1, 1]]))
        0.5
    """
    known = label != IGNORE
    return float((label == truth)[known].mean()) if known.any() else 0.0


def measured(outs: list[Path], wanted: Set, data: Path, steps: int, scored: set[str]) -> Measured:
    """Return what runs predict of the held-out images that are scored after their round."""
    found = [held_out_tables(out, 1, data, wanted.classes, wanted.binary, scored) for out in outs]
    return Measured(np.stack([tables for tables, _ in found]), found[0][1], (steps, steps), 2 * steps, [])


def gain_of(wanted: Set, own: Measured, before: Measured) -> dict[str, Any]:
    """Return a paired difference as plain data."""
    comparison = compared(wanted, own, before, "")["comparison"]
    return {key: getattr(comparison, key) for key in ("value", "low", "high")}


def to_row(
    wanted: Set,
    own: Measured,
    other: Measured | None,
    what: str,
    arguments: argparse.Namespace,
    details: dict[str, Any],
) -> Row:
    """Return the row of a point, with its difference to another."""
    score, n = score_of(wanted, own.tables), len(own.groups)
    found = bootstrap(score, n, rng=np.random.default_rng(0), groups=own.groups)
    each = [float(score_of(wanted, one[None])(np.ones((1, n)))[0]) for one in own.tables]
    about: dict[str, Any] = {"seeds": dict(zip(map(str, arguments.seeds), each, strict=True))}
    about["steps of each training"] = list(own.trainings)
    unit = f"{wanted.rule}, mean of {len(own.tables)} seeds, {n} held-out images of {len(set(own.groups))} groups"
    row = Row(
        figure=found.value,
        unit=unit,
        interval=(found.low, found.high),
        details=about | details | {"ran on": where_it_runs(arguments.accelerator)},
    )
    return row if other is None else row.model_copy(update=compared(wanted, own, other, what))
