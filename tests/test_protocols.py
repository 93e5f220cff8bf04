"""What the command that trains by all protocols refuses before anything is trained, and how it shares what it has."""

from pathlib import Path

import pytest

from maskwright.artifacts import RunFolder, write_json, write_text
from maskwright.errors import DataError, RecipeError, UsageError
from maskwright.pipeline.protocols import run_protocols
from maskwright.recipe import Recipe, dump_recipe
from maskwright.recipe.data import DataSpec
from maskwright.recipe.edit import apply_settings
from maskwright.tasks import lock


def recipe(*settings):
    return apply_settings(Recipe(data=DataSpec(root="data")), ["selftrain.rounds=1", *settings])


@pytest.mark.parametrize(
    ("setting", "error", "told"),
    [
        ('selftrain.method={"kind": "fixmatch"}', RecipeError, "pretrain_finetune is one of pseudo_labels"),
        ("selftrain.rounds=0", UsageError, "at least one round"),
    ],
)
def test_nothing_is_trained_where_a_protocol_cannot_be(tmp_path, setting, error, told):
    with pytest.raises(error, match=told):
        run_protocols(recipe(setting), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def without_training(monkeypatch, folder, why=None):
    """Let the command go through its runs without any; return {what each was: its recipe}, and when all is locked."""
    seen, locked = {}, []

    def run(recipe, out, *, until, **options):
        out = Path(out)
        out.mkdir(parents=True, exist_ok=True)
        seen[out.name if out != folder else f"base until {until}"] = recipe
        if until == "selftrain":
            with pytest.raises(UsageError, match="another process"), lock(folder):
                pass
            locked.append(out.name)
            write_json(out / "round-1" / "adopt.json", {"images": [{"fold": 0, "pool": 3, "used": 2}]})
        else:
            write_text(out / "recipe.yaml", dump_recipe(recipe))
        return RunFolder(out)

    monkeypatch.setattr("maskwright.pipeline.run", run)
    monkeypatch.setattr("maskwright.pipeline.protocols.all_strangers", lambda base, recipe: why)
    monkeypatch.setattr("maskwright.pipeline.protocols._scores", lambda *_: {})
    monkeypatch.setattr("maskwright.pipeline.protocols._statistics", lambda *_: [])
    monkeypatch.setattr("maskwright.pipeline.protocols._share_labels", lambda *_: None)
    return seen, locked


def test_the_supervised_run_is_held_until_all_protocols_are_done_and_the_budget_is_one(tmp_path, monkeypatch):
    out = tmp_path / "run"
    seen, locked = without_training(monkeypatch, out)
    asked = recipe("train.minutes=10", "selftrain.rounds=2")
    found = run_protocols(asked, out)
    assert list(found) == ["labelled_only", *locked]
    assert found["mixed"]["images"] == [{"fold": 0, "pool": 3, "used": 2}]
    assert all(not seen[name].predict.pool for name in locked)
    assert locked == ["mixed", "pretrain_finetune", "pretrain_mixed"]
    base = seen["base until predict"]
    assert base.train.minutes == pytest.approx(
        10 * (1 + 2) / (1 + 3 * 2), abs=1e-3
    )  # 1 supervised training, 3 × 2 rounds
    assert (base.selftrain.adopt, seen["mixed"].selftrain.adopt) == ("gain", "always")


def test_a_pool_of_strangers_is_told_before_anything_is_trained(tmp_path, monkeypatch):
    seen, _ = without_training(monkeypatch, tmp_path / "run", why="all are strangers")
    with pytest.raises(DataError, match=r"all are strangers(.|\n)*aliens=keep"):
        run_protocols(recipe(), tmp_path / "run")
    assert list(seen) == ["base until plan"]


def test_checkpoints_that_agree_are_those_of_one_training():
    with pytest.raises(RecipeError, match="rank by ensemble or estimated_iou"):
        recipe('selftrain.method={"kind": "pseudo_labels", "images": {"kind": "agreement"}, "fused_with": ["other"]}')
