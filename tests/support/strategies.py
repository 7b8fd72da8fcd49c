"""Hypothesis strategies for histories of events: small worlds, so that ids and times collide often."""

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from shared.contracts.codec import decode_fields
from shared.contracts.events import Event

START = datetime(2026, 1, 30, tzinfo=UTC)

TENANTS = st.sampled_from(["default", "acme"])
# Two of these ids are spelt in two ways each: composed, and decomposed.
CONSUMERS = st.sampled_from(["ann", "bob", "c:1", "100%", "jos\u00e9", "jose\u0301"])
PROVIDERS = st.sampled_from(["caf\u00e9", "cafe\u0301", "p:1", "1:p"])
# Microseconds apart, milliseconds apart, months apart: ties and orders of every size.
TIMES = st.one_of(
    st.integers(0, 3),
    st.integers(0, 5).map(lambda n: n * 1000),
    st.integers(0, 5).map(lambda n: n * 20 * 86400_000_000),
).map(lambda us: START + timedelta(microseconds=us))
IDS = st.integers(0, 30).map(str)
# Mostly none; else text, and numbers that text orders otherwise.
SEQUENCES: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.just({}),
    st.just({}),
    st.sampled_from(["1", "9", "10", "a", "B"]).map(lambda text: {"sequence": text}),
    st.sampled_from(["1", "9", "10", "0010", str(2**63 - 1)]).map(
        lambda text: {"sequencetype": "Integer", "sequence": text}
    ),
)


def _envelope(draw: st.DrawFn, type: str, data: dict[str, Any]) -> Event:
    sequence: dict[str, Any] = draw(SEQUENCES)
    return decode_fields(
        {
            **sequence,
            "specversion": "1.0",
            "id": draw(IDS),
            "source": draw(st.sampled_from(["shop", "crm"])),
            "type": type,
            "time": draw(TIMES).isoformat(),
            "tenant": draw(TENANTS),
            "data": data,
        }
    )


@st.composite
def relation_events(draw: st.DrawFn) -> Event:
    """A recorded or retracted relation."""
    data: dict[str, Any] = {
        "relation_id": draw(st.sampled_from(["r1", "r2", "r3", "r:4", "r5"])),
        "consumer_id": draw(CONSUMERS),
        "provider_id": draw(PROVIDERS),
    }
    if draw(st.integers(0, 3)) == 0:
        data["reason"] = draw(st.sampled_from([None, "refund"]))
        if draw(st.booleans()):
            del data["provider_id"]
        return _envelope(draw, "relation.retracted", data)
    data["kind"] = draw(st.sampled_from(["purchase", "review", "view"]))
    # Nothing, and amounts that cancel out, more often than others.
    data["amount"] = draw(st.sampled_from([None, 0, 0, 5, -5, 5, -5, 1299, 10**12]))
    data["currency"] = None if data["amount"] is None else draw(st.sampled_from(["EUR", "USD"]))
    data["rating"] = draw(st.sampled_from([None, 0, 1, 5]))
    data["text"] = draw(st.sampled_from([None, "très bon\n"]))
    data["traits"] = draw(st.sampled_from([None, {}, {"b": 1, "a": [1.5, "x", None]}]))
    occurred = draw(st.none() | TIMES)
    data["occurred_at"] = occurred and occurred.isoformat()
    return _envelope(draw, "relation.recorded", {name: value for name, value in data.items() if value is not None})


def _some(fields: dict[str, list[Any]]) -> st.SearchStrategy[dict[str, Any]]:
    """Any of these fields, each with one of its values, or null, which removes it."""
    return st.fixed_dictionaries(
        {}, optional={name: st.sampled_from([None, *values]) for name, values in fields.items()}
    )


_POINTS = st.sampled_from(
    [{}, {"lat": 1.5, "lon": -2.0}, {"lat": 0.0, "lon": 0}, {"lat": None, "lon": None}, {"lat": None}]
)
_LOCATIONS = st.none() | st.builds(
    lambda places, point: {**places, **point},
    _some({"city": ["León", "Łódź"], "region": ["CyL"], "country": ["ES"]}),
    _POINTS,
)
_TRAITS = st.none() | _some({"vip": [True, False], "n": [2, 2.0], "tags": [[], ["a", None]]})


@st.composite
def consumer_events(draw: st.DrawFn) -> Event:
    """Some of what is known of a consumer, and what no longer is; now and then an erasure."""
    data: dict[str, Any] = {"consumer_id": draw(CONSUMERS)}
    if draw(st.integers(0, 7)) == 0:
        return _envelope(draw, "consumer.erased", {**data, "mode": draw(st.sampled_from(["anonymise", "delete"]))})
    groups = {
        "personal": st.none() | _some({"name": ["Ann", "Anna"], "email": ["a@example.org"], "phone": ["1", "2"]}),
        "location": _LOCATIONS,
        "traits": _TRAITS,
        "consent": st.none() | _some({"mail": [True, False], "sms": [True]}),
    }
    return _envelope(draw, "consumer.upserted", data | draw(st.fixed_dictionaries({}, optional=groups)))


@st.composite
def provider_events(draw: st.DrawFn) -> Event:
    """Some of what is known of a provider, and what no longer is; now and then that it closed."""
    data: dict[str, Any] = {"provider_id": draw(PROVIDERS)}
    if draw(st.integers(0, 4)) == 0:
        return _envelope(draw, "provider.closed", data)
    fields = {
        "name": st.sampled_from([None, "Café", "Chez Ann"]),
        "categories": st.sampled_from([None, [], ["food", "bar"]]),
        "location": _LOCATIONS,
        "traits": _TRAITS,
    }
    return _envelope(draw, "provider.upserted", data | draw(st.fixed_dictionaries({}, optional=fields)))


def events() -> st.SearchStrategy[Event]:
    """Any event."""
    return st.one_of(relation_events(), relation_events(), consumer_events(), provider_events())
