"""A quick look whether an event can be read in one way only, which is so of nearly all. Pure.

``strict_json.check`` looks at all of an event again; this compares what was validated with a count of what is
there.
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
#: A number of fewer characters has at most 15 digits, as many as a binary double is sure to hold.
_LONG = b"0" * 16
_DIGITS = bytes(0x30 if chr(byte) in "0123456789." else 0x20 for byte in range(256))
#: A decimal number nearer to 0 may lose digits, because doubles do.
_LEAST = 1e-290
_SHORT = 15

_attributes = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def is_unambiguous(raw: bytes, event: Event) -> bool:
    """Whether ``raw``, which ``event`` was validated from, certainly holds no member twice and no number that is
    not held exactly. False says nothing.

    A name in JSON ends with a quotation mark, then white space, then a colon: so ``raw`` has at most as many
    members as are counted here. Where as many are known, each is known, and none is there twice.
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
    # To look for white space costs less than to take it out.
    spaced = b" " in raw or b"\n" in raw or b"\t" in raw or b"\r" in raw
    dense = raw.translate(None, b" \t\r\n") if spaced else raw
    others = dense.count(b'":') - members - len(event.__pydantic_fields_set__)
    return others == 0 or _has_so_many_others(raw, event, others)


def _has_so_many_others(raw: bytes, event: Event, count: int) -> bool:
    """Whether an event has so many attributes of its producer's own, no objects or lists or long numbers."""
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
