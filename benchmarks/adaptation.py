"""What adaptation to another domain brings: source only, batch norm, SAC and its extras, against labels of the target.

Every row is two trainings, the second from the network of the first, with equal steps in all rows but one: `source
only` learns from labelled images of the source alone, strongly augmented; `source only, passes of SAC` does so for as
many forward and backward passes as SAC's steps have, a backward one counted twice; `batch norm` lets statistics see the
target's pool; `SAC` is then the thesis's method on the pool; `SAC and extras` also pastes half of the categories of
labelled crops into the views, hides blocks of them, and draws rare categories more often; `target labels` is trained on
the labels of the pool instead, the upper end. The score is pooled mIoU on other images of the target, at working size,
as the mean over the seeds; intervals resample groups of test images (runs of frames, places). `share of the gap` is the
gain over source only as a share of that of target labels, and left out where these gain nothing that is shown.

Resumable: with --keep, trainings that are finished aren't run again, and one that was cut short goes on.
"""

import argparse
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import record
from benchmarks.adaptation_sets import SETS, Domains, Set
from benchmarks.record import Comparison, Row
from maskwright.checkpoint import load_trained
from maskwright.data.index import Index
from maskwright.data.intensity import resize_label, standardise, to_working
from maskwright.inference import infer_stream, pick_device
from maskwright.metrics import overlap_table
from maskwright.recipe import Recipe, apply_settings
from maskwright.recipe.sac import SacSpec
from maskwright.statistics import bootstrap, paired_difference
from maskwright.train.fit import train_fold

SOURCE, UPPER, LONGER = "source only", "target labels", "source only, passes of SAC"
NORM = "selftrain.method={kind: norm_adaptation}"
RARE = "sampling={kind: rare_class, temperature: 0.1, min_share: 0.005}"
ROWS: dict[str, tuple[str, tuple[str, ...], tuple[str, ...]]] = {
    SOURCE: ("labels", (), ()),
    LONGER: ("labels", (), ()),
    UPPER: ("labels", (), ()),
    "batch norm": ("norm", (NORM,), (NORM,)),
    "SAC": ("norm", (NORM,), ("SAC",)),
    "SAC and extras": ("norm", (NORM,), ("EXTRAS", RARE)),
}
"""Label → name of the first training, its settings, those of the second; SAC and EXTRAS stand for the set's method."""

Tables = np.ndarray[Any, np.dtype[np.int64]]
"""(images, C, C + 1): truth, prediction; of several seeds with one more axis in front."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks adaptation", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("MASKWRIGHT_DATA", "")))
    parser.add_argument("--only", nargs="*", default=list(SETS), choices=list(SETS))
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument("--steps", nargs=2, type=int, help="of the first and the second training, not the set's own")
    parser.add_argument("--precision", default="bfloat16", choices=["float32", "bfloat16"])
    parser.add_argument("--keep", type=Path, required=True, help="folder of the trainings")
    arguments = parser.parse_args()
    rows = record.read("adaptation")
    for name in arguments.only:
        chosen = SETS[name]
        domains = chosen.domains(arguments.data, arguments.keep / "data")
        steps = tuple(arguments.steps or chosen.steps)
        done: dict[str, Tables] = {}
        for label in ROWS:
            found = [measure(label, chosen, domains, arguments, steps, seed) for seed in arguments.seeds]
            done[label] = np.stack(found)
        for label in ROWS:
            rows[f"{name}: {label}"] = to_row(label, done, domains, steps, arguments.seeds, chosen)
        record.write("adaptation", rows)


def measure(
    label: str, chosen: Set, domains: Domains, arguments: argparse.Namespace, steps: Sequence[int], seed: int
) -> Tables:
    """Return the overlap tables of the test images after both trainings of a row."""
    first, before, after = ROWS[label]
    methods = {"SAC": f"selftrain.method={chosen.sac}", "EXTRAS": f"selftrain.method={chosen.extras}"}
    after = tuple(methods.get(setting, setting) for setting in after)
    base = [
        f"train.precision={arguments.precision}",
        f"train.channels_last={str(arguments.precision != 'float32').lower()}",
    ]
    where = arguments.keep / f"{chosen.name}-{seed}-{steps[0]}-{steps[1]}-{arguments.precision}"
    recipe = apply_settings(Recipe(seed=seed, data=domains.data), [*chosen.settings, *base])
    start = trained(where / first, domains.source, recipe, (*length(steps[0]), *before), domains.pool)
    labelled = domains.pool if label == UPPER else domains.source
    second = steps[1] if label != LONGER else round(steps[1] * cost_of_sac(apply_settings(recipe, [methods["SAC"]])))
    settings = (*length(second), *chosen.second, *after)
    last = trained(where / label.replace(" ", "_"), labelled, recipe, settings, domains.pool, start=start)
    return scored(last, domains.test, last.with_name("tables.npy"))


def cost_of_sac(recipe: Recipe) -> float:
    """Return what a step of SAC costs in steps on labels alone.

    Of N labelled crops, and M images of V views for each: N + 2 V M forward passes and N + V M backward ones.

    Example:
        >>> from maskwright.recipe.data import DataSpec
        >>> plain = Recipe(data=DataSpec(root="."))
        >>> cost_of_sac(apply_settings(plain, ["train.batch=4", "selftrain.method={kind: sac, batch: 2}"]))
        3.6666666666666665
    """
    method, batch = recipe.selftrain.method, recipe.train.batch
    assert isinstance(method, SacSpec) and batch is not None
    views = method.views * (method.batch or batch)
    return (batch + 2 * views + 2 * (batch + views)) / (3 * batch)


def length(steps: int) -> tuple[str, str]:
    """Return the settings of a training's length, with a checkpoint at each quarter where that divides it."""
    return f"train.steps={steps}", f"train.validate_every={steps // 4 if steps % 4 == 0 else steps}"


