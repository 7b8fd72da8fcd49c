"""A market for the measures: raw events, what is left of them by pandas alone, and both services' documents."""

import random
from datetime import UTC, datetime, timedelta
from statistics import NormalDist
from typing import Any

import numpy as np
import pandas as pd
from fastapi import FastAPI
from pymongo.database import Database

from services.analytics.api import create_app as analytics_app
from services.analytics.measures.source import Measures as AnalyticsMeasures
from services.analytics.queries import AnalyticsQueries
from services.analytics.schema import COLLECTIONS
from services.relations.api import create_app as relations_app
from services.relations.cache import QueryCache
from services.relations.measures.source import Measures as RelationsMeasures
from services.relations.queries import Queries
from shared.contracts.events import Event, RelationRecorded, RelationRetracted
from shared.measures.computing import here
from shared.mongo.store import prepare
from shared.runtime.protocols import Document, Message
from tests.support.analytics_driver import TOPIC, Driver, get
from tests.support.builders import OPEN, STRENGTH, event
from tests.support.relations_driver import MongoKith

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
CATEGORIES = {
    f"p{at}": ["café"] if at % 3 == 0 else ["bakery", "café"] if at == 4 else ["garage"] for at in range(8)
}
PLACES: dict[str, Document] = {
    "c01": {"country": "France", "region": "Rhône", "city": "Lyon", "lat": 45.76, "lon": 4.84},
    "c02": {"country": "France", "region": "Rhône", "city": "Bron"},
    "c03": {"country": "Kenya", "city": "Nairobi", "lat": -1.29, "lon": 36.82},
}


def market(seed: int, relations: int = 700) -> list[Event]:
    """Events of two tenants, out of order and repeated: facts in several time zones, amendments, retractions,
    refunds, two currencies."""
    chance = random.Random(seed)
    events: list[Event] = []
    data: Document
    for provider, categories in CATEGORIES.items():
        data = {"provider_id": provider, "categories": categories, "location": PLACES["c01"]}
        events.append(event("provider.upserted", f"cat-{provider}", "2026-01-01T00:00:00Z", data))
    for consumer, location in PLACES.items():
        data = {"consumer_id": consumer, "location": location}
        events.append(event("consumer.upserted", f"crm-{consumer}", "2026-01-01T00:00:00Z", data))
    for number in range(relations):
        consumer = f"c{min(chance.randrange(40), chance.randrange(40)):02}"
        relation = f"r{chance.randrange(relations)}"
        tenant = chance.choice(["default"] * 6 + ["acme"])
        at = NOW - timedelta(days=chance.expovariate(1 / 60), seconds=chance.randrange(86_400))
        zone = chance.choice(["+00:00", "+05:30", "-08:00"])
        local = at + timedelta(hours={"+00:00": 0, "+05:30": 5.5, "-08:00": -8}[zone])
        time = local.replace(tzinfo=None).isoformat() + zone
        place = {"relation_id": relation, "consumer_id": consumer}
        if chance.random() < 0.1:
            events.append(event("relation.retracted", f"e{number}", time, place, tenant=tenant))
            continue
        data = {
            **place,
            "provider_id": f"p{chance.randrange(8)}",
            "kind": chance.choice(["purchase", "review", "view"]),
        }
        if data["kind"] == "purchase":
            data |= {"amount": chance.randrange(0, 9_000), "currency": chance.choice(["EUR", "EUR", "EUR", "USD"])}
            if chance.random() < 0.15:
                data |= {"kind": "refund", "amount": -chance.randrange(1, 3_000)}
        if data["kind"] == "review":
            data |= {"rating": chance.choice([1, 3, 4, 5, 5])}
        if chance.random() < 0.1:
            data |= {"occurred_at": (at - timedelta(days=chance.randrange(200))).isoformat()}
        events.append(event("relation.recorded", f"e{number}", time, data, tenant=tenant))
    events += chance.sample(events, 50)
    chance.shuffle(events)
    return events


