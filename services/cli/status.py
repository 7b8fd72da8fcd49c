"""``kith status``: what is there, how far behind, and what went wrong."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from pymongo.database import Database
from rich.table import Table

from shared.dead_letters import COLLECTION as DEAD_LETTERS
from shared.kafka_io import connection, reaching_brokers
from shared.mongo_io import OUTBOX, POSITIONS, translated
from shared.protocols import Document
from shared.settings import Settings
from shared.topics import INPUTS, Topics

COUNTED = ("consumers", "providers", "relations", "relationships", "aggregates")


@dataclass(frozen=True)
class PartitionStatus:
    """How far a service has come with a partition. ``stored`` of ``end`` messages; None: not begun."""

    service: str
    topic: str
    partition: int
    stored: int | None
    end: int
    lag: int
    owner: str | None


@dataclass(frozen=True)
class Status:
    partitions: list[PartitionStatus]
    documents: dict[str, int]
    dead_letters: dict[str, int]
    outbox: int

    @property
    def lag(self) -> dict[str, int]:
        """Messages not stored yet, by service."""
        lags: dict[str, int] = {}
        for partition in self.partitions:
            lags[partition.service] = lags.get(partition.service, 0) + partition.lag
        return lags

    def as_dict(self) -> dict[str, Any]:
        return {"lag": self.lag, **asdict(self)}


def read_status(settings: Settings, database: Database[Document]) -> Status:
    """Ask Kafka for the logs' ends and MongoDB for the positions. Raises Unavailable."""
    topics = Topics(settings.topic_prefix)
    read = {"relations": [topics.name(t) for t in INPUTS], "analytics": [topics.name("relation-changes")]}
    with reaching_brokers():
        consumer = KafkaConsumer(**connection(settings), metrics_enabled=False, group_id=None)
        try:
            tps = [
                TopicPartition(topic, number)
                for names in read.values()
                for topic in names
                for number in sorted(consumer.partitions_for_topic(topic) or ())
            ]
            firsts, ends = consumer.beginning_offsets(tps), consumer.end_offsets(tps)
        finally:
            consumer.close(autocommit=False)
    with translated():
        positions: Mapping[str, Document] = {p["_id"]: p for p in database[POSITIONS].find()}
        reasons = database[DEAD_LETTERS].aggregate([{"$group": {"_id": "$reason", "n": {"$sum": 1}}}])
        dead_letters = {entry["_id"]: entry["n"] for entry in reasons}
        documents = {name: database[name].estimated_document_count() for name in COUNTED}
        outbox = database[OUTBOX].estimated_document_count()
    partitions = []
    for service, names in read.items():
        for tp in (tp for tp in tps if tp.topic in names):
            # Rebuilds aside, the first version of a projection is the one that serves.
            position = positions.get(f"{service}@1/{tp.topic}/{tp.partition}", {})
            stored = position.get("next")
            lag = ends[tp] - (firsts[tp] if stored is None else stored)
            partitions.append(
                PartitionStatus(service, tp.topic, tp.partition, stored, ends[tp], lag, position.get("owner"))
            )
    return Status(partitions, documents, dict(sorted(dead_letters.items())), outbox)


def status_tables(status: Status) -> list[Table]:
    """The status for a terminal."""
    reading = Table("Service", "Topic", "Partition", "Stored", "End", "Lag", "Owner", title="Reading")
    for p in status.partitions:
        stored = "–" if p.stored is None else f"{p.stored:,}"
        style = "yellow" if p.lag else None
        reading.add_row(
            p.service,
            p.topic.partition(".")[2],
            str(p.partition),
            stored,
            f"{p.end:,}",
            f"{p.lag:,}",
            p.owner or "–",
            style=style,
        )
    for column in reading.columns[2:6]:
        column.justify = "right"
    stored_documents = Table("Collection", "Documents", title="Stored")
    for name, count in status.documents.items():
        stored_documents.add_row(name, f"{count:,}")
    stored_documents.add_row("outbox (not published yet)", f"{status.outbox:,}")
    stored_documents.columns[1].justify = "right"
    tables = [reading, stored_documents]
    if status.dead_letters:
        dead = Table("Reason", "Dead letters", title="Not accepted", style="red")
        for reason, count in status.dead_letters.items():
            dead.add_row(reason, f"{count:,}")
        dead.columns[1].justify = "right"
        tables.append(dead)
    return tables
