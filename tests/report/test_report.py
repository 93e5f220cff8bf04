"""What the report says, read back as HTML from small run folders that are made here."""

from __future__ import annotations

import json

import polars as pl
import pytest

from make_report import (
    ODD,
    make_run,
    per_image_rows,
    score,
    write,
    write_base,
)
from maskwright.decisions import LOG, Decision, append_decisions, record_policies
from maskwright.report.collect import collect, image_scores
from maskwright.report.words import summary


class TestContent:
    def test_scores_have_intervals_and_parts(self, full):
        page = full[2]
        # the headline is the held-out part's, so it has no column of its own
        row = page.row("mean IoU over all pixels", "0.612 (0.562–0.662)")
        assert row[2] == "0.632 (0.582–0.682)"
        assert "The headline numbers are those of: held-out part" in page.words
        assert "Scores with 90 % intervals" in page.words
        assert page.row("mean IoU over all pixels", "as defined")

    def test_categories_with_dash_for_nan(self, full):
        page = full[2]
        assert page.row("rock", "4", "7.4 %", "0.310 (0.260–0.360)")[3:5] == ["0.310 (0.260–0.360)"] * 2
        assert page.row("a/b & <i>", "0", "0.0 %", "–", "–")
        # precision and recall: means over images, in each part
        assert page.row("rock", "4", "7.4 %", "0.310 (0.260–0.360)")[5:] == ["0.750", "0.500", "0.750", "0.500"]
        assert "nan" not in page.words.lower().replace("dominant", "")

    def test_findings(self, full):
        page = full[2]
        assert page.row("mask conflict", "error", "1", "1", "1")
        assert page.row("near duplicate", "warning", "1", "1", "0")
        assert page.row("images/part/im2.png", "images/part/im3.png", "0.250")[4] == "–"
        assert "Can’t be shown" in page.words  # gone.png
        assert {"Mask drawn on images/part/im2.png", f"Image {ODD}"} <= {i["alt"] for i in page.images}

    def test_shares_folds_and_training(self, full):
        page = full[2]
        assert page.row("rock", "4", "44.4 %", "7.4 %", "1\u202f234", "12")
        labels = [value for name, value in page.attributes if name == "aria-label"]
        for kind, share in (("pixels", "7.4"), ("images", "44.4")):  # both charts, each with rock's own share
            assert f"Percent of the {kind} of each category" in labels
            svg = next(part for part in full[1].split("<svg")[1:] if f"Percent of the {kind} of each" in part)
            assert f">{share}<" in svg
        assert page.row("0", "3", "3", "12.5 %", "rock")
        assert "No group crosses. hash 1234" in page.words
        assert "2 clusters of duplicates in more than one fold!" in page.words
        assert page.row("presence")[1:] == ["5.0 %", "25.0 %", "100.0 %", "images with rock, held out"]
        # best mean Dice .4 + 100 / 250 = .8 at the last step; 100 · .6 s = 1 minute; last loss 1 / 100
        assert page.row("fold 0") == ["fold 0", "100", "1.0", "0.010", "0.800", "100", "0.800"]

    def test_mix_ups_and_matrix(self, full):
        page = full[2]
        assert page.row("rock", "ground") == ["rock", "ground", "40.0 %"]
        assert any(n == "aria-label" and "Confusion matrix" in v for n, v in page.attributes)

    def test_galleries_show_worst_median_best_with_four_panels(self, full):
        page = full[2]
        text = page.words
        # nine images, mean Dice over ground and rock .15 + .1 k, three a gallery
        assert text.index("Worst images") < text.index("Dice 0.150") < text.index("Median images")
        assert (
            text.index("Median images")
            < text.index("Dice 0.450")
            < text.index("Best images")
            < text.index("Dice 0.950")
        )
        panels = [i["alt"] for i in page.images if ODD in i["alt"]][-4:]
        assert panels == [
            f"Image {ODD}",
            f"Truth drawn on {ODD}",
            f"Prediction drawn on {ODD}",
            f"Wrong pixels of {ODD} in colour",
        ]

    def test_how_to_make_it_again(self, full):
        page = full[2]
        assert "maskwright run --data <here>" in page.words
        assert "confidence: 0.9" in page.words
        assert page.row("numpy", "2.4")
        assert page.row("train") == ["train", "61.2"]
        assert "Not in this report" not in page.words

    def test_how_to_make_it_again_after_peoples_decisions(self, tmp_path):
        run = make_run(tmp_path)
        note = json.loads((run / "run.json").read_text())
        (run / "run.json").write_text(json.dumps(note | {"later": ["maskwright run --data <there> --redo"]}))
        policy = Decision(image=ODD, action="drop", by="policy:keep_finer")
        record_policies(run / LOG, [policy])
        said = [("a", "drop"), ("b", "drop"), ("c", "belongs"), ("d", "keep")]
        append_decisions(run / LOG, [Decision(image=i, action=a, by="Anna", id=i) for i, a in said])
        append_decisions(run / LOG, [Decision(image="d", action="undo", by="Anna", id="d")])
        page = write(run)[1]
        assert "maskwright run --data <here> maskwright run --data <there> --redo" in page.words
        assert "3 lines (drop 2, belongs 1): to repeat the run in a new folder, copy decisions.jsonl" in page.words