def left(events: list[Event], tenant: str = "default") -> pd.DataFrame:
    """The facts that stand in the end, computed from the raw events alone: of a relation the latest counts."""
    latest: dict[tuple[str, str], Any] = {}
    for one in events:
        if isinstance(one, RelationRecorded | RelationRetracted) and one.tenant == tenant:
            place = one.data.consumer_id, one.data.relation_id
            known = latest.get(place)
            if known is None or (one.time, one.source, one.id) > (known.time, known.source, known.id):
                latest[place] = one
    rows = [
        {
            "consumer": one.data.consumer_id,
            "provider": one.data.provider_id,
            "kind": one.data.kind,
            "time": pd.Timestamp(one.data.occurred_at or one.time).tz_convert("UTC").floor("ms"),
            "amount": one.data.amount,
            "currency": one.data.currency,
            "rating": one.data.rating,
        }
        for one in latest.values()
        if isinstance(one, RelationRecorded)
    ]
    table = pd.DataFrame(rows).sort_values(["consumer", "time"], ignore_index=True)
    table["day"] = table["time"].dt.floor("D").dt.tz_localize(None)
    return table


def store(database: Database[Document], events: list[Event], *, sealed: bool = False) -> MongoKith:
    """What relations, and analytics after it, store of these events."""
    kith = MongoKith(database, sealed=sealed)
    kith.store(events)
    prepare(database, COLLECTIONS)
    driver = Driver()
    for partition, records in kith.memory.log.records.items():
        if partition.topic == TOPIC and records:
            driver.feed([Message(TOPIC, r.key, r.value or b"", partition.number, r.headers) for r in records])
    for name, documents in driver.stored.items():
        database[name].insert_many(documents.values())
    return kith


CAFES = {provider for provider, categories in CATEGORIES.items() if "café" in categories}


class World:
    """The raw events, their surviving facts as a frame, and both APIs over what the services made of them."""

    def __init__(self, database: Database[dict[str, Any]]) -> None:
        self.database = database
        self.events = market(11)
        self.table = left(self.events)
        store(database, self.events)
        queries = Queries(database, STRENGTH, QueryCache("off", 1))
        clock = lambda: NOW  # noqa: E731
        self.analytics = analytics_app(
            AnalyticsQueries(database), list, here(AnalyticsMeasures(database, str, str, clock).of), access=OPEN
        )
        self.relations = relations_app(
            queries, STRENGTH, list, clock, here(RelationsMeasures(database, str, clock).of), access=OPEN
        )


def ask(app: FastAPI, name: str, tenant: str = "default", **params: Any) -> Any:
    asked = {key.removesuffix("_"): str(value) for key, value in params.items()}
    answer = get(app, f"/v1/measures/{name}", asked, {"Kith-Tenant": tenant})
    assert answer.status_code == 200, answer.text
    return answer.json()


def chosen(table: pd.DataFrame, filters: dict[str, Any]) -> pd.DataFrame:
    if kind := filters.get("kind"):
        table = table[table["kind"] == kind]
    if filters.get("category"):
        table = table[table["provider"].isin(CAFES)]
    if provider := filters.get("provider_id"):
        table = table[table["provider"] == provider]
    return table


def moving(table: pd.DataFrame, first: str, end: str, baseline_days: int) -> pd.DataFrame:
    """Each provider's rate from ``first`` until before ``end`` against its ``baseline_days`` before, the clearest
    rise first: what the docstring of ``rising`` says, over facts."""
    begin, stop = pd.Timestamp(first), pd.Timestamp(end)
    days, long = (stop - begin).days, pd.Timedelta(days=baseline_days)
    now = table[(table["day"] >= begin) & (table["day"] < stop)].groupby("provider").size()
    then = table[(table["day"] >= begin - long) & (table["day"] < begin)].groupby("provider").size()
    found = pd.DataFrame({"count": now, "baseline": then}).fillna(0).astype(int)
    found["rate"], found["baseline_rate"] = found["count"] / days, found["baseline"] / baseline_days
    found["ratio"] = (found["rate"] / found["baseline_rate"]).where(found["baseline"] > 0)
    z2, n = NormalDist().inv_cdf(0.975) ** 2, found["count"] + found["baseline"]
    # Wilson's bounds are where (p − count/n)² = z² p (1 − p) / n; p/(1 − p) is the ratio in units of days.
    bounds = [
        np.sort(np.roots([1 + z2 / trials, -(2 * count + z2) / trials, (count / trials) ** 2]))
        for count, trials in zip(found["count"], n, strict=True)
    ]
    low, high = np.array(bounds).clip(0).T
    found["at_least"] = low / (1 - low) * baseline_days / days
    found["at_most"] = high / (1 - high).clip(1e-12) * baseline_days / days
    found.loc[found["baseline"] == 0, "at_most"] = None
    found = found.rename_axis("provider_id").reset_index()
    return found.sort_values(["at_least", "provider_id"], ascending=[False, True], ignore_index=True)
