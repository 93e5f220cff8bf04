"""Drawn panoptic pairs with void, crowds, misses and ties, as arrays and as the files that the official tool reads."""

from __future__ import annotations

import contextlib
import importlib
import io

import numpy as np
from PIL import Image

from maskwright.metrics import Segments

N = 5
THINGS = (2, 3, 4)


def rectangles(rng, size, count, low=3, high=20):
    """Return an id map of overlaid rectangles; what is covered altogether isn't there."""
    ids = np.zeros(size, np.int64)
    numbers = rng.integers(1, 2**24, count)  # RGB ids of any size
    for number in numbers:
        y, x = rng.integers(size[0]), rng.integers(size[1])
        height, width = rng.integers(low, high, 2)
        ids[y : y + height, x : x + width] = number
    return ids


def drawn_pair(seed, size=(40, 52)):
    """Return truth, its segments, prediction, its segments."""
    rng = np.random.default_rng(seed)
    truth = rectangles(rng, size, int(rng.integers(0, 14)))
    present = np.unique(truth[truth > 0])
    categories = rng.integers(N, size=len(present))
    crowd = rng.random(len(present)) < 0.3
    shuffled = rng.permutation(len(present))
    true_segments = Segments.of(present[shuffled], categories[shuffled], crowd=crowd[shuffled])

    moved = np.roll(truth, rng.integers(-2, 3, 2), (0, 1))
    extra = rectangles(rng, size, int(rng.integers(0, 5)))
    prediction = np.where(rng.random(size) < 0.1, 0, np.where(extra > 0, extra, moved))
    numbers = np.unique(prediction[prediction > 0])
    known = dict(zip(present.tolist(), categories.tolist(), strict=True))
    guessed = [known.get(i, 0) if rng.random() < 0.8 else int(rng.integers(N)) for i in numbers.tolist()]
    return truth, true_segments, prediction, Segments.of(numbers, guessed)


def plain_pair(number, size=(40, 54)):
    """Return a pair made by integer arithmetic alone, the same with every version of every library."""
    y, x = np.mgrid[: size[0], : size[1]]
    truth = ((y // 7 + 1) * (x // 9 + number + 2) * 7 % 13) * 9001  # 0 is void
    bent = np.roll(truth, (number % 3, number % 4 - 1), (0, 1))
    prediction = np.where((y * x + number) % 17 == 0, 0, np.where((x + 2 * y) % 29 < 4, 77, bent))
    t, p = (np.unique(one[one > 0])[::-1] for one in (truth, prediction))
    segments = Segments.of(p, np.where(p % (number + 5) == 1, p % 3, p // 9001 % N))
    return truth, Segments.of(t, t // 9001 % N, crowd=t // 9001 % 4 == 3), prediction, segments


def rgb(ids):
    return np.stack([ids % 256, ids // 256 % 256, ids // 65536], axis=-1).astype(np.uint8)


def annotation(name, segments, ids):
    rows = zip(segments.ids.tolist(), segments.categories.tolist(), segments.crowd.tolist(), strict=True)
    listed = [{"id": i, "category_id": c, "iscrowd": int(crowd), "area": int((ids == i).sum())} for i, c, crowd in rows]
    return {"file_name": name, "image_id": name, "segments_info": listed}


def official(folder, pairs, n=N, module="cityscapesscripts.evaluation.evalPanopticSemanticLabeling"):
    """Return the counts (iou, tp, fp, fn) (4, n) of the tool of that name, the tool, what it returns and categories."""
    tool = importlib.import_module(module)
    for part in ("t", "p"):
        (folder / part).mkdir(exist_ok=True)
    annotations = []
    for number, (truth, true_segments, prediction, segments) in enumerate(pairs):
        name = f"{number}.png"
        Image.fromarray(rgb(truth)).save(folder / "t" / name)
        Image.fromarray(rgb(prediction)).save(folder / "p" / name)
        annotations.append((annotation(name, true_segments, truth), annotation(name, segments, prediction)))
    categories = {c: {"isthing": int(c in THINGS), "name": str(c)} for c in range(n)}
    with contextlib.redirect_stdout(io.StringIO()):
        stat = tool.pq_compute_single_core(0, annotations, folder / "t", folder / "p", categories)
    counts = np.array([[getattr(stat[c], name) for c in range(n)] for name in ("iou", "tp", "fp", "fn")])
    return counts, tool, stat, categories
