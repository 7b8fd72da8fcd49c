"""What only real Kafka shows, of either client and of both together: groups, retention, refusals."""

import os
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any

import orjson
import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient

from shared.contracts.codec import decode, encode
from shared.contracts.errors import ConfigurationError, Unavailable
from shared.kafka.clients import open_publisher, open_reader
from shared.kafka.librdkafka import publisher as librdkafka_publisher
from shared.kafka.librdkafka.reader import configuration
from shared.kafka.python_client.all_partitions import AllPartitionsReader
from shared.kafka.python_client.data_ends import data_ends
from shared.kafka.python_client.reader import MAX_MESSAGE_BYTES, connection, open_consumer
from shared.kafka.python_client.watch import KafkaTail
from shared.kafka.topics_admin import ensure_topics
from shared.local.kafka import KafkaServer
from shared.local.processes import free_ports
from shared.runtime.forms import in_structured_mode
from shared.runtime.protocols import Message, Partition, Polled, Publisher, Reader, Record
from shared.settings import Settings
from tests.support.builders import recorded
from tests.support.kafka import frozen
from tests.support.logs import read_topics
from tests.support.waiting import PATIENCE_SECONDS, Deadline

CLIENTS = ["kafka-python", "librdkafka"]

each_client = pytest.mark.parametrize("client", CLIENTS)


class World:
    """One topic with two partitions, and members of one group."""

    def __init__(self, settings: Settings, exit: ExitStack) -> None:
        self.settings = settings
        self.topic = f"{settings.topic_prefix}.relations"
        self.partitions = {Partition(self.topic, 0), Partition(self.topic, 1)}
        self.group = f"clients-{uuid.uuid4().hex[:6]}"
        self._exit = exit

    def of(self, client: str) -> Settings:
        return self.settings.model_copy(update={"kafka_client": client})

    def reader(self, client: str) -> Reader:
        return open_reader(self.of(client), self.group, [self.topic])

    def publisher(self, client: str) -> Publisher:
        return self._exit.enter_context(closing(open_publisher(self.of(client))))

    def publish(self, count: int) -> None:
        messages = [Message(self.topic, b"k", b"%d" % n, n % 2) for n in range(count)]
        self.publisher("kafka-python").send(messages).result(PATIENCE_SECONDS)


@pytest.fixture
def world(real_settings: Settings) -> Iterator[World]:
    with ExitStack() as exit:
        yield World(real_settings, exit)


class Member:
    """A reader that starts what it is given at the group's positions, as a runner does."""

    def __init__(self, reader: Reader, positions: dict[Partition, int]) -> None:
        self.reader = reader
        self.positions = positions
        self.mine: set[Partition] = set()
        self.records: list[Record] = []

    def step(self) -> None:
        polled: Polled = self.reader.poll(50)
        self.mine = (self.mine - polled.revoked) | polled.assigned
        for partition in polled.assigned:
            self.reader.start(partition, self.positions.get(partition, 0))
        for partition, batch in polled.records.items():
            assert partition in self.mine
            assert batch[0].offset == self.positions.get(partition, 0), "nothing is skipped or repeated"
            self.positions[partition] = batch[-1].offset + 1
            self.records += batch


def until(done: Callable[[], bool], *members: Member) -> None:
    # kafka-python 3.0.12 now and then waits 30 s for the answer to a SyncGroup, until its request has timed out.
    deadline = Deadline()
    while not done():
        deadline.check([(m.mine, len(m.records)) for m in members])
        for member in members:
            member.step()


@pytest.mark.parametrize(("first", "second"), [("librdkafka", "librdkafka"), ("kafka-python", "librdkafka")])
def test_a_group_shares_its_partitions(world: World, first: str, second: str) -> None:
    positions: dict[Partition, int] = {}
    world.publish(100)
    with ExitStack() as exit:
        staying = Member(exit.enter_context(closing(world.reader(first))), positions)
        until(lambda: len(staying.records) == 100, staying)
        with closing(world.reader(second)) as reader:
            joining = Member(reader, positions)
            until(lambda: len(staying.mine) == len(joining.mine) == 1, staying, joining)
            assert staying.mine | joining.mine == world.partitions
            world.publish(100)
            until(lambda: len(staying.records) + len(joining.records) == 200, staying, joining)
            assert len(joining.records) == 50
        until(lambda: staying.mine == world.partitions, staying)
        world.publish(100)
        until(lambda: len(staying.records) == 250, staying)
    assert set(positions.values()) == {150}


