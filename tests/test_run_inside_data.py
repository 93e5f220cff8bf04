"""A run folder that lies in the data folder is no data, from its first second on."""

from __future__ import annotations

import json

import pytest

import bad_folders as bad
from maskwright.cli import main


@pytest.mark.parametrize("out", ["run", "runs/a"])
def test_the_same_command_finds_everything_done(tmp_path, out):
    """A COCO folder is read whole, whatever its folders are called."""
    for name in ("g0", "g1"):
        bad.put(tmp_path / "images" / f"{name}.png", bad.picture(int(name[1])))
    tree = json.loads(bad.coco(item={"segmentation": [[2, 3, 12, 3, 12, 9, 2, 9]]}))
    first, item = tree["images"][0], tree["annotations"][0]
    tree["images"] = [first, first | {"id": first["id"] + 1, "file_name": "g1.png"}]
    tree["annotations"].append(item | {"id": item["id"] + 1, "image_id": first["id"] + 1})
    (tmp_path / "c.json").write_text(json.dumps(tree))
    command = ["audit", "--data", str(tmp_path), "--out", str(tmp_path / out), "--set", "audit.pictures=false"]
    assert main(command) == 0
    made = (tmp_path / out / "index.parquet").stat().st_mtime_ns
    assert main(command) == 0
    assert (tmp_path / out / "index.parquet").stat().st_mtime_ns == made
