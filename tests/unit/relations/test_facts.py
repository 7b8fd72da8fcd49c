"""Facts, relationships and changes of relation events, by hand-worked examples on the service in memory."""

import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from services.relations.fact_documents import digest
from shared.contracts.changes import decode_change
from shared.contracts.codec import encode
from shared.contracts.events import Event, event_key
from tests.support.builders import TOPICS, MemoryKith, event, recorded, retracted

JAN, FEB, MAR, APR = (f"2026-{month:02d}-10T12:00:00Z" for month in range(1, 5))
Change = dict[str, Any]


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def kith(*slices: list[Event]) -> MemoryKith:
    """A service that has read each list of events in a slice of its own."""
    world = MemoryKith(partitions=1, slice_events=100)
    for events in slices:
        world.publish(events)
        world.drain()
    return world


def fact(world: MemoryKith, relation: str = "r1") -> dict[str, Any]:
    found: dict[str, Any] = world.documents()["relations"][f"default:c1:{relation}"]
    return found


def relationship(world: MemoryKith, provider: str = "p1") -> dict[str, Any] | None:
    found: dict[str, Any] | None = world.documents()["relationships"].get(f"default:c1:{provider}")
    return found


def sums(world: MemoryKith, provider: str = "p1") -> tuple[Any, ...]:
    """Count, first, last and the statistics of a relationship; nothing of none."""
    found = relationship(world, provider)
    return (found["count"], found["first"], found["last"], found["kinds"]) if found else ()


def changes(world: MemoryKith) -> list[Change]:
    values = world.values("relation-changes")
    for value in values:
        decode_change(value)
    return [orjson.loads(value) for value in values]


def states(world: MemoryKith) -> list[tuple[Any, Any]]:
    return [(change["data"]["before"], change["data"]["after"]) for change in changes(world)]


def view(time: str, provider: str = "p1") -> dict[str, Any]:
    """The state in a change of the fact that ``recorded`` makes."""
    return {"provider_id": provider, "kind": "view", "time": time.replace("Z", "+00:00")}


def test_a_fact_holds_what_was_said() -> None:
    everything: Change = {
        "amount": 1299,
        "currency": "EUR",
        "rating": 4,
        "text": "bon\n",
        "traits": {"b": 1, "a": [1.5]},
    }
    told = recorded("e1", "2026-01-10T13:00:00.123456+01:00", kind="purchase", **everything)
    world = kith([told])
    assert fact(world) == {
        "_id": "default:c1:r1",
        "tenant": "default",
        "relation_id": "r1",
        "consumer_id": "c1",
        "provider_id": "p1",
        "kind": "purchase",
        "time": utc("2026-01-10T12:00:00.123Z"),
        **everything,
        "retracted": False,
        "version": {"time": 1_768_046_400_123_456, "source": "test", "id": "e1", "digest": digest(encode(told))},
    }
    cell = {"count": 1, "amount": {"EUR": 1299}, "rating_count": 1, "rating_sum": 4}
    time = utc("2026-01-10T12:00:00.123Z")
    assert sums(world) == (1, time, time, {"purchase": {"2026-01": cell}})


def test_an_amendment_moves_the_sums() -> None:
    first = recorded("e1", JAN, kind="purchase", amount=1000, currency="EUR", rating=2)
    amendment = recorded("e2", FEB, kind="review", amount=700, currency="USD", rating=5)
    for world in (kith([first, amendment]), kith([first], [amendment]), kith([amendment], [first])):
        cell = {"count": 1, "amount": {"USD": 700}, "rating_count": 1, "rating_sum": 5}
        assert sums(world) == (1, utc(FEB), utc(FEB), {"review": {"2026-02": cell}})
        assert fact(world)["version"]["id"] == "e2"


def test_what_an_amendment_leaves_out_is_gone() -> None:
    first = recorded("e1", JAN, amount=1000, currency="EUR", rating=2, text="x", traits={"a": 1})
    world = kith([first], [recorded("e2", FEB)])
    assert not {"amount", "currency", "rating", "text", "traits"} & fact(world).keys()
    assert sums(world) == (1, utc(FEB), utc(FEB), {"view": {"2026-02": {"count": 1}}})


def test_an_amendment_to_another_provider_moves_the_fact() -> None:
    others = [recorded("e0", JAN, "r0"), recorded("e9", MAR, "r9", provider_id="p2")]
    world = kith([*others, recorded("e1", FEB)], [recorded("e2", APR, provider_id="p2", occurred_at=FEB)])
    assert sums(world) == (1, utc(JAN), utc(JAN), {"view": {"2026-01": {"count": 1}}})
    kinds = {"view": {"2026-02": {"count": 1}, "2026-03": {"count": 1}}}
    assert sums(world, "p2") == (2, utc(FEB), utc(MAR), kinds)
    assert states(world)[-1] == (view(FEB), view(FEB, "p2"))


