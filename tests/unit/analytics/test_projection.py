"""Single changes and their hand-computed documents."""

import json

import pytest

from services.analytics.partials import day_and_hour, hour_number
from services.analytics.projection import AGGREGATES, PRESENCE, AnalyticsProjection
from shared.contracts.changes import decode_change
from shared.contracts.errors import InvalidEvent
from shared.contracts.topics import Topics
from shared.runtime.protocols import Partition, Record
from tests.support.analytics_driver import Driver, History, exact, fact, stored

TOTAL = "default:total::2026-11-21:0"
PROVIDER = "default:provider:p1:2026-11-21:0"


def purchase(amount: int, time: str = "2026-11-21T07:30:00Z", currency: str = "EUR") -> dict[str, object]:
    return fact(kind="purchase", amount=amount, currency=currency, time=time)


def test_one_purchase_is_counted_in_five_documents() -> None:
    history = History()
    history.state("r1", purchase(1299))
    found = stored(history)

    assert found[AGGREGATES][PROVIDER] == {
        "_id": PROVIDER,
        "tenant": "default",
        "by": "provider",
        "key": "p1",
        "day": "2026-11-21",
        "partition": 0,
        "count": 1,
        "amount": {"EUR": 1299},
        "consumers": 1,
        "hours": {"07": {"count": 1, "amount": {"EUR": 1299}}},
    }
    assert set(found[AGGREGATES]) == {
        TOTAL,
        "default:kind:purchase:2026-11-21:0",
        PROVIDER,
        "default:consumer:c1:2026-11-21:0",
        "default:provider_kind:p1%3Apurchase:2026-11-21:0",
    }
    assert found[AGGREGATES]["default:provider_kind:p1%3Apurchase:2026-11-21:0"]["key"] == "p1:purchase"
    assert "consumers" not in found[AGGREGATES]["default:kind:purchase:2026-11-21:0"]
    assert found[PRESENCE] == {
        "default:2026-11-21:c1": {
            "_id": "default:2026-11-21:c1",
            "tenant": "default",
            "day": "2026-11-21",
            "consumer_id": "c1",
            "count": 1,
        },
        "default:2026-11-21:p1:c1": {
            "_id": "default:2026-11-21:p1:c1",
            "tenant": "default",
            "day": "2026-11-21",
            "consumer_id": "c1",
            "provider_id": "p1",
            "count": 1,
        },
    }


def test_sums_of_several_facts() -> None:
    history = History()
    history.state("r1", purchase(1299))
    history.state("r2", purchase(-300, "2026-11-21T07:59:59.999999Z"))
    history.state("r3", purchase(50, "2026-11-21T08:00:00Z", "CHF"), consumer="c2")
    history.state("r4", fact(kind="review", rating=5), consumer="c2")
    history.state("r5", fact(kind="review", rating=0), consumer="c2")
    total = stored(history)[AGGREGATES][TOTAL]

    assert total["count"] == 5
    assert total["amount"] == {"CHF": 50, "EUR": 999}
    assert list(total["amount"]) == ["CHF", "EUR"]
    assert total["amount_count"] == {"CHF": 1, "EUR": 2}
    assert (total["rating_count"], total["rating_sum"]) == (2, 5)
    assert total["consumers"] == 2
    assert total["hours"] == {
        "07": {
            "count": 4,
            "amount": {"EUR": 999},
            "amount_count": {"EUR": 2},
            "rating_count": 2,
            "rating_sum": 5,
        },
        "08": {"count": 1, "amount": {"CHF": 50}},
    }
    assert list(total["hours"]) == ["07", "08"]


def test_an_amendment_moves_a_fact_to_its_new_hour_day_and_provider() -> None:
    amended = History()
    amended.state("r1", purchase(1299))
    amended.state("r1", fact("p2", "purchase", "2026-11-22T23:10:00Z", 1000, "EUR"))
    direct = History()
    direct.state("r1", fact("p2", "purchase", "2026-11-22T23:10:00Z", 1000, "EUR"))

    assert exact(stored(amended)) == exact(stored(direct))
    assert TOTAL not in stored(amended)[AGGREGATES]


