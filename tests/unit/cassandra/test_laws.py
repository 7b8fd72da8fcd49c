"""The law of the sink, on Cassandra's rule for cells: once every change is through, rows are what MongoDB holds,
whoever writes late, twice, or in the order of another partition."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.cassandra.lists import RelationshipLists
from shared.cassandra.numbers import MOST_NUMBER, MOST_WRITES, SEQUENCE_BITS, next_number, timestamp
from shared.cassandra.protocol import Stamped
from shared.cassandra.rows import Row, relationship_rows
from shared.cassandra.tables import BY_CONSUMER, BY_PROVIDER, BY_SCORE
from shared.cassandra.writer import write
from shared.contracts.events import document_id
from shared.runtime.protocols import Document
from shared.testing.memory_cassandra import MemoryTables

TIME = datetime(2026, 3, 1, tzinfo=UTC)
#: Consumers of one provider; each is a key that may move to another partition.
CONSUMERS = ("ann", "bob", "c:1")
PARTITIONS = 2

numbers = st.integers(1, MOST_NUMBER)
sequences = st.integers(0, MOST_WRITES - 1)


@given(numbers, sequences, numbers, sequences)
def test_two_writes_never_have_one_timestamp_and_the_higher_number_wins(
    number: int, sequence: int, other: int, its: int
) -> None:
    one, two = timestamp(number, sequence), timestamp(other, its)
    assert (one < two) == ((number, sequence) < (other, its))
    assert (one == two) == ((number, sequence) == (other, its))
    assert 0 < one < 2**63, "Cassandra refuses -2^63, and the driver what is no 64-bit integer"


@pytest.mark.parametrize(
    ("number", "sequence"), [(0, 0), (-1, 0), (MOST_NUMBER + 1, 0), (1, -1), (1, MOST_WRITES)]
)
def test_parts_that_would_run_into_each_other_are_refused(number: int, sequence: int) -> None:
    with pytest.raises(ValueError, match="number"):
        timestamp(number, sequence)


@given(st.lists(st.integers(0, 4 * 10**12), min_size=1))
def test_numbers_rise_whatever_the_clock_does(clock: Sequence[int]) -> None:
    last = 0
    for milliseconds in clock:
        after = next_number(last, milliseconds)
        assert after > last
        assert after >= milliseconds, "a counter that was lost begins above all that it had given"
        last = after


def test_there_are_numbers_for_centuries() -> None:
    milliseconds = datetime(2240, 1, 1, tzinfo=UTC).timestamp() * 1000
    assert milliseconds < MOST_NUMBER
    assert SEQUENCE_BITS == 20


class LateTables(MemoryTables):
    """Keeps what is written until it is told to let it arrive, as a network may."""

    def __init__(self) -> None:
        super().__init__()
        self.under_way: list[Sequence[Stamped]] = []

    def write(self, groups: Sequence[Sequence[Stamped]]) -> None:
        self.under_way += groups

    def arrive(self, index: int, *, again: bool = False) -> None:
        group = self.under_way[index] if again else self.under_way.pop(index)
        for each in group:
            self.apply(each)


class World:
    """MongoDB's documents, the change topic, and workers of the sink at any point of their work."""

    def __init__(self, number_of: Callable[["World", int], int]) -> None:
        self.documents: dict[str, Document] = {}
        self.log: list[list[str]] = [[] for _ in range(PARTITIONS)]
        self.partition_of = dict.fromkeys(CONSUMERS, 0)
        self.stored = [0] * PARTITIONS
        self.tables = LateTables()
        self.last = 0
        self.claims = dict.fromkeys(range(PARTITIONS), 0)
        self.writes = 0
        self._number_of = number_of
        #: Slices that were read, and not written yet: partition, end, number, rows.
        self.read: list[tuple[int, int, int, list[Row]]] = []

    def change(self, consumer: str, score: float | None) -> None:
        """A commit of the relations service, and its change."""
        if score is None:
            self.documents.pop(consumer, None)
        else:
            self.documents[consumer] = relationship(consumer, score)
        self.log[self.partition_of[consumer]].append(consumer)

    def move(self, consumer: str) -> None:
        """Partitions were added: from now on the key is in another one, while the old one has changes left."""
        self.partition_of[consumer] = 1

    def claim(self, partition: int) -> None:
        self.last += 1
        self.claims[partition] = self.last

    def begin(self, partition: int) -> None:
        """A worker, which may be a zombie, takes a number and reads the documents of what is left."""
        end = len(self.log[partition])
        consumers = dict.fromkeys(self.log[partition][self.stored[partition] : end])
        if not consumers:
            return
        number = self._number_of(self, partition)
        self.read.append((partition, end, number, rows_of(self.documents, consumers)))

    def write(self, index: int) -> None:
        """It writes; nothing has arrived yet, and it does not know whether it will."""
        partition, end, number, rows = self.read.pop(index)
        # Of the numbering by claims: the sequence goes on.
        write(self.tables, number, rows)
        self.writes += 1
        self._written = partition, end

    def finish(self) -> None:
        """Good workers do what is left, with every write acknowledged; then everything late arrives."""
        for partition in range(PARTITIONS):
            self.begin(partition)
            if self.read and self.read[-1][0] == partition:
                _, end, number, rows = self.read.pop()
                late, self.tables.under_way = self.tables.under_way, []
                write(self.tables, number, rows)
                while self.tables.under_way:
                    self.tables.arrive(0)
                self.tables.under_way = late
                self.stored[partition] = end

    def all_arrives(self) -> None:
        for index in reversed(range(len(self.read))):
            self.write(index)
        while self.tables.under_way:
            self.tables.arrive(len(self.tables.under_way) - 1)


