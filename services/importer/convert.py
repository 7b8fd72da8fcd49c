"""Converts a row to an event by a mapping. Pure, apart from the count of equal rows that an identity keeps."""

from datetime import datetime
from typing import Any

from services.importer.as_of import Moment
from services.importer.identity import Identity
from services.importer.mapping import Source
from services.importer.reading import Collected, FieldReader, Fields
from services.importer.row import Row
from services.importer.values import BadValue
from shared.contracts.codec import decode_fields
from shared.contracts.errors import InvalidEvent
from shared.contracts.events import Event

_PENDING = "pending"


class Converter:
    """Converts the rows of one source. The same rows, in any order and any run, give the same set of events."""

    def __init__(self, source: Source, collected: Collected, moment: Moment) -> None:
        self._moment = moment
        self._envelope: dict[str, Any] = {
            "specversion": "1.0",
            "type": source.type,
            "source": source.source,
            "tenant": source.tenant,
            "time": moment.time.isoformat(),
        }
        readers = {
            key: FieldReader(spec, target, source, collected, key.removeprefix("fields."))
            for key, spec, target in source.readings()
        }
        self._readers = list(readers.values())
        self._time, self._changed, self._id = (readers.pop(key, None) for key in ("time", "changed", "id"))
        self._fields = [
            (*key.removeprefix("fields.").rpartition(".")[::2], reader) for key, reader in readers.items()
        ]
        self._occurs = source.type == "relation.recorded"
        # Two equal rows are two facts if facts have no other identity; otherwise they are one.
        self._is_fact = self._occurs and "relation_id" not in source.fields
        self._identity = Identity(source.name, counted=self._is_fact)
        self._raised = 0

    @property
    def respelled_facts(self) -> int:
        """Facts whose ids are made of values that the file does not spell in NFC."""
        return self._identity.respelled if self._is_fact and self._id is None else 0

    def notes(self) -> list[str]:
        """What may not be meant in the rows that were read."""
        notes = [note for reader in self._readers for note in reader.notes()]
        if self._raised:
            least = self._moment.least.isoformat()
            notes.append(
                f"{self._raised:,} rows say that they were changed before {least}, and count as of then, as "
                "what they undo does"
            )
        return list(dict.fromkeys(notes))

    def __call__(self, row: Row) -> Event:
        """The event of a row. Raises InvalidEvent with the field at fault, quoting no value."""
        fields = {**self._envelope, "sequence": self._moment.of_row(row.number)}
        fields["id"] = _PENDING if self._id is None else _read("id", self._id, row.fields)
        changed = None
        if self._changed is not None:
            changed = datetime.fromisoformat(_stated("changed", self._changed, row.fields))
            self._raised += changed < self._moment.least
            fields["time"] = max(changed, self._moment.least).isoformat()
        data: dict[str, Any] = {}
        for container, name, reader in self._fields:
            value = _read(f"data.{container}.{name}" if container else f"data.{name}", reader, row.fields)
            if value is not None:
                (data.setdefault(container, {}) if container else data)[name] = value
        if self._time is not None:
            time = _stated("time", self._time, row.fields)
            if self._occurs:
                data.setdefault("occurred_at", time)
        if self._is_fact:
            data["relation_id"] = fields["id"]
        fields["data"] = data
        event = decode_fields({name: value for name, value in fields.items() if value is not None})
        return self._named(event, changed) if self._id is None else event

    def _named(self, event: Event, changed: datetime | None) -> Event:
        values = event.data.model_dump(mode="json", exclude_none=True)
        if self._is_fact:
            del values["relation_id"]
        elif changed is not None:
            values["changed"] = changed.isoformat()
        id = self._identity(values)
        data = event.data.model_copy(update={"relation_id": id}) if self._is_fact else event.data
        return event.model_copy(update={"id": id, "data": data})


def _stated(path: str, reader: FieldReader, fields: Fields) -> Any:
    if (value := _read(path, reader, fields)) is None:
        raise InvalidEvent("invalid", "is required", path)
    return value


def _read(path: str, reader: FieldReader, fields: Fields) -> Any:
    try:
        return reader(fields)
    except BadValue as error:
        column = reader.column
        raise InvalidEvent("invalid", f"{error} (column {column})" if column else str(error), path) from None
