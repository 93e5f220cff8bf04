"""Arrays: the Mars form, pairs of images and masks, types, and files that are refused without being unpacked."""

from __future__ import annotations

import io
import tracemalloc
import zipfile

import numpy as np
import pytest
from PIL import Image
from reading import read_all

from maskwright.data.convert import convert
from maskwright.data.formats import npz, read_source, recognised
from maskwright.errors import DataError, UsageError
from maskwright.recipe.data import DataSpec

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (3, 2, 5), np.uint8)
MASKS = RNG.integers(0, 5, (3, 2, 5), np.uint8)
TEST = RNG.integers(0, 256, (2, 2, 5), np.uint8)


def save(root, **arrays):
    root.mkdir(exist_ok=True)
    np.savez_compressed(root / "mars.npz", **arrays)


def check(root, scratch, *, names=("training_00000", "training_00001", "training_00002")):
    found = read_all(root, scratch)
    for number, name in enumerate(names):
        assert np.array_equal(found[name].image[..., 0], IMAGES[number])
        assert found[name].names == [[f"class_{v}" for v in line] for line in MASKS[number].tolist()]
    return found


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float64, np.float32])
def test_the_mars_form(dtype, tmp_path):
    save(tmp_path / "data", training_set=np.stack([IMAGES, MASKS], 1).astype(dtype), test_set=TEST.astype(dtype))
    assert recognised(tmp_path / "data") == ["npz"]
    found = check(tmp_path / "data", tmp_path / "scratch")
    assert [f.image.dtype for f in found.values()] == [np.uint8] * 5
    bare = found["unlabeled/test_00001"]
    assert np.array_equal(bare.image[..., 0], TEST[1])
    assert (bare.names, bare.part) == (None, "unlabeled")


@pytest.mark.parametrize("keys", [("images", "masks"), ("X", "y"), ("x_train", "y_train"), ("image", "labels")])
@pytest.mark.parametrize("last", [False, True])
def test_pairs_of_images_and_masks(keys, last, tmp_path):
    images, masks = (IMAGES[..., None], MASKS[..., None]) if last else (IMAGES, MASKS)
    save(tmp_path / "data", **{keys[0]: images, keys[1]: masks})
    check(tmp_path / "data", tmp_path / "scratch")


def test_fractions_stay_fractions_in_every_image(tmp_path):
    images = (IMAGES / 255).astype(np.float32)
    images[0] = 0  # whole numbers, in an array of fractions
    save(tmp_path / "data", images=images, masks=MASKS)
    found = read_all(tmp_path / "data", tmp_path / "scratch")
    assert {f.image.dtype for f in found.values()} == {np.dtype(np.float32)}
    assert np.array_equal(found["training_00002"].image[..., 0], images[2])


def test_several_files_keep_their_names_apart(tmp_path):
    save(tmp_path / "data", images=IMAGES, masks=MASKS)
    np.savez(tmp_path / "data/moon.npz", images=IMAGES[:1], masks=MASKS[:1])
    names = [row.image for row in read_source(tmp_path / "data").rows]
    assert names[0] == "@/images/mars/training_00000.png" and names[-1] == "@/images/moon/training_00000.png"


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"a": IMAGES, "b": MASKS}, r"a \(3, 2, 5\) uint8; b \(3, 2, 5\) uint8"),
        ({"training_set": IMAGES}, r"training_set \(3, 2, 5\)"),
        ({"images": IMAGES, "masks": MASKS[:2]}, r"masks \(2, 2, 5\)"),
        ({"images": np.zeros((3, 2, 5, 2)), "masks": MASKS}, r"images \(3, 2, 5, 2\)"),
        ({"images": IMAGES, "masks": MASKS, "test_set": np.zeros(4)}, r"test_set \(4,\)"),
        ({"images": IMAGES, "masks": np.array([{}, 1, 2], object)}, "objects in masks, which are never unpickled"),
        ({"images": IMAGES, "masks": MASKS, "training_names": np.array(["a", "a", "b"])}, "training_names"),
        ({"images": IMAGES, "masks": MASKS, "training_names": np.array(["a", "../b", "c"])}, "training_names"),
    ],
)
def test_arrays_whose_meaning_is_not_plain_are_listed(arrays, words, tmp_path):
    save(tmp_path, **arrays)
    with pytest.raises(DataError, match=words):
        read_source(tmp_path)


def test_masks_of_fractions_are_named(tmp_path):
    save(tmp_path / "data", images=IMAGES, masks=MASKS + 0.5)
    with pytest.raises(DataError, match="whole numbers"):
        read_all(tmp_path / "data", tmp_path / "scratch")


def test_a_header_of_terabytes_is_refused_before_anything_is_unpacked(tmp_path):
    head = io.BytesIO()
    shape = (1 << 20, 2, 1 << 11, 1 << 11)
    np.lib.format.write_array_header_1_0(head, {"descr": "|u1", "fortran_order": False, "shape": shape})
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("training_set.npy", head.getvalue())
    with pytest.raises(DataError, match=rf"at most {npz.LARGEST >> 30} GiB together, got 8192\.0 GiB"):
        read_source(tmp_path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut off", b"no zip at all"])
def test_a_broken_file_is_named(content, tmp_path):
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.npz"):
        read_source(tmp_path)


def test_an_array_that_is_cut_off_is_named(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as file:
        for name, array in (("images", IMAGES), ("masks", MASKS)):
            whole = io.BytesIO()
            np.lib.format.write_array(whole, array)
            file.writestr(f"{name}.npy", whole.getvalue()[:-7])
    with pytest.raises(DataError, match=r"a\.npz"):
        read_all(tmp_path, tmp_path / "scratch")


def test_gray_images_are_written_in_the_mars_form(tmp_path):
    for number in range(3):
        for folder, values in (("images", IMAGES), ("masks", MASKS)):
            place = tmp_path / "data" / folder / "train"
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(values[number]).save(place / f"{number}.png")
    convert(DataSpec(root=str(tmp_path / "data")), tmp_path / "out", "npz")
    with np.load(tmp_path / "out/data.npz") as file:
        assert np.array_equal(file["training_set"], np.stack([IMAGES, MASKS], 1))
        assert file["training_names"].tolist() == ["train/0", "train/1", "train/2"]
    found = check(tmp_path / "out", tmp_path / "scratch", names=("train/0", "train/1", "train/2"))
    assert {f.part for f in found.values()} == {"train"}


def test_images_of_two_sizes_are_not_written(tmp_path):
    for folder in ("images", "masks"):
        (tmp_path / "data" / folder).mkdir(parents=True)
        Image.fromarray(MASKS[0]).save(tmp_path / "data" / folder / "a.png")
        Image.fromarray(MASKS[0].T).save(tmp_path / "data" / folder / "b.png")
    with pytest.raises(UsageError, match=r"\(5, 2\) uint8 after \(2, 5\) uint8"):
        convert(DataSpec(root=str(tmp_path / "data")), tmp_path / "out", "npz")


def test_of_many_files_two_are_in_memory(tmp_path):
    for i in range(5):
        images = np.full((2, 400, 500), i, np.uint8)
        np.savez(tmp_path / f"f{i}.npz", images=images, masks=images % 2)
    rows = read_source(tmp_path, "npz").rows
    tracemalloc.start()
    seen = [int(row.render().image.max()) for row in rows]
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert seen == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    file = 2 * 2 * 400 * 500
    assert kept < 2.5 * file
    assert peak < 5 * file
