"""The log of decisions: who wins, what is appended, what a broken line says."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from maskwright.decisions import (
    QUESTIONS,
    Action,
    Decision,
    append_decisions,
    changes_of,
    parse_decision,
    read_decisions,
    record_policies,
    settled,
    standing,
)
from maskwright.errors import DataError
from maskwright.pipeline.decide import settled_state
from maskwright.review.log import LogReader


def policy(image="a.png", action="drop", **more):
    return Decision(image=image, action=action, by="policy:keep_finer", **more)


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def append(path, **line):
    with path.open("a") as file:
        file.write(json.dumps(line) + "\n")


def answer(path, image="a.png", asked="use"):
    return settled(read_decisions(path))[image, asked]


def test_every_action_answers_a_question():
    assert set(QUESTIONS) == set(Action.__args__)


def test_a_policy_says_the_same_thing_once(tmp_path):
    log = tmp_path / "decisions.jsonl"
    assert record_policies(log, [policy(), policy("b.png")]) == 2
    before = log.read_bytes()
    assert record_policies(log, [policy(), policy("b.png")]) == 0
    assert log.read_bytes() == before
    assert {"image", "action", "by", "time", "seal"} == set(lines(log)[0])


def test_what_a_policy_says_no_more_is_said_not_to_hold(tmp_path):
    log = tmp_path / "decisions.jsonl"
    take = policy("c.png", "use_mask_of", other_image="a.png", transform="flip_lr")
    record_policies(log, [policy(), take])
    assert record_policies(log, []) == 2
    assert answer(log).action == "keep"
    assert answer(log, "c.png", "mask").action == "own_mask"
    assert record_policies(log, []) == 0
    assert record_policies(log, [policy()]) == 1  # and back again
    assert answer(log).action == "drop"
    assert len(lines(log)) == 5  # nothing was ever taken away


def test_people_win_over_policies_wherever_their_lines_stand(tmp_path):
    log = tmp_path / "decisions.jsonl"
    append(log, image="a.png", action="keep", by="Anna")
    record_policies(log, [policy()])
    assert (answer(log).action, answer(log).by) == ("keep", "Anna")
    append(log, image="a.png", action="drop", by="Ben")
    assert (answer(log).action, answer(log).by) == ("drop", "Ben")  # the last one about the same thing
    assert settled_state(log) == {"a.png (use)": '{"action": "drop", "by": "Ben"}'}


def test_a_policys_line_that_was_edited_is_a_persons(tmp_path):
    log = tmp_path / "decisions.jsonl"
    record_policies(log, [policy()])
    log.write_text(log.read_text().replace('"drop"', '"keep"'))
    assert not read_decisions(log)[0].by_policy
    assert record_policies(log, [policy()]) == 1  # the policy says what it says, the edit wins
    assert answer(log).action == "keep"
    assert settled_state(log)["a.png (use)"].startswith('{"action": "keep"')


def test_a_line_without_its_seal_is_a_persons(tmp_path):
    log = tmp_path / "decisions.jsonl"
    append(log, image="a.png", action="keep", by="policy:keep_finer")
    record_policies(log, [policy()])
    assert answer(log).action == "keep"


def test_use_mask_and_regions_are_questions_of_their_own(tmp_path):
    log = tmp_path / "decisions.jsonl"
    append(log, image="a.png", action="keep", by="Anna")
    append(log, image="a.png", action="ignore_region", region=[0, 0, 4, 4], by="Anna")
    append(log, image="a.png", action="ignore_region", region=[5, 5, 9, 9], by="Anna")
    append(log, image="a.png", action="use_mask_of", other_image="b.png", by="Anna")
    assert len(settled(read_decisions(log))) == 4


def test_no_log_and_blank_lines(tmp_path):
    log = tmp_path / "decisions.jsonl"
    assert read_decisions(log) == []
    assert settled_state(log) == {}
    assert record_policies(log, []) == 0
    assert not log.exists()
    log.write_text('\n{"image": "a.png", "action": "keep", "by": "Anna"}')  # no newline at its end
    assert read_decisions(log)[0].line == 2
    record_policies(log, [policy("b.png")])
    assert [d.image for d in read_decisions(log)] == ["a.png", "b.png"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "Invalid JSON"),
        ("[]", "object"),
        ('{"image": "a.png", "by": "Anna"}', "action Field required"),
        ('{"image": "a.png", "action": "burn", "by": "Anna"}', "action Input should be 'keep'"),
        ('{"image": "a.png", "action": "keep", "by": "Anna", "why": 1}', "why Extra inputs"),
        ('{"image": "a.png", "action": "use_mask_of", "by": "Anna"}', "expected other_image"),
        ('{"image": "a.png", "action": "drawn_mask", "by": "Anna"}', "expected file"),
        ('{"image": "a.png", "action": "not_same", "by": "Anna"}', "expected other_image"),
        ('{"image": "a.png", "action": "undo", "by": "Anna"}', "expected id"),
        ('{"image": "a.png", "action": "ignore_region", "region": [1, 2], "by": "Anna"}', "region"),
    ],
)
def test_a_broken_line_is_named(tmp_path, line, said):
    log = tmp_path / "decisions.jsonl"
    log.write_text('{"image": "a.png", "action": "keep", "by": "Anna"}\n' + line + "\n")
    with pytest.raises(DataError) as error:
        read_decisions(log)
    assert "decisions.jsonl, line 2" in str(error.value)
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("change", "matters"),
    [
        (lambda said: [*said, {"image": "a.png", "action": "keep", "by": "Anna"}], True),
        (lambda said: said[1:], True),  # a policy's line was deleted
        (lambda said: [said[0], said[1] | {"transform": "flip_ud"}, *said[2:]], True),
        (lambda said: [*said[:2], said[2] | {"others": {"d.png": "identity", "e.png": "rot180"}}, said[3]], True),
        (lambda said: [*said[:3], said[3] | {"reason": "another"}], True),  # removed.csv tells it
        (lambda said: said[::-1], False),
        (lambda said: [line | {"time": "2026-01-01T00:00:00"} for line in said], False),
        (
            lambda said: [{"image": "f.png", "action": "own_mask", "by": "Anna"}, *said],
            False,
        ),  # overruled further below
        (lambda said: [*said, said[3]], False),
        (lambda said: [*said[:3], said[3] | {"transform": "identity"}], False),
    ],
)
def test_what_matters_changes_the_state_of_the_log(tmp_path, change, matters):
    log = tmp_path / "decisions.jsonl"
    record_policies(log, [policy()])
    append(log, image="c.png", action="use_mask_of", other_image="b.png", transform="flip_lr", by="Anna")
    others = {"d.png": "identity", "e.png": "flip_lr"}
    append(log, image="d.png", action="consensus", others=others, by="Anna")
    append(log, image="f.png", action="use_mask_of", other_image="b.png", by="Anna")
    said, before = lines(log), settled_state(log)
    log.write_text("".join(json.dumps(line) + "\n\n" for line in change(said)))
    assert (settled_state(log) != before) is matters


def test_a_log_that_can_not_be_replaced_stays_as_it_was(tmp_path, monkeypatch):
    """As under kill -9 or a full disk: no line is cut off, so that the same command goes on."""
    log = tmp_path / "decisions.jsonl"
    append(log, image="a.png", action="keep", by="Anna")
    before = log.read_bytes()

    def full(source, target):
        raise OSError(28, "No space left on device", str(source), None, str(target))

    with monkeypatch.context() as patch:
        patch.setattr("os.replace", full)
        with pytest.raises(OSError, match="No space"):
            record_policies(log, [policy(f"{k}.png") for k in range(2000)])
    assert log.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == [log.name]
    assert record_policies(log, [policy(f"{k}.png") for k in range(2000)]) == 2000
    assert len(read_decisions(log)) == 2001


def test_a_line_that_a_person_adds_meanwhile_stays_and_a_link_stays_one(tmp_path, monkeypatch):
    log, link = tmp_path / "log.jsonl", tmp_path / "decisions.jsonl"
    append(log, image="a.png", action="keep", by="Anna")
    link.symlink_to(log)
    write, calls = type(log).write_bytes, []

    def slow(path, data):
        if not calls:
            append(link, image="b.png", action="keep", by="Ben")  # not seen when the text was put together
        calls.append(path)
        return write(path, data)

    monkeypatch.setattr("pathlib.Path.write_bytes", slow)
    assert record_policies(link, [policy("c.png")]) == 1
    assert [line["by"] for line in lines(link)] == ["Anna", "Ben", "policy:keep_finer"]
    assert link.is_symlink()


def test_a_seal_of_an_earlier_version_holds(tmp_path):
    """As a policy wrote it before there was a review: the fields that came since change no seal."""
    log = tmp_path / "decisions.jsonl"
    reason = "the mask of images/s04_4.png is finer: 2.343 against 1.93"
    line = {"image": "images/s10_1.png", "action": "drop", "by": "policy:keep_finer", "kind": "conflict"}
    line |= {"other_image": "images/s04_4.png", "reason": reason, "value": 1.9300341015761542}
    append(log, **line, time="2026-11-21T20:16:22+00:00", seal="77ecfdaf3510")
    assert read_decisions(log)[0].by_policy


def said(number, item="", action="keep", **more):
    return Decision(image="a.png", action=action, by="Anna", id=str(number), item=item, **more)


@pytest.mark.parametrize(
    ("lines", "left"),
    [
        ([said(1), said(2)], ["1", "2"]),
        ([said(1), said(1, action="undo")], []),
        ([said(1), said(1), said(2), said(1, action="undo")], ["2"]),  # an answer may have several lines
        ([said(1, "i"), said(2, "i"), said(3, "j")], ["2", "3"]),  # of an item the last answer
        ([said(1, "i"), said(2, "i"), said(2, action="undo")], ["1"]),
        ([said(1, "i"), said(1, action="undo"), said(2, "i")], ["2"]),
        ([said(1, action="undo"), said(1)], []),  # wherever the lines stand
        ([policy(), said(7, action="undo")], [""]),
        ([said(1, "i", time="2026-01-02T10:00:01Z"), said(2, "i", time="2026-01-02T11:00:00+01:00")], ["1"]),
        ([said(1, "i", time="2026-01-02T10:00:00.9Z"), said(2, "i", time="2026-01-02T10:00:00Z")], ["2"]),  # one second
        ([said(1, "i", time="2026-01-02T10:00:01Z"), said(2, "i")], ["2"]),  # without a time, by its place
    ],
)
def test_what_was_taken_back_or_answered_again_does_not_count(lines, left):
    assert [decision.id for decision in standing(lines)] == left


def test_same_is_one_question_whichever_image_comes_first():
    one = Decision(image="b.png", action="same", other_image="a.png", by="Anna")
    two = Decision(image="a.png", action="not_same", other_image="b.png", by="Ben")
    assert list(settled([one, two]).values()) == [two]


def test_that_somebody_looked_changes_no_state(tmp_path):
    log = tmp_path / "decisions.jsonl"
    record_policies(log, [policy()])
    before = settled_state(log)
    append_decisions(log, [Decision(image="a.png", action="confirm", by="Anna", id="1", item="i", answer="a")])
    assert settled_state(log) == before
    append_decisions(log, [Decision(image="a.png", action="keep", by="Anna", id="2", item="j", answer="both")])
    assert settled_state(log) != before
    append_decisions(log, [Decision(image="a.png", action="undo", by="Anna", id="2")])
    assert settled_state(log) == before


@pytest.mark.parametrize("action", ["drop", "ignore_region"])
def test_that_nothing_is_to_change_after_all_is_a_change(tmp_path, action):
    log = tmp_path / "decisions.jsonl"
    record_policies(log, [policy("b.png")])
    before = settled_state(log)
    region = (0, 0, 4, 4) if action == "ignore_region" else None
    append_decisions(log, [Decision(image="a.png", action=action, region=region, by="Anna", id="1", item="i")])
    assert settled_state(log) != before
    append_decisions(log, [Decision(image="a.png", action="confirm", by="Anna", id="2", item="i", answer="a")])
    assert settled_state(log) == before
    assert [d.action for d in settled(read_decisions(log)).values() if d.by == "Anna"] == ["confirm"]


def test_people_and_policies_append_at_once_and_no_line_is_lost(tmp_path):
    log = tmp_path / "decisions.jsonl"

    def write(number):
        if number % 5 == 0:
            record_policies(log, [policy(f"{number}.png")])
        append_decisions(log, [Decision(image=f"{number}.png", action="keep", by="Anna") for _ in range(2)])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(40)))
    found = read_decisions(log)
    assert sum(d.by == "Anna" for d in found) == 80
    assert [d.image for d in found if d.by == "Anna"][::2] == [d.image for d in found if d.by == "Anna"][1::2]
    assert all(d.time for d in found)


def patch(where, item, by="Anna"):
    return Decision(image="a.png", action="patch_mask", where=where, by=by, id=item, item=item)


def test_patches_count_in_the_order_of_the_log_until_a_whole_mask_is_drawn(tmp_path):
    log = tmp_path / "decisions.jsonl"
    append_decisions(log, [patch("1.png", "i"), patch("2.png", "j")])
    before = settled_state(log)
    assert [c.where for c in changes_of(settled(read_decisions(log)))["a.png"]] == ["1.png", "2.png"]
    append_decisions(log, [patch("1.png", "i").model_copy(update={"id": "k"})])  # the first again: now it is the last
    assert [c.where for c in changes_of(settled(read_decisions(log)))["a.png"]] == ["2.png", "1.png"]
    assert settled_state(log) != before  # where they overlap, it shows
    append_decisions(log, [Decision(image="a.png", action="undo", by="Anna", id="k")])
    assert settled_state(log) == before
    append_decisions(log, [Decision(image="a.png", action="drawn_mask", file="w.png", by="Ben", id="w", item="w")])
    assert changes_of(settled(read_decisions(log))) == {}


def test_a_seal_is_seen_to_once_and_nobody_can_claim_one(tmp_path):
    log = tmp_path / "decisions.jsonl"
    record_policies(log, [policy()])
    append(log, image="b.png", action="drop", by="policy:keep_finer", sealed=True, seal="0" * 12)
    assert [d.by_policy for d in read_decisions(log)] == [True, False]
    assert "sealed" not in lines(log)[0]


def test_a_reader_parses_what_is_new_alone(tmp_path, monkeypatch):
    log, parsed = tmp_path / "decisions.jsonl", []
    reader = LogReader(log)
    assert reader.read() == []
    plain = parse_decision
    monkeypatch.setattr("maskwright.review.log.parse_decision", lambda *said: parsed.append(said) or plain(*said))
    record_policies(log, [policy(f"{k}.png") for k in range(2000)])
    assert reader.read() == read_decisions(log)
    append(log, image="a.png", action="keep", by="Anna")
    assert reader.read() == read_decisions(log)
    assert len(parsed) == 2001
    log.write_text("\n".join(log.read_text().splitlines()[5:]))  # edited, and no newline at its end
    assert reader.read() == read_decisions(log)
    append(log.with_name("b"), image="a.png", action="drop", by="Ben")
    with log.open("a") as file:
        file.write("\n" + log.with_name("b").read_text())
    assert reader.read() == read_decisions(log)


def test_whether_a_mask_was_drawn_before_or_after_a_patch_is_part_of_the_state(tmp_path):
    """Drawn first, the patch lies on it; drawn again, with the same file, the mask has what the patch said in it."""
    log = tmp_path / "decisions.jsonl"
    drawn = Decision(image="a.png", action="drawn_mask", by="Ben", file="m.png")
    append_decisions(log, [drawn, patch("1.png", "i")])
    before = settled_state(log)
    append_decisions(log, [drawn])
    assert changes_of(settled(read_decisions(log))) == {}
    assert settled_state(log) != before
