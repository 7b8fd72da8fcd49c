"""A fast check that an event is unambiguous, which is true of nearly all. Pure.

``strict_json.check`` parses the whole event again. This check compares the validated event with a count of what
the bytes contain.
"""

from typing import Any

import msgspec

from shared.contracts.events import ConsumerData, Event, ProviderData, RelationData

#: The parts of an event's data that have members of their own.
_PARTS: dict[type, tuple[str, ...]] = {
    RelationData: ("traits",),
    ConsumerData: ("personal", "location", "traits", "consent"),
    ProviderData: ("location", "traits"),
}
_WHOLE = frozenset({str, int, bool, type(None)})
#: A number of fewer characters has at most 15 digits, which a binary double always represents exactly.
_LONG = b"0" * 16
_DIGITS = bytes(0x30 if chr(byte) in "0123456789." else 0x20 for byte in range(256))
#: A decimal number nearer to 0 may lose digits, because doubles do.
_LEAST = 1e-290
_SHORT = 15

_attributes = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def is_unambiguous(raw: bytes, event: Event) -> bool:
    """Whether ``raw``, from which ``event`` was validated, certainly contains no repeated member and no inexact
    number. False is inconclusive.

    In JSON a name ends with a quotation mark, then white space, then a colon. So ``raw`` has at most as many
    members as this counts. If that many are known, each is known, and none is repeated.
    """
    data: Any = event.data
    members, floats = len(data.__pydantic_fields_set__), False
    for name in _PARTS.get(type(data), ()):
        if (part := getattr(data, name)) is None:
            continue
        if name == "location":
            members += len(part.__pydantic_fields_set__)
            part = part.__dict__
        else:
            members += len(part)
        for value in part.values():
            if (kind := type(value)) not in _WHOLE:
                if kind is not float or -_LEAST < value < _LEAST:
                    return False
                floats = True
    if floats and _LONG in raw.translate(_DIGITS):
        return False
    # Searching for white space costs less than removing it.
    spaced = b" " in raw or b"\n" in raw or b"\t" in raw or b"\r" in raw
    dense = raw.translate(None, b" \t\r\n") if spaced else raw
    others = dense.count(b'":') - members - len(event.__pydantic_fields_set__)
    return others == 0 or _has_so_many_others(raw, event, others)


def _has_so_many_others(raw: bytes, event: Event, count: int) -> bool:
    """Whether an event has exactly ``count`` attributes of its producer's own, none of them an object, a list or a
    long number."""
    try:
        attributes = _attributes(raw)
    except (ValueError, RecursionError):
        return False
    others = attributes.keys() - type(event).model_fields.keys()
    if len(others) != count or "data_base64" in others:
        return False
    for name in others:
        text = bytes(attributes[name])
        if text[0] in b"[{" or (text[0] in b"-0123456789" and (len(text) > _SHORT or b"e" in text.lower())):
            return False
    return True
