"""Which member of a group reads which partitions: evenly within each topic, and where they are. Pure."""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from shared.runtime.protocols import Partition


class GroupMember(NamedTuple):
    """What a member of a group asks for, and the partitions that it holds."""

    topics: Collection[str]
    holds: Collection[Partition] = ()


def even_shares(
    numbers: Mapping[str, Sequence[int]], members: Mapping[str, GroupMember]
) -> dict[str, set[Partition]]:
    """The partitions of each member. ``numbers``: topic → the numbers of its partitions.

    Each topic is spread over the members that ask for it, within one partition of even. So are all topics together
    where everybody asks for the same: the topics' odd partitions go to different members. A member keeps what it
    holds as far as that allows, so that shares that are even already stay as they are.
    """
    shares: dict[str, set[Partition]] = {name: set() for name in members}
    odd = dict.fromkeys(members, 0)
    for topic in sorted(numbers):
        asking = sorted(name for name, member in members.items() if topic in member.topics)
        if not asking:
            continue
        held = _held(topic, numbers[topic], {name: members[name] for name in asking})
        base, rest = divmod(len(numbers[topic]), len(asking))
        # Who has fewer odd partitions of other topics comes first, then who holds one more here already.
        asking.sort(key=lambda name: (odd[name], -len(held[name][: base + 1])))
        kept = {name: held[name][: base + (place < rest)] for place, name in enumerate(asking)}
        taken = {number for mine in kept.values() for number in mine}
        free = iter(sorted(set(numbers[topic]) - taken))
        for place, name in enumerate(asking):
            share = base + (place < rest)
            odd[name] += place < rest
            mine = kept[name] + [next(free) for _ in range(share - len(kept[name]))]
            shares[name] |= {Partition(topic, number) for number in mine}
    return shares


def _held(topic: str, numbers: Collection[int], members: Mapping[str, GroupMember]) -> dict[str, list[int]]:
    """The partitions of ``topic`` that each member holds, lowest first. What two claim, nobody holds."""
    claims: dict[int, list[str]] = {number: [] for number in numbers}
    for name, member in members.items():
        for partition in set(member.holds):
            if partition.topic == topic and partition.number in claims:
                claims[partition.number].append(name)
    held: dict[str, list[int]] = {name: [] for name in members}
    for number in sorted(claims):
        if len(claims[number]) == 1:
            held[claims[number][0]].append(number)
    return held
