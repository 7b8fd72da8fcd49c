"""The parameters of a route: unknown ones are rejected, never ignored. What they, and the members of its body,
declare is checked before it runs."""

import difflib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, get_args, get_origin

from fastapi import Response
from fastapi.dependencies.models import Dependant
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from shared.access.lineage import DerivedFrom, reveals
from shared.http.caller import Caller, Denied, forbidden
from shared.http.problems.client import HIDDEN_FIELD
from shared.http.scopes import Scoped
from shared.http.server import problem

#: Names and values of parameters, and of members of a body.
Given = Sequence[tuple[str, Any]]

_NOTHING: tuple[Any, ...] = (None, [], {})
#: So that a refusal costs no more than an answer.
_MOST_FAULTS, _MOST_NAME = 10, 64
_NAME = re.compile(rf"[A-Za-z0-9_.$-]{{1,{_MOST_NAME}}}")
_NUMBERS = {2: "twice", 3: "three times"}


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a route, or a member of its body. ``lineages``: the fields that filtering or ordering by it
    reveals. ``scopes``: those that its use needs. ``default`` is None for a parameter without one."""

    name: str
    many: bool
    default: Any
    lineages: tuple[DerivedFrom, ...]
    scopes: tuple[str, ...] = ()


class Parameters:
    """The parameters of one route."""

    def __init__(self, dependant: Dependant) -> None:
        parts = list(_all(dependant))
        self.query = {
            each.name: each for part in parts for field in part.query_params for each in _parameters(field)
        }
        self.path = {
            each.name: each for part in parts for field in part.path_params for each in _parameters(field)
        }
        #: Members of the body that declare something, at its top; what lies within one counts as that one's.
        self.body = {
            each.name: each
            for part in parts
            for field in part.body_params
            for each in _members(field)
            if each.lineages or each.scopes
        }
        #: What a caller chooses by.
        self._chosen = {**self.body, **self.query}

    def refused(self, given: Sequence[tuple[str, str]]) -> Response | None:
        """A problem (422) for unknown parameters, and for single-valued ones that are repeated; None when all are
        right."""
        faults = misplaced(
            (name for name, _ in given), self.query, {p.name for p in self.query.values() if p.many}
        )
        if not faults:
            return None
        errors = [{"field": name, "detail": detail} for name, detail in faults.items()]
        return problem(422, "; ".join(f"{name}: {detail}" for name, detail in faults.items()), errors=errors)

    def members(self, body: Any) -> list[tuple[str, Any]]:
        """The members of a body that declare something and are given: an empty list or object chooses nothing, but
        an empty text does, as in the query."""
        if not isinstance(body, dict):
            return []  # which the route's own parser reports
        return [(name, body[name]) for name in self.body if body.get(name) not in _NOTHING]

    def values(self, given: Given) -> dict[str, Any]:
        """The given parameters, with defaults for the others."""
        return {name: each.default for name, each in self._chosen.items()} | dict(given)

    def check_scopes(self, caller: Caller, given: Given) -> None:
        """Raise Denied (403) for a parameter that filters by data which the caller may not read."""
        for name in dict.fromkeys(name for name, _ in given):
            for scope in self._chosen[name].scopes if name in self._chosen else ():
                if not caller.may(scope):
                    raise forbidden(scope, f"the parameter {name}")

    def check(self, masks: Sequence[str], given: Given, path: Iterable[str]) -> None:
        """Raise Denied (403) for a parameter that filters or orders by a masked field: a series of requests would
        reveal the field."""
        values = self.values(given)
        named = {name for name, _ in given}  # an empty value is one, too: a category may be empty
        for name, parameter in {
            **self._chosen,
            **{name: self.path[name] for name in path if name in self.path},
        }.items():
            # A choice counts even by default; a filter, or a list of ids, only when it is given.
            chosen = name in named or name in self.path or parameter.default not in (None, [])
            for lineage in parameter.lineages:
                if chosen and (field := reveals(masks, lineage.of(values))) is not None:
                    detail = f"{name}: {field} is hidden from this credential, and the answer would reveal it"
                    raise Denied(403, detail, kind=HIDDEN_FIELD)


def misplaced(
    given: Iterable[str], known: Mapping[str, Any] | Sequence[str], many: Iterable[str] = ()
) -> dict[str, str]:
    """What is wrong with the names of parameters: name → a sentence that follows it, of the first ten. ``many``:
    those that may be repeated."""
    faults: dict[str, str] = {}
    for name, number in Counter(given).items():
        if len(faults) == _MOST_FAULTS:
            break
        # Another name may be anything, including personal data.
        shown = name if _NAME.fullmatch(name) else "[name]"
        if shown in faults:
            continue
        if name not in known:
            faults[shown] = unknown(name[:_MOST_NAME], list(known))
        elif number > 1 and name not in many:
            faults[shown] = f"is given {_NUMBERS.get(number, f'{number} times')}, and takes one value"
    return faults


def unknown(name: str, known: Sequence[str]) -> str:
    """The detail for an unknown parameter: the nearest name, or all if none is near."""
    if not known:
        return "is not a parameter of this path, which takes none"
    near = difflib.get_close_matches(name.lower(), [each.lower() for each in known], 1, 0.6)
    if near:
        [best] = [each for each in known if each.lower() == near[0]][:1]
        return f"is not a parameter of this path; did you mean {best}?"
    return f"is not a parameter of this path; it takes {', '.join(sorted(known))}"


def _all(dependant: Dependant) -> Iterator[Dependant]:
    yield dependant
    for inner in dependant.dependencies:
        yield from _all(inner)


def _parameters(field: Any) -> Iterator[Parameter]:
    info: FieldInfo = field.field_info
    annotation = info.annotation
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        for name, each in annotation.model_fields.items():
            yield _parameter(each.alias or name, each)
    else:
        yield _parameter(field.alias, info)


def _members(field: Any) -> Iterator[Parameter]:
    info: FieldInfo = field.field_info
    for model in _models(info.annotation):
        for name, each in model.model_fields.items():
            made = _parameter(each.alias or name, each)
            inner = [*(found for within in _models(each.annotation) for found in _declared(within))]
            yield replace(
                made,
                default=made.default or None,
                lineages=(*made.lineages, *(each for each in inner if isinstance(each, DerivedFrom))),
                scopes=(*made.scopes, *(each.scope for each in inner if isinstance(each, Scoped))),
            )


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models in an annotation: alone, in a list, or as one of several."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models(argument)


def _declared(model: type[BaseModel]) -> Iterator[Any]:
    """All declarations within a model. Recursive models are not supported."""
    for field in model.model_fields.values():
        found = list(field.metadata)
        _many(field.annotation, found)
        yield from found
        for inner in _models(field.annotation):
            yield from _declared(inner)


def _parameter(name: str, info: FieldInfo) -> Parameter:
    found = list(info.metadata)
    many = _many(info.annotation, found)
    default = None if info.default in (PydanticUndefined, ...) else info.default
    return Parameter(
        name,
        many,
        default,
        tuple(each for each in found if isinstance(each, DerivedFrom)),
        tuple(each.scope for each in found if isinstance(each, Scoped)),
    )


def _many(annotation: Any, found: list[Any]) -> bool:
    """Whether a parameter is multi-valued. Declarations within its type are added to ``found``."""
    if get_origin(annotation) in (list, tuple, set, frozenset, Sequence):
        return True
    found.extend(getattr(annotation, "__metadata__", ()))
    return any(_many(argument, found) for argument in get_args(annotation) if not isinstance(argument, str))
