"""Drives the analytics service without servers: histories of facts in, stored documents out."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import httpx
import orjson
from fastapi import FastAPI

from services.analytics.projection import AGGREGATES, PRESENCE, AnalyticsProjection
from services.analytics.schema import COLLECTIONS
from shared.contracts.topics import Topics
from shared.runtime.protocols import Document, Message, OutboxBatch, Partition, Slice, Write
from shared.runtime.runner import Runner
from shared.runtime.sequence_numbers import assign_numbers
from shared.testing.memory import MemoryLog, MemoryPublisher, MemoryReader, MemoryStore

TOPIC, DEAD_LETTERS = "kith.relation-changes", "kith.dead-letters"
PARTITIONS = 3

Stored = dict[str, dict[str, Document]]
Fact = dict[str, Any]


def fact(
    provider: str = "p1",
    kind: str = "view",
    time: str = "2026-11-21T07:30:00Z",
    amount: int | None = None,
    currency: str | None = None,
    rating: int | None = None,
) -> Fact:
    fields = {
        "provider_id": provider,
        "kind": kind,
        "time": time,
        "amount": amount,
        "currency": currency,
        "rating": rating,
    }
    return {name: value for name, value in fields.items() if value is not None}


class History:
    """What the relations service would publish while facts come, change and go: the messages of each
    partition, numbered."""

    def __init__(self) -> None:
        self.logs: dict[int, list[Message]] = {}
        self.live: dict[tuple[str, str, str], Fact] = {}

    def state(
        self,
        relation: str,
        after: Fact | None,
        consumer: str = "c1",
        tenant: str = "default",
        partition: int = 0,
    ) -> Message:
        """The fact is now ``after`` (None: retracted)."""
        place = (tenant, consumer, relation)
        before = self.live.pop(place, None)
        if after is not None:
            self.live[place] = after
        log = self.logs.setdefault(partition, [])
        value = _change(relation, consumer, tenant, before, after, partition, 10 * len(log))
        message = Message(TOPIC, f"{tenant}:{consumer}".encode(), value, partition)
        numbered, _ = assign_numbers([message], f"relations@1/kith.relations/{partition}", len(log))
        log += numbered
        return log[-1]


def _change(
    relation: str,
    consumer: str,
    tenant: str,
    before: Fact | None,
    after: Fact | None,
    partition: int,
    offset: int,
) -> bytes:
    return orjson.dumps(
        {
            "specversion": "1.0",
            "id": f"kith.relations/{partition}/{offset}",
            "source": "kith/relations",
            "type": "relation.changed",
            "time": "2026-11-21T08:00:00Z",
            "tenant": tenant,
            "data": {
                "relation_id": relation,
                "consumer_id": consumer,
                "before": before,
                "after": after,
                "cause": {"source": "/shop", "id": "e"},
                "origin": {"topic": "kith.relations", "partition": partition, "offset": offset, "index": 0},
            },
        }
    )


class _CheckedStore(MemoryStore):
    """Refuses a write over what was not read, and one that changes nothing. Keeps account of the writes."""

    def __init__(self) -> None:
        super().__init__(COLLECTIONS)
        self.writes: list[Write] = []

    def commit(self, slice: Slice) -> list[OutboxBatch]:
        for write in slice.outcome.writes:
            assert write.after is None or write.after["_id"] == write.id
            assert write.before == self.collections[write.collection].get(write.id), "writes what it has not read"
            assert write.before != write.after, "writes what is already there"
        unpublished = super().commit(slice)
        self.writes += slice.outcome.writes
        return unpublished


class Driver:
    """The runner of the analytics service on a log and a store in memory."""

    def __init__(self) -> None:
        self.log = MemoryLog({TOPIC: PARTITIONS, DEAD_LETTERS: 1})
        self.store = _CheckedStore()
        self.stored: Stored = {name: self.store.collections[name] for name in (AGGREGATES, PRESENCE)}
        reader = MemoryReader(self.log)
        self._runner = Runner(
            reader,
            self.store,
            MemoryPublisher(self.log),
            AnalyticsProjection(Topics()),
            owner="test",
            dead_letters=DEAD_LETTERS,
        )
        reader.assign(Partition(TOPIC, number) for number in range(PARTITIONS))
        self._runner.step(0)

    def feed(self, messages: Sequence[Message]) -> list[Write]:
        """Publish messages of one partition and fold them as one slice; returns the writes."""
        assert len({message.partition for message in messages}) == 1
        records = [self.log.append(message) for message in messages]
        partition = records[0].partition
        before = len(self.store.writes)
        self._runner.step(0)
        progress = self.store.positions[f"analytics@1/{partition}"].progress
        assert progress.next == self.log.end(partition), "not all of it was one slice"
        return self.store.writes[before:]

    def aggregate(self, id: str) -> Document | None:
        return self.stored[AGGREGATES].get(id)


def stored(history: History) -> Stored:
    """What is stored after each partition's log is folded in one slice."""
    driver = Driver()
    for _, log in sorted(history.logs.items()):
        driver.feed(log)
    return driver.stored


