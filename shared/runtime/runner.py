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
from shared.runtime.observer import Observer, Silent
from shared.runtime.partition_state import Inline, Lane, Pending
from shared.runtime.protocols import Parcel, Partition, Polled, Projection, Publisher, Reader, Slice, Store
from shared.runtime.slice_fold import Folding

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


class Doing(NamedTuple):
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
        self._committer = committer or Inline()
        self._observer = observer or Silent()
        self._lanes: dict[Partition, Lane] = {}
        self._looked_at = 0.0
        #: For whoever watches from another thread.
        self.doing = Doing("start", None, time.monotonic())

    @property
    def lanes(self) -> Mapping[Partition, Lane]:
        return self._lanes

    def run(self, stop: threading.Event) -> None:
        """Work until ``stop``. Raises what is neither a bad event nor a server that is away."""
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
            if (lane := self._lanes.get(partition)) is not None and lane.opened:
                lane.receive(records)
                self._observer.received(partition, len(records))
                if not lane.paused and (lane.backlog > 2 * self._slice_events or lane.bytes > _MAX_BACKLOG_BYTES):
                    self._reader.pause([partition])
                    lane.paused = True
        for lane in list(self._lanes.values()):
            if lane.retry_at <= self._clock() and not self._advance(lane):
                # It may have taken seconds to hear of it. The others would wait as long, and meanwhile nobody
                # would look for records, the group, or the end. Next time it is their turn.
                self._lanes[lane.partition] = self._lanes.pop(lane.partition)
                break
        self._look_ahead()

    def _at(self, step: str, partition: Partition | None = None) -> None:
        self.doing = Doing(step, partition, time.monotonic())

    def _look_ahead(self) -> None:
        """Note the ends of the logs now and then, for metrics: the reader is for this thread only."""
        if (now := time.monotonic()) - self._looked_at > _LOOK_SECONDS:
            self._looked_at = now
            for partition, lane in self._lanes.items():
                lane.end = self._reader.end(partition)

    def _patience(self, timeout_ms: int) -> int:
        """How long a poll may wait for records: not at all while there is something else to do."""
        now = self._clock()
        lanes = [lane for lane in self._lanes.values() if lane.retry_at <= now]
        if any(lane.ready for lane in lanes):
            return 0
        if answers := [future for lane in lanes if (future := lane.awaited) is not None]:
            wait(answers, _GLANCE_SECONDS, return_when=FIRST_COMPLETED)
            return 0
        if any(lane.unsettled for lane in lanes):
            return int(_GLANCE_SECONDS * 1000)
        return timeout_ms

    def _rebalance(self, polled: Polled) -> None:
        for partition in polled.revoked:
            # Whatever is under way here is void or stored; its next owner drains the outbox.
            self._lanes.pop(partition, None)
        for partition in polled.assigned:
            position = f"{self._projection.name}@{self._projection.version}/{partition}"
            self._lanes[partition] = Lane(partition, position)

    def _advance(self, lane: Lane) -> bool:
        """What can be done at once; false when a server is away."""
        try:
            if not lane.opened:
                self._open(lane)
            else:
                self._work(lane)
        except Unavailable as error:
            self._interrupted(lane, error)
            self._postpone(self._anew(lane) if self.doing.step == "commit" else lane, error)
            return False
        except Stale as error:
            self._interrupted(lane, error)
            self._race_again(lane, error)
        except Fenced as error:
            self._interrupted(lane, error)
            # Another process claimed it. If the group still says that it is ours, claim it back: both may
            # believe so for a moment after a rebalance, and someone has to go on.
            log.warning("%s: claimed by another worker", lane.partition)
            self._anew(lane).retry_at = self._clock() + _RECLAIM_DELAY
        return True

    def _anew(self, lane: Lane) -> Lane:
        """Begin with its claim again. After a transaction of unknown result nothing less will do: what is read
        from a primary that is going may be undone, and a slice folded on it would then be missing. A majority has
        the new claim, and so all that came before it."""
        self._reader.pause([lane.partition])
        fresh = self._lanes[lane.partition] = lane.anew()
        return fresh

    def _race_again(self, lane: Lane, error: Stale) -> None:
        """With fewer events: what mongod has no room for, it refuses like a race, too."""
        if lane.races == 0:
            lane.racing_since = self._clock()
        lane.races += 1
        if self._clock() - lane.racing_since > _MOST_RACING_SECONDS:
            raise RuntimeError(f"{lane.partition}: lost {lane.races} races in a row: {error}") from error
        lane.most = max(1, min(lane.most or self._slice_events, self._slice_events) // 2)
        delay = min(_FIRST_DELAY * 2.0 ** max(0, min(lane.races - _QUICK_RACES, 16)), _LONGEST_DELAY)
        lane.retry_at = self._clock() + delay * random.random()

    def _interrupted(self, lane: Lane, error: Exception) -> None:
        lane.stumbled = (self.doing.step, str(error))
        lane.fold = None
        self._observer.interrupted(lane.partition, self.doing.step, error)

    def _postpone(self, lane: Lane, error: Unavailable) -> None:
        delay = min(_FIRST_DELAY * 2.0 ** min(lane.failures, 16), _LONGEST_DELAY)
        lane.failures += 1
        lane.retry_at = self._clock() + delay
        level = logging.WARNING if lane.failures == 1 else logging.DEBUG
        log.log(level, "%s: waiting for a server: %s", lane.partition, error)

    def _open(self, lane: Lane) -> None:
        self._at("claim", lane.partition)
        claim, progress = self._store.claim(lane.position, self._owner)
        parcels = self._store.parcels(lane.position)
        for parcel in parcels:
            self._publisher.send(parcel.messages).result()
        self._store.clear([parcel.id for parcel in parcels])
        first, start = self._reader.start(lane.partition, progress.next)
        lane.open(claim, progress, start, trimmed=first > 0 and not progress.seen)

    def _work(self, lane: Lane) -> None:
        """Take in what has been committed and published, and start the next of both."""
        if lane.commit is not None and lane.commit.done():
            self._take_commit(lane)
        self._publish(lane)
        if lane.commit is not None:
            return
        if lane.fold is None and lane.backlog and not lane.full:
            self._start_fold(lane)
        if lane.fold is not None:
            self._go_on(lane)
        elif lane.published and not lane.backlog and lane.clear_at <= self._clock():
            self._store.clear(lane.published)
            lane.published = []

    def _start_fold(self, lane: Lane) -> None:
        self._at("fold", lane.partition)
        records = lane.slice(self._slice_events, _MAX_SLICE_BYTES, self._projection.weight)
        lane.fold = Folding(
            self._projection,
            records,
            lane.progress,
            lane.position,
            lambda ask: self._committer.submit(self._store.read, ask),
            dead_letters=self._dead_letters,
            trimmed=lane.trimmed,
            trace=self._observer.begun(lane.partition, records),
        )

    def _go_on(self, lane: Lane) -> None:
        """Fold as far as what it reads is there; commit what comes of it."""
        self._at("fold", lane.partition)
        assert lane.fold is not None
        if (folded := lane.fold.advance()) is None:
            return
        if lane.fold.out_of_order:
            message = "%s: skipped %d out-of-order changes (gap in sequence numbers); they will be redelivered"
            log.warning(message, lane.position, lane.fold.out_of_order)
        records, lane.fold = lane.fold.records, None
        outcome, after = folded
        self._observer.folded(lane.partition, outcome)
        self._at("commit", lane.partition)
        assert lane.claim is not None
        slice = Slice(lane.claim, lane.progress, after, outcome, tuple(lane.published))
        lane.pending = Pending(records, outcome, after, len(lane.published))
        lane.commit = self._committer.submit(self._store.commit, slice)
        if lane.commit.done():
            self._take_commit(lane)
            self._publish(lane)

    def _take_commit(self, lane: Lane) -> None:
        self._at("commit", lane.partition)
        commit, lane.commit = lane.commit, None
        assert commit is not None
        stored = lane.committed(commit.result())
        self._observer.committed(lane.partition, stored.records, stored.outcome)
        next = stored.after.next
        assert next is not None
        self._reader.mirror({lane.partition: next})
        if lane.paused and lane.backlog <= self._slice_events and lane.bytes <= _MAX_BACKLOG_BYTES // 2:
            self._reader.resume([lane.partition])
            lane.paused = False

    def _publish(self, lane: Lane) -> None:
        """Publish what is stored, one lot after the other: their order depends on it."""
        self._at("publish", lane.partition)
        if lane.unsettled is not None and lane.unsettled.done():
            try:
                lane.unsettled.result()
            except Unavailable:
                lane.unsettled = self._send(lane.sent)
                raise
            lane.settled()
            lane.clear_at = self._clock() + _CLEAR_SECONDS
        if lane.unsettled is None and lane.unsent:
            lane.sent, lane.unsent = lane.unsent, []
            lane.unsettled = self._send(lane.sent)

    def _send(self, parcels: Sequence[Parcel]) -> Future[None]:
        return self._publisher.send([message for parcel in parcels for message in parcel.messages])

    def _finish(self) -> None:
        """Take what is under way to its end, as far as the servers let it within a few seconds: whoever asks
        for the end kills a worker that takes long."""
        deadline = time.monotonic() + _FINISH_SECONDS
        for lane in self._lanes.values():
            if (future := lane.awaited) is not None and future.cancel():
                lane.commit = None  # not begun
        for lane in self._lanes.values():
            try:
                self._settle(lane, deadline)
            except (Unavailable, Stale, Fenced) as error:
                log.warning("%s: left for the next worker: %s", lane.partition, error)
                if isinstance(error, Unavailable):
                    deadline = 0.0
        self._committer.shutdown(cancel_futures=True)

    def _settle(self, lane: Lane, deadline: float) -> None:
        if lane.commit is not None:
            _await(lane.commit, deadline)
            self._take_commit(lane)
        while lane.unsettled is not None or lane.unsent:
            self._publish(lane)
            if lane.unsettled is not None:
                _await(lane.unsettled, deadline)
        if lane.published and time.monotonic() < deadline:
            self._store.clear(lane.published)


def _await(future: Future[Any], deadline: float) -> None:
    wait([future], max(0.0, deadline - time.monotonic()))
    if not future.done():
        raise Unavailable("there is no time to wait for an answer")
