"""Several reviewers at one queue, at once and one after the other, and processes that are killed."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from make_copies import half
from make_review import PLAIN, ignored_columns, lines, place_of, reply, reviewed
from maskwright.review import Desk, answers, build_queue
from maskwright.review.answers import answers_of


def test_reviewers_are_asked_the_same_of_an_item(desk):
    """Also the one who comes after a mask was changed by the other's answer."""
    place = place_of(desk, "suspect")
    for by in ("Anna", "Ben"):
        desk.decide(reply(desk, place, "b", by=by))
    files = {d.where for d in lines(desk)}
    assert len(files) == 1
    assert ignored_columns(desk) == list(range(16, 24))
    assert np.array_equal(desk.run.mask(PLAIN, desk.answers(place)), half(16))


def test_an_answer_that_comes_twice_is_taken_once(desk):
    answer = reply(desk, 0, "a", id="a" * 16)
    assert desk.decide(answer) == desk.decide(answer) == "a" * 16
    assert len(lines(desk)) == 2


def test_reviewers_get_items_of_their_own_until_these_are_answered(desk):
    assert (desk.next("Anna"), desk.next("Ben"), desk.next("Anna")) == (0, 1, 0)
    desk.decide(reply(desk, 0, "a"))
    assert desk.next("Anna") == 2  # 1 is before Ben
    assert desk.next("Ben") == 1
    assert desk.next("Ben", second=True) == 0  # what Anna has answered
    assert desk.progress("Ben") == {"total": len(desk.items), "decided": 1, "mine": 0}


def test_what_was_passed_over_comes_again_at_the_end(desk):
    last = len(desk.items) - 1
    assert desk.next("Anna", after=0) == 1
    assert desk.next("Anna", after=last) == 0
    desk.decide(reply(desk, 1, answers_of(desk.items[1], target="masks")[0].name))
    assert desk.next("Anna", after=0) == 2


def test_everything_answered(desk):
    for place, item in enumerate(desk.items):
        desk.decide(reply(desk, place, answers_of(item, target="masks")[0].name))
    assert desk.next("Anna") is None
    assert desk.next("Ben", second=True) == 0


def test_two_reviewers_at_once_lose_nothing(folder):
    """Two desks, as of two processes, each with four threads, on one log."""
    runs = [reviewed(folder) for _ in range(2)]
    desks = [Desk(run, build_queue(run)) for run in runs]
    jobs = [(desks[n % 2], n) for n in range(40)]

    def answer(job):
        desk, number = job
        return desk.decide(reply(desk, number % len(desk.items), "reject" if number % 3 else "a", by=f"r{number}"))

    allowed = [
        (d, n)
        for d, n in jobs
        if {"a", "reject"} <= {a.name for a in answers_of(d.items[n % len(d.items)], target="masks")}
    ]
    with ThreadPoolExecutor(8) as pool:
        ids = list(pool.map(answer, allowed))
    assert len(allowed) > 10
    assert {d.id for d in lines(desks[0])} == set(ids)


KILLED = """
import sys
from pathlib import Path
from maskwright.review import Desk, Reply, Reviewed, build_queue
run = Reviewed.of(Path(sys.argv[1]))
desk = Desk(run, build_queue(run))
number = 0
while True:
    place = number % len(desk.items)
    answers = desk.described(place)["answers"]
    name = next(a["name"] for a in answers if a["name"] in ("a", "same", "alien", "accept"))
    shown = [run.digest(suggestion, desk.answers(place)) for suggestion in desk.items[place].suggestions]
    said = desk.decide(Reply(item=desk.keys[place], answer=name, by="Anna", shown=shown))
    print(said, flush=True)
    number += 1
"""


def test_what_was_confirmed_before_a_kill_is_there_and_the_log_is_whole(folder):
    command = [sys.executable, "-c", KILLED, str(folder.root)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        confirmed = [process.stdout.readline().strip() for _ in range(5)]
        time.sleep(0.05)
        os.kill(process.pid, signal.SIGKILL)
        confirmed += process.stdout.read().split()
    found = {json.loads(line).get("id") for line in folder.decisions.read_text().splitlines()}
    assert {said for said in confirmed if len(said) == 16} <= found  # the last one may be cut off
    assert len(confirmed) >= 5
    desk = Desk(reviewed(folder), [])
    assert desk.log()  # every line is one


def test_nobody_waits_for_a_drawing(desk, monkeypatch):
    begun, go_on = threading.Event(), threading.Event()
    plain = answers.painted

    def slow(*said):
        begun.set()
        assert go_on.wait(60)
        return plain(*said)

    monkeypatch.setattr(answers, "painted", slow)
    stroke = {"tool": "brush", "category": 1, "points": [[60.5, 20.5]], "radius": 0.5}
    drawn = reply(desk, place_of(desk, "uncertain"), "edit", strokes=[stroke])
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(desk.decide, drawn)
        assert begun.wait(60)
        desk.decide(reply(desk, place_of(desk, "suspect"), "a", by="Ben"))  # and what counts has changed meanwhile
        assert desk.progress("Ben")["mine"] == 1
        go_on.set()
        waiting.result(60)
    assert [d.by for d in lines(desk)] == ["Ben", "Anna", "Anna"]
