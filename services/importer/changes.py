"""Converts the changes of captured tables to events by a mapping. Pure.

An event's version is the change's place in Postgres' log: ``time`` is the commit's, and of one millisecond
``sequence`` decides, which begins with the LSN. At one place what undoes ranks below what states: an update of a
primary key is a deletion and an insert of one LSN. So any order and repetition of the changes ends in the state of
the table.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Any, NamedTuple

from services.importer.as_of import Moment
from services.importer.convert import Converter
from services.importer.envelope import Change
from services.importer.envelope_values import Unchanged, is_filling, opened, stored_in
from services.importer.fields import FieldSpec
from services.importer.mapping import Mapping, MappingError, Source
from services.importer.reading import lookup, missing_values
from services.importer.row import Fields, Row
from services.importer.targets import CONTAINERS, needed_of
from shared.contracts.codec import decode_fields
from shared.contracts.errors import InvalidEvent
from shared.contracts.events import EPOCH, MAX_ID, Event
from shared.contracts.spelling import nfc

_UNDOING = {"relation.recorded": "relation.retracted", "provider.upserted": "provider.closed"}
_ERASING = ("anonymise", "delete")
#: The types whose fields are independent: one that is left out keeps its value, and null removes it.
_PROFILES = ("consumer.upserted", "provider.upserted")
# A key that may stand in an id: numbers and UUIDs name nobody, unlike an address of mail.
_PLAIN_KEY = re.compile(r"-?\d{1,20}|[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", re.ASCII)
_NO_MOMENT = Moment(EPOCH, "", "0")
#: A column that a row lacks says as little as one whose value the log leaves out.
_UNCHANGED = Unchanged()


class Made(NamedTuple):
    """What a change means to one source of the mapping: an event, or why there is none. ``row`` is the row that it
    was made of."""

    source: str
    row: Fields
    event: Event | InvalidEvent

    def convert(self, _: Row) -> Event:
        """Raises the InvalidEvent, if there is no event."""
        if isinstance(self.event, InvalidEvent):
            raise self.event
        return self.event


@dataclass(slots=True)
class Notes:
    """Changes that did nothing, and some that may have left something behind."""

    ignored: int = 0
    blind: int = 0
    rekeyed: int = 0
    #: Mapped columns → how many rows did not have them, as after ALTER TABLE.
    lacking: Counter[str] = field(default_factory=Counter)


class Translator:
    """Translates the changes of all tables of a mapping. ``snapshots`` is the time of snapshots' events: before
    1970 has nothing, so by default whatever follows is newer."""

    def __init__(self, mapping: Mapping, snapshots: datetime = EPOCH) -> None:
        self._tables = [_Table(source) for source in mapping.source]
        self._snapshots = snapshots
        self.notes = Notes()

    def __call__(self, change: Change) -> Iterator[Made]:
        """Raises InvalidEvent when no source of the mapping is about the table."""
        tables = [table for table in self._tables if table.is_of(change.table)]
        if not tables:
            raise InvalidEvent("invalid", "is a table that no [[source]] of the mapping is about", "source.table")
        for table in tables:
            yield from self._of(table, change)

    def _of(self, table: "_Table", change: Change) -> Iterator[Made]:
        if change.deleted:
            if table.undo is None:
                self.notes.ignored += 1
                return
            if change.rekeyed and table.undo.erases:
                # The row lives on under another key, and an erasure cannot be taken back.
                self.notes.rekeyed += 1
                return
            yield self._deleted(table, table.undo, change)
            return
        self.notes.lacking.update(f"{change.table}.{column}" for column in table.lacking(change.row))
        yield self._made(table, table, change, change.row, "")
        if not change.updated or table.names is None or table.key_names(change):
            return
        if change.before is None:
            self.notes.blind += 1
        elif table.undo is not None and table.moved(change.before, change.row):
            former = self._made(table, table.undo, change, change.before, "/before")
            # A row that named nothing before has left nothing behind.
            if not isinstance(former.event, InvalidEvent):
                yield former

    def _deleted(self, table: "_Table", undo: "_Undo", change: Change) -> Made:
        try:
            undo.check(change)
        except InvalidEvent as error:
            return Made(table.source.name, change.row, error)
        return self._made(table, undo, change, change.row, "")

    def _made(self, table: "_Table", maker: "_Maker", change: Change, row: Fields, mark: str) -> Made:
        try:
            return Made(table.source.name, row, maker.event(row, self._version(table, maker, change, mark)))
        except InvalidEvent as error:
            return Made(table.source.name, row, error)

    def _version(self, table: "_Table", maker: "_Maker", change: Change, mark: str) -> dict[str, str]:
        place = f"{change.lsn or 0:020d}"
        time = EPOCH + timedelta(milliseconds=change.milliseconds)
        # What undoes ranks below what states the row, because both may be about one fact.
        sequence = f"{place}-{0 if isinstance(maker, _Undo) else 1}"
        if change.snapshot:
            # Two snapshots of one time: the later one wins, even where it does not know its place in the log.
            time, sequence = self._snapshots, f"{change.milliseconds:016d}-{place}"
        return {
            "source": f"cdc/{change.server}/{change.table}",
            "id": f"{place}-{_named(table.source.name, change)}{mark}",
            "time": time.isoformat(),
            "sequence": sequence,
        }


class _Maker:
    """Makes the events of one type from rows. Converters without the unchanged columns are kept."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self._converters: dict[frozenset[str], Converter] = {}
        self._missing = missing_values(source.missing)
        self._columns_used = frozenset(source.columns_used())
        #: The fields of a profile that an event may leave out, and the columns of each.
        self._partial = {
            path: spec.columns_used()
            for path, spec in source.fields.items()
            if source.type in _PROFILES and path not in needed_of(source.type)
        }
        #: Columns in which the mapping looks for fields, or which it takes as an object.
        self._objects = {column.partition(".")[0] for column in source.columns_used() if "." in column}
        self._objects |= {
            spec.column for path, spec in source.fields.items() if path in CONTAINERS and spec.column
        }

    def event(self, row: Fields, version: dict[str, str]) -> Event:
        """Raises InvalidEvent."""
        left_out = self._unchanged(row)
        event = self._converter(left_out)(Row(0, self._opened(row)))
        fields = event.model_dump(mode="json", exclude_none=True)
        fields.pop("sequence", None)
        if self.source.type in _PROFILES:
            self._remove_absent(fields["data"], left_out)
        return decode_fields({**fields, **version})

    def lacking(self, row: Fields) -> frozenset[str]:
        """The mapped columns that a row does not have. NULL is a value; without its column, nothing is said."""
        return frozenset(column for column in self._columns_used if stored_in(column, row) not in row)

    def _unchanged(self, row: Fields) -> frozenset[str]:
        """The fields of a profile that the change left as they were, or says nothing of: an event without them
        does the same."""
        return frozenset(
            path
            for path, columns in self._partial.items()
            if any(isinstance(row.get(stored_in(column, row), _UNCHANGED), Unchanged) for column in columns)
        )

    def _opened(self, row: Fields) -> Fields:
        """The row with the objects in it that Debezium writes as text: json and jsonb."""
        return (
            {**row, **{name: opened(row[name], self._missing) for name in self._objects & row.keys()}}
            if self._objects
            else row
        )

    def _converter(self, left_out: frozenset[str]) -> Converter:
        if left_out not in self._converters:
            kept = {path: spec for path, spec in self.source.fields.items() if path not in left_out}
            # The log says which change it is, and when: not a column.
            stated = {"fields": kept, "id": FieldSpec(const="change"), "changed": None}
            self._converters[left_out] = Converter(self.source.model_copy(update=stated), {}, _NO_MOMENT)
        return self._converters[left_out]

    def _remove_absent(self, data: dict[str, Any], left_out: frozenset[str]) -> None:
        """A field that the row has no value for is removed: the row is the whole state."""
        for path in self.source.fields:
            container, _, name = path.rpartition(".")
            if path in left_out or path in needed_of(self.source.type) or path in CONTAINERS:
                continue
            (data.setdefault(container, {}) if container else data).setdefault(name, None)