def test_both_clients_put_a_key_into_the_same_partition(world: World) -> None:
    keys = [b"tenant:consumer-%d" % n for n in range(200)]
    for client in CLIENTS:
        world.publisher(client).send([Message(world.topic, key, client.encode()) for key in keys]).result(
            PATIENCE_SECONDS
        )
    with closing(world.reader("librdkafka")) as reader:
        member = Member(reader, {})
        until(lambda: len(member.records) == 400, member)
    where = {
        client: {r.key: r.partition for r in member.records if r.value == client.encode()} for client in CLIENTS
    }
    assert where["kafka-python"] == where["librdkafka"]
    assert set(where["librdkafka"].values()) == world.partitions


@each_client
def test_a_log_that_has_lost_what_comes_next_is_heard_of(world: World, client: str) -> None:
    world.publish(100)
    lost = Partition(world.topic, 0)
    with closing(world.reader(client)) as reader:
        member = Member(reader, {})
        until(lambda: len(member.records) == 100, member)
        reader.pause(world.partitions)
        world.publish(100)
        admin = KafkaAdminClient(**connection(world.settings))
        admin.delete_records({TopicPartition(*lost): 80})
        admin.close()
        reader.resume(world.partitions)
        with pytest.raises(ConfigurationError, match="the log"):
            until(lambda: len(member.records) == 200, member)
        assert reader.start(lost, None) == (80, 80)
        member.positions[lost] = 80
        until(lambda: member.positions[lost] == 100, member)


@each_client
def test_positions_are_shown_to_kafka(world: World, client: str) -> None:
    world.publish(20)
    positions: dict[Partition, int] = {}
    with closing(world.reader(client)) as reader:
        member = Member(reader, positions)
        until(lambda: len(member.records) == 20, member)
        name = f"{world.settings.group}.{world.group}"
        admin = KafkaAdminClient(**connection(world.settings))

        def shown() -> bool:
            reader.mirror(positions)  # again and again: one that goes wrong is not repeated by itself
            offsets = admin.list_group_offsets([name])[name]
            return {Partition(*tp): found.offset for tp, found in offsets.items()} == positions

        until(shown, member)
        admin.close()


@each_client
def test_a_message_that_is_too_large_is_refused_for_good(world: World, client: str) -> None:
    sent = world.publisher(client).send([Message(world.topic, b"k", b"v" * (MAX_MESSAGE_BYTES + 1))])
    error = sent.exception(PATIENCE_SECONDS)
    assert error is not None
    assert not isinstance(error, Unavailable)


@each_client
def test_publishing_goes_on_after_a_message_that_the_topic_refuses(world: World, client: str) -> None:
    # Kafka's own limit for a topic, 1 MB, is below the client's. Noise, lest it is compressed to less.
    publisher = world.publisher(client)
    error = publisher.send([Message(world.topic, b"k", os.urandom(1_500_000))]).exception(PATIENCE_SECONDS)
    assert error is not None
    assert not isinstance(error, Unavailable)
    publisher.send([Message(world.topic, b"k", b"v")]).result(PATIENCE_SECONDS)


