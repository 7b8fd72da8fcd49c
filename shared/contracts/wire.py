"""The forms in which an event may arrive, and their conversion to the one that the codec reads: CloudEvents JSON
structured mode. Pure.

``normal`` removes a byte order mark and attributes that are null, and replaces ``data_base64`` by ``data``.
``from_attributes`` converts an event in binary mode, over HTTP or in Kafka, to structured mode, with its data byte
for byte.
"""

import base64
import binascii
import json
import re
from collections.abc import Iterable, Mapping

import msgspec

from shared.contracts.errors import InvalidEvent
from shared.contracts.fault_path import safe_path
from shared.contracts.strict_json import check

#: The byte order mark that Windows writes before UTF-8.
BOM = b"\xef\xbb\xbf"
#: Prefix of the Kafka headers that contain an attribute.
KAFKA_PREFIX = "ce_"
_CONTENT_TYPE = "content-type"
_REQUIRED = frozenset(f"{KAFKA_PREFIX}{name}" for name in ("specversion", "id", "source", "type"))
_NAME = re.compile(r"[a-z0-9]+")
# These come from the value and the Content-Type header.
_ELSEWHERE = {
    "data": "is stated by a header, but is the body itself",
    "data_base64": "is stated by a header, but is the body itself",
    "datacontenttype": "is stated by the header Content-Type, and by no other; leave this one out",
}
#: Attributes that Kith reads.
_DECISIVE = frozenset(
    {"specversion", "id", "source", "type", "time", "tenant", "subject", "sequence", "dataversion", "dataschema"}
)
_BASE64 = "data_base64"
#: Attributes with a default. CloudEvents' JSON format has null for one that is not stated; the models have not.
_WITH_DEFAULTS = ("specversion", "source", "tenant", "dataversion")
_NULL = b"null"
_JSON_TYPE = re.compile(r"(?:application/|text/)json|[a-z0-9.!#$&^_-]+/[a-z0-9.!#$&^_-]+\+json")

_value = msgspec.json.Decoder(msgspec.Raw)
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])

#: Name and value, as in Kafka.
Headers = tuple[tuple[str, bytes], ...]


def normal(raw: bytes) -> bytes:
    """``raw`` without a byte order mark, without attributes that have a default and are null, and with ``data`` in
    place of ``data_base64``; nearly always ``raw`` itself. Raises InvalidEvent for invalid base64, for base64 that
    does not contain JSON, or if ``data`` is present as well."""
    if raw.startswith(BOM):
        raw = raw[len(BOM) :]
    return _rewritten(raw) if _NULL in raw or b'"data_base64"' in raw else raw


def _rewritten(raw: bytes) -> bytes:
    try:
        members = _members.decode(raw)
    except (ValueError, RecursionError):
        return raw  # the codec reports what is wrong
    unset = [name for name in _WITH_DEFAULTS if bytes(members.get(name, b"")) == _NULL]
    if not unset and _BASE64 not in members:
        return raw
    check(raw)
    for name in unset:
        del members[name]
    data = _decoded(members) if _BASE64 in members else None
    stated = [b"%b:%b" % (json.dumps(name).encode(), bytes(value)) for name, value in members.items()]
    return b"{" + b",".join(stated if data is None else [*stated, b'"data":' + data]) + b"}"


def _decoded(members: dict[str, msgspec.Raw]) -> bytes:
    """The JSON in ``data_base64``, which is taken out of ``members``."""
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
    return data


def check_json(raw: bytes, field: str | None = None) -> None:
    """Raise InvalidEvent unless ``raw`` is exactly one JSON value, without NaN."""
    try:
        _value.decode(raw)
    except (ValueError, RecursionError) as error:
        check(raw, field)  # more specific for half a surrogate pair and an inexact number
        raise not_json(error, field) from None


def not_json(error: ValueError | RecursionError, field: str | None) -> InvalidEvent:
    """Convert an error of msgspec to an InvalidEvent."""
    if isinstance(error, RecursionError):
        return InvalidEvent("not_json", "is nested too deeply", field)
    # Only msgspec's own messages are known never to quote the input.
    return InvalidEvent(
        "not_json", str(error) if isinstance(error, msgspec.DecodeError) else "is not UTF-8", field
    )


