"""Finds, seals and opens the personal values of an event or a stored document. Pure.

Personal are all of a consumer's ``personal``, the part of ``location`` that is finer than a region (``city``,
``lat``, ``lon``), the ``text`` of a relation and the ``reason`` of a retraction. A token is bound to the path of
its field (``personal.email``, ``location.lat``, ``text``), which is the same in events and documents.
"""

from collections.abc import Callable, Iterator
from typing import Any

import orjson

from shared.contracts import codec
from shared.contracts.errors import InvalidEvent
from shared.contracts.events import ConsumerUpserted, Event, RelationRecorded, RelationRetracted
from shared.contracts.fact_fields import PERSONAL
from shared.runtime.protocols import Document
from shared.vault.tokens import DataKey, Unreadable, Value, is_token, seal, unseal

LOCATION = ("city", "lat", "lon")
#: Top-level fields of documents and of events' data that are personal, or contain personal fields.
TEXTS = PERSONAL
#: The paths of personal fields, as in masks and answers.
PERSONAL_OF_CONSUMER = ("personal.*", *(f"location.{name}" for name in LOCATION))
PERSONAL_OF_RELATION = PERSONAL

#: The top-level fields of documents and of events' data that are personal, or contain what is.
PERSONAL_PARTS = ("personal", "location", *TEXTS)
# JSON allows escapes in any name.
_NEEDLES = (*(f'"{name}"'.encode() for name in PERSONAL_PARTS), b"\\u")

#: A path and its value → the value to replace it; None removes it.
Change = Callable[[str, Any], Any]


def values(event: Event) -> Iterator[tuple[str, Value]]:
    """The personal values of an event, sealed or not: (path, value)."""
    if isinstance(event, RelationRecorded):
        if event.data.text is not None:
            yield "text", event.data.text
    elif isinstance(event, ConsumerUpserted):
        for name, value in (event.data.personal or {}).items():
            if value is not None:
                yield f"personal.{name}", value
        if (location := event.data.location) is not None:
            for name in LOCATION:
                if (value := getattr(location, name)) is not None:
                    yield f"location.{name}", value
    elif isinstance(event, RelationRetracted) and event.data.reason is not None:
        yield "reason", event.data.reason


def first_plaintext_path(event: Event) -> str | None:
    """The path of the first personal value that is not sealed; None when there is none."""
    return _first(event, sealed=False)


def first_token_path(event: Event) -> str | None:
    """The path of the first value that has the form of a token; None when there is none."""
    return _first(event, sealed=True)


def _first(event: Event, *, sealed: bool) -> str | None:
    if isinstance(event, RelationRecorded):  # nearly all events are, and this is asked of every one
        text = event.data.text
        return "text" if text is not None and is_token(text) is sealed else None
    return next((path for path, value in values(event) if is_token(value) is sealed), None)


def seal_event(event: Event, key: DataKey) -> Event:
    """The event with every personal value sealed with the key of its consumer."""
    tenant, consumer_id = event.tenant, getattr(event.data, "consumer_id", "")

    def sealed(path: str, value: Any) -> Any:
        return value if is_token(value) else seal(key, tenant, consumer_id, path, value)

    return _changed_event(event, sealed)


def seal_bytes(raw: bytes, event: Event, key: DataKey) -> bytes:
    """The bytes ``raw`` of ``event`` with every personal value sealed, and everything else unchanged. Raises
    InvalidEvent if it is not strict JSON."""
    sealed = seal_event(event, key)
    fields = _parsed(raw)
    if fields.get("dataversion", 1) != event.dataversion:
        return codec.encode(sealed)  # an older version, with its values in other places
    data, kept = orjson.loads(codec.encode(sealed))["data"], fields["data"]
    for name in PERSONAL_PARTS:
        kept.pop(name, None)
        if name in data:
            kept[name] = data[name]
    return orjson.dumps(fields)


def beside(raw: bytes, event: Event) -> bool:
    """Whether the bytes of an event of a relation may contain other members with the names of personal fields: a
    producer's own attributes may have such names."""
    if isinstance(event, RelationRecorded):  # nearly all events are, and few have a text
        stated = 0 if event.data.text is None else 1
    else:
        stated = sum(1 for _ in values(event))
    if not stated:
        return any(needle in raw for needle in _NEEDLES)
    return sum(raw.count(needle) for needle in _NEEDLES) > stated


