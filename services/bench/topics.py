"""Fills the benchmark's topics: generated events, and one fact that marks the end of each partition."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from kafka.partitioner import murmur2

from services.bench.events import BenchEvent, ending
from shared.contracts.events import document_id
from shared.contracts.topics import Topics
from shared.kafka.python_client.publisher import KafkaPublisher
from shared.kafka.topics_admin import ensure_topics
from shared.runtime.protocols import Message
from shared.settings import Settings

PARTITIONS = 4
_CHUNK = 5_000


@dataclass(frozen=True)
class BenchTopic:
    """A filled topic, ``<prefix>.relations``.

    ``events`` counts all messages, ``facts`` the distinct facts, ``live`` those not retracted at the end.
    ``endings`` are consumer and relation id of the last fact of every partition.
    """

    prefix: str
    events: int
    facts: int
    live: int
    endings: tuple[tuple[str, str], ...]

    @property
    def name(self) -> str:
        return Topics(self.prefix).name("relations")

    @property
    def ending_relations(self) -> list[str]:
        return [relation_id for _, relation_id in self.endings]

    @property
    def ending_documents(self) -> list[str]:
        """The ids of the last facts in Kith's documents."""
        return [document_id("default", *ids) for ids in self.endings]


def fill(settings: Settings, prefix: str, events: Iterable[BenchEvent]) -> BenchTopic:
    """Create the topics of ``prefix`` and publish ``events`` and the endings, acknowledged."""
    own = settings.model_copy(update={"topic_prefix": prefix, "partitions": PARTITIONS})
    ensure_topics(own)
    topic = Topics(prefix).name("relations")
    count = facts = live = 0

    def counted(source: Iterable[BenchEvent]) -> Iterator[Message]:
        nonlocal count, facts, live
        for event in source:
            count += 1
            facts += event.fresh
            live += event.live
            yield Message(topic, event.key, event.value)

    publisher = KafkaPublisher(own)
    try:
        _publish(publisher, counted(events))
        endings = tuple((ending_consumer(prefix, n), f"end-{prefix}-{n}") for n in range(PARTITIONS))
        _publish(publisher, counted(ending(count + n, *ids) for n, ids in enumerate(endings)))
    finally:
        publisher.close()
    return BenchTopic(prefix, count, facts, live, endings)


def ending_consumer(prefix: str, partition: int) -> str:
    """A consumer whose events are published to this partition."""
    number = 0
    while True:
        consumer_id = f"end-{prefix}-{number}"
        if (murmur2(f"default:{consumer_id}".encode()) & 0x7FFFFFFF) % PARTITIONS == partition:
            return consumer_id
        number += 1


def _publish(publisher: KafkaPublisher, messages: Iterator[Message]) -> None:
    before = None
    chunk: list[Message] = []
    for message in messages:
        chunk.append(message)
        if len(chunk) == _CHUNK:
            sent = publisher.send(chunk)
            if before is not None:
                before.result()
            before, chunk = sent, []
    if before is not None:
        before.result()
    publisher.send(chunk).result()
