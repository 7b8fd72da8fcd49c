"""The runner: poll → decode → project → commit → publish, exactly once per partition.

One transaction per slice of a partition stores documents, progress and outbox together. Every failure has one of
three outcomes. InvalidEvent: the record becomes a dead letter. Unavailable, or a lost race: the same slice is
retried. Any other error stops the runner, with nothing committed.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from contextlib import closing
from typing import Any, NamedTuple

from shared.contracts.errors import Fenced, Stale, Unavailable
from shared.runtime.observer import NullObserver, Observer
from shared.runtime.partition_state import InFlightCommit, InlineExecutor, PartitionState
from shared.runtime.protocols import OutboxBatch, Partition, Polled, Projection, Publisher, Reader, Slice, Store
from shared.runtime.recovery import Recovery
from shared.runtime.slice_fold import SliceFold

log = logging.getLogger(__name__)

_RECLAIM_DELAY = 1.0
_MAX_SLICE_BYTES = 4 * 1024 * 1024
_MAX_BACKLOG_BYTES = 32 * 1024 * 1024
_GLANCE_SECONDS = 0.005
_LOOK_SECONDS = 0.1
# The next slice deletes the published batches in its transaction. Without a next slice, they are deleted after
# this time.
_CLEAR_SECONDS = 0.5
_FINISH_SECONDS = 5.0


class CurrentStep(NamedTuple):
    """The step that a runner's thread is in (poll, claim, fold, commit or publish), its partition, and since
    when."""

    step: str
    partition: Partition | None
    since: float


class Runner:
    """Runs one projection on the partitions that the consumer group assigns to this process.

    ``dead_letters`` is the topic for records that cannot be accepted. ``owner`` identifies this process in the
    positions. ``clock`` returns seconds, for delays only. ``committer`` runs reads and transactions, concurrently
    with the decoding and folding of other partitions; without it they run inline. ``observer`` is notified of
    progress.
    """

    def __init__(
        self,
        reader: Reader,
        store: Store,
        publisher: Publisher,
        projection: Projection[Any],
        *,
        owner: str,
        dead_letters: str,
        slice_events: int = 1000,
        clock: Callable[[], float] = time.monotonic,
        committer: Executor | None = None,
        observer: Observer | None = None,
    ) -> None:
        self._reader, self._store, self._publisher = reader, store, publisher
        self._projection = projection
        self._owner = owner
        self._dead_letters = dead_letters
        self._slice_events = slice_events
        self._clock = clock
        self._committer = committer or InlineExecutor()
        self._observer = observer or NullObserver()
        self._recovery = Recovery(clock, slice_events)
        self._partitions: dict[Partition, PartitionState] = {}
        self._looked_at = 0.0
        #: Read by observers on other threads.
        self.doing = CurrentStep("start", None, time.monotonic())

    @property
    def partitions(self) -> Mapping[Partition, PartitionState]:
        return self._partitions

    def run(self, stop: threading.Event) -> None:
        """Work until ``stop``. Raises every error other than InvalidEvent, Unavailable, Stale and Fenced."""
        with closing(self._publisher), closing(self._reader):
            try:
                while not stop.is_set():
                    self.step()
            finally:
                self._finish()

    def step(self, timeout_ms: int = 200) -> None:
        """Poll once, then do what can be done at once on each partition."""
        self._enter("poll")
        polled = self._reader.poll(self._poll_timeout(timeout_ms))
        self._rebalance(polled)
        for partition, records in polled.records.items():
            if (state := self._partitions.get(partition)) is not None and state.opened:
                state.receive(records)
                self._observer.received(partition, len(records))
                if not state.paused and (
                    state.backlog > 2 * self._slice_events or state.bytes > _MAX_BACKLOG_BYTES
                ):
                    self._reader.pause([partition])
                    state.paused = True
        for state in list(self._partitions.values()):
            if state.retry_at <= self._clock() and not self._advance(state):
                # The timeout may have taken seconds, and would for the other partitions. Meanwhile nothing would
                # be polled: no records, no group membership, no stop. The others have their turn in the next step.
                self._partitions[state.partition] = self._partitions.pop(state.partition)
                break
        self._recovery.report(self._partitions.values())
        self._record_log_ends()

    def _enter(self, step: str, partition: Partition | None = None) -> None:
        self.doing = CurrentStep(step, partition, time.monotonic())

    def _record_log_ends(self) -> None:
        """Record the ends of the logs now and then. Only this thread may use the reader, which knows them without
        a request."""
        if (now := time.monotonic()) - self._looked_at > _LOOK_SECONDS:
            self._looked_at = now
            for partition, state in self._partitions.items():
                state.end = self._reader.end(partition)
                state.behind.look(state.end, state.next, now)

    def _poll_timeout(self, timeout_ms: int) -> int:
        """How long a poll may wait for records, in milliseconds: 0 while there is other work."""
        now = self._clock()
        partitions = [state for state in self._partitions.values() if state.retry_at <= now]
        if any(state.ready for state in partitions):
            return 0
        if answers := [future for state in partitions if (future := state.awaited) is not None]:
            wait(answers, _GLANCE_SECONDS, return_when=FIRST_COMPLETED)
            return 0
        if any(state.unsettled for state in partitions):
            return int(_GLANCE_SECONDS * 1000)
        return timeout_ms

    def _rebalance(self, polled: Polled) -> None:
        for partition in polled.revoked:
            # Work in progress here is void or stored. The next owner drains the outbox.
            self._partitions.pop(partition, None)
        for partition in polled.assigned:
            position = f"{self._projection.name}@{self._projection.version}/{partition}"
            self._partitions[partition] = PartitionState(partition, position)
        self._recovery.rebalanced(polled, self._partitions.values())

    def _advance(self, state: PartitionState) -> bool:
        """Do what can be done at once. Returns False when a server is unavailable."""
        try:
            if not state.opened:
                self._open(state)
            else:
                self._work(state)
        except Unavailable as error:
            self._interrupted(state, error)
            step = self.doing.step
            self._recovery.postpone(self._reclaim(state) if step == "commit" else state, step, error)
            return False
        except Stale as error:
            self._interrupted(state, error)
            self._recovery.retry_smaller(state, error)
        except Fenced as error:
            self._interrupted(state, error)
            # Another process has claimed the partition. Claim it back if the group still assigns it to this one.
            # Both may believe that for a moment after a rebalance, and one of them has to continue.
            log.warning("%s: claimed by another worker", state.partition)
            self._reclaim(state).retry_at = self._clock() + _RECLAIM_DELAY
        return True

    def _reclaim(self, state: PartitionState) -> PartitionState:
        """Start again from the claim. After a transaction with unknown result nothing less is safe: what a primary
        shows while it steps down may be rolled back, and a slice folded on it would then be missing. The new claim
        is acknowledged by a majority, and so is everything before it."""
        self._reader.pause([state.partition])
        fresh = self._partitions[state.partition] = state.reset()
        return fresh

    def _interrupted(self, state: PartitionState, error: Exception) -> None:
        state.interrupted = (self.doing.step, str(error))
        state.fold = None
        self._observer.interrupted(state.partition, self.doing.step, error)

    def _open(self, state: PartitionState) -> None:
        """Claim the partition, publish what earlier owners left in its outbox, and begin to read it. Publishing is
        not waited for: the other partitions go on."""
        self._enter("claim", state.partition)
        if state.claimed is None:
            claimed = self._store.claim(state.position, self._owner)
            state.unsent = self._store.unpublished(state.position)
            state.claimed = claimed
        self._publish(state)
        if state.unsettled is not None and state.unsettled.done():
            self._publish(state)
        if state.unsettled is not None:
            return
        self._enter("claim", state.partition)
        if state.published:
            self._store.clear(state.published)
            state.published = []
        claim, progress = state.claimed
        # Before another try it is claimed anew: others may have had it meanwhile.
        state.claimed = None
        first, start = self._reader.start(state.partition, progress.next)
        state.open(claim, progress, start, trimmed=first > 0 and not progress.seen)

    def _work(self, state: PartitionState) -> None:
        """Take the results of the commit and of publishing, and start the next of both."""
        if state.commit is not None and state.commit.done():
            self._take_commit(state)
        self._publish(state)
        if state.commit is not None:
            return
        if state.fold is None and state.backlog and not state.full:
            self._start_fold(state)
        if state.fold is not None:
            self._continue_fold(state)
        elif state.published and not state.backlog and state.clear_at <= self._clock():
            self._store.clear(state.published)
            state.published = []
            state.unavailable.pop("store", None)

    def _start_fold(self, state: PartitionState) -> None:
        self._enter("fold", state.partition)
        records = state.slice(self._slice_events, _MAX_SLICE_BYTES, self._projection.weight)
        state.begun_at = time.monotonic()
        state.fold = SliceFold(
            self._projection,
            records,
            state.progress,
            state.position,
            lambda ask: self._committer.submit(self._store.read, ask),
            dead_letters=self._dead_letters,
            trimmed=state.trimmed,
            trace=self._observer.begun(state.partition, records),
        )

    def _continue_fold(self, state: PartitionState) -> None:
        """Fold as far as the answers to its reads allow; once folded, commit the outcome."""
        self._enter("fold", state.partition)
        assert state.fold is not None
        if (folded := state.fold.advance()) is None:
            return
        if state.fold.out_of_order:
            message = "%s: skipped %d out-of-order changes (gap in sequence numbers); they will be redelivered"
            log.warning(message, state.position, state.fold.out_of_order)
        records, state.fold = state.fold.records, None
        outcome, after = folded
        self._observer.folded(state.partition, outcome)
        self._enter("commit", state.partition)
        assert state.claim is not None
        slice = Slice(state.claim, state.progress, after, outcome, tuple(state.published))
        state.pending = InFlightCommit(records, outcome, after, len(state.published))
        state.commit = self._committer.submit(self._store.commit, slice)
        if state.commit.done():
            self._take_commit(state)
            self._publish(state)

    def _take_commit(self, state: PartitionState) -> None:
        self._enter("commit", state.partition)
        commit, state.commit = state.commit, None
        assert commit is not None
        stored = state.committed(commit.result())
        self._observer.committed(state.partition, stored.records, stored.outcome)
        next = stored.after.next
        assert next is not None
        self._reader.mirror({state.partition: next})
        if state.paused and state.backlog <= self._slice_events and state.bytes <= _MAX_BACKLOG_BYTES // 2:
            self._reader.resume([state.partition])
            state.paused = False

    def _publish(self, state: PartitionState) -> None:
        """Publish what is stored, one batch after the other, to keep their order."""
        self._enter("publish", state.partition)
        if state.unsettled is not None and state.unsettled.done():
            try:
                state.unsettled.result()
            except Unavailable:
                state.unsettled = self._send(state.sent)
                raise
            state.settled()
            state.clear_at = self._clock() + _CLEAR_SECONDS
        if state.unsettled is None and state.unsent:
            state.sent, state.unsent = state.unsent, []
            state.unsettled = self._send(state.sent)

    def _send(self, unpublished: Sequence[OutboxBatch]) -> Future[None]:
        return self._publisher.send([message for batch in unpublished for message in batch.messages])

    def _finish(self) -> None:
        """Finish the work in progress as far as the servers allow within a few seconds. The process manager kills
        a worker that takes longer."""
        deadline = time.monotonic() + _FINISH_SECONDS
        for state in self._partitions.values():
            if (future := state.awaited) is not None and future.cancel():
                state.commit = None  # not started
        for state in self._partitions.values():
            try:
                self._settle(state, deadline)
            except (Unavailable, Stale, Fenced) as error:
                log.warning(
                    "%s: not finished before the stop, the next worker repeats it: %s", state.partition, error
                )
                if isinstance(error, Unavailable):
                    deadline = 0.0
        # Without waiting for those under way: leaving the group comes first.
        self._committer.shutdown(wait=False, cancel_futures=True)

    def _settle(self, state: PartitionState, deadline: float) -> None:
        if state.commit is not None:
            _await(state.commit, deadline)
            self._take_commit(state)
        while state.unsettled is not None or state.unsent:
            self._publish(state)
            if state.unsettled is not None:
                _await(state.unsettled, deadline)
        if state.published and time.monotonic() < deadline:
            self._store.clear(state.published)


def _await(future: Future[Any], deadline: float) -> None:
    wait([future], max(0.0, deadline - time.monotonic()))
    if not future.done():
        raise Unavailable("no answer before the shutdown deadline")
