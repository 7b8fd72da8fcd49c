"""Queries against a real MongoDB, on documents that the projection made."""

import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import product
from typing import Any, get_args

import pytest
from pymongo.database import Database
from pymongo.errors import WriteError

from services.analytics.answers import Aggregate
from services.analytics.api import create_app
from services.analytics.dashboard.figures import FiguresQuery, FiguresReader
from services.analytics.measures.source import Measures
from services.analytics.parameters import Bucket, By, Period, period
from services.analytics.projection import AGGREGATES
from services.analytics.queries import AnalyticsQueries
from services.analytics.schema import COLLECTIONS
from services.exports.api import create_app as exports_app
from services.exports.source import Exports
from shared.contracts.errors import InvalidEvent
from shared.http.parameters import BadParameter
from shared.measures.days import Span
from shared.mongo.store import prepare
from shared.runtime.dead_letters import COLLECTION as DEAD_LETTERS
from shared.runtime.dead_letters import document
from shared.runtime.protocols import Partition, Record
from tests.support.analytics_driver import Driver, History, expected_sums, fact, get
from tests.support.builders import OPEN

ALWAYS = Period()


def store(database: Database[dict[str, Any]], history: History) -> AnalyticsQueries:
    """What the projection makes of a history, in collections with their validators and indexes."""
    prepare(database, COLLECTIONS)
    driver = Driver()
    for log in history.logs.values():
        driver.feed(log)
    for name, documents in driver.stored.items():
        if documents:
            database[name].insert_many(documents.values())
    return AnalyticsQueries(database)


def random_history(seed: int) -> History:
    chance, history = random.Random(seed), History()
    for number in range(400):
        consumer = f"c{chance.randrange(12)}"
        relation = f"r{chance.randrange(250)}"
        provider = chance.choice(["p1", "p1:x", "p1%", "p2", "é"])
        day, hour = chance.randrange(19, 22), chance.choice([0, 7, 8, 23])
        after = fact(provider, chance.choice(["view", "purchase"]), f"2026-11-{day}T{hour:02}:10:00Z")
        if after["kind"] == "purchase":
            after |= {"amount": chance.choice([0, 0, 5, -5, 1299]), "currency": chance.choice(["EUR", "USD"])}
        else:
            after |= {"rating": chance.randrange(6)}
        # Later events reach another partition than earlier ones, as after partitions were added.
        partition = int(consumer[1:]) % (2 if number < 200 else 3)
        known = ("default", consumer, relation) in history.live
        history.state(relation, None if known and chance.random() < 0.4 else after, consumer, partition=partition)
    return history


def pages(queries: AnalyticsQueries, limit: int, **query: Any) -> Iterator[Aggregate]:
    place = None
    while True:
        page = queries.aggregates("default", limit=limit, place=place, **query)
        assert len(page.items) <= limit
        yield from page.items
        if page.next is None:
            return
        assert len(page.items) == limit
        place = page.next


def flat(items: list[Aggregate], by: str) -> dict[tuple[str, ...], int]:
    """In the form of expected_sums."""
    sums: dict[tuple[str, ...], int] = {}
    for item in items:
        place = ("default", by, item.key, item.bucket[:10], item.bucket[11:13])
        numbers = {"count": item.count, "rating_count": item.rating_count, "rating_sum": item.rating_sum}
        for name, value in {**numbers, **item.amount, "consumers": item.consumers or 0}.items():
            if value:
                sums[*place, name] = value
        # A currency that an answer names has facts, also where they add up to 0.
        sums |= {(*place, currency, "facts"): 1 for currency in item.amount}
    return sums


@pytest.mark.parametrize("seed", [1, 2])
def test_every_page_of_everything_is_what_counting_the_facts_gives(
    mongo_database: Database[dict[str, Any]], seed: int
) -> None:
    history = random_history(seed)
    queries = store(mongo_database, history)
    expected = expected_sums(history.live.items())
    spans: list[tuple[str | None, str | None]] = [
        (None, None),
        ("2026-11-20", "2026-11-21"),
        ("2026-11-19T07:30:00Z", "2026-11-21T07:00:01Z"),
        ("2026-11-22", None),
    ]
    for by, bucket, limit, (from_, to) in product(get_args(By), get_args(Bucket), (1, 7, 1000), spans):
        span = period(from_, to)
        first, end = span.days if bucket == "day" else span.hours
        wanted = {
            place: 1 if place[-1] == "facts" else value
            for place, value in expected.items()
            if place[1] == by
            and (place[4] != "") == (bucket == "hour")
            and first <= (place[3] if bucket == "day" else f"{place[3]}T{place[4]}:00:00Z") < end
        }
        found = list(pages(queries, limit, by=by, key=None, bucket=bucket, period=span))
        assert flat(found, by) == wanted
        assert [(item.bucket, item.key) for item in found] == sorted({(item.bucket, item.key) for item in found})
        for key in {place[2] for place in wanted} if by != "total" else ():
            of_key = list(pages(queries, limit, by=by, key=key, bucket=bucket, period=span))
            assert of_key == [item for item in found if item.key == key]