def test_a_change_that_moves_no_number_writes_nothing() -> None:
    history, driver = History(), Driver()
    driver.feed([history.state("r1", purchase(1299))])
    assert driver.feed([history.state("r1", {**purchase(1299), "traits": {"channel": "web"}})]) == []


@pytest.mark.parametrize("together", [True, False])
def test_a_retraction_leaves_nothing(together: bool) -> None:
    history, driver = History(), Driver()
    messages = [history.state("r1", purchase(1299)), history.state("r1", None)]
    for part in [messages] if together else [[message] for message in messages]:
        driver.feed(part)
    assert driver.stored == {AGGREGATES: {}, PRESENCE: {}}


def test_amounts_that_cancel_out_are_a_sum_of_zero() -> None:
    history = History()
    history.state("r1", purchase(500))
    history.state("r2", purchase(-500))
    total = stored(history)[AGGREGATES][TOTAL]
    assert total["count"] == 2
    assert total["amount"] == {"EUR": 0}
    assert total["hours"] == {"07": {"count": 2, "amount": {"EUR": 0}}}


def test_a_currency_goes_with_its_last_fact() -> None:
    history, driver = History(), Driver()
    driver.feed([history.state("r0", fact())])
    driver.feed([history.state("r1", purchase(0))])
    driver.feed([history.state("r2", purchase(5)), history.state("r3", purchase(-5))])
    total = driver.stored[AGGREGATES][TOTAL]
    assert (total["amount"], total["amount_count"]) == ({"EUR": 0}, {"EUR": 3})
    driver.feed([history.state("r2", None), history.state("r3", None)])
    total = driver.stored[AGGREGATES][TOTAL]
    assert (total["amount"], total["amount_count"]) == ({"EUR": 0}, {"EUR": 1})
    driver.feed([history.state("r1", None)])
    assert driver.stored[AGGREGATES][TOTAL]["hours"] == {"07": {"count": 1}}
    assert "amount" not in driver.stored[AGGREGATES][TOTAL]


def test_a_sum_stored_before_facts_were_counted_by_currency_stays_right() -> None:
    """The sums and the number of facts are right; whether a sum of 0 is shown, only after a rebuild."""
    history, driver = History(), Driver()
    driver.feed([history.state("r0", fact()), history.state("r1", purchase(5)), history.state("r2", purchase(7))])
    for document in driver.store.collections[AGGREGATES].values():
        for sums in (document, *document["hours"].values()):
            sums.pop("amount_count", None)
    driver.feed([history.state("r2", None), history.state("r3", purchase(-1))])
    total = driver.stored[AGGREGATES][TOTAL]
    assert (total["count"], total["amount"]) == (3, {"EUR": 4})


def test_a_consumer_counts_once_a_day_until_the_last_fact_is_gone() -> None:
    history, driver = History(), Driver()
    driver.feed([history.state("r1", fact("p1")), history.state("r2", fact("p2"))])
    assert driver.stored[AGGREGATES][TOTAL]["consumers"] == 1
    assert driver.stored[PRESENCE]["default:2026-11-21:c1"]["count"] == 2

    driver.feed([history.state("r1", None)])
    assert driver.stored[AGGREGATES][TOTAL]["consumers"] == 1
    assert PROVIDER not in driver.stored[AGGREGATES]
    assert set(driver.stored[PRESENCE]) == {"default:2026-11-21:c1", "default:2026-11-21:p2:c1"}

    driver.feed([history.state("r3", fact("p2"), consumer="c2"), history.state("r2", None)])
    assert driver.stored[AGGREGATES][TOTAL]["consumers"] == 1
    assert set(driver.stored[PRESENCE]) == {"default:2026-11-21:c2", "default:2026-11-21:p2:c2"}


