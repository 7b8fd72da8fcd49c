"""Decodes and encodes events: validation with a reason, and upcasting of old versions. Pure."""

import json
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

import orjson
from pydantic import BaseModel, TypeAdapter, ValidationError

from shared.contracts.errors import InvalidEvent
from shared.contracts.events import (
    EVENT_TYPES,
    PLAIN,
    SEALED,
    ConsumerUpserted,
    Event,
    ProviderData,
    ProviderUpserted,
    RelationRecorded,
    SubjectErased,
)
from shared.contracts.fault_path import HIDDEN, meant, safe_path
from shared.contracts.names import lookalike
from shared.contracts.rfc3339 import WANTED
from shared.contracts.spelling import may_differ, with_ids_in_nfc
from shared.contracts.strict_json import NOT_UTF_8, check
from shared.contracts.unambiguous import is_unambiguous
from shared.contracts.wire import BOM, normal
from shared.contracts.wording import in_words

MAX_EVENT_BYTES = 32 * 1024
#: A sealed event is longer: base64 adds a third, and each of at most 54 values a nonce, a tag and a prefix.
MAX_SEALED_BYTES = 48 * 1024
_TOKEN = b'"kith1.'

ADAPTER: TypeAdapter[Event] = TypeAdapter(Event)
_validate = ADAPTER.validator.validate_json


Upcaster = Callable[[dict[str, Any]], dict[str, Any]]

#: (type, dataversion) → a function to the next version's JSON. The only place that knows old versions.
UPCASTERS: Mapping[tuple[str, int], Upcaster] = {}


def decode(raw: bytes, *, upcasters: Mapping[tuple[str, int], Upcaster] = UPCASTERS) -> Event:
    """Decode the event in ``raw`` (JSON, UTF-8, at most 32 KiB, sealed 48), upcast to the current version.

    Raises InvalidEvent with the field at fault and the reason ``too_large``, ``not_json``, ``unknown_type``,
    ``unknown_version``, ``invalid``, or one of ``strict_json``'s. Ids are normalised to NFC.
    """
    if len(raw) > MAX_EVENT_BYTES and (len(raw) > MAX_SEALED_BYTES or _TOKEN not in raw):
        raise InvalidEvent("too_large", f"{len(raw)} bytes, and an event has at most {MAX_EVENT_BYTES}")
    try:
        event: Event = _validate(raw)
    except ValidationError as error:
        # Once: a second byte order mark is no JSON, and thousands would be too deep a recursion.
        if (other := normal(raw)) is not raw and not other.startswith(BOM):
            return decode(other, upcasters=upcasters)
        invalid = _refused(raw, error)
        if (invalid.reason, invalid.field) != ("invalid", "dataversion"):
            raise invalid from None
    else:
        if not is_unambiguous(raw, event):
            check(raw)
            check_names(raw)
            normal(raw)  # raises if there are both data and data_base64
        return with_ids_in_nfc(event) if may_differ(raw) else event
    try:
        # The event is known to be unambiguous by now.
        return decode_fields(_upcast(orjson.loads(raw), upcasters))
    except InvalidEvent as invalid:
        if invalid.field != "dataversion":
            raise
        detail = "this version of the event type is not known here"
        raise InvalidEvent("unknown_version", detail, "dataversion") from None


def check_names(raw: bytes) -> None:
    """Raise InvalidEvent for an attribute that some readers take for another one (``names.lookalike``)."""
    if (name := lookalike(orjson.loads(raw))) is not None:
        detail = "is an attribute's name in other letters, which some readers take for it; names are lower case"
        raise InvalidEvent("invalid", detail, safe_path([name]))


def decode_fields(fields: dict[str, Any]) -> Event:
    """Decode an already parsed JSON object of the current version."""
    # Through JSON, because strict models accept times and tuples only from JSON.
    raw = json.dumps(fields).encode()
    try:
        event: Event = _validate(raw)
    except ValidationError as error:
        raise _refused(raw, error) from None
    if not is_unambiguous(raw, event):
        check(raw)
    return with_ids_in_nfc(event) if may_differ(raw) else event


def _refused(raw: bytes, error: ValidationError) -> InvalidEvent:
    invalid = explain(error)
    try:
        check(raw)
    except InvalidEvent as strict:
        # An ambiguity is reported before any other fault.
        # Of what is no JSON pydantic's position is the better reason, unless it is not even text.
        return invalid if invalid.reason == strict.reason == "not_json" and strict.detail != NOT_UTF_8 else strict
    return invalid


