"""Instance maps in which objects are missing: what 10 and 25 % of the nuclei teach, and what saying so is worth.

Of dsb2018 three tenths of the images are held out, the same in all rows, and scored by all of their nuclei. Of the
others so many nuclei stay in the maps, drawn at random; `data.drawn` says so, and what nobody drew is unlabelled.
`taken for complete`: the same maps without `data.drawn`, whose missing nuclei are learned as background. One network,
equal steps. Differences are to the row of all nuclei. Intervals resample the held-out images.

Resumable: with --keep, runs that are finished aren't run again, and one that was cut short goes on.
"""

import argparse
import csv
import os
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks import record
from benchmarks.instances import figures, finished, held_out, mean, ours, read_truths
from benchmarks.parts import labelled_part
from benchmarks.record import Comparison, Row
from maskwright.data.images import read_ids
from maskwright.statistics import Statistic, bootstrap, paired_difference

ROWS: dict[str, tuple[float, float]] = {
    "all drawn": (1.0, 1.0),
    "25 % drawn": (0.25, 0.25),
    "10 % drawn": (0.1, 0.1),
    "10 % drawn, taken for complete": (0.1, 1.0),
}
"""Row → share of the nuclei that stays in the maps, and what `data.drawn` says."""
METRICS = ("pq", "ap", "f1_50", "f1_70", "f1_90")
_HELD_OUT = 0.3


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks partial", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("MASKWRIGHT_DATA", "")))
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--keep", type=Path, required=True, help="folder of the run folders")
    arguments = parser.parse_args()
    whole = labelled_part(arguments.data / "dsb2018", arguments.keep / "data" / "dsb2018")
    parts = held_out_file(whole)
    runs = {
        row: [run_of(whole, parts, share, said, seed, arguments) for seed in arguments.seeds]
        for row, (share, said) in ROWS.items()
    }
    names = sorted(set.intersection(*(set(held_out(run)) for own in runs.values() for run in own)))  # some lack a copy
    truths, count = [read_truths(whole, names) for _ in arguments.seeds], len(names)
    known = {row: figures([ours(run, names) for run in own], truths) for row, own in runs.items()}
    rows = {f"{metric}: {row}": to_row(row, metric, known, count, arguments) for row in ROWS for metric in METRICS}
    record.write("partial", record.read("partial") | rows)


def held_out_file(whole: Path) -> Path:
    """Write which images are held out, drawn from all: a run's own split looks at objects, in which the rows differ."""
    path = whole.with_name(f"{whole.name}-parts.csv")
    images = sorted(path.relative_to(whole).as_posix() for path in (whole / "images").iterdir())
    held = set(np.random.default_rng(0).permutation(images)[: round(_HELD_OUT * len(images))].tolist())
    text = [("image", "part"), *((image, "val" if image in held else "train") for image in images)]
    if not path.is_file():  # written again, it would be another file to the runs
        with path.open("w", newline="") as file:
            csv.writer(file).writerows(text)
    return path


def run_of(whole: Path, parts: Path, share: float, said: float, seed: int, arguments: argparse.Namespace) -> Path:
    """Return the folder of a finished run on maps of which so many nuclei are left."""
    data = whole if share == 1 else thinned(whole, whole.with_name(f"{whole.name}-{share:g}"), share)
    words = ["run", "--data", str(data), "--task", "instances", "--folds", "1", "--seed", str(seed)]
    words += [f"--set={s}" for s in (f"split.file={parts}", f"train.steps={arguments.steps}", f"data.drawn={said:g}")]
    words += ["--set=predict.checkpoint=last"]
    return finished(words, arguments.keep / f"drawn-{share:g}-{said:g}-{seed}")


def thinned(whole: Path, out: Path, share: float) -> Path:
    """Return a folder of the same images in whose maps so many objects are left, at least one of each."""
    (out / "instances").mkdir(parents=True, exist_ok=True)
    for name in ("images", "meta.csv"):
        if not (out / name).exists():
            (out / name).symlink_to((whole / name).resolve())
    for number, path in enumerate(sorted((whole / "instances").iterdir())):
        if not (out / "instances" / path.name).exists():
            Image.fromarray(left(read_ids(path), share, number)).save(out / "instances" / path.name)
    return out


def left(ids: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Return a map (H, W) uint16 of some of its objects, drawn at random."""
    known = np.unique(ids[ids > 0])
    count = min(len(known), max(1, round(share * len(known))))
    kept = np.random.default_rng(seed).choice(known, count, replace=False)
    return np.where(np.isin(ids, kept), ids, 0).astype(np.uint16)


def to_row(
    row: str,
    metric: str,
    known: dict[str, list[dict[str, Statistic]]],
    count: int,
    arguments: argparse.Namespace,
) -> Row:
    """Return a row: its metric over `count` images, and its difference to that of all nuclei."""
    score, whole = (mean(known[name], metric) for name in (row, "all drawn"))
    value, ones = bootstrap(score, count, rng=np.random.default_rng(0)), np.ones((1, count))
    told = Row(
        figure=value.value,
        unit=f"{metric}, mean of {len(known[row])} seeds, {count} held-out images",
        interval=(value.low, value.high),
        details={"steps": arguments.steps, "seeds": arguments.seeds},
    )
    if row == "all drawn":
        return told
    gain = paired_difference(score, whole, count, rng=np.random.default_rng(0))
    compared = Comparison(kind="difference", value=gain.value, low=gain.low, high=gain.high, n=gain.n)
    return told.model_copy(update={"against": "all drawn", "other": float(whole(ones)[0]), "comparison": compared})


if __name__ == "__main__":
    main()
