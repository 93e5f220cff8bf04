"""The page that works from disk: whole, asking nothing of anybody, and its answers taken in once."""

import base64
import hashlib
import html
import io
import json
import re

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from make_copies import half
from make_review import FINE, ODD, place_of, reply
from maskwright.cli import main
from maskwright.decisions import read_decisions, standing
from maskwright.errors import UsageError
from maskwright.review import Desk, agreement, build_queue, build_review, import_replies, write_static
from maskwright.review.answers import answers_of

SCRIPT = re.compile(r"<script([^>]*)>(.*?)</script>", re.DOTALL)


@pytest.fixture
def page(desk, tmp_path):
    path = tmp_path / "review.html"
    assert write_static(desk, path, most=1000) == len(desk.items)
    return path.read_text(encoding="utf-8")


def data_of(page):
    return json.loads(next(text for attributes, text in SCRIPT.findall(page) if 'id="data"' in attributes))


def test_the_page_is_whole_and_asks_nobody(page):
    scripts = SCRIPT.findall(page)
    assert len(scripts) == 2
    policy = html.unescape(re.search(r'Content-Security-Policy" content="([^"]+)"', page)[1])
    digest = base64.b64encode(hashlib.sha256(scripts[1][1].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'")
    assert not re.search(r'(?:src|href)="(?!#|data:)', page)
    assert page.count("<script") == page.count("</script>") == 2  # a name of markup is none
    assert "<b>" not in page.split('id="data"')[1].split("</script>")[0]


def test_it_holds_the_items_with_their_pictures(page, desk):
    items = data_of(page)["items"]
    assert [item["key"] for item in items] == desk.keys
    place = place_of(desk, "uncertain")
    assert items[place]["names"] == [ODD]
    label = np.asarray(Image.open(io.BytesIO(base64.b64decode(items[place]["labels"][0]))))
    assert np.array_equal(label, half(40))


def test_an_item_that_can_not_be_shown_is_left_out(desk, tmp_path):
    place = place_of(desk, "disagreement")
    (desk.run.folder.root / desk.items[place].suggestions[0].file).unlink()
    assert write_static(desk, tmp_path / "a.html", most=1000) == len(desk.items) - 1


def test_what_is_answered_is_left_out_and_names_can_be_hidden(desk, tmp_path):
    hidden = Desk(desk.run, desk.items, anonymous=True)
    file = tmp_path / "answers.json"
    file.write_text(json.dumps({"maskwright_review": 1, "replies": [answer(desk, 0, "a")]}))
    import_replies(desk, file)
    assert write_static(hidden, tmp_path / "b.html", most=3) == 3
    text = (tmp_path / "b.html").read_text()
    assert desk.keys[0] not in [item["key"] for item in data_of(text)["items"]]
    assert not any(name in text for image in desk.run.index.images for name in (image, image.split("/")[-1]))


def answer(desk, place, said, **more):
    whole = reply(desk, place, said, by="Cleo", id=f"{place:016x}").model_dump(mode="json")
    return whole | {"time": "2026-01-02T03:04:05.678Z"} | more


def test_answers_are_taken_once_and_the_others_are_named(desk, tmp_path):
    file = tmp_path / "answers.json"
    wrong = answer(desk, 1, "fly")
    replies = [answer(desk, 0, "a"), wrong, {"item": "0" * 16, "answer": "a", "by": "C"}, "no answer"]
    file.write_text(json.dumps({"maskwright_review": 1, "made": "x", "replies": replies}))
    found = import_replies(desk, file)
    assert (found.taken, found.known, len(found.refused)) == (1, 0, 3)
    lines = [d for d in read_decisions(desk.run.folder.decisions) if d.by == "Cleo"]
    assert [(d.action, d.time) for d in lines] == [("keep", "2026-01-02T03:04:05.678Z"), ("drop", lines[0].time)]
    assert (import_replies(desk, file).taken, import_replies(desk, file).known) == (0, 1)


def imported(desk, tmp_path, *replies):
    file = tmp_path / "answers.json"
    file.write_text(json.dumps({"maskwright_review": 1, "replies": replies}))
    return import_replies(desk, file)


def actions(desk):
    return [d.action for d in read_decisions(desk.run.folder.decisions) if not d.by_policy]


def test_what_was_taken_back_after_the_first_file_is_taken_back_here(desk, tmp_path):
    first = answer(desk, 0, "a")
    assert imported(desk, tmp_path, first).taken == 1
    undo = {"undo": first["id"], "by": "Cleo", "time": "2026-01-02T03:05:05.678Z"}
    found = imported(desk, tmp_path, first, undo)
    assert (found.taken, found.known, found.refused) == (1, 1, [])
    assert actions(desk) == ["keep", "drop", "undo"]
    assert imported(desk, tmp_path, first, undo).taken == 0
    never = answer(desk, 1, answers_of(desk.items[1], target="masks")[0].name)  # came and went on the page
    assert imported(desk, tmp_path, never, undo | {"undo": never["id"]}).taken == 0
    assert imported(desk, tmp_path, {"undo": "f" * 16, "by": "Ben"}).taken == 0
    assert len(actions(desk)) == 3


def test_an_undo_is_its_reviewers_however_the_name_is_spaced(desk, tmp_path):
    name = "Cleo\u00a0 Brandt"
    first = answer(desk, 0, "a", by=name)
    assert imported(desk, tmp_path, first).taken == 1
    assert imported(desk, tmp_path, first, {"undo": first["id"], "by": name}).taken == 1
    assert actions(desk) == ["keep", "drop", "undo"]


def standing_by(desk):
    return {d.by for d in standing(read_decisions(desk.run.folder.decisions)) if d.item}


def test_of_two_peoples_answers_both_are_taken_and_the_later_one_counts(desk, tmp_path):
    desk.decide(reply(desk, 0, "b", by="Ben"))  # now, which is after what Cleo said in January
    found = imported(desk, tmp_path, answer(desk, 0, "a"))
    assert (found.taken, found.overruled, found.refused) == (1, 1, [])
    assert standing_by(desk) == {"Ben"}
    (row,) = [row for row in agreement(desk.log()) if not row.kind]
    assert (row.first, row.second, row.items, row.share) == ("Ben", "Cleo", 1, 0.0)
    assert desk.undo("Ben") == 0
    assert standing_by(desk) == {"Cleo"}


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_whichever_file_comes_first(desk, tmp_path, order):
    early = answer(desk, 0, "a")
    late = answer(desk, 0, "b", by="Ben", id="b" * 16, time="2026-01-02T04:04:06+01:00")  # a second later
    counts = [imported(desk, tmp_path, (early, late)[which]) for which in order]
    assert [(found.taken, found.overruled) for found in counts] == [(1, 0), (1, order[1] == 0)]
    assert standing_by(desk) == {"Ben"}


def test_an_older_answer_of_the_same_person_is_refused(desk, tmp_path):
    desk.decide(reply(desk, 0, "b", by="Cleo"))
    found = imported(desk, tmp_path, answer(desk, 0, "a"))
    assert found.taken == 0
    assert "Cleo answered at" in found.refused[0][1]


def test_a_clock_that_is_fast_does_not_win_for_good(desk, tmp_path):
    late = answer(desk, 0, "a", time="2100-01-02T03:04:05.678Z")
    assert imported(desk, tmp_path, late).taken == 1
    desk.decide(reply(desk, 0, "b", by="Ben"))
    assert standing_by(desk) == {"Ben"}


def test_what_was_imported_is_taken_back_on_the_page_one_by_one(desk, tmp_path):
    """By its reviewer, in a server that began since; the same file again doesn't bring it back."""
    other = place_of(desk, "uncertain")
    whole = answer(desk, 0, "a"), answer(desk, other, "reject")
    desk.decide(reply(desk, place_of(desk, "outlier"), "alien", by="Ben"))
    assert imported(desk, tmp_path, *whole).taken == 2
    page = Desk(desk.run, build_queue(desk.run))
    client = TestClient(build_review(page, token=""), base_url="http://127.0.0.1:8765")
    undone = [client.post("/api/undo", json={"by": "Cleo"}).json()["place"] for _ in range(3)]
    assert undone == [page.places[desk.keys[other]], page.places[desk.keys[0]], None]
    people = [d for d in standing(read_decisions(desk.run.folder.decisions)) if not d.by_policy]
    assert [d.by for d in people] == ["Ben"]
    assert (imported(page, tmp_path, *whole).taken, imported(page, tmp_path, *whole).known) == (0, 2)


def test_one_answer_that_can_not_be_written_holds_up_no_other(desk, tmp_path, monkeypatch):
    decide, failing = Desk.decide, []

    def flaky(self, said):
        if not failing:
            failing.append(said)
            raise OSError(28, "No space left on device")
        return decide(self, said)

    monkeypatch.setattr(Desk, "decide", flaky)
    found = imported(desk, tmp_path, answer(desk, 0, "a"), answer(desk, place_of(desk, "uncertain"), "reject"))
    assert (found.taken, len(found.refused)) == (1, 1)
    assert "No space" in found.refused[0][1]


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"maskwright_review": 2, "replies": []}', "\xff"])
def test_files_that_hold_no_answers(desk, tmp_path, text):
    file = tmp_path / "answers.json"
    file.write_text(text, encoding="latin-1")
    with pytest.raises(UsageError, match="a file of answers"):
        import_replies(desk, file)
    with pytest.raises(UsageError, match="a file of answers"):
        import_replies(desk, tmp_path / "none.json")


def test_by_the_command(folder, tmp_path, capsys):
    out = tmp_path / "page.html"
    assert main(["review", str(folder.root), "--static", str(out), "--most", "2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["items"] == 2
    assert main(["review", str(folder.root), "--static", str(out)]) == 2  # nothing is overwritten
    item = data_of(out.read_text())["items"][0]
    file = tmp_path / "answers.json"
    reply = {"item": item["key"], "answer": "a", "by": "Cleo", "id": "f" * 16, "shown": item["shown"]}
    file.write_text(json.dumps({"maskwright_review": 1, "replies": [reply]}))
    assert main(["review", str(folder.root), "--import", str(file)]) == 0
    assert "1 answers taken" in capsys.readouterr().err
    assert main(["review", str(folder.root), "--import", str(file), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["decided"] == 1
    assert (FINE, "Cleo") in [(d.image, d.by) for d in read_decisions(folder.decisions)]
