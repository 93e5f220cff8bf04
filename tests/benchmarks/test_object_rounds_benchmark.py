"""The figures of `python -m benchmarks object_rounds`, worked by hand, and the worlds that it goes through."""

from __future__ import annotations

import argparse
import json
from itertools import pairwise

import numpy as np
import pytest
import torch
from benchmarks.object_rounds import CHOSEN, FALSE, LONGER, SOURCE, UPPER, adapted, command_of, statistics, to_row
from benchmarks.object_worlds import FIELDS, WORLDS, _from_set
from PIL import Image

from maskwright.artifacts import RunFolder
from maskwright.checkpoint import KEY, describe, load_trained
from maskwright.data.images import read_image
from maskwright.data.intensity import standardise, to_working
from maskwright.data.synthetic import make_playground
from maskwright.models import build_model
from maskwright.recipe import Recipe, apply_settings
from maskwright.recipe.data import DataSpec
from maskwright.recipe.model import UNetSpec
from maskwright.train.unlabelled.norm import batch_norms
from maskwright.types import Category


def write(path, ids):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(ids.astype(np.uint8)).save(path)


def test_scores_of_files_by_hand(tmp_path):
    """Two images: one of two objects is found, then one is found and two are made up."""
    true, found = np.zeros((2, 20, 40), int), np.zeros((2, 20, 40), int)
    true[0, 2:8, 2:8], true[0, 2:8, 20:26], found[0, 2:8, 2:8] = 1, 2, 1
    true[1, 2:8, 2:8] = found[1, 2:8, 2:8] = 1
    found[1, 10:14, 2:6], found[1, 10:14, 20:24] = 2, 3
    for name, one, other in zip("ab", true, found, strict=True):
        write(tmp_path / "test" / "instances" / f"{name}.png", one)
        write(tmp_path / "found" / "instances" / f"{name}.png", other)
    known = statistics(tmp_path / "found", tmp_path / "test", WORLDS["fluorescence"])
    ones, first = np.ones((1, 2)), np.array([[1.0, 0.0]])
    assert known["groups"] == ["a", "b"]
    assert known["pq"](ones)[0] == known["rq"](ones)[0] == pytest.approx(2 / (2 + 0.5 * 1 + 0.5 * 2))
    assert known["sq"](ones)[0] == 1
    assert known["pq"](first)[0] == pytest.approx(1 / 1.5)
    assert known[FALSE](ones)[0] == 1 and known[FALSE](first)[0] == 0


def rows_of(**figures):
    """Return rows whose PQ is the same on each of four images."""
    return {
        name: [{"pq": lambda weights, own=own: np.full(len(weights), own), "groups": ["a", "a", "b", "c"]}]
        for name, own in figures.items()
    }


@pytest.mark.parametrize(("longer", "base", "share"), [(0.2, SOURCE, 0.5), (0.45, LONGER, 1 / 6)])
def test_the_share_of_the_gap_to_the_best_row_without_pseudo_labels(longer, base, share):
    """Images weigh alike; source ¼, the row ½, the upper end ¾: half of the gap, a sixth of that from .45 on."""
    done = rows_of(**{SOURCE: 0.25, LONGER: longer, "guided": 0.5, UPPER: 0.75})
    arguments = argparse.Namespace(steps=5, seeds=[0])
    row = to_row("guided", "pq", done, arguments, two_worlds=True)
    assert row.unit.endswith("4 images of 3 groups")
    assert row.figure == 0.5 and row.against == base and row.other == done[base][0]["pq"](np.ones((1, 4)))[0]
    assert row.details["share of the gap"]["value"] == pytest.approx(share)
    assert row.details["share of the gap of source only"]["value"] == pytest.approx(0.5)
    assert row.reached == (share >= 0.25)
    assert to_row("guided", "pq", done, arguments).reached is None
    for name, against in ((UPPER, base), (LONGER, SOURCE)):
        other = to_row(name, "pq", done, arguments, two_worlds=True)
        assert other.against == against and "share of the gap" not in other.details and other.reached is None


def test_views_of_a_place_are_a_group():
    groups = [WORLDS[name].group_of("test07_2") for name in ("scenes", "sized_scenes", "fields")]
    assert groups == ["test07", "test07", "test07_2"]
    assert WORLDS["panoramas"].group_of("509_2") == "509"


