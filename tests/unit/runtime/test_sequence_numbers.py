"""Numbers on messages: what a publisher repeats or delivers early is counted once, in order."""

import random
from collections.abc import Iterable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.contracts.errors import InvalidEvent
from shared.runtime.protocols import Headers, Message, Partition, Record
from shared.runtime.sequence_numbers import NUMBER, ORIGIN, SequenceFilter, assign_numbers

PLACE = Partition("kith.relation-changes", 0)
ONE, OTHER = "relations@1/kith.relations/0", "relations@1/kith.relations/7"


def messages(count: int, origin: str = ONE, emitted: int = 0) -> list[Message]:
    """The changes ``emitted`` + 1 … of an origin, each with its number as its value."""
    plain = [Message(PLACE.topic, b"k", b"%d" % (emitted + n), 0) for n in range(1, count + 1)]
    return assign_numbers(plain, origin, emitted)[0]


def record(headers: Headers, value: bytes = b"v") -> Record:
    return Record(PLACE, 0, 0, b"k", value, headers)


def passed(sieve: SequenceFilter, delivered: Iterable[Message]) -> list[int]:
    return [int(message.value) for message in delivered if sieve.accept(record(message.headers, message.value))]


def test_messages_that_name_a_partition_are_numbered_without_a_gap() -> None:
    plain = [
        Message("t", b"a", b"1", 0, (("other", b"x"),)),
        Message("dead", b"b", b"2"),
        Message("t", b"c", b"3", 1),
    ]
    numbered, emitted = assign_numbers(plain, ONE, 41)
    assert [message.headers for message in numbered] == [
        (("other", b"x"), (ORIGIN, ONE.encode()), (NUMBER, b"42")),
        (),
        ((ORIGIN, ONE.encode()), (NUMBER, b"43")),
    ]
    assert emitted == 43
    assert [(m.topic, m.key, m.value, m.partition) for m in numbered] == [
        (m.topic, m.key, m.value, m.partition) for m in plain
    ]


def test_the_same_messages_get_the_same_numbers_again() -> None:
    assert messages(5, emitted=3) == messages(5, emitted=3)
    assert assign_numbers([], ONE, 9) == ([], 9)


def test_repetitions_are_dropped() -> None:
    sieve = SequenceFilter({}, trimmed=False)
    sent = messages(4)
    assert passed(sieve, [*sent, *sent[2:], sent[0], *sent]) == [1, 2, 3, 4]
    assert (sieve.repeated, sieve.ahead, sieve.seen) == (7, 0, {ONE: 4})


def test_an_early_tail_waits_for_its_redelivery() -> None:
    """A broker lost the middle of a batch; the publisher failed and sends all of it again."""
    sieve = SequenceFilter({}, trimmed=False)
    sent = messages(9)
    assert passed(sieve, [*sent[:3], *sent[6:]]) == [1, 2, 3]
    assert (sieve.repeated, sieve.ahead) == (0, 3)
    assert passed(sieve, sent) == [4, 5, 6, 7, 8, 9]
    assert sieve.seen == {ONE: 9}


def test_the_first_message_of_all_may_be_the_lost_one() -> None:
    sieve = SequenceFilter({}, trimmed=False)
    sent = messages(3)
    assert passed(sieve, sent[1:]) == []
    assert passed(sieve, sent) == [1, 2, 3]


def test_a_sieve_goes_on_from_what_another_has_seen() -> None:
    sent = messages(6)
    first = SequenceFilter({}, trimmed=False)
    passed(first, sent[:4])
    second = SequenceFilter(dict(first.seen), trimmed=False)
    assert passed(second, sent) == [5, 6]


def test_a_trimmed_log_begins_with_any_number_but_goes_on_without_a_gap() -> None:
    sieve = SequenceFilter({}, trimmed=True)
    sent = messages(9)
    assert passed(sieve, [*sent[5:7], *sent[5:7], sent[8]]) == [6, 7]
    assert passed(sieve, sent[7:]) == [8, 9]
    assert (sieve.repeated, sieve.ahead) == (2, 1)


def test_origins_are_told_apart() -> None:
    sieve = SequenceFilter({ONE: 2}, trimmed=False)
    assert passed(sieve, [*messages(3, OTHER), *messages(3)]) == [1, 2, 3, 3]
    assert sieve.seen == {ONE: 3, OTHER: 3}


def test_a_trimmed_log_may_hold_several_origins() -> None:
    sieve = SequenceFilter({}, trimmed=True)
    assert passed(sieve, [*messages(2, OTHER, 100), *messages(2, ONE, 5), *messages(2, OTHER, 101)]) == [
        101,
        102,
        6,
        7,
        103,
    ]


@pytest.mark.parametrize(
    "headers",
    [(), (("kith-reason", b"x"),), ((ORIGIN, b"o"),), ((NUMBER, b"7"),)],
    ids=["none", "foreign", "origin only", "number only"],
)
def test_what_has_no_number_passes_each_time(headers: Headers) -> None:
    sieve = SequenceFilter({ONE: 3}, trimmed=False)
    assert [sieve.accept(record(headers)) for _ in range(2)] == [True, True]
    assert sieve.seen == {ONE: 3}


@pytest.mark.parametrize(
    ("origin", "value", "field"),
    [
        (b"o", b"", NUMBER),
        (b"o", b"x", NUMBER),
        (b"o", b"0", NUMBER),
        (b"o", b"-1", NUMBER),
        (b"o", b"+1", NUMBER),
        (b"o", b"01", NUMBER),
        (b"o", b" 1", NUMBER),
        (b"o", b"1\n", NUMBER),
        (b"o", b"1_0", NUMBER),
        (b"o", b"1.0", NUMBER),
        (b"o", "١".encode(), NUMBER),
        (b"o", b"9223372036854775808", NUMBER),
        (b"o", b"9" * 10_000, NUMBER),
        (b"\xff", b"1", ORIGIN),
    ],
)
@pytest.mark.parametrize("trimmed", [False, True])
def test_garbage_is_an_invalid_event(trimmed: bool, origin: bytes, value: bytes, field: str) -> None:
    sieve = SequenceFilter({}, trimmed=trimmed)
    with pytest.raises(InvalidEvent) as caught:
        sieve.accept(record(((ORIGIN, origin), (NUMBER, value))))
    assert (caught.value.reason, caught.value.field) == ("invalid", field)
    assert sieve.seen == {}


@given(st.integers(0, 30), st.integers(0, 2**32 - 1))
def test_any_delivery_that_ends_whole_is_counted_once_in_order(count: int, seed: int) -> None:
    """Each try publishes any part of what is not acknowledged yet; the last one of a batch publishes it all."""
    chance = random.Random(seed)
    sent, sieve, counted, start = messages(count), SequenceFilter({}, trimmed=False), list[int](), 0
    while start < count:
        batch: Sequence[Message] = sent[start : start + chance.randint(1, 6)]
        for _ in range(chance.randint(0, 3)):
            counted += passed(sieve, [message for message in batch if chance.random() < 0.6])
        counted += passed(sieve, batch)
        # After a crash before the outbox is cleared, the next owner publishes from the first parcel left.
        start += len(batch) if chance.random() < 0.7 else chance.randint(0, len(batch))
    assert counted == list(range(1, count + 1))
