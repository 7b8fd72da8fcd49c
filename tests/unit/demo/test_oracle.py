"""The demo's oracle, on histories small enough to work out by hand."""

import json
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.demo.changelog import ChangeLog, Logged
from services.demo.comparison import MOST_SHOWN, Findings, Weights, compare_documents
from services.demo.market import market
from services.demo.oracle import Expected, Oracle
from shared.contracts.codec import decode_fields, encode
from shared.contracts.events import Event
from shared.erasure.records import hashed
from tests.support import strategies
from tests.support.builders import renamed, stored_state

Document = dict[str, Any]
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
KEY = ("default", "ada", "r1")


def event(type: str, time: str, id: str = "1", source: str = "shop", **data: Any) -> Document:
    return {"specversion": "1.0", "id": id, "source": source, "type": type, "time": time, "data": data}


def recorded(time: str, id: str = "1", source: str = "shop", relation_id: str = "r1", **data: Any) -> Document:
    data = {"kind": "purchase", "consumer_id": "ada", "provider_id": "bakery", **data}
    return event("relation.recorded", time, id, source, relation_id=relation_id, **data)


def retracted(time: str, id: str = "1", source: str = "shop", **data: Any) -> Document:
    return event("relation.retracted", time, id, source, relation_id="r1", consumer_id="ada", **data)


def fold(*events: Document) -> Expected:
    oracle = Oracle()
    for each in events:
        oracle.add(each)
    return oracle.expected()


