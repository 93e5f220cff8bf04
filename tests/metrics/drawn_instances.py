"""Drawn instance truth and scored predictions that overlap, with ties, crowds and misses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

N = 3
SIZE = (64, 72)


@dataclass(frozen=True)
class Scene:
    """Masks (T, H, W) and (P, H, W) bool, categories, crowd flags, scores, void pixels (H, W) bool."""

    true: np.ndarray
    true_categories: np.ndarray
    crowd: np.ndarray
    masks: np.ndarray
    categories: np.ndarray
    scores: np.ndarray
    void: np.ndarray


def box(y, x, height, width):
    mask = np.zeros(SIZE, bool)
    mask[max(y, 0) : max(y + height, 0), max(x, 0) : max(x + width, 0)] = True
    return mask


def drawn_scene(seed, *, disjoint):
    """Return a scene; with `disjoint`, later true instances hide earlier ones."""
    rng = np.random.default_rng(seed)
    boxes, true = [], []
    for _ in range(rng.integers(0, 9)):
        boxes.append((*rng.integers(0, 60, 2), *rng.integers(5, 30, 2)))
        if disjoint:
            true = [mask & ~box(*boxes[-1]) for mask in true]
        true.append(box(*boxes[-1]))
    kept = [k for k, mask in enumerate(true) if mask.any()]
    true_categories = rng.integers(N, size=len(boxes))
    masks, categories = [], []
    for k in rng.integers(0, max(len(boxes), 1), 12) if boxes else []:  # several predictions of one instance
        masks.append(box(*(np.array(boxes[k]) + rng.integers(-3, 4, 4))))
        categories.append(true_categories[k] if rng.random() < 0.85 else rng.integers(N))
    for _ in range(rng.integers(0, 4)):
        masks.append(box(*rng.integers(0, 60, 2), *rng.integers(1, 25, 2)))
        categories.append(rng.integers(N))
    void = np.zeros(SIZE, bool)
    if rng.random() < 0.5:
        void = box(*rng.integers(0, 40, 2), 25, 25) & ~np.any(true, axis=0) if true else box(3, 3, 40, 40)
    stack = (-1, *SIZE)
    return Scene(
        true=np.array([true[k] for k in kept], bool).reshape(stack),
        true_categories=true_categories[kept],
        crowd=rng.random(len(kept)) < 0.25,
        masks=np.array(masks, bool).reshape(stack),
        categories=np.array(categories, int),
        scores=rng.integers(1, 12, len(masks)) / 12,  # ties
        void=void,
    )
