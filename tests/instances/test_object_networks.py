"""Networks that tell objects apart: as few passes as there need be, one bad image, too little memory, members."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from maskwright.checkpoint import Trained
from maskwright.data.intensity import Intensity
from maskwright.errors import DataError, UsageError
from maskwright.instances import networks as module
from maskwright.instances.networks import ObjectNetworks
from maskwright.instances.passes import Passes
from maskwright.instances.telling import tell_apart
from maskwright.labels import relabel_consecutive
from maskwright.models import build_model
from maskwright.predict import files as files_module
from maskwright.predict.files import load_ensemble, read_ahead, reader_of
from maskwright.predict.memory import Need, whole_bytes
from maskwright.recipe.embedding import EmbeddingSpec
from maskwright.recipe.instances import InstancesSpec
from maskwright.recipe.networks import CustomUNetSpec
from maskwright.recipe.predict import PredictSpec
from maskwright.types import Categories, Category

THREE = Categories((Category(0, "background"), Category(1, "car", isthing=True), Category(2, "bus", isthing=True)))
TWO = Categories((Category(0, "background"), Category(1, "object", isthing=True)))


class Counting:
    """Counts the passes of a network."""

    def __init__(self, network):
        self.passes = 0
        network.network.register_forward_pre_hook(self._one)

    def _one(self, *_):
        self.passes += 1


def trained_of(seed=0, channels_last=False, categories=TWO):
    torch.manual_seed(seed)
    spec = CustomUNetSpec(depth=2, width=4, embedding=EmbeddingSpec(channels=3))
    network = build_model(spec, in_channels=1, classes=len(categories)).train()
    network(torch.randn(4, 1, 32, 32))
    network = network.eval().requires_grad_(False)
    return Trained(
        network, categories, Intensity(1, (0.0, 255.0), (0.5,), (0.25,)), 1.0, "float32", channels_last, None
    )


def passes_of(trained, **fields):
    predict = PredictSpec(**fields)
    return Passes(ObjectNetworks(trained, predict, InstancesSpec(), "cpu").networks, predict)


@pytest.fixture
def files(tmp_path):
    for name, size in (("a", (40, 64)), ("b", (33, 50)), ("c", (40, 64))):
        pixels = np.random.default_rng(ord(name)).integers(0, 256, size, np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    return [(name, tmp_path / f"{name}.png") for name in "abc"]


@pytest.mark.parametrize(
    ("fields", "passes"),
    [
        ({"tta": ("identity",)}, 1),
        ({}, 2),  # the other view
        ({"tta": ("flip_ud", "identity", "flip_lr")}, 3),
        ({"tta": ("flip_lr",)}, 2),  # and the embeddings of the image as it is
        ({"tta": ("identity",), "scales": (1.0, 0.5)}, 3),
    ],
)
def test_one_pass_gives_probabilities_and_embeddings_where_it_can(fields, passes):
    image = np.random.default_rng(0).normal(size=(40, 64, 1)).astype(np.float32)
    trained = [trained_of(0), trained_of(1, channels_last=True)]
    counts = [Counting(one.network) for one in trained]
    own = passes_of(trained, **fields)
    said = own.of(image, members=True)
    assert [one.passes for one in counts] == [passes, passes]
    ((_, expected),) = own.networks.stream([(None, image)])
    assert said.probabilities == pytest.approx(expected, abs=1e-6)
    assert np.mean(said.members, axis=0) == pytest.approx(said.probabilities, abs=1e-6)
    alone = [passes_of([one]).embeddings(image) for one in trained]
    assert said.embeddings == pytest.approx(np.concatenate(alone) / np.sqrt(2), abs=1e-6)


def test_an_image_whose_objects_cannot_be_told_apart_is_left_out_and_no_other(files, monkeypatch):
    real = module.tell_apart

    def failing(*arguments, where, **options):
        if where == "b":
            raise DataError("expected embeddings that are finite, got NaN")
        if where == "a":
            raise MemoryError
        return real(*arguments, where=where, **options)

    monkeypatch.setattr(module, "tell_apart", failing)
    networks = ObjectNetworks([trained_of()], PredictSpec(), InstancesSpec(), "cpu")
    unreadable = []
    assert [told.name for told in networks.stream(files, unreadable)] == ["c"]
    assert [line.partition(":")[0] for line in unreadable] == ["a", "b"]
    with pytest.raises(MemoryError):
        list(networks.stream(files))


def halves(size):
    """Return a label whose left half is of the one thing and whose right half of the other, but for the last row."""
    label = np.ones(size, np.uint8)
    label[:, size[1] // 2 :] = 2
    label[-1] = 0
    return label


def test_each_thing_is_told_apart_by_the_networks_that_are_asked_for_it(files):
    trained = [trained_of(seed, categories=THREE) for seed in range(3)]
    spec, predict, asked = InstancesSpec(minimum=1), PredictSpec(tta=("identity",)), [(1,), (2,), (1,)]
    others = [trained_of(seed + 5, categories=THREE) for seed in range(3)]
    how = {"describe": True, "others": others, "shown": ["a"], "guide": lambda _, size: halves(size)}
    told = next(iter(ObjectNetworks(trained, predict, spec, "cpu", asked=asked, **how).stream(files)))
    plain = ObjectNetworks(trained, predict, spec, "cpu", **how)
    image = next(iter(plain.passes.probabilities(read_ahead(reader_of(plain.networks), files, None))))[1]
    label = halves(told.objects.shape)
    assert told.probabilities == pytest.approx(plain.passes.of(image).probabilities, abs=1e-6)  # all say it together
    for thing, members in ((1, [0, 2]), (2, [1])):
        own = ObjectNetworks([trained[k] for k in members], predict, spec, "cpu", describe=True)
        embeddings = own.passes.embeddings(image)
        expected = tell_apart(told.probabilities, embeddings, [thing], spec, guide=label)
        mine = np.where(label == thing, told.objects, 0)
        assert np.array_equal(relabel_consecutive(mine), relabel_consecutive(expected)) and expected.any()
        other = ObjectNetworks([others[k] for k in members], predict, spec, "cpu").passes.embeddings(image)
        known = own.features(image, label, told.probabilities, embeddings, expected, other, [thing])
        rows = told.features[np.unique(mine[mine > 0]) - 1]
        assert rows == pytest.approx(known[np.unique(expected[expected > 0]) - 1], rel=1e-4, abs=1e-5, nan_ok=True)
        if len(members) == 2:  # more channels than the other: these are shown, alone
            assert told.seen == pytest.approx(embeddings, rel=1e-2, abs=1e-2)
    assert len(told.features) == told.objects.max()


def test_a_device_that_is_too_small_gets_smaller_tiles(monkeypatch):
    trained, sides = trained_of(), []
    both = trained.network.both

    def short(images):
        sides.append(max(images.shape[2:]))
        if sides[-1] > 96:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return both(images)

    trained.network.both = short
    own = passes_of([trained], tta=("identity",))
    image = np.random.default_rng(0).normal(size=(64, 320, 1)).astype(np.float32)
    said = own.of(image)
    assert sides[:3] == [320, 160, 96] and own.tile == 96
    assert said.embeddings.shape == (3, 64, 320) and np.isfinite(said.embeddings).all()
    assert said.probabilities.sum(axis=0) == pytest.approx(1, abs=1e-5)
    monkeypatch.setattr(trained.network, "both", lambda images: short(torch.zeros(1, 1, 1, 999)))
    with pytest.raises(UsageError, match="memory for the embeddings"):
        own.of(image)


def test_networks_that_the_memory_does_not_hold_are_refused_before_they_are_read(tmp_path, monkeypatch):
    read = list[str]()
    monkeypatch.setattr("maskwright.checkpoint.load_trained", lambda path: read.append(path.name) or trained_of())
    paths = [tmp_path / f"{k}.ckpt" for k in range(4)]
    size = sum(v.numel() * v.element_size() for v in trained_of().network.state_dict().values())
    monkeypatch.setattr(files_module, "free_memory", lambda: 3 * size)
    assert len(load_ensemble(paths)) == 4  # one is there, three fit
    monkeypatch.setattr(files_module, "free_memory", lambda: 3 * size - 1)
    read.clear()
    with pytest.raises(DataError, match=r"(?s)memory for 4 networks .*instances\.workflow"):
        load_ensemble(paths)
    assert read == ["0.ckpt"]


def test_embeddings_of_all_networks_are_among_what_an_image_takes():
    assert ObjectNetworks([trained_of(), trained_of(1)], PredictSpec(), InstancesSpec(), "cpu").networks.need == Need(
        1.0, 1, 2, (1.0,), 6
    )
    # 100 × 200 pixels: image 1, probabilities and sums 2 · 2 + 1, and 3 · 6 of embeddings, 4 bytes each
    assert whole_bytes((100, 200), Need(1.0, 1, 2, (1.0,), 6)) == 4 * 20_000 * (1 + 5 + 18)
