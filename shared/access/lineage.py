"""Where the values of answers come from: a declaration for each field, order and parameter. Pure.

A mask names a field of events and profiles (``amount``, ``location.lat``). A sum, a mean, a score or the key of a
group can reveal what that field contains. Each field of an answer therefore declares the fields that it is derived
from, beside its type:

    net: Annotated[int, DerivedFrom("amount")]

``shared.access.masks`` applies the declarations. A test walks the models of all services and fails for a number or
a text without one; a field that bears the name of a field of ``SOURCES`` needs none.
"""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from shared.contracts.fact_fields import VALIDATORS

#: Fields of events and profiles. What bears such a name in an answer is that field, or a sum of it.
SOURCES = frozenset(
    {
        *("consumer_id", "relation_id", *VALIDATORS),
        *("personal", "location", "consent", "erased", "name", "categories", "closed"),
        *("country", "region", "city", "lat", "lon", "email", "phone", "address", "event", "mode"),
    }
)
#: Further names that a mask can have: derived values that keys were made for, and parts of what is derived.
_DERIVED = frozenset({"strength", "score", "count", "first", "last", "key", "day", "by", "value", "source", "id"})
#: Parts that have names of their own below them; None: any.
_PARTS: Mapping[str, frozenset[str] | None] = {
    "personal": None,
    "traits": None,
    "consent": None,
    "amount": None,
    "kinds": None,
    "location": frozenset({"country", "region", "city", "lat", "lon"}),
    "event": frozenset({"source", "id", "time"}),
}
#: Every name that a mask can begin with.
MASKABLE = SOURCES | _DERIVED | _PARTS.keys()


class DerivedFrom:
    """Declares the fields (paths such as ``location.lat``) that a value reveals. None: it reveals no field."""

    #: Whether a null reveals something, too: a mean is null where there is nothing to average.
    null_reveals = True

    def __init__(self, *fields: str) -> None:
        self.fields = fields

    def of(self, parameters: Mapping[str, Any]) -> tuple[str, ...]:
        """The fields in the answer to a request with these parameters."""
        del parameters  # DerivedBy asks them
        return self.fields


class DerivedBy(DerivedFrom):
    """Declares that the fields depend on a parameter of the request: ``by=consumer`` makes ``key`` a consumer_id.
    A value of the parameter that is not listed reveals all of them."""

    def __init__(self, parameter: str, values: Mapping[str, tuple[str, ...]]) -> None:
        super().__init__(*dict.fromkeys(field for fields in values.values() for field in fields))
        self.parameter = parameter
        self.values = values

    def of(self, parameters: Mapping[str, Any]) -> tuple[str, ...]:
        return self.values.get(str(parameters.get(self.parameter)), self.fields)


class OrderedBy(DerivedFrom):
    """Declares the fields that a member reveals even where all its values are masked: by the order of a list, by
    the choice of its items, by their number. An answer with such a member is refused."""


class OrderedByParameter(DerivedBy, OrderedBy):
    """Declares that they depend on a parameter of the request."""


class ContainedIn(DerivedFrom):
    """Declares the fields in a cursor, which anyone can decode. Null: there is no next page."""

    null_reveals = False


class ContainedByParameter(DerivedBy, ContainedIn):
    """Declares that they depend on a parameter of the request."""


#: Counts and the like, which reveal no field.
Count = Annotated[int, DerivedFrom()]
Ratio = Annotated[float, DerivedFrom()]
Label = Annotated[str, DerivedFrom()]
#: What a strength reveals, and a score that is made of strengths: that of a single relation, its kind and time.
STRENGTH = ("strength", "score", "kind", "time")
#: The key of what ``by`` groups by.
KEY = DerivedBy(
    "by",
    {
        "total": (),
        "kind": ("key", "kind"),
        "provider": ("key", "provider_id"),
        "consumer": ("key", "consumer_id"),
        "provider_kind": ("key", "provider_id", "kind"),
    },
)
#: Grouping by kind reveals how many relations are of one kind, even under a masked key. Grouping by an id only
#: reveals which relations have the same one.
GROUPED = DerivedBy(
    "by", {"total": (), "kind": ("kind",), "provider": (), "consumer": (), "provider_kind": ("kind",)}
)


def reveals(masks: Iterable[str], fields: Iterable[str]) -> str | None:
    """The first of ``fields`` that one of the masks hides, as a whole or in part; None where none does."""
    wanted = [mask.split(".") for mask in masks]
    for field in fields:
        parts = field.split(".")
        # A part may be masked by its own name alone: ``city`` is in what a whole ``location`` reveals.
        within = [[part] for part in _PARTS.get(parts[-1]) or ()]
        ends = [*(parts[at:] for at in range(len(parts))), *within]
        if any(_overlaps(mask, end) for mask in wanted for end in ends):
            return field
    return None


def is_maskable(path: str) -> bool:
    """Whether a path names a field that there can be: ``amount``, ``location.lat``, ``personal.*``."""
    first, *rest = path.split(".")
    if first not in MASKABLE:
        return False
    if not rest:
        return True
    if first not in _PARTS:
        return False
    known = _PARTS[first]
    return known is None or (len(rest) == 1 and (rest[0] == "*" or rest[0] in known))


def _overlaps(mask: list[str], parts: list[str]) -> bool:
    # The shorter one contains the other.
    return all(one == other or one == "*" for one, other in zip(mask, parts, strict=False))
