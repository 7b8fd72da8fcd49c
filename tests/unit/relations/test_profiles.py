"""Consumers and providers: every field a register of its own, erasure for good, changes that tell no secrets."""

from itertools import permutations
from typing import Any

import orjson
import pytest

from shared.contracts.events import Event
from tests.support.builders import MemoryKith, event

JAN, FEB, MAR, APR = (f"2026-{month:02d}-10T12:00:00Z" for month in range(1, 5))


def kith(*slices: list[Event]) -> MemoryKith:
    """A service that has read each list of events in a slice of its own."""
    world = MemoryKith(partitions=1, slice_events=100)
    for events in slices:
        world.publish(events)
        world.drain()
    return world


def known(id: str, time: str, **data: Any) -> Event:
    return event("consumer.upserted", id, time, {"consumer_id": "c1", **data})


def erased(id: str, time: str, mode: str) -> Event:
    return event("consumer.erased", id, time, {"consumer_id": "c1", "mode": mode})


def shop(id: str, time: str, **data: Any) -> Event:
    return event("provider.upserted", id, time, {"provider_id": "p1", **data})


def closed(id: str, time: str) -> Event:
    return event("provider.closed", id, time, {"provider_id": "p1"})


def stored(world: MemoryKith, collection: str = "consumers") -> dict[str, Any]:
    (document,) = world.documents()[collection].values()
    found: dict[str, Any] = document
    return found


def everywhere(*events: Event) -> list[MemoryKith]:
    """Services that have read the events in every order, in one slice and in one slice each."""
    orders = list(permutations(events))
    return [kith(list(order)) for order in orders] + [kith(*([one] for one in order)) for order in orders]


def said(id: str, time: int, *fields: str) -> dict[str, Any]:
    return {"time": time, "source": "test", "id": id, "fields": list(fields)}


JAN_US, FEB_US = 1_768_046_400_000_000, 1_770_724_800_000_000


def test_fields_are_registers_of_their_own() -> None:
    crm = known("e1", FEB, personal={"name": "Ann", "phone": None}, consent={"mail": True})
    web = known(
        "e2",
        JAN,
        personal={"email": "a@example.org", "phone": "1"},
        location={"city": "León", "lat": 1.5, "lon": -2.5},
        traits={"vip": True},
    )
    for world in everywhere(crm, web):
        assert stored(world) == {
            "_id": "default:c1",
            "tenant": "default",
            "consumer_id": "c1",
            "personal": {"email": "a@example.org", "name": "Ann"},
            "location": {"city": "León", "lat": 1.5, "lon": -2.5},
            "traits": {"vip": True},
            "consent": {"mail": True},
            "versions": [
                said("e2", JAN_US, "location.city", "location.point", "personal.email", "traits.vip"),
                said("e1", FEB_US, "consent.mail", "personal.name", "personal.phone"),
            ],
        }
        parts = ["personal", "location", "traits", "consent"]
        assert list(stored(world)) == ["_id", "tenant", "consumer_id", *parts, "versions"]


def test_a_group_that_is_empty_or_null_or_left_out_states_nothing() -> None:
    whole = {
        "personal": {"name": "Ann"},
        "traits": {"vip": True},
        "consent": {"mail": True},
        "location": {"city": "León"},
    }
    nothings: tuple[dict[str, Any], ...] = ({}, dict.fromkeys(whole), {name: {} for name in whole})
    for nothing in nothings:
        for world in everywhere(known("e1", JAN, **whole), known("e2", FEB, **nothing)):
            assert {name: stored(world)[name] for name in whole} == whole


def test_a_consumer_of_whom_nothing_is_said_is_known() -> None:
    world = kith([known("e1", JAN)])
    assert stored(world) == {"_id": "default:c1", "tenant": "default", "consumer_id": "c1", "versions": []}
    assert len(world.values("consumer-changes")) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"traits": {"n": 1}}, {"traits": {"n": True}}),
        ({"traits": {"n": 1}}, {"traits": {"n": 1.0}}),
        ({"traits": {"a": 1, "b": 2}}, {"traits": {"b": 2, "a": 1}}),
        ({"personal": {"name": "Ann"}}, {"personal": {"name": "Bob"}}),
        ({"personal": {"name": "Ann"}, "traits": {}}, {"personal": {"name": "Bob"}, "consent": {}}),
        ({"location": {"lat": 1.0, "lon": 0.0}}, {"location": {"lat": 1.0, "lon": -0.0}}),
    ],
    ids=str,
)
def test_events_of_one_version_end_alike_in_either_order(one: dict[str, Any], other: dict[str, Any]) -> None:
    # As text, because 1, 1.0 and True are equal, and so are fields in another order.
    states = {repr(world.documents()) for world in everywhere(known("e1", JAN, **one), known("e1", JAN, **other))}
    assert len(states) == 1


@pytest.mark.parametrize("mode", ["anonymise", "delete"])
def test_an_erasure_is_for_good(mode: str) -> None:
    before, after = (
        known("e1", JAN, personal={"name": "Ann"}),
        known("e3", MAR, personal={"name": "Ann"}, traits={}),
    )
    for world in everywhere(before, erased("e2", FEB, mode), after):
        assert stored(world) == {
            "_id": "default:c1",
            "tenant": "default",
            "consumer_id": "c1",
            "erased": mode,
        }


