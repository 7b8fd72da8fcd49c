"""A feed: which repetitions it leaves out, and how much it reads for that."""

from typing import Any
from unittest.mock import Mock

from hypothesis import given
from hypothesis import strategies as st

from services.webhooks.fanout.feed import PIECE, PRIMER, Feed, Part
from services.webhooks.log_reader import LogReader
from shared.runtime.protocols import Message, Partition, Record
from shared.runtime.sequence_numbers import assign_numbers
from tests.support.builders import TOPICS

PLACE = Partition(TOPICS.name("relation-changes"), 0)


def log_of(numbers: list[int]) -> list[Record]:
    """A log of changes with these numbers, of one origin."""
    records = []
    for offset, number in enumerate(numbers):
        [message], _ = assign_numbers(
            [Message(PLACE.topic, b"k", b"{}", 0)], "relations@1/kith.relations/0", number
        )
        records.append(Record(PLACE, offset, 0, b"k", b"{}", message.headers))
    return records


def feed_of(records: list[Record]) -> tuple[Feed, Mock]:
    reader = Mock(spec=LogReader)

    def read(_place: Partition, start: int, end: int, most: int) -> tuple[list[Record], int]:
        found = records[start : min(end, start + most)]
        return found, min(end, start + most)

    reader.read.side_effect = read
    return Feed(Mock(), lambda: reader, TOPICS), reader


def accepted(
    feed: Feed, reader: Any, records: list[Record], endpoint: str, begin: int, first: int = 0
) -> list[int]:
    """The offsets from ``begin`` on that are enqueued for an endpoint whose gap begins there."""
    part = Part(f"acme:{endpoint}/relation-changes/0", PLACE, begin, begin, len(records), 0, None)
    sequence = feed._sequence(part, begin, first, reader)
    return [record.offset for record in records[begin:] if sequence.accept(record)]


@given(st.lists(st.integers(0, 3), min_size=1, max_size=30), st.lists(st.integers(0, 29), max_size=6))
def test_a_repetition_is_left_out_whichever_endpoint_was_fed_before(steps: list[int], begins: list[int]) -> None:
    # A crash repeats the last ones.
    numbers = [0]
    for step in steps:
        numbers += range(max(0, numbers[-1] + 1 - step), numbers[-1] + 2)
    records = log_of(numbers)
    shared, reader = feed_of(records)
    highest = [max(numbers[:offset], default=-1) for offset in range(len(numbers))]
    new = [offset for offset, number in enumerate(numbers) if number > highest[offset]]
    for endpoint, begin in enumerate(begins):
        if begin < len(records):
            found = accepted(shared, reader, records, str(endpoint), begin)
            # Without what was before, the first one of the log counts.
            assert found == [offset for offset in new if offset >= begin]


def test_one_endpoint_reads_what_was_before_a_gap_for_all_of_them() -> None:
    records = log_of([*range(3 * PIECE)])
    feed, reader = feed_of(records)
    for endpoint in range(100):
        assert accepted(feed, reader, records, str(endpoint), 2 * PIECE) == [*range(2 * PIECE, 3 * PIECE)]
    assert reader.read.call_count == 2
    # From where it was, and not from the beginning again.
    accepted(feed, reader, records, "later", 3 * PIECE)
    assert reader.read.call_count == 3


def test_what_was_read_far_before_a_gap_is_of_no_use_for_it() -> None:
    records = log_of([*range(PRIMER + 3 * PIECE)])
    feed, reader = feed_of(records)
    accepted(feed, reader, records, "a", PIECE)
    reader.read.reset_mock()
    accepted(feed, reader, records, "b", PRIMER + 3 * PIECE)
    assert reader.read.call_args_list[0].args[1] == 3 * PIECE
