"""recipe.yaml in a run folder: what maskwright wrote is told from what somebody edited, also after a kill."""

from __future__ import annotations

import pytest

from maskwright.artifacts import RunFolder
from maskwright.errors import StaleArtifactError
from maskwright.pipeline.paths import absolute
from maskwright.pipeline.run import _check_edits, _write_recipe
from maskwright.recipe import Recipe, apply_settings
from maskwright.recipe.data import DataSpec


@pytest.fixture
def recipe(tmp_path):
    return absolute(Recipe(data=DataSpec(root=str(tmp_path))))


@pytest.mark.parametrize("place", range(3))
def test_killed_between_two_writes_the_same_command_goes_on(tmp_path, monkeypatch, recipe, place):
    folder, other = RunFolder(tmp_path / "run"), apply_settings(recipe, ["train.workers=3"])
    _write_recipe(folder, recipe, redo=True)
    first, done = folder.recipe.read_text(), []

    def killed(write):
        def slow(path, content):
            if len(done) == place:
                raise KeyboardInterrupt
            done.append(path)
            write(path, content)

        return slow

    with monkeypatch.context() as patch:
        module = _write_recipe.__globals__  # the package's own name `run` is the function
        for name in ("write_json", "write_text"):
            patch.setitem(module, name, killed(module[name]))
        with pytest.raises(KeyboardInterrupt):
            _write_recipe(folder, other, redo=True)
    _check_edits(folder, other, redo=False)
    _write_recipe(folder, other, redo=True)
    _check_edits(folder, other, redo=False)
    folder.recipe.write_text(first)  # somebody puts the one before back
    with pytest.raises(StaleArtifactError, match="edited since"):
        _check_edits(folder, other, redo=False)
