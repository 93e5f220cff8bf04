"""What was taken for granted when a folder was read is said by the audit, as by convert."""

from __future__ import annotations

import numpy as np
from PIL import Image

import bad_folders as bad
from maskwright.artifacts import RunFolder, read_table
from maskwright.cli import main
from maskwright.data.formats.voc import palette


def voc_folder(root):
    """A VOC export without labelmap.txt: the names of the classes are those of the challenge, by the palette."""
    for number in range(4):
        bad.put(root / "JPEGImages" / f"i{number}.png", bad.picture(number))
        mask = Image.fromarray(np.pad(np.full((8, 8), 15, np.uint8), ((4, 12), (6, 18))))
        mask.putpalette(np.asarray(palette(), np.uint8).ravel().tolist())
        (root / "SegmentationClass").mkdir(exist_ok=True)
        mask.save(root / "SegmentationClass" / f"i{number}.png")
    return root


def test_guessed_names_are_said_by_the_audit_and_kept_as_a_finding(tmp_path, capsys):
    data, out = voc_folder(tmp_path / "data"), tmp_path / "run"
    command = ["audit", "--data", str(data), "--out", str(out), "--set", "audit.pictures=false"]
    for _ in range(2):  # also where nothing is left to be done
        assert main(command) == 0
        assert "note: no labelmap.txt" in capsys.readouterr().err
    notes = read_table(RunFolder(out).findings).filter(
        read_table(RunFolder(out).findings)["kind"] == "taken_for_granted"
    )
    assert notes["severity"].to_list() == ["note"]