@pytest.fixture
def market(mongo_database: Database[dict[str, Any]]) -> AnalyticsQueries:
    """c1 and c2 in partition 0, c3 in partition 1."""
    history = History()
    history.state("r1", fact("p1", "purchase", "2026-11-20T10:00:00Z", 1299, "EUR"), "c1")
    history.state("r2", fact("p1", "purchase", "2026-11-21T07:10:00Z", 701, "EUR"), "c1")
    history.state("r3", fact("p1", "review", "2026-11-21T08:00:00Z", rating=4), "c3", partition=1)
    history.state("r4", fact("p2", "purchase", "2026-11-21T07:59:00Z", 5000, "USD"), "c2")
    history.state("r5", fact("p2", "review", "2026-11-21T09:00:00Z", rating=5), "c2")
    history.state("r6", fact("p2", "review", "2026-11-21T09:00:00Z", rating=3), "c3", partition=1)
    history.state("r7", fact("p3", "review", "2026-11-22T09:00:00Z", rating=4), "c3", partition=1)
    history.state("r8", fact("p3", "view", "2026-11-22T09:00:00Z"), "c3", partition=1)
    history.state("r9", fact("p9", "view", "2026-11-21T09:00:00Z"), "c1", tenant="other")
    return store(mongo_database, history)


def test_a_provider_by_day_adds_up_its_partitions(market: AnalyticsQueries) -> None:
    page = market.aggregates("default", "provider", "p1", "day", ALWAYS, 100)
    assert [item.model_dump() for item in page.items] == [
        {
            "key": "p1",
            "bucket": "2026-11-20",
            "count": 1,
            "amount": {"EUR": 1299},
            "rating_count": 0,
            "rating_sum": 0,
            "consumers": 1,
        },
        {
            "key": "p1",
            "bucket": "2026-11-21",
            "count": 2,
            "amount": {"EUR": 701},
            "rating_count": 1,
            "rating_sum": 4,
            "consumers": 2,
        },
    ]
    assert page.next is None


def test_the_total_by_hour(market: AnalyticsQueries) -> None:
    span = period("2026-11-21T07:30:00Z", "2026-11-21T08:30:00Z")
    page = market.aggregates("default", "total", None, "hour", span, 100)
    assert [(item.bucket, item.count, item.amount, item.consumers) for item in page.items] == [
        ("2026-11-21T07:00:00Z", 2, {"EUR": 701, "USD": 5000}, None),
        ("2026-11-21T08:00:00Z", 1, {}, None),
    ]


def test_the_last_page_says_so(market: AnalyticsQueries) -> None:
    page = market.aggregates("default", "total", None, "day", ALWAYS, 3)
    assert ([item.bucket for item in page.items], page.next) == (["2026-11-20", "2026-11-21", "2026-11-22"], None)


def test_the_total_has_no_key(market: AnalyticsQueries) -> None:
    with pytest.raises(BadParameter, match=r"^key: must be left out"):
        market.aggregates("default", "total", "p1", "day", ALWAYS, 10)


def test_a_place_of_another_period_shows_nothing_of_that_period(market: AnalyticsQueries) -> None:
    late = market.aggregates("default", "provider", None, "day", ALWAYS, 3).next
    page = market.aggregates("default", "provider", None, "day", period(None, "2026-11-21"), 10, late)
    assert page.items == []


@pytest.mark.parametrize(
    ("measure", "currency", "ranking"),
    [
        ("count", None, [("p1", 3), ("p2", 3), ("p3", 2)]),
        ("amount", "EUR", [("p1", 2000)]),
        ("amount", "USD", [("p2", 5000)]),
        ("amount", "CHF", []),
        ("rating", None, [("p2", 4.0), ("p1", 4.0), ("p3", 4.0)]),
        ("consumers", None, [("p1", 2), ("p2", 2), ("p3", 1)]),
    ],
)
def test_top(
    market: AnalyticsQueries, measure: Any, currency: str | None, ranking: list[tuple[str, float]]
) -> None:
    top = market.top("default", "provider", measure, currency, ALWAYS, 10)
    assert [(item.key, item.value) for item in top.items] == ranking
    assert top.currency == currency
    for limit in range(1, 4):
        assert market.top("default", "provider", measure, currency, ALWAYS, limit).items == top.items[:limit]


