"""Positions, lag, workers, data volume and failures: for `kith status` and the dashboard."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Self

from kafka import TopicPartition
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import OperationFailure

from shared.contracts.findings import FINDINGS, KEYS_LOST, PLAINTEXT, SPELLING, TENANT_KEYS_LOST
from shared.contracts.services import CORE_PROJECTIONS, PROJECTIONS
from shared.contracts.topics import Topics
from shared.kafka.python_client.data_ends import data_ends
from shared.kafka.python_client.reader import open_consumer, partitions_of, reaching_brokers
from shared.mongo.errors import translated
from shared.mongo.restores import restore_problems
from shared.mongo.store import OUTBOX, POSITIONS, is_incomplete, server_time
from shared.observability.heartbeat import SILENT_SECONDS, WORKERS
from shared.observability.latency import percentile
from shared.runtime.dead_letters import COLLECTION as DEAD_LETTERS
from shared.runtime.protocols import Document
from shared.settings import Settings
from shared.versions.generations import collection_of, position_of
from shared.versions.mongo_registry import MongoRegistry

_NAMESPACE_NOT_FOUND = 26


@dataclass(frozen=True)
class PartitionStatus:
    """How far a service has processed a partition: ``stored`` of ``end`` messages; None: not started. ``moved`` is
    the time of its last commit, by MongoDB's clock."""

    service: str
    topic: str
    partition: int
    stored: int | None
    end: int
    lag: int
    owner: str | None
    moved: datetime | None


@dataclass(frozen=True)
class Latency:
    """The time from a message's arrival in Kafka (its timestamp) until it is stored, in milliseconds, rounded up
    by at most ten percent, for the ``messages`` stored within the last minute. None if there were none."""

    p50_ms: float | None = None
    p99_ms: float | None = None
    messages: int = 0


@dataclass(frozen=True)
class WorkerStatus:
    """A worker, the partitions that it claimed last, and its last heartbeat (``seen``). ``owner`` is its host, a
    random part and its process id; None stands for partitions that no worker has claimed yet. A worker that is not
    ``alive`` has ended without a shutdown, or cannot reach MongoDB."""

    service: str
    owner: str | None
    partitions: list[str]
    lag: int
    moved: datetime | None
    seen: datetime | None
    alive: bool


