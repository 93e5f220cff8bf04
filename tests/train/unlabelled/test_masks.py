"""Boxes, halves of categories and blocks against slices and sets."""

from __future__ import annotations

import numpy as np
import torch

from maskwright.train.unlabelled.masks import block_masks, box_masks, half_of_categories
from maskwright.types import IGNORE


def test_boxes_are_slices():
    boxes = [[[1, 2, 3, 4], [0, 0, 0, 0]], [[0, 0, 5, 9], [4, 8, 1, 1]]]
    found = box_masks(torch.tensor(boxes), (5, 9)).numpy()
    expected = np.zeros((2, 2, 5, 9), bool)
    for n in range(2):
        for s in range(2):
            top, left, height, width = boxes[n][s]
            expected[n, s, top : top + height, left : left + width] = True
    np.testing.assert_array_equal(found, expected)


def test_half_of_an_images_own_categories():
    """Of n categories ⌈n / 2⌉, those with the smallest numbers; those of the other images have no say."""
    rng = np.random.default_rng(0)
    labels = np.stack([rng.choice([0, 2, 3, IGNORE], (6, 7)), rng.choice([1, 4], (6, 7)), np.full((6, 7), IGNORE)])
    labels = np.concatenate([labels, np.full((1, 6, 7), 2), labels[:1]])
    order = rng.random((5, 5))
    order[4] = np.inf  # not at all
    found = half_of_categories(torch.from_numpy(labels), torch.from_numpy(order)).numpy()
    for n in range(4):
        present = sorted(set(labels[n].ravel().tolist()) - {IGNORE}, key=lambda c, n=n: order[n, c])
        chosen = present[: (len(present) + len(present) % 2) // 2]
        np.testing.assert_array_equal(found[n], np.isin(labels[n], chosen))
    assert [int(found[n].any()) for n in range(5)] == [1, 1, 0, 1, 0]


def test_blocks_of_any_size_cover_any_crop():
    blocks = torch.tensor([[[True, False, True], [False, True, False]]])
    found = block_masks(blocks, 4, (6, 10))[0].numpy()
    for y in range(6):
        for x in range(10):
            assert found[y, x] == bool(blocks[0, y // 4, x // 4])
