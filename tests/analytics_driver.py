"""Drives the analytics projection without servers: histories of facts in, stored documents out."""

import asyncio
import copy
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import httpx
import orjson
from fastapi import FastAPI

from services.analytics.projection import AGGREGATES, MARKS, PRESENCE, AnalyticsProjection
from shared.protocols import Document, Partition, Record, Write
from shared.topics import Topics

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
    """What the relations service would publish while facts come, change and go: one log per partition."""

    def __init__(self) -> None:
        self.logs: dict[int, list[Record]] = {}
        self.live: dict[tuple[str, str, str], Fact] = {}

    def state(
        self,
        relation: str,
        after: Fact | None,
        consumer: str = "c1",
        tenant: str = "default",
        partition: int = 0,
        index: int = 0,
        offset: int | None = None,
    ) -> Record:
        """The fact is now ``after`` (None: retracted). ``offset`` is that of the event behind the change."""
        place = (tenant, consumer, relation)
        before = self.live.pop(place, None)
        if after is not None:
            self.live[place] = after
        log = self.logs.setdefault(partition, [])
        origin = {
            "topic": "kith.relations",
            "partition": partition,
            "offset": 10 * len(log) if offset is None else offset,
            "index": index,
        }
        record = _record(partition, len(log), tenant, consumer, relation, before, after, origin)
        log.append(record)
        return record


def _record(
    partition: int,
    offset: int,
    tenant: str,
    consumer: str,
    relation: str,
    before: Fact | None,
    after: Fact | None,
    origin: Mapping[str, Any],
) -> Record:
    change = {
        "specversion": "1.0",
        "id": "{topic}/{partition}/{offset}/{index}".format(**origin),
        "source": "/kith/relations",
        "type": "relation.changed",
        "time": "2026-11-21T08:00:00Z",
        "tenant": tenant,
        "data": {
            "relation_id": relation,
            "consumer_id": consumer,
            "before": before,
            "after": after,
            "cause": {"source": "/shop", "id": "e"},
            "origin": origin,
        },
    }
    place = Partition("kith.relation-changes", partition)
    return Record(place, offset, 0, f"{tenant}:{consumer}".encode(), orjson.dumps(change))


class Driver:
    """A store of plain dicts that refuses a write whose ``before`` is not what is stored."""

    def __init__(self) -> None:
        self.stored: Stored = {AGGREGATES: {}, PRESENCE: {}, MARKS: {}}
        self._projection = AnalyticsProjection(Topics("kith"))

    def feed(self, records: Sequence[Record]) -> list[Write]:
        """Fold one slice of one partition; returns its writes."""
        assert len({record.partition for record in records}) == 1
        fold = self._projection.project([(record, self._projection.decode(record)) for record in records])
        ask = next(fold)
        try:
            while True:
                answer = {
                    name: {id: copy.deepcopy(self.stored[name][id]) for id in ids if id in self.stored[name]}
                    for name, ids in ask.ids.items()  # type: ignore[union-attr]
                }
                ask = fold.send(answer)
        except StopIteration as done:
            writes: list[Write] = done.value.writes
        for write in writes:
            documents = self.stored[write.collection]
            assert write.before == documents.get(write.id), "writes over a document that it has not read"
            assert write.before != write.after, "writes what is already there"
            if write.after is None:
                del documents[write.id]
            else:
                assert write.after["_id"] == write.id
                documents[write.id] = write.after
        return writes

    def aggregate(self, id: str) -> Document | None:
        return self.stored[AGGREGATES].get(id)


def stored(history: History) -> Stored:
    """What is stored after each partition's log is folded in one slice."""
    driver = Driver()
    for _, log in sorted(history.logs.items()):
        driver.feed(log)
    return driver.stored


def exact(stored: Stored) -> str:
    """All documents but the marks as text, so that the order of fields and keys counts, too."""
    kept = {name: dict(sorted(documents.items())) for name, documents in stored.items() if name != MARKS}
    return repr(kept)


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
