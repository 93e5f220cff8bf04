"""Which bin an image is in, and what says nothing."""

from __future__ import annotations

import numpy as np
import polars as pl

from maskwright.recipe.data import SplitSpec
from maskwright.split import measure
from maskwright.split.features import FAMILIES


def column(found, name):
    return found.values[:, found.names.index(name)].tolist()


def test_area_bins_are_those_of_the_source_and_hold_their_lower_border():
    """Seven bins, [0,.01) [.01,.02) [.02,.03) [.03,.04) [.04,.05) [.05,.10) [.10,1]."""
    shares = [0, 0.0099, 0.01, 0.02, 0.035, 0.04, 0.05, 0.0999, 0.1, 1.0]
    pixels = [[round(10000 * (1 - share)), round(10000 * share)] for share in shares]
    found = measure(pl.DataFrame({"pixels": pixels}), ("back", "nucleus"), SplitSpec().area_bins)
    bins = [name for name in found.names if name.startswith("nucleus on")]
    assert bins == [f"nucleus on {w} % of the image" for w in ("0–1", "1–2", "2–3", "3–4", "4–5", "5–10", "10–100")]
    assert [next(k for k, b in enumerate(bins) if column(found, b)[i]) for i in range(10)] == [
        0, 0, 1, 2, 3, 4, 5, 5, 6, 6
    ]  # fmt: skip
    assert column(found, "images with nucleus") == [0.0] + [1.0] * 9
    assert column(found, "pixels of nucleus") == shares


def test_object_sizes_are_quarters_and_images_without_objects_are_in_none():
    contents = pl.DataFrame({
        "pixels": [[1, 1]] * 9, "objects": [0, 1, 1, 1, 1, 1, 1, 1, 1],
        "median_area": [None, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0],
    })  # fmt: skip
    found = measure(contents, ("a", "b"), ())
    sizes = [name for name in found.names if name.startswith("median")]
    # quantiles of 1..8: 2.75, 4.5, 6.25
    assert [column(found, name) for name in sizes] == [
        [0, 1, 1, 0, 0, 0, 0, 0, 0], [0, 0, 0, 1, 1, 0, 0, 0, 0], [0, 0, 0, 0, 0, 1, 1, 0, 0],
        [0, 0, 0, 0, 0, 0, 0, 1, 1],
    ]  # fmt: skip
    assert sizes[0] == "median object area of 1 to 2.75 px"


def test_what_is_the_same_in_every_image_is_left_out():
    found = measure(pl.DataFrame({"pixels": [[5, 5], [5, 5]], "objects": [2, 2]}), ("a", "b"), (0.1,))
    assert found.names == ()
    assert found.values.shape == (2, 0)
    some = measure(pl.DataFrame({"pixels": [[5, 0], [5, 5]]}), ("a", "b"), (0.1,))
    assert {FAMILIES[k] for k in np.unique(some.families)} == {"pixel share", "presence", "area bins"}


def test_images_whose_pixels_are_all_ignored_hold_nothing():
    found = measure(pl.DataFrame({"pixels": [[0, 0], [5, 5]]}), ("a", "b"), ())
    assert column(found, "pixels of a") == [0.0, 0.5]