def exact(stored: Stored) -> str:
    """All documents as text, so that the order of fields and keys counts, too."""
    return repr({name: dict(sorted(documents.items())) for name, documents in stored.items()})


def expected_sums(live: Iterable[tuple[tuple[str, str, str], Fact]]) -> dict[tuple[str, ...], int]:
    """Counted from the live facts alone: (tenant, by, key, day, hour or "", name of the number) → value."""
    sums: Counter[tuple[str, ...]] = Counter()
    consumers: dict[tuple[str, ...], set[str]] = {}
    for (tenant, consumer, _), fact in live:
        time = datetime.fromisoformat(fact["time"]).astimezone(UTC)
        day, hour = time.date().isoformat(), f"{time.hour:02d}"
        keys = {
            "total": "",
            "kind": fact["kind"],
            "provider": fact["provider_id"],
            "consumer": consumer,
            "provider_kind": fact["provider_id"] + ":" + fact["kind"],
        }
        for by, key in keys.items():
            for span in ("", hour):
                sums[tenant, by, key, day, span, "count"] += 1
                if "amount" in fact:
                    sums[tenant, by, key, day, span, fact["currency"]] += fact["amount"]
                    sums[tenant, by, key, day, span, fact["currency"], "facts"] += 1
                if "rating" in fact:
                    sums[tenant, by, key, day, span, "rating_count"] += 1
                    sums[tenant, by, key, day, span, "rating_sum"] += fact["rating"]
            if by in ("total", "provider"):
                consumers.setdefault((tenant, by, key, day, "", "consumers"), set()).add(consumer)
    sums.update({place: len(who) for place, who in consumers.items()})
    return {place: value for place, value in sums.items() if value}


def summed(stored: Stored) -> dict[tuple[str, ...], int]:
    """The stored documents in the same form, added up over their partitions."""
    sums: Counter[tuple[str, ...]] = Counter()
    for document in stored[AGGREGATES].values():
        place = (document["tenant"], document["by"], document["key"], document["day"])
        for span, numbers in (("", document), *document["hours"].items()):
            for name in ("count", "rating_count", "rating_sum", "consumers"):
                sums[*place, span, name] += numbers.get(name, 0)
            for currency, amount in numbers.get("amount", {}).items():
                sums[*place, span, currency] += amount
                # Left out where every fact has the currency.
                facts = numbers.get("amount_count", {}).get(currency, numbers["count"])
                sums[*place, span, currency, "facts"] += facts
    return {place: value for place, value in sums.items() if value}


def get(
    app: FastAPI, path: str, params: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None
) -> httpx.Response:
    """GET from an application in this process."""

    async def answer() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://analytics") as client:
            return await client.get(path, params=params, headers=headers)

    return asyncio.run(answer())