def test_a_partial_goes_below_zero_and_back_when_partitions_were_added() -> None:
    """The fact was counted through partition 0, the retraction comes through partition 1, and first."""
    history, driver = History(), Driver()
    recorded = history.state("r1", purchase(1299), partition=0)
    retracted = history.state("r1", None, partition=1)

    driver.feed([retracted])
    below = driver.stored[AGGREGATES]["default:total::2026-11-21:1"]
    assert below["count"] == -1
    assert below["amount"] == {"EUR": -1299}
    assert "consumers" not in below
    assert driver.stored[PRESENCE]["default:2026-11-21:c1"]["count"] == -1

    driver.feed([recorded])
    assert driver.stored[AGGREGATES]["default:total::2026-11-21:0"]["count"] == 1
    assert "consumers" not in driver.stored[AGGREGATES]["default:total::2026-11-21:0"]
    assert driver.stored[PRESENCE] == {}


def test_a_partial_without_count_is_kept_while_its_amount_is_not_zero() -> None:
    history, driver = History(), Driver()
    driver.feed([history.state("r1", fact(kind="purchase", amount=1299, currency="EUR", rating=2), partition=0)])
    driver.feed([history.state("r1", fact(kind="purchase", amount=1000, currency="EUR", rating=5), partition=1)])

    assert driver.stored[AGGREGATES]["default:total::2026-11-21:1"] == {
        "_id": "default:total::2026-11-21:1",
        "tenant": "default",
        "by": "total",
        "key": "",
        "day": "2026-11-21",
        "partition": 1,
        "count": 0,
        "amount": {"EUR": -299},
        "rating_sum": 3,
        "hours": {"07": {"count": 0, "amount": {"EUR": -299}, "rating_sum": 3}},
    }


def test_a_partial_whose_count_comes_to_zero_keeps_its_amount() -> None:
    history, driver = History(), Driver()
    driver.feed([history.state("r1", purchase(1299), partition=0)])
    driver.feed([history.state("r2", purchase(5), partition=1)])
    driver.feed([history.state("r1", None, partition=1)])
    assert driver.stored[AGGREGATES]["default:total::2026-11-21:1"]["hours"] == {
        "07": {"count": 0, "amount": {"EUR": -1294}}
    }
    assert driver.stored[AGGREGATES]["default:total::2026-11-21:1"]["amount"] == {"EUR": -1294}


def test_a_partial_without_facts_keeps_the_consumer_that_it_has_counted() -> None:
    history, driver = History(), Driver()
    earlier = history.state("r1", fact(), partition=0)
    driver.feed([history.state("r2", fact(), partition=1)])
    driver.feed([earlier])
    driver.feed([history.state("r1", None, partition=1)])

    first, second = (driver.stored[AGGREGATES][f"default:total::2026-11-21:{partition}"] for partition in (0, 1))
    assert (first["count"], first.get("consumers", 0)) == (1, 0)
    assert (second["count"], second["consumers"], second["hours"]) == (0, 1, {})


def test_hours_that_cancel_out_within_a_day_keep_the_document() -> None:
    history, driver = History(), Driver()
    driver.feed([history.state("r1", fact(time="2026-11-21T07:00:00Z"), partition=0)])
    driver.feed([history.state("r1", fact(time="2026-11-21T09:00:00Z"), partition=1)])
    moved = driver.stored[AGGREGATES]["default:total::2026-11-21:1"]
    assert moved["count"] == 0
    assert moved["hours"] == {"07": {"count": -1}, "09": {"count": 1}}


def test_repeated_changes_are_dropped_within_a_slice_and_across_slices() -> None:
    history, driver = History(), Driver()
    first = history.state("r1", fact())
    second = history.state("r2", fact())
    driver.feed([first, second, first, second])
    assert driver.stored[AGGREGATES][TOTAL]["count"] == 2
    assert driver.feed([first, second]) == []


