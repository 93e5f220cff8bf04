"""Work side by side: in order, few at a time, in threads or processes; a fault comes through."""

from __future__ import annotations

import os
import threading
import time

import pytest

from maskwright.evaluate.spread import spread
from maskwright.progress import listen


def number_and_process(item):
    return item, os.getpid()


def test_processes_give_the_order_of_the_items():
    found = list(spread(number_and_process, range(5), "count", workers=1))
    assert [item for item, _ in found] == [0, 1, 2, 3, 4]
    assert os.getpid() not in {process for _, process in found}


def test_threads_give_the_order_of_the_items_and_run_only_a_few_ahead():
    started, lock, taken = [], threading.Lock(), []

    def slow_first(item):
        with lock:
            started.append(item)
        time.sleep(0.05 if item == 0 else 0)
        return item

    seen = []
    with listen(lambda label, done, total, note: seen.append((label, done, total))):
        for item in spread(slow_first, range(100), "count"):
            taken.append(item)
            assert len(started) <= len(taken) + 2 * (os.cpu_count() or 1)
    assert taken == list(range(100))
    assert seen[-1] == ("count", 100, 100)
    assert list(spread(slow_first, [], "count")) == []


def test_a_fault_comes_through_and_ends_the_work():
    started = []

    def faulty(item):
        started.append(item)
        if item == 3:
            raise ValueError("item 3")
        return item

    with pytest.raises(ValueError, match="item 3"):
        list(spread(faulty, range(10_000), "count"))
    assert len(started) < 100
