"""Two directives that write the recipe's reference from its pydantic models: `recipe-fields` and `recipe-default`."""

from __future__ import annotations

import json
import re
import types
import typing
from collections.abc import Iterator
from typing import Any

from docutils import nodes
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from maskwright.recipe import Recipe, dump_recipe

_BOUNDS = (
    ("ge", "≥ {}"),
    ("gt", "> {}"),
    ("le", "≤ {}"),
    ("lt", "< {}"),
    ("min_length", "at least {} items"),
    ("max_length", "at most {} items"),
)
_WORDS = {"str": "text", "int": "whole number", "float": "number", "bool": "true or false", "NoneType": "null"}


class RecipeFields(SphinxDirective):
    """Writes a section for each section of the recipe, with every field: key, type, bounds, default, description."""

    def run(self) -> list[nodes.Node]:
        """Return the top-level fields and one section for each model below them."""
        plain = {k: f for k, f in Recipe.model_fields.items() if not list(_models(f.annotation))}
        found: list[nodes.Node] = [_section("Top level", "recipe-top", Recipe.__doc__, _fields(plain, ""))]
        for name, field in Recipe.model_fields.items():
            models = list(_models(field.annotation))
            if models:
                found.append(self._of(name, field, models))
        return found

    def _of(self, name: str, field: FieldInfo, models: list[type[BaseModel]]) -> nodes.section:
        if len(models) == 1:
            model = models[0]
            section = _section(name, f"recipe-{name}", model.__doc__, _fields(model.model_fields, f"{name}."))
            for key, inner in model.model_fields.items():
                for part in _models(inner.annotation):
                    place = f"{name}.{key}" + (".N" if _is_list(inner.annotation) else "")
                    section += _kind(part, place, f"recipe-{name}-{key}")
            return section
        many = typing.get_origin(field.annotation) is tuple
        text = "One of these, told apart by `kind`."
        if many:
            kinds = ", ".join(item.kind for item in field.default) or "[]"
            text = f"A list; each item is one of these, told apart by `kind`. Default: `{kinds}`."
        section = _section(name, f"recipe-{name}", text, [])
        for model in models:
            section += _kind(model, f"{name}.N" if many else name, f"recipe-{name}")
        for model in _inside(models):
            section += _section(
                model.__name__, f"recipe-{name}-{model.__name__}", model.__doc__, _fields(model.model_fields, "")
            )
        return section


class RecipeDefault(SphinxDirective):
    """Shows the complete recipe that `--data mydata` alone means, before anything is recognised or measured."""

    def run(self) -> list[nodes.Node]:
        """Return it as YAML."""
        text = dump_recipe(Recipe.model_validate({"data": {"root": "mydata"}}))
        return [nodes.literal_block(text, text, language="yaml")]


def _inside(models: list[type[BaseModel]]) -> list[type[BaseModel]]:
    """Return the models that fields of these hold, each once, but for kinds that have a section of their own."""
    found: dict[type[BaseModel], None] = {}
    for model in models:
        for field in model.model_fields.values():
            found |= dict.fromkeys(m for m in _models(field.annotation) if "kind" not in m.model_fields)
    return list(found)


def _kind(model: type[BaseModel], prefix: str, anchor: str) -> nodes.section:
    if "kind" not in model.model_fields:
        return _section(prefix, anchor, model.__doc__, _fields(model.model_fields, f"{prefix}."))
    kind = str(model.model_fields["kind"].default)
    fields = {key: field for key, field in model.model_fields.items() if key != "kind"}
    return _section(f"kind: {kind}", f"{anchor}-{kind}", model.__doc__, _fields(fields, f"{prefix}."))


def _section(title: str, anchor: str, text: str | None, body: list[nodes.Node]) -> nodes.section:
    name = anchor.replace("_", "-")
    return nodes.section("", nodes.title("", title), _paragraph(text or ""), *body, ids=[name], names=[name])


def _fields(fields: dict[str, FieldInfo], prefix: str) -> list[nodes.Node]:
    items = []
    for key, field in fields.items():
        term = nodes.term("", "", nodes.literal("", prefix + key), nodes.Text(f" · {_type(field.annotation)}"))
        term += nodes.Text("".join(f", {bound}" for bound in _bounds(field)))
        term += [nodes.Text(" · required")] if field.is_required() else [nodes.Text(" · default "), _default(field)]
        words = field.description or " ".join(m.__doc__ or "" for m in list(_models(field.annotation))[:1])
        items.append(nodes.definition_list_item("", term, nodes.definition("", _paragraph(words))))
    return [nodes.definition_list("", *items)] if items else []


def _paragraph(text: str) -> nodes.paragraph:
    parts = re.split(r"`([^`]+)`", " ".join(text.split()))
    return nodes.paragraph("", "", *(nodes.literal("", p) if i % 2 else nodes.Text(p) for i, p in enumerate(parts)))


def _default(field: FieldInfo) -> nodes.literal:
    value = field.get_default(call_default_factory=True)
    shown = "" if value is PydanticUndefined else json.dumps(value, default=str, ensure_ascii=False)
    return nodes.literal("", shown)


def _bounds(field: FieldInfo) -> Iterator[str]:
    for limit in field.metadata:
        for name, shape in _BOUNDS:
            if (value := getattr(limit, name, None)) is not None:
                yield shape.format(value)


def _type(annotation: Any) -> str:
    origin, inside = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Literal:
        return " | ".join(map(str, inside))
    if origin in (typing.Union, types.UnionType):
        return " or ".join(dict.fromkeys(_type(a) for a in inside))
    if origin is typing.Annotated:
        return _type(inside[0])
    if origin is tuple and inside[-1] is ...:
        return f"list of ({_type(inside[0])})"
    if origin is tuple:
        return f"list of {len(inside)} ({', '.join(dict.fromkeys(_type(a) for a in inside))})"
    if origin is dict:
        return "mapping"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel) and "kind" in annotation.model_fields:
        return f"kind: {annotation.model_fields['kind'].default}"
    name = getattr(annotation, "__name__", str(annotation))
    return _WORDS.get(name, name)


def _is_list(annotation: Any) -> bool:
    """Tell whether a field holds any number of items: a tuple, or null or a tuple."""
    return typing.get_origin(annotation) is tuple or any(
        typing.get_origin(inner) is tuple for inner in typing.get_args(annotation)
    )


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
        return
    for inner in typing.get_args(annotation):
        yield from _models(inner)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directives."""
    app.add_directive("recipe-fields", RecipeFields)
    app.add_directive("recipe-default", RecipeDefault)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
