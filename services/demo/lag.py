"""The lag of each service: the end offsets of the logs minus the stored positions."""

import time
from collections.abc import Collection, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any

import orjson
from kafka import TopicPartition
from pymongo.database import Database

from services.demo.changelog import Logged
from shared.contracts.errors import Unavailable
from shared.contracts.services import CORE_PROJECTIONS, PROJECTIONS
from shared.contracts.topics import Topics
from shared.kafka.python_client.data_ends import data_ends
from shared.kafka.python_client.reader import open_consumer, partitions_of, reaching_brokers
from shared.settings import Settings
from shared.versions.mongo_registry import MongoRegistry

_CHANGES = "relation-changes"
_SILENT_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Lag:
    """The lag by service: the records that it has not stored yet, by ``topic/partition``, and the sum of those it
    has."""

    behind: dict[str, dict[str, int]]
    done: dict[str, int]
    outbox: int
    dead_letters: int

    def of(self, service: str) -> int:
        return sum(self.behind[service].values())

    def __str__(self) -> str:
        """The lag in words; empty when everything is drained."""
        parts = [
            f"{service} is {count:,} behind in {partition}"
            for service, partitions in self.behind.items()
            for partition, count in sorted(partitions.items())
            if count
        ]
        if self.outbox:
            parts.append(f"{self.outbox} outbox documents are not published")
        return "; ".join(parts)


class LagReader:
    """Reads positions and logs. For one thread at a time; must be closed."""

    def __init__(
        self,
        settings: Settings,
        database: Database[dict[str, Any]],
        services: Collection[str] = tuple(CORE_PROJECTIONS),
    ) -> None:
        """``services`` are those whose lag counts. Raises Unavailable or ConfigurationError."""
        self._settings, self._database = settings, database
        topics = Topics(settings.topic_prefix)
        self._changes = topics.name(_CHANGES)
        self._read = {
            name: [topics.name(short) for short in spec.folds]
            for name, spec in PROJECTIONS.items()
            if name in services
        }
        self._open = partial(open_consumer, settings, auto_offset_reset="earliest", max_poll_records=5_000)
        self._kafka = self._open()

    def close(self) -> None:
        self._kafka.close()

    def lag(self) -> Lag:
        """Zero lag means drained, once no more events are sent. For that the positions are read before the outbox,
        and the outbox before the end offsets: progress in between shows as lag."""
        positions = {each["_id"]: each.get("next") or 0 for each in self._database.positions.find()}
        outbox = self._database.outbox.count_documents({})
        behind: dict[str, dict[str, int]] = {}
        done: dict[str, int] = {}
        for service, topics in self._read.items():
            ends = self._ends(topics)
            live = MongoRegistry(self._database, service).read().live
            stored = {part: positions.get(f"{service}@{live}/{_name(part)}", 0) for part in ends}
            ends = data_ends(self._settings, stored, ends)
            behind[service] = {_name(part): max(0, end - stored[part]) for part, end in ends.items()}
            done[service] = sum(stored.values())
        return Lag(behind, done, outbox, self._database.dead_letters.estimated_document_count())

    def changes(self) -> Iterator[Logged]:
        """Every change in the log, in the order of each partition. Raises Unavailable when Kafka returns none."""
        ends = self._ends([self._changes])
        left = {part for part, end in ends.items() if end}
        with closing(self._open()) as consumer:
            consumer.assign(list(ends))
            consumer.seek_to_beginning(*ends)
            progress = time.monotonic()
            while left:
                with reaching_brokers():
                    polled = consumer.poll(timeout_ms=1_000)
                if polled:
                    progress = time.monotonic()
                elif time.monotonic() - progress > _SILENT_SECONDS:
                    raise Unavailable(f"Kafka returned no record of {self._changes} for {_SILENT_SECONDS:.0f} s")
                for part, records in polled.items():
                    for record in records:
                        if record.offset < ends[part]:
                            yield Logged(part.partition, orjson.loads(record.value))
                left = {part for part in left if consumer.position(part) < ends[part]}

    def _ends(self, topics: list[str]) -> dict[TopicPartition, int]:
        with reaching_brokers():
            ends: dict[TopicPartition, int] = self._kafka.end_offsets(partitions_of(self._kafka, topics))
        return ends


def _name(part: TopicPartition) -> str:
    return f"{part.topic}/{part.partition}"