def relationship(consumer: str, score: float) -> Document:
    cell = {"count": 1}
    return {
        "_id": document_id("t", consumer, "p"),
        "tenant": "t",
        "consumer_id": consumer,
        "provider_id": "p",
        "count": 1,
        "first": TIME,
        "last": TIME,
        "kinds": {"view": {"2026-03": cell}},
        "score": score,
    }


def rows_of(documents: dict[str, Document], consumers: Any) -> list[Row]:
    return [row for name in consumers for row in relationship_rows(("t", name, "p"), documents.get(name))]


def by_slices(world: World, partition: int) -> int:  # noqa: ARG001
    """As the sink does it: a number of its own for each slice, before it reads."""
    world.last = next_number(world.last, 0)
    return world.last


scores = st.one_of(st.none(), st.sampled_from([-3.5, 0.0, 1.25, 7.0]))
steps = st.one_of(
    st.tuples(st.just("change"), st.sampled_from(CONSUMERS), scores),
    st.tuples(st.just("move"), st.sampled_from(CONSUMERS)),
    st.tuples(st.just("begin"), st.integers(0, PARTITIONS - 1)),
    st.tuples(st.just("write"), st.integers(0, 3)),
    st.tuples(st.just("arrive"), st.integers(0, 5), st.booleans()),
    st.tuples(st.just("finish")),
)


def play(history: Sequence[tuple[Any, ...]], number_of: Callable[[World, int], int]) -> World:
    world = World(number_of)
    for kind, *given_ in history:
        if kind == "write" and world.read:
            world.write(given_[0] % len(world.read))
        elif kind == "arrive" and world.tables.under_way:
            world.tables.arrive(given_[0] % len(world.tables.under_way), again=given_[1])
        elif kind in ("change", "move", "begin", "finish", "claim"):
            getattr(world, kind)(*given_)
    world.finish()
    world.all_arrives()
    return world


