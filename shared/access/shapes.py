"""The models of answers as shapes: what each field is declared to be derived from, at any depth. Pure."""

import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, reduce
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel

from shared.access.lineage import DerivedFrom, OrderedBy


@dataclass(frozen=True, slots=True)
class Part:
    """A field: what it and its order are derived from, and the shape of its content (or of its items)."""

    lineages: tuple[DerivedFrom, ...]
    orders: tuple[OrderedBy, ...]
    inner: "Shape | Nested | None"


@dataclass(frozen=True, slots=True)
class Shape:
    """An object with known fields."""

    fields: Mapping[str, Part]


@dataclass(frozen=True, slots=True)
class Nested:
    """An object with arbitrary names, whose values have a shape."""

    shape: "Shape | Nested"


@cache
def shape_of(model: type[BaseModel]) -> Shape:
    """The shape of a model. Recursive models are not supported."""
    return Shape({name: _part(field.annotation, field.metadata) for name, field in model.model_fields.items()})


def _part(annotation: Any, metadata: Sequence[Any]) -> Part:
    found = [*metadata]
    inner = _inner(annotation, found)
    orders = tuple(each for each in found if isinstance(each, OrderedBy))
    lineages = tuple(each for each in found if isinstance(each, DerivedFrom) and not isinstance(each, OrderedBy))
    return Part(lineages, orders, inner)


def _inner(annotation: Any, found: list[Any]) -> Shape | Nested | None:
    """The model within an annotation. Declarations on the way are added to ``found``."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        found.extend(arguments[1:])
        return _inner(arguments[0], found)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return shape_of(annotation)
    if origin is dict:
        _inner(arguments[0], found)
        inner = _inner(arguments[1], found)
        return None if inner is None else Nested(inner)
    if origin in (list, Union, types.UnionType):
        shapes = [shape for argument in arguments if (shape := _inner(argument, found)) is not None]
        return reduce(_either, shapes) if shapes else None
    return None


def _either(one: Shape | Nested, other: Shape | Nested) -> Shape | Nested:
    """The shape of a value that has either shape: a field of both is derived from what it is in each."""
    assert isinstance(one, Shape), "a map is one of several types"
    assert isinstance(other, Shape), "a map is one of several types"
    fields = dict(one.fields)
    for name, part in other.fields.items():
        known = fields.get(name)
        fields[name] = part if known is None else _merged(known, part)
    return Shape(fields)


def _merged(one: Part, other: Part) -> Part:
    inner = one.inner or other.inner
    if one.inner is not None and other.inner is not None:
        inner = _either(one.inner, other.inner)
    return Part((*one.lineages, *other.lineages), (*one.orders, *other.orders), inner)
