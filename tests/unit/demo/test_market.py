"""The simulated market: repeatable, exactly as long as asked for, accepted by the schema, and disorderly."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.demo.disorder import FLAWED_EVERY
from services.demo.market import Emission, market
from services.demo.seasons import SPAN, Seasons
from services.demo.wire import APP, TILL, WEB, stamp
from shared.contracts.codec import decode_fields
from shared.contracts.errors import InvalidEvent
from shared.contracts.events import RelationRecorded, RelationRetracted

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
EVENTS = 20_000


@pytest.fixture(scope="module")
def emissions() -> list[Emission]:
    return list(market(EVENTS, seed=7, now=NOW))


@pytest.fixture(scope="module")
def good(emissions: list[Emission]) -> list[dict[str, Any]]:
    return [event for event, flaw in emissions if flaw is None]


def name(event: dict[str, Any]) -> tuple[str, str]:
    return event["source"], event["id"]


def version(event: dict[str, Any]) -> tuple[datetime, str, str]:
    return datetime.fromisoformat(event["time"]), event["source"], event["id"]


def fact(event: dict[str, Any]) -> tuple[str, str]:
    return event["data"]["consumer_id"], event["data"]["relation_id"]


@given(events=st.integers(0, 400), seed=st.integers(0, 2**32))
@settings(deadline=None, max_examples=30)
def test_exactly_as_many_events_as_asked_for_and_the_same_every_time(events: int, seed: int) -> None:
    once = list(market(events, seed, NOW))
    assert len(once) == events
    assert list(market(events, seed, NOW)) == once


def test_another_seed_is_another_market() -> None:
    assert list(market(50, 1, NOW)) != list(market(50, 2, NOW))


def test_the_tenant_is_written_only_when_given() -> None:
    assert all("tenant" not in event for event, _ in market(50, 1, NOW))
    assert {event["tenant"] for event, _ in market(50, 1, NOW, tenant="lake")} == {"lake"}


def test_the_schema_accepts_every_event_but_those_said_to_be_flawed(emissions: list[Emission]) -> None:
    refused = []
    for event, flaw in emissions:
        if flaw is None:
            decode_fields(event)
        else:
            with pytest.raises(InvalidEvent):
                decode_fields(event)
            refused.append(flaw)
    assert set(refused) == {"unknown type", "no provider", "amount without currency", "no offset"}
    assert EVENTS / FLAWED_EVERY / 2 < len(refused) < EVENTS / FLAWED_EVERY * 2


def test_times_span_eighteen_months_and_never_pass_now(good: list[dict[str, Any]]) -> None:
    times = sorted(datetime.fromisoformat(event["time"]) for event in good)
    assert NOW - SPAN <= times[0] < NOW - SPAN + timedelta(days=7)
    assert NOW - timedelta(days=7) < times[-1] < NOW
    august = sum(time.month == 8 and time.year == 2026 for time in times)
    february = sum(time.month == 2 for time in times)
    assert august > 1.3 * february
    assert sum(time.weekday() == 5 for time in times) > 1.3 * sum(time.weekday() == 6 for time in times)
    assert sum(time.hour == 16 for time in times) > 5 * sum(time.hour == 2 for time in times)


def test_the_funnel_narrows_and_money_goes_with_purchases(good: list[dict[str, Any]]) -> None:
    recorded = [event["data"] for event in good if event["type"] == "relation.recorded"]
    kinds = Counter(data["kind"] for data in recorded)
    assert kinds["view"] > kinds["purchase"] > kinds["review"] > kinds["subscribe"] > 0
    assert kinds["view"] > kinds["contact"] > 0
    assert {data["rating"] for data in recorded if "rating" in data} == {1, 2, 3, 4, 5}
    assert all(("amount" in data) == (data["kind"] in ("purchase", "subscribe")) for data in recorded)
    currencies = Counter(data["currency"] for data in recorded if "currency" in data)
    assert currencies["EUR"] > currencies["CHF"] > currencies["USD"] > 0


def test_few_are_popular_and_some_are_loyal(good: list[dict[str, Any]]) -> None:
    recorded = {fact(event): event["data"] for event in good if event["type"] == "relation.recorded"}
    providers = Counter(data["provider_id"] for data in recorded.values())
    busiest = sum(count for _, count in providers.most_common(len(providers) // 10))
    assert busiest > 0.25 * len(recorded)
    pairs = Counter((data["consumer_id"], data["provider_id"]) for data in recorded.values())
    assert max(pairs.values()) > 20
    assert sum(count <= 2 for count in pairs.values()) > 0.3 * len(pairs)


def test_disorder_comes_in_the_stated_measure(good: list[dict[str, Any]]) -> None:
    names = Counter(map(name, good))
    relations = [event for event in good if event["type"].startswith("relation.")]
    facts = {fact(event) for event in relations}
    retracted = {fact(event) for event in relations if event["type"] == "relation.retracted"}
    amended = {fact(event) for event in relations if "occurred_at" in event["data"]}
    assert 0.02 < (len(good) - len(names)) / len(facts) < 0.06
    assert 0.02 < len(retracted) / len(facts) < 0.04
    assert 0.03 < len(amended) / len(facts) < 0.08

    latest = datetime.min.replace(tzinfo=UTC)
    late = 0
    for event in relations:
        time = datetime.fromisoformat(event["time"])
        late += latest - time > timedelta(hours=6)
        latest = max(latest, time)
    assert late > 0.03 * len(relations)


def test_every_kind_of_trouble_occurs(good: list[dict[str, Any]]) -> None:
    seen: set[tuple[str, str]] = set()
    introduced: set[str] = set()
    trouble: Counter[str] = Counter()
    highest: dict[tuple[str, str], tuple[tuple[datetime, str, str], dict[str, Any]]] = {}
    for fields in {name(event): event for event in good}.values():
        event, data = decode_fields(fields), fields["data"]
        if event.type.endswith(".upserted"):
            introduced.add(data.get("consumer_id") or data["provider_id"])
        if isinstance(event, RelationRecorded):
            trouble["consumer unknown"] += data["consumer_id"] not in introduced
            trouble["provider unknown"] += data["provider_id"] not in introduced
        if isinstance(event, RelationRetracted):
            trouble["retracted before recorded"] += fact(fields) not in seen
        if isinstance(event, RelationRecorded | RelationRetracted):
            key = fact(fields)
            if key in highest:
                best, other = highest[key]
                trouble["outdated on arrival"] += version(fields) < best
                trouble["same instant"] += version(fields)[0] == best[0]
                trouble["other provider"] += data.get("provider_id", "") != other.get("provider_id", "")
                again = "occurred_at" in data and "reason" in other and version(fields) > best
                trouble["recorded again"] += again
            if key not in highest or version(fields) > highest[key][0]:
                highest[key] = (version(fields), data)
            seen.add(key)
        trouble["provider closed"] += event.type == "provider.closed"
        trouble["consumer erased"] += event.type == "consumer.erased"
    assert len(+trouble) == 9, trouble


def test_amendments_keep_the_original_time(good: list[dict[str, Any]]) -> None:
    originals = {
        fact(event): event["time"]
        for event in good
        if event["type"] == "relation.recorded" and "occurred_at" not in event["data"]
    }
    amendments = [event for event in good if "occurred_at" in event["data"] and fact(event) in originals]
    assert amendments
    for event in amendments:
        assert event["data"]["occurred_at"] == originals[fact(event)]
        # The tills write whole seconds.
        occurred = datetime.fromisoformat(event["data"]["occurred_at"])
        assert datetime.fromisoformat(event["time"]) > occurred - timedelta(seconds=1)


def test_each_source_writes_times_in_its_own_manner() -> None:
    time = 1_782_000_000_123_456  # 2026-06-21, summer time
    assert stamp(time, WEB) == "2026-06-21T00:00:00.123456Z"
    assert stamp(time, APP) == "2026-06-21T00:00:00.123Z"
    assert stamp(time, TILL) == "2026-06-21T02:00:00+02:00"


@given(st.lists(st.floats(0, 1, exclude_max=True), min_size=2, max_size=20))
def test_time_never_runs_backwards_with_progress(progress: list[float]) -> None:
    seasons = Seasons(NOW)
    times = [seasons.at(each) for each in sorted(progress)]
    assert times == sorted(times)
    assert seasons.begin <= times[0]
    assert times[-1] <= seasons.end
