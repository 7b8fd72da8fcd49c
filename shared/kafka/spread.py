"""Which member of a consumer group reads which partitions. Pure.

Each topic is divided within one of even among the members that subscribe to it, and so is the total, so that any
number of workers up to the partitions of the busiest topic shares its load. Partitions stay where they are unless
that would be uneven. Kafka's sticky assignors even out the total only: a worker may get all partitions of a topic
that nobody writes to.
"""

from collections import Counter
from collections.abc import Collection, Mapping

from shared.runtime.protocols import Partition


def spread(
    partitions: Mapping[str, int],
    subscriptions: Mapping[str, Collection[str]],
    owned: Mapping[str, Collection[Partition]],
) -> dict[str, set[Partition]]:
    """The partitions of each member. ``partitions`` is the number of them by topic, ``subscriptions`` the topics
    of each member, ``owned`` what it has now; no partition is in two. Topics that nobody subscribes to are left
    out."""
    members = sorted(subscriptions)
    topics = {
        topic: [member for member in members if topic in subscriptions[member]]
        for topic in sorted(partitions)
        if any(topic in subscriptions[member] for member in members)
    }
    held = Counter((member, each.topic) for member, those in owned.items() for each in those)
    quotas = _quotas(partitions, topics, held)
    found: dict[str, set[Partition]] = {member: set() for member in members}
    for topic, readers in topics.items():
        kept: dict[str, list[Partition]] = {}
        for member in readers:
            there = sorted(
                each for each in owned.get(member, ()) if each.topic == topic and each.number < partitions[topic]
            )
            kept[member] = there[: quotas[member, topic]]
        taken = {each for those in kept.values() for each in those}
        free = [each for n in range(partitions[topic]) if (each := Partition(topic, n)) not in taken]
        for member in readers:
            missing = quotas[member, topic] - len(kept[member])
            found[member].update(kept[member], free[:missing])
            free = free[missing:]
    return found


def _quotas(
    partitions: Mapping[str, int], topics: Mapping[str, list[str]], held: Mapping[tuple[str, str], int]
) -> dict[tuple[str, str], int]:
    """How many partitions of each topic a member gets. Who gets one more than others of a topic is who has it
    already, as far as the totals stay even."""
    quotas: dict[tuple[str, str], int] = {}
    extra: dict[str, set[str]] = {}
    totals: Counter[str] = Counter()
    for topic, readers in topics.items():
        least, over = divmod(partitions[topic], len(readers))
        ranked = sorted(readers, key=lambda member: (held[member, topic] <= least, totals[member], member))
        extra[topic] = set(ranked[:over])
        for member in readers:
            quotas[member, topic] = least + (member in extra[topic])
            totals[member] += quotas[member, topic]

    def move(rich: str, poor: str) -> bool:
        """Give one partition of a topic that both read from one to the other, one that costs no move if there is
        one."""
        shared = [t for t, readers in topics.items() if poor in readers and rich in extra[t] - {poor}]
        shared = [t for t in shared if poor not in extra[t]]
        if not shared:
            return False
        topic = min(shared, key=lambda t: (held[rich, t] >= quotas[rich, t], held[poor, t] < quotas[rich, t], t))
        extra[topic] ^= {rich, poor}
        for member, by in ((rich, -1), (poor, 1)):
            quotas[member, topic] += by
            totals[member] += by
        return True

    members = sorted({member for readers in topics.values() for member in readers})
    while any(
        move(rich, poor)
        for rich in sorted(members, key=lambda m: (-totals[m], m))
        for poor in sorted(members, key=lambda m: (totals[m], m))
        if totals[rich] - totals[poor] > 1
    ):
        pass
    return quotas
