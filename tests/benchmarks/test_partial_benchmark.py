"""The maps of `python -m benchmarks partial`."""

from __future__ import annotations

import numpy as np
from benchmarks.partial import left, thinned
from PIL import Image


def test_so_many_objects_are_left_and_they_are_whole(tmp_path):
    ids = np.repeat(np.arange(21), 3)[None].repeat(2, 0)
    some = left(ids, 0.25, 0)
    kept = set(np.unique(some)) - {0}
    assert len(kept) == 5 and all((some == number).sum() == 6 for number in kept)
    assert np.array_equal(left(ids, 0.25, 0), some) and not np.array_equal(left(ids, 0.25, 1), some)
    assert len(np.unique(left(ids, 0.01, 0))) == 2  # one, and the background
    assert not left(np.zeros((2, 2), int), 0.5, 0).any()
    (tmp_path / "whole" / "instances").mkdir(parents=True)
    (tmp_path / "whole" / "images").mkdir()
    (tmp_path / "whole" / "meta.csv").write_text("name\n")
    Image.fromarray(ids.astype(np.uint16)).save(tmp_path / "whole" / "instances" / "a.png")
    out = thinned(tmp_path / "whole", tmp_path / "out", 0.5)
    assert len(np.unique(np.array(Image.open(out / "instances" / "a.png")))) == 11
    assert (out / "images").is_dir() and (out / "meta.csv").is_file()
