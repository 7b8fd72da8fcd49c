"""Cursors: "after this item" in a paged list, which only the service can make. Pure.

A cursor is base64url of a version byte, a MAC and the place as JSON. The MAC (HMAC-SHA256, cut to 16 bytes) covers
the place and the list that it belongs to: service, route, tenant and every parameter that shapes the list. So a
cursor that was changed, or that comes from another list, is refused. It is not bound to a credential: another key
of the tenant may read on.
"""

import base64
import binascii
import hmac
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol

import orjson

from shared.contracts.events import EPOCH
from shared.http.parameters import BadParameter

VERSION = 1
_MAC_BYTES = 16
_MILLISECOND = timedelta(milliseconds=1)
#: Until the year 9999, the last that there is.
_MOST_MILLISECONDS = 250_000_000_000_000
_USE = b"kith cursor"
_ADVICE = "use it unchanged and with the same parameters, or begin with the first page"


class CursorKey(Protocol):
    """The key that all processes of an installation share."""

    def current(self) -> bytes:
        """Raises Unavailable."""

    def renewed(self) -> bytes:
        """The key, read again if that was not done a moment ago: another process may have replaced it. Raises
        Unavailable."""


class Cursors:
    """The cursors of one list. ``parameter`` is the name of the parameter that brings them back."""

    def __init__(self, key: CursorKey, list_: Sequence[Any], parameter: str = "cursor") -> None:
        """``list_``: everything that tells the list from others, as JSON values."""
        self._key = key
        self._list = orjson.dumps(list_)
        self._parameter = parameter

    def encode(self, place: Sequence[Any] | None) -> str | None:
        """A cursor for a place (JSON values), safe in a query string; None for None, the end of the list."""
        if place is None:
            return None
        body = orjson.dumps(place)
        return base64.urlsafe_b64encode(self._mac(self._key.current(), body) + body).rstrip(b"=").decode()

    def decode(self, cursor: str | None) -> list[Any] | None:
        """The place in a cursor of this list; None for None, the start of the list. Raises BadParameter for
        anything else, and Unavailable."""
        if cursor is None:
            return None
        try:
            raw = base64.b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4), b"-_", validate=True)
        except (ValueError, binascii.Error):
            raise self._bad() from None
        # One text for each cursor: base64 has several, which differ in bits that are not read.
        if base64.urlsafe_b64encode(raw).rstrip(b"=").decode() != cursor or len(raw) <= 1 + _MAC_BYTES:
            raise self._bad()
        if raw[0] != VERSION:
            detail = "comes from another version of the service; begin with the first page"
            raise BadParameter(self._parameter, detail)
        given, body = raw[: 1 + _MAC_BYTES], raw[1 + _MAC_BYTES :]
        if not self._is_ours(given, body):
            raise self._bad()
        place: list[Any] = orjson.loads(body)
        return place

    def _is_ours(self, given: bytes, body: bytes) -> bool:
        key = self._key.current()
        if hmac.compare_digest(given, self._mac(key, body)):
            return True
        return (new := self._key.renewed()) != key and hmac.compare_digest(given, self._mac(new, body))

    def _mac(self, key: bytes, body: bytes) -> bytes:
        """The version byte and the MAC."""
        version = bytes([VERSION])
        own = hmac.digest(key, _USE, "sha256")
        # The length keeps the two parts apart.
        covered = version + len(self._list).to_bytes(8, "big") + self._list + body
        return version + hmac.digest(own, covered, "sha256")[:_MAC_BYTES]

    def _bad(self) -> BadParameter:
        return BadParameter(self._parameter, f"is not a value of next from this query; {_ADVICE}")


def time_place(time: datetime, id: str) -> list[Any]:
    """The place of an item in a list by time and id. Milliseconds, as MongoDB stores times."""
    return [(time - EPOCH) // _MILLISECOND, id]


def time_and_id(place: Sequence[Any] | None) -> tuple[datetime, str] | None:
    """What ``time_place`` has made a place of. Raises BadParameter."""
    match place:
        case None:
            return None
        case [int(milliseconds), str(id)] if 0 <= milliseconds < _MOST_MILLISECONDS:
            return EPOCH + milliseconds * _MILLISECOND, id
    raise BadParameter("cursor", "is not a value of next from this query")
