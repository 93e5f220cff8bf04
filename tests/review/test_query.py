"""What to label next: what is asked for, the task for each tool, and its export back as decisions."""

from __future__ import annotations

import csv
import json
import xml.etree.ElementTree as ET
import zipfile
from urllib.parse import unquote

import numpy as np
import pytest
from PIL import Image

from make_copies import half, picture, put, run
from maskwright.artifacts import read_json, read_table, write_json
from maskwright.cli import main
from maskwright.data.index import decided_index
from maskwright.data.store import ProbabilityStore
from maskwright.decisions import Decision, append_decisions, read_decisions, settled
from maskwright.errors import DataError, UsageError
from maskwright.pipeline.accepted import accepted_labels
from maskwright.recipe.data import DataSpec
from maskwright.review import Reviewed
from maskwright.review.query import need_of, query
from maskwright.review.tasks import asked, import_labels, write_query

NAMES = ["sure", "doubt", "unsure", "copy"]
LEVELS = {"sure": 0.99, "doubt": 0.8, "unsure": 0.5, "copy": 0.5}


def pool_run(root, *, more=()):
    """An audited run with ten labelled images and a pool of four; `copy` shows what `unsure` shows, but lighter."""
    data = root / "data"
    for k in range(10):
        put(data, f"x{k}", picture(100 + k), half(8 + 4 * k))
    for k, name in enumerate(NAMES[:3]):
        put(data, name, picture(k))
    put(data, "copy", np.clip(picture(2).astype(int) + 1, 0, 255).astype(np.uint8))
    for name in more:
        put(data, name, picture(50))
    (data / "classes.json").write_text('{"0": "background", "1": "rock"}')
    folder = run(data)
    store = ProbabilityStore(folder.store("pool", 0))
    for name in [*NAMES, *more]:
        inside = np.where(half(20 + len(name)), LEVELS.get(name, 0.9), 1 - LEVELS.get(name, 0.9)).astype(np.float32)
        path = folder.predictions / "labels" / "unlabeled" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        store.write(f"unlabeled/{name}", np.stack([1 - inside, inside]))
        Image.fromarray(half(20 + len(name))).save(path)
    return Reviewed.of(folder.root)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return pool_run(tmp_path_factory.mktemp("query"))


@pytest.fixture
def fresh(tmp_path):
    return pool_run(tmp_path)


def chosen_names(found):
    return [one.candidate.image.removeprefix("unlabeled/").removesuffix(".png") for one in found]


def test_of_two_copies_one_is_asked_for(made):
    """`unsure` and `copy` are as uncertain and look alike; the audit knows them as copies."""
    found, among = query(made, 4)
    assert among == 4
    names = chosen_names(found)
    assert len(names) == 3
    assert len({"unsure", "copy"} & set(names)) == 1
    entropies = {one.candidate.image: one.candidate.uncertainty for one in found}
    assert entropies["unlabeled/sure.png"] == pytest.approx(0.0808, abs=1e-3)  # −.99 log₂ .99 − .01 log₂ .01
    assert query(made, 4) == (found, among)


def test_what_is_being_labelled_is_not_asked_again(made):
    found, _ = query(made, 4, asked=["unlabeled/unsure.png"])
    assert set(chosen_names(found)) == {"sure", "doubt"}  # the copy of it neither
    with pytest.raises(UsageError, match="asked for before"):
        query(made, 1, asked=[f"unlabeled/{name}.png" for name in NAMES])


def test_what_somebody_drew_is_not_asked_for_nor_a_copy_of_it(fresh):
    """In the review: begun with nothing it is a mask; strokes on a prediction leave the rest to be labelled."""
    line = {"action": "patch_mask", "by": "Anna", "where": "review/masks/w.png", "file": "review/masks/l.png"}
    on_top = Decision(image="unlabeled/doubt.png", made_by="round 0, fold 0", **line)
    append_decisions(fresh.folder.decisions, [Decision(image="unlabeled/unsure.png", **line), on_top])
    assert set(chosen_names(query(fresh, 4)[0])) == {"sure", "doubt"}  # `copy` shows what `unsure` shows


