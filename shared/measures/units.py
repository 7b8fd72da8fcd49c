"""The unit of an answer's field, so that commands and pages can show it to people. Pure.

JSON and CSV contain exact values: money in minor units (the field's name ends with ``_minor``), fractions of 1.
"""

import types
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from shared.access.lineage import DerivedFrom

#: ``minor``: money in minor units. ``fraction``: from 0 to 1, shown as a percentage. ``times``: a ratio. ``word``:
#: an identifier such as ``at_risk``. The others are numbers with decimals.
Unit = Literal["minor", "fraction", "times", "word", "days", "weeks", "points", "rate", "degrees", "parameter"]


@dataclass(frozen=True, slots=True)
class Shown:
    """Declares the unit of a field, beside its type."""

    unit: Unit


# What a field reveals (``shared.access.lineage``) is declared here as far as its unit determines it.
#: Money in minor units, exact; and means of it, which are not whole numbers.
Minor = Annotated[int, Shown("minor"), DerivedFrom("amount")]
MinorMean = Annotated[float, Shown("minor"), DerivedFrom("amount")]
Fraction = Annotated[float, Shown("fraction"), DerivedFrom()]
#: A ratio of two values.
Times = Annotated[float, Shown("times"), DerivedFrom()]
Days = Annotated[float, Shown("days"), DerivedFrom()]
#: On the scale of ratings.
Points = Annotated[float, Shown("points"), DerivedFrom("rating")]
#: A rate per day, or a mean count.
Rate = Annotated[float, Shown("rate"), DerivedFrom()]
#: A parameter of a model.
Parameter = Annotated[float, Shown("parameter"), DerivedFrom()]
Degrees = Annotated[float, Shown("degrees"), DerivedFrom()]
WORD = Shown("word")


def unit_of(field: FieldInfo) -> Unit | None:
    """The unit declared for a field, or for the items of its list or map."""
    return next(
        (each.unit for each in _metadata(field.annotation, field.metadata) if isinstance(each, Shown)), None
    )


def model_of(field: FieldInfo) -> type[BaseModel] | None:
    """The model of a field, or of its items."""
    return next(
        (each for each in _types(field.annotation) if isinstance(each, type) and issubclass(each, BaseModel)), None
    )


def label_of(name: str, field: FieldInfo) -> str:
    """A field's label for people: its title, or its name in words, without the unit."""
    words = name.removesuffix("_minor").removesuffix("_id").replace("_", " ")
    return field.title or words[:1].upper() + words[1:]


def _metadata(annotation: Any, found: Sequence[Any]) -> Iterator[Any]:
    yield from found
    if get_origin(annotation) is Annotated:
        first, *rest = get_args(annotation)
        yield from _metadata(first, rest)
    elif get_origin(annotation) in (list, dict, Union, types.UnionType):
        for part in get_args(annotation):
            yield from _metadata(part, ())


def _types(annotation: Any) -> Iterator[Any]:
    yield annotation
    for part in get_args(annotation):
        yield from _types(part)
