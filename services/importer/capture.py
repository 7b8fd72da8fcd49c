"""Change capture from beginning to end: read Kafka, translate, publish, and only then commit the position."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import NoReturn, Protocol

from services.importer.batch import Batch, Clock
from services.importer.changes import Translator
from services.importer.envelope import read_change
from services.importer.rejects import Rejects
from services.importer.row import BadRow, Row, shown
from services.importer.window import Window
from shared.contracts.errors import InvalidEvent
from shared.contracts.topics import Topics
from shared.runtime.protocols import Partition, Publisher, Record
from shared.vault.keys import Vault

_POLL_MS = 500


class ChangeLog(Protocol):
    """Topics of changes, read from the offsets that Kafka has for this capture."""

    def poll(self, timeout_ms: int) -> Sequence[Record]: ...

    def ended(self) -> bool: ...

    def lag(self) -> int: ...

    def keep(self) -> None:
        """Called again and again: see that the offsets last, also of partitions without news."""

    def commit(self, positions: Mapping[Partition, int]) -> None: ...


@dataclass(slots=True)
class Part:
    """Counts of one partition. ``records`` counts Kafka's, tombstones included. What was made of them:
    ``read == accepted + rejected``."""

    source: str
    records: int = 0
    read: int = 0
    accepted: int = 0
    rejected: int = 0


@dataclass(slots=True)
class Captured:
    """The result of a capture. ``lag`` counts the records that are not read yet."""

    parts: dict[Partition, Part] = field(default_factory=dict)
    lag: int = 0

    def of(self, partition: Partition) -> Part:
        return self.parts.setdefault(partition, Part(str(partition)))

    def total(self, name: str) -> int:
        """The sum over all partitions of records, read, accepted or rejected."""
        return sum(getattr(part, name) for part in self.parts.values())


@dataclass(slots=True)
class Capture:
    """Without ``publisher`` it only checks, and commits nothing. ``vault`` seals personal values."""

    translate: Translator
    publisher: Publisher | None
    topics: Topics
    rejects: Rejects
    clock: Callable[[], Clock]
    vault: Vault | None
    report: Captured

    def run(self, log: ChangeLog, *, follow: bool, progress: Callable[[], None]) -> None:
        """Read until all is read that was there at the beginning, or with ``follow`` for ever.

        Raises Unavailable when a server cannot be reached. The next run goes on after the last change that was
        acknowledged and committed; what it repeats has the same ids and changes nothing.
        """
        with Window(self.publisher) as window:
            while True:
                if self.publisher is not None:
                    log.keep()
                records = log.poll(_POLL_MS)
                if records:
                    self._take(records, window)
                    if self.publisher is not None:
                        log.commit({record.partition: record.offset + 1 for record in records})
                self.report.lag = log.lag()
                progress()
                if not follow and log.ended():
                    return

    def _take(self, records: Sequence[Record], window: Window) -> None:
        """Publish the records' events and wait until Kafka has them, and the disk the rejected ones."""
        clock = self.clock()
        for partition, of_partition in groupby(records, key=lambda record: record.partition):
            counts = self.report.of(partition)
            batch = Batch(self.topics, clock, counts, self.rejects, window, self.vault)
            for record in of_partition:
                counts.records += 1
                self._translate(record, batch)
            batch.pass_on()
        window.drain()
        self.rejects.sync()

    def _translate(self, record: Record, batch: Batch) -> None:
        try:
            change = read_change(record.key, record.value, record.headers)
            made = [] if change is None else list(self.translate(change))
        except InvalidEvent as error:
            batch.take(BadRow(record.offset, error.reason, error.detail, shown(record.value), error.field), _never)
            return
        for one in made:
            batch.take(Row(record.offset, one.row), one.convert)


def _never(_: Row) -> NoReturn:
    raise AssertionError("a bad row is not converted")