def test_items_of_a_ranking_hold_all_sums(market: AnalyticsQueries) -> None:
    first = market.top("default", "provider", "consumers", None, ALWAYS, 1).items[0].model_dump()
    sums = {"key": "p1", "count": 3, "amount": {"EUR": 2000}, "rating_count": 1, "rating_sum": 4}
    assert first == {**sums, "value": 2, "consumers": 2}
    first = market.top("default", "provider", "count", None, ALWAYS, 1).items[0].model_dump()
    assert first == {**sums, "value": 3, "consumers": None}


def test_a_ranking_covers_whole_days_of_its_period_only(market: AnalyticsQueries) -> None:
    span = period("2026-11-21T23:00:00Z", "2026-11-22T00:00:00Z")
    assert [(i.key, i.value) for i in market.top("default", "provider", "count", None, span, 9).items] == [
        ("p2", 3),
        ("p1", 2),
    ]
    found = market.top("default", "provider", "consumers", None, span, 9)
    assert [(item.key, item.value, item.count) for item in found.items] == [("p1", 2, 2), ("p2", 2, 3)]


def test_the_only_currency_needs_no_name(market: AnalyticsQueries) -> None:
    top = market.top("default", "kind", "amount", None, period(None, "2026-11-21"), 9)
    assert ([(item.key, item.value) for item in top.items], top.currency) == ([("purchase", 1299)], "EUR")
    nothing = market.top("default", "kind", "amount", None, period("2026-11-22", None), 9)
    assert (nothing.items, nothing.currency) == ([], None)


def test_several_currencies_must_be_told_apart(market: AnalyticsQueries) -> None:
    with pytest.raises(BadParameter, match=r"^currency: is needed, because there are several: EUR, USD$"):
        market.top("default", "provider", "amount", None, ALWAYS, 9)


def test_money_that_cancels_out_is_ranked_with_its_currency(mongo_database: Database[dict[str, Any]]) -> None:
    history = History()
    for number, (provider, amount) in enumerate([("p1", 5), ("p1", -5), ("p2", 0), ("p3", -7), ("p4", 9)]):
        history.state(f"r{number}", fact(provider, "purchase", amount=amount, currency="EUR"))
    history.state("r5", fact("p5", "view"))
    history.state("r4", None, partition=1)
    queries = store(mongo_database, history)
    top = queries.top("default", "provider", "amount", None, ALWAYS, 9)
    assert [(item.key, item.value, item.amount) for item in top.items] == [
        ("p1", 0, {"EUR": 0}),
        ("p2", 0, {"EUR": 0}),
        ("p3", -7, {"EUR": -7}),
    ]
    source = Measures(mongo_database, str, str, lambda: datetime(2026, 11, 22, tzinfo=UTC)).of("default")
    span = Span(0, source.today)
    found = source.providers(span, None, None, "EUR")
    assert {provider: (sums["amount"], sums["paid"], sums["elsewhere"]) for provider, sums in found.items()} == {
        "p1": (0, 2, False),
        "p2": (0, 1, False),
        "p3": (-7, 1, False),
        "p5": (0, 0, False),
    }
    elsewhere = {p for p, sums in source.providers(span, None, None, "USD").items() if sums["elsewhere"]}
    assert elsewhere == {"p1", "p2", "p3"}
    assert source.currencies(span, None, None) == {"EUR": 0}
    figures = FiguresReader(mongo_database, str, str, lambda: datetime(2026, 11, 22, tzinfo=UTC))
    assert figures.read("default", FiguresQuery.model_validate({"kind": "purchase"})).total.amount == {"EUR": -7}
    exports = exports_app(Exports(mongo_database), list, access=OPEN)
    wanted = {"p1": ("EUR", 0), "p2": ("EUR", 0), "p3": ("EUR", -7), "p5": (None, None)}
    rows = get(exports, "/v1/export/aggregates", {"by": "provider", "format": "jsonl"}).text.splitlines()
    assert {row["key"]: (row.get("currency"), row.get("amount")) for row in map(json.loads, rows)} == wanted
    for order in ("day", "count"):  # as a stream, and grouped by MongoDB
        asked = {"$filter": "by eq 'provider'", "$orderby": order}
        fed = get(exports, "/odata/v1/Aggregates", asked).json()["value"]
        assert {row["key"]: (row["currency"], row["amount"]) for row in fed} == wanted