@dataclass(frozen=True)
class Status:
    """``time`` is now, by MongoDB's clock. ``dead_letters`` counts the open ones by reason, ``closed_letters``
    those replayed or discarded. ``beats`` are the workers' heartbeats."""

    time: datetime
    partitions: list[PartitionStatus]
    documents: dict[str, int]
    dead_letters: dict[str, int]
    closed_letters: int
    outbox: int
    beats: Sequence[Document] = field(default_factory=list)
    #: Topic → events whose personal data reached Kafka in plain text, bypassing the door.
    plaintext: dict[str, int] = field(default_factory=dict)
    #: Collection → documents whose ids are not in NFC, as counted last (once a day). Only where there are some.
    not_in_nfc: dict[str, int] = field(default_factory=dict)
    #: Services whose live documents an earlier version has stored, and that a rebuild would complete.
    incomplete: list[str] = field(default_factory=list)
    #: Tenant → consumers whose data keys were lost with a database. Only where there are some.
    lost_keys: dict[str, int] = field(default_factory=dict)
    #: Tenants whose own key was; ``*`` for that of keys that sign.
    lost_tenant_keys: list[str] = field(default_factory=list)
    #: Why nothing may work on the database: a restore lasts, or was interrupted.
    restoring: list[str] = field(default_factory=list)

    @property
    def lag(self) -> dict[str, int]:
        """Messages not stored yet, by service."""
        lags: dict[str, int] = {}
        for partition in self.partitions:
            lags[partition.service] = lags.get(partition.service, 0) + partition.lag
        return lags

    @property
    def latency(self) -> dict[str, Latency]:
        """The latency of each service, over all of its living workers."""
        working = {*CORE_PROJECTIONS, *(partition.service for partition in self.partitions)}
        counts: dict[str, Counter[int]] = {service: Counter() for service in PROJECTIONS if service in working}
        for beat in self._living():
            for entry in beat["latency"]:
                counts.setdefault(beat["service"], Counter())[entry["size"]] += entry["count"]
        return {
            service: Latency(_rounded(percentile(found, 0.5)), _rounded(percentile(found, 0.99)), found.total())
            for service, found in counts.items()
        }

    def _living(self) -> Iterator[Document]:
        return (b for b in self.beats if self._alive(b["at"]))

    def _alive(self, seen: datetime) -> bool:
        return self.time - seen <= timedelta(seconds=SILENT_SECONDS)

    @property
    def workers(self) -> list[WorkerStatus]:
        """Workers that own partitions, and living workers without any."""
        owned: dict[tuple[str, str | None], list[PartitionStatus]] = {}
        for partition in self.partitions:
            owned.setdefault((partition.service, partition.owner), []).append(partition)
        seen: dict[tuple[str, str | None], datetime] = {(b["service"], b["owner"]): b["at"] for b in self.beats}
        for beat in self._living():
            owned.setdefault((beat["service"], beat["owner"]), [])
        order = list(PROJECTIONS)
        return [
            WorkerStatus(
                service,
                owner,
                [f"{p.topic}/{p.partition}" for p in partitions],
                sum(p.lag for p in partitions),
                max((p.moved for p in partitions if p.moved is not None), default=None),
                at := seen.get((service, owner)),
                at is not None and self._alive(at),
            )
            for (service, owner), partitions in sorted(owned.items(), key=lambda item: order.index(item[0][0]))
        ]

    def as_dict(self) -> dict[str, Any]:
        """The status for JSON, except that times are still datetimes."""
        latency = {service: asdict(found) for service, found in self.latency.items()}
        fields = {name: value for name, value in asdict(self).items() if name != "beats"}
        return {"lag": self.lag, "latency": latency, "workers": [asdict(w) for w in self.workers], **fields}


