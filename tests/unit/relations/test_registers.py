"""The fields of a profile as registers: partial statements, removals, limits, profiles of an earlier version."""

import random
from copy import deepcopy
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.relations import registers
from services.relations.registers import LIMITS, canonical, value_of, versions_of
from shared.contracts.events import Event, Version
from tests.support.builders import MemoryKith, event, stored_state
from tests.support.strategies import consumer_events, provider_events

JAN, FEB, MAR = (f"2026-{month:02d}-10T12:00:00Z" for month in range(1, 4))
JAN_US, FEB_US = 1_768_046_400_000_000, 1_770_724_800_000_000
PROFILES = ("consumers", "providers")
HISTORIES = st.lists(consumer_events() | provider_events(), max_size=25)


def known(id: str, time: str, data: dict[str, Any], **attributes: Any) -> Event:
    return event("consumer.upserted", id, time, {"consumer_id": "c1", **data}, **attributes)


def after(*events: Event, world: MemoryKith | None = None) -> dict[str, Any]:
    world = world or MemoryKith(partitions=1)
    world.publish(events)
    world.drain()
    (document,) = world.documents()["consumers"].values()
    found: dict[str, Any] = document
    return found


def test_a_second_source_removes_nothing_of_the_first() -> None:
    crm: dict[str, dict[str, Any]] = {
        "personal": {"name": "Ada", "email": "ada@example.org"},
        "traits": {"vip": True},
        "consent": {"newsletter": True},
    }
    sms: dict[str, dict[str, Any]] = {"personal": {"phone": "+1"}, "consent": {"sms": True}}
    for events in ((known("e1", JAN, crm), known("e2", FEB, sms)), (known("e2", FEB, sms), known("e1", JAN, crm))):
        found = after(*events)
        assert found["personal"] == {**crm["personal"], **sms["personal"]}
        assert found["traits"] == crm["traits"]
        assert found["consent"] == {"newsletter": True, "sms": True}


def test_null_is_a_version_like_any_other() -> None:
    said = {"personal": {"phone": "+1"}, "location": {"city": "Ulm", "lat": 1.0, "lon": 2.0}}
    gone = {"personal": {"phone": None}, "location": {"city": None, "lat": None, "lon": None}}
    first, second, third = known("e1", JAN, said), known("e2", FEB, gone), known("e3", MAR, said)
    for events in ((first, second), (second, first), (second, first, second)):
        found = after(*events)
        assert "personal" not in found
        assert "location" not in found
        assert [each["fields"] for each in found["versions"]] == [
            ["location.city", "location.point", "personal.phone"]
        ]
    assert after(third, second, first)["personal"] == {"phone": "+1"}


def test_the_sequence_orders_statements_of_one_time() -> None:
    ten = known("e1", JAN, {"traits": {"n": 10}}, sequence="10", sequencetype="Integer")
    nine = known("e2", JAN, {"traits": {"n": 9}}, sequence="9", sequencetype="Integer")
    none = known("e9", JAN, {"traits": {"n": 0}})
    for events in ((ten, nine, none), (none, nine, ten), (nine, ten, none)):
        assert after(*events)["traits"] == {"n": 10}


def test_a_provider_loses_a_name_by_null_only() -> None:
    world = MemoryKith(partitions=1)
    whole = {
        "provider_id": "p1",
        "name": "Café",
        "categories": ["a"],
        "location": {"city": "Ulm"},
        "traits": {"n": 1},
    }
    world.publish([event("provider.upserted", "e1", JAN, whole)])
    world.publish([event("provider.upserted", "e2", FEB, {"provider_id": "p1", "categories": [], "name": None})])
    world.drain()
    (found,) = world.documents()["providers"].values()
    assert {name: found.get(name) for name in whole} == {**whole, "name": None, "categories": []}


SMALL = {"personal": 2, "traits": 2, "consent": 1}


@given(HISTORIES, st.randoms(use_true_random=False), st.integers(1, 10))
@settings(max_examples=300)
def test_what_leaves_at_the_limit_does_not_depend_on_the_order(
    history: list[Event], chance: random.Random, slice_events: int
) -> None:
    shuffled = [*history, *(one for one in history if chance.random() < 0.3)]
    chance.shuffle(shuffled)
    with patch.dict(registers.LIMITS, SMALL):
        one, other = stored_state(history), stored_state(shuffled, slice_events=slice_events)
    assert one == other
    for name in PROFILES:
        for id, profile in one[name].items():
            assert repr(profile) == repr(other[name][id]), "bit for bit: 1 is not true, and fields have one order"
        for profile in one[name].values():
            fields = versions_of(profile)
            for group, most in SMALL.items():
                assert sum(field.startswith(f"{group}.") for field in fields) <= most


