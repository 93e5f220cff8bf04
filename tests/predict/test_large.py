"""Large images by windows: the labels and maps of the same image predicted whole, in the memory of a row of tiles."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import tifffile
from PIL import Image
from small_networks import trained_with

from maskwright.errors import DataError
from maskwright.predict import files, folder, memory, windows
from maskwright.predict.ensembles import Member, fused_source
from maskwright.predict.folder import predict_folder
from maskwright.predict.windows import Windows
from maskwright.recipe.predict import FillHolesSpec, MinimumAreaSpec, PredictSpec, ThresholdSpec
from maskwright.recipe.steps import ClosingSpec, MajoritySpec, SelectSpec, SmoothSpec

RNG = np.random.default_rng(0)
SPEC = PredictSpec(tile=64, batch=2)
CHAIN = (SmoothSpec(sigma=1), MajoritySpec(size=3), ClosingSpec(size=3))


@pytest.fixture
def image(tmp_path):
    coarse = RNG.integers(0, 256, (20, 26, 3), np.uint8)
    pixels = np.asarray(Image.fromarray(coarse).resize((213, 301), Image.Resampling.BILINEAR))
    tifffile.imwrite(tmp_path / "a.tif", pixels, tile=(32, 48), compression="zlib", photometric="rgb")
    return tmp_path / "a.tif"


@pytest.mark.parametrize("scale", [1.0, 0.5, 0.37, 1.3, (96, 128)])
def test_blended_probabilities_are_those_of_the_image_predicted_whole(image, scale):
    trained = trained_with(scale)
    ((_, size, whole),) = files.predict_files([trained], [("a", image)], SPEC)
    with Windows([trained], image, SPEC) as found:
        bands = list(found._averaged())
        assert found.size == size
    assert [band.top for band in bands] == list(np.cumsum([0, *(b.rows.shape[1] for b in bands)]))[:-1]
    rows = np.concatenate([band.rows for band in bands], axis=1)
    # exact but for the order of a convolution's sums; where a factor isn't whole, 8-bit pixels round by one level
    assert rows.shape == whole.shape
    assert np.abs(rows - whole).max() < (1e-6 if scale == 1.0 else 0.02)


@pytest.mark.parametrize(
    "chain", [(), CHAIN, (*CHAIN, MinimumAreaSpec(pixels=40)), (MinimumAreaSpec(pixels=40), CHAIN[2])]
)
@pytest.mark.parametrize("never", [(), ("c1",)])
def test_labels_are_those_of_the_image_predicted_whole(image, tmp_path, monkeypatch, chain, never):
    monkeypatch.setattr(windows, "BLOCK", 48)
    monkeypatch.setattr(windows, "_COLUMNS", 64)
    trained, spec = [trained_with(), trained_with(seed=1)], SPEC.model_copy(update={"never": never})
    source, target = files.source_of(trained, spec), tmp_path / "a.png"
    (name,) = files.predict_to_files(source, [("a", image)], {"a": target}, chain=chain)
    whole = np.asarray(Image.open(tmp_path / "a.png"))
    with Windows(trained, image, spec, chain=chain) as found:
        labels = list(found.labels())
    assert {len(part) for part in labels[:-1]} == {48}
    assert np.array_equal(np.concatenate(labels), whole)
    assert len(np.unique(whole)) == 3 - len(never)
    assert name == "a"


def test_a_threshold_and_other_sizes(image, tmp_path, monkeypatch):
    monkeypatch.setattr(windows, "BLOCK", 48)
    chain, trained = (ThresholdSpec(value=0.6), MajoritySpec(size=5), FillHolesSpec(pixels=30)), [trained_with(0.5, 2)]
    list(files.predict_to_files(files.source_of(trained, SPEC), [("a", image)], {"a": tmp_path / "a.png"}, chain=chain))
    with Windows(trained, image, SPEC, chain=chain) as found:
        assert np.array_equal(np.concatenate(list(found.labels())), np.asarray(Image.open(tmp_path / "a.png")))


@pytest.fixture
def small_limit(monkeypatch):
    """Whatever has more than 50 000 pixels is large."""
    for module in (memory, folder):
        monkeypatch.setattr(module, "LARGEST_PIXELS", 50_000)


@pytest.fixture
def ensemble(monkeypatch, tmp_path):
    """Two networks in place of checkpoints."""
    trained = [trained_with(ids=(4, 7, 9)), trained_with(seed=1, ids=(4, 7, 9))]
    monkeypatch.setattr(folder, "load_ensemble", lambda paths: trained[: len(paths)])
    for name in ("0.ckpt", "1.ckpt"):
        (tmp_path / name).write_bytes(b"")
    return [tmp_path / "0.ckpt", tmp_path / "1.ckpt"]


def test_a_folder_with_a_large_image(image, small_limit, ensemble, tmp_path):
    images, out = tmp_path / "images", tmp_path / "out"
    images.mkdir()
    image.rename(images / "a.tif")
    Image.fromarray(RNG.integers(0, 256, (40, 50, 3), np.uint8)).save(images / "b.png")
    made = predict_folder(ensemble, images, out, spec=SPEC, uncertainty=True)
    assert made == [out / "a.tif", out / "b.png"]
    label = tifffile.imread(out / "a.tif")
    assert (label.shape, label.dtype) == ((301, 213), np.uint8)
    assert set(np.unique(label)) <= {4, 7, 9}
    table = pl.read_parquet(out / "predictions.parquet")
    assert table["name"].to_list() == ["a", "b"]
    assert table["label"].to_list() == ["a.tif", "b.png"]
    assert table.select("height", "width").rows() == [(301, 213), (40, 50)]
    for kind in ("entropy", "disagreement"):
        found = tifffile.imread(out / kind / "a.tif")
        assert found.mean() / 255 == pytest.approx(table[kind][0], abs=1 / 255)
    times = {path: path.stat().st_mtime_ns for path in made}
    assert predict_folder(ensemble, images, out, spec=SPEC, uncertainty=True) == made
    assert {path: path.stat().st_mtime_ns for path in made} == times
    (out / "a.tif").unlink()
    predict_folder(ensemble, images, out, spec=SPEC, uncertainty=True)
    assert np.array_equal(tifffile.imread(out / "a.tif"), label)


def test_where_memory_is_short_a_tiff_goes_by_windows_and_a_png_is_named(image, ensemble, tmp_path, monkeypatch):
    images, pixels = tmp_path / "images", tifffile.imread(image)
    images.mkdir()
    image.rename(images / "a.tif")
    Image.fromarray(pixels).save(images / "b.png")
    whole = tmp_path / "whole"
    predict_folder(ensemble, images, whole, spec=SPEC)
    monkeypatch.setattr(memory, "_LOOK_FROM", 1)
    monkeypatch.setattr(memory, "free_memory", lambda: 10**6)  # 301 · 213 · (3 + 2 · 3 + 1) · 4 bytes are 2.6 MB
    with pytest.raises(DataError, match=r"1 that can't(.|\n)*b\.png: 0\.0 GB"):
        predict_folder(ensemble, images, tmp_path / "out", spec=SPEC)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "out" / "a.png")), np.asarray(Image.open(whole / "a.png")))


def test_what_an_image_takes_by_hand():
    # 100 × 50 at half its size, 3 channels, 2 categories: image 3, sums 2, means 2, weights 1 of 50 × 25 values of four
    # bytes, and 2 of 100 × 50
    plain = memory.Need(0.5, 3, 2)
    assert memory.whole_bytes((100, 50), plain) == 4 * (8 * 50 * 25 + 2 * 100 * 50)
    # at twice the working size these 8 are of 100 × 50; the working image and the sum over scales stand beside
    larger = memory.Need(0.5, 3, 2, (1.0, 2.0))
    assert memory.whole_bytes((100, 50), larger) == 4 * (8 * 100 * 50 + (3 + 2) * 50 * 25 + 2 * 100 * 50)
    alone = memory.Need(1.0, 3, 2, (2.0,))
    assert memory.whole_bytes((100, 50), alone) == 4 * (8 * 200 * 100 + 3 * 100 * 50)


@pytest.mark.parametrize("by", ["run", "fused"])
def test_scales_are_in_the_forecast(by, image, ensemble, tmp_path, monkeypatch):
    pixels, spec = tifffile.imread(image), SPEC.model_copy(update={"scales": (1.0, 3.0)})
    Image.fromarray(pixels).save(tmp_path / "b.png")
    monkeypatch.setattr(memory, "_LOOK_FROM", 1)
    # 301 · 213 pixels: 10 values of 4 bytes are 2.6 MB, at three times the size 23 MB
    monkeypatch.setattr(memory, "free_memory", lambda: 8 * 10**6)
    source = ensemble
    if by == "fused":
        members = [Member((trained_with(ids=(4, 7, 9)),), spec)]
        source = fused_source(members, fusion="mean", accelerator="cpu", made_by=1)
    with pytest.raises(DataError, match=r"b\.png: 0\.0 GB"):
        predict_folder(source, tmp_path / "b.png", tmp_path / "out", spec=spec)
    assert len(predict_folder(ensemble, tmp_path / "b.png", tmp_path / "out", spec=SPEC)) == 1


def test_what_can_not_be_done_by_windows_is_said(image, small_limit, ensemble, tmp_path, monkeypatch):
    for options, said in (
        ({"overlays": True}, "--overlays"),
        ({"probabilities": True}, "--probabilities"),
    ):
        with pytest.raises(DataError, match=said):
            predict_folder(ensemble[:1], image, tmp_path / said, spec=SPEC, **options)
    trained = [trained_with(categories=2)]
    with pytest.raises(DataError, match="select, which looks at the probabilities of the whole image"):
        Windows(trained, image, SPEC, chain=[SelectSpec(drop=0.1, high=0.3, lower=0.2)])
    monkeypatch.setattr(windows, "free_memory", lambda: 10**6)
    with pytest.raises(DataError, match=r"GB of memory for a row of tiles of 64 pixels(.|\n)*predict\.tile"):
        Windows(trained, image, SPEC)
    monkeypatch.setattr(windows, "free_memory", lambda: 72 * 10**6)  # 67.1 of the file, 4.1 of a row
    with pytest.raises(DataError, match="minimum_area, which looks at the whole label map"):
        Windows(trained, image, SPEC, chain=[MinimumAreaSpec(pixels=9)])
    with Windows(trained, image, SPEC):
        pass


def test_a_truncated_large_image_is_named_and_leaves_nothing(image, small_limit, ensemble, tmp_path):
    image.write_bytes(image.read_bytes()[:-3000])
    with pytest.raises(DataError, match=r"1 that can't(.|\n)*a\.tif"):
        predict_folder(ensemble, image, tmp_path / "out", spec=SPEC)
    assert list((tmp_path / "out").glob("*.tif")) == []


def test_a_large_image_that_there_is_no_memory_for_is_named(image, small_limit, ensemble, tmp_path, monkeypatch):
    def full(self):
        raise MemoryError
        yield

    monkeypatch.setattr(Windows, "labels", full)
    with pytest.raises(DataError, match=r"1 that can't(.|\n)*a\.tif: more pixels than there is memory for"):
        predict_folder(ensemble, image, tmp_path / "out", spec=SPEC)


PEAK = """
import resource, sys
sys.path.insert(0, {tests!r})
from small_networks import trained_with
from maskwright.predict.windows import Windows
from maskwright.data.windows import write_tiled
from maskwright.recipe.predict import PredictSpec
from pathlib import Path
import numpy as np
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
spec = PredictSpec(tile=256, batch=1, tta=("identity",))
trained = [trained_with(categories=2)]
with Windows(trained, Path(sys.argv[1]), spec) as small:
    for _ in small.labels(): pass
