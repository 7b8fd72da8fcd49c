"""``kith status``: what is there, how far behind, who works on it and what went wrong."""

from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import datetime
from types import TracebackType
from typing import Any, Self

from kafka import KafkaConsumer, TopicPartition
from pymongo.database import Database

from shared.dead_letters import COLLECTION as DEAD_LETTERS
from shared.kafka_io import connection, reaching_brokers
from shared.mongo_io import OUTBOX, POSITIONS, translated
from shared.protocols import Document
from shared.settings import Settings
from shared.topics import INPUTS, Topics

COUNTED = ("consumers", "providers", "relations", "relationships", "aggregates")


@dataclass(frozen=True)
class PartitionStatus:
    """How far a service has come with a partition. ``stored`` of ``end`` messages; None: not begun. ``moved`` is
    when something of it was last stored, by MongoDB's clock."""

    service: str
    topic: str
    partition: int
    stored: int | None
    end: int
    lag: int
    owner: str | None
    moved: datetime | None


@dataclass(frozen=True)
class WorkerStatus:
    """What the positions say of a worker: it was the last to claim these partitions. ``owner`` is its host and
    process id; None stands for partitions that nobody has claimed yet."""

    service: str
    owner: str | None
    partitions: list[str]
    lag: int
    moved: datetime | None


@dataclass(frozen=True)
class Status:
    """``time`` is now, by MongoDB's clock."""

    time: datetime
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

    @property
    def workers(self) -> list[WorkerStatus]:
        owned: dict[tuple[str, str | None], list[PartitionStatus]] = {}
        for partition in self.partitions:
            owned.setdefault((partition.service, partition.owner), []).append(partition)
        return [
            WorkerStatus(
                service,
                owner,
                [f"{p.topic}/{p.partition}" for p in partitions],
                sum(p.lag for p in partitions),
                max((p.moved for p in partitions if p.moved is not None), default=None),
            )
            for (service, owner), partitions in owned.items()
        ]

    def as_dict(self) -> dict[str, Any]:
        """For JSON, but for the times, which are still datetimes."""
        return {"lag": self.lag, "workers": [asdict(worker) for worker in self.workers], **asdict(self)}


class StatusReader:
    """Context manager. Asks Kafka for the logs' ends and MongoDB for the positions."""

    def __init__(self, settings: Settings, database: Database[Document]) -> None:
        topics = Topics(settings.topic_prefix)
        self._read = {
            "relations": [topics.name(t) for t in INPUTS],
            "analytics": [topics.name("relation-changes")],
        }
        self._database = database
        with reaching_brokers():
            self._consumer = KafkaConsumer(**connection(settings), metrics_enabled=False, group_id=None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._consumer.close(autocommit=False)

    def read(self) -> Status:
        """Raises Unavailable."""
        # Positions, then the outbox, then the ends: what is underway meanwhile shows as lag, never as done.
        database = self._database
        with translated():
            positions: Mapping[str, Document] = {p["_id"]: p for p in database[POSITIONS].find()}
            reasons = database[DEAD_LETTERS].aggregate([{"$group": {"_id": "$reason", "n": {"$sum": 1}}}])
            dead_letters = {entry["_id"]: entry["n"] for entry in reasons}
            documents = {name: database[name].estimated_document_count() for name in COUNTED}
            outbox = database[OUTBOX].estimated_document_count()
            now: datetime = database.command("hello", codec_options=database.codec_options)["localTime"]
        with reaching_brokers():
            tps = [
                TopicPartition(topic, number)
                for names in self._read.values()
                for topic in names
                for number in sorted(self._consumer.partitions_for_topic(topic) or ())
            ]
            firsts, ends = self._consumer.beginning_offsets(tps), self._consumer.end_offsets(tps)
        partitions = []
        for service, names in self._read.items():
            for tp in (tp for tp in tps if tp.topic in names):
                # Rebuilds aside, the first version of a projection is the one that serves.
                position = positions.get(f"{service}@1/{tp.topic}/{tp.partition}", {})
                stored = position.get("next")
                partitions.append(
                    PartitionStatus(
                        service,
                        tp.topic,
                        tp.partition,
                        stored,
                        ends[tp],
                        ends[tp] - (firsts[tp] if stored is None else stored),
                        position.get("owner"),
                        position.get("moved"),
                    )
                )
        return Status(now, partitions, documents, dict(sorted(dead_letters.items())), outbox)


def read_status(settings: Settings, database: Database[Document]) -> Status:
    """The status once. Raises Unavailable."""
    with closing(StatusReader(settings, database)) as reader:
        return reader.read()
