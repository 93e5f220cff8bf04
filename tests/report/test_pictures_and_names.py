"""Pictures that can be switched, uncertainty among them; pages without names; pages that would be too large."""

from __future__ import annotations

import json
import re

import numpy as np
import polars as pl
import pytest
import yaml

from make_report import ODD, make_run, score, write
from maskwright import report
from maskwright.artifacts import RunFolder
from maskwright.data.formats.files import name_of
from maskwright.data.store import ProbabilityStore


@pytest.fixture
def unsure(tmp_path):
    """A run with probabilities of the held-out images: sure of category 0 on the left, of nothing on the right."""
    run = make_run(tmp_path)
    store = ProbabilityStore(RunFolder(run).store("holdout"))
    store.folder.mkdir(parents=True, exist_ok=True)
    maps = np.zeros((3, 15, 20), np.float32)
    maps[0, :, :10] = 1
    maps[:, :, 10:] = 1 / 3
    held = pl.read_parquet(run / "predictions/per_image.parquet").filter(pl.col("part") == "holdout")["image"].unique()
    for image in held:
        store.write(name_of(image), maps)
    return run


def test_every_example_can_be_switched(full):
    _, text, page = full
    radios = [a for a in re.findall(r"<input[^>]*>", text) if 'type="radio"' in a]
    names = re.findall(r'type="radio" name="([^"]+)"', text)
    groups = {name: names.count(name) for name in names}
    assert len(groups) >= 9  # three worst, median, best
    assert set(groups.values()) == {5}  # image, truth, prediction, errors, all
    assert sum("checked" in radio for radio in radios) == len(groups)
    assert page.tags.count("fieldset") == page.tags.count("legend") == len(groups)
    assert "side by side" in page.words


def test_uncertainty_is_drawn_where_probabilities_were_kept(unsure):
    _, page = write(unsure)
    shown = [image for image in page.images if image["alt"].startswith("Uncertainty of")]
    assert len(shown) == 3  # of nine images, three are held out
    assert "uncertainty: the brighter, the less sure" in page.words


