"""CloudEvents in binary HTTP mode: attributes in ``ce-`` headers, data as the body. Pure."""

import re
from collections.abc import Iterable, Sequence
from urllib.parse import unquote_to_bytes

from services.ingest.modes import ATTRIBUTE_PREFIX, Header
from shared.contracts.errors import InvalidEvent
from shared.contracts.fault_path import safe_path
from shared.contracts.wire import from_attributes

_QUOTED = re.compile(rb'"((?:[^"\\]|\\.)*+)"', re.DOTALL)


def structured(headers: Sequence[Header], body: bytes) -> bytes:
    """The event in JSON structured mode, its data unchanged byte for byte. Raises InvalidEvent."""
    return from_attributes(attributes(headers), body)


def attributes(headers: Iterable[Header]) -> list[tuple[str, str]]:
    """The attributes that headers state: name and text. Raises InvalidEvent."""
    return [(name, _text(name, value)) for name, value in _stated(headers)]


def id_of(headers: Iterable[Header]) -> str | None:
    """The event's id; None if it cannot be read."""
    for name, value in _stated(headers):
        if name == "id":
            try:
                return _text(name, value)
            except InvalidEvent:
                return None
    return None


def _stated(headers: Iterable[Header]) -> list[tuple[str, bytes]]:
    return [
        (name[len(ATTRIBUTE_PREFIX) :].decode("latin-1"), value)
        for name, value in headers
        if name.lower().startswith(ATTRIBUTE_PREFIX)
    ]


def _text(name: str, value: bytes) -> str:
    """A header's value, unquoted and percent-decoded as section 3.1.3.2 of the HTTP binding requires."""
    quoted = _QUOTED.fullmatch(value)
    if quoted:
        value = re.sub(rb"\\(.)", rb"\1", quoted[1], flags=re.DOTALL)
    try:
        return unquote_to_bytes(value).decode()
    except UnicodeDecodeError:
        raise InvalidEvent("invalid", "is not percent-encoded UTF-8", safe_path([name])) from None
