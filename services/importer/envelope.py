"""Reads Debezium's envelope of a change, as its connector for Postgres writes it into Kafka in JSON. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from services.importer.envelope_values import holds_nullable, plain_row
from services.importer.json_rows import NotJson, read_json
from services.importer.row import Fields
from shared.contracts.errors import InvalidEvent
from shared.contracts.events import END, EPOCH
from shared.runtime.protocols import Headers

_OPERATIONS = frozenset({"c", "u", "d", "r"})
_LSNS = range(2**64)
_MILLISECONDS = range(1, (END - EPOCH) // timedelta(milliseconds=1))
#: Debezium's header of a deletion that is the first half of an update of the primary key.
_NEW_KEY = "__debezium.newkey"


@dataclass(frozen=True, slots=True)
class Change:
    """One change of one row. ``table`` is ``schema.table``. ``milliseconds`` is the commit's time since 1970, or
    of a snapshot that of its reading. ``lsn`` is the place in Postgres' log; only a snapshot may lack it. ``key``
    is the row's primary key, None for a table without one. ``rekeyed`` is a deletion of a key whose row goes on
    under another. ``logged``: it is certain that Postgres logged all of a deleted row."""

    updated: bool
    deleted: bool
    rekeyed: bool
    snapshot: bool
    server: str
    table: str
    key: Mapping[str, Any] | None
    before: Fields | None
    after: Fields | None
    milliseconds: int
    lsn: int | None
    logged: bool

    @property
    def row(self) -> Fields:
        return (self.before if self.deleted else self.after) or {}


def read_change(key: bytes | None, value: bytes | None, headers: Headers) -> Change | None:
    """The change in a record of Kafka, with or without its schema; None for a tombstone. Raises InvalidEvent."""
    if value is None:
        return None
    payload, schema = _payload(_object(value, "the record's value"))
    operation = payload.get("op")
    if operation is None:
        raise InvalidEvent(
            "invalid",
            "is required: this is not Debezium's envelope (is a transform set that leaves only the row?)",
            "op",
        )
    if not isinstance(operation, str) or operation not in _OPERATIONS:
        raise InvalidEvent("invalid", "is not c, u, d or r: such a change names no row", "op")
    source = payload.get("source")
    if not isinstance(source, dict):
        raise InvalidEvent("invalid", "is required", "source")
    # What else writes this envelope need not name it.
    if source.get("connector", "postgresql") != "postgresql":
        raise InvalidEvent(
            "invalid", "is not postgresql: changes of other databases are not read", "source.connector"
        )
    deleted = operation == "d"
    found = {part: _row(payload, schema, part) for part in ("before", "after")}
    needed = "before" if deleted else "after"
    if found[needed] is None:
        hint = ": let Postgres log it by REPLICA IDENTITY" if deleted else ""
        raise InvalidEvent("invalid", f"is required{hint}", needed)
    snapshot = operation == "r" or source.get("snapshot") not in (None, False, "false")
    table = _text(source, "table")
    return Change(
        operation == "u",
        deleted,
        deleted and any(name == _NEW_KEY for name, _ in headers),
        snapshot,
        _text(source, "name"),
        f"{source['schema']}.{table}" if source.get("schema") else table,
        _key(key),
        found["before"],
        found["after"],
        _time(payload, source),
        _lsn(source, snapshot),
        deleted and holds_nullable(found["before"] or {}, schema, "before"),
    )


def _payload(value: dict[str, Any]) -> tuple[dict[str, Any], Any]:
    """The payload and its schema, where the converter of Kafka Connect has ``schemas.enable=true``."""
    if value.keys() == {"schema", "payload"}:
        if not isinstance(value["payload"], dict):
            raise InvalidEvent("invalid", "is not a JSON object", "payload")
        return value["payload"], value["schema"]
    return value, None


def _object(raw: bytes, what: str) -> dict[str, Any]:
    try:
        value = read_json(raw)
    except NotJson as error:
        # As a schema registry's Avro, or the text of a Struct.
        hint = "Kafka Connect has to write it by JsonConverter"
        raise InvalidEvent("not_json", f"{what} is not JSON ({error}): {hint}") from None
    if not isinstance(value, dict):
        raise InvalidEvent("not_json", f"{what} is not a JSON object")
    return value


def _row(payload: dict[str, Any], schema: Any, part: str) -> Fields | None:
    row = payload.get(part)
    if row is None:
        return None
    if not isinstance(row, dict):
        raise InvalidEvent("invalid", "is not a JSON object", part)
    return plain_row(row, schema, part)


def _key(raw: bytes | None) -> dict[str, Any] | None:
    return None if raw is None else _payload(_object(raw, "the record's key"))[0]


def _text(source: dict[str, Any], name: str) -> str:
    value = source.get(name)
    if not isinstance(value, str) or not value:
        raise InvalidEvent("invalid", "is required", f"source.{name}")
    return value


def _time(payload: dict[str, Any], source: dict[str, Any]) -> int:
    """The commit's time, not that of Debezium's reading: that may stand before a change of an earlier one."""
    for value in (source.get("ts_ms"), payload.get("ts_ms")):
        if type(value) is int and value in _MILLISECONDS:
            return value
    raise InvalidEvent("invalid", "is required: milliseconds since 1970", "source.ts_ms")


def _lsn(source: dict[str, Any], snapshot: bool) -> int | None:
    lsn = source.get("lsn")
    if lsn is None and snapshot:
        return None
    if type(lsn) is not int or lsn not in _LSNS:
        raise InvalidEvent("invalid", "is required: the order of changes is that of Postgres' log", "source.lsn")
    return lsn
