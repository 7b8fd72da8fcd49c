"""The runner: poll → decode → project → commit → publish, exactly once per partition.

One transaction per slice of a partition stores documents, progress and outbox together. Everything that can
go wrong has one of three outcomes: InvalidEvent becomes a dead letter, Unavailable (and a lost race) tries the
same slice again, anything else stops the runner with nothing committed.
"""

import logging
import random
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
from shared.runtime.slice_fold import SliceFold

log = logging.getLogger(__name__)

_FIRST_DELAY, _LONGEST_DELAY, _RECLAIM_DELAY = 0.1, 5.0, 1.0
# A race may be lost to a transaction that a dead process left open: until its session has ended, and a while more.
_QUICK_RACES, _MOST_RACING_SECONDS = 10, 300.0
_MAX_SLICE_BYTES = 4 * 1024 * 1024
_MAX_BACKLOG_BYTES = 32 * 1024 * 1024
_GLANCE_SECONDS = 0.005
_LOOK_SECONDS = 1.0
# The next slice deletes what is published along with what it stores; where none comes, it is deleted by itself.
_CLEAR_SECONDS = 0.5
_FINISH_SECONDS = 5.0


class CurrentStep(NamedTuple):
    """What a runner's thread is at (poll, claim, fold, commit or publish), with which partition, since when."""

    step: str
    partition: Partition | None
    since: float


