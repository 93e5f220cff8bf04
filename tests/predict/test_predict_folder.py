"""Label files of new images: named as the images, in the images' size, and never mixed with another run's."""

import cv2
import numpy as np
import pytest
from PIL import Image
from small_networks import a_checkpoint, labels_of

from maskwright.data.store import ProbabilityStore
from maskwright.errors import DataError, StaleArtifactError, UsageError
from maskwright.postprocess import crf
from maskwright.predict import Shard, files, load_ensemble, predict_folder
from maskwright.predict.labels import clean_folder
from maskwright.progress import listen
from maskwright.recipe.predict import PredictSpec, ThresholdSpec
from maskwright.recipe.steps import CrfSpec
from maskwright.tasks import lock


@pytest.fixture
def images(tmp_path):
    rng = np.random.default_rng(0)
    for name, size in (("one", (40, 50)), ("deep/two.v2", (33, 70)), ("deep/three", (3, 5))):
        path = tmp_path / "images" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, size, dtype=np.uint8)).save(path)
    return tmp_path / "images"


def test_labels_have_the_images_names_and_sizes_and_hold_ids(images, tmp_path):
    made = predict_folder([a_checkpoint(tmp_path / "a.ckpt")], images, tmp_path / "out", overlays=True)
    found = labels_of(tmp_path / "out")
    assert {n: a.shape for n, a in found.items()} == {
        "deep/three.png": (3, 5),
        "deep/two.v2.png": (33, 70),
        "one.png": (40, 50),
    }
    assert set(np.unique(np.concatenate([a.ravel() for a in found.values()]))) <= {3, 9}
    assert len(made) == len(list((tmp_path / "out" / "overlays").rglob("*.jpg"))) == 3


def test_an_ensemble_is_the_mean_of_its_members(images, tmp_path):
    paths = [a_checkpoint(tmp_path / f"{seed}.ckpt", seed) for seed in (1, 2)]
    for name, members in {"both": paths, "first": paths[:1], "second": paths[1:]}.items():
        predict_folder(members, images, tmp_path / name, probabilities=True)
    read = {n: ProbabilityStore(tmp_path / n / "probabilities").read("one") for n in ("both", "first", "second")}
    assert np.allclose(read["both"], (read["first"] + read["second"]) / 2, atol=1e-3)
    assert not np.allclose(read["first"], read["second"], atol=1e-2)


def test_a_crf_in_the_chain_sees_the_image_that_was_predicted(images, tmp_path):
    checkpoint = a_checkpoint(tmp_path / "a.ckpt")
    predict_folder([checkpoint], images, tmp_path / "out", chain=[CrfSpec()], probabilities=True)
    found = labels_of(tmp_path / "out")
    for name, label in found.items():
        (stored,) = (tmp_path / "out" / "probabilities").rglob(f"{name.rpartition('/')[2].removesuffix('.png')}.npz")
        pixels = np.asarray(Image.open(images / name))
        small = ProbabilityStore(stored.parent).read(stored.stem)
        expected = crf(files.to_full_size(small, pixels.shape), pixels, CrfSpec()).argmax(axis=0)
        # stored as float16, so a pixel between two categories may fall otherwise
        assert (label == np.where(expected == 1, 9, 3)).mean() > 0.99


def test_what_is_there_is_kept_and_what_is_missing_is_made(images, tmp_path):
    path, out = a_checkpoint(tmp_path / "a.ckpt"), tmp_path / "out"
    predict_folder([path], images, out)
    before = labels_of(out)
    times = {p: p.stat().st_mtime_ns for p in out.rglob("*.png")}
    (out / "one.png").unlink()
    predict_folder([path], images, out)
    after = labels_of(out)
    assert all(np.array_equal(before[name], after[name]) for name in before)
    assert {p.name for p in out.rglob("*.png") if p.stat().st_mtime_ns != times[p]} == {"one.png"}


def test_labels_of_another_network_or_chain_are_refused_until_redo(images, tmp_path):
    path, other, out = a_checkpoint(tmp_path / "a.ckpt"), a_checkpoint(tmp_path / "b.ckpt", 7), tmp_path / "out"
    predict_folder([path], images, out)
    before = labels_of(out)
    for arguments in (
        {"checkpoints": [other]},
        {"checkpoints": [path], "chain": [ThresholdSpec(value=0.01)]},
        {"checkpoints": [path], "spec": PredictSpec(tta=("identity",))},
    ):
        with pytest.raises(StaleArtifactError, match="--redo"):
            predict_folder(images=images, out=out, **arguments)
    assert all(np.array_equal(before[n], a) for n, a in labels_of(out).items())
    predict_folder([path], images, out, chain=[ThresholdSpec(value=0.01)], redo=True)
    assert all((a == 9).all() for a in labels_of(out).values())


def test_labels_of_two_runs_never_mix_by_way_of_other_images(images, tmp_path):
    first, second, out = a_checkpoint(tmp_path / "a.ckpt"), a_checkpoint(tmp_path / "b.ckpt", 7), tmp_path / "out"
    predict_folder([first], images / "one.png", out)
    predict_folder([second], images / "deep", out)  # other names: no conflict
    with pytest.raises(StaleArtifactError, match="made otherwise, as one"):
        predict_folder([second], images / "one.png", out)


