"""The review of a real run in a browser, by the keyboard alone, killed in the middle; then the same run again."""

from __future__ import annotations

import numpy as np
import pytest
from test_browser import CHROMIUM, browser, commanded, idle, named, page, playwright, press  # noqa: F401 - fixtures
from test_next_round import selftrain, spec_of

from maskwright.data.index import decided_index
from maskwright.data.synthetic import make_playground
from maskwright.pipeline.accepted import with_accepted
from maskwright.review import Reviewed, build_queue

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200), pytest.mark.skipif(CHROMIUM is None, reason="no browser")]


def step_to(opened, key):
    """Go through the queue by the arrow until an item has a key; return its kind and image."""
    for _ in range(200):
        if opened.evaluate(key):
            return opened.evaluate("[app.item.kind, app.item.names[0]]")
        opened.keyboard.press("ArrowRight")
        idle(opened)
        opened.wait_for_selector("canvas")
    raise AssertionError("no such item")


@pytest.mark.parametrize("page", [1280], indirect=True)
def test_answers_before_and_after_a_kill_are_what_the_next_round_learns_from(page, tmp_path):  # noqa: F811
    make_playground(tmp_path / "data", labelled=24, unlabelled=6, size=(48, 64))
    folder = selftrain(tmp_path / "data", tmp_path / "run")
    run = Reviewed.of(folder.root)
    items = {(item.kind, item.image): item for item in build_queue(run)}
    with commanded(folder) as (address, process):
        page.goto(address)
        named(page)
        kind, bare = step_to(page, "['disagreement', 'uncertain'].includes(app.item.kind)")
        chosen = items[kind, bare].suggestions[-1]
        taken = run.suggestion(items[kind, bare], chosen, {})
        press(page, "2" if kind == "disagreement" else "y", "Saved")
        process.kill()
        process.wait()
        page.keyboard.press("x")
        playwright.expect(page.locator("#status.bad")).not_to_be_empty()
        idle(page)
    page.faults.clear()  # of the connection that was refused
    with commanded(folder) as (address, _):
        page.goto(address)
        named(page)
        playwright.expect(page.locator("#count")).to_contain_text("1 of")
        _, masked = step_to(page, "app.item.kind === 'suspect'")
        before = decided_index(folder, spec_of(folder)).only([masked]).read_label(0)
        press(page, "i", "Saved: ignore")
        assert page.faults == []
    selftrain(tmp_path / "data", tmp_path / "run", "--redo")
    index = decided_index(folder, spec_of(folder))
    for fold in (0, 1):  # a prediction teaches the fold alone whose network said it
        learned, accepted = with_accepted(folder, index, fold)
        assert accepted == ([bare] if fold == chosen.maker[1] else [])
        if accepted:
            assert np.array_equal(learned.only([bare]).read_label(0), taken)
    after = index.only([masked]).read_label(0)
    changed = after != before
    assert changed.any() and (after[changed] == 255).all()