def annotated(folder):
    """Return Label Studio's export of a task in which the first mask was mended and the others submitted as they were.

    Submitting copies a prediction's results into an annotation.
    """
    tasks = json.loads((folder / "tasks.json").read_text())
    for number, task in enumerate(tasks, 1):
        results = task.pop("predictions")[0]["result"]
        task |= {"id": number, "annotations": [{"id": number, "was_cancelled": False, "result": results}]}
    value = {"points": [[0, 0], [50, 0], [50, 100], [0, 100]], "polygonlabels": ["rock"]}  # per cent: 32 of 64 columns
    tasks[0]["annotations"][0]["result"] = [
        {"id": "new", "original_width": 64, "original_height": 48, "image_rotation": 0, "value": value}
    ]
    return tasks


def test_label_studio_there_and_back(fresh, tmp_path):
    found, _ = query(fresh, 3)
    folder = write_query(fresh, found, "label_studio")
    assert folder == fresh.folder.root / "queries" / "1"
    tasks = json.loads((folder / "tasks.json").read_text())
    places = [unquote(task["data"]["image"].removeprefix("/data/local-files/?d=")) for task in tasks]
    assert places == sorted(places)  # the order of their worth
    assert all((folder / place).is_file() for place in places)
    labels = [label.get("value") for label in ET.parse(folder / "labels.xml").iter("Label")]
    assert labels == ["rock"]  # the background is what nobody paints
    export = tmp_path / "export.json"
    export.write_text(json.dumps(annotated(folder)))
    done = import_labels(fresh, export, by="Anna")
    images = [one.candidate.image for one in found]
    assert list(done.taken) == sorted(images, key=images.index)
    assert set(done.unchanged) == set(images[1:])  # as they were suggested
    assert done.missing == done.known == done.strangers == ()
    answers = settled(read_decisions(fresh.folder.decisions))
    first = answers[images[0], "mask"]
    assert (first.action, first.by, first.made_by) == ("drawn_mask", "Anna", "")
    assert answers[images[1], "mask"].made_by == "prediction"
    assert (first.begun_with, answers[images[1], "mask"].begun_with) == ("prediction, round 0, all folds", "")
    width = 20 + len(chosen_names(found)[0])  # of the suggestion; 32 columns of 64 are right
    assert first.value == done.corrected[images[0]] == abs(width - 32) / 64
    assert done.corrected.keys() == {images[0]}
    assert np.array_equal(np.asarray(Image.open(fresh.folder.root / first.file)), half(32))
    again = import_labels(fresh, export, by="Anna")
    assert (again.taken, set(again.known)) == ((), set(images))


def test_cvat_there_and_back(fresh, tmp_path):
    found, _ = query(fresh, 3)
    folder = write_query(fresh, found, "cvat", out=tmp_path / "task")
    assert json.loads((folder / "labels.json").read_text())[0]["name"] == "rock"
    tree = ET.parse(folder / "annotations.xml")
    first = tree.find("image")
    mask = first.find("mask")
    name = chosen_names(found)[0]
    columns = 20 + len(name)
    assert mask.attrib | {"rle": ""} == {
        "label": "rock", "source": "auto", "occluded": "0", "z_order": "0", "rle": "", "left": "0", "top": "0",
        "width": str(columns), "height": "48",
    }  # fmt: skip
    assert mask.get("rle") == f"0, {48 * columns}"
    first.remove(mask)  # the annotator finds nothing there
    tree.write(tmp_path / "annotations.xml")
    with zipfile.ZipFile(tmp_path / "export.zip", "w") as packed:
        packed.write(tmp_path / "annotations.xml", "annotations.xml")
    done = import_labels(fresh, tmp_path / "export.zip", by="Bo")
    images = [one.candidate.image for one in found]
    assert set(done.taken) == set(images)
    assert set(done.unchanged) == set(images[1:])
    file = settled(read_decisions(fresh.folder.decisions))[images[0], "mask"].file
    assert not np.asarray(Image.open(fresh.folder.root / file)).any()


