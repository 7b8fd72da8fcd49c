"""Membership in a consumer group, by kafka-python: which partitions are this member's, apart from reading them."""

import logging
import threading
import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from typing import Any

from kafka import ConsumerRebalanceListener, KafkaConsumer, TopicPartition
from kafka.errors import KafkaError
from kafka.structs import OffsetAndMetadata

from shared.runtime.protocols import Partition

log = logging.getLogger(__name__)

#: How long a poll looks after a join that is in progress, in milliseconds.
JOIN_MS = 10
_MIRROR_SECONDS = 1.0


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]
    """Records assignments and revocations. Runs on the client's I/O thread, where nothing may block."""

    def __init__(self, consumer: KafkaConsumer) -> None:
        self._consumer = consumer
        self._lock = threading.Lock()
        self._revoked: set[Partition] = set()
        self._assigned: set[Partition] = set()

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        gone = {Partition(tp.topic, tp.partition) for tp in revoked}
        with self._lock:
            self._revoked |= gone
            self._assigned -= gone

    def on_partitions_lost(self, lost: Iterable[TopicPartition]) -> None:
        # kafka-python 3.0.12 still claims lost partitions when it rejoins. The group's leader then leaves them
        # assigned to it, and it never revokes them, because it does not hold them. Nobody would read them until
        # the next rebalance.
        for assignor in self._consumer._coordinator._assignors.values():
            assignor.member_assignment = None
        self.on_partitions_revoked(lost)

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        for tp in assigned:
            self._consumer.pause(tp)
            # Some position is given, so that poll() does not look up a committed one. start() sets the right one.
            self._consumer.seek(tp, 0)
        with self._lock:
            self._assigned |= {Partition(tp.topic, tp.partition) for tp in assigned}

    def take(self) -> tuple[frozenset[Partition], frozenset[Partition]]:
        with self._lock:
            revoked, assigned = frozenset(self._revoked), frozenset(self._assigned)
            self._revoked.clear()
            self._assigned.clear()
        return revoked, assigned


class Membership:
    """What the group assigns to ``consumer``, which is polled by its owner. ``waiting_since`` is the time
    (``time.monotonic()``) since which the group has not divided the partitions; None when it has."""

    def __init__(self, consumer: KafkaConsumer, topics: Sequence[str]) -> None:
        self._consumer = consumer
        self._listener = _Listener(consumer)
        self._unmirrored: dict[TopicPartition, OffsetAndMetadata] = {}
        self._mirrored_at = 0.0
        self.waiting_since: float | None = None
        consumer.subscribe(topics=list(topics), listener=self._listener)

    def joining(self) -> bool:
        """Whether this member waits for the group. Call it before and after each poll: it keeps a join that ends
        between two polls from being forgotten."""
        coordinator = self._consumer._coordinator
        join = coordinator._join_task
        if join is None:
            self.waiting_since = None
            return False
        if not isinstance(join, _KeptJoin):
            coordinator._join_task = _KeptJoin(join)
        # Or it would read on outside the group.
        coordinator.rejoin_needed = True
        if self.waiting_since is None:
            self.waiting_since = time.monotonic()
        return True

    def follow(self) -> None:
        """Poll for the group's sake only, where another client reads. Takes a moment at most."""
        busy = self.joining() or self._consumer._coordinator.coordinator_unknown()
        try:
            self._consumer.poll(timeout_ms=JOIN_MS if busy else 0)
        except KafkaError as error:
            if not error.retriable:
                raise
            log.debug("the group does not answer: %s", error)
        self.joining()

    def take(self) -> tuple[frozenset[Partition], frozenset[Partition]]:
        """What was revoked and what was assigned since the last call."""
        return self._listener.take()

    def mirror(self, positions: Mapping[Partition, int]) -> None:
        for partition, offset in positions.items():
            self._unmirrored[TopicPartition(*partition)] = OffsetAndMetadata(offset, "", -1)

    def commit_mirrored(self) -> None:
        """Commit the positions to Kafka now and then."""
        if self._unmirrored and time.monotonic() - self._mirrored_at > _MIRROR_SECONDS:
            self._mirrored_at = time.monotonic()
            assignment = self._consumer.assignment()
            offsets = {tp: offset for tp, offset in self._unmirrored.items() if tp in assignment}
            self._unmirrored = {}
            try:
                self._consumer.commit_async(offsets)
            except KafkaError as error:
                log.debug("positions not committed to Kafka (they only show lag): %s", error)


class _KeptJoin:
    """A join in progress, in the place where kafka-python 3.0.12 keeps it. It is never done there, so that a join
    that ends between two polls is not forgotten but taken by the next one."""

    is_done = False

    def __init__(self, join: Any) -> None:
        self._join = join

    def add_callback(self, take: Callable[[Any], object]) -> None:
        self._join.add_callback(take)

    def add_errback(self, take: Callable[[BaseException], object]) -> None:
        self._join.add_errback(take)

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._join.__await__()  # type: ignore[no-any-return]
