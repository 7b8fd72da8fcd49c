"""What a runner holds of one partition: its claim, its progress and what it has fetched but not stored."""

import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from itertools import islice

from shared.protocols import Claim, Parcel, Partition, Progress, Record


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
        self.unsettled: Future[None] | None = None
        self.parcels: Sequence[Parcel] = ()
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

    def open(self, claim: Claim, progress: Progress, start: int, *, trimmed: bool) -> None:
        self.claim, self.progress, self.trimmed = claim, progress, trimmed
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

    def committed(self, records: int, progress: Progress) -> None:
        self.progress = progress
        self.moved_at = time.monotonic()
        # Until a number has been met, which may be later than the first slice.
        self.trimmed = self.trimmed and not progress.seen
        self.published.clear()
        for _ in range(records):
            self._records.popleft()

    def sent(self, parcels: Sequence[Parcel], future: Future[None]) -> None:
        self.parcels, self.unsettled = parcels, future

    def settled(self) -> None:
        self.published += [parcel.id for parcel in self.parcels]
        self.parcels, self.unsettled = (), None

    def take_published(self) -> list[str]:
        ids, self.published = self.published, []
        return ids