class StatusReader:
    """Context manager. Requests the logs' ends from Kafka and the positions from MongoDB."""

    def __init__(self, settings: Settings, database: Database[Document]) -> None:
        topics = Topics(settings.topic_prefix)
        self._read = {name: [topics.name(short) for short in spec.folds] for name, spec in PROJECTIONS.items()}
        self._settings, self._database = settings, database
        self._consumer = open_consumer(settings, auto_offset_reset="none")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._consumer.close(autocommit=False)

    def read(self) -> Status:
        """The current status. Raises Unavailable."""
        # Positions, then the outbox, then the ends: what happens in between then shows as lag, never as done.
        database = self._database
        with translated():
            positions: Mapping[str, Document] = {p["_id"]: p for p in database[POSITIONS].find()}
            beats = list(database[WORKERS].find())
        read = self._at_work(positions, beats)
        live = {service: MongoRegistry(database, service).read().live for service in read}
        with translated():
            dead_letters, closed = self._letters()
            documents = {
                name: _size(database[collection_of(name, live[service])])
                for service in read
                for name in PROJECTIONS[service].documents
            }
            outbox = database[OUTBOX].estimated_document_count()
            findings = {found["_id"]: found.get("count", 0) for found in database[FINDINGS].find().sort("_id", 1)}
            marked = {
                each["name"] for each in database.list_collections() if is_incomplete(each.get("options", {}))
            }
            now = server_time(database)
        return Status(
            time=now,
            partitions=self._partitions(read, live, positions),
            documents=documents,
            dead_letters=dead_letters,
            closed_letters=closed,
            outbox=outbox,
            beats=beats,
            plaintext=_counted(findings, PLAINTEXT),
            not_in_nfc=_not_in_nfc(findings, live["relations"]),
            incomplete=[
                service
                for service in read
                if any(collection_of(name, live[service]) in marked for name in PROJECTIONS[service].documents)
            ],
            lost_keys={tenant: count for tenant, count in _counted(findings, KEYS_LOST).items() if count},
            lost_tenant_keys=[tenant for tenant, count in _counted(findings, TENANT_KEYS_LOST).items() if count],
            restoring=restore_problems(database),
        )

    def _partitions(
        self, read: Mapping[str, Sequence[str]], live: Mapping[str, int], positions: Mapping[str, Document]
    ) -> list[PartitionStatus]:
        """The partitions of each service, with the ends that the logs have now."""
        with reaching_brokers():
            tps = partitions_of(self._consumer, [topic for names in read.values() for topic in names])
            firsts, ends = self._consumer.beginning_offsets(tps), self._consumer.end_offsets(tps)
        partitions = []
        for service, names in read.items():
            own = self._stored(service, live[service], (tp for tp in tps if tp.topic in names), positions)
            nexts = {tp: max(position.get("next") or 0, firsts[tp]) for tp, position in own.items()}
            own_ends = data_ends(self._settings, nexts, {tp: ends[tp] for tp in own})
            for tp, position in own.items():
                stored = position.get("next")
                partitions.append(
                    PartitionStatus(
                        service,
                        tp.topic,
                        tp.partition,
                        stored,
                        own_ends[tp],
                        own_ends[tp] - (firsts[tp] if stored is None else stored),
                        position.get("owner"),
                        position.get("moved"),
                    )
                )
        return partitions

    def _at_work(self, positions: Iterable[str], beats: Iterable[Document]) -> dict[str, list[str]]:
        """The topics of each projection that runs here: of a connector only where one has ever worked."""
        known = {id.partition("@")[0] for id in positions} | {beat["service"] for beat in beats}
        return {name: topics for name, topics in self._read.items() if name in CORE_PROJECTIONS or name in known}

    def _stored(
        self, service: str, version: int, tps: Iterable[TopicPartition], positions: Mapping[str, Document]
    ) -> dict[TopicPartition, Document]:
        """The positions of a service."""
        return {
            tp: positions.get(position_of(f"{service}@1/{tp.topic}/{tp.partition}", version), {}) for tp in tps
        }

    def _letters(self) -> tuple[dict[str, int], int]:
        """Open dead letters by reason, and the number of closed ones."""
        closed = {"$or": [{"$gt": ["$replayed_at", None]}, {"$gt": ["$discarded_at", None]}]}
        found = self._database[DEAD_LETTERS].aggregate(
            [{"$group": {"_id": {"reason": "$reason", "closed": closed}, "n": {"$sum": 1}}}]
        )
        rows = [(entry["_id"], entry["n"]) for entry in found]
        return (
            dict(sorted((key["reason"], n) for key, n in rows if not key["closed"])),
            sum(n for key, n in rows if key["closed"]),
        )


def _counted(findings: Mapping[str, int], kind: str) -> dict[str, int]:
    return {id.removeprefix(f"{kind}/"): count for id, count in findings.items() if id.startswith(f"{kind}/")}


def _not_in_nfc(findings: Mapping[str, int], live: int) -> dict[str, int]:
    # Those of another version than the live one do no harm.
    return {
        collection: count
        for name, count in _counted(findings, SPELLING).items()
        if count and name == collection_of(collection := name.partition("@")[0], live)
    }


def _size(collection: Collection[Document]) -> int:
    """The approximate number of documents. Unlike ``count`` it needs no right to read them."""
    try:
        with collection.aggregate([{"$collStats": {"count": {}}}]) as found:
            return sum(part["count"] for part in found)
    except OperationFailure as error:
        if error.code == _NAMESPACE_NOT_FOUND:
            return 0
        raise


def _rounded(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else round(milliseconds, 1)