@pytest.mark.parametrize("group", LIMITS)
def test_documents_stay_bounded(group: str) -> None:
    """Whoever states ever new fields, or removes them, ends with as many as one event can state."""
    most, values = LIMITS[group], {"personal": "x", "traits": 1, "consent": True}
    world = MemoryKith(partitions=1, slice_events=100)
    for month in range(1, 8):
        fields = {f"f{month}_{n}": None if n % 7 == month else values[group] for n in range(most)}
        world.publish([known(f"e{month}", f"2026-{month:02d}-10T12:00:00Z", {group: fields})])
    found = after(world=world)
    assert sum(len(each["fields"]) for each in found["versions"]) == most
    assert len(found[group]) <= most
    assert all(name.startswith("f7_") for name in found[group])
    changes = len(world.values("consumer-changes"))
    old = {group: {f"f1_{n}": values[group] for n in range(most)}}
    assert after(known("e1", "2026-01-10T12:00:00Z", old), known("e0", JAN, old), world=world) == found
    assert len(world.values("consumer-changes")) == changes, "what is beyond the limit has no effect"


@given(HISTORIES)
@settings(max_examples=150)
def test_a_document_says_where_each_of_its_values_comes_from(history: list[Event]) -> None:
    state = stored_state(history)
    for name in PROFILES:
        for profile in state[name].values():
            if "erased" in profile:
                continue
            fields = versions_of(profile)
            flat = {
                f"{part}.{key}" if key not in ("lat", "lon") else "location.point"
                for part in ("personal", "location", "traits", "consent")
                for key in profile.get(part, {})
            }
            flat |= {key for key in ("name", "categories", "closed") if key in profile}
            assert flat == {field for field in fields if value_of(profile, field) is not None}
            assert [Version.stored(each) for each in profile["versions"]] == sorted(set(fields.values()))


# Profiles as they were stored before fields had versions of their own: {part: version}.


def earlier() -> dict[str, Any]:
    crm, web = {"time": FEB_US, "source": "crm", "id": "e5"}, {"time": JAN_US, "source": "web", "id": "e4"}
    return {
        "_id": "default:c1",
        "tenant": "default",
        "consumer_id": "c1",
        "personal": {"name": "Ada", "email": "ada@example.org"},
        "location": {"city": "Ulm", "lat": 1.0, "lon": 2.0},
        "traits": {"vip": True, "birthday": None},
        "consent": {},
        "versions": {"personal": crm, "location": web, "traits": crm, "consent": web},
    }


def with_earlier() -> MemoryKith:
    world = MemoryKith(partitions=1)
    world.store.collections["consumers"]["default:c1"] = earlier()
    return world


def test_a_profile_of_an_earlier_version_is_taken_over_by_the_next_statement() -> None:
    found = after(known("e6", MAR, {"personal": {"phone": "+1", "email": None}}), world=with_earlier())
    assert found == {
        "_id": "default:c1",
        "tenant": "default",
        "consumer_id": "c1",
        "personal": {"name": "Ada", "phone": "+1"},
        "location": {"city": "Ulm", "lat": 1.0, "lon": 2.0},
        "traits": {"vip": True},
        "versions": [
            {"time": JAN_US, "source": "web", "id": "e4", "fields": ["location.city", "location.point"]},
            {
                "time": FEB_US,
                "source": "crm",
                "id": "e5",
                "fields": ["personal.name", "traits.birthday", "traits.vip"],
            },
            {
                "time": 1_773_144_000_000_000,
                "source": "test",
                "id": "e6",
                "fields": ["personal.email", "personal.phone"],
            },
        ],
    }


def test_a_profile_of_an_earlier_version_stays_what_it_is_until_then() -> None:
    older = known("e1", "2026-01-09T12:00:00Z", {"personal": {"name": "Bob"}, "location": {"city": "Bonn"}})
    world = with_earlier()
    assert after(older, world=world) == earlier()
    assert not world.values("consumer-changes")


def test_a_profile_of_an_earlier_version_is_erased_like_any_other() -> None:
    erasure = event("consumer.erased", "e9", MAR, {"consumer_id": "c1", "mode": "anonymise"})
    found = after(erasure, world=with_earlier())
    assert found == {"_id": "default:c1", "tenant": "default", "consumer_id": "c1", "erased": "anonymise"}


@given(HISTORIES)
@settings(max_examples=100)
def test_both_forms_of_a_profile_are_the_same_to_a_comparison(history: list[Event]) -> None:
    """Where each part comes from one event, the earlier form says all there is."""
    state = stored_state(history)
    for name in PROFILES:
        for profile in state[name].values():
            whole = [each for each in profile.get("versions", ()) if _live(profile, each["fields"])]
            if len(whole) != 1 or len(profile["versions"]) != 1:
                continue
            version = {key: value for key, value in whole[0].items() if key != "fields"}
            parts = {field.partition(".")[0] for field in whole[0]["fields"]}
            old = {**deepcopy(profile), "versions": dict.fromkeys(parts, version)}
            assert canonical(name, old) == profile
            assert versions_of(old) == versions_of(profile)


def _live(profile: dict[str, Any], fields: list[str]) -> bool:
    return all(value_of(profile, field) is not None for field in fields)
