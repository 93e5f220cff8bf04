"""The page in a real browser, by the keyboard alone; skipped where there is none."""

import json
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest

from make_review import ODD, PLAIN
from maskwright.decisions import read_decisions
from maskwright.review import build_review, import_replies, write_static
from serving import serving

playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="no browser")]
TOKEN = "0123456789abcdef"


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as tools:
        opened = tools.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(params=[1280, 390])
def page(browser, request):
    context = browser.new_context(viewport={"width": request.param, "height": 900}, accept_downloads=True)
    opened = context.new_page()
    opened.faults, opened.asked = [], []
    opened.on("pageerror", lambda error: opened.faults.append(str(error)))
    opened.on("console", lambda said: opened.faults.append(said.text) if said.type == "error" else None)
    opened.on("dialog", lambda dialog: opened.faults.append("a dialog"))
    opened.on("request", lambda asked: opened.asked.append(asked.url))
    yield opened
    context.close()


def named(page, by="Anna"):
    page.wait_for_selector("canvas")
    page.fill("#by", by)
    page.keyboard.press("Tab")
    playwright.expect(page.locator("#count")).to_contain_text("by you")
    idle(page)


def idle(page):
    """Wait until nothing is under way; the page's policy forbids what `wait_for_function` does."""
    for _ in range(400):
        if not page.evaluate("app.busy"):
            return
        time.sleep(0.05)
    raise AssertionError("the page is busy")


def press(page, key, said):
    page.keyboard.press(key)
    playwright.expect(page.locator("#status")).to_contain_text(said, timeout=20_000)
    idle(page)


def go_to(page, desk, kind, image):
    place = next(n for n, item in enumerate(desk.items) if (item.kind, item.image) == (kind, image))
    page.evaluate("place => app.alone(() => app.show(place))", place)
    idle(page)
    page.wait_for_selector("canvas")


def people(desk):
    return [d for d in read_decisions(desk.run.folder.decisions) if not d.by_policy]


def test_answers_drawing_and_undo_by_the_keyboard(page, desk):
    with serving(build_review(desk)) as port:
        address = f"http://127.0.0.1:{port}/"
        page.goto(address)
        named(page)
        press(page, "1", "Saved: A is right")
        go_to(page, desk, "uncertain", ODD)
        assert page.inner_text("#names") == ODD  # markup is text
        press(page, "e", "Draw on the picture")
        for key in ("Shift+ArrowRight", "Shift+ArrowRight", " "):
            page.keyboard.press(key)
        press(page, "Enter", "Saved: draw the mask")
        go_to(page, desk, "suspect", PLAIN)
        press(page, "i", "Saved: ignore")
        press(page, "u", "Taken back")
        assert page.inner_text("#count").startswith("2 of")
        assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]
        assert page.faults == []
        assert all(url.startswith((address, "data:", "blob:")) for url in page.asked)
    assert [d.action for d in people(desk)] == ["keep", "drop", "drawn_mask", "patch_mask", "ignore_region", "undo"]


def test_with_a_token(page, desk):
    with serving(build_review(desk, token=TOKEN)) as port:
        address = f"http://127.0.0.1:{port}/"
        page.goto(f"{address}?token={TOKEN}")
        named(page)
        assert TOKEN not in page.url
        press(page, "1", "Saved")
        assert page.faults == []


def test_from_disk_and_back(page, desk, tmp_path):
    write_static(desk, tmp_path / "review.html", most=5)
    page.goto((tmp_path / "review.html").as_uri())
    named(page)
    press(page, "2", "Saved: B is right")
    press(page, "u", "Taken back")
    press(page, "1", "Saved: A is right")
    page.reload()  # what was answered is kept
    playwright.expect(page.locator("#count")).to_contain_text("1 of 5")
    with page.expect_download() as download:
        page.click("#download")
    download.value.save_as(tmp_path / "answers.json")
    assert page.faults == []
    assert all(url.startswith(("file:", "data:", "blob:")) for url in page.asked)
    assert (
        len(json.loads((tmp_path / "answers.json").read_text())["replies"]) == 3
    )  # what was taken back, that, and what was said then
    assert import_replies(desk, tmp_path / "answers.json").taken == 1
    assert [d.action for d in people(desk)] == ["keep", "drop"]


@contextmanager
def commanded(folder, port=0):
    """The command itself, as its own process: yields its address, with the token, and the process."""
    words = [sys.executable, "-m", "maskwright", "review", str(folder.root), "--port", str(port)]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as process:
        try:
            said = next(line for line in process.stderr if "open http" in line)
            yield said.split("open ")[1].split()[0], process
        finally:
            process.kill()


def test_killed_in_the_middle_and_resumed(page, desk, folder):
    with commanded(folder) as (address, process):
        page.goto(address)
        named(page)
        press(page, "1", "Saved: A is right")
        process.kill()  # as kill -9
        process.wait()
        page.keyboard.press("x")
        playwright.expect(page.locator("#status.bad")).not_to_be_empty()  # it says that this isn't saved
        idle(page)
    before = [(d.image, d.action) for d in people(desk)]
    with commanded(folder) as (address, _):
        page.goto(address)
        named(page)
        playwright.expect(page.locator("#count")).to_contain_text("1 of")
        press(page, "x", "Saved")
    after = [(d.image, d.action) for d in people(desk)]
    assert len(before) == 2
    assert after[:2] == before
    assert len(after) > 2


def test_a_drawing_survives_the_server(page, desk, folder):
    """Killed while somebody draws; begun again on the same port, with another token, and opened in another tab."""
    with commanded(folder) as (address, process):
        page.goto(address)
        named(page)
        go_to(page, desk, "suspect", PLAIN)
        press(page, "e", "Draw on the picture")
        page.keyboard.press(" ")
        process.kill()
        process.wait()
        press(page, "Enter", "The server doesn’t answer, so nothing was saved. Start it again")
    with commanded(folder, urlsplit(address).port) as (again, _):
        press(page, "Enter", "with another token, so nothing was saved; open the address that it prints in another tab")
        with page.context.new_page() as other:
            other.goto(again)
            other.wait_for_selector("canvas")
        press(page, "Enter", "Saved: draw the mask")
    assert [d.action for d in people(desk)] == ["patch_mask"]


def test_what_would_throw_a_drawing_away_is_out_of_reach(page, desk):
    with serving(build_review(desk)) as port:
        address = f"http://127.0.0.1:{port}/"
        page.goto(address)
        named(page)
        go_to(page, desk, "uncertain", ODD)
        press(page, "e", "Draw on the picture")
        page.keyboard.press(" ")
        for name in ("back", "forward", "undo", "second", "by"):
            assert page.is_disabled(f"#{name}")
        assert "nothing" in page.inner_text("#draw-base")
        page.click("#draw-base")  # the strokes stay
        press(page, "Enter", "Saved: draw the mask")
        assert page.is_enabled("#back")
        assert page.faults == []
    (drawn,) = people(desk)
    assert (drawn.action, drawn.made_by) == ("patch_mask", "")


def test_what_was_not_seen_can_not_be_judged(page, desk):
    with serving(build_review(desk)) as port:
        address = f"http://127.0.0.1:{port}/"
        page.route("**/api/label/**", lambda route: route.abort())
        page.goto(address)
        page.wait_for_selector("text=This item can’t be shown.")
        page.fill("#by", "Anna")
        page.keyboard.press("Tab")
        idle(page)
        page.keyboard.press("1")
        playwright.expect(page.locator("#status")).to_contain_text("what wasn’t seen can’t be judged")
    assert people(desk) == []