@pytest.mark.parametrize("embedding", [None, {"channels": 4}])
def test_batch_norm_has_the_statistics_of_the_pool(tmp_path, embedding):
    make_playground(tmp_path / "data", labelled=1, unlabelled=3, size=(64, 64), planted=False)
    pool = tmp_path / "data" / "unlabeled"
    spec = UNetSpec(encoder="resnet10t", encoder_weights="none", decoder_channels=(8, 8, 8, 8, 8), embedding=embedding)
    data = DataSpec(
        root=".",
        categories=(Category(0, "background"), Category(1, "object", isthing=True)),
        channels=3,
        value_range=(0, 255),
        mean=(0.4,) * 3,
        std=(0.2,) * 3,
    )
    network = build_model(spec, in_channels=3, classes=2)
    about = describe(spec, data, scale=1.0, precision="float32", channels_last=False)
    for fold in (0, 1):
        path = RunFolder(tmp_path / "run").checkpoints(fold, "last", 0)[0]
        path.parent.mkdir(parents=True)
        torch.save({KEY: about, "state_dict": network.state_dict()}, path)
    (tmp_path / "run" / "adopted.json").write_text(json.dumps({"round": 0, "rounds": []}))
    files = adapted(tmp_path / "run", pool, tmp_path / "out")
    before, after = (
        load_trained(p).network for p in (RunFolder(tmp_path / "run").checkpoints(0, "last", 0)[0], files[0])
    )
    seen = []
    first = next(m for m in after.modules() if isinstance(m, torch.nn.BatchNorm2d))
    convolution = next(m for m in after.modules() if isinstance(m, torch.nn.Conv2d))
    convolution.register_forward_hook(lambda _, __, out: seen.append(out.mean((0, 2, 3))))
    known = load_trained(files[0])
    for path in sorted(pool.iterdir()):
        image = standardise(to_working(read_image(path), known.intensity), known.intensity)
        with torch.no_grad():
            after(torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))[None])
    torch.testing.assert_close(first.running_mean, torch.stack(seen).mean(0), rtol=1e-4, atol=1e-5)
    assert all(norm.num_batches_tracked == 3 for norm in batch_norms(after))
    weights = [dict(one.named_parameters()) for one in (before, after)]
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())


def test_groups_of_a_real_set_are_in_one_part(tmp_path):
    """Nine images of six groups: every third group is the test, the first of the others are labelled."""
    root, rows = tmp_path / "set", ["name,sol"]
    for number in range(9):
        name = f"n{number}"
        rows.append(f"{name},s{number % 6}")
        label = np.zeros((8, 8), np.uint8)
        label[2:4, 2:4], label[5:7, 5:7] = 1, 2
        for folder, array in (("masks", label), ("instances", label * 7)):
            write(root / folder / f"{name}.png", array)
        (root / "images").mkdir(exist_ok=True)
        Image.fromarray(np.full((8, 8), 20 * number, np.uint8)).save(root / "images" / f"{name}.jpg")
    (root / "meta.csv").write_text("\n".join(rows))
    _from_set(root, tmp_path / "out", FIELDS, 2, "masks", lambda label, ids: ids)

    def names(folder):
        return {path.stem for path in (tmp_path / "out" / folder).iterdir()}

    labelled, pool, target, test = map(names, ("source/images", "source/unlabeled", "target/images", "test/images"))
    assert target == labelled | pool
    assert not labelled & pool and not target & test
    assert len(target | test) == 9
    groups = [{int(name[1]) % 6 for name in part} for part in (labelled, pool, test)]
    assert not groups[0] & groups[1] and not groups[2] & (groups[0] | groups[1])
    assert len(groups[2]) == 2 and len(labelled) >= 2
    told = json.loads((tmp_path / "out" / "source" / "classes.json").read_text())["categories"]
    assert [category["isthing"] for category in told] == [False, True, True]
    truth = json.loads((tmp_path / "out" / "test" / "truth" / "panoptic.json").read_text())
    assert all(len(image["segments_info"]) == 3 for image in truth["annotations"])


@pytest.mark.parametrize(("name", "kind"), [("stained", "threshold"), ("scenes", "class_share")])
def test_rounds_learn_from_a_share_of_each_category_where_there_are_several(tmp_path, name, kind):
    words = command_of(CHOSEN, WORLDS[name], 0, argparse.Namespace(keep=tmp_path, steps=300))[0]
    stated = [setting for word, setting in pairwise(words) if word == "--set" and setting.startswith("selftrain.")]
    method = apply_settings(Recipe(data=DataSpec(root=str(tmp_path))), stated).selftrain.method
    assert method.pixels.kind == kind
    assert method.objects.objectness == 0.5 and method.objects.votes == "predicted"