class TestSummary:
    def test_says_what_the_numbers_say(self, full):
        said = {g.title: " ".join(g.words) for g in summary(collect(full[0]))}
        assert (
            "mean IoU over all pixels is 0.632, with 90 % confidence between 0.582 and 0.682"
            in said["What the model can do"]
        )
        assert "on 9 images of a held-out part" in said["What the model can do"]
        assert "ground (IoU 0.95)" in said["What the model can do"]
        cannot = said["What it can’t do"]
        assert "rock (IoU 0.31)" in cannot
        assert "40.0 % of the area of rock is taken for ground." in cannot
        assert "12.0 % of the area of rock is missed altogether." in cannot
        assert "Nothing is known about a/b & <i>" in cannot
        # .15, .25, .35, .45 lie below .5
        assert "4 of 9 scored images have a Dice below 0.5; the worst, images/part/<b>.png, has 0.150." in cannot
        sure = said["How sure that is"]
        assert "rests on only 9 images" in sure
        assert "single fold models have 0.612" in sure
        assert "No group of related images" in sure
        assert "its gain is +0.004 (+0.001 to +0.008)" in sure
        advice = said["What would help most"]
        assert "errors: mask conflict (1) and unreadable (1)." in advice
        assert "warnings" not in advice  # decided
        assert "rock (IoU 0.31): 4 of 9 labelled images" in advice
        assert "still rising at the end in 2 of 2 trainings" in advice

    def test_leaks_are_said(self, full, tmp_path):
        run = make_run(tmp_path)
        certificate = json.loads((run / "folds.json").read_text()) | {"crossing_groups": ["g1", "g2"]}
        (run / "folds.json").write_text(json.dumps(certificate))
        assert "2 groups lie in more than one fold, so the scores are too good." in write(run, thumbnails=0)[1].words

    @pytest.mark.parametrize(
        ("apart", "words"),
        [(2, "2 leaks across a border: scores there are too good."), (0, "None of them lies across a border")],
    )
    def test_what_the_folds_do_about_leaks_of_given_parts(self, tmp_path, apart, words):
        run = make_run(tmp_path)
        leaks = {"leak_group": {"found": 3, "together": 3 - apart, "apart": apart, "outside": 0}}
        (run / "folds.json").write_text(json.dumps(json.loads((run / "folds.json").read_text()) | {"leaks": leaks}))
        page = write(run, thumbnails=0)[1]
        assert words in page.words
        assert page.row("leak_group") == ["leak_group", "3", str(3 - apart), str(apart), "0"]

    def test_domains_have_scores_of_their_own(self, tmp_path):
        run = make_run(tmp_path)
        path = run / "predictions" / "evaluation.json"
        divided = {
            f"{part}mean_dice@domain={name}": score(value, n=n)
            for part in ("", "oof/")
            for name, value, n in (("dusk/2", 0.41, 4), ("day", None, 5))
        }
        path.write_text(json.dumps(json.loads(path.read_text()) | divided))
        page = write(run, thumbnails=0)[1]
        assert page.row("dusk/2") == ["dusk/2", "4 out of fold", "0.410 (0.360–0.460)"]
        assert page.row("day") == ["day", "5 out of fold", "–"]
        assert page.row("mean Dice per image")[1] == "0.700 (0.650–0.750)"  # of all, out of fold, as before

    def test_left_out_categories_count_nowhere(self, tmp_path):
        images = [("images/a.png", None)]
        write_base(tmp_path / "run", tmp_path, images, leave_out=["ground"])
        artifacts = collect(tmp_path / "run")
        table = image_scores(pl.DataFrame(per_image_rows(images)), artifacts.categories)
        assert table["dice"].to_list() == [pytest.approx(0.2)]  # rock's alone
