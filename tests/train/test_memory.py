"""A batch that doesn't fit into memory is taken in parts: the same steps, the same gradients, and it is said."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image
from torch import nn

from maskwright.data.index import build_index
from maskwright.errors import DataError, UsageError
from maskwright.progress import listen
from maskwright.recipe import Recipe, apply_settings
from maskwright.recipe.data import DataSpec
from maskwright.train import timing
from maskwright.train.fit import train_fold
from maskwright.train.memory import Parts

pytestmark = pytest.mark.slow


class Small(nn.Module):
    """Without normalisation, so that parts of a batch add up; it fits `most` images at once."""

    def __init__(self, in_channels: int, classes: int, most: int, most_validated: int = 99) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(in_channels, 4, 3, padding=1), nn.Tanh(), nn.Conv2d(4, classes, 1))
        self.most, self.most_validated = most, most_validated

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if len(images) > (self.most if self.training else self.most_validated):
            raise torch.OutOfMemoryError("simulated")
        return self.layers(images)


@pytest.fixture
def data(tmp_path):
    rng = np.random.default_rng(0)
    for part in ("images", "masks"):
        (tmp_path / "data" / part).mkdir(parents=True)
    for i in range(8):
        image = rng.integers(0, 255, (32, 32), np.uint8)
        Image.fromarray(image).save(tmp_path / "data" / "images" / f"i{i}.png")
        Image.fromarray((image > 128).astype(np.uint8)).save(tmp_path / "data" / "masks" / f"i{i}.png")
    index, section, _ = build_index(DataSpec(root=str(tmp_path / "data")))
    return index, section


def recipe(section, most, most_validated=99):
    settings = (
        "train.steps=6",
        "train.validate_every=2",
        "train.batch=6",
        "train.crop=[32, 32]",
        "train.scale=1",
        "train.precision=float32",
        "train.channels_last=false",
        "train.accelerator=cpu",
        "train.threads=1",
        "train.clip=1000",
        'loss=[{"kind": "cross_entropy"}]',
        "augment=[]",
        f'model={{"kind": "python", "target": "test_memory:Small", "arguments": '
        f'{{"most": {most}, "most_validated": {most_validated}}}}}',
    )
    return apply_settings(Recipe(data=section), settings)


@pytest.mark.parametrize(("most", "parts"), [(5, 2), (2, 3), (1, 6)])
def test_the_numbers_are_those_of_the_whole_batch(data, tmp_path, most, parts):
    index, section = data
    said = []
    whole = train_fold(tmp_path / "run" / "round-0" / "whole", index, index, recipe(section, 6))
    with listen(lambda label, done, total, note: said.append(note)):
        cut = train_fold(tmp_path / "run" / "round-0" / "cut", index, index, recipe(section, most))
    assert f"steps of 6 crops are now taken in {parts} parts" in said
    states = [torch.load(path, weights_only=True) for path in (whole, cut)]
    assert states[0]["global_step"] == states[1]["global_step"] == 6
    for name, value in states[0]["state_dict"].items():
        torch.testing.assert_close(value, states[1]["state_dict"][name], rtol=1e-4, atol=1e-6)
    losses = [pl.read_csv(path.with_name("metrics.csv"))["loss"] for path in (whole, cut)]
    assert losses[0].to_list() == pytest.approx(losses[1].to_list(), rel=1e-4)
    assert f"in {parts} parts" in cut.with_name("log.txt").read_text()
    assert "parts" not in whole.with_name("log.txt").read_text()


def test_a_shortage_in_validation_leaves_the_training_as_it_is(data, tmp_path):
    index, section = data
    said = []
    whole = train_fold(tmp_path / "run" / "round-0" / "whole", index, index, recipe(section, 6))
    with listen(lambda label, done, total, note: said.append(note)):
        cut = train_fold(tmp_path / "run" / "round-0" / "cut", index, index, recipe(section, 6, 2))
    assert "validation batches are now taken in 2 parts" in said
    states = [torch.load(path, weights_only=True) for path in (whole, cut)]
    for name, value in states[0]["state_dict"].items():
        assert torch.equal(value, states[1]["state_dict"][name])
    assert "parts" not in cut.with_name("log.txt").read_text()
    with pytest.raises(UsageError, match=r"predict\.batch"):
        train_fold(tmp_path / "run" / "round-0" / "none", index, index, recipe(section, 6, 0))


def test_a_resumed_training_keeps_its_parts(data, tmp_path):
    index, section = data
    folder, said = tmp_path / "run" / "round-0" / "fold-0", []

    class CutError(Exception):
        pass

    def cut(label, done, total, note):
        said.append(note)
        if label.startswith("train") and done == 3:
            raise CutError

    with pytest.raises(CutError), listen(cut):
        train_fold(folder, index, index, recipe(section, 2))
    assert any("3 parts" in note for note in said)
    said.clear()
    with listen(lambda label, done, total, note: said.append(note)):
        train_fold(folder, index, index, recipe(section, 2))
    assert not any("parts" in note for note in said)  # known from the checkpoint
    assert Parts.of(folder / "last.ckpt") == Parts(3, 1)


def test_a_cut_off_checkpoint_is_named_with_what_to_do(data, tmp_path):
    index, section = data
    folder = tmp_path / "run" / "round-0" / "broken"
    folder.mkdir(parents=True)
    (folder / "last.ckpt").write_bytes(b"PK\x03\x04 half of an archive")
    with pytest.raises(DataError, match=r"cut off\n(.|\n)*last\.ckpt(.|\n)*delete it"):
        train_fold(folder, index, index, recipe(section, 6))


def test_memory_for_not_even_one_crop_is_an_error_with_a_next_move(data, tmp_path):
    index, section = data
    with pytest.raises(UsageError, match=r"train\.scale"):
        train_fold(tmp_path / "run" / "round-0" / "none", index, index, recipe(section, 0))


@pytest.mark.parametrize(
    ("method", "said"),
    [
        ("{kind: fixmatch, batch: 1}", r"model\.encoder; of images without labels selftrain\.method\.batch, .*\.views"),
        ("{kind: pseudo_labels}", r"model\.encoder$"),
    ],
)
def test_what_else_takes_memory_is_named(data, method, said):
    wanted = apply_settings(recipe(data[1], 0), [f"selftrain.method={method}", "train.batch=1"])
    with pytest.raises(UsageError, match=said):
        Parts().smaller(wanted, validating=False)


@pytest.mark.parametrize(("most", "sizes"), [(6, [6]), (5, [6, 3]), (2, [6, 3, 2]), (1, [6, 3, 2, 1])])
def test_the_probe_measures_in_parts(data, monkeypatch, most, sizes):
    tried = []

    def measure(recipe, batch, repeats, seconds):
        tried.append(batch)
        if batch > most:
            raise torch.OutOfMemoryError("simulated")
        return 0.25

    monkeypatch.setattr(timing, "_measure_batch", measure)
    assert timing.measure_step(recipe(data[1], 6)) == 6 / sizes[-1] * 0.25  # as many parts as it takes
    assert tried == sizes
