"""Every code block of README.md and docs/*.md runs; what coverage.md claims to be there is there.

The blocks of a page run in order, in one namespace and one temporary folder that holds `mydata/` (a tiny playground
whose meta.csv has a column `patient`), `FOLDER/` (the same) and `new_images/`.

- `python` blocks are executed. `console` lines that begin with `$ maskwright` go through the command line and must
  return 0, or what a comment such as `# exit 2` says. `$ pip install` is checked against pyproject.toml only: nothing
  is installed here. Of `yaml` blocks each must be part of a valid recipe, of `json` blocks each must parse.
- The pages are written for users, so they state budgets in minutes and the usual number of folds. Here whatever trains
  is made small without their knowing: the pipeline gets the settings of `TINY` on top of the page's own and at most two
  folds, and `make_playground` makes sixteen small images.
- Pages that train are marked slow.
"""

from __future__ import annotations

import functools
import json
import re
import shlex
import shutil
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

import maskwright.data.synthetic
import maskwright.pipeline
from maskwright.cli import build_app, main
from maskwright.data.synthetic import make_playground
from maskwright.recipe import Recipe, apply_settings
from maskwright.recipe.file import parse_recipe
from maskwright.recipe.model import UNetSpec

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^( *)(```+)\{?([\w-]*)\}?[^\n]*\n(.*?)^\1\2 *$", re.MULTILINE | re.DOTALL)
TRAINS = re.compile(r"\bmaskwright (run|train|demo|selftrain|curve)\b(?! *# exit)|\bmaskwright\.run\(")
TINY = (
    "train.minutes=null",
    "train.steps=2",
    "train.validate_every=1",
    "train.batch=2",
    "train.threads=1",
    "train.precision=float32",
    "train.channels_last=false",
    "evaluate.samples=100",
    "postprocess.search=[{kind: threshold, value: 0.4}]",
    "report.thumbnails=1",
)
OTHER_LANGUAGES = {
    "text",
    "toctree",
    "eval-rst",
    "recipe-fields",
    "recipe-default",
    "command-help",
    "benchmark-results",
}


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text without the fence's indent, the line it begins at."""

    language: str
    text: str
    line: int


def blocks_of(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [
        Block(m[3], re.sub(f"^{m[1]}", "", m[4], flags=re.MULTILINE), text.count("\n", 0, m.start()) + 1)
        for m in BLOCK.finditer(text)
    ]


def commands_of(block: Block) -> list[tuple[list[str], int]]:
    """Return (words, expected exit code) of every command in a console block, `&&` taken apart."""
    found = []
    for line in re.sub(r"\\\n\s*", " ", block.text).splitlines():
        if not line.startswith("$ "):
            continue  # output
        code = re.search(r"# exit (\d+)\s*$", line)
        expected = int(code[1]) if code else 0
        found += [(shlex.split(part, comments=True), expected) for part in line[2:].split(" && ")]
    return found


def page_of(page: Path) -> object:
    runs = "\n".join(block.text for block in blocks_of(page) if block.language in ("python", "console"))
    return pytest.param(page, id=page.name, marks=[pytest.mark.slow] if TRAINS.search(runs) else [])


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with the data that the pages speak of, and a pipeline that trains next to nothing."""
    small = functools.partial(make_playground, labelled=16, unlabelled=2, size=(32, 48))
    small(tmp_path / "mydata")
    meta = tmp_path / "mydata" / "meta.csv"
    meta.write_text(meta.read_text(encoding="utf-8").replace("scene,", "patient,", 1), encoding="utf-8")
    shutil.copytree(tmp_path / "mydata", tmp_path / "FOLDER")
    shutil.copytree(tmp_path / "mydata" / "unlabeled", tmp_path / "new_images")
    full = maskwright.pipeline.run

    def tiny(recipe, *arguments, **options):
        few = [] if recipe.split.folds > 20 else [f"split.folds={min(recipe.split.folds, 2)}"]
        few += ["model.encoder=resnet10t"] if recipe.model == UNetSpec() else []
        few += ["data.task=semantic"] if recipe.data.task == "auto" else []  # the pages' own data has no instance maps
        return full(apply_settings(recipe, [*TINY, *few]), *arguments, **options)

    monkeypatch.setattr(maskwright.pipeline, "run", tiny)
    monkeypatch.setattr(
        maskwright.data.synthetic,
        "make_playground",
        lambda path, **options: make_playground(path, **(options | small.keywords)),
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.timeout(900)
@pytest.mark.parametrize("page", [page_of(page) for page in PAGES])
def test_page(page, folder, capsys):
    namespace = {"__name__": "page"}
    for block in blocks_of(page):
        where = f"{page.name}:{block.line}"
        if block.language == "python":
            source = "\n" * block.line + block.text  # so that a traceback shows the page's own lines
            exec(compile(source, str(page), "exec"), namespace)
        elif block.language == "console":
            for words, code in commands_of(block):
                run_command(words, code, where, capsys)
        elif block.language == "yaml":
            tree = yaml.safe_load(block.text)
            tree["data"] = {"root": "mydata"} | tree.get("data", {})
            parse_recipe(tree, where=where)
        elif block.language == "json":
            json.loads(block.text)
        else:
            assert block.language in OTHER_LANGUAGES, f"{where}: a block that no test understands: {block.language}"


def run_command(words, code, where, capsys):
    if words[0] == "maskwright":
        capsys.readouterr()
        assert main(words[1:]) == code, f"{where}: {shlex.join(words)}\n{capsys.readouterr().err}"
    elif words[:2] == ["pip", "install"]:
        check_install(words[2:], where)
    else:
        assert words == ["pytest"], f"{where}: a command that no test understands: {shlex.join(words)}"


def check_install(words, where):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for word in words:
        extras = re.fullmatch(r"(?:\.|maskwright)(?:\[([\w,-]+)\])?", word)
        assert word == "-e" or extras, f"{where}: pip install {word}"
        if extras and extras[1]:
            assert set(extras[1].split(",")) <= set(project["optional-dependencies"]), f"{where}: extras of {word}"


ENDLESS = ("serve",)
"""Commands that answer until they are stopped; tests of their own start and stop them."""


def test_every_command_is_documented():
    names = {name for name in build_app() if not name.startswith("-")}
    pages = {page.stem: page.read_text(encoding="utf-8") for page in (ROOT / "docs" / "commands").glob("*.md")}
    assert names == set(pages)
    for name, text in pages.items():
        assert f"{{command-help}} {name}\n" in text
        if name in ENDLESS:
            continue
        assert re.search(rf"^\$ maskwright {name}\b(?!.*# exit)", text, re.MULTILINE), (
            f"{name} has no example that runs"
        )


def coverage():
    """Return the cells of the rows of the first table of coverage.md."""
    lines = (ROOT / "docs" / "coverage.md").read_text(encoding="utf-8").splitlines()
    table = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines if re.match(r"\| \d", line)]
    assert table
    return table


@pytest.mark.parametrize("row", coverage(), ids=lambda row: row[0])
def test_coverage_names_what_is_there(row):
    _, _, how, proof = row
    tree = {"data": {"root": "."}}
    for text in re.findall(r"`([a-z_.]+: [^`]+)`", how):  # `section.field: value`, as YAML
        key, value = text.split(": ", 1)
        section, dot, field = key.partition(".")
        where = tree.setdefault(section, {}) if dot else tree
        where[field or section] = yaml.safe_load(value)
    if "model" in tree:
        tree["model"].setdefault("kind", "unet")
    recipe = parse_recipe(tree, where=f"coverage.md, row {row[0]}")
    commands = set(re.findall(r"`maskwright (\w+)", how))
    assert commands <= set(build_app())
    assert commands or recipe != Recipe.model_validate({"data": {"root": "."}}) or "**partly**" in how
    tests = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", proof)
    assert tests
    for path, name in tests:
        assert re.search(rf"def {name}\(", (ROOT / path).read_text(encoding="utf-8")), f"{path} has no {name}"
