"""The items of a JSON array as they were sent, byte for byte. Pure.

msgspec decides what JSON is: unlike pydantic's parser it rejects NaN. But it rejects the whole array for one lone
surrogate (``"\\ud83d"``, half an emoji, which JavaScript sends) or one very deep item. Then the array is split by
its brackets and commas alone, and each item is judged by itself.
"""

import re
from typing import TypeVar

import msgspec

from services.ingest.limits import MAX_EVENTS, Refused, too_many_events

_WHITESPACE = b" \t\r\n"
# Possessive, and the end of a string is optional: linear in the length for any bytes.
_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|[][{},]', re.DOTALL)

_array = msgspec.json.Decoder(list[msgspec.Raw])
_Item = TypeVar("_Item", bytes, msgspec.Raw)


def split_sound(body: bytes) -> list[bytes] | None:
    """The items of the array in ``body``, each certainly JSON; None if that is not certain. Fast. Raises Refused
    (413) if there are too many."""
    try:
        found = _array.decode(body)
    except (ValueError, RecursionError):
        return None
    return [bytes(item) for item in _few_enough(found)]


def split(body: bytes) -> list[bytes]:
    """The items of the array in ``body``, which may not be JSON. Raises Refused (400, 413) if it is no array or
    has too many items."""
    items = split_sound(body)
    return _few_enough(_split_loosely(body)) if items is None else items


def _few_enough(items: list[_Item]) -> list[_Item]:
    if len(items) > MAX_EVENTS:
        raise too_many_events(len(items))
    return items


def is_array(body: bytes) -> bool:
    return body.lstrip(_WHITESPACE)[:1] == b"["


def _split_loosely(body: bytes) -> list[bytes]:
    items: list[bytes] = []
    depth, start, end = 0, 0, 0
    for token in _TOKEN.finditer(body):
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
        if depth == 0:
            items.append(body[start : token.start()].strip(_WHITESPACE))
            end = token.end()
            break
    whole = is_array(body) and end > 0 and body[end - 1] == 0x5D and not body[end:].strip(_WHITESPACE)
    if not whole or b"" in items:
        raise Refused(400, "the body is not a JSON array")
    return items
