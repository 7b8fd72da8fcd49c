"""Answers of the feed: the resources of paths, and rows as JSON. Pure."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

import orjson

from services.exports.columns import Column, Row
from services.exports.odata.errors import ODataError, bad, unsupported
from services.exports.odata.filters import literal
from services.exports.odata.metadata import SETS
from services.exports.text import iso

_RESOURCE = re.compile(
    r"(?P<set>\w+)(?:\((?:id=)?(?P<key>'(?:[^']|'')*')\))?"
    r"(?:/(?:(?P<count>\$count)|(?P<property>\w+)(?P<value>/\$value)?))?",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Resource:
    """The resource of a path below the service root: a set, its ``$count``, one entity, or a property of one."""

    set: str
    key: str | None = None
    count: bool = False
    property: str | None = None
    raw: bool = False


def asked_for(resource: Resource) -> str:
    """What a path asks for, as ``options.TAKEN`` names it."""
    if resource.key is None:
        return "$count" if resource.count else "a set"
    if resource.property is None:
        return "one entity"
    return "$value" if resource.raw else "one property"


def resource_of(path: str) -> Resource:
    """Raises ODataError."""
    found = _RESOURCE.fullmatch(path)
    if found is None or found["set"] not in SETS:
        name = path.partition("(")[0].partition("/")[0]
        if name.startswith("$"):
            raise unsupported(name, f"{name} is not supported")
        raise ODataError(404, "NotFound", f"there is no {path}; the feed has {', '.join(SETS)}")
    key = None
    if found["key"] is not None:
        value = literal(found["key"], "key")
        key = value if isinstance(value, str) else None
    if found["count"] and key is not None:
        raise bad("$count", "one entity cannot be counted")
    if found["property"] and key is None:
        raise bad(found["property"], "is a property of one entity, and the key is missing")
    return Resource(found["set"], key, bool(found["count"]), found["property"], bool(found["value"]))


@dataclass(frozen=True, slots=True)
class Style:
    """The JSON format that a client accepts: with contexts and links or without (``odata.metadata=none``), 64-bit
    integers as numbers or, for clients with smaller numbers, as texts (``IEEE754Compatible=true``)."""

    metadata: str = "minimal"
    texts: bool = False

    @property
    def media_type(self) -> str:
        suffix = ";IEEE754Compatible=true" if self.texts else ""
        return f"application/json;odata.metadata={self.metadata}{suffix};charset=utf-8"


def style_of(accept: str | None, format: str | None) -> Style:
    """Raises ODataError (406) if the client accepts no JSON. ``$format`` wins over the header."""
    for wanted in (format or accept or "*/*").split(","):
        media, *parameters = (part.strip().lower() for part in wanted.split(";"))
        if media in ("application/json", "json", "application/*", "*/*", "text/json"):
            none = any(p in ("odata.metadata=none", "metadata=none") for p in parameters)
            return Style("none" if none else "minimal", "ieee754compatible=true" in parameters)
    raise ODataError(406, "NotAcceptable", "the feed answers in JSON only: Accept: application/json")


def entities(
    rows: Sequence[Row], columns: Sequence[Column], style: Style, context: str, count: int | None, next: str | None
) -> bytes:
    body: dict[str, Any] = {} if style.metadata == "none" else {"@odata.context": context}
    if count is not None:
        body["@odata.count"] = str(count) if style.texts else count
    body["value"] = [shown(row, columns, style) for row in rows]
    # Also without metadata: without the link the client would treat the page as the whole set.
    if next is not None:
        body["@odata.nextLink"] = next
    return orjson.dumps(body)


def shown(row: Row, columns: Sequence[Column], style: Style) -> dict[str, Any]:
    """An entity as JSON: every property, null without a value."""
    return {column.name: value(row, column, style) for column in columns}


def value(row: Row, column: Column, style: Style) -> Any:
    found = row.get(column.name)
    if column.type == "texts":
        return found or []
    if found is None:
        return None
    if column.type == "time":
        return iso(found, column.digits)
    return str(found) if style.texts and column.type == "integer" else found


def next_link(address: str, given: Mapping[str, str], token: str) -> str:
    """``address`` of the set, with the same options and the place where the next page starts."""
    kept = {name: text for name, text in given.items() if name not in ("$skiptoken", "$skip", "$top")}
    return f"{address}?{urlencode({**kept, '$skiptoken': token}, safe='$', quote_via=quote)}"


def error_body(error: ODataError) -> bytes:
    body: dict[str, Any] = {"code": error.code, "message": error.message}
    if error.target is not None:
        body["target"] = error.target
    return orjson.dumps({"error": body})
