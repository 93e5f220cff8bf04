"""What is wrong with a recipe, a line for each fault: the field as one writes it, what belongs there, what came."""

from __future__ import annotations

import difflib
import re
import reprlib
import types
import typing
from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from maskwright.recipe.recipe import Recipe

_FORMS = {
    "float": "a number",
    "int": "a whole number",
    "bool": "true or false",
    "string": "text",
    "tuple": "a list",
    "list": "a list",
}
"""What pydantic's kinds of values are called; the part of a fault's type before `_type` or `_parsing`."""


def faults_of(tree: dict[str, Any]) -> list[str]:
    """Return a line for each thing that is wrong in the plain tree of a recipe, none if it is valid.

    Example:
        >>> faults_of({"data": {"root": "."}, "loss": [{"kind": "dice", "weight": "learn"}]})
        ["loss.0.weight: should be a number or 'learned', got 'learn'; did you mean learned?"]
    """
    try:
        Recipe.model_validate(tree)
    except ValidationError as error:
        return [_explain(alternatives) for alternatives in _gathered(error.errors())]
    return []


def field_names(location: Sequence[str | int]) -> list[str]:
    """Return the names of the fields that may stand at a place of the recipe."""
    return sorted({name for model in models_at(location) for name in model.model_fields})


def kinds_at(location: Sequence[str | int]) -> dict[str, type[BaseModel]]:
    """Return the kinds of component that may stand at a place of the recipe."""
    return {kind: model for model in models_at(location) for kind in _kinds(model)}


def models_at(location: Sequence[str | int]) -> list[type[BaseModel]]:
    """Return the sections and components that may stand at a place of the recipe."""
    candidates: list[Any] = [Recipe]
    for part in location:
        candidates = [c for candidate in candidates for c in _children(candidate, part)]
    return list(dict.fromkeys(c for c in candidates if _is_model(c)))


def _gathered(items: Sequence[Any]) -> Iterator[list[Any]]:
    """Yield the faults together that are one: a value that fits none of the forms which its field may have."""
    groups: dict[tuple[str | int, ...], list[Any]] = {}
    for item in items:
        union = _union_of(item["loc"])
        groups.setdefault(("", *item["loc"]) if union is None else union, []).append(item)
    for union, group in groups.items():
        of_its_form = [item for item in group if not _is_other_form(item, len(union))]
        if union[:1] == ("",) or not of_its_form:
            yield group
        else:
            yield from ([item] for item in of_its_form)


def _is_other_form(item: Any, depth: int) -> bool:
    """Return whether a fault only says that a value hasn't the form of one branch of a union at this depth."""
    return len(item["loc"]) == depth + 1 and item["type"].endswith(("_type", "_parsing", "literal_error"))


def _explain(alternatives: list[Any]) -> str:
    item = alternatives[0]
    place = _place(item["loc"])
    said, where = _rule(item, place), ".".join(map(str, place))
    if len(alternatives) > 1:
        said = "should be " + " or ".join(_rule(a, place).removeprefix("should be ") for a in alternatives)
    if item["type"] == "extra_forbidden":
        names = field_names(item["loc"][:-1])
        near = difflib.get_close_matches(str(item["loc"][-1]), names, 1, 0.5)
        return f"{where}: no such field; " + (f"did you mean {near[0]}?" if near else f"known here: {', '.join(names)}")
    if item["type"] in ("union_tag_invalid", "union_tag_not_found"):
        kinds = re.findall("'([^']*)'", item["ctx"].get("expected_tags", "")) or list(kinds_at(place))
        got = item["ctx"].get("tag")
        told = f"no such kind, got {got!r}{_near(got, kinds)}; known" if got is not None else "missing; one of"
        return f"{where}.kind: {told}: {', '.join(kinds)}"
    if item["type"] == "missing":
        return f"{where}: a value is missing"
    if item["type"] == "value_error" and isinstance(item["input"], dict):  # fields that don't go together
        return f"{where}: {said}" if where else said
    expected = re.findall("'([^']*)'", " ".join(str(a.get("ctx", {}).get("expected", "")) for a in alternatives))
    hint = _near(item["input"], expected) or _as_component(item, place)
    return f"{where}: {said}, got {reprlib.repr(item['input'])}{hint}"


