"""The assignor of the consumer groups."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.protocol.consumer.metadata import ConsumerProtocolAssignment

from shared.kafka.spread import spread
from shared.runtime.protocols import Partition


class EvenAssignor(CooperativeStickyAssignor):  # type: ignore[misc]  # it has no types
    """``spread``, in two rounds as in KIP-429: a partition that moves is first given up, then assigned.

    It bears the name of Kafka's own assignor, whose messages it uses: the members of a group have to agree on a
    name, and those of an earlier version and of librdkafka know that one. The group's leader decides.
    """

    def assign(self, cluster: Any, members: Sequence[Any]) -> dict[str, ConsumerProtocolAssignment]:
        read = {member.member_id: self.parse_member_metadata(member.metadata) for member in members}
        topics = {topic for metadata in read.values() for topic in metadata.subscription}
        counts = {topic: len(cluster.partitions_for_topic(topic) or ()) for topic in topics}
        owner = _owners(read)
        owned: dict[str, list[Partition]] = defaultdict(list)
        for partition, member in owner.items():
            owned[member].append(partition)
        wanted = spread(
            {topic: count for topic, count in counts.items() if count},
            {member: metadata.subscription for member, metadata in read.items()},
            owned,
        )
        found = {}
        for member, partitions in wanted.items():
            by_topic: dict[str, list[int]] = defaultdict(list)
            for partition in sorted(partitions):
                if owner.get(partition, member) == member:
                    by_topic[partition.topic].append(partition.number)
            found[member] = ConsumerProtocolAssignment(self.version, sorted(by_topic.items()), b"")
        return found


def _owners(members: Mapping[str, Any]) -> dict[Partition, str]:
    """Which member has which partition. Of two that claim one, the member of the later generation has it."""
    owner: dict[Partition, str] = {}
    for member in sorted(members, key=lambda each: (members[each].generation, each)):
        owner.update({Partition(*each): member for each in members[member].partitions})
    return owner