def test_the_last_fact_takes_its_relationship_along() -> None:
    for world in (
        kith([recorded("e1", JAN)], [recorded("e2", FEB, provider_id="p2")]),
        kith([recorded("e1", JAN), recorded("e2", FEB, provider_id="p2")]),
    ):
        assert relationship(world) is None
        assert sums(world, "p2") == (1, utc(FEB), utc(FEB), {"view": {"2026-02": {"count": 1}}})


def test_a_retraction_leaves_a_tombstone_and_nothing_else() -> None:
    for retraction in (retracted("e2", FEB, reason="refund"), retracted("e2", FEB, provider_id="p1")):
        world = kith([recorded("e1", JAN, amount=5, currency="EUR", text="x")], [retraction])
        stated = {"reason": "refund"} if retraction.data.reason else {"provider_id": "p1"}  # type: ignore[union-attr]
        assert fact(world) == {
            "_id": "default:c1:r1",
            "tenant": "default",
            "relation_id": "r1",
            "consumer_id": "c1",
            **stated,
            "retracted": True,
            "version": {
                "time": 1_770_724_800_000_000,
                "source": "test",
                "id": "e2",
                "digest": digest(encode(retraction)),
            },
        }
        assert world.documents()["relationships"] == {}
        january = {**view(JAN), "amount": 5, "currency": "EUR"}
        assert states(world) == [(None, january), (january, None)]


def test_a_retraction_may_come_first() -> None:
    for world in (kith([retracted("e2", FEB)], [recorded("e1", JAN)]), kith([retracted("e2", FEB)])):
        assert fact(world)["retracted"]
        assert world.documents()["relationships"] == {}
        assert changes(world) == []


def test_a_retracted_fact_can_be_recorded_again() -> None:
    world = kith([recorded("e1", JAN)], [retracted("e2", FEB)], [recorded("e3", MAR)])
    assert sums(world) == (1, utc(MAR), utc(MAR), {"view": {"2026-03": {"count": 1}}})
    assert states(world) == [(None, view(JAN)), (view(JAN), None), (None, view(MAR))]
    assert fact(kith([recorded("e3", MAR)], [retracted("e2", FEB)], [recorded("e1", JAN)])) == fact(world)


@pytest.mark.parametrize(
    ("low", "high"),
    [
        (("2026-01-10T12:00:00.000001Z", "z", "z"), ("2026-01-10T12:00:00.000002Z", "a", "a")),
        ((JAN, "a", "z"), (JAN, "b", "a")),
        ((JAN, "a", "a"), (JAN, "a", "b")),
        ((JAN, "a", "10"), (JAN, "a", "9")),
        ((JAN, "Z", "a"), (JAN, "a", "a")),
    ],
    ids=["time", "source", "id", "ids are no numbers", "upper case is lower"],
)
def test_a_tie_goes_to_time_then_source_then_id(low: tuple[str, str, str], high: tuple[str, str, str]) -> None:
    data = {"relation_id": "r1", "kind": "view", "consumer_id": "c1", "provider_id": "p1"}

    def one(version: tuple[str, str, str], rating: int) -> Event:
        time, source, id = version
        return event("relation.recorded", id, time, {**data, "rating": rating}, source=source)

    loser, winner = one(low, 1), one(high, 2)
    for world in (kith([loser, winner]), kith([winner, loser]), kith([loser], [winner]), kith([winner], [loser])):
        assert fact(world)["rating"] == 2
        assert fact(world)["version"]["id"] == high[2]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"rating": 1}, {"rating": 2}),
        ({"provider_id": "p1"}, {"provider_id": "p2"}),
        ({"text": "a"}, {"text": "b"}),
        ({"traits": {"n": 1}}, {"traits": {"n": True}}),
        ({"traits": {"n": 1}}, {"traits": {"n": 1.0}}),
        ({"traits": {"n": 0.0}}, {"traits": {"n": -0.0}}),
        ({"traits": {"a": 1, "b": 2}}, {"traits": {"b": 2, "a": 1}}),
    ],
    ids=str,
)
def test_events_of_one_version_end_alike_in_either_order(one: dict[str, Any], other: dict[str, Any]) -> None:
    first, second = recorded("e1", JAN, **one), recorded("e1", JAN, **other)
    orders = ([first, second], [second, first], [first, second, first], [second, first, second])
    # As text, because 1, 1.0 and True are equal, and so are fields in another order.
    assert len({repr(kith(order).documents()) for order in orders}) == 1
    assert len({repr(kith(*([one] for one in order)).documents()) for order in orders}) == 1


