"""One suite for every Reader and Publisher: in memory, and on real Kafka with each client."""

import uuid
from collections.abc import Callable, Iterator
from itertools import cycle
from typing import Protocol

import pytest

from shared.contracts.errors import ConfigurationError, Unavailable
from shared.kafka.clients import open_publisher, open_reader
from shared.runtime.protocols import Message, Partition, Publisher, Reader, Record
from shared.settings import Settings
from shared.testing.memory import MemoryLog, MemoryPublisher, MemoryReader
from tests.support.waiting import PATIENCE_SECONDS, Deadline, wait_for


class Contract(Protocol):
    topic: str

    @property
    def publisher(self) -> Publisher: ...

    @property
    def reader(self) -> Reader: ...


class InMemory:
    def __init__(self) -> None:
        self.topic = "kith.relations"
        log = MemoryLog({self.topic: 2})
        self.publisher = MemoryPublisher(log)
        self.reader = MemoryReader(log)
        self.reader.assign([Partition(self.topic, 0), Partition(self.topic, 1)])


class InKafka:
    def __init__(self, settings: Settings) -> None:
        self.topic = f"{settings.topic_prefix}.relations"
        self.publisher = open_publisher(settings)
        self.reader = open_reader(settings, f"contract-{uuid.uuid4().hex[:6]}", [self.topic])

    def close(self) -> None:
        self.reader.close()
        self.publisher.close()


@pytest.fixture(params=["memory", "kafka-python", "librdkafka"])
def world(request: pytest.FixtureRequest) -> Iterator[Contract]:
    if request.param == "memory":
        yield InMemory()
    else:
        settings: Settings = request.getfixturevalue("real_settings")
        kafka = InKafka(settings.model_copy(update={"kafka_client": request.param}))
        yield kafka
        kafka.close()


def assigned(reader: Reader) -> set[Partition]:
    """Poll until both partitions have been given; nothing may be read of them before they are started."""
    deadline = Deadline()
    found: set[Partition] = set()
    while len(found) < 2:
        deadline.check("no partitions were assigned")
        polled = reader.poll(100)
        assert not polled.records
        found |= polled.assigned
    return found


def read(reader: Reader, count: int) -> list[Record]:
    deadline = Deadline()
    records: list[Record] = []
    while len(records) < count:
        deadline.check(f"only {len(records)} of {count} records came")
        for batch in reader.poll(100).records.values():
            records += batch
    assert not any(reader.poll(300).records.values()), "more came than was published"
    return records


def test_what_is_published_is_read_in_order(world: Contract) -> None:
    messages = [Message(world.topic, b"k%d" % (n % 5), b"v%d" % n, headers=(("h", b"%d" % n),)) for n in range(50)]
    world.publisher.send(messages).result(PATIENCE_SECONDS)
    for partition in assigned(world.reader):
        assert world.reader.start(partition, None) == (0, 0)
    records = read(world.reader, 50)
    for key in {message.key for message in messages}:
        mine = [record for record in records if record.key == key]
        assert [record.value for record in mine] == [m.value for m in messages if m.key == key]
        assert len({record.partition for record in mine}) == 1, "a key has one partition"
    assert {record.headers for record in records} == {message.headers for message in messages}
    for partition in {record.partition for record in records}:
        offsets = [record.offset for record in records if record.partition == partition]
        assert offsets == list(range(len(offsets)))


def test_a_message_goes_into_the_partition_that_it_names(world: Contract) -> None:
    world.publisher.send([Message(world.topic, b"k", b"%d" % n, n % 2) for n in range(6)]).result(PATIENCE_SECONDS)
    for partition in assigned(world.reader):
        world.reader.start(partition, None)
    assert all(int(record.value or b"") % 2 == record.partition.number for record in read(world.reader, 6))


def test_reading_goes_on_where_it_is_told(world: Contract) -> None:
    world.publisher.send([Message(world.topic, b"k", b"%d" % n, 0) for n in range(6)]).result(PATIENCE_SECONDS)
    starts = {0: 4, 1: 0}
    for partition in assigned(world.reader):
        assert world.reader.start(partition, starts[partition.number]) == (0, starts[partition.number])
    assert [record.offset for record in read(world.reader, 2)] == [4, 5]


def test_the_end_of_the_log_is_known_without_asking(world: Contract) -> None:
    assert world.reader.end(Partition(world.topic, 1)) is None
    world.publisher.send([Message(world.topic, b"k", b"%d" % n, 0) for n in range(6)]).result(PATIENCE_SECONDS)
    for partition in assigned(world.reader):
        world.reader.start(partition, None)
    read(world.reader, 6)
    assert world.reader.end(Partition(world.topic, 0)) == 6
    assert world.reader.end(Partition("of-nobody", 0)) is None


