"""What is noted of how a run was made: the first command stays."""

import pytest

from maskwright.artifacts import RunFolder, read_json
from maskwright.pipeline.made import note_made

FIRST = "maskwright run --data teeth --out runs/teeth"


def noted(folder):
    note = read_json(folder.root / "run.json")
    return note["command"], note["later"]


@pytest.mark.parametrize(
    ("command", "later"),
    [
        (FIRST, []),
        (f"{FIRST} --redo", []),
        (None, []),
        ("maskwright run --recipe {run}/recipe.yaml --out {run} --redo", []),  # as the review says
        ("maskwright run --recipe={run}/recipe.yaml --out {run} --redo", []),
        (f"{FIRST} --folds 3 --redo", [f"{FIRST} --folds 3 --redo"]),
        (
            "maskwright run --recipe {run}/recipe.yaml --out {run} --set seed=2",
            ["maskwright run --recipe {run}/recipe.yaml --out {run} --set seed=2"],
        ),
        (
            "maskwright run --recipe other/recipe.yaml --out {run}",
            ["maskwright run --recipe other/recipe.yaml --out {run}"],
        ),
    ],
)
def test_the_first_command_stays_and_those_that_change_something_follow(tmp_path, command, later):
    folder = RunFolder(tmp_path)
    note_made(folder, {"train": 2.0}, FIRST)
    for _ in range(2):
        note_made(folder, {"evaluate": 1.0}, command and command.format(run=tmp_path))
    assert noted(folder) == (FIRST, [entry.format(run=tmp_path) for entry in later])
    assert read_json(tmp_path / "run.json")["seconds"] == {"train": 2.0, "evaluate": 1.0}


def test_where_nothing_ran_nothing_is_noted(tmp_path):
    folder = RunFolder(tmp_path)
    note_made(folder, {"train": 2.0}, FIRST)
    note_made(folder, {}, f"{FIRST} --folds 3")
    assert noted(folder) == (FIRST, [])