def _parsed(raw: bytes) -> Any:
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:  # stricter than pydantic: half an emoji, for one
        raise InvalidEvent("not_json", error.msg) from None


def resealed(event: Event, spelled: str, old: DataKey | None, key: DataKey) -> Event:
    """The event with its sealed values under ``key``, which is its consumer's, whose id was not in NFC when they
    were sealed: ``spelled``, with the key ``old``. What opens already, or under neither key, stays as it is."""
    tenant, consumer_id = event.tenant, getattr(event.data, "consumer_id", "")

    def moved(path: str, value: Any) -> Any:
        if old is None or not is_token(value) or _opens(key, tenant, consumer_id, path, value):
            return value
        try:
            return seal(key, tenant, consumer_id, path, unseal(old, tenant, spelled, path, value))
        except Unreadable:
            return value

    return _changed_event(event, moved)


def _opens(key: DataKey, tenant: str, consumer_id: str, path: str, token: str) -> bool:
    try:
        unseal(key, tenant, consumer_id, path, token)
    except Unreadable:
        return False
    return True


def without(event: Event) -> Event:
    """The event without its personal values, for a consumer whose key is destroyed."""
    return _changed_event(event, lambda _path, _value: None)


def _changed_event(event: Event, change: Change) -> Event:
    data: Any = event.data
    update: dict[str, Any] = {}
    if isinstance(event, ConsumerUpserted):
        if data.personal is not None:
            update["personal"] = _changed(data.personal, "personal.", tuple(data.personal), change)
        if data.location is not None:
            # Only stated fields: null removes a field, and a missing field must stay missing.
            stated = data.location.model_dump(exclude_unset=True)
            moved = _changed(stated, "location.", LOCATION, change)
            update["location"] = type(data.location).model_construct(set(moved), **moved)
    elif isinstance(event, RelationRecorded | RelationRetracted):
        name = "text" if isinstance(event, RelationRecorded) else "reason"
        if (value := getattr(data, name)) is not None:
            update[name] = change(name, value)
    return event.model_copy(update={"data": data.model_copy(update=update)}) if update else event


def _changed(part: Document, prefix: str, names: tuple[str, ...], change: Change) -> Document:
    """``part`` with the members ``names`` changed. Members that become None are left out. An event's null, which
    removes a field, is kept."""
    changed = {}
    for name, value in part.items():
        new = change(prefix + name, value) if name in names and value is not None else value
        if new is not None or value is None:
            changed[name] = new
    return changed


def holds_tokens(document: Document) -> bool:
    """Whether a stored or shown document of a consumer or a relation contains sealed values."""
    found = False

    def look(_path: str, value: Any) -> Any:
        nonlocal found
        found = found or is_token(value)
        return value

    change_document(document, look)
    return found


def change_document(document: Document, change: Change) -> Document:
    """A copy of a stored or shown document of a consumer or a relation, with its personal values changed."""
    changed = dict(document)
    if isinstance(personal := document.get("personal"), dict):
        changed["personal"] = _changed(personal, "personal.", tuple(personal), change)
    if isinstance(location := document.get("location"), dict) and "provider_id" not in document:
        changed["location"] = _changed(location, "location.", LOCATION, change)
    for name in TEXTS:
        if isinstance(value := document.get(name), str):
            changed[name] = change(name, value)
    return changed


def reveal(
    document: Document, tenant: str, key: DataKey | None, unreadable: Any = None
) -> tuple[Document, list[str]]:
    """The document with its sealed values decrypted, and the paths of those that ``key`` cannot decrypt (None:
    all). These become ``unreadable``, or, if that is None, are left out of ``personal`` and ``location``."""
    failed: list[str] = []
    consumer_id = document["consumer_id"]

    def opened(path: str, value: Any) -> Any:
        if not is_token(value):
            return value
        try:
            if key is not None:
                return unseal(key, tenant, consumer_id, path, value)
        except Unreadable:
            pass
        failed.append(path)
        return unreadable

    return change_document(document, opened), failed
