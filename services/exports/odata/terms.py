"""The expressions of ``$filter`` as a tree. Pure."""

from dataclasses import dataclass
from datetime import date, datetime

#: The types of a literal. None is ``null``.
Value = str | int | float | bool | date | datetime | None


@dataclass(frozen=True, slots=True)
class Literal:
    value: Value


@dataclass(frozen=True, slots=True)
class Property:
    name: str


@dataclass(frozen=True, slots=True)
class Call:
    """A function of the whitelist."""

    name: str
    arguments: "tuple[Term, ...]"


@dataclass(frozen=True, slots=True)
class Compare:
    """``operator`` is eq, ne, gt, ge, lt or le."""

    operator: str
    left: "Term"
    right: "Term"


@dataclass(frozen=True, slots=True)
class In:
    left: "Term"
    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Logic:
    """``operator`` is and or or."""

    operator: str
    parts: "tuple[Term, ...]"


@dataclass(frozen=True, slots=True)
class Not:
    part: "Term"


@dataclass(frozen=True, slots=True)
class Member:
    """``categories/any(c:c eq 'café')``: the list ``name`` contains one of the values. ``values`` None: it is not
    empty."""

    name: str
    values: tuple[Value, ...] | None


Term = Literal | Property | Call | Compare | In | Logic | Not | Member