class _Undo(_Maker):
    """Makes what a deleted row means, from the columns that name it."""

    def __init__(self, table: Source, columns: frozenset[str]) -> None:
        kind = _UNDOING.get(table.type, "consumer.erased")
        fields = {path: spec for path, spec in table.fields.items() if path in needed_of(kind)}
        if table.deleted in _ERASING:
            fields["mode"] = FieldSpec(const=table.deleted)
        super().__init__(table.model_copy(update={"type": kind, "fields": fields, "time": None}))
        self._columns = columns
        self.erases = kind == "consumer.erased"

    def check(self, change: Change) -> None:
        """Raise InvalidEvent if the row does not name what it was about. Debezium fills columns that Postgres did
        not log with null, or with zero where null is not allowed."""
        # What is erased does not come back: there, 0 is nobody's number.
        logged = change.logged and not self.erases
        for column in sorted(self._columns - (change.key or {}).keys()):
            value = change.row.get(stored_in(column, change.row))
            if value is None or (is_filling(value) and not logged):
                raise InvalidEvent(
                    "invalid",
                    f"the deleted row does not hold the column {column}: set REPLICA IDENTITY FULL for the table",
                    f"before.{column}" if re.fullmatch(r"\w{1,64}", column, re.ASCII) else "before",
                )


