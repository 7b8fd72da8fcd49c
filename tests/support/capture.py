"""What the tests of change capture share: recorded and drawn envelopes, and a log of changes in memory."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from services.importer.batch import Clock
from services.importer.capture import Capture, Captured
from services.importer.changes import Translator
from services.importer.mapping import load
from services.importer.rejects import Rejects
from shared.contracts.errors import Unavailable
from shared.contracts.topics import Topics
from shared.runtime.protocols import Message, Partition, Publisher, Record
from tests.support.importer import Recorder
from tests.support.paths import ROOT

DATA = ROOT / "tests/data/debezium"
MAPPING = DATA / "shop.toml"
NOW = datetime(2026, 6, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def stored(name: str) -> list[Record]:
    """The records of a file of ``tests/data/debezium``, as in the topic's only partition."""
    partition = Partition(f"shop.public.{name}", 0)
    lines = [json.loads(line) for line in (DATA / f"{name}.jsonl").read_text().splitlines()]
    return [Record(partition, n, 0, _bytes(line["key"]), _bytes(line["value"])) for n, line in enumerate(lines)]


def _bytes(value: Any) -> bytes | None:
    return None if value is None else json.dumps(value).encode()


def envelope(
    op: str,
    milliseconds: int,
    lsn: int | None,
    *,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
    table: str = "orders",
    snapshot: Any = "false",
) -> bytes:
    source = {
        "name": "shop",
        "db": "shopdb",
        "schema": "public",
        "table": table,
        "ts_ms": milliseconds,
        "lsn": lsn,
    }
    written = _bytes(
        {
            "op": op,
            "before": before,
            "after": after,
            "ts_ms": milliseconds + 90,
            "source": {**source, "snapshot": snapshot},
        }
    )
    assert written is not None
    return written


#: A line of Postgres' plugin test_decoding about a row, and a column in it.
_CHANGED = re.compile(r"table (\w+)\.(\w+): (INSERT|UPDATE|DELETE): (?:old-key: (.*) new-tuple: )?(.*)", re.DOTALL)
_COLUMN = re.compile(r"(\w+)\[([^\]]+)\]:('(?:[^']|'')*'|\S+)")
_OPERATIONS = {"INSERT": "c", "UPDATE": "u", "DELETE": "d"}


def decoded(lines: Iterable[tuple[str, str]], key: str, earlier: timedelta) -> list[Record]:
    """What Debezium would write of (LSN, line) of a slot of test_decoding with ``include-timestamp``: without a
    schema, decimals as text, times in microseconds. ``key`` is the primary key of every table. Commits are dated
    ``earlier`` than they were."""
    records: list[Record] = []
    pending: list[tuple[int, str]] = []
    for place, line in lines:
        high, _, low = place.partition("/")
        if line.startswith("table "):
            pending.append((int(high, 16) << 32 | int(low, 16), line))
        elif line.startswith("COMMIT"):
            committed = datetime.fromisoformat(line.partition("(at ")[2].removesuffix(")")) - earlier
            for lsn, each in pending:
                records += _debezium(lsn, each, int(committed.timestamp() * 1000), key, len(records))
            pending = []
    return records


def _debezium(lsn: int, line: str, milliseconds: int, key: str, offset: int) -> Iterator[Record]:
    """The change of a row, and after a deletion a tombstone."""
    found = _CHANGED.fullmatch(line)
    assert found is not None, line
    _, table, operation, old, new = found.groups()
    row = _columns(new)
    before, after = (row, None) if operation == "DELETE" else (_columns(old) if old else None, row)
    value = envelope(_OPERATIONS[operation], milliseconds, lsn, table=table, before=before, after=after)
    partition = Partition(f"shop.public.{table}", 0)
    named = _bytes({key: row[key]})
    yield Record(partition, offset, milliseconds, named, value)
    if operation == "DELETE":
        yield Record(partition, offset + 1, milliseconds, named, None)


def _columns(text: str) -> dict[str, Any]:
    return {name: _value(type, raw) for name, type, raw in _COLUMN.findall(text)}


def _value(type: str, raw: str) -> Any:
    if raw == "null":
        return None
    text = raw[1:-1].replace("''", "'") if raw.startswith("'") else raw
    if type in ("integer", "bigint"):
        return int(text)
    if type == "timestamp without time zone":
        return (
            datetime.fromisoformat(text).replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)
        ) // _MICROSECOND
    return text


class MemoryChanges:
    """A log of changes. ``commits`` are the positions committed, in order."""

    def __init__(self, records: Sequence[Record], at_once: int = 3) -> None:
        self._left = list(records)
        self._at_once = at_once
        self.commits: list[dict[Partition, int]] = []

    def poll(self, timeout_ms: int) -> list[Record]:  # noqa: ARG002 - nothing to wait for
        found, self._left = self._left[: self._at_once], self._left[self._at_once :]
        return found

    def ended(self) -> bool:
        return not self._left

    def lag(self) -> int:
        return len(self._left)

    def keep(self) -> None:
        """Nothing forgets these."""

    def commit(self, positions: Mapping[Partition, int]) -> None:
        self.commits.append(dict(positions))


def captured(
    log: Any,
    publisher: Publisher | None,
    rejects: Path,
    *,
    mapping: Path = MAPPING,
    translate: Translator | None = None,
) -> Captured:
    """Capture to the end of a log."""
    report = Captured()
    with Rejects(rejects, added=True) as rejected:
        clock = Clock(NOW, timedelta(days=1))
        translate = translate or Translator(load(mapping))
        capture = Capture(translate, publisher, Topics(), rejected, lambda: clock, None, report)
        capture.run(log, follow=False, progress=lambda: None)
    return report


class Failing(Recorder):
    """Kafka is away: nothing is acknowledged."""

    def send(self, messages: Sequence[Message]) -> Future[None]:  # noqa: ARG002
        future: Future[None] = Future()
        future.set_exception(Unavailable("no broker answers"))
        return future
