"""Labelled-fraction subsets: whole groups, alike in what they hold, each inside every larger one.

All training groups have one order, of which a subset is the beginning. The order comes from halving: the images are
cut into two halves as alike as folds are, and each half is ordered in the same way, the first before the second. So
the first half, quarter, eighth … are stratified, and whatever is asked for lies inside what is asked for with a larger
number. The half that holds the largest group is the second: a group as large as a small subset would be all of it.
Only the halves that the end of the subset lies in are ever cut.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

import numpy as np

from maskwright.split.placing import Labelled, place_images


def draw_subset(
    data: Labelled, images: Sequence[str], wanted: float, *, first: Collection[str] = (), seed: int = 0
) -> list[str]:
    """Return the images of a subset, in the order that they were given in.

    Args:
        data: all labelled images.
        images: those to draw from.
        wanted: below 1 a share of them, else a number; groups are whole, so it may be missed by half a group.
        first: images that were in the subset before: they come before all others.
        seed: of the order.
    """
    count = max(1, round(wanted * len(images))) if wanted < 1 else int(wanted)
    kept = [image for image in images if image in first]
    if not kept:
        chosen = _beginning(data, images, count, seed)
    elif count <= len(kept):
        chosen = _beginning(data, kept, count, seed)
    else:
        others = [image for image in images if image not in first]
        chosen = {*kept} | _beginning(data, others, count - len(kept), seed)
    return [image for image in images if image in chosen]


def _beginning(data: Labelled, images: Sequence[str], count: int, seed: int) -> set[str]:
    chosen, node = set[str](), 1
    while images and count < len(images):
        if len({data.joined[image] for image in images}) == 1:
            return chosen | ({*images} if 2 * count >= len(images) else set())
        halves = place_images(data, images, {0: 0.5, 1: 0.5}, np.random.default_rng((seed, 5, node)))
        before, after = ([image for image in images if halves[image] == half] for half in (0, 1))
        if _largest(data, before) > _largest(data, after):
            before, after = after, before
        if count <= len(before):
            images, node = before, 2 * node
        else:
            chosen |= {*before}
            images, count, node = after, count - len(before), 2 * node + 1
    return chosen | {*images}


def _largest(data: Labelled, images: Sequence[str]) -> int:
    """Return how many images the largest group has."""
    return max(Counter(data.joined[image] for image in images).values(), default=0)