def test_a_suggestion_of_networks_that_are_gone_is_still_a_prediction(fresh, tmp_path):
    """Asked, predicted anew, then submitted as it was: nobody drew that, and nobody knows what its networks saw."""
    found, _ = query(fresh, 2)
    folder = write_query(fresh, found, "cvat", out=tmp_path / "task")
    images = [one.candidate.image for one in found]
    for image in images:
        Image.fromarray(half(3)).save(fresh.folder.predictions / "labels" / image)
    tree = ET.parse(folder / "annotations.xml")
    mask = tree.find("image").find("mask")
    mask.set("rle", f"0, {48 * 9}")
    mask.set("width", "9")
    tree.write(tmp_path / "annotations.xml")
    done = import_labels(fresh, tmp_path / "annotations.xml", by="Anna")
    assert (done.unchanged, done.corrected) == ((images[1],), {})  # how much was corrected, nobody can say any more
    answers = settled(read_decisions(fresh.folder.decisions))
    changed, same = (answers[image, "mask"] for image in images)
    assert (changed.made_by, changed.begun_with, changed.value) == ("", "prediction, round 0, all folds", None)
    assert (same.made_by, same.seen, same.begun_with) == ("prediction", "", "")


def test_what_comes_back_is_learned_from(fresh, tmp_path, capsys):
    """The command line, from the choice to the index of the next round."""
    root = fresh.folder.root
    assert main(["query", str(root), "-n", "2", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    images = [row["image"] for row in said["images"]]
    assert (len(images), said["among"]) == (2, 4)
    export = tmp_path / "export.json"
    export.write_text(json.dumps(annotated(root / "queries" / "1")))
    assert main(["query", str(root), "--import", str(export), "--by", "Anna", "--json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["taken"] == images
    assert "1 of them are as they were suggested, predictions of this run: neither learned from nor scored" in said.err
    run(fresh.index.root, more=["--redo"])
    table = read_table(fresh.folder.decided / "images.parquet")
    masks = dict(table.select("image", "mask").iter_rows())
    assert masks[images[0]] is not None
    with (root / "folds.csv").open() as file:
        rows = {row["image"]: row["fold"] for row in csv.DictReader(file)}
    assert images[0] in rows  # what somebody drew is scored too
    data = read_json(fresh.folder.records / "index.json")["resolved"]["data"]
    whole = decided_index(fresh.folder, DataSpec.model_validate(data))
    assert not any(images[1] in {*rows, *accepted_labels(fresh.folder, whole, fold)} for fold in (0, 1))
    assert main(["query", str(root), "-n", "2", "--json"]) == 0  # neither again, nor a copy of one
    left = [row["image"] for row in json.loads(capsys.readouterr().out)["images"]]
    assert not set(left) & set(images)


def test_an_import_can_be_taken_back_whole_or_for_one_image(fresh, tmp_path):
    """By the lines of the log that the documentation names."""
    found, _ = query(fresh, 3)
    folder = write_query(fresh, found, "label_studio", out=tmp_path / "task")
    tasks = annotated(folder)
    for task in tasks[1:]:
        task["annotations"] = tasks[0]["annotations"]  # all are drawn
    (tmp_path / "export.json").write_text(json.dumps(tasks))
    images = import_labels(fresh, tmp_path / "export.json", by="Anna").taken
    (name,) = {d.id for d in read_decisions(fresh.folder.decisions) if d.by == "Anna"}
    spec = DataSpec.model_validate(read_json(fresh.folder.records / "index.json")["resolved"]["data"])

    def labelled(*more):
        with fresh.folder.decisions.open("a") as log:
            log.writelines(json.dumps(line) + "\n" for line in more)
        run(fresh.index.root, more=["--redo"])
        return set(images) & set(decided_index(fresh.folder, spec).labelled.images)

    assert labelled() == set(images)
    assert labelled({"image": images[0], "action": "own_mask", "by": "Anna"}) == {*images[1:]}
    assert labelled({"image": "", "action": "undo", "by": "Anna", "id": name}) == set()


@pytest.mark.parametrize("layout", ["masks", "SegmentationClass"])
def test_masks_alone_come_back(fresh, tmp_path, layout):
    """As tools export them, without the images: a picture of a mask is no image that was labelled."""
    found, _ = query(fresh, 2)
    names = sorted(path.stem for path in (write_query(fresh, found, "cvat") / "images").iterdir())
    export = tmp_path / "export"
    (export / layout).mkdir(parents=True)
    if layout == "masks":
        (export / "classes.json").write_text('{"0": "background", "1": "rock"}')
    else:
        lines = ["# label:color_rgb:parts:actions", "background:0,0,0::", "rock:255,0,0::"]
        (export / "labelmap.txt").write_text("\n".join(lines))
    for name in names:
        colours = half(10)[..., None] * np.uint8([255, 0, 0])
        Image.fromarray(half(10) if layout == "masks" else colours).save(export / layout / f"{name}.png")
    assert set(import_labels(fresh, export, by="Eve").taken) == {one.candidate.image for one in found}
    answers = settled(read_decisions(fresh.folder.decisions))
    for one in found:
        file = fresh.folder.root / answers[one.candidate.image, "mask"].file
        assert np.array_equal(np.asarray(Image.open(file)), half(10))


@pytest.mark.parametrize("where", ["content", "end"])
def test_a_broken_zip_is_told(fresh, tmp_path, where):
    write_query(fresh, query(fresh, 1)[0], "cvat", out=tmp_path / "task")
    export = tmp_path / "export.zip"
    with zipfile.ZipFile(export, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.write(tmp_path / "task" / "annotations.xml", "annotations.xml")
    data = export.read_bytes()
    export.write_bytes(data[:60] + b"\xff" * 30 + data[90:] if where == "content" else data[:-30])  # or half a download
    with pytest.raises(DataError, match="whole zip"):
        import_labels(fresh, export, by="Anna")
    (tmp_path / "note.txt").write_text("nothing")
    with pytest.raises(DataError, match=r"none\n  where: .*note\.txt\n") as caught:
        import_labels(fresh, tmp_path / "note.txt", by="Anna")
    assert ".import-" not in str(caught.value)  # a folder that is gone
    assert not read_decisions(fresh.folder.decisions)


def test_images_that_have_left_the_folder_hold_up_no_other(fresh, tmp_path):
    """Asked for once; moved to images/ with a mask, say, before the next export came back."""
    found, _ = query(fresh, 1)
    folder = write_query(fresh, found, "cvat", out=tmp_path / "task")
    path = fresh.folder.root / "queries" / "1.csv"
    first, row = path.read_text().splitlines()
    gone = row.replace("1-001", "1-002").replace(found[0].candidate.image, "unlabeled/gone.png")
    path.write_text("\n".join([first, row, gone, ""]))
    done = import_labels(fresh, folder / "annotations.xml", by="Fay")
    assert (done.taken, done.missing, done.strangers) == ((found[0].candidate.image,), (), ())


def test_what_is_held_out_has_no_say_in_what_is_labelled(fresh):
    """Where something is held out, the scores without a part's name are its scores. All of the images hold rock."""
    scores = {"dice/rock": {"value": 0.1}, "holdout/dice/rock": {"value": 0.1}, "oof/dice/rock": {"value": 0.75}}
    write_json(fresh.folder.predictions / "evaluation.json", scores)
    assert need_of(fresh)["rock"] == 0.25
    del scores["oof/dice/rock"]
    write_json(fresh.folder.predictions / "evaluation.json", scores)
    assert need_of(fresh)["rock"] == 0


def test_anonymous_folders_name_no_file(fresh, tmp_path):
    found, _ = query(fresh, 2)
    folder = write_query(fresh, found, "cvat", out=tmp_path / "task", anonymous=True)
    assert sorted(path.name for path in (folder / "images").iterdir()) == ["1-001.png", "1-002.png"]
    for path in folder.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert not any(name.encode() in content for name in ("unsure", "copy", "doubt", "sure.png", "unlabeled"))
    assert asked(fresh) == {"1-001.png": found[0].candidate.image, "1-002.png": found[1].candidate.image}
    assert set(import_labels(fresh, folder / "annotations.xml", by="Cy").unchanged) == {
        one.candidate.image for one in found
    }


def test_sixteen_bits_are_shown_in_eight(tmp_path):
    made = pool_run(tmp_path)
    path = made.path("unlabeled/unsure.png")
    deep = np.asarray(Image.open(path).convert("L")).astype(np.uint16) * 40
    Image.fromarray(deep).save(path)
    found = [one for one in query(made, 4)[0] if one.candidate.image.endswith(("unsure.png", "copy.png"))]
    folder = write_query(made, found, "cvat")
    assert all(np.asarray(Image.open(p)).dtype == np.uint8 for p in (folder / "images").iterdir())


def test_markup_in_names(tmp_path):
    made = pool_run(tmp_path, more=["<b>&'"])
    found, _ = query(made, 5)
    assert "<b>&'" in chosen_names(found)
    for tool, file in (("cvat", "annotations.xml"), ("label_studio", "tasks.json")):
        folder = write_query(made, found, tool)
        if tool == "label_studio":
            (folder / file).write_text(json.dumps(annotated(folder)))
        assert not import_labels(made, folder / file, by="Di").strangers


def test_what_is_refused(fresh, tmp_path, capsys):
    root = str(fresh.folder.root)
    export = tmp_path / "annotations.xml"
    assert main(["query"]) == 2
    assert "neither" in capsys.readouterr().err
    assert main(["query", root, "--data", "x"]) == 2
    assert main(["query", root, "-n", "0"]) == 2
    assert main(["query", str(tmp_path / "gone")]) == 2
    with pytest.raises(UsageError, match="choose images first"):
        import_labels(fresh, export, by="Anna")
    folder = write_query(fresh, query(fresh, 1)[0], "cvat", out=tmp_path / "task")
    with pytest.raises(UsageError, match="nothing is overwritten"):
        write_query(fresh, query(fresh, 1)[0], "cvat", out=folder)
    with pytest.raises(UsageError, match="an export"):
        import_labels(fresh, export, by="Anna")
    text = (folder / "annotations.xml").read_text()
    export.write_text(text.replace("rock", "rocks"))
    with pytest.raises(DataError, match="did you mean rock"):
        import_labels(fresh, export, by="Anna")
    export.write_text(text.replace('width="64"', 'width="32"', 1))
    with pytest.raises(DataError):
        import_labels(fresh, export, by="Anna")
    assert not read_decisions(fresh.folder.decisions)
    export.write_text(text.replace("1-001", "other"))
    with pytest.raises(DataError, match="other"):
        import_labels(fresh, export, by="Anna")


def test_a_run_without_predictions_of_its_pool(tmp_path, capsys):
    data = tmp_path / "data"
    for k in range(4):
        put(data, f"x{k}", picture(k), half(8 + 4 * k))
    folder = run(data)
    assert main(["query", str(folder.root)]) == 2
    assert "every image has a mask" in capsys.readouterr().err
    put(data, "new", picture(9))
    folder = run(data, more=["--redo"])
    assert main(["query", str(folder.root)]) == 2
    assert "has not predicted" in capsys.readouterr().err
