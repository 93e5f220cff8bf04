"""The Dockerfile installs what is needed to serve an export, with the bounds of pyproject.toml, and not more."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

from make_export import without

ROOT = Path(__file__).parents[2]
MODULES = {
    "opencv-python-headless": "cv2",
    "pillow": "PIL",
    "scikit-learn": "sklearn",
    "PyYAML": "yaml",
    "segmentation-models-pytorch": "segmentation_models_pytorch",
    "huggingface-hub": "huggingface_hub",
    "python-multipart": "python_multipart",
}
"""Packages whose module has another name."""
SERVE = """
from pathlib import Path
import maskwright.cli.serve
from maskwright.data.images import read_image
from maskwright.export.runner import Runner
from maskwright.export.service import build_service
runner = Runner(Path(sys.argv[1]))
build_service(runner)
assert runner.label(read_image(Path(sys.argv[2]))).shape == (40, 50)
code = 0
"""


def bounds(lines):
    found = (re.match(r"([\w-]+)([<>=!].*)?", line) for line in lines)
    return {match[1]: match[2] or "" for match in found if match}


def test_what_it_installs_is_enough_and_has_the_bounds_of_the_project(export, images):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    known = bounds([*project["dependencies"], *extras["export"], *extras["serve"]])
    installed = bounds(re.findall(r'^    "([^"]+)"', (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE))
    assert installed.items() <= known.items()
    others = [MODULES.get(name, name) for name in known if name not in installed]
    assert "torch" in others
    words = [sys.executable, "-c", without(others, SERVE), str(export), str(images / "a.png")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_it_runs_as_nobody_special_and_looks_after_its_health():
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert "USER 10001" in text
    assert "/health" in text
