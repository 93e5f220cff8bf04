"""One untrained run and its export for all tests of exports, made once a process."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from make_export import make_run
from maskwright.export.write import export_run


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("exported"))


@pytest.fixture(scope="session")
def export(folder):
    export_run(folder.root, folder.root.parent / "export")
    return folder.root.parent / "export"


@pytest.fixture(scope="session")
def images(folder):
    """Sizes that are no multiples, one pixel, 16 bits, gray, and one that is tiled where tiles are small."""
    rng, place = np.random.default_rng(0), folder.root.parent / "images"
    (place / "deep").mkdir(parents=True)
    for name, size in (("a", (40, 50, 3)), ("b", (40, 50, 3)), ("dot", (1, 1, 3)), ("wide", (90, 230, 3))):
        Image.fromarray(rng.integers(0, 256, size, dtype=np.uint8)).save(place / f"{name}.png")
    Image.fromarray(rng.integers(0, 256, (33, 64), dtype=np.uint8)).save(place / "deep" / "gray.jpg")
    Image.fromarray(rng.integers(0, 65536, (31, 37), dtype=np.uint16)).save(place / "deep" / "bits.tif")
    return place
