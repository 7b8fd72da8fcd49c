"""The lag of each service: the end offsets of the logs minus the stored positions."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson
from kafka import TopicPartition
from pymongo.database import Database

from services.demo.changelog import Logged
from shared.contracts.services import PROJECTIONS
from shared.contracts.topics import Topics
from shared.kafka.python_client.data_ends import data_ends
from shared.kafka.python_client.reader import open_outside, partitions_of, reaching_brokers
from shared.settings import Settings
from shared.versions.mongo_registry import MongoRegistry

_CHANGES = "relation-changes"


@dataclass(frozen=True, slots=True)
class Lag:
    """By service, the records that it has not stored yet, by ``topic/partition``, and the sum of those it has."""

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

    def __init__(self, settings: Settings, database: Database[dict[str, Any]]) -> None:
        """Raises Unavailable or ConfigurationError."""
        self._database = database
        topics = Topics(settings.topic_prefix)
        self._changes = topics.name(_CHANGES)
        self._read = {name: [topics.name(short) for short in spec.folds] for name, spec in PROJECTIONS.items()}
        self._kafka = open_outside(settings, auto_offset_reset="earliest", max_poll_records=5_000)

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
            ends = data_ends(self._kafka, stored, ends)
            behind[service] = {_name(part): max(0, end - stored[part]) for part, end in ends.items()}
            done[service] = sum(stored.values())
        return Lag(behind, done, outbox, self._database.dead_letters.estimated_document_count())

    def changes(self) -> Iterator[Logged]:
        """Every change in the log, in the order of each partition."""
        ends = self._ends([self._changes])
        left = {part for part, end in ends.items() if end}
        self._kafka.assign(list(ends))
        self._kafka.seek_to_beginning(*ends)
        while left:
            with reaching_brokers():
                polled = self._kafka.poll(timeout_ms=1_000)
            for part, records in polled.items():
                for record in records:
                    if record.offset < ends[part]:
                        yield Logged(part.partition, orjson.loads(record.value))
            left = {part for part in left if self._kafka.position(part) < ends[part]}

    def _ends(self, topics: list[str]) -> dict[TopicPartition, int]:
        with reaching_brokers():
            ends: dict[TopicPartition, int] = self._kafka.end_offsets(partitions_of(self._kafka, topics))
        return ends


def _name(part: TopicPartition) -> str:
    return f"{part.topic}/{part.partition}"
