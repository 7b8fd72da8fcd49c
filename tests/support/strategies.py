"""Hypothesis strategies for histories of events: small worlds, so that ids and times collide often."""

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from shared.contracts.codec import decode_fields
from shared.contracts.events import Event

START = datetime(2026, 1, 30, tzinfo=UTC)

TENANTS = st.sampled_from(["default", "acme"])
CONSUMERS = st.sampled_from(["ann", "bob", "c:1", "100%"])
PROVIDERS = st.sampled_from(["café", "p:1", "1:p"])
# Microseconds apart, milliseconds apart, months apart: ties and orders of every size.
TIMES = st.one_of(
    st.integers(0, 3),
    st.integers(0, 5).map(lambda n: n * 1000),
    st.integers(0, 5).map(lambda n: n * 20 * 86400_000_000),
).map(lambda us: START + timedelta(microseconds=us))
IDS = st.integers(0, 30).map(str)


def _envelope(draw: st.DrawFn, type: str, data: dict[str, Any]) -> Event:
    return decode_fields(
        {
            "specversion": "1.0",
            "id": draw(IDS),
            "source": draw(st.sampled_from(["shop", "crm"])),
            "type": type,
            "time": draw(TIMES).isoformat(),
            "tenant": draw(TENANTS),
            "data": {name: value for name, value in data.items() if value is not None},
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
    data["amount"] = draw(st.sampled_from([None, 0, 5, -5, 1299, 10**12]))
    data["currency"] = None if data["amount"] is None else draw(st.sampled_from(["EUR", "USD"]))
    data["rating"] = draw(st.sampled_from([None, 0, 1, 5]))
    data["text"] = draw(st.sampled_from([None, "très bon\n"]))
    data["traits"] = draw(st.sampled_from([None, {}, {"b": 1, "a": [1.5, "x", None]}]))
    occurred = draw(st.none() | TIMES)
    data["occurred_at"] = occurred and occurred.isoformat()
    return _envelope(draw, "relation.recorded", data)


_LOCATIONS = st.sampled_from([None, {"city": "León"}, {"lat": 1.5, "lon": -2.0}])
_TRAITS = st.sampled_from([None, {}, {"vip": True}, {"vip": False, "n": 2}])


@st.composite
def consumer_events(draw: st.DrawFn) -> Event:
    """What is known of a consumer, now and then an erasure."""
    data: dict[str, Any] = {"consumer_id": draw(CONSUMERS)}
    if draw(st.integers(0, 7)) == 0:
        return _envelope(draw, "consumer.erased", {**data, "mode": draw(st.sampled_from(["anonymise", "delete"]))})
    data["personal"] = draw(st.sampled_from([None, {"name": "Ann"}, {"name": "Anna", "email": "a@example.org"}]))
    data["location"], data["traits"] = draw(_LOCATIONS), draw(_TRAITS)
    data["consent"] = draw(st.sampled_from([None, {"mail": True}, {"mail": False}]))
    return _envelope(draw, "consumer.upserted", data)


@st.composite
def provider_events(draw: st.DrawFn) -> Event:
    """What is known of a provider, now and then that it closed."""
    data: dict[str, Any] = {"provider_id": draw(PROVIDERS)}
    if draw(st.integers(0, 4)) == 0:
        return _envelope(draw, "provider.closed", data)
    data["name"] = draw(st.sampled_from([None, "Café", "Chez Ann"]))
    data["categories"] = draw(st.sampled_from([None, [], ["food", "bar"]]))
    data["location"], data["traits"] = draw(_LOCATIONS), draw(_TRAITS)
    return _envelope(draw, "provider.upserted", data)


def events() -> st.SearchStrategy[Event]:
    """Any event."""
    return st.one_of(relation_events(), relation_events(), consumer_events(), provider_events())