before = peak()
with Windows(trained, Path(sys.argv[2]), spec) as large:
    write_tiled(Path(sys.argv[3]), large.labels(), large.size, np.uint8)
print(peak() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in other units elsewhere")
def test_memory_is_that_of_a_row_of_tiles(tmp_path):
    """Sums and means of 2 categories in 256 rows, and what waits of them; not the image's 12 000 rows."""
    height, width = 12_000, 2_000
    for name, rows in (("small", 512), ("large", height)):
        count = -(-rows // 256) * -(-width // 256)
        blocks = (np.full((256, 256), 90, np.uint8) for _ in range(count))
        options = {"shape": (rows, width), "dtype": np.uint8, "tile": (256, 256), "compression": "zlib"}
        tifffile.imwrite(tmp_path / f"{name}.tif", blocks, **options)
    script = PEAK.format(tests=str(Path(__file__).parent))
    arguments = [tmp_path / "small.tif", tmp_path / "large.tif", tmp_path / "label.tif"]
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)], capture_output=True, text=True, check=True
    )
    # the image is 24 MB of pixels, and 24 · 4 · (3 + 2 · 2 + 1) = 768 MB of floats; a row of tiles is 16.4 MB of these
    assert int(done.stdout) < 64 * 2**20
    assert tifffile.imread(tmp_path / "label.tif").shape == (height, width)


def test_a_large_image_that_is_replaced_by_a_small_one(image, small_limit, ensemble, tmp_path):
    out = tmp_path / "out"
    assert predict_folder(ensemble, image, out, spec=SPEC) == [out / "a.tif"]
    tifffile.imwrite(image, np.zeros((40, 50, 3), np.uint8), photometric="rgb")
    assert predict_folder(ensemble, image, out, spec=SPEC, redo=True) == [out / "a.png"]
    assert [path.name for path in out.glob("a.*")] == ["a.png"]
    assert (out / "a.png").read_bytes().startswith(b"\x89PNG")