class Runner:
    """Runs one projection on the partitions that a group gives this process.

    ``dead_letters`` is the topic for what cannot be accepted. ``owner`` names this process in the positions.
    ``clock`` gives seconds, for delays only. ``committer`` runs the reads and the transactions, so
    that one partition's go on beside the decoding and folding of another's; without it they run in line.
    ``observer`` is told what happens.
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
        self._partitions: dict[Partition, PartitionState] = {}
        self._looked_at = 0.0
        #: For observers in another thread.
        self.doing = CurrentStep("start", None, time.monotonic())

    @property
    def partitions(self) -> Mapping[Partition, PartitionState]:
        return self._partitions

    def run(self, stop: threading.Event) -> None:
        """Work until ``stop``. Raises what is neither a bad event nor a server that is unavailable."""
        with closing(self._publisher), closing(self._reader):
            try:
                while not stop.is_set():
                    self.step()
            finally:
                self._finish()

    def step(self, timeout_ms: int = 200) -> None:
        """One poll, and what can be done at once on each partition."""
        self._at("poll")
        polled = self._reader.poll(self._patience(timeout_ms))
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
                # It may have taken seconds to hear of it. The others would wait as long, and meanwhile nobody
                # would look for records, the group, or the end. Next time it is their turn.
                self._partitions[state.partition] = self._partitions.pop(state.partition)
                break
        self._look_ahead()

    def _at(self, step: str, partition: Partition | None = None) -> None:
        self.doing = CurrentStep(step, partition, time.monotonic())

    def _look_ahead(self) -> None:
        """Note the ends of the logs now and then, for metrics: the reader is for this thread only."""
        if (now := time.monotonic()) - self._looked_at > _LOOK_SECONDS:
            self._looked_at = now
            for partition, state in self._partitions.items():
                state.end = self._reader.end(partition)

    def _patience(self, timeout_ms: int) -> int:
        """How long a poll may wait for records: not at all while there is something else to do."""
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
            # Whatever is under way here is void or stored; its next owner drains the outbox.
            self._partitions.pop(partition, None)
        for partition in polled.assigned:
            position = f"{self._projection.name}@{self._projection.version}/{partition}"
            self._partitions[partition] = PartitionState(partition, position)

    def _advance(self, state: PartitionState) -> bool:
        """What can be done at once; false when a server is unavailable."""
        try:
            if not state.opened:
                self._open(state)
            else:
                self._work(state)
        except Unavailable as error:
            self._interrupted(state, error)
            self._postpone(self._anew(state) if self.doing.step == "commit" else state, error)
            return False
        except Stale as error:
            self._interrupted(state, error)
            self._race_again(state, error)
        except Fenced as error:
            self._interrupted(state, error)
            # Another process claimed it. If the group still says that it is ours, claim it back: both may
            # believe so for a moment after a rebalance, and someone has to go on.
            log.warning("%s: claimed by another worker", state.partition)
            self._anew(state).retry_at = self._clock() + _RECLAIM_DELAY
        return True

    def _anew(self, state: PartitionState) -> PartitionState:
        """Begin with its claim again. After a transaction of unknown result nothing less will do: what is read
        from a primary that is going may be undone, and a slice folded on it would then be missing. A majority has
        the new claim, and so all that came before it."""
        self._reader.pause([state.partition])
        fresh = self._partitions[state.partition] = state.reset()
        return fresh

    def _race_again(self, state: PartitionState, error: Stale) -> None:
        """With fewer events: what mongod has no room for, it refuses like a race, too."""
        if state.races == 0:
            state.racing_since = self._clock()
        state.races += 1
        if self._clock() - state.racing_since > _MOST_RACING_SECONDS:
            raise RuntimeError(f"{state.partition}: lost {state.races} races in a row: {error}") from error
        state.most = max(1, min(state.most or self._slice_events, self._slice_events) // 2)
        delay = min(_FIRST_DELAY * 2.0 ** max(0, min(state.races - _QUICK_RACES, 16)), _LONGEST_DELAY)
        state.retry_at = self._clock() + delay * random.random()

    def _interrupted(self, state: PartitionState, error: Exception) -> None:
        state.stumbled = (self.doing.step, str(error))
        state.fold = None
        self._observer.interrupted(state.partition, self.doing.step, error)

    def _postpone(self, state: PartitionState, error: Unavailable) -> None:
        delay = min(_FIRST_DELAY * 2.0 ** min(state.failures, 16), _LONGEST_DELAY)
        state.failures += 1
        state.retry_at = self._clock() + delay
        level = logging.WARNING if state.failures == 1 else logging.DEBUG
        log.log(level, "%s: waiting for a server: %s", state.partition, error)

    def _open(self, state: PartitionState) -> None:
        self._at("claim", state.partition)
        claim, progress = self._store.claim(state.position, self._owner)
        unpublished = self._store.unpublished(state.position)
        for batch in unpublished:
            self._publisher.send(batch.messages).result()
        self._store.clear([batch.id for batch in unpublished])
        first, start = self._reader.start(state.partition, progress.next)
        state.open(claim, progress, start, trimmed=first > 0 and not progress.seen)

    def _work(self, state: PartitionState) -> None:
        """Take in what has been committed and published, and start the next of both."""
        if state.commit is not None and state.commit.done():
            self._take_commit(state)
        self._publish(state)
        if state.commit is not None:
            return
        if state.fold is None and state.backlog and not state.full:
            self._start_fold(state)
        if state.fold is not None:
            self._go_on(state)
        elif state.published and not state.backlog and state.clear_at <= self._clock():
            self._store.clear(state.published)
            state.published = []

    def _start_fold(self, state: PartitionState) -> None:
        self._at("fold", state.partition)
        records = state.slice(self._slice_events, _MAX_SLICE_BYTES, self._projection.weight)
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

    def _go_on(self, state: PartitionState) -> None:
        """Fold as far as what it reads is there; commit what comes of it."""
        self._at("fold", state.partition)
        assert state.fold is not None
        if (folded := state.fold.advance()) is None:
            return
        if state.fold.out_of_order:
            message = "%s: skipped %d out-of-order changes (gap in sequence numbers); they will be redelivered"
            log.warning(message, state.position, state.fold.out_of_order)
        records, state.fold = state.fold.records, None
        outcome, after = folded
        self._observer.folded(state.partition, outcome)
        self._at("commit", state.partition)
        assert state.claim is not None
        slice = Slice(state.claim, state.progress, after, outcome, tuple(state.published))
        state.pending = InFlightCommit(records, outcome, after, len(state.published))
        state.commit = self._committer.submit(self._store.commit, slice)
        if state.commit.done():
            self._take_commit(state)
            self._publish(state)

    def _take_commit(self, state: PartitionState) -> None:
        self._at("commit", state.partition)
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
        """Publish what is stored, one lot after the other: their order depends on it."""
        self._at("publish", state.partition)
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
        """Take what is under way to its end, as far as the servers let it within a few seconds: whoever asks
        for the end kills a worker that takes long."""
        deadline = time.monotonic() + _FINISH_SECONDS
        for state in self._partitions.values():
            if (future := state.awaited) is not None and future.cancel():
                state.commit = None  # not begun
        for state in self._partitions.values():
            try:
                self._settle(state, deadline)
            except (Unavailable, Stale, Fenced) as error:
                log.warning("%s: left for the next worker: %s", state.partition, error)
                if isinstance(error, Unavailable):
                    deadline = 0.0
        self._committer.shutdown(cancel_futures=True)

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
        raise Unavailable("there is no time to wait for an answer")
