"""Post-processing of fused maps: tuned on what ships, its gain nested in the weights of the folds."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

from maskwright.metrics import SUMMARIES, Counts, overlap_table
from maskwright.pipeline.fusing import _chain
from maskwright.pipeline.stages import read_chain
from maskwright.postprocess import apply_chain
from maskwright.recipe.predict import EvaluateSpec
from maskwright.tune import Mixture
from maskwright.types import Categories, Category

BINARY = Categories((Category(0, "background"), Category(1, "thing")), frozenset({"background"}))
SIZE, COUNT = 24, 12
FOLDS = [row % 3 for row in range(COUNT)]
SPEC = {
    "postprocess": {"search": [{"kind": "threshold", "value": [0.2, 0.3, 0.4, 0.6, 0.7]}]},
    "tuned_metric": "mean_dice",
}
OPTIONS = {"metric": "pooled_miou", "evaluate": EvaluateSpec(samples=100), "seed": 0}


def two(foreground):
    return np.stack([1 - foreground, foreground]).astype(np.float32)


def members(seed=0):
    """Three members an image: all too low, all too high, and noise."""
    rng, items = np.random.default_rng(seed), []
    yy, xx = np.mgrid[:SIZE, :SIZE]
    for _ in range(COUNT):
        truth = ((yy - rng.uniform(8, 16)) ** 2 + (xx - 12) ** 2 < rng.uniform(25, 45)).astype(np.uint8)
        sure = np.clip(truth * 0.8 + 0.1 + rng.normal(0, 0.06, truth.shape), 0.01, 0.99)
        items.append(([two(sure * 0.45), two(1 - (1 - sure) * 0.45), two(rng.random(truth.shape))], truth))
    return items


class Reader:
    def __init__(self, items):
        self.items = items
        table = pl.DataFrame({"width": [SIZE] * COUNT, "height": [SIZE] * COUNT})
        self.images = SimpleNamespace(table=table, categories=BINARY)

    def __call__(self, row):
        return self.items[row]

    def image(self, row):
        raise AssertionError(row)


def tune(items, mixture, by_fold, shipped="fused"):
    rows = pl.DataFrame({"fold": FOLDS, "group": [str(row) for row in range(COUNT)]})
    fitted = SimpleNamespace(
        shipped=shipped, mixture=Mixture(mixture), fold_mixtures={k: Mixture(w) for k, w in by_fold.items()}
    )
    return _chain(Reader(items), rows, fitted, SPEC, OPTIONS)


def score(items, weights, chains):
    """Return the mean Dice of images, each fused by weights of its own and under a chain of its own."""
    tables = []
    for (maps, truth), own, chain in zip(items, weights, chains, strict=True):
        fused = np.average(maps, axis=0, weights=own).astype(np.float32)
        tables.append(overlap_table(truth, apply_chain(fused, read_chain(chain)), 2))
    return float(SUMMARIES["mean_dice"].function(Counts.from_table(np.stack(tables)), BINARY.evaluated)[0])


LOW, HIGH = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0)


@pytest.mark.parametrize(
    ("mixture", "by_fold", "shipped"),
    [
        ((0.7, 0.3, 0.0), {0: (0.9, 0.1, 0.0), 1: (0.8, 0.1, 0.1), 2: (0.2, 0.8, 0.0)}, "fused"),
        (LOW, {0: HIGH, 1: LOW, 2: LOW}, "single"),
        ((1 / 3,) * 3, dict.fromkeys(range(3), (1 / 3,) * 3), "mean"),
    ],
)
def test_the_chain_is_that_of_what_ships_and_the_gain_that_of_the_folds(mixture, by_fold, shipped):
    """The oracle: fuse by hand, apply each fold's chain, count."""
    items = members()
    found = tune(items, mixture, by_fold, shipped)
    own = [by_fold[fold] for fold in FOLDS]
    chains = [found["folds"][fold]["chain"] for fold in FOLDS]
    assert found["gain"]["value"] == pytest.approx(score(items, own, chains) - score(items, own, [()] * COUNT))
    naive = score(items, [mixture] * COUNT, [found["best"]] * COUNT) - score(items, [mixture] * COUNT, [()] * COUNT)
    assert found["naive_gain"]["value"] == pytest.approx(naive)
    assert "weights and a chain that were fitted on the others" in found["fitted_on"]


def test_what_ships_decides_between_a_low_and_a_high_threshold():
    # a single member that is too low ships; fold 0 would have chosen the one that is too high
    found = tune(members(), LOW, {0: HIGH, 1: LOW, 2: LOW}, "single")
    values = [choice["chain"][0]["value"] for choice in found["folds"]]
    assert values[0] > 0.5 > max(values[1:])
    assert found["chain"][0]["value"] < 0.5


def test_a_fold_s_chain_never_depends_on_its_own_images():
    items, others = members(), members(1)
    by_fold = {0: (0.9, 0.1, 0.0), 1: (0.8, 0.1, 0.1), 2: (0.2, 0.8, 0.0)}
    changed = [others[row] if FOLDS[row] == 1 else item for row, item in enumerate(items)]
    # had the images of fold 1 been others, the weights of all but fold 1 would be others, too
    one, two_ = (tune(items, HIGH, by_fold), tune(changed, LOW, by_fold | {0: LOW, 2: (0.1, 0.1, 0.8)}))
    assert (one["folds"][1]["chain"], one["folds"][1]["inside"]) == (
        two_["folds"][1]["chain"],
        two_["folds"][1]["inside"],
    )