def _rule(item: Any, place: Sequence[str]) -> str:
    """Return what a value should be."""
    form = item["type"].removesuffix("_type").removesuffix("_parsing")
    if item["type"] != form and form in _FORMS:
        return f"should be {_FORMS[form]}"
    if item["type"] in ("model_type", "model_attributes_type", "dict_type"):
        kinds, names = kinds_at(place), field_names(place)
        return "should be fields with a kind" if kinds else f"should be fields ({', '.join(names)})"
    said = str(item["msg"]).removeprefix("Value error, ").removeprefix("Input ")
    return said.replace("Tuple should", "should").replace("List should", "should").replace(" after validation", "")


def _as_component(item: Any, place: Sequence[str]) -> str:
    """Return how a component is written, where only its name or a single one came."""
    value, kinds = item["input"], kinds_at(place)
    is_list = item["type"] in ("tuple_type", "list_type")
    if isinstance(value, str) and kinds:
        near = value if value in kinds else next(iter(difflib.get_close_matches(value, list(kinds), 1, 0.5)), None)
        written = "{kind: …}" if near is None else f"{{kind: {near}}}"
        known = f"; known: {', '.join(kinds)}" if near is None else ""
        return f"; write {f'[{written}]' if is_list else written}{known}"
    if is_list and isinstance(value, dict):
        return "; put it into [ ]"
    return ""


def _near(value: Any, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(str(value), known, 1, 0.5)
    return f"; did you mean {near[0]}?" if near else ""


def _place(location: Sequence[str | int]) -> list[str]:
    """Return the path of a field as one writes it: without the branches of unions that pydantic went into."""
    return [str(part) for part, is_branch in _walk(location) if not is_branch]


def _union_of(location: Sequence[str | int]) -> tuple[str | int, ...] | None:
    """Return the path down to the last union without kinds in it, None where there is none."""
    branches = [number for number, (_, is_branch) in enumerate(_walk(location)) if is_branch]
    plain = [n for n in branches if str(location[n]) not in kinds_at([p for p, branch in _walk(location[:n])])]
    return tuple(location[: plain[-1]]) if plain else None


def _walk(location: Sequence[str | int]) -> list[tuple[str | int, bool]]:
    """Return each part of pydantic's path, and whether it only says which branch of a union was tried."""
    candidates, walked = [Recipe], list[tuple[str | int, bool]]()
    for part in location:
        options = [o for candidate in candidates for o in _options(candidate)]
        is_branch = len(options) > len(candidates) and isinstance(part, str)
        walked.append((part, is_branch))
        if is_branch:
            of_kind = [o for o in options if _is_model(o) and part in _kinds(o)]
            candidates = of_kind or options
        else:
            candidates = [below for o in options for below in _below(o, part)]
    return walked


def _options(annotation: Any) -> list[Any]:
    """Return the members of a union but None, at any depth; anything else is the only one."""
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return _options(typing.get_args(annotation)[0])
    if origin in (typing.Union, types.UnionType):
        return [o for a in typing.get_args(annotation) if a is not type(None) for o in _options(a)]
    return [annotation]


def _below(annotation: Any, part: str | int) -> list[Any]:
    """Return what may stand in a part of a value: a field of a model, an item of a list or a mapping."""
    if _is_model(annotation):
        return [annotation.model_fields[part].annotation] if part in annotation.model_fields else []
    return [a for a in typing.get_args(annotation)[-2:] if a is not Ellipsis]


def _kinds(model: Any) -> tuple[Any, ...]:
    field = model.model_fields.get("kind")
    return () if field is None else typing.get_args(field.annotation)


def _children(candidate: Any, part: str | int) -> list[Any]:
    if not _is_model(candidate) or str(part).isdigit():  # an item of a list
        return [candidate]
    if part not in candidate.model_fields:  # the kind of a component, which picks one
        kind = candidate.model_fields.get("kind")
        return [candidate] if kind is None or part in typing.get_args(kind.annotation) else []
    return _models(candidate.model_fields[part].annotation)


def _models(annotation: Any) -> list[Any]:
    if _is_model(annotation):
        return [annotation]
    arguments = typing.get_args(annotation)
    return [m for a in arguments if not isinstance(a, types.EllipsisType) for m in _models(a)]


def _is_model(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, BaseModel)
