"""A fast check that an event is unambiguous, which is true of nearly all. Pure.

``strict_json.check`` parses the whole event again. This check compares the validated event with a count of what
the bytes contain. It runs for every event: a cheap upper bound is tried before a more expensive one.
"""

from collections.abc import Iterable
from typing import Annotated, Any

import msgspec

from shared.contracts.events import ConsumerData, Event, ProviderData, RelationData
from shared.contracts.names import lookalike

_WITH_TRAITS = frozenset({RelationData, ConsumerData, ProviderData})
_WITH_LOCATION = frozenset({ConsumerData, ProviderData})
_is_whole = frozenset({str, int, bool, type(None)}).issuperset
#: A number of fewer characters has at most 15 digits, which a binary double always represents exactly.
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
    """Whether ``raw``, from which ``event`` was validated, certainly contains no repeated member and no inexact
    number. False is inconclusive.

    In JSON each member of an object has a colon of its own, after a name that ends with a quotation mark, perhaps
    with white space between the two. So ``raw`` has at most as many members as either count. If that many are
    known, each is known, and none is repeated.
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
    # A colon in a string may be escaped, including those of the time.
    if _BACKSLASH not in raw and raw.count(_COLON) - _IN_TIME == known:
        return True
    # Some colons of members may follow white space. Removing that costs less than looking for it before colons.
    if 0x20 in raw or 0x0A in raw or 0x09 in raw or 0x0D in raw:
        names = raw.translate(None, b" \t\r\n").count(b'":')
    else:
        names = raw.count(b'":')
    return names == known or _has_so_many(raw, names - known + attributes)


def _are_near(values: Iterable[Any]) -> bool:
    """Whether no value is a number so near to 0 that it may have lost digits, or a list with numbers that are not
    whole."""
    for value in values:
        kind = type(value)
        if (kind is float and -_LEAST < value < _LEAST) or (kind is list and not _is_whole(map(type, value))):
            return False
    return True


def _has_so_many(raw: bytes, count: int) -> bool:
    """Whether an event has ``count`` attributes with different names, including its producer's own, none of them
    a list or a number that may be inexact. There are then no others, and no object except its data has members."""
    try:
        attributes = _attributes(raw)
    except (ValueError, RecursionError):
        return False
    return len(attributes) == count and "data_base64" not in attributes and lookalike(attributes) is None