def trained(
    folder: Path, labelled: Index, recipe: Recipe, settings: Sequence[str], pool: Index, *, start: Path | None = None
) -> Path:
    """Return the last checkpoint of a training, which is run, gone on with, or there already."""
    recipe = apply_settings(recipe, list(settings))
    note, words = folder / "settings.json", recipe.model_dump(mode="json")
    if note.is_file() and json.loads(note.read_text()) != words:
        raise SystemExit(f"{folder} is of another recipe: delete it, or choose another --keep")
    folder.mkdir(parents=True, exist_ok=True)
    note.write_text(json.dumps(words))
    if not (folder / "done").is_file():
        online = recipe.selftrain.method.kind != "pseudo_labels"
        train_fold(folder, labelled, None, recipe, start=start, pool=pool if online else None)
        (folder / "done").touch()
    return folder / "last.ckpt"


def scored(checkpoint: Path, test: Index, kept: Path) -> Tables:
    """Return the overlap tables of labelled images at working size, predicted by a checkpoint's network."""
    if kept.is_file():
        tables: Tables = np.load(kept)
        return tables
    known = load_trained(checkpoint)
    samples = [test.read(row) for row in range(len(test))]
    images = [to_working(sample.image, known.intensity, known.scale) for sample in samples]
    device = pick_device("cpu")
    found = infer_stream(
        [known.network.to(device)],
        ((row, standardise(image, known.intensity)) for row, image in enumerate(images)),
        device=device,
        precision=known.precision,
        channels_last=known.channels_last,
    )
    predicted = {row: probabilities.argmax(0).astype(np.uint8) for row, probabilities in found}
    tables = np.stack(
        [
            overlap_table(resize_label(sample.label, predicted[row].shape), predicted[row], len(known.categories))
            for row, sample in enumerate(samples)
            if sample.label is not None
        ]
    )
    np.save(kept, tables)
    return tables


def pooled_miou(weights: np.ndarray, tables: Tables) -> np.ndarray:
    """Return (S,) mean IoU from the pixels of all images, by (S, images) weights, over the classes that are there."""
    return np.nanmean(pooled_iou(weights, tables), axis=1)


def pooled_iou(weights: np.ndarray, tables: Tables) -> np.ndarray:
    """Return (S, C) IoU of each class from the pixels of all images; NaN for one that is nowhere."""
    counted = np.tensordot(weights, tables, 1)
    classes = tables.shape[1]
    right = np.diagonal(counted, axis1=1, axis2=2)
    union = counted.sum(2) + counted[:, :, :classes].sum(1) - right
    found: np.ndarray = np.divide(right, union, out=np.full(union.shape, np.nan), where=union > 0)
    return found


def statistic(tables: Tables) -> Callable[[np.ndarray], np.ndarray]:
    """Return the mean over the seeds of the score, of resamples of the images."""
    return lambda weights: np.mean([pooled_miou(weights, own) for own in tables], axis=0)


def to_row(
    label: str,
    done: dict[str, Tables],
    domains: Domains,
    steps: Sequence[int],
    seeds: Sequence[int],
    chosen: Set,
) -> Row:
    """Return the row of a label: its score, its gain over source only, and the share of the gap."""
    score, source, upper = (statistic(done[name]) for name in (label, SOURCE, UPPER))
    groups, names = domains.groups, domains.source.categories.names
    images = len(groups)
    options: dict[str, Any] = {"groups": list(groups)}
    found = bootstrap(score, images, rng=np.random.default_rng(0), **options)
    whole = np.ones((1, images))
    each = {str(seed): float(pooled_miou(whole, own)[0]) for seed, own in zip(seeds, done[label], strict=True)}
    told = "those of the others, the second longer" if label == LONGER else list(steps)
    details: dict[str, Any] = {"seeds": each, "steps": told, "settings": list(chosen.settings)}
    classes = np.mean([pooled_iou(whole, own)[0] for own in done[label]], axis=0)
    details["IoU of each category"] = {n: float(v) for n, v in zip(names, classes, strict=True) if v == v}
    row = Row(
        figure=found.value,
        unit=f"pooled mIoU, mean of {len(seeds)} seeds, {images} test images of {len(set(groups))} groups",
        interval=(found.low, found.high),
        details=details,
    )
    if label == SOURCE:
        return row
    gain = paired_difference(score, source, images, rng=np.random.default_rng(0), **options)
    if label != UPPER and paired_difference(upper, source, images, rng=np.random.default_rng(0), **options).low > 0:

        def share(weights: np.ndarray) -> np.ndarray:
            before = source(weights)
            return (score(weights) - before) / (upper(weights) - before)

        part = bootstrap(share, images, rng=np.random.default_rng(0), **options)
        details["share of the gap"] = {"value": part.value, "low": part.low, "high": part.high}
    return row.model_copy(
        update={
            "details": details,  # the row has a copy
            "against": SOURCE,
            "other": float(source(whole)[0]),
            "comparison": Comparison(kind="difference", value=gain.value, low=gain.low, high=gain.high, n=gain.n),
        }
    )
