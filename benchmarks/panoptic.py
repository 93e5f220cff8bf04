"""PQ of panoptic pairs of 1024×2048 pixels against the official tool's own function, and torchmetrics'.

The pairs are made-up street scenes: stuff in large regions with ragged borders, things on it, void, crowds, ids in the
colours of COCO panoptic PNGs; the prediction is the truth moved and disturbed. On arrays, the tool's
`pq_compute_single_core` gets the id maps instead of decoding files; on files, both read the same PNGs with one process.
"""

import argparse
import contextlib
import importlib
import io
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np

from benchmarks import record
from benchmarks.record import Row
from benchmarks.rig import PAIRS, compare, inverse
from maskwright.data.images import read_ids
from maskwright.metrics import PanopticCounts, Segments, panoptic_counts, segment_overlaps

SIZE, CATEGORIES, THINGS = (1024, 2048), 19, 8
ARRAYS, FILES, TORCHMETRICS = 3.0, 1.5, 100.0
Pair = tuple[np.ndarray, Segments, np.ndarray, Segments]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks panoptic", description=__doc__)
    parser.add_argument("--pairs", type=int, default=2, help="of maps that one call scores")
    parser.add_argument("--repeats", type=int, default=PAIRS)
    parser.add_argument("--torchmetrics", action="store_true", help="compare with it too, which takes minutes")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    rng = np.random.default_rng(0)
    pairs = [drawn(rng) for _ in range(arguments.pairs)]
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        annotations = written(pairs, Path(folder))
        tool = official(Path(folder), annotations)
        same(scored(pairs), tool.files())
        same(scored([read(Path(folder), number, pair) for number, pair in enumerate(pairs)]), tool.files())
        same(scored(pairs), tool.arrays())
        name = "cityscapesScripts pq_compute_single_core (panopticapi's logic)"
        rows["on arrays"] = speed(lambda: scored(pairs), tool.arrays, name, ARRAYS, len(pairs), arguments.repeats)
        rows["on files"] = speed(
            lambda: scored([read(Path(folder), number, pair) for number, pair in enumerate(pairs)]),
            tool.files,
            name,
            FILES,
            len(pairs),
            arguments.repeats,
        )
    if arguments.torchmetrics:
        rows["on arrays without void"] = against_torchmetrics(rng, arguments.repeats)
    record.write("panoptic", rows, rivals=("cityscapesscripts", "torchmetrics", "pillow"))


def scored(pairs: list[Pair]) -> PanopticCounts:
    """Return the counts of all pairs together."""
    items = [panoptic_counts(segment_overlaps(t, p), truth, found, CATEGORIES) for t, truth, p, found in pairs]
    return PanopticCounts.stack(items).pooled()


def speed(
    ours: Callable[[], object], rival: Callable[[], object], name: str, target: float, pairs: int, repeats: int
) -> Row:
    """Return the ratio of our pairs per second to the rival's."""
    seconds, theirs, found = compare(ours, rival, pairs=repeats, warm=1)
    faster = inverse(found)
    return Row(
        figure=pairs / seconds,
        unit="pairs of 1024×2048 a second",
        against=name,
        other=pairs / theirs,
        comparison=faster,
        target=f"≥ {target:g} ×",
        reached=faster.low is not None and faster.low >= target,
    )