def test_tenants_and_odd_ids_stay_apart() -> None:
    history = History()
    history.state("r1", fact("p:1"), consumer="c:1")
    history.state("r1", fact("p%3A1"), consumer="c:1")
    history.state("r1", fact("p:1"), consumer="c:1", tenant="other")
    found = stored(history)
    # The second state amended the first, so one fact is left in each tenant.
    assert [id for id in found[AGGREGATES] if ":provider:" in id] == [
        "default:provider:p%253A1:2026-11-21:0",
        "other:provider:p%3A1:2026-11-21:0",
    ]
    assert "other:2026-11-21:p%3A1:c%3A1" in found[PRESENCE]


def test_hours_and_days_are_in_utc() -> None:
    history = History()
    history.state("r1", fact(time="2026-11-22T00:30:00+05:30"))
    assert stored(history)[AGGREGATES][TOTAL]["hours"] == {"19": {"count": 1}}


def test_the_last_microsecond_belongs_to_its_hour() -> None:
    message = History().state("r1", fact(time="8999-12-31T23:59:59.999999Z"))
    after = decode_change(message.value).data.after
    assert after is not None
    assert day_and_hour(hour_number(after.time)) == ("8999-12-31", "23")


def test_an_empty_slice_asks_for_nothing() -> None:
    with pytest.raises(StopIteration) as done:
        next(AnalyticsProjection(Topics()).project([]))
    assert done.value.value.writes == []


@pytest.mark.parametrize("value", [None, b"{", b'{"specversion": "1.0"}'])
def test_what_is_no_change_is_an_invalid_event(value: bytes | None) -> None:
    record = Record(Partition("kith.relation-changes", 0), 0, 0, None, value)
    with pytest.raises(InvalidEvent):
        AnalyticsProjection(Topics()).decode(record)


def change(**after: object) -> bytes:
    """A foreign change, its fact with these fields."""
    fields = json.loads(History().state("r1", purchase(1299)).value)
    fields["data"]["after"].update(after)
    return json.dumps(fields).encode()


@pytest.mark.parametrize(
    ("after", "field"),
    [
        ({"amount": 10**12 + 1}, "data.after.amount"),
        ({"amount": 2**63}, "data.after.amount"),
        ({"amount": "5"}, "data.after.amount"),
        ({"amount": None}, "data.after"),
        ({"currency": "A.B"}, "data.after.currency"),
        ({"currency": "$EU"}, "data.after.currency"),
        ({"rating": 101}, "data.after.rating"),
        ({"kind": "a.b"}, "data.after.kind"),
        ({"provider_id": ""}, "data.after.provider_id"),
        ({"provider_id": "p" * 201}, "data.after.provider_id"),
        ({"time": "9999-12-31T23:59:59Z"}, "data.after.time"),
        ({"time": "1969-12-31T23:59:59Z"}, "data.after.time"),
    ],
)
def test_a_foreign_change_that_cannot_be_stored_is_an_invalid_event(after: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidEvent) as caught:
        decode_change(change(**after))
    assert (caught.value.reason, caught.value.field) == ("invalid", field)


def test_a_change_of_a_newer_service_may_say_more() -> None:
    fields = json.loads(change(warranty="P2Y"))
    fields["data"]["channel"] = fields["partitionkey"] = "x"
    after = decode_change(json.dumps(fields).encode()).data.after
    assert after is not None
    assert after.amount == 1299


def test_a_bad_change_becomes_a_dead_letter_and_the_next_one_counts() -> None:
    history, driver = History(), Driver()
    bad = history.state("r1", fact())._replace(value=change(amount=2**70))
    driver.feed([bad, history.state("r2", fact())])
    assert driver.stored[AGGREGATES][TOTAL]["count"] == 1
    (letter,) = driver.store.collections["dead_letters"].values()
    assert (letter["reason"], letter["field"], letter["value"]) == ("invalid", "data.after.amount", bad.value)
    assert letter["service"] == "analytics"


def test_it_reads_the_change_topic() -> None:
    projection = AnalyticsProjection(Topics("shop"))
    assert (projection.name, projection.version) == ("analytics", 1)
    assert projection.topics == ("shop.relation-changes",)
