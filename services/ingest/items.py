"""The items of a JSON array as they were sent, byte for byte. Pure.

msgspec decides what JSON is: unlike pydantic's parser it rejects NaN. But it rejects the whole array for one lone
surrogate (``"\\ud83d"``, half an emoji, which JavaScript sends) or one very deep item. Then the array is split by
its brackets and commas alone, and each item is judged by itself.
"""

import re
from collections.abc import Iterator

import msgspec

from services.ingest.limits import MAX_EVENTS, Refused, too_many_events

_WHITESPACE = b" \t\r\n"
# Possessive, and the end of a string is optional: linear in the length for any bytes.
_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|[][{},]', re.DOTALL)

_decode = msgspec.json.Decoder(list[msgspec.Raw]).decode
#: Decodes at most so many items, and does not read on: half a million of one digit take 30 ms and 30 MB as a list.
_decode_few = msgspec.json.Decoder(
    msgspec.defstruct(
        "_Few",
        [(f"item{number}", msgspec.Raw | msgspec.UnsetType, msgspec.UNSET) for number in range(MAX_EVENTS)],
        array_like=True,
        forbid_unknown_fields=True,
    )
).decode
#: Brackets and commas that are looked at in one go, which takes a few milliseconds.
_TOKENS = 10_000


def split_sound(body: bytes) -> list[bytes] | None:
    """The items of the array in ``body``, each certainly JSON; None if that is not certain. Fast. Raises Refused
    (413) if there are too many."""
    try:
        if body.count(b",") < MAX_EVENTS:
            return [bytes(item) for item in _decode(body)]
        found = msgspec.structs.astuple(_decode_few(body))
        return [bytes(item) for item in found if item is not msgspec.UNSET]
    except msgspec.ValidationError:
        # It is another value, or its items are too many.
        if is_array(body):
            raise too_many_events() from None
        return None
    except (ValueError, RecursionError):
        return None


def split(body: bytes) -> list[bytes]:
    """The items of the array in ``body``, which may not be JSON. Raises Refused (400, 413) if it is no array or
    has too many items."""
    items = split_sound(body)
    if items is None:
        *_, items = split_loosely(body)
    return items


def is_array(body: bytes) -> bool:
    return body.lstrip(_WHITESPACE)[:1] == b"["


def split_loosely(body: bytes) -> Iterator[list[bytes]]:
    """The items of the array in ``body``, which may not be JSON: those found so far, now and then, and all of them
    in the end. Raises Refused (400, 413) if it is no array or has too many items."""
    items: list[bytes] = []
    depth, start, end = 0, 0, 0
    for number, token in enumerate(_TOKEN.finditer(body), 1):
        if number % _TOKENS == 0:
            yield items
        match body[token.start()]:
            case 0x5B | 0x7B:  # [ {
                depth += 1
                if depth == 1:
                    start = token.end()
            case 0x5D | 0x7D:  # ] }
                depth -= 1
            case 0x2C if depth == 1:  # ,
                items.append(body[start : token.start()].strip(_WHITESPACE))
                start = token.end()
                if not items[-1]:
                    break
                if len(items) == MAX_EVENTS:
                    raise too_many_events()
        if depth == 0:
            items.append(body[start : token.start()].strip(_WHITESPACE))
            end = token.end()
            break
    whole = is_array(body) and end > 0 and body[end - 1] == 0x5D and not body[end:].strip(_WHITESPACE)
    if not whole or b"" in items:
        raise Refused(400, "the body is not a JSON array")
    yield items