def decode_internal(raw: bytes) -> SubjectErased | None:
    """Decode Kith's own event in ``raw``; None for another event. The door never calls this."""
    try:
        return with_ids_in_nfc(SubjectErased.model_validate_json(raw))
    except (ValidationError, InvalidEvent):
        return None


def encode(event: Event | SubjectErased) -> bytes:
    """The event in CloudEvents JSON structured mode, as published to Kafka."""
    if isinstance(event, SubjectErased):
        return event.model_dump_json(exclude_none=True).encode()
    if isinstance(event, ConsumerUpserted | ProviderUpserted) and (removed := _removed(event)):
        fields = event.model_dump(mode="json", exclude_none=True)
        for container, name in removed:
            (fields["data"][container] if container else fields["data"])[name] = None
        return orjson.dumps(fields)
    return ADAPTER.dump_json(event, exclude_none=True)


def _removed(event: ConsumerUpserted | ProviderUpserted) -> list[tuple[str, str]]:
    """The fields that an event sets to null, as (container or "", name). Null removes them, so it must not be left
    out as a default."""
    data, location = event.data, event.data.location
    found = []
    if isinstance(data, ProviderData):
        found += [("", name) for name in ("name", "categories") if _is_null(data, name)]
    if location is not None:
        found += [("location", name) for name in type(location).model_fields if _is_null(location, name)]
    return found


def _is_null(part: BaseModel, name: str) -> bool:
    return name in part.model_fields_set and getattr(part, name) is None


def check_clock(event: Event, arrived: datetime, most: timedelta) -> None:
    """Reject an event dated more than ``most`` after its arrival: it would outrank every later amendment, and a
    relation in the far future would outrank all others. Raises InvalidEvent with the reason in_the_future."""
    ahead = None
    if event.time - arrived > most:
        ahead = "time"
    elif isinstance(event, RelationRecorded) and (occurred := event.data.occurred_at) is not None:
        ahead = "data.occurred_at" if occurred - arrived > most else None
    if ahead:
        detail = f"is more than {most.total_seconds():.0f} s ahead of the arrival"
        raise InvalidEvent("in_the_future", detail, ahead)


def _upcast(fields: dict[str, Any], upcasters: Mapping[tuple[str, int], Upcaster]) -> dict[str, Any]:
    name, version = fields.get("type"), fields.get("dataversion", 1)
    while type(version) is int and type(name) is str and (upcast := upcasters.get((name, version))):
        fields = upcast(fields)
        raised = fields.get("dataversion")
        if type(raised) is not int or raised <= version:
            raise RuntimeError(f"the upcaster of {name} {version} does not raise the version")
        version = raised
    return fields


def explain(error: ValidationError) -> InvalidEvent:
    """The first error of a validation as an InvalidEvent, which never quotes the offending value."""
    errors: list[dict[str, Any]] = [
        {**each, "loc": each["loc"][:-1] if each["loc"][-1:] == (PLAIN,) else each["loc"]}
        for each in error.errors(include_url=False, include_input=False, include_context=False)
        if each["loc"][-1:] != (SEALED,)  # its fault as a plain value is more specific
    ]
    first = errors[0]
    if first["type"] == "json_invalid":
        return InvalidEvent("not_json", first["msg"])
    if first["type"] == "union_tag_not_found":
        return InvalidEvent("invalid", "is required", "type")
    if first["type"] == "union_tag_invalid":
        return InvalidEvent("unknown_type", f"is none of {', '.join(EVENT_TYPES)}", "type")
    location = list(first["loc"])
    if location and location[0] in EVENT_TYPES:
        del location[0]
    if first["type"] != "extra_forbidden" and location[-1:] == [HIDDEN]:
        del location[-2]  # by which pydantic means that it is the key that is at fault
    if location[:2] == ["data", "traits"] and len(location) > 3:
        # Pydantic reports an error for each type that a trait's value may have. A text has one of these.
        of_text = [
            each
            for each in errors
            if each["loc"][:4] == first["loc"][:4]
            and each["type"] in ("string_pattern_mismatch", "string_too_long")
        ]
        if not of_text:
            return InvalidEvent(
                "invalid",
                "must be a string, a number, true, false, null or a list of these (at most 100)",
                safe_path(location[:3]),
            )
        errors, first, location = of_text[:1], of_text[0], location[:3]
    detail = "is required" if first["type"] == "missing" else in_words(first)
    if first["type"] == "extra_forbidden":
        detail = f"is not a field of this event type{meant(str(location[-1]))}"
    if first["type"] == "datetime_from_date_parsing":
        detail = WANTED  # of the pattern it is, but there is no such day, hour or second
    if len(errors) > 1:
        detail += f" (and {len(errors) - 1} more)"
    return InvalidEvent("invalid", detail, safe_path(location))
