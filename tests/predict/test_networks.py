"""Networks on a device: one way from an image to its probabilities, and a device that is too small for them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from small_networks import Blurred, trained_with

from maskwright.errors import UsageError
from maskwright.predict import files
from maskwright.predict.networks import Networks
from maskwright.recipe.predict import PredictSpec

SPEC = PredictSpec(tile=64, never=("c1",), scales=(1.0, 0.5))


def test_one_image_gets_what_a_file_gets_and_no_more_than_its_categories(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (50, 90, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    trained = [trained_with(0.5), trained_with(0.5, seed=1)]
    ((_, size, expected),) = files.predict_files(trained, [("a", tmp_path / "a.png")], SPEC, accelerator="cpu")
    found = Networks(trained, SPEC, "cpu").probabilities(pixels)
    assert size == (50, 90)
    assert np.array_equal(found, expected)
    assert found[1].max() == 0
    assert found.sum(axis=0) == pytest.approx(1, abs=1e-5)


def test_networks_that_the_device_has_no_room_for_are_told():
    class Heavy(Blurred):
        def to(self, *where):
            raise torch.OutOfMemoryError("CUDA out of memory")

    trained = replace(trained_with(), network=Heavy(3))
    with pytest.raises(UsageError, match=r"memory for 1 network\(s\), got not enough"):
        Networks([trained], SPEC, "cpu")