@each_client
def test_a_partition_that_has_just_been_added_is_published_to(
    world: World, client: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # librdkafka looks for new partitions every half minute.
    sooner = {"topic.metadata.refresh.interval.ms": 500}
    monkeypatch.setattr(librdkafka_publisher, "configuration", lambda settings: configuration(settings) | sooner)
    publisher = world.publisher(client)
    publisher.send([Message(world.topic, b"k", b"v", 1)]).result(PATIENCE_SECONDS)
    ensure_topics(world.settings.model_copy(update={"partitions": 3}))
    outcomes: list[BaseException | None] = []

    def published() -> bool:
        outcomes.append(publisher.send([Message(world.topic, b"k", b"v", 2)]).exception(PATIENCE_SECONDS))
        return outcomes[-1] is None

    until(published)
    assert all(isinstance(each, Unavailable) for each in outcomes[:-1])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    """A broker for those who take it away. It may not run."""
    folder = tmp_path_factory.mktemp("broker")
    port, controller_port = free_ports(2)
    server = KafkaServer(folder / "kafka", port, controller_port, folder / "kafka.log")
    yield server
    server.stop()


@pytest.fixture
def broker(server: KafkaServer) -> KafkaServer:
    """The same, running."""
    if not server.process.running:
        server.start()
    return server


def settings_of(broker: KafkaServer, client: str, **more: Any) -> Settings:
    """Of a topic and a group of their own on this broker."""
    name = f"clients-{uuid.uuid4().hex[:6]}"
    return Settings(
        kafka=broker.bootstrap, kafka_client=client, topic_prefix=name, group=name, partitions=1, **more
    )


@each_client
def test_publishing_goes_on_after_a_broker_that_froze(broker: KafkaServer, client: str) -> None:
    settings = settings_of(broker, client, publish_timeout_ms=1_000)
    ensure_topics(settings)
    message = Message(f"{settings.topic_prefix}.relations", b"k", b"v")
    with closing(open_publisher(settings)) as publisher:
        until(lambda: published(publisher, message))
        with frozen(broker):
            for _ in range(2):
                assert isinstance(publisher.send([message]).exception(PATIENCE_SECONDS), Unavailable)
        until(lambda: published(publisher, message))


def published(publisher: Publisher, message: Message) -> bool:
    """Whether it is, within the time that the settings leave: on a machine that stalls one may come too late."""
    return publisher.send([message]).exception(PATIENCE_SECONDS) is None


@each_client
def test_whoever_publishes_without_a_broker_is_told_so_and_not_held_up(broker: KafkaServer, client: str) -> None:
    """A runner that sends must still poll, and end when it is asked to; closing is no error."""
    settings = settings_of(broker, client, publish_timeout_ms=3_000)
    ensure_topics(settings)
    message = Message(f"{settings.topic_prefix}.relations", b"k", b"v")
    with closing(open_publisher(settings)) as publisher:
        until(lambda: published(publisher, message))
        broker.kill()
        assert isinstance(publisher.send([message]).exception(PATIENCE_SECONDS), Unavailable)
        began = time.monotonic()
        sent = [publisher.send([message]) for _ in range(4)]
        held_up = time.monotonic() - began
        assert [type(each.exception(PATIENCE_SECONDS)) for each in sent] == [Unavailable] * 4
        assert held_up < settings.publish_timeout_ms / 1000
        publisher.send([message])


@each_client
def test_a_reader_whose_broker_goes_away_while_it_joins_finds_nothing(server: KafkaServer, client: str) -> None:
    # A join is not answered before the broker goes away, however long it takes until that is killed.
    server.stop()
    server.properties["group.initial.rebalance.delay.ms"] = "600000"
    server.start()
    settings = settings_of(server, client)
    ensure_topics(settings)
    with closing(open_reader(settings, "clients", [f"{settings.topic_prefix}.relations"])) as reader:
        server.kill()
        for _ in range(10):
            assert reader.poll(100) == Polled(frozenset(), frozenset(), {})
        server.properties.clear()
        server.start()
        member = Member(reader, {})
        until(lambda: bool(member.mine), member)


def test_a_reader_that_was_put_out_of_its_group_claims_nothing_when_it_joins_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever shares out the partitions would keep them for it, and nobody would read them."""
    with closing(world.reader("kafka-python")) as reader:
        member = Member(reader, {})
        until(lambda: member.mine == world.partitions, member)
        coordinator = reader._consumer._coordinator  # type: ignore[attr-defined]
        claims: list[Any] = []

        def joins() -> Any:
            protocols = original()
            claims.append(protocols[0][1].owned_partitions)
            return protocols

        original = coordinator.group_protocols
        monkeypatch.setattr(coordinator, "group_protocols", joins)
        # What the answer to a heartbeat leads to, after a session has expired.
        coordinator.reset_generation()
        until(lambda: bool(claims), member)
        assert claims[0] == []
        world.publish(100)
        until(lambda: len(member.records) == 100, member)


@pytest.fixture
def odd(world: World) -> list[Record]:
    """200 messages in one partition, as they are to be read: every tenth has a header whose name is not UTF-8."""

    class Bytes(str):
        def encode(self, *_: str) -> bytes:
            return b"\xff\xfe"

    place = Partition(world.topic, 0)
    whole = (("other", b"1"), ("name", b"2"))
    records = [Record(place, n, 1 + n, b"k", b"%d" % n, whole if n % 10 else ()) for n in range(200)]
    for compression, half in ((None, records[:100]), ("gzip", records[100:])):
        producer = KafkaProducer(**connection(world.settings), compression_type=compression)
        for r in half:
            headers = list(r.headers) or [("other", b"1"), (Bytes("?"), b"2")]
            producer.send(world.topic, r.value, r.key, headers, place.number, r.timestamp)
        producer.close()
    return records


@each_client
def test_a_header_whose_name_is_not_text_harms_nothing(world: World, odd: list[Record], client: str) -> None:
    with closing(world.reader(client)) as reader:
        member = Member(reader, {})
        until(lambda: len(member.records) == 200, member)
    assert member.records == odd


def test_nor_does_it_to_who_reads_outside_a_group(world: World, odd: list[Record]) -> None:
    assert read_topics(world.settings, world.topic) == odd
    with closing(AllPartitionsReader(world.settings, [world.topic])) as reader:
        member = Member(reader, {})
        until(lambda: len(member.records) == 200, member)
    assert member.records == odd


def test_nor_to_who_follows_a_topic(world: World, request: pytest.FixtureRequest) -> None:
    with closing(KafkaTail(world.settings, [world.topic])) as tail:
        tail.skip()
        odd = request.getfixturevalue("odd")
        found: list[Record] = []
        deadline = Deadline()
        while len(found) < 200:
            deadline.check(f"only {len(found)} of 200 records came")
            found += tail.poll(500)
    assert found == odd


@each_client
def test_a_topic_that_is_not_there_is_unavailable(world: World, client: str) -> None:
    hasty = world.settings.model_copy(update={"kafka_client": client, "publish_timeout_ms": 1_000})
    nowhere = f"{world.topic}-nowhere"
    with closing(open_publisher(hasty)) as publisher:
        with pytest.raises(Unavailable):
            publisher.send([Message(nowhere, b"k", b"v")]).result(PATIENCE_SECONDS)
        until(lambda: published(publisher, Message(world.topic, b"k", b"v")))
    with pytest.raises(Unavailable, match=nowhere):
        open_reader(hasty, world.group, [nowhere])
    consumer = KafkaConsumer(**connection(world.settings))
    assert nowhere not in consumer.topics()
    consumer.close()


def drained(reader: Reader, partition: Partition) -> list[Record]:
    """All records of a partition, read until its end is the position after the last one."""
    found: list[Record] = []
    deadline = time.monotonic() + PATIENCE_SECONDS
    started = False
    while time.monotonic() < deadline:
        polled = reader.poll(200)
        if partition in polled.assigned:
            reader.start(partition, None)
            started = True
        found += polled.records.get(partition, [])
        if started and found and reader.end(partition) == found[-1].offset + 1:
            return found
    raise AssertionError(f"the end is {reader.end(partition)} after {len(found)} records")


@each_client
def test_what_a_transactional_producer_leaves_behind_its_records_is_no_lag(world: World, client: str) -> None:
    partition = Partition(world.topic, 0)
    producer = KafkaProducer(**connection(world.settings), transactional_id=uuid.uuid4().hex)
    with closing(producer):
        producer.init_transactions()
        for ending in ("commit", "abort", "commit", "abort"):
            producer.begin_transaction()
            for n in range(3):
                producer.send(world.topic, b"%s %d" % (ending.encode(), n), partition=0)
            producer.flush()  # what is aborted before it was sent leaves nothing
            producer.commit_transaction() if ending == "commit" else producer.abort_transaction()
    with closing(world.reader(client)) as reader:
        found = drained(reader, partition)
    assert [record.value for record in found] == [b"commit 0", b"commit 1", b"commit 2"] * 2
    position = found[-1].offset + 1
    with closing(open_consumer(world.settings, auto_offset_reset="none")) as consumer:
        tp = TopicPartition(*partition)
        ends = consumer.end_offsets([tp])
        assert ends[tp] > position, "markers and what was aborted lie behind it"
        assert data_ends(world.settings, {tp: position}, ends) == {tp: position}
        assert data_ends(world.settings, {tp: position - 1}, ends) == ends
        assert data_ends(world.settings, {tp: ends[tp]}, ends) == ends


@each_client
def test_an_event_in_binary_mode_comes_as_it_was_published(world: World, client: str) -> None:
    partition = Partition(world.topic, 0)
    event = recorded("é1", "2026-05-02T09:00:00Z")
    fields = orjson.loads(encode(event))
    data = orjson.dumps(fields.pop("data"))
    headers = tuple((f"ce_{name}", str(value).encode()) for name, value in fields.items())
    message = Message(world.topic, b"k", data, 0, (("content-type", b"application/json"), *headers))
    world.publisher(client).send([message]).result(PATIENCE_SECONDS)
    with closing(world.reader(client)) as reader:
        (record,) = drained(reader, partition)
    assert record.headers == message.headers
    assert decode(in_structured_mode(record).value or b"") == event