def drawn(rng: np.random.Generator, *, void: bool = True) -> Pair:
    """Return truth and prediction with ids below 2²⁴."""
    noise = cv2.resize(rng.normal(size=(8, 16)), SIZE[::-1], interpolation=cv2.INTER_CUBIC)
    noise += 0.005 * rng.normal(size=SIZE)  # ragged borders
    stuff = np.digitize(noise, np.linspace(-1.5, 1.5, CATEGORIES - THINGS - 1)) + THINGS
    truth = 1 + stuff.astype(np.int64) * 77_773
    owners = {int(i): int((i - 1) // 77_773) for i in np.unique(truth)}
    for number in range(60):
        color = 2 + 15_000_000 + number * 12_345
        center = (int(rng.integers(SIZE[1])), int(rng.integers(SIZE[0])))
        axes = (int(rng.integers(4, 90)), int(rng.integers(4, 120)))
        truth = cv2.ellipse(truth.astype(np.float64), center, axes, 0, 0, 360, float(color), -1).astype(np.int64)
        owners[color] = int(rng.integers(THINGS))
    if void:
        truth[-90:] = 0
    prediction = np.roll(truth, (3, -4), (0, 1))
    if void:
        prediction[rng.random((64, 128)).repeat(16, 0).repeat(16, 1) < 0.03] = 0
    truth, prediction = truth.astype(np.uint32), prediction.astype(np.uint32)
    return truth, listed(truth, owners, rng, crowd=void), prediction, listed(prediction, owners, rng, crowd=False)


def listed(ids: np.ndarray, owners: dict[int, int], rng: np.random.Generator, *, crowd: bool) -> Segments:
    present = np.unique(ids[ids > 0])
    categories = np.array([owners[int(i)] for i in present])
    return Segments.of(present, categories, crowd=(categories < THINGS) & (rng.random(len(present)) < 0.1) & crowd)


def written(pairs: list[Pair], folder: Path) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Write the PNGs and return what the JSON files would list."""
    rows = []
    for number, (truth, true, prediction, found) in enumerate(pairs):
        for part, ids in (("t", truth), ("p", prediction)):
            (folder / part).mkdir(exist_ok=True)
            colors = np.stack([ids // 65536, ids // 256 % 256, ids % 256], axis=-1).astype(np.uint8)  # BGR
            cv2.imwrite(str(folder / part / f"{number}.png"), colors)
        rows.append((annotation(number, truth, true), annotation(number, prediction, found)))
    return rows


def annotation(number: int, ids: np.ndarray, segments: Segments) -> dict[str, Any]:
    areas = dict(zip(*(part.tolist() for part in np.unique(ids, return_counts=True)), strict=True))
    rows = zip(segments.ids.tolist(), segments.categories.tolist(), segments.crowd.tolist(), strict=True)
    found = [{"id": i, "category_id": c, "iscrowd": int(crowd), "area": areas[i]} for i, c, crowd in rows]
    return {"file_name": f"{number}.png", "image_id": number, "segments_info": found}


def read(folder: Path, number: int, pair: Pair) -> Pair:
    """Return the pair with its maps read from the PNGs, as `evaluate` reads them."""
    truth, prediction = (read_ids(folder / part / f"{number}.png") for part in ("t", "p"))
    return truth, pair[1], prediction, pair[3]


def official(folder: Path, annotations: list[tuple[dict[str, Any], dict[str, Any]]]) -> SimpleNamespace:
    """Return the tool's function as it is, on the files, and the same function given the arrays."""
    tool = importlib.import_module("cityscapesscripts.evaluation.evalPanopticSemanticLabeling")
    categories = {c: {"isthing": int(c < THINGS), "name": str(c)} for c in range(CATEGORIES)}
    plain, image = tool.rgb2id, tool.Image
    maps = {
        str(path): plain(np.array(image.open(path), np.uint32))
        for part in ("t", "p")
        for path in (folder / part).iterdir()
    }

    def files() -> Any:
        with contextlib.redirect_stdout(io.StringIO()):
            return tool.pq_compute_single_core(0, annotations, str(folder / "t"), str(folder / "p"), categories)

    def arrays() -> Any:
        tool.rgb2id, tool.Image = (lambda ids: ids), SimpleNamespace(open=maps.__getitem__)
        try:
            return files()
        finally:
            tool.rgb2id, tool.Image = plain, image

    return SimpleNamespace(files=files, arrays=arrays)


def same(ours: PanopticCounts, theirs: Any) -> None:
    """Stop where the numbers differ."""
    for name in ("iou", "tp", "fp", "fn"):
        expected = [getattr(theirs[c], name) for c in range(CATEGORIES)]
        assert np.allclose(getattr(ours, name)[0], expected, rtol=0, atol=1e-9), name


def against_torchmetrics(rng: np.random.Generator, repeats: int) -> Row:
    """Compare on one pair without void and crowds, where the definitions are the same."""
    import torch
    from torchmetrics.functional.detection import panoptic_quality

    pair = drawn(rng, void=False)
    tensors = []
    for ids, segments in ((pair[2], pair[3]), (pair[0], pair[1])):
        category = np.zeros(1 << 24, np.int64)
        category[segments.ids] = segments.categories
        tensors.append(torch.from_numpy(np.stack([category[ids], ids], axis=-1).astype(np.int64))[None])
    things, stuffs = set(range(THINGS)), set(range(THINGS, CATEGORIES))
    return speed(
        lambda: scored([pair]),
        lambda: panoptic_quality(*tensors, things=things, stuffs=stuffs),
        "torchmetrics panoptic_quality",
        TORCHMETRICS,
        1,
        repeats,
    )


if __name__ == "__main__":
    main()
