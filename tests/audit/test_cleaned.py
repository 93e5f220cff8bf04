"""The cleaned copy: what the decisions leave of images, masks, objects and columns, whole, and said."""

import json

import numpy as np
import polars as pl
import pytest
from numpy.testing import assert_array_equal
from PIL import Image

from make_copies import COARSE, copies_folder, decide, edged, half, label, names, picture, put, run
from maskwright.artifacts import read_table
from maskwright.errors import UsageError
from maskwright.pipeline.decide import write_cleaned
from maskwright.tasks import lock


@pytest.fixture
def data(tmp_path):
    return copies_folder(tmp_path / "data")


def test_a_cleaned_copy_holds_what_the_decisions_leave(data, tmp_path):
    (data / "meta.csv").write_text("name,site\n" + "".join(f"x{k},s{k % 3}\n" for k in range(10)))
    clean = tmp_path / "clean"
    folder = run(data, stage="audit", more=["--cleaned", str(clean), "--to", "folder"])
    images = {p.relative_to(clean).as_posix() for p in clean.rglob("*.png") if "masks" not in p.parts}
    kept = {n for n in names(folder) if n.startswith("images/")} | {"unlabeled/alone.png"}
    assert images == kept | {f"images/unlabeled/{n}.png" for n in ("turned", "twin")}  # labelled now
    for name in images - {"unlabeled/alone.png"}:
        written = np.asarray(Image.open(clean / name.replace("images/", "masks/")))
        assert_array_equal(written, label(folder, name.replace("images/unlabeled", "unlabeled")))
    (removed,) = pl.read_csv(clean / "removed.csv").to_dicts()
    assert removed["image"] == COARSE and "finer" in removed["reason"]
    assert pl.read_csv(clean / "meta.csv").height == 10
    found = run(data.parent / "clean", stage="audit", more=["--redo"])  # reads again, without a conflict
    assert "conflict" not in set(read_table(found.findings)["kind"])


def test_a_cleaned_copy_is_never_written_over_files(data, tmp_path, capsys):
    run(data, stage="audit", code=2, more=["--cleaned", str(data)])
    assert "new or empty folder" in capsys.readouterr().err
    run(data, stage="audit", code=2, more=["--cleaned", str(tmp_path / "clean"), "--to", "nonsense"])
    assert "nonsense" in capsys.readouterr().err


def numbered(data):
    """Write instances/ beside masks/: object 5 in the left 16 columns of category 1, 300 in the rest of it."""
    (data / "instances").mkdir()
    for file in (data / "masks").iterdir():
        mask = np.asarray(Image.open(file)).astype(np.uint16)
        numbers = mask * 300
        numbers[:, :16] = mask[:, :16] * 5
        Image.fromarray(numbers).save(data / "instances" / file.name)


def read(folder, image):
    return np.asarray(Image.open(folder / image))


def test_objects_lose_what_the_mask_loses(data, tmp_path):
    """Where two masks disagree (the hole, 10 to 20), or a region is ignored, no object is left, nor in its copies."""
    numbered(data)
    folder = run(data, "audit.conflicts=consensus", stage="audit")
    decide(folder, image="images/plain.png", action="ignore_region", region=[0, 0, 10, 5], by="Anna")
    clean = tmp_path / "clean"
    run(data, "audit.conflicts=consensus", stage="audit", more=["--redo", "--cleaned", str(clean)])
    whole = np.where(half() == 1, np.where(np.arange(64) < 16, 5, 300), 0)
    whole[10:20, 10:20] = 0
    assert_array_equal(read(clean, "instances/coarse.png"), whole)
    assert_array_equal(read(clean, "instances/unlabeled/turned.png"), whole[:, ::-1])
    cut = np.where(half(16) == 1, 5, 0)
    cut[:5, :10] = 0
    assert_array_equal(read(clean, "instances/plain.png"), cut)
    assert_array_equal(read(clean, "instances/unlabeled/twin.png"), cut)
    for file in (clean / "instances").rglob("*.png"):  # wherever there is an object, there is its category
        mask = read(clean, f"masks/{file.relative_to(clean / 'instances')}")
        assert (mask[read(clean, file) > 0] == 1).all()


def test_objects_of_a_mask_that_was_taken_over_twice(data, tmp_path):
    numbered(data)
    folder = run(data, stage="audit")
    flipped = {"action": "use_mask_of", "transform": "flip_lr", "by": "Anna"}
    decide(folder, image="images/x0.png", other_image="images/x1.png", **flipped)
    decide(folder, image="images/x2.png", other_image="images/x0.png", **flipped)
    clean = tmp_path / "clean"
    run(data, stage="audit", more=["--redo", "--cleaned", str(clean)])
    numbers = np.where(half(12) == 1, 5, 0)  # x1's; turned twice, it stands as it did
    assert_array_equal(read(clean, "instances/x0.png"), numbers[:, ::-1])
    assert_array_equal(read(clean, "instances/x2.png"), numbers)


def test_objects_of_a_copy_of_another_size(data, tmp_path):
    numbered(data)
    for part in ("images", "masks", "instances"):
        file = data / part / "x1.png"
        twice = np.repeat(np.repeat(np.asarray(Image.open(file)), 2, axis=0), 2, axis=1)
        Image.fromarray(twice).save(file)
    folder = run(data, stage="audit")
    decide(folder, image="images/x0.png", other_image="images/x1.png", action="use_mask_of", by="Anna")
    clean = tmp_path / "clean"
    run(data, stage="audit", more=["--redo", "--cleaned", str(clean)])
    assert_array_equal(read(clean, "instances/x0.png"), np.where(half(12) == 1, 5, 0))


def test_the_columns_of_further_folders_are_kept(data, tmp_path):
    (data / "meta.csv").write_text("name,site\nx0,here\n")
    twin = tmp_path / "twin"
    put(twin, "t0", picture(50), half())
    put(twin, "t1", edged(51, half()), half())
    (twin / "classes.json").write_text((data / "classes.json").read_text())
    (twin / "meta.csv").write_text("name,site,engine\nt0,there,v2\n")
    further = json.dumps([{"root": str(twin), "domain": "synthetic"}])
    clean = tmp_path / "clean"
    run(data, f"data.further={further}", stage="audit", more=["--cleaned", str(clean)])
    rows = {row["name"]: row for row in pl.read_csv(clean / "meta.csv").to_dicts()}
    assert rows["x0"] == {"name": "x0", "site": "here", "domain": None, "engine": None}
    assert rows["further-1/t0"] == {"name": "further-1/t0", "site": "there", "domain": "synthetic", "engine": "v2"}
    assert rows["further-1/t1"]["domain"] == "synthetic"


def test_the_run_is_held_while_the_copy_is_written(data, tmp_path):
    folder = run(data, stage="audit")
    with lock(folder.root), pytest.raises(UsageError, match="another process"):
        write_cleaned(folder, tmp_path / "clean", "folder")
    assert not (tmp_path / "clean").exists()


def test_the_last_line_says_what_was_written(data, tmp_path, capsys):
    run(data, stage="audit", more=["--cleaned", str(tmp_path / "a")])
    assert capsys.readouterr().err.splitlines()[-1].startswith(f"15 images written to {tmp_path / 'a'} as folder")
    run(data, stage="audit", more=["--cleaned", str(tmp_path / "b"), "--to", "npz", "--json"])
    said = json.loads(capsys.readouterr().out)["cleaned"]
    assert said == {"folder": str(tmp_path / "b"), "format": "npz", "images": 15}
