"""A quick look whether an event can be read in one way only, which is so of nearly all. Pure.

``strict_json.check`` looks at all of an event again; this compares what was validated with a count of what is
there. It is asked of every event: an upper bound that costs little is tried before one that costs more.
"""

from collections.abc import Iterable
from typing import Annotated, Any

import msgspec

from shared.contracts.events import ConsumerData, Event, ProviderData, RelationData

_WITH_TRAITS = frozenset({RelationData, ConsumerData, ProviderData})
_WITH_LOCATION = frozenset({ConsumerData, ProviderData})
_is_whole = frozenset({str, int, bool, type(None)}).issuperset
#: A number of fewer characters has at most 15 digits, as many as a binary double is sure to hold.
_LONG = b"0" * 16
_DIGITS = bytes(0x30 if chr(byte) in "0123456789." else 0x20 for byte in range(256))
#: A decimal number nearer to 0 may lose digits, because doubles do.
_LEAST = 1e-290
#: As numbers, which bytes look for in a sixth of the time.
_BACKSLASH, _COLON = ord("\\"), ord(":")
#: The colons of an event's time, which is there once if no member is there twice.
_IN_TIME = 2


class _Object(msgspec.Struct, gc=False):
    """An object, of whose members nothing is to be known."""


_Whole = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
#: Numbers with a fraction or an exponent, and lists, are none of these. Nor is half of a surrogate pair.
_attributes = msgspec.json.Decoder(dict[str, str | _Whole | bool | _Object | None]).decode


def is_unambiguous(raw: bytes, event: Event) -> bool:
    """Whether ``raw``, which ``event`` was validated from, certainly holds no member twice and no number that is
    not held exactly. False says nothing.

    Each member of an object in JSON has a colon of its own. The name before it ends with a quotation mark, and
    there may be white space between the two. So ``raw`` has at most as many members as are counted here, in one
    way or the other. Where as many are known, each is known, and none is there twice.
    """
    data: Any = event.data
    attributes = len(event.__pydantic_fields_set__)
    known = attributes + len(data.__pydantic_fields_set__)
    floats = False
    kind = type(data)
    if kind is ConsumerData:
        known += len(data.personal or ()) + len(data.consent or ())
    if kind in _WITH_TRAITS and (traits := data.traits):
        known += len(traits)
        if not _is_whole(map(type, traits.values())):
            if not _are_near(traits.values()):
                return False
            floats = True
    if kind in _WITH_LOCATION and (location := data.location) is not None:
        known += len(location.__pydantic_fields_set__)
        if location.lat is not None:
            if not _are_near((location.lat, location.lon)):
                return False
            floats = True
    if floats and _LONG in raw.translate(_DIGITS):
        return False
    # A colon in a string may be written with an escape, also one of the time.
    colons = -1 if _BACKSLASH in raw else raw.count(_COLON) - _IN_TIME
    if colons == known:
        return True
    names = raw.count(b'":')
    # Of other colons, some may be behind white space. To look for it costs less than to take it out.
    if names != colons and (0x20 in raw or 0x0A in raw or 0x09 in raw or 0x0D in raw):
        names = raw.translate(None, b" \t\r\n").count(b'":')
    return names == known or _has_so_many(raw, names - known + attributes)


def _are_near(values: Iterable[Any]) -> bool:
    """Whether none of the values is a number that may have lost digits by its size alone, or a list of numbers
    that are not whole."""
    for value in values:
        kind = type(value)
        if (kind is float and -_LEAST < value < _LEAST) or (kind is list and not _is_whole(map(type, value))):
            return False
    return True


def _has_so_many(raw: bytes, count: int) -> bool:
    """Whether an event has ``count`` attributes of different names, its producer's own among them, and these are
    no lists and no numbers that may be held inexactly. Then there are no others, and no object but its data has
    members."""
    try:
        attributes = _attributes(raw)
    except (ValueError, RecursionError):
        return False
    return len(attributes) == count and "data_base64" not in attributes
