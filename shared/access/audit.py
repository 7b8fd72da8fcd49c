"""The audit: reads of personal data and administrative acts, recorded before they happen."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from datetime import datetime
from typing import Protocol

from shared.access.chain import FIRST, Act, Entry, entry_of
from shared.contracts.errors import Unavailable

__all__ = ["Act", "Audit", "AuditLog", "Recorder", "Witness"]

log = logging.getLogger(__name__)

#: Longer than any working server needs to answer, in seconds.
_SECONDS = 15.0
#: The most acts of a tenant that are written before the next tenant's.
_BATCH = 500
#: How often other processes may take the place first before a batch fails.
_TRIES = 200
_YIELD_SECONDS = 0.002


class AuditLog(Protocol):
    """Stores entries permanently. Every method raises Unavailable while the servers are unavailable."""

    def head(self, tenant: str) -> tuple[int, str]:
        """Sequence and hash of the last entry; (0, FIRST) for an empty chain."""

    def append(self, entries: Sequence[Entry]) -> int:
        """Add entries of one tenant, in order. Stops at an entry whose place is taken. Returns how many were
        added."""

    def tenants(self) -> list[str]: ...

    def entries(self, tenant: str) -> Iterable[Entry]:
        """All entries of a tenant, in order."""


class Witness(Protocol):
    """A second place that receives stored entries and keeps them: the topic ``kith.audit``."""

    def forward(self, entries: Sequence[Entry]) -> None:
        """Forward entries. Never blocks, never fails."""

    def close(self) -> None: ...


class Audit(Protocol):
    def record(self, *acts: Act) -> None:
        """Return once these acts of one tenant are stored, as one piece of work. Raises Unavailable; none of them
        must then be done. (Entries may be stored all the same, of acts that were then refused.)"""

    def submit(self, acts: Sequence[Act]) -> "Future[None]":
        """The same for acts of one tenant, without waiting: they are one piece of work."""


class _Batch:
    """Acts of one tenant, of which the first ``written`` are stored."""

    def __init__(self, acts: Sequence[Act]) -> None:
        self.acts, self.written = acts, 0
        self.done: Future[None] = Future()


class Recorder:
    """An Audit. One thread writes all acts that arrived during the previous write, so concurrent acts cost one
    write. Tenants take turns: however many acts one has waiting, another waits for one write. Several processes
    may write the same chains: a process that finds a place taken takes the next one."""

    def __init__(
        self,
        audit_log: AuditLog,
        clock: Callable[[], datetime],
        key: bytes | None = None,
        witness: Witness | None = None,
    ) -> None:
        self._log = audit_log
        self._clock = clock
        self._key = key
        self._witness = witness
        self._heads: dict[str, tuple[int, str]] = {}
        #: By tenant, in the order of their turns.
        self._waiting: dict[str, deque[_Batch]] = {}
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="audit", daemon=True)
        self._thread.start()

    def record(self, *acts: Act) -> None:
        try:
            self.submit(acts).result(_SECONDS)
        except TimeoutError:
            raise Unavailable(f"the audit was not written within {_SECONDS:.0f} s") from None

    def submit(self, acts: Sequence[Act]) -> "Future[None]":
        batch = _Batch(acts)
        if not acts:
            batch.done.set_result(None)
            return batch.done
        with self._changed:
            if self._closed:
                raise Unavailable("the audit is closed, because the process is stopping")
            self._waiting.setdefault(acts[0].tenant, deque()).append(batch)
            self._changed.notify()
        return batch.done

    def close(self) -> None:
        """Write the pending acts, and stop."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(_SECONDS)
        if self._witness is not None:
            self._witness.close()

    def _work(self) -> None:
        while (turn := self._turn()) is not None:
            tenant, parts = turn
            self._write(tenant, parts)
            with self._changed:
                # At the end: those who came during the write have their turns first.
                if batches := self._waiting.pop(tenant):
                    self._waiting[tenant] = batches

    def _turn(self) -> tuple[str, list[tuple[_Batch, Sequence[Act]]]] | None:
        """The tenant whose turn it is, and what is written of each of its batches. None at the end."""
        with self._changed:
            while not self._waiting:
                if self._closed:
                    return None
                self._changed.wait()
            tenant = next(iter(self._waiting))
            batches, room = self._waiting[tenant], _BATCH
            parts: list[tuple[_Batch, Sequence[Act]]] = []
            while batches and room:
                batch = batches[0]
                if batch.written or batch.done.set_running_or_notify_cancel():
                    part = batch.acts[batch.written : batch.written + room]
                    batch.written += len(part)
                    room -= len(part)
                    parts.append((batch, part))
                if batch.done.cancelled() or batch.written == len(batch.acts):
                    batches.popleft()
            return tenant, parts

    def _write(self, tenant: str, parts: list[tuple[_Batch, Sequence[Act]]]) -> None:
        try:
            self._append(tenant, [act for _, part in parts for act in part])
        except BaseException as error:
            # It is unknown whether they were written. The next write reads the end of the chain first.
            self._heads.pop(tenant, None)
            if not isinstance(error, Unavailable):
                log.exception("the audit could not be written")
                error = Unavailable(f"the audit could not be written: {type(error).__name__}")
            self._give_up(tenant, [batch for batch, _ in parts], error)
        else:
            for batch, _ in parts:
                if batch.written == len(batch.acts):
                    batch.done.set_result(None)

    def _give_up(self, tenant: str, failed: list[_Batch], error: Unavailable) -> None:
        with self._changed:
            self._waiting[tenant] = deque(batch for batch in self._waiting[tenant] if batch not in failed)
        for batch in failed:
            batch.done.set_exception(error)

    def _append(self, tenant: str, acts: list[Act]) -> None:
        for _ in range(_TRIES):
            known = self._heads.get(tenant)
            sequence, previous = known or self._log.head(tenant)
            entries = []
            for act in acts:
                sequence += 1
                entry = entry_of(act, self._clock(), sequence, previous, self._key)
                previous = entry["hash"]
                entries.append(entry)
            added = self._log.append(entries)
            if self._witness is not None and added:
                self._witness.forward(entries[:added])
            if added == len(acts):
                self._heads[tenant] = sequence, previous
                return
            acts = acts[added:]
            self._heads.pop(tenant, None)
            if not added:
                # The other process's entry is visible once a majority of servers has it.
                time.sleep(_YIELD_SECONDS)
        raise Unavailable(f"{_TRIES} times in a row, other processes wrote to the audit first")


class MemoryAuditLog:
    """An AuditLog in memory. While ``away`` is true it behaves like an unreachable database."""

    def __init__(self) -> None:
        self.chains: dict[str, list[Entry]] = {}
        self.away = False
        #: The number of writes.
        self.writes = 0
        self._lock = threading.Lock()

    def head(self, tenant: str) -> tuple[int, str]:
        self._reach()
        chain = self.chains.get(tenant)
        return (chain[-1]["sequence"], chain[-1]["hash"]) if chain else (0, FIRST)

    def append(self, entries: Sequence[Entry]) -> int:
        self._reach()
        with self._lock:
            self.writes += 1
            for number, entry in enumerate(entries):
                chain = self.chains.setdefault(entry["tenant"], [])
                if any(entry["sequence"] == other["sequence"] for other in reversed(chain)):
                    return number
                chain.append(entry)
        return len(entries)

    def tenants(self) -> list[str]:
        self._reach()
        return sorted(self.chains)

    def entries(self, tenant: str) -> Iterable[Entry]:
        self._reach()
        return list(self.chains.get(tenant, ()))

    def _reach(self) -> None:
        if self.away:
            raise Unavailable("the audit cannot be reached")