def test_delete_outranks_anonymise() -> None:
    for times in ((JAN, FEB), (FEB, JAN)):
        for world in everywhere(erased("e1", times[0], "delete"), erased("e2", times[1], "anonymise")):
            assert stored(world)["erased"] == "delete"


def test_an_erasure_is_of_one_consumer() -> None:
    other = event("consumer.upserted", "e1", JAN, {"consumer_id": "c2", "personal": {"name": "Bob"}})
    foreign = event(
        "consumer.upserted", "e1", JAN, {"consumer_id": "c1", "personal": {"name": "Cyd"}}, tenant="acme"
    )
    world = kith([other, foreign, erased("e2", FEB, "delete")])
    documents = world.documents()["consumers"]
    assert sorted(documents) == ["acme:c1", "default:c1", "default:c2"]
    assert [id for id, document in documents.items() if "erased" in document] == ["default:c1"]


def test_a_provider_is_open_until_it_closes() -> None:
    world = kith(
        [shop("e1", JAN, name="Café", categories=["food"], location={"city": "León"}, traits={"seats": 4})]
    )
    assert stored(world, "providers") == {
        "_id": "default:p1",
        "tenant": "default",
        "provider_id": "p1",
        "name": "Café",
        "categories": ["food"],
        "location": {"city": "León"},
        "traits": {"seats": 4},
        "closed": False,
        "versions": [said("e1", JAN_US, "categories", "closed", "location.city", "name", "traits.seats")],
    }


def test_a_closed_provider_keeps_what_is_known_of_it() -> None:
    for world in everywhere(shop("e1", JAN, name="Café"), closed("e2", FEB)):
        assert (stored(world, "providers")["name"], stored(world, "providers")["closed"]) == ("Café", True)


def test_a_later_upsert_reopens_a_provider() -> None:
    for world in everywhere(shop("e1", JAN, name="Café"), closed("e2", FEB), shop("e3", MAR, categories=[])):
        document = stored(world, "providers")
        assert (document["name"], document["categories"], document["closed"]) == ("Café", [], False)


def test_closed_and_reopened_at_one_time_goes_by_the_id() -> None:
    for world in everywhere(closed("e1", JAN), shop("e2", JAN)):
        assert stored(world, "providers")["closed"] is False
    for world in everywhere(closed("e2", JAN), shop("e1", JAN)):
        assert stored(world, "providers")["closed"] is True
    assert len({repr(world.documents()) for world in everywhere(closed("e1", JAN), shop("e1", JAN))}) == 1


def test_a_provider_may_close_before_it_is_known() -> None:
    world = kith([closed("e2", FEB)])
    assert stored(world, "providers") == {
        "_id": "default:p1",
        "tenant": "default",
        "provider_id": "p1",
        "closed": True,
        "versions": [said("e2", FEB_US, "closed")],
    }


def test_a_change_says_that_and_not_what() -> None:
    personal = {"name": "Ann Secret", "email": "secret@example.org"}
    parts = {
        "personal": personal,
        "location": {"city": "Secretville"},
        "traits": {"secret": "x"},
        "consent": {"secret": True},
    }
    world = kith([known("e1", JAN, **parts), erased("e2", FEB, "delete")])
    values = world.values("consumer-changes")
    assert not [value for value in values if b"ecret" in value]
    first, second = map(orjson.loads, values)
    assert first == {
        "specversion": "1.0",
        "id": "kith.consumers/0/0",
        "source": "kith/relations",
        "type": "consumer.changed",
        "time": "2026-01-10T12:00:00+00:00",
        "tenant": "default",
        "data": {
            "consumer_id": "c1",
            "erased": False,
            "cause": {"source": "test", "id": "e1"},
            "origin": {"topic": "kith.consumers", "partition": 0, "offset": 0, "index": 0},
        },
    }
    assert (second["data"]["erased"], second["data"]["cause"]["id"]) == (True, "e2")


def test_the_change_of_an_erasure_names_the_applications_that_were_agreed_to_until_then() -> None:
    kept, left = (f"app_{letter * 16}" for letter in "ab")
    agreed = known("e1", JAN, consent={kept: True, left: True, "sms": True})
    consents = [agreed, known("e2", FEB, consent={left: False})]
    gone = erased("e3", MAR, "anonymise")
    for slices in ([[*consents, gone]], [consents, [gone]]):
        world = kith(*slices, [erased("e4", APR, "delete")])
        told = [orjson.loads(value)["data"].get("applications") for value in world.values("consumer-changes")]
        assert told == [[kept, left], [kept], [kept], None]


def test_a_change_of_a_provider_says_whether_it_is_closed() -> None:
    world = kith([shop("e1", JAN, name="Secret"), closed("e2", FEB), shop("e3", MAR)])
    values = world.values("provider-changes")
    assert not [value for value in values if b"ecret" in value]
    assert [orjson.loads(value)["data"]["closed"] for value in values] == [False, True, False]
    assert {orjson.loads(value)["type"] for value in values} == {"provider.changed"}


def test_what_has_no_effect_makes_no_change() -> None:
    current = known("e2", FEB, personal={"name": "Ann"})
    silent = [current, known("e1", JAN, personal={"name": "Bob"}), known("e3", MAR)]
    for world in (kith([current, *silent]), kith([current], silent)):
        assert len(world.values("consumer-changes")) == 1
    gone = [erased("e4", APR, "delete"), erased("e5", APR, "anonymise"), erased("e4", APR, "delete"), current]
    for world in (kith(gone), kith(*([one] for one in gone))):
        assert len(world.values("consumer-changes")) == 1
