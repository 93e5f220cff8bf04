"""The report as a page: it stands alone, its parts are linked, its pictures few and small."""

from __future__ import annotations

import base64
import hashlib
import itertools
import re
import time
from urllib.parse import unquote

import polars as pl

from make_report import (
    Page,
    bare,
    read_image,
    read_label,
    write,
    write_base,
    write_images,
    write_scores,
    write_stages,
)
from maskwright.report import write_report


class TestPage:
    def test_asks_nothing_of_any_network(self, full):
        run, text, page = full
        assert not re.search(r"(https?:)?//[a-z]", bare(text))
        for name, value in page.attributes:
            if name in {"src", "href", "xlink:href", "srcset", "action", "data"}:
                beside = name == "href" and (run / "predictions" / unquote(value)).is_file()  # a whole image
                assert value.startswith(("data:", "#")) or beside, (name, value)
        assert not {"link", "iframe", "object"} & set(page.tags)
        assert "@import" not in text
        assert "default-src 'none'" in text

    def test_the_only_script_is_the_one_that_its_policy_names(self, full):
        scripts = re.findall(r"<script>(.*?)</script>", full[1], re.DOTALL)
        assert len(scripts) == full[1].count("<script") == 1
        digest = base64.b64encode(hashlib.sha256(scripts[0].encode()).digest()).decode()
        assert f"script-src 'sha256-{digest}'\"" in full[1]
        assert not [name for name, _ in full[2].attributes if name.startswith("on")]

    def test_structure_is_usable_without_eyes(self, full):
        _, text, page = full
        levels = [level for level, _ in page.headings]
        assert levels[0] == 1
        assert levels.count(1) == 1
        assert all(b - a <= 1 for a, b in itertools.pairwise(levels))
        assert all(words.strip() for _, words in page.headings)
        assert page.images
        assert all(image.get("alt", "").strip() for image in page.images)
        assert len(page.ids) == len(set(page.ids))
        assert all("scope" in header for header in page.headers)
        assert page.tags.count("table") == page.tags.count("caption")
        assert {"header", "nav", "main", "footer"} <= set(page.tags)
        assert '<html lang="en">' in text

    def test_links_lead_somewhere(self, full):
        page = full[2]
        assert {v[1:] for n, v in page.attributes if n == "href" and v.startswith("#")} <= set(page.ids)

    def test_names_are_escaped(self, full):
        _, text, page = full
        assert "<b>.png" not in text
        assert "&lt;b&gt;.png" in text
        assert text.count("<script") == 1  # ours
        assert "<script>alert(1)</script>" in page.words
        assert "a/b & <i>" in page.words

    def test_is_written_whole_and_the_same_again(self, full):
        run, text, _ = full
        assert write(run)[0] == text
        assert [p.name for p in (run / "predictions").glob(".*")] == []

    def test_title(self, full):
        assert full[2].headings[0][1] == "data: what the run run found"
        assert write(full[0], title="<Mine>", thumbnails=0)[1].headings[0][1] == "<Mine>"


def test_a_thousand_images_stay_small_and_quick(tmp_path):
    """Bounds: 15 MB and 20 s; held here with a wide margin because the pictures are tiny."""
    root, run = tmp_path / "data", tmp_path / "run"
    one = write_images(root, tmp_path / "unused", count=2)[1]
    images = [(f"images/n{k}.png", f"masks/n{k}.png") for k in range(1000)]
    write_base(run, root, images)
    write_stages(run, images)
    found = [(images[k][0], "near_duplicate", "warning", images[k - 1][0], 0.99, "x" * 80, None) for k in range(1000)]
    columns = ["image", "kind", "severity", "other_image", "value", "detail", "decision"]
    pl.DataFrame(found, schema=columns, orient="row").write_parquet(run / "audit/findings.parquet")
    write_scores(run, images)
    start = time.perf_counter()
    path = write_report(
        run, read_image=lambda _: read_image(root / one[0]), read_label=lambda _: read_label(root / one[1])
    )
    assert time.perf_counter() - start < 20
    assert path.stat().st_size < 3_000_000
    page = Page(path.read_text(encoding="utf-8"))
    assert "Near duplicate, the first 20" in page.words
    assert "The audit has 1 000 findings" in page.words