class _Table(_Maker):
    """A source of the mapping as a captured table. ``names`` are the columns that name what its rows are about."""

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        if source.type == "relation.recorded" and "relation_id" not in source.fields:
            raise MappingError(
                f"[[source]] {source.name}: fields.relation_id: capture needs it, so that a later change or "
                "deletion of the row finds its relation"
            )
        if source.collect:
            raise MappingError(f"[[source]] {source.name}: collect: reads a file, and capture reads none")
        if source.type in _PROFILES and (whole := CONTAINERS.intersection(source.fields)):
            raise MappingError(
                f"[[source]] {source.name}: fields.{min(whole)}: name its fields one by one, as in "
                f'{min(whole)}.name = "column.name": of a whole object, capture cannot tell which are removed'
            )
        # The name of a captured table is a label. That of a file is all that says which table it was.
        names = (source.table,) if source.format == "debezium" else (source.table, source.name)
        self._called = {nfc(name) for name in names if name}
        self.undo: _Undo | None = None
        self.names: frozenset[str] | None = None
        if source.type in _UNDOING:
            paths = needed_of(_UNDOING[source.type])
            self.names = frozenset(c for path in paths for c in source.fields[path].columns_used())
        if source.deleted in _ERASING:
            self.undo = _Undo(source, frozenset(source.fields["consumer_id"].columns_used()))
        elif self.names is not None and source.deleted != "ignore":
            self.undo = _Undo(source, self.names)

    def is_of(self, table: str) -> bool:
        """Whether the source is about a table: by its whole name, or by the part without the schema if it names
        none."""
        return not self._called.isdisjoint({nfc(table), nfc(table.rpartition(".")[2])})

    def key_names(self, change: Change) -> bool:
        """Whether the primary key names it alone: Debezium reports a changed key as a deletion and an insert."""
        return self.names is not None and self.names <= (change.key or {}).keys()

    def moved(self, before: Fields, after: Fields) -> bool:
        """Whether a row names something else than before."""
        before, after = self._opened(before), self._opened(after)
        names = ((lookup(before, column), lookup(after, column)) for column in self.names or ())
        return any(old != new and not isinstance(new, Unchanged) for old, new in names)


def _named(source: str, change: Change) -> str:
    """The row in an event's id, after the log's place: within one place, rows differ by it."""
    if change.key is None:
        named = _digest(change.before if change.deleted else change.after)
    else:
        texts = [str(value) for value in change.key.values()]
        plain = all(type(value) in (int, str) for value in change.key.values())
        named = ",".join(texts)
        if not plain or not all(_PLAIN_KEY.fullmatch(text) for text in texts):
            named = _digest(change.key)
    name = f"{source}/{named}"
    return name if len(name) <= MAX_ID // 2 else _digest(name)


def _digest(value: Any) -> str:
    # Not by orjson: it cannot write large numbers.
    written = json.dumps(value, sort_keys=True, default=str)
    return blake2b(written.encode(), digest_size=16).hexdigest()
