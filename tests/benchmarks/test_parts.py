"""The rules by which the parts of training are scored, worked by hand."""

import numpy as np
import pytest
from benchmarks.part_tables import TABLES
from benchmarks.parts import RULES, keras, mean_dice, terrain

from maskwright.metrics import overlap_table


def tables_of(*pairs, classes=3):
    return np.stack([overlap_table(np.array([t], np.uint8), np.array([p], np.uint8), classes) for t, p in pairs])


def test_both_rules_for_class_0():
    # truth 0 0 1 1 2 2, prediction 1 2 1 0 2 2; without the pixels whose truth is 0: IoU 0 (0 of 1), 1/2, 1
    tables = tables_of(([0, 0, 1, 1, 2, 2], [1, 2, 1, 0, 2, 2]))
    ones = np.ones((1, 1))
    assert keras(ones, tables)[0] == pytest.approx(0.5)
    assert terrain(ones, tables)[0] == pytest.approx(0.75)
    never = tables_of(([0, 0, 1, 1, 2, 2], [1, 2, 1, 2, 2, 2]))  # class 0 nowhere predicted: the same by both rules
    assert keras(ones, never)[0] == pytest.approx(terrain(ones, never)[0]) == pytest.approx((1 / 2 + 2 / 3) / 2)


def test_weights_draw_images():
    tables = tables_of(
        ([0, 1, 1, 0], [0, 1, 0, 0]), ([0, 0, 0, 0], [0, 0, 0, 0]), ([1, 1, 1, 1], [1, 1, 1, 1]), classes=2
    )
    # Dice 2/3, none, 1
    assert mean_dice(np.array([[1.0, 1, 1], [2, 0, 0], [1, 5, 3]]), tables) == pytest.approx([5 / 6, 2 / 3, 11 / 12])
    assert terrain(np.array([[1.0, 0, 0], [0, 0, 1]]), tables) == pytest.approx([0.5, 1])


def test_every_row_is_compared_with_an_earlier_one_by_a_known_rule():
    for table in TABLES.values():
        assert set(table.rules) <= set(RULES)
        labels = list(table.parts)
        assert table.parts[labels[0]].against is None
        for place, label in enumerate(labels[1:], 1):
            assert table.parts[label].against in labels[:place]
