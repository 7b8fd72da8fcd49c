"""Partitions are shared evenly within each topic, and stay where they are."""

from collections.abc import Iterator, Mapping
from itertools import product
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.structs import TopicPartition

from shared.kafka.python_client.joining import EvenAssignor
from shared.kafka.shares import GroupMember, even_shares
from shared.runtime.protocols import Partition

Shares = dict[str, set[Partition]]


def numbers_of(sizes: tuple[int, ...]) -> dict[str, list[int]]:
    return {f"t{place}": list(range(size)) for place, size in enumerate(sizes)}


def shared_by(names: list[str], numbers: Mapping[str, list[int]], before: Shares) -> Shares:
    return even_shares(numbers, {name: GroupMember(numbers, before.get(name, ())) for name in names})


def check_even(shares: Shares, numbers: Mapping[str, list[int]]) -> None:
    everything = [partition for mine in shares.values() for partition in mine]
    assert sorted(everything) == sorted(Partition(t, n) for t, ns in numbers.items() for n in ns)
    for topic in numbers:
        counts = [sum(partition.topic == topic for partition in mine) for mine in shares.values()]
        assert max(counts) - min(counts) <= 1, topic
    totals = [len(mine) for mine in shares.values()]
    assert max(totals) - min(totals) <= 1


def moved(before: Shares, after: Shares) -> int:
    """How many partitions are taken from a member that is still there."""
    return sum(len(mine - after[name]) for name, mine in before.items() if name in after)


def worlds() -> Iterator[dict[str, list[int]]]:
    for topics in (1, 2, 3):
        for sizes in product(range(1, 6), repeat=topics):
            yield numbers_of(sizes)


def test_every_small_group_shares_evenly_as_workers_join_and_leave() -> None:
    """One to three topics of up to five partitions each, and one to six workers: they join one by one, and leave
    one by one, the first ones first."""
    names = [f"w{number}" for number in range(6)]
    for numbers in worlds():
        shares: Shares = {}
        for here in [names[: count + 1] for count in range(6)] + [names[count:] for count in range(1, 6)]:
            shares = shared_by(here, numbers, shares)
            check_even(shares, numbers)
            assert shared_by(here, numbers, shares) == shares, "what is even stays"


def test_no_more_moves_than_must() -> None:
    for partitions, workers in product(range(1, 13), range(1, 8)):
        numbers = numbers_of((partitions,))
        names = [f"w{number}" for number in range(workers + 1)]
        before = shared_by(names[:-1], numbers, {})
        after = shared_by(names, numbers, before)
        assert moved(before, after) == len(after[names[-1]]) == partitions // (workers + 1)
        assert moved(after, shared_by(names[:-1], numbers, after)) == 0


@given(
    st.lists(st.integers(1, 8), min_size=1, max_size=4),
    st.lists(st.sets(st.sampled_from("abcdefg"), min_size=1), min_size=1, max_size=6),
    st.integers(0, 4),
)
def test_any_history_ends_even(sizes: list[int], history: list[set[str]], added: int) -> None:
    shares: Shares = {}
    for number, here in enumerate(history):
        numbers = numbers_of(tuple(size + added * number for size in sizes))
        shares = shared_by(sorted(here), numbers, shares)
        check_even(shares, numbers)


def test_a_topic_is_given_to_those_who_ask_for_it() -> None:
    members = {"old": GroupMember(["t0"]), "new": GroupMember(["t0", "t1", "t2"])}
    shares = even_shares(numbers_of((4, 3)), members)
    assert sorted(partition.topic for partition in shares["old"]) == ["t0", "t0"]
    assert sorted(partition.topic for partition in shares["new"]) == ["t0", "t0", "t1", "t1", "t1"]
    assert even_shares(numbers_of((2,)), {"other": GroupMember(["elsewhere"])}) == {"other": set()}


def test_what_two_claim_nobody_holds() -> None:
    claimed = [Partition("t0", 0)]
    members = {"a": GroupMember(["t0"], claimed), "b": GroupMember(["t0"], [*claimed, Partition("t0", 9)])}
    assert even_shares({"t0": [0, 1]}, members) == {"a": {Partition("t0", 0)}, "b": {Partition("t0", 1)}}


class Group:
    """Members of a group that takes turns in leading it, as the broker and kafka-python do."""

    def __init__(self, numbers: Mapping[str, list[int]]) -> None:
        self.numbers = numbers
        self.members: dict[str, CooperativeStickyAssignor] = {}

    def settle(self, leader: CooperativeStickyAssignor) -> Shares:
        """The shares after the rebalances that ``leader`` leads, until none needs another one."""
        cluster = SimpleNamespace(
            partitions_for_topic=lambda topic: set(self.numbers[topic]), topics=lambda: set(self.numbers)
        )
        for _ in range(3):
            asked = [
                SimpleNamespace(member_id=name, metadata=member.metadata(set(self.numbers)))
                for name, member in self.members.items()
            ]
            assignments = leader.assign(cluster, asked)
            revoked = False
            for name, member in self.members.items():
                before = set(member.member_assignment or ())
                self._check_free(name, set(assignments[name].partitions()) - before)
                member.on_assignment(assignments[name], 1)
                revoked |= bool(before - set(member.member_assignment))
            if not revoked:
                break
        else:
            pytest.fail("the rebalances do not end")
        return {name: {Partition(*tp) for tp in member.member_assignment} for name, member in self.members.items()}

    def _check_free(self, name: str, added: set[TopicPartition]) -> None:
        others = [set(each.member_assignment or ()) for other, each in self.members.items() if other != name]
        assert not any(added & held for held in others), "given to one while another holds it"


def test_versions_lead_a_group_in_turns() -> None:
    """During an upgrade an older worker may lead. What one has shared evenly the other leaves as it is."""
    group = Group(numbers_of((4, 4, 4)))
    old, new = CooperativeStickyAssignor(), EvenAssignor()
    assert old.name == new.name
    assert old.metadata({"t0"}).encode() == new.metadata({"t0"}).encode()
    group.members = {"old": old}
    group.settle(old)
    for name, member in {"new": new, "third": EvenAssignor()}.items():
        group.members[name] = member
        check_even(group.settle(new), group.numbers)
    even = group.settle(new)
    assert group.settle(old) == even
    assert group.settle(new) == even
    del group.members["old"]
    check_even(group.settle(new), group.numbers)
