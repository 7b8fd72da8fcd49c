"""Targets of sinks in memory: tables of rows, which a test reads. They fence older claims in two ways."""

from collections.abc import Sequence
from typing import Any

from shared.contracts.errors import Fenced, Unavailable
from shared.runtime.protocols import Claim, Progress
from shared.sinks.target import Row

Key = tuple[str | int, ...]


class MemoryTables:
    """The system: rows by table and key."""

    def __init__(self) -> None:
        self.tables: dict[str, dict[Key, dict[str, Any]]] = {}
        #: Per position the newest claim, and the progress.
        self.epochs: dict[str, int] = {}
        self.progress: dict[str, Progress] = {}
        #: Claims of all positions so far, and the number of the claim and of the write that each row is from.
        self.claims = 0
        self.written: dict[tuple[str, Key], tuple[int, int]] = {}
        self.available = True

    def rows(self, table: str) -> dict[Key, dict[str, Any]]:
        return self.tables.setdefault(table, {})

    def check(self) -> None:
        if not self.available:
            raise Unavailable("the tables are unavailable")

    def put(self, row: Row) -> None:
        if row.values is None:
            self.rows(row.table).pop(row.key, None)
        else:
            self.rows(row.table)[row.key] = dict(row.values)


class TransactionTarget:
    """Works as a database with transactions does: the claim and the progress are stored with the rows."""

    def __init__(self, system: MemoryTables) -> None:
        self._system = system
        #: What this process has left. A system that holds something else was restored meanwhile.
        self._left: dict[str, Progress] = {}

    def claimed(self, claim: Claim) -> Progress | None:
        self._check(claim)
        self._system.epochs[claim.position] = claim.epoch
        self._left[claim.position] = self._system.progress.get(claim.position, Progress())
        return self._left[claim.position]

    def apply(self, claim: Claim, after: Progress, effects: Sequence[Row]) -> None:
        self._check(claim)
        if self._system.progress.get(claim.position, Progress()) != self._left.get(claim.position):
            raise Fenced(claim.position)
        for row in effects:
            self._system.put(row)
        self._system.progress[claim.position] = self._left[claim.position] = after

    def _check(self, claim: Claim) -> None:
        self._system.check()
        if self._system.epochs.get(claim.position, 0) > claim.epoch:
            raise Fenced(claim.position)


class NumberedTarget:
    """Works as a database without transactions does where the last write wins: each claim takes the next number of
    one counter, and a row keeps the write with the highest (claim, write)."""

    def __init__(self, system: MemoryTables) -> None:
        self._system = system
        self._claims: dict[Claim, int] = {}
        self._writes = 0

    def claimed(self, claim: Claim) -> Progress | None:
        self._system.check()
        self._system.claims += 1
        self._claims[claim] = self._system.claims
        return None

    def apply(self, claim: Claim, after: Progress, effects: Sequence[Row]) -> None:  # noqa: ARG002
        self._system.check()
        for row in effects:
            self._writes += 1
            number = (self._claims[claim], self._writes)
            if number > self._system.written.get((row.table, row.key), (0, 0)):
                self._system.written[row.table, row.key] = number
                self._system.put(row)
