"""What a runner holds of one partition: its claim, its progress and what it has fetched but not stored."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from itertools import islice
from typing import Any

from shared.protocols import Claim, Parcel, Partition, Progress, Record

# Parcels that are stored but wait for earlier ones to be published.
_MOST_UNSENT = 4


class Lane:
    """One partition on its way through a runner, from its assignment until it is revoked."""

    def __init__(self, partition: Partition, position: str) -> None:
        self.partition = partition
        self.position = position
        self.claim: Claim | None = None
        self.progress = Progress()
        self.trimmed = False
        self.paused = False
        self.failures = 0
        self.races = 0
        self.retry_at = 0.0
        self.moved_at = time.monotonic()
        #: The transaction under way, and what it will have stored: records, progress, parcels deleted.
        self.commit: Future[list[Parcel]] | None = None
        self.pending: tuple[int, Progress, int] | None = None
        #: A parcel is stored, then unsent, sent (and not settled yet), published, and at last deleted.
        self.unsent: list[Parcel] = []
        self.sent: list[Parcel] = []
        self.unsettled: Future[None] | None = None
        self.published: list[str] = []
        self._records: deque[Record] = deque()
        self._next = 0

    @property
    def opened(self) -> bool:
        return self.claim is not None

    @property
    def backlog(self) -> int:
        """Records fetched and not yet stored."""
        return len(self._records)

    @property
    def full(self) -> bool:
        """Whether no more slices may be stored until something is published."""
        return len(self.unsent) >= _MOST_UNSENT

    def open(self, claim: Claim, progress: Progress, start: int, *, trimmed: bool) -> None:
        self.claim, self.progress, self.trimmed = claim, progress, trimmed
        self.failures = 0
        self._next = start

    def receive(self, records: Sequence[Record]) -> None:
        """Take fetched records; what was fetched before the last seek is left out."""
        for record in records:
            if record.offset >= self._next:
                self._records.append(record)
                self._next = record.offset + 1

    def slice(self, most: int, most_bytes: int) -> list[Record]:
        """The next records to store together: at least one, else within both bounds."""
        records: list[Record] = []
        size = 0
        for record in islice(self._records, most):
            size += len(record.value or b"") + len(record.key or b"")
            if records and size > most_bytes:
                break
            records.append(record)
        return records

    @property
    def ready(self) -> bool:
        """Whether there is something to do on it at once, without waiting for a server."""
        if not self.opened or (self.commit is not None and self.commit.done()):
            return True
        if self.unsettled is not None and self.unsettled.done():
            return True
        return self.commit is None and (not self.full if self._records else bool(self.published))

    def committed(self, parcels: Sequence[Parcel]) -> None:
        """The pending slice is stored."""
        assert self.pending is not None
        records, self.progress, cleared = self.pending
        self.pending = None
        self.failures = self.races = 0
        self.moved_at = time.monotonic()
        # Until a number has been met, which may be later than the first slice.
        self.trimmed = self.trimmed and not self.progress.seen
        self.unsent += parcels
        del self.published[:cleared]
        for _ in range(records):
            self._records.popleft()

    def settled(self) -> None:
        """What was sent is published."""
        self.failures = 0
        self.published += [parcel.id for parcel in self.sent]
        self.sent, self.unsettled = [], None


class Inline(Executor):
    """Runs at once, in the caller's thread."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future
