"""Opaque words for "after this item" in a paged list. Pure."""

import base64
from typing import Any

import orjson


def encode_cursor(*place: Any) -> str:
    """The place (JSON values) as one word that is safe in a query string."""
    return base64.urlsafe_b64encode(orjson.dumps(place)).rstrip(b"=").decode()


def decode_cursor(cursor: str) -> list[Any]:
    """The place that ``encode_cursor`` was given. Raises ValueError for any other text; what the values are
    is for the caller to check, for a cursor may be forged."""
    padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
    place = orjson.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    if not isinstance(place, list):
        raise ValueError("not a list")
    return place
