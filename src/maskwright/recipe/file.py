"""Recipes on disk: YAML in, YAML out, JSON Schema for editors. All errors of a file are shown at once."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from maskwright.errors import RecipeError, problem
from maskwright.recipe.faults import faults_of
from maskwright.recipe.recipe import Recipe

_MOST_BYTES, _MOST_NODES = 1 << 24, 1_000_000


def load_recipe(path: str | Path) -> Recipe:
    """Read a recipe.

    Raises:
        RecipeError: the file is missing, not YAML, so large that it can be no recipe (as written, or with its anchors
            written out), or any of its fields is wrong; lists all of them.
    """
    path = Path(path)
    if not path.is_file():
        raise RecipeError(
            problem("a recipe file", "nothing", where=str(path), next_move="check the path, or use --data FOLDER")
        )
    if path.stat().st_size > _MOST_BYTES:
        got = f"{path.stat().st_size / 1e6:.0f} MB"
        raise RecipeError(problem("a recipe of a few pages", got, where=str(path), next_move="check the path"))
    try:
        return _read(path.read_text(encoding="utf-8"), str(path)).model_copy(deep=True)
    except _ExplodingError as error:
        next_move = "write out what the anchors stand for; if the file isn't yours, don't use it"
        raise RecipeError(
            problem("a recipe of a few pages", str(error), where=str(path), next_move=next_move)
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RecipeError(problem("YAML", str(error), where=str(path), next_move="mend the line named above")) from None


@functools.lru_cache(maxsize=4)
def _read(text: str, where: str) -> Recipe:
    """Return the recipe of a text, which every stage of a run reads again."""
    tree = yaml.load(text, Loader=_Loader)
    if not isinstance(tree, dict):
        raise RecipeError(problem("a mapping", type(tree).__name__, where=where, next_move="see `maskwright schema`"))
    return parse_recipe(tree, where=where)


def parse_recipe(tree: dict[str, Any], *, where: str) -> Recipe:
    """Return the recipe of a plain tree; `where` names its origin in error messages."""
    if faults := faults_of(tree):
        raise faults_found(faults, where=where)
    return Recipe.model_validate(tree)


def faults_found(faults: Sequence[str], *, where: str) -> RecipeError:
    """Return the error that lists every fault of a recipe."""
    listed = "".join(f"\n    {line}" for line in faults)
    return RecipeError(
        problem(
            "a valid recipe",
            f"{len(faults)} fault(s):{listed}",
            where=where,
            next_move="mend what is listed; `maskwright schema` describes every field",
        )
    )


def dump_recipe(recipe: Recipe) -> str:
    """Return the recipe as YAML, complete and in order."""
    tree = recipe.model_dump(mode="json")
    body = yaml.dump(tree, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)
    return "# maskwright recipe: complete; edit and run with `maskwright run --recipe FILE --out NEW_FOLDER`\n" + body


def recipe_schema() -> dict[str, Any]:
    """Return the JSON Schema of recipes."""
    schema = Recipe.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    return schema


class _ExplodingError(yaml.YAMLError):
    """YAML that can be read, but is made to fill the memory."""


class _Loader(yaml.SafeLoader):
    """SafeLoader that also reads `1e-3` as a number, as every user means it, and refuses anchors that explode."""

    def get_single_node(self) -> yaml.Node | None:
        """Return the document's node; its size with all anchors written out is known before that is done."""
        try:
            node: yaml.Node | None = super().get_single_node()
            size = 0 if node is None else _written_out(node, {})
        except RecursionError:
            raise _ExplodingError("one that is nested too deeply") from None
        if size > _MOST_NODES:
            raise _ExplodingError(f"one whose anchors, written out, are more than {_MOST_NODES} values")
        return node


def _written_out(node: yaml.Node, known: dict[int, float]) -> float:
    """Return how many nodes a node is if each alias is replaced by what it stands for; infinite if it holds itself."""
    if isinstance(node, yaml.ScalarNode):
        return 1
    if id(node) not in known:
        known[id(node)] = float("inf")
        parts = [part for pair in node.value for part in pair] if isinstance(node, yaml.MappingNode) else node.value
        known[id(node)] = 1 + sum(_written_out(part, known) for part in parts)
    return known[id(node)]


_Loader.yaml_implicit_resolvers = {
    key: [item for item in resolvers if item[0] != "tag:yaml.org,2002:float"]
    for key, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d[\d_]*\.[\d_]*|\.\d[\d_]*|\d[\d_]*)([eE][-+]?\d+)?$|^[-+]?\.(inf|Inf)$|^\.nan$"),
    list("-+0123456789."),
)


class _Dumper(yaml.SafeDumper):
    """Mappings as blocks, lists of plain values on one line."""


def _represent_list(dumper: yaml.SafeDumper, values: list[Any]) -> yaml.Node:
    plain = not any(isinstance(v, dict | list) for v in values)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", values, flow_style=plain)


_Dumper.add_representer(list, _represent_list)
