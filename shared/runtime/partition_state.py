"""The state of one partition in a runner: its claim, its progress, and the records fetched but not stored."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from typing import Any, Literal, NamedTuple

from shared.runtime.behind import Behind
from shared.runtime.protocols import Claim, OutboxBatch, Outcome, Partition, Progress, Record
from shared.runtime.slice_fold import SliceFold

# Batches that are stored and wait for earlier ones to be published.
_MOST_UNSENT = 4
# A partition whose transactions hold this many events again is no longer throttled.
_LIKELY_ENOUGH = 10_000


class PendingStep(NamedTuple):
    """A step (claim, fold, commit or publish) with work to do, the time (``time.monotonic()``) since when it has
    made no progress, and the error that last interrupted it, if any."""

    step: str
    since: float
    trouble: str | None


class InFlightCommit(NamedTuple):
    """What the transaction in progress will have stored: the records of a slice, their outcome, the progress
    afterwards, and how many published batches it deletes."""

    records: Sequence[Record]
    outcome: Outcome
    after: Progress
    cleared: int


class PartitionState:
    """One partition in a runner, from assignment to revocation."""

    def __init__(self, partition: Partition, position: str) -> None:
        self.partition = partition
        self.position = position
        self.claim: Claim | None = None
        #: A claim whose outbox is being published, and the progress then stored.
        self.claimed: tuple[Claim, Progress] | None = None
        self.progress = Progress()
        self.trimmed = False
        self.paused = False
        #: Failures in a row.
        self.failures = 0
        #: The servers that were last unavailable: to publish (``publish``), and to all else (``store``). What is
        #: stored meanwhile says nothing of a server to which the same batches are sent again.
        self.unavailable: dict[Literal["publish", "store"], str] = {}
        #: Races lost in a row, and when the first of them was lost.
        self.races = 0
        self.racing_since = 0.0
        self.retry_at = 0.0
        #: When something was last stored and last published, or else when there was first something to store or
        #: publish.
        self.moved_at = self.settled_at = time.monotonic()
        #: The step that was last interrupted, and the error. Cleared when something is stored or published again.
        self.interrupted: tuple[str, str] | None = None
        #: The end of the log, as last reported by the reader.
        self.end: int | None = None
        self.behind = Behind()
        #: The slice that is being folded, and since when.
        self.fold: SliceFold | None = None
        self.begun_at = 0.0
        #: The transaction in progress, and what it will have stored.
        self.commit: Future[list[OutboxBatch]] | None = None
        self.pending: InFlightCommit | None = None
        #: A stored batch is first unsent, then sent (not acknowledged yet), then published, and finally deleted.
        self.unsent: list[OutboxBatch] = []
        self.sent: list[OutboxBatch] = []
        self.unsettled: Future[None] | None = None
        self.published: list[str] = []
        self.clear_at = 0.0
        #: Size in bytes of the records fetched and not yet stored.
        self.bytes = 0
        #: The most events that the next transaction may hold; None: the runner's limit. It is lowered after a
        #: transaction was refused, because that may have been too large.
        self.most: int | None = None
        self._records: deque[Record] = deque()
        self._sizes: deque[int] = deque()
        self._start = self._next = 0

    @property
    def opened(self) -> bool:
        return self.claim is not None

    @property
    def backlog(self) -> int:
        """Records fetched and not yet stored."""
        return len(self._records)

    @property
    def next(self) -> int | None:
        """The offset of the next record to store; None before it is opened."""
        if not self.opened:
            return None
        return self._start if self.progress.next is None else self.progress.next

    @property
    def waiting(self) -> int:
        """Records of the log that are not stored, as far as its end is known."""
        # Read once: another thread may ask, and the end is not known any more once the partition is revoked. It is
        # looked at now and then only, so that more may be stored already.
        end, next = self.end, self.next
        return 0 if end is None or next is None else max(0, end - next)

    @property
    def full(self) -> bool:
        """Whether no further slice may be stored until something is published."""
        return len(self.unsent) >= _MOST_UNSENT

    def open(self, claim: Claim, progress: Progress, start: int, *, trimmed: bool) -> None:
        moved = progress != self.progress
        self.claim, self.progress, self.trimmed = claim, progress, trimmed
        if moved:
            self.moved_at = time.monotonic()
        if moved or not self._uncommitted:
            self.failures = 0
            self.interrupted = None
            self.unavailable.pop("store", None)
        # It is opened when all is published that there was.
        self.unavailable.pop("publish", None)
        self._start = self._next = start

    def receive(self, records: Sequence[Record]) -> None:
        """Queue fetched records, except those that were fetched before the last seek."""
        if not self._records and not self._uncommitted:
            self.moved_at = time.monotonic()
        for record in records:
            if record.offset >= self._next:
                size = size_of(record)
                self._records.append(record)
                self._sizes.append(size)
                self.bytes += size
                self._next = record.offset + 1

    def slice(self, most: int, most_bytes: int, weight: Callable[[Record], int]) -> list[Record]:
        """The next records to store together: at least one, otherwise within both limits."""
        records: list[Record] = []
        count = total = 0
        most = min(most, self.most or most)
        for record, size in zip(self._records, self._sizes, strict=True):
            count += weight(record)
            total += size
            if records and (count > most or total > most_bytes):
                break
            records.append(record)
        return records

    @property
    def ready(self) -> bool:
        """Whether the partition has work that can be done now, without waiting for a server."""
        if not self.opened:
            return self.unsettled is None or self.unsettled.done()
        if self.unsettled is not None and self.unsettled.done():
            return True
        if (awaited := self.awaited) is not None:
            return awaited.done()
        return bool(self._records) and not self.full

    @property
    def awaited(self) -> Future[Any] | None:
        """The transaction or read that the partition waits for. Nothing is folded during a transaction."""
        if self.commit is not None:
            return self.commit
        return self.fold.answer if self.fold is not None else None

    @property
    def _uncommitted(self) -> bool:
        """Whether a transaction was refused, and nothing has been stored since. Its records will be folded
        again."""
        return self.interrupted is not None and self.interrupted[0] == "commit"

    @property
    def wait(self) -> PendingStep | None:
        """The step that the partition waits for; of several, the longest wait. None when there is nothing to
        do."""
        step, trouble = self.interrupted or ("", None)
        if not self.opened:
            return PendingStep("commit" if self._uncommitted else "claim", self.moved_at, trouble)
        waits = []
        if self.unsent or self.unsettled is not None:
            waits.append(PendingStep("publish", self.settled_at, trouble if step == "publish" else None))
        if self.commit is not None:
            waits.append(PendingStep("commit", self.moved_at, trouble if step == "commit" else None))
        elif (self._records or self._uncommitted) and not self.full:
            failed = step in ("fold", "commit")
            waits.append(PendingStep(step if failed else "fold", self.moved_at, trouble if failed else None))
        return min(waits, key=lambda wait: wait.since, default=None)

    def committed(self, unpublished: Sequence[OutboxBatch]) -> InFlightCommit:
        """Mark the pending slice as stored, and return it."""
        assert self.pending is not None
        stored, self.pending = self.pending, None
        self.progress = stored.after
        self.failures = self.races = 0
        self.interrupted = None
        self.unavailable.pop("store", None)
        self.moved_at = time.monotonic()
        self.behind.stored(len(stored.records), self.moved_at - self.begun_at)
        if not self.unsent and self.unsettled is None:
            self.settled_at = self.moved_at
        # It stays set until a sequence number has been seen, which may be later than in the first slice.
        self.trimmed = self.trimmed and not self.progress.seen
        self.unsent += unpublished
        del self.published[: stored.cleared]
        for _ in stored.records:
            self._records.popleft()
            self.bytes -= self._sizes.popleft()
        if self.most is not None:
            self.most = self.most * 2 if self.most < _LIKELY_ENOUGH else None
        return stored

    def reset(self) -> "PartitionState":
        """The state of the same partition before its claim."""
        fresh = PartitionState(self.partition, self.position)
        fresh.progress = self.progress
        fresh.failures, fresh.interrupted, fresh.most = self.failures, self.interrupted, self.most
        fresh.unavailable = dict(self.unavailable)
        fresh.moved_at, fresh.settled_at = self.moved_at, self.settled_at
        return fresh

    def settled(self) -> None:
        """Mark the sent batches as published."""
        self.failures = 0
        self.interrupted = None
        self.unavailable.pop("publish", None)
        self.settled_at = time.monotonic()
        self.published += [batch.id for batch in self.sent]
        self.sent, self.unsettled = [], None


def size_of(record: Record) -> int:
    """The approximate size of a record in bytes."""
    size = len(record.value or b"") + len(record.key or b"")
    return size + sum(len(name) + len(value) for name, value in record.headers) if record.headers else size


class InlineExecutor(Executor):
    """Runs each call at once, on the caller's thread."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future
