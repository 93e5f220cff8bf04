"""Networks of several recipes over one image: each in its own way, two maps at a time."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from maskwright.checkpoint import Trained
from maskwright.data.intensity import Intensity
from maskwright.errors import DataError
from maskwright.fusion import RankFusion
from maskwright.predict import predict_files, predict_folder, to_full_size
from maskwright.predict.ensembles import Member, fused_source, predict_fused, seconds_an_image
from maskwright.recipe.predict import PredictSpec
from maskwright.types import Categories, Category

CATEGORIES = Categories((Category(3, "a"), Category(9, "b")))


def member(seed=0, *, weight=1.0, scale=1.0, channels=1, mean=0.5, **fields):
    torch.manual_seed(seed)
    network = nn.Conv2d(channels, 2, 3, padding=1).eval().requires_grad_(False)
    intensity = Intensity(channels, (0, 255), (mean,) * channels, (0.25,) * channels)
    trained = Trained(network, CATEGORIES, intensity, scale, "float32", False, Path(f"{seed}.ckpt"))
    return Member((trained,), PredictSpec(**fields), weight)


@pytest.fixture
def files(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    found = []
    for name, size in (("gray", (40, 50)), ("colour", (33, 70, 3)), ("small", (3, 5))):
        path = tmp_path / "images" / f"{name}.png"
        Image.fromarray(rng.integers(0, 256, size, dtype=np.uint8)).save(path)
        found.append((name, path))
    return found


MEMBERS = (
    {"seed": 0},
    {"seed": 1, "scale": 0.5, "channels": 3, "mean": 0.3, "weight": 2.0, "tta": ("rotate_90", "transpose")},
    {"seed": 2, "scale": (24, 31), "weight": 0.5, "scales": (1.0, 1.5)},
)


@pytest.mark.parametrize("fusion", ["mean", "rank"])
def test_each_member_prepares_and_sizes_the_image_in_its_own_way(files, fusion):
    members = [member(**options) for options in MEMBERS]
    alone = [{name: (size, p) for name, size, p in predict_files(m.trained, files, m.spec)} for m in members]
    for name, size, found in predict_fused(members, files, fusion=fusion):
        maps = [to_full_size(each[name][1], size) for each in alone]
        expected = np.average(maps, axis=0, weights=[1, 2, 0.5])
        if fusion == "rank":
            ranks = RankFusion()
            for probabilities, weight in zip(maps, (1, 2, 0.5), strict=True):
                ranks.add(probabilities, weight)
            expected = ranks.result()
        assert found.shape == (2, *size)
        assert found == pytest.approx(expected, abs=1e-5)


def test_labels_of_fused_networks_hold_ids_and_go_on_where_they_stopped(files, tmp_path):
    members = [member(0), member(1, scale=0.5)]
    source = fused_source(members, fusion="mean", accelerator="cpu", made_by="these")
    written = predict_folder(source, tmp_path / "images", tmp_path / "out", probabilities=True)
    assert len(written) == 3
    stood = {path: path.stat().st_mtime_ns for path in written[1:]}
    written[0].unlink()
    assert predict_folder(source, tmp_path / "images", tmp_path / "out", probabilities=True) == written
    assert {path: path.stat().st_mtime_ns for path in written[1:]} == stood
    for name, _, found in predict_fused(members, files):
        label = np.asarray(Image.open(tmp_path / "out" / f"{name}.png"))
        assert np.array_equal(label, np.array([3, 9])[found.argmax(0)])


def test_unreadable_files_are_told_and_the_others_predicted(files, tmp_path):
    files[1][1].write_bytes(b"no image")
    told = []
    assert [name for name, *_ in predict_fused([member(0)], files, unreadable=told)] == ["gray", "small"]
    assert len(told) == 1
    with pytest.raises(DataError):
        list(predict_fused([member(0)], files))


class Still(nn.Module):
    """Ten categories, all as probable; takes no memory of its own."""

    def forward(self, images):
        return torch.zeros(1).expand(len(images), 10, *images.shape[2:])


def test_memory_does_not_grow_with_members(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(np.zeros((400, 500), np.uint8)).save(path)
    one = member(0, tta=("identity",))
    still = Trained(Still(), CATEGORIES, one.trained[0].intensity, 0.25, "float32", False, Path("x"))
    peaks = []
    for count in (2, 9):
        members = [Member((still,), one.spec)] * count
        tracemalloc.start()
        for _ in predict_fused(members, [("a", path)]):
            pass
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    whole = 10 * 400 * 500 * 4
    assert peaks[1] < peaks[0] * 1.05
    assert peaks[1] < 2.6 * whole  # the sum, a member's, and one category on the way


def test_time_is_that_of_all_networks(files):
    assert seconds_an_image(member(0), [path for _, path in files]) > 0
