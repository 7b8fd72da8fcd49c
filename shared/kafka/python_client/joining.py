"""How a consumer of kafka-python takes part in a rebalance: it reads on, and shares out the partitions evenly.

Refers to kafka-python 3.0.12, whose ``poll`` returns nothing while the answer to its JoinGroup is outstanding. The
broker gives that once every member has joined again, or the session of one that has crashed is over.
"""

from collections import defaultdict
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from kafka import KafkaConsumer
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.errors import KafkaConnectionError, KafkaTimeoutError, RequestTimedOutError
from kafka.protocol.consumer.metadata import ConsumerProtocolAssignment

from shared.kafka.shares import GroupMember, even_shares
from shared.runtime.protocols import Partition

#: How long a poll waits for the end of a join before it fetches.
_JOIN_MS = 20


class EvenAssignor(CooperativeStickyAssignor):  # type: ignore[misc]
    """Spreads each topic evenly (``shared.kafka.shares``). "cooperative-sticky" balances the sum of all topics.

    It keeps that name, because the members do the same with its result. So it needs no agreement: one group may
    have members of older versions and of other clients, and the one that leads the group decides.
    """

    def assign(self, cluster: Any, members: Sequence[Any]) -> dict[str, Any]:
        """The assignments of a rebalance by member id. A partition that moves is taken from its holder first, and
        assigned in the rebalance that follows."""
        group: dict[str, GroupMember] = {}
        for member in members:
            asked = self.parse_member_metadata(member.metadata)
            holds = [Partition(tp.topic, tp.partition) for tp in asked.partitions]
            group[member.member_id] = GroupMember(frozenset(asked.subscription), holds)
        topics = {topic for member in group.values() for topic in member.topics}
        numbers = {topic: sorted(cluster.partitions_for_topic(topic) or ()) for topic in topics}
        holders: dict[Partition, set[str]] = defaultdict(set)
        for name, member in group.items():
            for partition in member.holds:
                holders[partition].add(name)
        return {
            name: self._assignment([each for each in share if holders[each] <= {name}])
            for name, share in even_shares(numbers, group).items()
        }

    def _assignment(self, share: Sequence[Partition]) -> Any:
        by_topic = defaultdict(list)
        for partition in sorted(share):
            by_topic[partition.topic].append(partition.number)
        return ConsumerProtocolAssignment(self.version, list(by_topic.items()), b"")


def read_while_joining(consumer: KafkaConsumer) -> None:
    """Let ``poll`` of ``consumer`` return the records of the partitions that it still holds while it joins.

    Until the join ends they belong to it, for the broker and for the other members.
    """
    coordinator = consumer._coordinator
    coordinator.poll = _poll(coordinator, coordinator.poll)
    coordinator._do_join_and_sync_async = _join(coordinator, coordinator._do_join_and_sync_async)


def joining(consumer: KafkaConsumer) -> bool:
    """Whether the consumer waits for a join to end."""
    return bool(getattr(consumer._coordinator, "rejoining", False))


def _poll(coordinator: Any, poll: Callable[..., bool]) -> Callable[..., bool]:
    def poll_and_fetch(timeout_ms: float) -> bool:
        if coordinator.rejoining:
            # kafka-python forgets a join that ends between two polls: it joins once more, or, where another
            # reason than this mark made it join, reads on outside the group.
            coordinator.rejoin_needed = True
            join = coordinator._join_task
            if join is not None and join.succeeded() and coordinator.rebalance_in_progress():
                coordinator._join_task = _EndedJoin(join)
        if not coordinator.need_rejoin() or not coordinator._subscription.assigned_partitions():
            return poll(timeout_ms=timeout_ms)
        poll(timeout_ms=min(timeout_ms, _JOIN_MS))
        return True

    return poll_and_fetch


def _join(
    coordinator: Any, join: Callable[[], Coroutine[Any, Any, bytes]]
) -> Callable[[], Coroutine[Any, Any, bytes]]:
    async def join_or_look_elsewhere() -> bytes:
        try:
            return await join()
        except (KafkaConnectionError, KafkaTimeoutError, RequestTimedOutError) as error:
            # kafka-python asks the same broker again and again. Another one may lead the group by now.
            coordinator.coordinator_dead(error)
            raise

    return join_or_look_elsewhere


class _EndedJoin:
    """A join that has succeeded, as one that has yet to end, so that kafka-python takes its result."""

    is_done = False

    def __init__(self, join: Any) -> None:
        self.add_callback, self.add_errback = join.add_callback, join.add_errback