@given(st.lists(steps, max_size=40))
def test_rows_end_as_the_documents_are(history: Sequence[tuple[Any, ...]]) -> None:
    world = play(history, by_slices)
    expected = rows_of(world.documents, CONSUMERS)
    for table in (BY_CONSUMER, BY_PROVIDER):
        wanted = sorted(row for row in expected if row.table == table and row.values is not None)
        assert world.tables.all(table) == wanted
    # The order may hold places of writers that came late. They never show, on no page.
    ordered = sorted(world.documents.values(), key=lambda document: (-document["score"], document["_id"]))
    for side, id in (("provider_id", "p"), *(("consumer_id", name) for name in CONSUMERS)):
        of_side = [document for document in ordered if document[side] == id]
        lists = RelationshipLists(world.tables)
        assert lists.page("t", side, id, 10, None) == of_side
        after = None
        for document in of_side:
            assert lists.page("t", side, id, 1, after) == [document]
            after = (document["score"], document["_id"])
    stamps = [each.timestamp for each in world.tables.arrived]
    assert len({(each.timestamp, each.row.key, each.row.table) for each in world.tables.arrived}) == len(
        set(stamps)
    )


#: A key moves to partition 1, whose claim is older than that of partition 0, where a worker has read its document
#: and stalls.
_MOVED: list[tuple[Any, ...]] = [
    ("claim", 1),
    ("claim", 0),
    ("change", "ann", 1.25),
    ("begin", 0),
    ("move", "ann"),
    ("change", "ann", 7.0),
    ("begin", 1),
    ("write", 1),
    ("arrive", 0, False),
    ("arrive", 0, False),
    ("write", 0),
]


def test_numbers_of_claims_would_not_be_enough() -> None:
    """That is why each slice takes one: what a partition with a newer claim has read may be older."""
    used: dict[int, int] = {}

    def by_claims(world: World, partition: int) -> int:
        claim = world.claims[partition]
        used[claim] = used.get(claim, 0) + 1
        return claim * 1000 + used[claim]

    history = [*_MOVED]
    assert (
        play(history, by_slices).tables.all(BY_CONSUMER) == rows_of({"ann": relationship("ann", 7.0)}, ["ann"])[:1]
    )
    world = World(by_claims)
    for kind, *given_ in history:
        if kind == "arrive":
            world.tables.arrive(given_[0])
        else:
            getattr(world, kind)(*given_)
    world.stored = [len(log) for log in world.log]
    world.all_arrives()
    (row,) = world.tables.all(BY_CONSUMER)
    assert row.values is not None
    assert row.values["score"] == 1.25, "the older state has won"


def test_a_place_that_a_late_writer_left_is_not_shown() -> None:
    tables = LateTables()
    write(tables, 1, rows_of({"ann": relationship("ann", 9.0)}, ["ann"]))
    late, tables.under_way = tables.under_way, []
    write(tables, 2, rows_of({"ann": relationship("ann", 1.0), "bob": relationship("bob", 5.0)}, ["ann", "bob"]))
    while tables.under_way:
        tables.arrive(0)
    tables.under_way = late
    while tables.under_way:
        tables.arrive(0)
    assert [row.key[3] for row in tables.all(BY_SCORE)].count(9.0) == 1, "there is one"
    found = RelationshipLists(tables).page("t", "provider_id", "p", 2, None)
    assert [(each["consumer_id"], each["score"]) for each in found] == [("bob", 5.0), ("ann", 1.0)]


def test_cells_of_one_timestamp_would_mix() -> None:
    """What the double has of Cassandra's rule: two writes of one timestamp make a row that nobody wrote."""
    tables = MemoryTables()
    one, other = (
        rows_of({"ann": {**relationship("ann", score), "count": count}}, ["ann"])[0]
        for score, count in ((1.0, 9), (9.0, 1))
    )
    for row in (one, other):
        tables.apply(Stamped(5, row))
    (mixed,) = tables.all(BY_CONSUMER)
    assert mixed.values is not None
    assert (mixed.values["score"], mixed.values["count"]) == (9.0, 9)
    tables.apply(Stamped(5, Row(BY_CONSUMER, one.key, None)))
    assert tables.all(BY_CONSUMER) == [], "and a deletion wins a tie"
