"""The displacement of a mask against the definition, computed by loops."""

import numpy as np
import pytest

from maskwright.audit.displacement import displacement
from maskwright.types import IGNORE


def blobs(seed, size=(40, 56)):
    rng = np.random.default_rng(seed)
    rows, columns = np.ogrid[: size[0], : size[1]]
    label = np.zeros(size, np.uint8)
    for category in (1, 2):
        for _ in range(4):
            row, column = rng.integers(0, size[0]), rng.integers(0, size[1])
            label[np.hypot(rows - row, columns - column) < rng.integers(4, 8)] = category
    return label


def noisy(label, seed):
    rng = np.random.default_rng(seed)
    scores = 3.0 * (np.arange(3)[:, None, None] == label) + rng.normal(size=(3, *label.shape))
    return (np.exp(scores) / np.exp(scores).sum(0)).astype(np.float32)


def by_loops(label, probabilities, reach):
    """Return {(down, right): mean over the categories of their mean log loss inside}, where half of each is inside."""
    height, width = label.shape
    loss = {}
    for down in range(-reach[0], reach[0] + 1):
        for right in range(-reach[1], reach[1] + 1):
            total = 0.0
            for category in (0, 1, 2):
                rows, columns = np.nonzero(label == category)
                inside = (
                    (rows + down >= 0) & (rows + down < height) & (columns + right >= 0) & (columns + right < width)
                )
                moved = probabilities[category][rows[inside] + down, columns[inside] + right]
                total += -np.log(np.maximum(moved, 1e-3)).mean() if inside.sum() >= len(rows) / 2 else np.inf
            loss[down, right] = total
    return loss


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("shift", [(0, 0), (2, -3), (-3, 1)])
def test_the_best_of_all_displacements(seed, shift):
    label = blobs(seed)
    probabilities = noisy(label, seed)
    drawn = np.roll(label, (-shift[0], -shift[1]), (0, 1))
    loss = by_loops(drawn, probabilities, (4, 6))
    best = min(loss, key=loss.get)
    found = displacement(drawn, probabilities)
    assert (found.down, found.right) == best == shift
    assert found.gain == pytest.approx(max(0, 1 - loss[best] / loss[0, 0]), abs=1e-4)


def test_large_images_are_compared_small():
    label = np.kron(blobs(1), np.ones((10, 10), np.uint8))
    found = displacement(np.roll(label, 30, 1), np.kron(noisy(blobs(1), 0), np.ones((1, 10, 10), np.float32)))
    assert abs(found.down) <= 3 and abs(found.right + 30) <= 3


def test_none_where_there_is_nothing_to_fit():
    label = blobs(0)
    assert displacement(np.zeros_like(label), noisy(label, 0)).gain == 0
    assert displacement(np.full_like(label, IGNORE), noisy(label, 0)).gain == 0
    assert displacement(label, np.full((3, *label.shape), 1 / 3, np.float32)).gain == pytest.approx(0, abs=1e-6)
    assert displacement(label[:1, :1], noisy(label, 0)[:, :1, :1]).gain == 0


def test_within_tolerance_is_none():
    label = blobs(2)
    drawn = np.roll(label, 2, 0)
    assert displacement(drawn, noisy(label, 2)).down == -2
    assert displacement(drawn, noisy(label, 2), tolerance=2).gain == 0


def test_a_best_at_the_end_of_the_range_is_none():
    """The object fits better the further it goes: no displacement can be told."""
    label = np.zeros((60, 60), np.uint8)
    label[25:35, 25:35] = 1
    ramp = np.broadcast_to(np.linspace(0.05, 0.95, 60, dtype=np.float32), (60, 60))
    assert displacement(label, np.stack([1 - ramp, ramp])).gain == 0