def milliseconds(text: str) -> int:
    return (datetime.fromisoformat(text) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


def test_one_purchase() -> None:
    expected = fold(recorded("2026-03-01T00:30:00.123456+01:00", amount=1299, currency="EUR", traits={"a": 1}))
    time = milliseconds("2026-02-28T23:30:00.123Z")
    cell = {"count": 1, "amount": {"EUR": 1299}}
    assert expected.facts == {
        KEY: {
            "tenant": "default",
            "relation_id": "r1",
            "consumer_id": "ada",
            "provider_id": "bakery",
            "kind": "purchase",
            "time": time,
            "retracted": False,
            "amount": 1299,
            "currency": "EUR",
            "traits": {"a": 1},
            "version": {"time": time * 1000 + 456, "source": "shop", "id": "1"},
        }
    }
    assert expected.relationships == {
        ("default", "ada", "bakery"): {
            "tenant": "default",
            "consumer_id": "ada",
            "provider_id": "bakery",
            "count": 1,
            "first": time,
            "last": time,
            "kinds": {"purchase": {"2026-02": cell}},
        }
    }
    day = {**cell, "hours": {"23": cell}}
    assert expected.aggregates == {
        ("default", "total", "", "2026-02-28"): {**day, "consumers": 1},
        ("default", "kind", "purchase", "2026-02-28"): day,
        ("default", "provider", "bakery", "2026-02-28"): {**day, "consumers": 1},
        ("default", "consumer", "ada", "2026-02-28"): day,
        ("default", "provider_kind", "bakery:purchase", "2026-02-28"): day,
    }


def test_sums_by_month_day_and_hour() -> None:
    expected = fold(
        recorded("2026-03-01T10:00:00Z", amount=100, currency="EUR"),
        recorded("2026-03-01T10:59:59.999999Z", "2", relation_id="r2", amount=50, currency="CHF"),
        recorded("2026-03-01T11:00:00Z", "3", relation_id="r3", kind="review", rating=4),
        recorded("2026-04-02T11:00:00Z", "4", relation_id="r4", kind="review", rating=0),
        recorded("2026-03-01T12:00:00Z", "5", relation_id="r5", consumer_id="bob", amount=1, currency="EUR"),
    )
    pair = expected.relationships["default", "ada", "bakery"]
    assert pair["count"] == 4
    assert pair["first"] == milliseconds("2026-03-01T10:00:00Z")
    assert pair["last"] == milliseconds("2026-04-02T11:00:00Z")
    assert pair["kinds"] == {
        "purchase": {
            "2026-03": {"count": 2, "amount": {"EUR": 100, "CHF": 50}, "amount_count": {"EUR": 1, "CHF": 1}}
        },
        "review": {
            "2026-03": {"count": 1, "rating_count": 1, "rating_sum": 4},
            "2026-04": {"count": 1, "rating_count": 1},
        },
    }
    assert expected.aggregates["default", "total", "", "2026-03-01"] == {
        "count": 4,
        "amount": {"EUR": 101, "CHF": 50},
        "amount_count": {"EUR": 2, "CHF": 1},
        "rating_count": 1,
        "rating_sum": 4,
        "consumers": 2,
        "hours": {
            "10": {"count": 2, "amount": {"EUR": 100, "CHF": 50}, "amount_count": {"EUR": 1, "CHF": 1}},
            "11": {"count": 1, "rating_count": 1, "rating_sum": 4},
            "12": {"count": 1, "amount": {"EUR": 1}},
        },
    }
    assert expected.aggregates["default", "provider_kind", "bakery:review", "2026-04-02"]["count"] == 1


def test_an_amendment_moves_the_fact_to_another_provider_and_keeps_its_time() -> None:
    expected = fold(
        recorded("2026-03-01T10:00:00Z", amount=100, currency="EUR"),
        recorded("2026-03-05T10:00:00Z", "2", provider_id="cafe", occurred_at="2026-03-01T10:00:00Z"),
    )
    assert set(expected.relationships) == {("default", "ada", "cafe")}
    fact = expected.facts[KEY]
    assert fact["time"] == milliseconds("2026-03-01T10:00:00Z")
    assert "amount" not in fact  # an amendment states the whole fact
    assert {key[3] for key in expected.aggregates} == {"2026-03-01"}


def test_a_retraction_before_the_record_leaves_only_a_tombstone() -> None:
    expected = fold(retracted("2026-03-02T10:00:00Z", reason="fraud"), recorded("2026-03-01T10:00:00Z", "2"))
    version = {"time": milliseconds("2026-03-02T10:00:00Z") * 1000, "source": "shop", "id": "1"}
    assert expected.tombstones == {
        KEY: {
            "tenant": "default",
            "relation_id": "r1",
            "consumer_id": "ada",
            "retracted": True,
            "reason": "fraud",
            "version": version,
        }
    }
    assert not expected.facts
    assert not expected.relationships
    assert not expected.aggregates


def test_a_later_record_revives_a_retracted_fact() -> None:
    expected = fold(
        recorded("2026-03-03T10:00:00Z", "3", occurred_at="2026-03-01T10:00:00Z"),
        retracted("2026-03-02T10:00:00Z", "2"),
        recorded("2026-03-01T10:00:00Z", "1"),
    )
    assert not expected.tombstones
    assert expected.facts[KEY]["version"]["id"] == "3"
    assert expected.relationships["default", "ada", "bakery"]["count"] == 1


def test_a_duplicate_changes_nothing() -> None:
    once = recorded("2026-03-01T10:00:00Z", amount=100, currency="EUR")
    assert fold(once, deepcopy(once), once) == fold(once)


@pytest.mark.parametrize(
    ("one", "other", "winner"),
    [
        (("shop", "9"), ("till", "1"), "till"),  # the source decides before the id
        (("shop", "10"), ("shop", "9"), "9"),  # as text
    ],
)
def test_a_tie_of_times_goes_to_the_higher_source_then_id(
    one: tuple[str, str], other: tuple[str, str], winner: str
) -> None:
    # The same instant, written with two offsets.
    first = recorded("2026-03-01T10:00:00Z", one[1], one[0], amount=1, currency="EUR")
    second = recorded("2026-03-01T11:00:00+01:00", other[1], other[0], amount=2, currency="EUR")
    for order in ((first, second), (second, first)):
        fact = fold(*order).facts[KEY]
        assert fact["amount"] == 2
        assert winner in (fact["version"]["source"], fact["version"]["id"])


def test_times_are_ordered_to_the_microsecond() -> None:
    expected = fold(
        recorded("2026-03-01T10:00:00.000002Z", "1", amount=2, currency="EUR"),
        recorded("2026-03-01T10:00:00.000001Z", "2", amount=1, currency="EUR"),
    )
    assert expected.facts[KEY]["amount"] == 2


def test_fields_of_a_consumer_win_each_on_its_own() -> None:
    expected = fold(
        event("consumer.upserted", "2026-03-02T00:00:00Z", "2", consumer_id="ada", location={"city": "Ulm"}),
        event(
            "consumer.upserted",
            "2026-03-01T00:00:00Z",
            consumer_id="ada",
            location={"city": "Bonn", "lat": 1.0, "lon": 2.0},
            personal={"name": "Ada"},
            consent={"sms": True},
        ),
        event("consumer.upserted", "2026-03-02T00:00:00Z", "3", consumer_id="ada", consent={"sms": None}),
    )
    first, second = (milliseconds(f"2026-03-0{day}T00:00:00Z") * 1000 for day in (1, 2))
    assert expected.consumers["default", "ada"] == {
        "tenant": "default",
        "consumer_id": "ada",
        "personal": {"name": "Ada"},
        "location": {"city": "Ulm", "lat": 1.0, "lon": 2.0},
        "versions": [
            {"time": first, "source": "shop", "id": "1", "fields": ["location.point", "personal.name"]},
            {"time": second, "source": "shop", "id": "2", "fields": ["location.city"]},
            {"time": second, "source": "shop", "id": "3", "fields": ["consent.sms"]},
        ],
    }


def test_an_anonymised_consumer_stays_erased_and_the_facts_are_the_pseudonyms() -> None:
    expected = fold(
        event("consumer.erased", "2026-03-01T00:00:00Z", consumer_id="ada", mode="anonymise"),
        event("consumer.upserted", "2026-03-02T00:00:00Z", "2", consumer_id="ada", personal={"name": "Ada"}),
        recorded("2026-03-03T00:00:00Z", "3"),
    )
    erased = {"tenant": "default", "consumer_id": "ada", "erased": "anonymise"}
    assert expected.consumers == {("default", "ada"): erased}
    name, relation = hashed("default", "ada"), renamed("default", "ada", KEY[2])
    assert set(expected.facts) == {("default", name, relation)}
    assert {key[1] for key in expected.relationships} == {name}


def test_with_delete_nothing_of_the_consumer_has_ever_been() -> None:
    kept = recorded("2026-03-01T00:00:00Z", consumer_id="bob")
    modes = ("anonymise", "delete")
    erased = [event("consumer.erased", "2026-03-01T00:00:00Z", m, consumer_id="ada", mode=m) for m in modes]
    for one, other in (erased, erased[::-1]):
        expected = fold(one, kept, recorded("2026-03-03T00:00:00Z", "3"), other)
        alone = fold(kept)
        assert (expected.facts, expected.relationships) == (alone.facts, alone.relationships)
        assert expected.aggregates == alone.aggregates
        assert expected.consumers["default", "ada"]["erased"] == "delete"


def test_facts_of_a_part_of_the_log_follow_the_order_to_erase() -> None:
    oracle = Oracle(ordered=True)
    oracle.add(recorded("2026-03-03T00:00:00Z"))
    oracle.add(event("consumer.erased", "2026-03-01T00:00:00Z", consumer_id="ada", mode="delete"))
    assert set(oracle.expected().facts) == {KEY}
    oracle.add(event("relation.subject_erased", "2026-03-01T00:00:00Z", consumer_id="ada", mode="delete"))
    assert not oracle.expected().facts


def test_the_latest_event_says_whether_a_provider_is_closed() -> None:
    opened = event("provider.upserted", "2026-03-01T00:00:00Z", provider_id="cafe", name="Café")
    closed = event("provider.closed", "2026-03-02T00:00:00Z", "2", provider_id="cafe")
    again = event("provider.upserted", "2026-03-03T00:00:00Z", "3", provider_id="cafe", categories=["cafe"])
    late = fold(closed, opened).providers["default", "cafe"]
    assert (late["name"], late["closed"], late["versions"][1]["fields"]) == ("Café", True, ["closed"])
    reopened = fold(closed, again, opened).providers["default", "cafe"]
    assert (reopened["name"], reopened["categories"], reopened["closed"]) == ("Café", ["cafe"], False)


def test_tenants_are_apart() -> None:
    expected = fold(recorded("2026-03-01T00:00:00Z"), {**recorded("2026-03-01T00:00:00Z"), "tenant": "other"})
    assert expected.tenants == {"default", "other"}
    assert len(expected.facts) == len(expected.relationships) == 2


def test_what_it_cannot_fold_is_refused() -> None:
    with pytest.raises(ValueError, match="does not fold"):
        Oracle().add(event("relation.liked", "2026-03-01T00:00:00Z"))


@given(seed=st.integers(0, 1000), random=st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=20)
def test_neither_order_nor_repetition_shows(seed: int, random: Any) -> None:
    events = [each for each, flaw in market(200, seed, NOW) if flaw is None]
    shuffled = events + random.sample(events, 20)
    random.shuffle(shuffled)
    assert fold(*shuffled) == fold(*events)


# Comparing what is stored.


def stored(expected: Expected) -> dict[str, list[Document]]:
    """The documents as MongoDB would give them, the aggregates cut into two partitions where they can be."""

    def date(time: int) -> datetime:
        return datetime.fromtimestamp(time // 1000, UTC).replace(tzinfo=None, microsecond=time % 1000 * 1000)

    def dated(document: Document, *fields: str) -> Document:
        return {"_id": "x", **document, **{name: date(document[name]) for name in fields if name in document}}

    aggregates = []
    for (tenant, by, key, day), document in expected.aggregates.items():
        place = {"_id": "x", "tenant": tenant, "by": by, "key": key, "day": day}
        sums = {name: value for name, value in document.items() if name != "hours"}
        hours = list(document["hours"].items())
        if document["count"] == 1 or len(hours) == 1:
            aggregates.append({**place, "partition": 0, **deepcopy(document)})
            continue
        aggregates.append({**place, "partition": 0, **sums, "hours": dict(hours[:1])})
        aggregates.append({**place, "partition": 1, "count": 0, "amount": {"EUR": 0}, "hours": dict(hours[1:])})
    facts = [*expected.facts.values(), *expected.tombstones.values()]
    pairs = expected.relationships.values()
    return deepcopy(
        {
            "consumers": [{"_id": "x", **each} for each in expected.consumers.values()],
            "providers": [{"_id": "x", **each} for each in expected.providers.values()],
            "relations": [dated(each, "time") for each in facts],
            "relationships": [
                {
                    **dated({**each, "fingerprint": 1}, "first", "last"),
                    **({"between": [date(time) for time in each["between"]]} if "between" in each else {}),
                }
                for each in pairs
            ],
            "aggregates": aggregates,
        }
    )


HISTORY = (
    recorded("2026-03-01T10:00:00.123Z", amount=100, currency="EUR"),
    recorded("2026-03-01T11:00:00Z", "2", relation_id="r2", kind="review", rating=4),
    event("consumer.upserted", "2026-03-02T00:00:00Z", "3", consumer_id="ada", location={"city": "Ulm"}),
    event("consumer.erased", "2026-03-02T00:00:00Z", "3", consumer_id="bob", mode="anonymise"),
    event("provider.closed", "2026-03-02T00:00:00Z", "4", provider_id="bakery"),
    {**retracted("2026-03-04T10:00:00Z", "5"), "tenant": "other"},
)


def compared(change: Any = None) -> Findings:
    expected = fold(*HISTORY)
    documents = stored(expected)
    if change is not None:
        change(documents)
    return compare_documents(expected, documents)


def test_what_should_be_stored_is_found_exact() -> None:
    findings = compared()
    assert findings.exact, findings.differences
    found = {"consumers": 2, "providers": 1, "relations": 3, "relationships": 1, "facts": 2, "aggregates": 7}
    assert findings.found == found


def test_a_whole_market_compares_exact() -> None:
    expected = fold(*(each for each, flaw in market(3_000, 5, NOW) if flaw is None))
    findings = compare_documents(expected, stored(expected))
    assert findings.exact, findings.differences
    assert findings.found["facts"] == len(expected.facts) > 2_000


@given(st.lists(strategies.events(), max_size=25))
@settings(max_examples=150)
def test_the_services_store_what_the_oracle_expects(history: list[Event]) -> None:
    # Of one version there is one event: which of several counts, the oracle leaves open.
    wire = [{**json.loads(encode(one)), "id": f"e{number}"} for number, one in enumerate(history)]
    expected = fold(*wire)
    expected.aggregates.clear()
    documents = stored_state(decode_fields(fields) for fields in wire)
    found = {name: documents[name].values() for name in ("consumers", "providers", "relations", "relationships")}
    findings = compare_documents(expected, {**found, "aggregates": []})
    assert findings.exact, findings.differences


def test_a_group_keeps_the_fields_that_were_stated_latest() -> None:
    old = event(
        "consumer.upserted", "2026-03-01T00:00:00Z", consumer_id="ada", traits={f"a{n}": n for n in range(100)}
    )
    new = event("consumer.upserted", "2026-03-02T00:00:00Z", "2", consumer_id="ada", traits={"b": 1, "c": None})
    for events in ((old, new), (new, old), (new, old, new)):
        traits = fold(*events).consumers["default", "ada"]["traits"]
        assert (len(traits), "a0" in traits, "a1" in traits, "a10" in traits) == (99, False, False, True)


def test_an_erased_consumer_may_keep_empty_versions() -> None:
    assert compared(lambda documents: documents["consumers"][1].update(versions={})).exact


@pytest.mark.parametrize(
    ("collection", "change", "field", "expected", "found"),
    [
        ("relations", {"amount": 101}, "amount", 100, 101),
        ("relations", {"text": "?"}, "text", None, "?"),
        (
            "relationships",
            {"first": datetime(2026, 3, 1, 10, tzinfo=UTC)},
            "first",
            1772359200123,
            1772359200000,
        ),
        ("consumers", {"location": {"city": "Bonn"}}, "location", {"city": "Ulm"}, {"city": "Bonn"}),
        ("providers", {"closed": False}, "closed", True, False),
        ("aggregates", {"consumers": 2}, "consumers", 1, 2),
    ],
)
def test_a_wrong_field_is_named(collection: str, change: Document, field: str, expected: Any, found: Any) -> None:
    findings = compared(lambda documents: documents[collection][0].update(change))
    assert findings.total == 1
    (difference,) = findings.differences
    assert (difference.collection, difference.field) == (collection, field)
    assert (difference.expected, difference.stored) == (expected, found)
    assert field in str(difference)


def test_a_wrong_hour_is_found() -> None:
    findings = compared(lambda documents: documents["aggregates"][0]["hours"]["10"].update(count=2))
    assert [difference.field for difference in findings.differences] == ["hours"]


@pytest.mark.parametrize("collection", ["consumers", "providers", "relations", "relationships", "aggregates"])
def test_a_missing_and_a_surplus_document_are_found(collection: str) -> None:
    missing = compared(lambda documents: documents[collection].pop())
    assert any(each.collection == collection and each.stored is None for each in missing.differences)

    def add(documents: dict[str, list[Document]]) -> None:
        names = {"consumer_id": "eve", "provider_id": "eve", "relation_id": "eve", "key": "eve"}
        documents[collection].append({**documents[collection][-1], **names})

    surplus = compared(add)
    assert any(each.collection == collection and each.expected is None for each in surplus.differences)


def test_a_document_stored_twice_is_found() -> None:
    assert not compared(lambda documents: documents["relations"].append(documents["relations"][0])).exact


def test_sums_must_count_the_stored_facts() -> None:
    findings = compared(lambda documents: documents["relationships"].clear())
    wrong = compared(lambda documents: documents["relationships"][0].update(count=9))
    assert "relationships" in {each.collection for each in findings.differences}
    assert {(each.field, each.expected, each.stored) for each in wrong.differences} == {
        ("count", 2, 9),
        ("Σ count", 2, 9),
    }


def test_only_the_first_differences_are_kept_but_all_are_counted() -> None:
    expected = fold(*(recorded("2026-03-01T10:00:00Z", relation_id=f"r{n}") for n in range(MOST_SHOWN + 9)))
    findings = compare_documents(expected, {**stored(expected), "relations": []})
    assert len(findings.differences) == MOST_SHOWN
    assert findings.total > MOST_SHOWN + 9
    assert not findings.exact


def test_scores_must_agree_up_to_one_landmark() -> None:
    expected = fold(
        recorded("2026-03-01T10:00:00Z"),
        recorded("2026-09-01T10:00:00Z", "2", relation_id="r2", provider_id="cafe"),
        recorded("2026-09-01T10:00:00Z", "3", relation_id="r3", provider_id="inn", kind="view"),
    )
    # Half a year is one half-life, so the café is 1 higher; a view weighs an eighth of a purchase: 3 lower.
    for scores, wrong in (((7.0, 8.0, 5.0), []), ((7.0, 8.0, 5.1), [5.0]), ((7.0, 9.0, 5.0), [8.0])):
        documents = stored(expected)
        for document, score in zip(documents["relationships"], scores, strict=True):
            document["score"] = score
        findings = compare_documents(expected, documents, Weights({"purchase": 4.0, "view": 0.5}, 6.0))
        assert [each.expected for each in findings.differences] == wrong


# The change log.


def change(offset: int, before: Document | None, after: Document | None, relation_id: str = "r1") -> Document:
    origin = {"topic": "kith.relations", "partition": 0, "offset": offset, "index": 0}
    data = {
        "relation_id": relation_id,
        "consumer_id": "ada",
        "before": before,
        "after": after,
        "origin": origin,
    }
    return {"id": f"kith.relations/0/{offset}", "tenant": "default", "data": data}


BOUGHT = {"provider_id": "bakery", "kind": "purchase", "time": "2026-03-01T10:00:00+00:00"}
CORRECTED = {**BOUGHT, "amount": 5, "currency": "EUR", "rating": None}
STATE = fold(
    recorded("2026-03-02T10:00:00Z", "2", amount=5, currency="EUR", occurred_at="2026-03-01T10:00:00Z"),
    {**retracted("2026-03-04T10:00:00Z", "3"), "data": {"relation_id": "r2", "consumer_id": "ada"}},
)
GOOD = (
    change(0, None, BOUGHT),
    change(1, None, BOUGHT, "r2"),
    change(3, BOUGHT, CORRECTED),
    change(4, BOUGHT, None, "r2"),
)


def judged(*changes: Document, partition: int = 0) -> Findings:
    log = ChangeLog(STATE)
    log.read(Logged(partition, each) for each in changes)
    return log.judge()


def test_changes_that_join_up_and_end_in_the_state_are_right() -> None:
    findings = judged(*GOOD)
    assert findings.exact, findings.differences
    assert findings.found["changes"] == 4


def test_a_repeated_change_counts_once_and_another_tenants_not_at_all() -> None:
    other = {**change(9, BOUGHT, None), "tenant": "probe"}
    findings = judged(*GOOD[:2], *GOOD, *GOOD[1:], other)
    assert findings.exact
    assert findings.found["changes"] == 4


@pytest.mark.parametrize(
    "changes",
    [
        GOOD[1:],  # the first is missing
        (*GOOD[:2], GOOD[3]),  # one in the middle is missing
        GOOD[:3],  # the last is missing
        (),  # all are
        (*GOOD, change(5, None, BOUGHT, "r3")),  # of a fact that should not be
        (*GOOD, change(4, BOUGHT, CORRECTED, "r2")),  # two from one origin that differ
    ],
)
def test_a_broken_chain_is_found(changes: tuple[Document, ...]) -> None:
    assert not judged(*changes).exact


def test_a_change_in_a_partition_that_is_not_its_origins_is_found() -> None:
    assert {each.field for each in judged(*GOOD, partition=1).differences} == {"origin.partition"}