def test_an_image_that_changed_is_predicted_again_on_demand(images, tmp_path):
    path, out = a_checkpoint(tmp_path / "a.ckpt"), tmp_path / "out"
    predict_folder([path], images, out)
    Image.fromarray(np.zeros((7, 9), np.uint8)).save(images / "one.png")
    with pytest.raises(StaleArtifactError, match="1 made otherwise, as one"):
        predict_folder([path], images, out)
    predict_folder([path], images, out, redo=True)
    assert labels_of(out)["one.png"].shape == (7, 9)


def test_files_that_are_not_ours_are_never_replaced(images, tmp_path):
    path = a_checkpoint(tmp_path / "a.ckpt")
    original = (images / "one.png").read_bytes()
    for redo in (False, True):
        with pytest.raises(StaleArtifactError, match="unknown origin"):
            predict_folder([path], images, images, redo=redo)
    assert (images / "one.png").read_bytes() == original


@pytest.mark.parametrize(("at_most", "most"), [(1, 1), (2 * 96, 2), (4 * 96, 4), (1 << 20, 7)])
def test_maps_that_wait_to_be_written_are_bounded_by_their_bytes(images, tmp_path, monkeypatch, at_most, most):
    trained, waiting, written = load_ensemble([a_checkpoint(tmp_path / "a.ckpt")]), [], []
    names = [f"i{number}" for number in range(20)]

    def maps(trained, images, *arguments, **options):
        for name, _ in images:
            waiting.append(names.index(name) - len(written))  # those made before this one and not yet handed on
            yield name, (3, 4), np.full((2, 3, 4), 0.5, np.float32)  # 96 bytes

    monkeypatch.setattr(files, "predict_files", maps)
    monkeypatch.setattr(files, "_PENDING_BYTES", at_most)
    targets = {name: tmp_path / f"{name}.png" for name in names}
    for name in files.predict_to_files(files.source_of(trained, PredictSpec()), targets.items(), targets):
        assert name == names[len(written)]
        written.append(name)
    assert len(written) == len(names)
    assert max(waiting) == most


def test_two_images_of_one_name_are_named(images):
    Image.fromarray(np.zeros((3, 3), np.uint8)).save(images / "one.jpg")
    with pytest.raises(DataError, match="several called one"):
        files.named_images(images)


def test_clean_up_writes_copies_only(tmp_path):
    speck = np.zeros((8, 8), np.uint8)
    speck[2:6, 2:6], speck[4, 4], speck[0, 0] = 1, 0, 1
    (tmp_path / "in").mkdir()
    Image.fromarray(speck).save(tmp_path / "in" / "a.png")
    clean_folder(tmp_path / "in", tmp_path / "out", minimum_area=2)
    expected = np.zeros((8, 8), np.uint8)
    expected[2:6, 2:6] = 1  # the speck in the corner went, and so did the hole of one pixel
    assert np.array_equal(labels_of(tmp_path / "out")["a.png"], expected)
    for out in ("in", "out"):
        with pytest.raises(DataError, match="nothing is overwritten"):
            clean_folder(tmp_path / "in", tmp_path / out, minimum_area=2)


@pytest.mark.parametrize("write", ["predict", "clean"])
def test_a_folder_has_one_writer_and_is_cleared_of_what_a_killed_one_left(images, tmp_path, write):
    out, checkpoint = tmp_path / "out", a_checkpoint(tmp_path / "a.ckpt")

    def run():
        return predict_folder([checkpoint], images, out) if write == "predict" else clean_folder(images, out)

    (out / "deep").mkdir(parents=True)
    half = out / "deep" / ".0123456789ab.tmp.png"
    half.touch()
    with lock(out):
        half.touch()
        with pytest.raises(UsageError, match="another process"):
            run()
    assert half.exists()
    assert len(run()) == 3
    assert not half.exists()
    assert [name for name, _ in files.named_images(out)] == ["deep/three", "deep/two.v2", "one"]


@pytest.mark.parametrize("shard", [None, Shard(1, 1)])
def test_labels_inside_the_folder_of_the_images_are_no_images(images, tmp_path, shard):
    """The second call finds what the first one wrote: nothing to do."""
    checkpoint, out, said = a_checkpoint(tmp_path / "a.ckpt"), images / "deep" / "labels", []
    made = predict_folder([checkpoint], images, out, overlays=True, uncertainty=True, shard=shard)
    with listen(lambda label, done, total, note: said.append(note)):
        again = predict_folder([checkpoint], images, out, overlays=True, uncertainty=True, shard=shard)
    assert again == made and len(made) == 3
    assert f"9 files below {images} that `predict` wrote, no images" in said  # labels, overlays, maps of entropy
    assert len(labels_of(out)) == 6
    (images / "later.jpg").write_bytes(cv2.imencode(".jpg", np.zeros((5, 5, 3), np.uint8))[1].tobytes())
    assert len(predict_folder([checkpoint], images, out, overlays=True, uncertainty=True, shard=shard)) == 4


def test_labels_beside_the_images_are_no_images(tmp_path):
    (tmp_path / "photos").mkdir()
    for name in ("a", "b"):
        picture = cv2.imencode(".jpg", np.full((9, 7, 3), 90, np.uint8))[1]
        (tmp_path / "photos" / f"{name}.jpg").write_bytes(picture.tobytes())
    checkpoint = a_checkpoint(tmp_path / "a.ckpt")
    first = predict_folder([checkpoint], tmp_path / "photos", tmp_path / "photos", overlays=True)
    assert predict_folder([checkpoint], tmp_path / "photos", tmp_path / "photos", overlays=True) == first
    assert [path.name for path in first] == ["a.png", "b.png"]
