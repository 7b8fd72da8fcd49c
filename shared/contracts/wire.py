"""The forms in which an event may come, and the one that the codec reads: CloudEvents JSON structured mode. Pure.

``normal`` takes away a byte order mark and puts ``data`` in place of ``data_base64``. ``from_attributes`` makes of
an event in binary mode, over HTTP or in Kafka, the same event in structured mode, its data byte for byte.
"""

import base64
import binascii
import json
import re
from collections.abc import Iterable, Mapping

import msgspec

from shared.contracts.errors import InvalidEvent
from shared.contracts.strict_json import check

#: What Windows writes before UTF-8.
BOM = b"\xef\xbb\xbf"
#: Kafka's headers that state an attribute begin with it.
KAFKA_PREFIX = "ce_"
_CONTENT_TYPE = "content-type"
_REQUIRED = frozenset(f"{KAFKA_PREFIX}{name}" for name in ("specversion", "id", "source", "type"))
_NAME = re.compile(r"[a-z0-9]+")
# The value and the Content-Type header say these.
_ELSEWHERE = ("data", "datacontenttype")
_BASE64 = "data_base64"
_JSON_TYPE = re.compile(r"(?:application/|text/)json|[a-z0-9.!#$&^_-]+/[a-z0-9.!#$&^_-]+\+json")

_value = msgspec.json.Decoder(msgspec.Raw)
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])

#: Name and value, as Kafka has them.
Headers = tuple[tuple[str, bytes], ...]


def normal(raw: bytes) -> bytes:
    """``raw`` without a byte order mark, and with ``data`` where it states ``data_base64``; nearly always ``raw``
    itself. Raises InvalidEvent for base64 that is none, or holds no JSON, or comes with ``data``."""
    if raw.startswith(BOM):
        raw = raw[len(BOM) :]
    return _with_data(raw) if b'"data_base64"' in raw else raw


def _with_data(raw: bytes) -> bytes:
    try:
        members = _members.decode(raw)
    except (ValueError, RecursionError):
        return raw  # of which the codec says what is wrong
    if _BASE64 not in members:
        return raw
    check(raw)
    if "data" in members:
        raise InvalidEvent("invalid", "is there beside data; an event has one of the two", _BASE64)
    encoded = members.pop(_BASE64)
    try:
        text = json.loads(bytes(encoded))
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except (AttributeError, ValueError, binascii.Error):
        raise InvalidEvent("invalid", "is not base64 as RFC 4648 has it, with its padding", _BASE64) from None
    data = data.removeprefix(BOM)
    check_json(data, _BASE64)
    attributes = [b"%b:%b" % (json.dumps(name).encode(), bytes(value)) for name, value in members.items()]
    return b"{" + b",".join([*attributes, b'"data":' + data]) + b"}"


def check_json(raw: bytes, field: str | None = None) -> None:
    """Raise InvalidEvent unless ``raw`` is one JSON value: no NaN, nothing after it."""
    try:
        _value.decode(raw)
    except (ValueError, RecursionError) as error:
        check(raw, field)  # says more of half a surrogate pair, and of a number that cannot be held
        raise not_json(error, field) from None


def not_json(error: ValueError | RecursionError, field: str | None = None) -> InvalidEvent:
    """What msgspec raised, as an InvalidEvent."""
    if isinstance(error, RecursionError):
        return InvalidEvent("not_json", "is nested too deeply", field)
    # Only msgspec's own messages are known never to quote what was sent.
    return InvalidEvent(
        "not_json", str(error) if isinstance(error, msgspec.DecodeError) else "is not UTF-8", field
    )


def from_attributes(
    stated: Iterable[tuple[str, str]], data: bytes, extra: Mapping[str, str] | None = None
) -> bytes:
    """The event in structured mode whose attributes are ``stated`` (name and text), with ``data``, which is JSON.
    ``extra`` are attributes that something else than a header states. Raises InvalidEvent."""
    fields: dict[str, object] = {}
    for name, text in stated:
        if not _NAME.fullmatch(name) or name in _ELSEWHERE:
            raise InvalidEvent("invalid", "a header names no attribute that a header can state")
        if name in fields:
            raise InvalidEvent("invalid", "is stated by two headers", name)
        fields[name] = text
    # A header holds text; of the attributes known here this one is a number.
    version = str(fields.get("dataversion", ""))
    if re.fullmatch(r"[0-9]{1,9}", version):
        fields["dataversion"] = int(version)
    start = json.dumps({**fields, **(extra or {})}, ensure_ascii=False, separators=(",", ":")).encode()
    data = data.removeprefix(BOM)
    if not data:
        return start  # validation then says that data is required
    check_json(data, "data")
    return start[:-1] + b',"data":' + data + b"}"


def is_binary(headers: Headers) -> bool:
    """Whether a message in Kafka is a CloudEvent in binary mode: it has one of the required attributes in a
    header, and its content type does not say that it is in structured mode."""
    return any(name in _REQUIRED for name, _ in headers) and not any(
        name.lower() == _CONTENT_TYPE and value.lower().startswith(b"application/cloudevents")
        for name, value in headers
    )


def structured(headers: Headers, value: bytes) -> bytes:
    """A message in Kafka's binary mode in structured mode. Raises InvalidEvent."""
    stated, types = [], set()
    for name, text in headers:
        if name.startswith(KAFKA_PREFIX):
            stated.append((name.removeprefix(KAFKA_PREFIX), _text(name, text)))
        elif name.lower() == _CONTENT_TYPE:
            types.add(_text(name, text))
    if len(types) > 1:
        raise InvalidEvent("invalid", "is stated by two headers", "datacontenttype")
    extra = {"datacontenttype": types.pop()} if types else {}
    for stated_type in extra.values():
        media, *parameters = (part.strip() for part in stated_type.lower().split(";"))
        charsets = [p.partition("=")[2].strip(' "') for p in parameters if p.startswith("charset")]
        if not _JSON_TYPE.fullmatch(media) or not set(charsets) <= {"utf-8", "utf8", "us-ascii"}:
            raise InvalidEvent("invalid", "must be JSON in UTF-8, as in application/json", "datacontenttype")
    return from_attributes(sorted(stated), value, extra)


def without_attributes(headers: Headers) -> Headers:
    """The headers that are left when the event's attributes are in its value."""
    return tuple(
        (name, value)
        for name, value in headers
        if not name.startswith(KAFKA_PREFIX) and name.lower() != _CONTENT_TYPE
    )


def _text(name: str, value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        field = name.removeprefix(KAFKA_PREFIX)
        raise InvalidEvent(
            "invalid", "is not UTF-8", field if _NAME.fullmatch(field) else "datacontenttype"
        ) from None
