"""The audit's tables of all images together, as the report shows them: made by the audit of a playground."""

from types import SimpleNamespace

import polars as pl
import pytest

from maskwright.audit import audit_index
from maskwright.data.index import build_index
from maskwright.data.synthetic import make_playground
from maskwright.recipe.data import AuditSpec, DataSpec
from maskwright.report.overview import distance_plot, objects_plot, overview_groups, sizes_plot


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory):
    root = tmp_path_factory.mktemp("playground")
    make_playground(root, labelled=32, unlabelled=8, size=(48, 64))
    index, _, _ = build_index(DataSpec(root=str(root), domain="kind", label_source="kind"))
    found = audit_index(index, AuditSpec(pictures=False))
    return SimpleNamespace(overview=found.tables, categories=index.categories)


def test_every_table_becomes_a_group(artifacts):
    groups = {group.title: group for group in overview_groups(artifacts)}
    assert list(groups) == [
        "Images unlike the others", "Objects", "Area ratios", "Parts and domains", "Styles of label sources",
    ]  # fmt: skip
    beyond = artifacts.overview["outliers"].filter("flagged").height
    assert f"{beyond} image" in groups["Images unlike the others"].words[0]
    table = groups["Area ratios"].tables[0]
    assert len(table.head) == len(table.rows[0]) == 9  # name, none, seven bins
    counts = [sum(int(cell) for cell in row[1:]) for row in table.rows]
    assert counts == [32] * len(artifacts.categories)  # each labelled image is in one bin of each category
    assert [row[0] for row in groups["Parts and domains"].tables[0].rows][:3] == [
        "all", "labels: labelled", "labels: unlabelled",
    ]  # fmt: skip


def test_what_is_not_there_is_left_out(artifacts):
    assert overview_groups(SimpleNamespace(overview={}, categories=artifacts.categories)) == []
    empty = {name: table.clear() for name, table in artifacts.overview.items()}
    assert overview_groups(SimpleNamespace(overview=empty, categories=artifacts.categories)) == []
    assert objects_plot(empty["objects"]) is None and sizes_plot(empty["sizes"]) is None


def test_charts_say_what_they_show(artifacts):
    drawn = distance_plot(artifacts.overview["outliers"])
    assert drawn is not None and "Distances of 40 images" in drawn
    unranked = artifacts.overview["outliers"].with_columns(mahalanobis=pl.lit(None, pl.Float64))
    assert distance_plot(unranked) is None
    assert "Objects an image: median" in (objects_plot(artifacts.overview["objects"]) or "")
    assert "background" not in (sizes_plot(artifacts.overview["sizes"]) or "background")
