"""Overrides of a recipe: `key.path=value`, the only override syntax."""

from __future__ import annotations

import copy
import difflib
import reprlib
from collections.abc import Iterable, Mapping
from typing import Any

import yaml
from pydantic import TypeAdapter

from maskwright.errors import RecipeError, problem
from maskwright.recipe.faults import faults_of, field_names, kinds_at, models_at
from maskwright.recipe.file import _Loader, faults_found
from maskwright.recipe.recipe import Recipe

_PLAIN: TypeAdapter[Any] = TypeAdapter(Any)


def apply_settings(recipe: Recipe, settings: Iterable[str]) -> Recipe:
    """Return the recipe with every `key.path=value` set; values are YAML; list items are addressed by number.

    Example:
        >>> from maskwright.recipe.data import DataSpec
        >>> recipe = Recipe(data=DataSpec(root="."))
        >>> apply_settings(recipe, ["train.lr=1e-3", "loss.1.weight=0.5"]).train.lr
        0.001

    Raises:
        RecipeError: paths that lead nowhere (with the nearest name) and values that don't fit, all of them.
    """
    tree, faults = copy.deepcopy(recipe.model_dump(mode="json")), list[str]()
    for setting in settings:
        path, equals, text = setting.partition("=")
        if not equals:
            raise RecipeError(
                problem("key.path=value", repr(setting), where="--set", next_move="for example --set train.lr=1e-3")
            )
        try:
            _set(tree, path.strip().split("."), yaml.load(text, Loader=_Loader))
        except LookupError as error:
            faults.append(f"{path or repr(setting)}: no such field; {error.args[0]}")
        except yaml.YAMLError as error:
            told = str(error).splitlines()[0]
            faults.append(f"{path}: no YAML ({told}), got {reprlib.repr(text)}; quote text: key.path='\"text\"'")
    if faults := [*faults, *faults_of(tree)]:
        raise faults_found(faults, where="--set")
    return Recipe.model_validate(tree)


def flatten(tree: Any, prefix: str = "") -> dict[str, Any]:
    """Return {dotted path: leaf} of a plain tree."""
    items: Iterable[tuple[Any, Any]]
    if isinstance(tree, Mapping) and tree:
        items = tree.items()
    elif isinstance(tree, list | tuple) and tree:
        items = enumerate(tree)
    else:
        return {prefix: tree}
    dot = f"{prefix}." if prefix else ""
    return {path: leaf for key, value in items for path, leaf in flatten(value, f"{dot}{key}").items()}


def _set(tree: Any, parts: list[str], value: Any) -> None:
    """Set a leaf; LookupError with a hint if the path leads nowhere."""
    node = tree
    for depth, part in enumerate(parts):
        key: Any = int(part) if isinstance(node, list) and part.lstrip("-").isdigit() else part
        present = (isinstance(node, dict) and key in node) or (
            isinstance(node, list) and isinstance(key, int) and 0 <= key < len(node)
        )
        if not present and isinstance(node, list):
            items = f"{len(node)} item(s), numbered from 0" if node else "no items"
            raise LookupError(
                f"{'.'.join(parts[:depth])} has {items}; --set '{'.'.join(parts[:depth])}=[…]' replaces it"
            )
        if not present:
            names = field_names(tuple(parts[:depth])) or (list(node) if isinstance(node, dict) else [])
            near = difflib.get_close_matches(part, names, 1, 0.5)
            if isinstance(node, dict) and part in names:
                present = True
            else:
                hint = f"did you mean {'.'.join([*parts[:depth], near[0]])}?" if near else f"known: {', '.join(names)}"
                raise LookupError(hint)
        if depth == len(parts) - 1:
            was = node[key] if isinstance(node, list) else node.get(key)
            node[key] = value
            if key == "kind":
                _drop_defaults(node, parts[:depth], was=was)
        else:
            if isinstance(node, dict) and key not in node:
                node[key] = _default_of(node, parts[:depth], part)
            if node[key] is None and parts[depth + 1] in field_names(tuple(parts[: depth + 1])):
                node[key] = {}  # a section that is left out: stating one of its fields states it
            node = node[key]


def _default_of(node: dict[str, Any], place: list[str], name: str) -> Any:
    """Return what a field has that a component leaves out, as plain data; nothing where several kinds may be meant."""
    models = [model for model in models_at(place) if name in model.model_fields]
    if "kind" in node:
        models = [model for model in models if kinds_at(place).get(node["kind"]) is model]
    if len(models) != 1 or (field := models[0].model_fields[name]).is_required():
        return {}
    return _PLAIN.dump_python(field.get_default(call_default_factory=True), mode="json")


def _drop_defaults(node: dict[str, Any], place: list[str], *, was: Any) -> None:
    """Leave of a component whose kind has changed what was stated: the defaults are those of the new kind."""
    kinds = kinds_at(place)
    if was in kinds and node["kind"] in kinds:
        fields = {name: field for name, field in kinds[was].model_fields.items() if name in node and name != "kind"}
        for name, field in fields.items():
            if not field.is_required() and node[name] == _PLAIN.dump_python(
                field.get_default(call_default_factory=True), mode="json"
            ):
                del node[name]
