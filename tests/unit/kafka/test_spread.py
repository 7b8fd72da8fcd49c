"""Every topic is divided within one of even, and the whole too, for all small numbers; nothing moves in vain."""

from collections import Counter
from itertools import pairwise, product
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import settings as limited
from hypothesis import strategies as st
from kafka.protocol.consumer.metadata import ConsumerProtocolSubscription

from shared.kafka.python_client.assignor import EvenAssignor
from shared.kafka.spread import spread
from shared.runtime.protocols import Partition

Owned = dict[str, set[Partition]]


def names(members: int, first: int = 0) -> list[str]:
    return [f"m{n:02}" for n in range(first, first + members)]


def rebalanced(partitions: dict[str, int], members: list[str], owned: Owned | None = None) -> Owned:
    return spread(partitions, {member: list(partitions) for member in members}, owned or {})


def assert_even(partitions: dict[str, int], found: Owned) -> None:
    given_out = Counter(each for those in found.values() for each in those)
    assert given_out == Counter(Partition(topic, n) for topic, most in partitions.items() for n in range(most))
    for topic in partitions:
        shares = [sum(each.topic == topic for each in those) for those in found.values()]
        assert max(shares) - min(shares) <= 1, (topic, found)
    totals = [len(those) for those in found.values()]
    assert max(totals) - min(totals) <= 1, found


def moved(before: Owned, after: Owned) -> int:
    """Partitions that a member which stayed has given to another."""
    owner = {each: member for member, those in after.items() for each in those}
    return sum(owner[each] != member for member in before if member in after for each in before[member])


SIZES = [{"c": c, "p": p, "r": r} for c, p, r in product((1, 2, 3, 4, 6, 7), (1, 3, 4), (1, 4, 8))]


@pytest.mark.parametrize("members", range(1, 10))
def test_any_number_of_workers_shares_every_topic(members: int) -> None:
    for partitions in SIZES:
        found = rebalanced(partitions, names(members))
        assert_even(partitions, found)
        assert rebalanced(partitions, names(members), found) == found, "and then nothing moves any more"


@pytest.mark.parametrize("partitions", SIZES[::5], ids=str)
def test_workers_come_and_go_and_others_keep_what_they_have(partitions: dict[str, int]) -> None:
    total = sum(partitions.values())
    found = rebalanced(partitions, names(1))
    for members in [*range(2, 9), *range(7, 0, -1)]:
        before, found = found, rebalanced(partitions, names(members), found)
        assert_even(partitions, found)
        joined = members > len(before)
        # A newcomer's share has to move. Where one has left, one of a topic may, to even out the total.
        share = -(-total // members)
        assert moved(before, found) <= (share if joined else 0) + len(partitions), members


def test_one_who_leaves_moves_no_other_partition() -> None:
    partitions = {"consumers": 4, "providers": 4, "relations": 4}
    before = rebalanced(partitions, names(4))
    for gone in names(4):
        left = {member: those for member, those in before.items() if member != gone}
        assert moved(before, rebalanced(partitions, list(left), left)) == 0


def test_three_workers_of_four_partitions_all_have_facts() -> None:
    """What Kafka's own assignor gave one of three, three times of three: consumers alone."""
    found = rebalanced({"consumers": 4, "providers": 4, "relations": 4}, names(3))
    for topic in ("consumers", "providers", "relations"):
        assert sorted(sum(e.topic == topic for e in those) for those in found.values()) == [1, 1, 2]
    assert {len(those) for those in found.values()} == {4}


def test_added_partitions_go_to_those_who_have_least() -> None:
    before = rebalanced({"a": 2, "b": 2}, names(2))
    after = rebalanced({"a": 5, "b": 5}, names(2), before)
    assert_even({"a": 5, "b": 5}, after)
    assert moved(before, after) == 0


def test_members_of_other_topics_get_theirs_alone() -> None:
    """As in a rolling upgrade, where the new version reads one topic more."""
    found = spread({"a": 4, "b": 3}, {"old": ["a"], "new": ["a", "b"]}, {})
    assert {each.topic for each in found["old"]} == {"a"}
    assert sum(map(len, found.values())) == 7


@limited(max_examples=60)
@given(
    st.dictionaries(st.sampled_from("abc"), st.integers(1, 9), min_size=1),
    st.lists(st.integers(1, 12), min_size=2, max_size=5),
    st.randoms(use_true_random=False),
)
def test_whatever_was_owned_before(partitions: dict[str, int], sizes: list[int], random: object) -> None:
    owned: Owned = {}
    everyone = names(12)
    for _, members in pairwise([0, *sizes]):
        chosen = sorted(random.sample(everyone, members))  # type: ignore[attr-defined]
        found = rebalanced(partitions, chosen, {m: those for m, those in owned.items() if m in chosen})
        assert_even(partitions, found)
        owned = found


def member(name: str, topics: list[str], owned: set[Partition], generation: int) -> SimpleNamespace:
    by_topic: dict[str, list[int]] = {}
    for topic, number in sorted(owned):
        by_topic.setdefault(topic, []).append(number)
    place = ConsumerProtocolSubscription.TopicPartition
    held = [place(topic=topic, partitions=numbers) for topic, numbers in by_topic.items()]
    metadata = ConsumerProtocolSubscription(
        version=2, topics=topics, user_data=b"", owned_partitions=held, generation_id=generation
    )
    return SimpleNamespace(member_id=name, metadata=metadata)


def assigned(members: list[SimpleNamespace]) -> Owned:
    counts = {"c": {0, 1, 2, 3}, "r": {0, 1, 2, 3}}
    cluster = SimpleNamespace(partitions_for_topic=counts.get)
    found = EvenAssignor().assign(cluster, members)
    return {
        name: {Partition(topic, n) for topic, numbers in assignment.assigned_partitions for n in numbers}
        for name, assignment in found.items()
    }


def test_what_moves_is_given_up_first() -> None:
    everything = {Partition(topic, n) for topic in "cr" for n in range(4)}
    members = [member("a", ["c", "r"], everything, 3), member("b", ["c", "r"], set(), -1)]
    first = assigned(members)
    assert first["b"] == set(), "the other one has not given anything up yet"
    assert len(first["a"]) == 4
    second = assigned([member("a", ["c", "r"], first["a"], 4), member("b", ["c", "r"], set(), 4)])
    assert second["a"] == first["a"]
    assert second["b"] == everything - first["a"]


def test_of_two_that_claim_a_partition_the_later_generation_has_it() -> None:
    stale = {Partition("c", 0), Partition("c", 1), Partition("r", 0), Partition("r", 1)}
    members = [member("a", ["c", "r"], stale, 3), member("b", ["c", "r"], stale, 5)]
    assert assigned(members)["b"] == stale