def test_distinct_consumers_are_ranked_for_providers_only(market: AnalyticsQueries) -> None:
    with pytest.raises(BadParameter, match=r"^by: must be provider"):
        market.top("default", "kind", "consumers", None, ALWAYS, 9)


def test_tenants_see_only_their_own(market: AnalyticsQueries) -> None:
    assert [item.key for item in market.top("other", "provider", "count", None, ALWAYS, 9).items] == ["p9"]
    assert [item.key for item in market.top("other", "provider", "consumers", None, ALWAYS, 9).items] == ["p9"]
    assert market.aggregates("nobody", "total", None, "day", ALWAYS, 9).items == []


@pytest.mark.usefixtures("market")
def test_the_validator_refuses_what_is_no_whole_number(mongo_database: Database[dict[str, Any]]) -> None:
    with pytest.raises(WriteError, match="Document failed validation"):
        mongo_database[AGGREGATES].update_one({"by": "total"}, {"$set": {"amount": {"EUR": 0.5}}})
    with pytest.raises(WriteError, match="Document failed validation"):
        mongo_database[AGGREGATES].update_one({"by": "total"}, {"$set": {"hours.24": {"count": 1}}})


@pytest.mark.parametrize("value", [None, b"\0\xff", b'{"tenant": "acme", "type": "x", "id": "e1"}'])
def test_the_validator_takes_every_dead_letter(
    mongo_database: Database[dict[str, Any]], value: bytes | None
) -> None:
    prepare(mongo_database, COLLECTIONS)
    key, headers = (None, ()) if value is None else (b"k", (("h", b""), ("kith-number", b"\xff")))
    record = Record(Partition("kith.relation-changes", 1), 2**40, -1, key, value, headers)
    for field in (None, "data.amount"):
        letter = document(record, InvalidEvent("invalid", "is wrong", field), "analytics")
        mongo_database[DEAD_LETTERS].replace_one({"_id": letter["_id"]}, letter, upsert=True)
    with pytest.raises(WriteError, match="Document failed validation"):
        mongo_database[DEAD_LETTERS].update_one({}, {"$set": {"value": "text"}})


def test_no_query_reads_more_than_its_part_of_the_collection(
    market: AnalyticsQueries, mongo_database: Database[dict[str, Any]]
) -> None:
    mongo_database.command("profile", 2)
    for by, key, bucket in (("provider", None, "day"), ("provider", None, "hour"), ("provider", "p1", "hour")):
        list(pages(market, 2, by=by, key=key, bucket=bucket, period=period("2026-11-20", "2026-11-22")))
    market.top("default", "provider", "consumers", None, ALWAYS, 10)
    mongo_database.command("profile", 0)
    plans = [
        entry["planSummary"]
        for entry in mongo_database["system.profile"].find(
            {"op": {"$in": ["query", "command"]}, "planSummary": {"$exists": True}}
        )
    ]
    assert len(plans) > 4
    assert not [plan for plan in plans if "COLLSCAN" in plan]
    assert (
        mongo_database["system.profile"].count_documents({"command.find": AGGREGATES, "hasSortStage": True}) == 0
    )


def test_over_http(market: AnalyticsQueries) -> None:
    app = create_app(market, list, access=OPEN)
    page = get(app, "/v1/aggregates", {"by": "provider", "key": "p2", "from": "2026-11-21"}).json()
    assert page == {
        "items": [
            {
                "key": "p2",
                "bucket": "2026-11-21",
                "count": 3,
                "amount": {"USD": 5000},
                "rating_count": 2,
                "rating_sum": 8,
                "consumers": 2,
            }
        ],
        "next": None,
    }
    hourly = {"by": "kind", "bucket": "hour"}
    first = get(app, "/v1/aggregates", {**hourly, "limit": "2"}).json()
    second = get(app, "/v1/aggregates", {**hourly, "limit": "1", "cursor": first["next"]}).json()
    assert [(item["bucket"], item["key"]) for item in first["items"] + second["items"]] == [
        ("2026-11-20T10:00:00Z", "purchase"),
        ("2026-11-21T07:00:00Z", "purchase"),
        ("2026-11-21T08:00:00Z", "review"),
    ]
    other = get(app, "/v1/top", {"measure": "consumers"}, {"Kith-Tenant": "other"})
    assert other.json()["items"][0]["key"] == "p9"
    several = get(app, "/v1/top", {"measure": "amount"})
    assert several.status_code == 400
    assert several.json()["detail"] == "currency: is needed, because there are several: EUR, USD"
