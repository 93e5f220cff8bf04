"""`preview`: the picture holds what training sees, and what can't be drawn is said."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from PIL import Image

from maskwright.cli import main
from maskwright.data.intensity import Intensity, unstandardise
from maskwright.data.synthetic import make_playground
from maskwright.recipe import Recipe, apply_settings
from maskwright.recipe.data import DataSpec
from maskwright.train import preview as made
from maskwright.train.crops import TrainingCrops


@pytest.fixture
def data(tmp_path):
    make_playground(tmp_path / "data", labelled=8, unlabelled=0, size=(40, 56), planted=False)
    return tmp_path / "data"


def call(capsys, *arguments):
    code = main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    return code, out, err


def test_the_picture_is_written_once(capsys, data, tmp_path):
    out = tmp_path / "sheet.png"
    arguments = ("preview", "--data", data, "--count", 2, "--draws", 3, "--out", out)
    code, found, err = call(capsys, *arguments, "--json")
    assert code == 0, err
    picture = np.asarray(Image.open(out))
    assert json.loads(found) == {"out": str(out), "width": picture.shape[1], "height": picture.shape[0]}
    code, _, err = call(capsys, *arguments)
    assert code == 2
    assert "--redo" in err
    assert call(capsys, *arguments, "--redo")[0] == 0
    assert np.array_equal(np.asarray(Image.open(out)), picture)  # the same seed draws the same


def test_it_shows_the_crops_of_training(data, monkeypatch):
    """Every crop of the loader lies in the sheet, pixel by pixel."""
    seen = []
    get = TrainingCrops.__getitem__

    def kept(self, key):
        seen.append((get(self, key), self.images.intensity))
        return seen[-1][0]

    monkeypatch.setattr(TrainingCrops, "__getitem__", kept)
    recipe = apply_settings(Recipe(data=DataSpec(root=str(data))), ["train.crop=[32, 64]"])
    sheet = made.preview(recipe, count=3, draws=2, progress=0.5)
    assert len(seen) == 6
    for batch, intensity in seen:
        assert isinstance(intensity, Intensity)
        crop = unstandardise(batch.images.numpy().transpose(1, 2, 0), intensity).round().clip(0, 255).astype(np.uint8)
        crop = np.broadcast_to(crop, (32, 64, 3)).copy()
        *_, (x, y), _ = cv2.minMaxLoc(cv2.matchTemplate(sheet, crop, cv2.TM_SQDIFF))
        assert np.array_equal(sheet[y : y + 32, x : x + 64], crop)


def test_a_recipe_of_a_run_is_shown_as_it_trains(capsys, data, tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"data: {{root: {data}}}\naugment: [{{kind: auto_augment, probability: {{start: 1}}}}]\n")
    for progress in (0, 1):
        out = tmp_path / f"{progress}.png"
        assert call(capsys, "preview", recipe, "--progress", progress, "--out", out)[0] == 0
    first, last = (np.asarray(Image.open(tmp_path / f"{p}.png")) for p in (0, 1))
    assert first.shape != last.shape or not np.array_equal(first, last)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--count", 0), ("--count",)),
        (("--progress", 2), ("--progress", "between 0 and 1")),
        (("--set", "augment=[{kind: noisy}]"), ("did you mean noise?",)),
        (("--set", "augment=[{kind: for_classes, classes: [moon], augment: [{kind: blur}]}]"), ("moon", "names among")),
    ],
)
def test_wrong_use_is_exit_code_2(capsys, data, tmp_path, options, words):
    code, _, err = call(capsys, "preview", "--data", data, "--out", tmp_path / "x.png", *options)
    assert code == 2
    assert all(word in err for word in words), err
    assert not (tmp_path / "x.png").exists()


def test_neither_data_nor_recipe(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, _, err = call(capsys, "preview")
    assert code == 2
    assert "--data FOLDER" in err
