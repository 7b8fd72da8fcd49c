"""A row and a mapping to an event. Pure, apart from the count of equal rows that an identity keeps."""

from typing import Any

from services.importer.identity import Identity
from services.importer.mapping import Source
from services.importer.reading import Collected, FieldReader, Row
from services.importer.targets import target_of
from services.importer.values import BadValue
from shared.contracts.codec import decode_fields
from shared.contracts.errors import InvalidEvent
from shared.contracts.events import Event


class Converter:
    """Converts the rows of one source. Equal rows in any order and any run give the same set of events."""

    def __init__(self, source: Source, collected: Collected) -> None:
        self._envelope: dict[str, Any] = {
            "specversion": "1.0",
            "type": source.type,
            "source": source.source,
            "tenant": source.tenant,
        }
        self._time = FieldReader(source.time, "time", source, collected)
        self._id = None if source.id is None else FieldReader(source.id, "text", source, collected)
        self._fields = [
            (*path.rpartition(".")[::2], FieldReader(spec, target_of(path), source, collected))
            for path, spec in source.fields.items()
        ]
        # Two equal rows are two facts where nothing else tells facts apart; everywhere else they are one.
        self._is_fact = source.type == "relation.recorded" and "relation_id" not in source.fields
        self._identity = Identity(source.name, counted=self._is_fact)

    def __call__(self, row: Row) -> Event:
        """The event of a row. Raises InvalidEvent with the field at fault, quoting no value."""
        fields = dict(self._envelope)
        fields["id"] = self._identity(row) if self._id is None else _read("id", self._id, row)
        fields["time"] = _read("time", self._time, row)
        data: dict[str, Any] = {}
        for container, name, reader in self._fields:
            value = _read(f"data.{container}.{name}" if container else f"data.{name}", reader, row)
            if value is not None:
                (data.setdefault(container, {}) if container else data)[name] = value
        if self._is_fact:
            data["relation_id"] = fields["id"]
        fields["data"] = data
        return decode_fields({name: value for name, value in fields.items() if value is not None})


def _read(path: str, reader: FieldReader, row: Row) -> Any:
    try:
        return reader(row)
    except BadValue as error:
        column = reader.column
        raise InvalidEvent("invalid", f"{error} (column {column})" if column else str(error), path) from None
