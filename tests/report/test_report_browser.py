"""The report in a real browser, from disk, by the keyboard alone; skipped where there is none."""

from __future__ import annotations

import shutil

import pytest

from maskwright.report.blocks import Group, Section, Table
from maskwright.report.page import render_page

playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="no browser")]


@pytest.fixture(params=[1280, 390])
def opened(full, request):
    with playwright.sync_playwright() as tools:
        browser = tools.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": request.param, "height": 900})
        page.faults, page.asked = [], []
        page.on("pageerror", lambda error: page.faults.append(str(error)))
        page.on("console", lambda said: page.faults.append(said.text) if said.type in ("error", "warning") else None)
        page.on("request", lambda asked: page.asked.append(asked.url))
        page.goto((full[0] / "predictions/report.html").as_uri())
        yield page
        assert page.faults == []
        assert [url for url in page.asked if not url.startswith("data:")] == [page.url.partition("#")[0]]
        browser.close()


def shown(page):
    """The captions of the pictures that are to be seen in the first strip that can be switched."""
    panels = page.locator(".switched").first.locator(".panel").all()
    return [panel.inner_text() for panel in panels if panel.is_visible()]


def test_pictures_switch_by_the_keyboard(opened):
    assert shown(opened) == ["image", "truth", "prediction", "errors"]
    opened.locator(".switched input[value=all]").first.focus()
    opened.keyboard.press("ArrowUp")
    assert shown(opened) == ["errors"]
    opened.keyboard.press("ArrowUp")
    assert shown(opened) == ["prediction"]
    opened.get_by_role("radio", name="truth").first.check()
    assert shown(opened) == ["truth"]
    opened.emulate_media(media="print")
    assert len(shown(opened)) == 4  # on paper nothing can be switched
    assert not opened.locator(".choices").first.is_visible()


def test_tables_sort_and_come_back(opened):
    opened.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    table = opened.locator("table:has(button.sort)", has_text="Categories in the labelled images")
    names = lambda: table.locator("tbody th").all_inner_texts()  # noqa: E731
    before = names()
    button = table.locator("button.sort").first
    button.focus()
    opened.keyboard.press("Enter")
    assert names() == sorted(before, key=str.casefold)
    assert table.locator("thead th").first.get_attribute("aria-sort") == "ascending"
    opened.keyboard.press("Enter")
    assert names() == sorted(before, key=str.casefold, reverse=True)
    opened.keyboard.press("Enter")
    assert names() == before


def test_numbers_sort_as_numbers(opened):
    table = opened.locator("table", has_text="Categories in the labelled images")
    opened.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    objects = table.locator("button.sort", has_text="objects")
    objects.click()  # 9, 1 234 with a thin space, 0
    assert table.locator("tbody th").all_inner_texts() == ["a/b & <i>", "ground", "rock"]
    objects.click()
    assert table.locator("tbody th").all_inner_texts() == ["rock", "ground", "a/b & <i>"]


def test_nothing_is_wider_than_the_screen(opened):
    assert opened.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


def test_a_column_without_a_name_has_no_button(tmp_path):
    """One that says nothing to a screen reader."""
    table = Table("Where", ("", "number"), [("a", "1"), ("b", "2"), ("c", "3")], frozenset({0}))
    (tmp_path / "page.html").write_text(
        render_page("Title", "Lead", "folder", [Section("one", "One", groups=[Group("group", tables=[table])])]),
        encoding="utf-8",
    )
    with playwright.sync_playwright() as tools:
        browser = tools.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        page.goto((tmp_path / "page.html").as_uri())
        assert page.locator("button.sort").all_text_contents() == ["number"]
        browser.close()
