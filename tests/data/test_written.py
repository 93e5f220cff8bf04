"""Files that are written beside each other belong together when they are read."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from maskwright.data.convert import convert
from maskwright.data.images import read_image, read_values
from maskwright.recipe.data import DataSpec


@pytest.mark.parametrize("orientation", [1, 2, 3, 6])
def test_a_turned_image_and_its_mask_stay_together(orientation, tmp_path):
    data, out = tmp_path / "data", tmp_path / "out"
    for folder in ("images", "masks"):
        (data / folder).mkdir(parents=True)
    values = np.array([[1, 0, 0, 0], [0, 0, 0, 2]], np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(values * 100).save(data / "images/a.png", exif=exif)
    Image.fromarray(values).save(data / "masks/a.png")
    convert(DataSpec(root=str(data)), out, "folder")
    (image,) = (out / "images").iterdir()
    mask = read_values(out / "masks/a.png", like=image)
    assert np.array_equal(read_image(image)[..., 0], mask * 100)  # what was bright is still what was labelled
    assert np.array_equal(read_image(image), read_image(data / "images/a.png"))
