"""What the report says of masks that people made of predictions."""

import polars as pl
import pytest

from make_report import make_run, write
from maskwright.artifacts import DECIDED, RunFolder, write_table
from maskwright.decisions import LOG, Decision, append_decisions


@pytest.mark.parametrize(
    ("count", "said"), [(0, None), (1, "1 mask began with a prediction"), (2, "2 masks began with a prediction")]
)
def test_masks_that_began_with_a_prediction_are_counted(tmp_path, count, said):
    """Those that the run learned from: not those that were said since, nor taken back, nor drawn on nothing."""
    run = make_run(tmp_path)
    names = [f"unlabeled/{k}.png" for k in range(5)]
    shared = {"action": "drawn_mask", "by": "Anna", "file": "review/masks/m.png"}
    lines = [Decision(image=name, begun_with="prediction, round 0, all folds", id=name, **shared) for name in names[:4]]
    gone = [Decision(image=name, action="undo", by="Anna", id=name) for name in names[count:2]]
    append_decisions(run / LOG, [*lines, *gone, Decision(image=names[4], **shared)])
    masks = [f"{DECIDED}masks/{k}.png" for k in range(2)] + [None, "masks/3.png", f"{DECIDED}masks/4.png"]
    write_table(RunFolder(run).decided / "images.parquet", pl.DataFrame({"image": names, "mask": masks}))
    words = write(run)[1].words
    assert (said in words) if said else ("began with a prediction" not in words)
    (run / LOG).write_text("{")
    assert "began with a prediction" not in write(run)[1].words