def test_a_position_beyond_the_log_is_refused(world: Contract) -> None:
    partition = min(assigned(world.reader))

    def believed() -> bool:
        with pytest.raises((Unavailable, ConfigurationError), match=str(partition)) as refused:
            world.reader.start(partition, 1)
        # For a moment a broker that leads no more may say so.
        return refused.type is ConfigurationError

    wait_for("the belief that the log is so short", believed)


def test_a_paused_partition_is_not_read_until_resumed(world: Contract) -> None:
    partitions = assigned(world.reader)
    for partition in partitions:
        world.reader.start(partition, 0)
    world.reader.pause(partitions)
    world.publisher.send([Message(world.topic, b"k", b"v", n % 2) for n in range(4)]).result(PATIENCE_SECONDS)
    assert not any(world.reader.poll(500).records.values())
    world.reader.resume(partitions)
    assert len(read(world.reader, 4)) == 4


def test_a_paused_partition_goes_on_where_it_was(world: Contract) -> None:
    partitions = assigned(world.reader)
    world.publisher.send([Message(world.topic, b"k", b"%d" % n, n % 2) for n in range(4000)]).result(
        PATIENCE_SECONDS
    )
    for partition in partitions:
        world.reader.start(partition, 0)
    deadline = Deadline()
    records: dict[Partition, list[Record]] = {partition: [] for partition in partitions}
    turns = cycle(sorted(partitions))
    while sum(map(len, records.values())) < 4000:
        deadline.check({str(p): len(batch) for p, batch in records.items()})
        paused = next(turns)
        world.reader.pause([paused])
        first = world.reader.poll(100).records
        assert paused not in first, "what has been fetched already of a paused partition is not to come"
        world.reader.resume([paused])
        for found in (first, world.reader.poll(100).records):
            for partition, batch in found.items():
                records[partition] += batch
    for batch in records.values():
        assert [record.offset for record in batch] == list(range(2000))


def test_reading_can_start_anew_elsewhere(world: Contract) -> None:
    world.publisher.send([Message(world.topic, b"k", b"%d" % n, 0) for n in range(10)]).result(PATIENCE_SECONDS)
    for partition in assigned(world.reader):
        world.reader.start(partition, None)
    assert [record.offset for record in read(world.reader, 10)] == list(range(10))
    partition = Partition(world.topic, 0)
    world.reader.pause([partition])
    assert world.reader.start(partition, 3) == (0, 3)
    assert [record.offset for record in read(world.reader, 7)] == list(range(3, 10))
    world.reader.start(partition, 8)
    assert [record.offset for record in read(world.reader, 2)] == [8, 9]


def test_partitions_that_are_not_ours_are_left_alone(world: Contract) -> None:
    assigned(world.reader)
    strange = [Partition(world.topic, 9), Partition("nowhere", 0)]
    world.reader.pause(strange)
    world.reader.resume(strange)
    world.reader.mirror(dict.fromkeys(strange, 1))
    assert not any(world.reader.poll(100).records.values())


def test_what_is_empty_stays_empty(world: Contract) -> None:
    world.publisher.send([Message(world.topic, None, b"", 0, (("h", b""),))]).result(PATIENCE_SECONDS)
    for partition in assigned(world.reader):
        world.reader.start(partition, None)
    [record] = read(world.reader, 1)
    assert (record.key, record.value, record.headers) == (None, b"", (("h", b""),))


@pytest.mark.parametrize("others", [500, 1_000, 1_500])
def test_what_was_fetched_before_a_pause_comes_after_it(world: Contract, others: int) -> None:
    one, other = sorted(assigned(world.reader))
    # One partition has more than a poll returns, so that fetched records are left over when it is paused; the
    # other is then read to its end, and nothing new comes that would set reading going again.
    numbers = [0] * 3_000 + [1] * others
    world.publisher.send(
        [Message(world.topic, b"k", b"v%d" % n, place) for n, place in enumerate(numbers)]
    ).result(PATIENCE_SECONDS)
    world.reader.start(one, 0)
    found: dict[Partition, list[int]] = {one: [], other: []}

    def poll_until(condition: Callable[[], bool]) -> None:
        deadline = Deadline()
        while not condition():
            deadline.check({partition: len(came) for partition, came in found.items()})
            for partition, batch in world.reader.poll(100).records.items():
                found[partition] += [record.offset for record in batch]

    poll_until(lambda: bool(found[one]))
    world.reader.pause([one])
    world.reader.start(other, 0)
    poll_until(lambda: bool(found[other]))
    world.reader.resume([one])
    poll_until(lambda: len(found[one]) + len(found[other]) >= len(numbers))
    assert list(found.values()) == [list(range(3_000)), list(range(others))]


def test_nothing_to_publish_is_done_at_once(world: Contract) -> None:
    assert world.publisher.send([]).done()