def test_a_retraction_and_a_record_of_one_version_end_alike_in_either_order() -> None:
    both = [recorded("e1", JAN), retracted("e1", JAN, provider_id="p1")]
    orders = ([both], [both[::-1]], [[both[0]], [both[1]]], [[both[1]], [both[0]]])
    assert len({repr(kith(*order).documents()) for order in orders}) == 1


def test_occurred_at_places_the_fact_and_not_its_version() -> None:
    late = recorded("e1", MAR, occurred_at="2026-01-10T13:00:00.0009+01:00", rating=1)
    amendment = recorded("e2", APR, occurred_at=FEB, rating=2)
    assert fact(kith([late]))["time"] == utc(JAN)
    assert sums(kith([late])) == (
        1,
        utc(JAN),
        utc(JAN),
        {"view": {"2026-01": {"count": 1, "rating_count": 1, "rating_sum": 1}}},
    )
    assert fact(kith([amendment], [late]))["rating"] == 2
    assert fact(kith([amendment], [recorded("e3", FEB, occurred_at=APR)]))["version"]["id"] == "e2"


def test_months_are_those_of_utc() -> None:
    world = kith([recorded("e1", "2026-02-01T00:30:00+01:00"), recorded("e2", "2026-01-31T23:30:00-01:00", "r2")])
    found = relationship(world)
    assert found is not None
    assert found["kinds"] == {"view": {"2026-01": {"count": 1}, "2026-02": {"count": 1}}}


YEAR = [recorded(f"e{month}", f"2026-{month:02d}-10T12:00:00Z", f"r{month}") for month in range(1, 7)]


@pytest.mark.parametrize("gone", [(1,), (6,), (1, 6), (3,), (1, 2, 3), (4, 5, 6), (1, 2, 5, 6), (1, 2, 3, 4, 5)])
def test_first_and_last_are_right_after_an_extreme_went_away(gone: tuple[int, ...]) -> None:
    undo = [retracted(f"u{month}", "2026-12-01T00:00:00Z", f"r{month}") for month in gone]
    left = [month for month in range(1, 7) if month not in gone]
    expected = (
        len(left),
        utc(f"2026-{left[0]:02d}-10T12:00:00Z"),
        utc(f"2026-{left[-1]:02d}-10T12:00:00Z"),
        {"view": {f"2026-{month:02d}": {"count": 1} for month in left}},
    )
    for slices in ([YEAR, undo], [[*YEAR, *undo]], [[one] for one in [*YEAR, *undo]], [undo, YEAR]):
        assert sums(kith(*slices)) == expected


def test_an_extreme_that_moves_inwards_gives_way_to_facts_outside_of_the_slice() -> None:
    inwards = recorded("m1", APR, "r1", occurred_at="2026-04-01T00:00:00Z")
    assert sums(kith(YEAR, [inwards]))[1:3] == (utc(FEB), utc("2026-06-10T12:00:00Z"))
    beyond = recorded("m6", "2026-12-01T00:00:00Z", "r6", occurred_at="2026-01-01T00:00:00Z")
    found = sums(kith(YEAR, [inwards, beyond]))
    assert found[1:3] == (utc("2026-01-01T00:00:00Z"), utc("2026-05-10T12:00:00Z"))


def test_an_extreme_that_another_fact_shares_stays() -> None:
    twin = recorded("t1", JAN, "twin")
    assert sums(kith([*YEAR, twin], [retracted("u1", APR, "r1")]))[1] == utc(JAN)


def test_first_and_last_are_of_the_own_pair_alone() -> None:
    elsewhere = [
        recorded("x1", "2025-01-01T00:00:00Z", "x1", provider_id="p2"),
        recorded("x2", "2025-01-01T00:00:00Z", "x2", consumer_id="c2"),
        event("relation.recorded", "x3", "2025-01-01T00:00:00Z", YEAR[0].data.model_dump(mode="json"), tenant="a"),
        recorded("x4", "2025-01-01T00:00:00Z", "x4"),
        retracted("x5", FEB, "x4"),
    ]
    assert sums(kith([*YEAR, *elsewhere], [retracted("u1", "2026-12-01T00:00:00Z", "r1")]))[1] == utc(FEB)


def money(id: str, amount: int, currency: str, **data: Any) -> Event:
    return recorded(id, JAN, id, kind="purchase", amount=amount, currency=currency, **data)


def test_currencies_are_never_added_up() -> None:
    world = kith([money("a", 5, "USD"), money("b", 7, "EUR")], [money("c", 10**12, "EUR"), money("d", -9, "USD")])
    found = relationship(world)
    assert found is not None
    assert found["kinds"] == {
        "purchase": {
            "2026-01": {
                "count": 4,
                "amount": {"EUR": 10**12 + 7, "USD": -4},
                "amount_count": {"EUR": 2, "USD": 2},
            }
        }
    }
    assert list(found["kinds"]["purchase"]["2026-01"]["amount"]) == ["EUR", "USD"]


