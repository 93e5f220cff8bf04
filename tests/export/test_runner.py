"""The runner gives what the networks give under torch, and needs no torch for it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from make_export import MAKING, without
from maskwright.artifacts import read_json, write_json
from maskwright.cli import main
from maskwright.data.categories import to_ids
from maskwright.data.images import read_image
from maskwright.errors import DataError, StaleArtifactError, UsageError
from maskwright.export.manifest import read_manifest
from maskwright.export.runner import Runner
from maskwright.postprocess import apply_chain, remove_small
from maskwright.predict import load_ensemble, predict_files, predict_folder, to_full_size
from maskwright.recipe.predict import MinimumAreaSpec, PredictSpec
from maskwright.recipe.steps import CrfSpec


def predict(export, images, out, **options):
    runner = Runner(export)
    return predict_folder(runner.source(), images, out, chain=runner.manifest.chain, **options)


def files_of(images):
    return [(p.stem, p) for p in sorted(images.rglob("*.*"))]


def labels_of(out):
    return {p.relative_to(out).as_posix(): np.asarray(Image.open(p)) for p in sorted(out.rglob("*.png"))}


def changed(export: Path, out: Path, **fields: object) -> Path:
    """Return a copy of an export whose manifest says something else."""
    out.mkdir()
    for path in export.iterdir():
        (out / path.name).symlink_to(path) if path.suffix == ".onnx" else None
    write_json(out / "manifest.json", read_json(export / "manifest.json") | fields)
    return out


SPECS = {
    "defaults": PredictSpec(),
    "all views": PredictSpec(tta=("identity", "flip_lr", "flip_ud", "rotate_180"), batch=1),
    "tiles": PredictSpec(tile=64, overlap=0.3, batch=3),
    "zero": PredictSpec(pad="zero", tta=("identity",)),
    "quarter turns": PredictSpec(tta=("rotate_90", "transpose", "rotate_270", "transpose_anti")),
    "scales": PredictSpec(scales=(0.5, 1.0, 1.5), scale_weights=(1, 2, 1), tile=128, blend="gaussian"),
    "ranks": PredictSpec(fusion="rank", blend="flat", tile=96),
    "reflect": PredictSpec(pad="reflect", tile=64),
}


def test_the_runner_knows_every_field_that_decides_a_label():
    """A new field of the recipe's predict section needs a line in the runner, or a reason here why it doesn't."""
    elsewhere = {"checkpoint", "members", "overlays"}  # which networks; scored in the run; pictures of the run
    elsewhere |= {"never", "pool"}  # taken away behind the stream; whether a run predicts its own pool
    assert set(PredictSpec.model_fields) == {*PredictSpec().way(), *elsewhere}


@pytest.mark.parametrize("name", SPECS)
def test_probabilities_are_those_of_the_networks_under_torch(name, folder, export, images, tmp_path):
    spec = SPECS[name]
    runner = Runner(changed(export, tmp_path / "e", predict=spec.model_dump(mode="json")))
    trained = load_ensemble([folder.fold(k) / "last.ckpt" for k in (0, 1)])
    files = files_of(images)
    for ours, theirs in zip(runner.files(files), predict_files(trained, files, spec, accelerator="cpu"), strict=True):
        assert ours[:2] == theirs[:2]
        assert ours[2].dtype == np.float32
        difference = np.abs(ours[2] - theirs[2])
        # ranks tell ties from values that differ in their last bit, and so far more than a last bit may differ
        assert difference.mean() < 1e-2 if name == "ranks" else difference.max() < 1e-5
    assert len(files) == 6


def test_one_member_is_one_network(folder, export, images):
    runner, trained = Runner(export, members=[1]), load_ensemble([folder.fold(1) / "last.ckpt"])
    spec = runner.manifest.predict
    pairs = zip(
        runner.files(files_of(images)),
        predict_files(trained, files_of(images), spec, accelerator="cpu"),
        strict=True,
    )
    assert max(float(np.abs(ours[2] - theirs[2]).max()) for ours, theirs in pairs) < 1e-5


def test_the_command_writes_the_labels_that_the_run_writes_and_imports_no_torch(folder, export, images, tmp_path):
    run, out = tmp_path / "by run", tmp_path / "by export"
    assert main(["predict", str(folder.root), str(images), "--out", str(run)]) == 0
    words = ["predict", str(export), str(images), "--out", str(out), "--overlays", "--probabilities", "--json"]
    done = subprocess.run([sys.executable, "-c", without(MAKING), *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["files"]) == 6
    expected = labels_of(run)
    assert expected.keys() == labels_of(out).keys()
    assert all(np.array_equal(labels_of(out)[name], label) for name, label in expected.items())
    assert len(list((out / "overlays").rglob("*.jpg"))) == len(list((out / "probabilities").rglob("*.npz"))) == 6


def test_a_step_that_looks_at_the_image_gets_it(export, images, tmp_path):
    chain = (CrfSpec(iterations=2), MinimumAreaSpec(pixels=4))
    own = changed(export, tmp_path / "crf", chain=[step.model_dump(mode="json") for step in chain])
    image, runner = read_image(images / "wide.png"), Runner(own)
    wanted = apply_chain(to_full_size(runner.probabilities(image), image.shape[:2]), chain, image=image)
    assert np.array_equal(runner.label(image), wanted)
    predict(own, images / "wide.png", tmp_path / "out")
    assert np.array_equal(labels_of(tmp_path / "out")["wide.png"], to_ids(wanted, runner.categories))


def test_the_chain_is_applied(export, images, tmp_path):
    chain = [MinimumAreaSpec(pixels=40).model_dump(mode="json")]
    image = read_image(images / "wide.png")
    plain = Runner(changed(export, tmp_path / "without", chain=[])).label(image)
    found = Runner(changed(export, tmp_path / "with", chain=chain)).label(image)
    assert np.array_equal(found, remove_small(plain, 40))
    assert not np.array_equal(found, plain)


def test_what_is_there_is_kept_and_another_export_is_refused_until_redo(export, images, tmp_path):
    out, other = tmp_path / "out", changed(export, tmp_path / "e", made="at another time")
    predict(export, images, out)
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*.png")}
    predict(export, images, out)
    assert before == {p: p.stat().st_mtime_ns for p in out.rglob("*.png")}
    with pytest.raises(StaleArtifactError, match="--redo"):
        predict(other, images, out)
    predict(other, images, out, redo=True)


def test_images_that_cannot_be_read_are_named_after_the_others_are_done(export, images, tmp_path):
    place = tmp_path / "in"
    place.mkdir()
    whole = (images / "a.png").read_bytes()
    (place / "whole.png").write_bytes(whole)
    (place / "cut.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"cut\.png"):
        predict(export, place, tmp_path / "out")
    assert list(labels_of(tmp_path / "out")) == ["whole.png"]


def cut_off(export):
    path = export / "fold-1-last.onnx"
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data[:-100])


def rewrite(*without, **fields):
    def change(export):
        tree = read_json(export / "manifest.json") | fields
        write_json(export / "manifest.json", {key: value for key, value in tree.items() if key not in without})

    return change


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (cut_off, "another or a cut-off one"),
        (lambda export: (export / "fold-0-last.onnx").unlink(), "none of this name"),
        (lambda export: (export / "manifest.json").write_text("{"), "whole manifest"),
        (lambda export: (export / "manifest.json").write_text("[]"), "form none"),
        (rewrite(schema=2), "form 2"),
        (rewrite("mean"), "mean: Field required"),
        (rewrite(colour="red"), "colour"),
        (lambda export: (export / "manifest.json").unlink(), "no manifest.json"),
    ],
)
def test_damaged_exports_are_named(damage, said, export, tmp_path):
    copy = changed(export, tmp_path / "e")
    damage(copy)
    with pytest.raises(DataError, match=said):
        read_manifest(copy)


def test_checkpoints_are_chosen_when_exporting(export, images, tmp_path, capsys):
    assert main(["predict", str(export), str(images), "--out", str(tmp_path / "o"), "--checkpoint", "best"]) == 2
    assert "got --checkpoint" in capsys.readouterr().err


def test_a_missing_runtime_names_the_extra(export, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UsageError, match=r"maskwright\[export\]"):
        Runner(export)
