"""Recipes on disk: YAML in, YAML out, JSON Schema for editors. All errors of a file are shown at once."""

from __future__ import annotations

import difflib
import re
import types
import typing
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from maskwright.errors import RecipeError, problem
from maskwright.recipe.recipe import Recipe


def load_recipe(path: str | Path) -> Recipe:
    """Read a recipe.

    Raises:
        RecipeError: the file is missing, not YAML, or any of its fields is wrong; lists all of them.
    """
    path = Path(path)
    if not path.is_file():
        raise RecipeError(
            problem("a recipe file", "nothing", where=str(path), next_move="check the path, or use --data FOLDER")
        )
    try:
        tree = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RecipeError(problem("YAML", str(error), where=str(path), next_move="mend the line named above")) from None
    if not isinstance(tree, dict):
        raise RecipeError(
            problem("a mapping", type(tree).__name__, where=str(path), next_move="see `maskwright schema`")
        )
    return parse_recipe(tree, where=str(path))


def parse_recipe(tree: dict[str, Any], *, where: str) -> Recipe:
    """Return the recipe of a plain tree; `where` names its origin in error messages."""
    try:
        return Recipe.model_validate(tree)
    except ValidationError as error:
        lines = [_explain(item) for item in error.errors()]
        raise RecipeError(f"{len(lines)} fault(s) in the recipe ({where}):\n" + "\n".join(lines)) from None


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


class _Loader(yaml.SafeLoader):
    """SafeLoader that also reads `1e-3` as a number, as every user means it."""


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


def _explain(item: Any) -> str:
    location = ".".join(str(part) for part in item["loc"])
    if item["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(item["loc"][-1]), field_names(item["loc"][:-1]), 1, 0.5)
        hint = f"did you mean {near[0]}?" if near else "known here: " + ", ".join(field_names(item["loc"][:-1]))
        return f"  {location}: no such field; {hint}"
    return f"  {location}: {item['msg']}, got {item['input']!r}"


def field_names(location: tuple[str | int, ...]) -> list[str]:
    """Return the names of the fields that may stand at a place of the recipe."""
    candidates: list[Any] = [Recipe]
    for part in location:
        candidates = [c for candidate in candidates for c in _children(candidate, part)]
    return sorted({name for c in candidates if _is_model(c) for name in c.model_fields})


def _children(candidate: Any, part: str | int) -> list[Any]:
    if not _is_model(candidate) or part not in candidate.model_fields:
        return [candidate]  # an index of a list, or the tag of a union
    return _models(candidate.model_fields[part].annotation)


def _models(annotation: Any) -> list[Any]:
    if _is_model(annotation):
        return [annotation]
    arguments = typing.get_args(annotation)
    return [m for a in arguments if not isinstance(a, types.EllipsisType) for m in _models(a)]


def _is_model(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, BaseModel)
