"""Opaque cursors: "after this item" in a paged list. Pure."""

import base64
from typing import Any

import orjson


def encode_cursor(*place: Any) -> str:
    """Encode a place in a list (JSON values) as text that is safe in a query string."""
    return base64.urlsafe_b64encode(orjson.dumps(place)).rstrip(b"=").decode()


def decode_cursor(cursor: str) -> list[Any]:
    """The place given to ``encode_cursor``. Raises ValueError for any other text. The caller must check the
    values, because a cursor may be forged."""
    padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
    place = orjson.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    if not isinstance(place, list):
        raise ValueError("not a list")
    return place