def from_attributes(
    stated: Iterable[tuple[str, str]], data: bytes, extra: Mapping[str, str] | None = None
) -> bytes:
    """The event in structured mode with the attributes ``stated`` (name and text) and with ``data``, which is
    JSON. ``extra`` are attributes from other sources than headers. Raises InvalidEvent."""
    fields: dict[str, object] = {}
    for name, text in stated:
        _check_name(name)
        if name in fields:
            raise InvalidEvent("invalid", "is stated by two headers", safe_path([name]))
        fields[name] = text
    # Headers are text; among the known attributes, this one is a number.
    version = str(fields.get("dataversion", ""))
    if re.fullmatch(r"[0-9]{1,9}", version):
        fields["dataversion"] = int(version)
    start = json.dumps({**fields, **(extra or {})}, ensure_ascii=False, separators=(",", ":")).encode()
    data = data.removeprefix(BOM)
    if not data:
        return start  # validation then reports that data is required
    check_json(data, "data")
    return start[:-1] + b',"data":' + data + b"}"


def check_headers(stated: Iterable[tuple[str, str]], raw: bytes) -> None:
    """Raise InvalidEvent when headers state an attribute (name and text) otherwise than the event in structured
    mode does, or one that decides what the event is and that it lacks: a reader of headers would believe another
    event than a reader of the body. Other extensions, such as ``partitionkey``, may stand in a header alone."""
    try:
        members = _members.decode(raw.removeprefix(BOM))
    except (ValueError, RecursionError):
        return  # the codec reports what is wrong
    seen: set[str] = set()
    for name, text in stated:
        _check_name(name)
        if name in seen:
            raise InvalidEvent("invalid", "is stated by two headers", safe_path([name]))
        seen.add(name)
        if name not in members and name not in _DECISIVE:
            continue
        if name not in members or _as_text(bytes(members[name])) != text:
            raise InvalidEvent(
                "invalid", "is stated otherwise by a header; leave the header out", safe_path([name])
            )


def _check_name(name: str) -> None:
    """Raise InvalidEvent for an attribute that no header with the prefix can state."""
    if name in _ELSEWHERE:
        raise InvalidEvent("invalid", _ELSEWHERE[name], name)
    if not _NAME.fullmatch(name):
        raise InvalidEvent("invalid", "a header names no attribute: names have lower-case letters and digits only")


def _as_text(value: bytes) -> str | None:
    """A JSON value as a header states it; None for one that no header can."""
    found = json.loads(value)
    if isinstance(found, bool):
        return "true" if found else "false"
    return str(found) if isinstance(found, str | int) else None


def stated_in(headers: Headers) -> list[tuple[str, str]]:
    """The attributes that the headers of a Kafka message state; one without a value states none. Names of headers
    are compared without case, so that one in another case is an error and not ignored. Raises InvalidEvent."""
    return [
        (name[len(KAFKA_PREFIX) :], _text(name, value))
        for name, value in headers
        if value and name.lower().startswith(KAFKA_PREFIX)
    ]


def is_binary(headers: Headers) -> bool:
    """Whether a Kafka message is a CloudEvent in binary mode: a header contains one of the required attributes,
    and the content type is not that of structured mode."""
    return any(value and name.lower() in _REQUIRED for name, value in headers) and not any(
        name.lower() == _CONTENT_TYPE and value.lower().startswith(b"application/cloudevents")
        for name, value in headers
    )


def structured(headers: Headers, value: bytes) -> bytes:
    """Convert a Kafka message in binary mode to structured mode. Raises InvalidEvent."""
    stated = stated_in(headers)
    types = {_text(name, text) for name, text in headers if text and name.lower() == _CONTENT_TYPE}
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
    """The headers without those of the event's attributes, which are now in its value."""
    return tuple(
        (name, value)
        for name, value in headers
        if not name.lower().startswith(KAFKA_PREFIX) and name.lower() != _CONTENT_TYPE
    )


def _text(name: str, value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        field = (
            safe_path([name.removeprefix(KAFKA_PREFIX)]) if name.startswith(KAFKA_PREFIX) else "datacontenttype"
        )
        raise InvalidEvent("invalid", "is not UTF-8", field) from None
