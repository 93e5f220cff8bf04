"""What tuning tries: for each kind of step the same fields as in a chain, each with a list of candidates.

The models are made from those of the steps, so that a new step can be searched as soon as it can stand in a chain.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Union, get_args, get_origin

from pydantic import BeforeValidator, Field, create_model, model_validator
from pydantic.fields import FieldInfo

from maskwright.recipe.spec import Spec

_AREAS, _LENGTHS, _WINDOWS = ("pixels",), ("sigma", "distance"), ("size",)
"""Fields that are sizes: the first of them that a step has is what `share` gives."""
_WIDTHS = {"gaussian": "sigma", "box": "size"}
"""Of a step with `weights`: the field that says how wide they are; `share` gives it, and the other has no say."""


class SearchSpec(Spec):
    """Candidates of one step: its fields, each with a list; tried are all their combinations, and to leave it out."""

    step: ClassVar[type[Spec]] = Spec
    """The step that the candidates are of."""

    def combinations(self, area: float, positions: int) -> list[list[Spec]]:
        """Return the candidates, a list for each step that is searched on its own.

        Args:
            area: pixels of the median image.
            positions: number of categories.
        """
        values = {name: getattr(self, name) for name in self.step.model_fields if name != "kind"}
        fixed = {name: [values[name]] for name, field in self.step.model_fields.items() if _is_list(field)}
        values |= fixed
        if not getattr(self, "by_category", False):
            return [list(self._combined(values, area))]
        return [list(self._combined(values | {"category": [k]}, area)) for k in range(1, positions)]

    def _combined(self, values: dict[str, Any], area: float) -> Iterator[Spec]:
        for weights in values.get("weights", [None]):
            used = dict(values)
            if weights is not None:
                idle = [name for kind, name in _WIDTHS.items() if kind != weights]
                used |= {"weights": [weights]} | {name: [self.step.model_fields[name].default] for name in idle}
            if self._shares:
                (sized,) = _sized(self.step, weights)
                used[sized] = dict.fromkeys(_pixels(sized, share, area) for share in self._shares)
            for combination in itertools.product(*used.values()):
                yield self.step(**dict(zip(used, combination, strict=True)))

    @property
    def _shares(self) -> tuple[float, ...]:
        found: tuple[float, ...] = getattr(self, "share", ())
        return found

    @model_validator(mode="after")
    def _names_candidates(self) -> SearchSpec:
        sized = _sized(self.step)
        for name, field in self.step.model_fields.items():
            if name in sized and self._shares:
                self._check_one_way(name, field)
            elif name != "kind" and not _is_list(field) and not getattr(self, name):
                raise ValueError(f"{name}: no candidate: name some, such as {name}: […]" + _or_share(name in sized))
        return self

    def _check_one_way(self, name: str, field: FieldInfo) -> None:
        """Raise ValueError if a size is stated beside its share; resolved recipes state every field, at its default."""
        unset = () if field.is_required() else (field.default,)
        complete = set(type(self).model_fields) <= self.model_fields_set
        stated = name in self.model_fields_set and getattr(self, name)
        if stated and not (complete and getattr(self, name) == unset):
            raise ValueError(f"{name}: either candidates in pixels or share: […] is expected, not both; leave one out")


def candidates_of(step: type[Spec]) -> type[SearchSpec]:
    """Return the model of a step's candidates."""
    fields: dict[str, Any] = {"kind": (step.model_fields["kind"].annotation, step.model_fields["kind"].default)}
    for name, field in step.model_fields.items():
        if name != "kind":
            fields[name] = (field.annotation, field) if _is_list(field) else _listed(field)
    if sized := _sized(step):
        said = " or ".join(f"`{name}`" for name in sized) + " relative to the median image, instead: "
        said += "areas as shares of its area." if sized[0] in _AREAS else "lengths as shares of the root of its area."
        fields["share"] = (Annotated[tuple[_Share, ...], BeforeValidator(_as_list)], Field((), description=said))
    if "category" in step.model_fields:
        said = "Each category but the first is searched on its own, with these candidates."
        fields["by_category"] = (bool, Field(False, description=said))
    name = step.__name__.removesuffix("Spec") + "Search"
    doc = f"Candidates: {(step.__doc__ or '').strip()[:1].lower()}{(step.__doc__ or '').strip()[1:]}"
    made = create_model(name, __base__=SearchSpec, __doc__=doc, __module__=__name__, **fields)
    made.step = step
    globals()[name] = made  # where pickle looks for it: recipes go to other processes
    return made


def search_steps(steps: Any) -> Any:
    """Return the union of the candidates of each kind in a union of steps."""
    kinds = [candidates_of(step) for step in get_args(get_args(steps)[0])]
    return Annotated[Union[tuple(kinds)], Field(discriminator="kind")]  # noqa: UP007


_Share = Annotated[float, Field(gt=0, le=1)]


def _as_list(value: Any) -> Any:
    return value if isinstance(value, list | tuple) else [value]


def _listed(field: FieldInfo) -> tuple[Any, Any]:
    """Return annotation and default of a list of a field's values; a single value is a list of one."""
    one: Any = Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
    default = () if field.is_required() else (field.default,)
    return Annotated[tuple[one, ...], BeforeValidator(_as_list)], Field(default, description=field.description)


def _is_list(field: FieldInfo) -> bool:
    return get_origin(field.annotation) is tuple


def _sized(step: type[Spec], weights: str | None = None) -> tuple[str, ...]:
    """Return what `share` gives: a field at most, but one for each kind of weights where none is named."""
    fields = [name for name in (*_AREAS, *_LENGTHS, *_WINDOWS) if name in step.model_fields]
    if "weights" in step.model_fields:
        return tuple(_WIDTHS.values()) if weights is None else (_WIDTHS[weights],)
    return tuple(fields[:1])


def _pixels(field: str, share: float, area: float) -> float:
    """Return a size in pixels: at least 1 for areas and distances, odd and at least 3 for windows."""
    if field in _AREAS:
        return max(1, round(share * area))
    length = float(share * area**0.5)
    if field in _WINDOWS:
        return max(3, 2 * round((length - 1) / 2) + 1)
    return max(1, round(length)) if field == "distance" else max(0.5, round(length, 2))


def _or_share(sized: bool) -> str:
    return ", or share: […]" if sized else ""
