"""What the command says where images without masks have one prediction each."""

import shutil

from maskwright.cli import main

SAID = "selftrain --method pseudo_labels"


def said(folder, capsys, *words):
    assert main(["review", str(folder.root), "--port", "0", "--check", *words]) == 0
    return " ".join(capsys.readouterr().err.split())


def test_it_says_what_keeps_two(folder, capsys):
    assert SAID not in said(folder, capsys)
    shutil.rmtree(folder.root / "round-1")
    assert SAID in said(folder, capsys)
    assert SAID not in said(folder, capsys, "--agreement")
    shutil.rmtree(folder.predictions / "labels")  # nothing is asked of the pool
    assert SAID not in said(folder, capsys)
