"""What is printed of folds: a row each, categories as columns, the largest departure marked, leaks counted."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from maskwright.cli import main
from maskwright.cli.folds import print_folds
from maskwright.cli.run import print_scores


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")


def certificate(shares, overall, **more):
    rows = [
        {"fold": fold, "images": 4, "groups": 3, "pixel_shares": dict(zip(overall, values, strict=True))}
        for fold, values in shares.items()
    ]
    total = {"images": 4 * len(rows), "groups": 3 * len(rows), "pixel_shares": overall, "families": {}, "moved": []}
    return total | {"per_fold": rows} | more


def printed(capsys, found):
    print_folds(found)
    lines = capsys.readouterr().err.splitlines()
    return [[cell.strip() for cell in line.replace("┃", "│").strip("│").split("│")] for line in lines]


def test_the_fold_that_departs_most_is_marked_in_each_column(capsys):
    shares = {-1: (0.55, 0.2, 0.1), 0: (0.3, 0.41, 0.1), 1: (0.4, 0.25, 0.1004)}
    rows = printed(capsys, certificate(shares, {"sky": 0.4, "road": 0.3, "car": 0.1}))
    # sky: 0.55 is farthest from 0.4; road: 0.41 from 0.3; car: 0.04 points are nothing
    assert ["fold", "images", "groups", "sky", "road", "car"] in rows
    assert ["0", "4", "3", "30.0%", "41.0% ▲", "10.0%"] in rows
    assert ["1", "4", "3", "40.0%", "25.0%", "10.0%"] in rows
    assert ["all", "12", "9", "40.0%", "30.0%", "10.0%"] in rows
    assert ["held out", "4", "3", "55.0% ▲", "20.0%", "10.0%"] in rows


def test_of_two_categories_the_second_is_shown_and_of_many_the_least_even(capsys):
    two = printed(capsys, certificate({0: (0.9, 0.1), 1: (0.8, 0.2)}, {"background": 0.85, "tooth": 0.15}))
    assert ["fold", "images", "groups", "tooth"] in two
    overall = {f"c{k}": 0.1 for k in range(10)}
    shares = {0: [0.1 + 0.005 * k for k in range(10)], 1: [0.1 - 0.005 * k for k in range(10)]}
    many = printed(capsys, certificate(shares, overall))
    assert ["fold", "images", "groups", *(f"c{k}" for k in range(2, 10))] in many
    assert "2 more evenly spread categories are not shown" in many[0][0]


def test_leaks_are_listed_and_those_across_a_border_called_so(capsys):
    leaks = {"leak_group": {"found": 3, "together": 1, "apart": 2, "outside": 0}}
    rows = printed(capsys, certificate({0: (0.1,), 1: (0.1,)}, {"rock": 0.1}, leaks=leaks))
    assert ["leak_group", "3", "1", "2", "0"] in rows
    assert any("scores there are too good" in row[0] for row in rows)
    leaks["leak_group"] |= {"apart": 0, "together": 3}
    rows = printed(capsys, certificate({0: (0.1,), 1: (0.1,)}, {"rock": 0.1}, leaks=leaks))
    assert not any("too good" in row[0] for row in rows)


def test_domains_are_scored_in_a_table_of_their_own(capsys):
    def score(value, n):
        return {"value": value, "low": value - 0.1, "high": value + 0.1, "n": n, "definition": ""}

    scores = {f"{part}mean_dice": score(0.7, 9) for part in ("", "oof/", "holdout/")}
    for part, name, value, n in (("oof", "day", 0.8, 5), ("oof", "dusk=2", 0.4, 4), ("holdout", "day", 0.5, 2)):
        scores |= {f"{part}/{metric}@domain={name}": score(value, n) for metric in ("mean_dice", "pooled_miou")}
    assert print_scores(scores)
    rows = [[cell.strip() for cell in line.strip("│").split("│")] for line in capsys.readouterr().err.splitlines()]
    day, held = "0.800 [0.700, 0.900]", "0.500 [0.400, 0.600]"
    assert ["mean_dice", "0.700 [0.600, 0.800]", "0.700 [0.600, 0.800]"] in rows
    assert ["domain: day", "5 + 2", day, day, held, held] in rows
    assert ["domain: dusk=2", "4", *["0.400 [0.300, 0.500]"] * 2, "–", "–"] in rows
    assert not print_scores({})


@pytest.fixture
def parts(tmp_path):
    """Four pairs in train, two in val; one of these is a copy of one in train."""
    for k in range(6):
        part = "train" if k < 4 else "val"
        for folder in ("images", "masks"):
            (tmp_path / "data" / folder / part).mkdir(parents=True, exist_ok=True)
        values = np.random.default_rng(k).integers(0, 255, (32, 32), np.uint8)
        Image.fromarray(values).save(tmp_path / "data" / "images" / part / f"i{k}.png")
        Image.fromarray((values > 90 + 9 * k).astype(np.uint8)).save(tmp_path / "data" / "masks" / part / f"i{k}.png")
    for folder in ("images", "masks"):
        root = tmp_path / "data" / folder
        shutil.copyfile(root / "train" / "i0.png", root / "val" / "copy.png")
    return tmp_path / "data"


@pytest.mark.parametrize(
    ("setting", "where"), [("split.use_parts=false", "together"), ("split.allow_crossing=true", "apart")]
)
def test_the_certificate_says_where_the_leaks_of_given_parts_went(capsys, tmp_path, parts, setting, where):
    words = ["split", "--data", parts, "--out", tmp_path / "run", "--folds", "2", "--json", "--set", setting]
    assert main([str(w) for w in words] + ["--set", "audit.pictures=false"]) == 0
    out, err = capsys.readouterr()
    expected = {"found": 1, "together": 0, "apart": 0, "outside": 0} | {where: 1}
    assert json.loads(out)["leaks"] == {"leak_duplicate": expected}
    assert ("scores there are too good" in err) == (where == "apart")