def test_uncertainty_is_dark_where_sure(unsure, monkeypatch):
    drawn = []
    monkeypatch.setattr(
        "maskwright.report.gallery._picture", lambda pixels, alt, _: drawn.append((alt, pixels)) or _PICTURE
    )
    write(unsure)
    pixels = next(p for alt, p in drawn if alt.startswith("Uncertainty"))
    height, width, _ = pixels.shape
    dark, bright = pixels[height // 2, width // 8].astype(int), pixels[height // 2, -width // 8].astype(int)
    assert np.abs(dark - (0, 32, 76)).max() <= 4  # the ends of cividis (Nunez et al. 2018): #00204c and #fde737
    assert np.abs(bright - (253, 231, 55)).max() <= 16


_PICTURE = report.blocks.Picture("data:,", "alt", 1, 1, "image")


def test_whole_images_are_linked(full):
    page = full[2]
    links = [value for name, value in page.attributes if name == "href" and not value.startswith("#")]
    assert len(set(links)) >= 9
    assert any("%3Cb%3E.png" in link for link in links)


def test_no_name_is_told(unsure):
    """Every name in the run: files, the folder, groups, what findings say, the command, who decided."""
    path = unsure / "audit/findings.parquet"
    found = pl.read_parquet(path).with_columns(decision=pl.lit("kept (Dr Jones)"))
    found.with_columns(detail=pl.lit("as images/part/im1.png of Mrs Smith")).write_parquet(path)
    for name in ("index.parquet", "predictions/per_image.parquet"):
        table = pl.read_parquet(unsure / name)
        table.with_columns(group=pl.lit("Miller ") + pl.col("group")).write_parquet(unsure / name)
    before, _ = write(unsure)
    text, page = write(unsure, anonymous=True)
    assert (unsure / "predictions" / "report.html").read_text(encoding="utf-8") == before  # that is another file
    for name in (
        "im1",
        "im2",
        "part/",
        "b&gt;",
        "Jones",
        "Smith",
        "Miller",
        "<here>",
        "&lt;here&gt;",
        str(unsure),
        "gone",
    ):
        assert name not in re.sub(r"base64,[A-Za-z0-9+/=]+", "", text), name
    assert str(unsure.parent) not in text
    assert "image 1" in page.words
    assert "group 1" in page.words
    assert not [value for name, value in page.attributes if name == "href" and not value.startswith("#")]
    assert [i for i in page.images if i["alt"].startswith("Truth drawn on image")]  # they are found all the same
    assert ODD not in text


def test_names_in_the_recipe_and_of_label_sources_are_not_told(unsure):
    recipe = yaml.safe_load((unsure / "recipe.yaml").read_text())
    recipe["data"] |= {"group_regex": "^(Mueller|Weber)_", "further": [{"root": "patients/Mueller", "domain": "lab"}]}
    recipe["split"] = {"file": "lists/Mueller.csv", "previous": "auto"}
    recipe["train"] |= {"start": "runs/Mueller", "start_unchecked": False}
    recipe["selftrain"] = {"start": "fresh", "method": {"fused_with": ["runs/Mueller"]}}
    recipe["model"] = {"kind": "unet", "encoder": "resnet18", "encoder_weights": "weights/Mueller.pt"}
    recipe["note"] = "see /home/Hans Mueller/data of Weber, and more"
    (unsure / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    (unsure / "round-0/fold-0").mkdir(parents=True, exist_ok=True)
    note = {"checkpoint": "runs/Mueller/best.ckpt", "leaked": [], "checked": True, "seen": []}
    (unsure / "round-0/fold-0/start.json").write_text(json.dumps(note))
    index = pl.read_parquet(unsure / "index.parquet")
    index.with_columns(label_source=pl.lit("Dr. Weber")).write_parquet(unsure / "index.parquet")
    row = {"column": "label_source", "statistic": "corners", "images": 3, "median": 0.5, "effect": 0.1, "p_holm": 0.2}
    styles = [row | {"source": "Dr. Weber"}, row | {"source": "Mueller"}, row | {"column": "part", "source": "val"}]
    pl.DataFrame(styles).write_parquet(unsure / "audit/styles.parquet")
    scores = json.loads((unsure / "predictions/evaluation.json").read_text())
    scores |= {f"oof/mean_dice@label_source={name}": score(0.5) for name in ("Dr. Weber", "Mueller")}
    (unsure / "predictions/evaluation.json").write_text(json.dumps(scores))
    assert "Mueller" in write(unsure)[0]
    text, page = write(unsure, anonymous=True)
    for name in ("Mueller", "Weber", "Hans", "patients", "lists"):
        assert name not in re.sub(r"base64,[A-Za-z0-9+/=]+", "", text), name
    assert [row[1] for row in page.rows if row[0] == "corners"] == ["source 1", "source 2", "val"]
    assert page.row("source 1", "9 out of fold")
    assert "group_regex: HIDDEN" in text
    assert "previous: auto" in text
    assert "start: fresh" in text


def test_pictures_carry_no_metadata(unsure):
    """WebP chunks are called EXIF and XMP; PNG has tEXt, eXIf."""
    import base64

    text, _ = write(unsure, anonymous=True)
    for data in re.findall(r"data:image/[a-z]+;base64,([A-Za-z0-9+/=]+)", text):
        raw = base64.b64decode(data)
        assert not any(chunk in raw for chunk in (b"EXIF", b"XMP ", b"eXIf", b"tEXt", b"iTXt"))


def test_a_page_that_would_be_too_large_shows_fewer_images(full, monkeypatch):
    whole = len(full[1])
    monkeypatch.setattr(report, "MOST_BYTES", int(0.75 * whole))
    text, page = write(full[0])
    assert len(text) < whole
    assert "Worst images" in page.words
    monkeypatch.undo()
    assert len(write(full[0])[0]) == whole