def test_a_sum_of_zero_is_stored_as_long_as_a_fact_has_its_currency() -> None:
    free = kith([money("a", 0, "EUR")])
    balanced = kith([money("a", 5, "EUR")], [money("b", -5, "EUR")])
    undone = kith([recorded("e1", JAN, "keep"), money("a", 5, "EUR", rating=3)], [retracted("u", FEB, "a")])
    assert sums(free)[3] == {"purchase": {"2026-01": {"count": 1, "amount": {"EUR": 0}}}}
    assert sums(balanced)[3] == {"purchase": {"2026-01": {"count": 2, "amount": {"EUR": 0}}}}
    assert sums(undone)[3] == {"view": {"2026-01": {"count": 1}}}


def test_a_relationship_stored_before_facts_were_counted_by_currency_stays_right_and_possible() -> None:
    """The sums are right; whether a sum of 0 is shown, only after a rebuild. No number is below 0."""
    world = kith([money("a", 5, "EUR"), money("b", -5, "EUR"), money("c", 3, "USD"), recorded("d", JAN, "d")])
    world.store.collections["relationships"]["default:c1:p1"]["kinds"]["purchase"]["2026-01"] = {
        "count": 3,
        "amount": {"USD": 3},
    }
    for one in (retracted("u1", FEB, "b"), retracted("u2", FEB, "c")):
        world.publish([one])
        world.drain()
    assert sums(world)[3]["purchase"] == {
        "2026-01": {"count": 1, "amount": {"EUR": 5, "USD": 0}, "amount_count": {"EUR": 0}}
    }


def test_a_rating_of_zero_counts() -> None:
    assert sums(kith([recorded("e1", JAN, rating=0)]))[3] == {
        "view": {"2026-01": {"count": 1, "rating_count": 1, "rating_sum": 0}}
    }


def test_a_change_tells_before_after_cause_and_origin() -> None:
    amendment = recorded("e2", "2026-02-10T13:00:00.5+01:00", kind="purchase", amount=5, currency="EUR", text="x")
    world = kith([recorded("e1", JAN), amendment])
    first, second = changes(world)
    assert first["data"]["before"] is None
    assert first["data"]["cause"] == {"source": "test", "id": "e1"}
    assert second == {
        "specversion": "1.0",
        "id": "kith.relations/0/1",
        "source": "kith/relations",
        "type": "relation.changed",
        "time": "2026-02-10T13:00:00.500000+01:00",
        "tenant": "default",
        "data": {
            "relation_id": "r1",
            "consumer_id": "c1",
            "before": view(JAN),
            "after": {
                "provider_id": "p1",
                "kind": "purchase",
                "time": "2026-02-10T12:00:00.500000+00:00",
                "amount": 5,
                "currency": "EUR",
            },
            "cause": {"source": "test", "id": "e2"},
            "origin": {"topic": "kith.relations", "partition": 0, "offset": 1, "index": 0},
        },
    }


def test_a_change_goes_where_its_event_lies() -> None:
    world = MemoryKith(partitions=3)
    events = [recorded(f"e{n}", JAN, f"r{n}", consumer_id=f"c:{n % 5}") for n in range(15)]
    world.publish(events)
    world.drain()
    keys = {one.data.relation_id: event_key(one) for one in events}  # type: ignore[union-attr]
    found = 0
    for partition, log in world.log.records.items():
        if partition.topic == TOPICS.name("relation-changes"):
            for record in log:
                data = orjson.loads(record.value or b"")["data"]
                assert data["origin"]["partition"] == partition.number
                assert record.key == keys[data["relation_id"]]
                found += 1
            offsets = [orjson.loads(record.value or b"")["data"]["origin"]["offset"] for record in log]
            assert offsets == sorted(set(offsets))
    assert found == 15


def test_what_has_no_effect_makes_no_change() -> None:
    current = recorded("e3", MAR, rating=3, text="x")
    silent = [
        current,
        recorded("e1", JAN),
        retracted("e2", FEB),
        recorded("e4", APR, rating=3, text="y", occurred_at=MAR),
        retracted("e5", APR, "unknown"),
    ]
    for world in (kith([current], silent), kith([current, *silent]), kith([current], *([one] for one in silent))):
        assert states(world) == [(None, {**view(MAR), "rating": 3})]
        assert fact(world)["version"]["id"] == "e4"
        assert fact(world)["text"] == "y"


def test_a_change_within_a_slice_is_told_step_by_step() -> None:
    together = kith([recorded("e1", JAN), recorded("e2", FEB), retracted("e3", MAR)])
    assert states(together) == [(None, view(JAN)), (view(JAN), view(FEB)), (view(FEB), None)]
    assert together.documents()["relationships"] == {}
