"""AMQP messages → requests as the door judges them. Pure.

A message is a CloudEvent in structured, batched or binary mode, or plain JSON. A translation depends on nothing
that differs between two deliveries of one message, so a redelivery is a duplicate by source and id.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, NamedTuple
from urllib.parse import quote

import msgspec

from services.ingest.body import inflate, is_gzip
from services.ingest.items import is_array, split
from services.ingest.limits import Refused
from services.ingest.modes import BATCHED, PLAIN, STRUCTURED, Header, mode_of
from services.rabbitmq.protocols import Delivery, Properties
from shared.contracts.errors import InvalidEvent
from shared.contracts.events import MAX_ID
from shared.contracts.fault_path import safe_path
from shared.contracts.limits import MAX_BODY_BYTES
from shared.contracts.wire import BOM, normal

#: What the name of a header that states an attribute begins with: of the AMQP binding, of its form for clients
#: that allow no colon, and of HTTP's.
_ATTRIBUTE = re.compile(r"(?:cloudEvents[:_]|ce-)(.*)", re.IGNORECASE | re.DOTALL)
_CONTENT_TYPE, _CONTENT_ENCODING = b"content-type", b"content-encoding"
#: What clients of AMQP state as the encoding of text (kombu and Spring do): it is no compression.
_CHARSETS = frozenset({"utf-8", "utf8", "us-ascii", "ascii"})
_TOO_LARGE = f"a message has at most {MAX_BODY_BYTES} bytes (after decompression)"

_members = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Request(NamedTuple):
    """One event, as a request to the door: its body, and headers as in ASGI. Without headers it is an event in
    structured mode, by far the most frequent."""

    body: bytes
    headers: Sequence[Header] = ()


def requests_of(delivery: Delivery, queue: str) -> list[Request]:
    """The events of a message, in order. Raises InvalidEvent when the message as a whole cannot be read."""
    properties = delivery.properties
    if delivery.undecodable:
        raise InvalidEvent("invalid", f"the message's property {delivery.undecodable} is not as AMQP 0-9-1 has it")
    try:
        return list(_requests(delivery.body, properties, f"rabbitmq/{queue}"))
    except Refused as error:
        raise InvalidEvent("too_large" if error.status == 413 else "invalid", error.detail) from None


def _requests(body: bytes, properties: Properties, source: str) -> Iterator[Request]:
    if len(body) > MAX_BODY_BYTES:
        raise InvalidEvent("too_large", _TOO_LARGE)
    body = _inflated(body, properties).removeprefix(BOM)
    media = _media(properties)
    stated = [(name, _text(name, value)) for name, value in _attributes(properties.headers)]
    if ";" in (properties.content_type or "") and not stated:
        mode_of([_content_type(properties)])  # its charset
    if media == BATCHED or (is_array(body) and media in ("", PLAIN) and not stated):
        if stated:
            raise InvalidEvent("invalid", "a batch takes no attributes in headers: each of its events has its own")
        items = split(body)
        for index, item in enumerate(items):
            of_item = properties if len(items) == 1 else _of_item(properties, index)
            yield Request(item if media == BATCHED else _completed(item, of_item, source))
    elif media == STRUCTURED and not stated:
        yield Request(body)
    elif media.startswith("application/cloudevents"):
        yield Request(body, [_content_type(properties), *map(_header, stated)])
    elif stated:
        yield Request(body, [_content_type(properties), *_binary(stated, body, properties, source)])
    elif media in ("", PLAIN):
        yield Request(_completed(body, properties, source))
    else:
        raise InvalidEvent("invalid", "the content type is neither JSON nor that of a CloudEvent")


def as_far_as_readable(body: bytes, properties: Properties) -> bytes:
    """A message that can never be accepted as an event in structured mode, for whoever asks whose it is and of
    which type: without attributes that cannot be read, and as it came where it holds no one event."""
    with suppress(Refused):  # the body of an event was decompressed before
        body = _inflated(body, properties)
    body = body.removeprefix(BOM)
    attributes = list(_attributes(properties.headers))
    data = _data(body)
    whole = isinstance(data.get("data"), dict) and "specversion" in data["data"]
    if not attributes or whole or _media(properties).startswith("application/cloudevents"):
        try:
            return normal(body)
        except InvalidEvent:
            return body
    fields: dict[str, object] = {**_from_properties(body, properties)}
    for name in {name for name, _ in attributes}:
        values = [_text_or_none(name, value) for stated, value in attributes if stated == name]
        # Who states a tenant twice states none, and not that of ``default``.
        fields[name] = values[0] if len(set(values)) == 1 else None
    return json.dumps({**fields, **data}).encode()


def _data(body: bytes) -> dict[str, Any]:
    try:
        return {"data": json.loads(body)}
    except (ValueError, RecursionError):
        return {}


def _inflated(body: bytes, properties: Properties) -> bytes:
    """Raises Refused."""
    encoding = (properties.content_encoding or "").strip().lower()
    packed = encoding and encoding not in _CHARSETS and is_gzip([(_CONTENT_ENCODING, _latin(encoding))])
    return inflate(body) if packed else body


def _media(properties: Properties) -> str:
    return (properties.content_type or "").partition(";")[0].strip().lower()


def _content_type(properties: Properties) -> Header:
    return (_CONTENT_TYPE, _latin(properties.content_type or PLAIN))


def _binary(stated: list[tuple[str, str]], body: bytes, properties: Properties, source: str) -> Iterator[Header]:
    """The attributes of an event in binary mode. What no header states is taken from the properties."""
    names = {name for name, _ in stated}
    yield from map(_header, stated)
    defaults = {"specversion": "1.0", "source": source, **_from_properties(body, properties)}
    yield from (_header((name, text)) for name, text in defaults.items() if name not in names)


def _completed(raw: bytes, properties: Properties, source: str) -> bytes:
    """Plain JSON with the attributes that it lacks. What is no JSON object stays as it is: the door rejects it."""
    try:
        present = _members.decode(raw)
    except (ValueError, RecursionError):
        return raw
    defaults = {"specversion": "1.0", "source": source, **_from_properties(raw, properties)}
    added = [f'"{name}":{json.dumps(text)}' for name, text in defaults.items() if name not in present]
    if not added:
        return raw
    # In front: where a name is there twice, the event's own value comes last and wins.
    start = raw.index(b"{") + 1
    return raw[:start] + ",".join(added).encode() + (b"," if present else b"") + raw[start:]


def _of_item(properties: Properties, index: int) -> Properties:
    """The properties of an item of an array, with an id of its own. Ids order as the items do: of two about one
    relation at one time the later one wins."""
    if not properties.message_id:
        return properties
    id = f"{properties.message_id}/{index:04d}"
    if len(id) > MAX_ID:
        id = f"sha256-{hashlib.sha256(id.encode()).hexdigest()}"
    return replace(properties, message_id=id)


def _from_properties(body: bytes, properties: Properties) -> dict[str, str]:
    """Attributes by the message's properties. Without a message id, equal bodies are one event."""
    found = {"id": properties.message_id or f"sha256-{hashlib.sha256(body).hexdigest()}"}
    if properties.type:
        found["type"] = properties.type
    if properties.timestamp is not None:
        found["time"] = _time(properties.timestamp)
    return found


def _attributes(headers: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    for name, value in headers.items():
        if name[:3].lower() in ("clo", "ce-") and (found := _ATTRIBUTE.fullmatch(name)):
            yield found[1], value


def _text(name: str, value: object) -> str:
    """An attribute's value as text. Raises InvalidEvent."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return value
        case int():
            return str(value)
        case datetime():
            return _time(value)
        case bytes() | bytearray():
            try:
                return bytes(value).decode()
            except UnicodeDecodeError:
                raise InvalidEvent("invalid", "is not UTF-8", safe_path([name])) from None
    raise InvalidEvent("invalid", "is neither text, a whole number, a truth value nor a time", safe_path([name]))


def _text_or_none(name: str, value: object) -> str | None:
    try:
        return _text(name, value)
    except InvalidEvent:
        return None


def _header(attribute: tuple[str, str]) -> Header:
    name, text = attribute
    # The door undoes it, as the HTTP binding has it.
    return f"ce-{name}".encode(), quote(text, safe="").encode()


def _time(time: datetime) -> str:
    aware = time if time.tzinfo is not None else time.replace(tzinfo=UTC)
    return aware.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _latin(text: str) -> bytes:
    return text.encode("latin-1", "replace")
