"""Run folders to review: one is made for all tests, each gets a copy."""

import shutil

import pytest

from make_review import review_folder, reviewed
from maskwright.artifacts import RunFolder
from maskwright.review import Desk, build_queue


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    return review_folder(tmp_path_factory.mktemp("review"))


@pytest.fixture
def folder(made, tmp_path):
    shutil.copytree(made.root, tmp_path / "run", symlinks=True)
    return RunFolder(tmp_path / "run")


@pytest.fixture
def desk(folder):
    run = reviewed(folder)
    return Desk(run, build_queue(run))
