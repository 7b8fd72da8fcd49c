"""What is recognised as certainly valid gets the verdict that the codec gives it."""

import json
import tracemalloc
from datetime import timedelta
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.bench.events import FRESH, generate
from services.ingest.certain import Fact, FactData, certain_fact
from services.ingest.door import Accepted, Door
from shared.contracts.codec import MAX_EVENT_BYTES
from shared.contracts.events import RelationData, RelationRecorded
from shared.contracts.topics import Topics
from tests.support import strategies
from tests.unit.ingest.test_door import BATCHED, NOW, PLAIN, STRUCTURED, fields

AHEAD = 3600


class ByCodec(Door):
    """Judges every event by the codec."""

    def _accept(self, *_: Any) -> Accepted | None:
        return None


IDS = [
    "r",
    "a b",
    " a",
    "a ",
    "",
    "a:b",
    ":a",
    "x" * 200,
    "x" * 201,
    "é",
    "e\u0301",
    "\x7f",
    "\u200b",
    "\\",
    None,
    1,
]
TIMES = [
    *("2026-11-20T12:00:00Z", "2026-11-20T12:00:00+01:00", "2026-11-20T12:00:00-23:59", "2026-11-20T12:00:00.5Z"),
    *(
        "2026-11-20T12:00:00+24:00",
        "2026-11-20T12:00:00+00:60",
        "2026-11-20T12:00:00.1234567Z",
        "2026-11-20T12:00Z",
    ),
    *(
        "2026-11-20t12:00:00Z",
        "2026-11-20T12:00:00z",
        "2026-11-20 12:00:00Z",
        "2026-11-20T12:00:00",
        "20261120T120000Z",
    ),
    *(
        "2026-02-29T12:00:00Z",
        "2028-02-29T12:00:00Z",
        "2026-11-20T24:00:00Z",
        "2026-11-20T12:00:60Z",
        "2026-W47-5",
    ),
    *(
        "2026-11-21T13:00:00Z",
        "2026-11-21T13:00:00.000001Z",
        "2026-11-21T14:00:00+01:00",
        "2026-11-21T12:00:01-01:00",
    ),
    *("1970-01-01T00:00:00Z", "1970-01-01T00:00:00+00:01", "1969-12-31T23:59:59.999999Z", "0000-01-01T00:00:00Z"),
    *(
        "0001-01-01T00:00:00+01:00",
        "9000-01-01T00:00:00Z",
        "9999-12-31T23:59:59-01:00",
        "",
        "1",
        1_700_000_000,
        None,
    ),
]
TRAITS: list[Any] = [
    *({}, {"a": 1}, {"a": True, "b": "x"}, {"a": 1.5}, {"a": 1.0}, {"a": [1]}, {"a": None}, {"a": {}}, {"a b": 1}),
    *(
        {"a": "x" * 1_000},
        {"a": "x" * 1_001},
        {"a" * 64: 1},
        {"a" * 65: 1},
        {"": 1},
        {"a\n": 1},
        {"$a": 1},
        [],
        "x",
    ),
    *(
        {"a": 2**63 - 1},
        {"a": 2**63},
        {"a": -(2**63)},
        {"a": -(2**63) - 1},
        {"a": "kith1.x"},
        {"id": 1},
        {"a": ":"},
    ),
    *({f"n{n}": n for n in range(count)} for count in (100, 101)),
]
#: Good and bad values, also of what is bounded: on its bounds, and just beyond them.
ATTRIBUTES: dict[str, list[Any]] = {
    "specversion": ["1.0", "0.3", 1.0, None],
    "id": IDS,
    "source": [*IDS, "https://example.org/shop"],
    "type": ["relation.recorded", "relation.retracted", "consumer.upserted", "x", None],
    "time": TIMES,
    "subject": ["", "x", "x" * 1_000, "x" * 1_001, "a:b", "\x7f", None, 1],
    "tenant": ["default", "acme", "Acme", "", "a\n", None],
    "dataversion": [1, 2, 1.0, True, "1", None],
    "sequence": ["1", None],
    "partitionkey": ["a", 1, None],
    "ID": ["x"],
    "data_base64": ["e30="],
}
DATA: dict[str, list[Any]] = {
    "relation_id": IDS,
    "consumer_id": IDS,
    "provider_id": IDS,
    "kind": ["a", "a" * 32, "a" * 33, "A", "1", "", "a b", "a\n", None, 1],
    "occurred_at": TIMES,
    "amount": [0, 10**12, 10**12 + 1, -(10**12), -(10**12) - 1, 1.0, True, "1", 2**64, None],
    "currency": ["EUR", "eur", "EURO", "EUR\n", "", None],
    "rating": [0, 100, 101, -1, 4.0, True, None],
    "text": [
        "",
        "good: very",
        "x" * 10_000,
        "x" * 10_001,
        "kith1." + "a" * 39,
        "tab\t",
        "\x7f",
        "é",
        "\u202e",
        None,
    ],
    "traits": [*TRAITS, None],
    "other": [1],
}
#: Members that are there a second time, however they are written.
AGAIN = ['"id":"x",', '"id" :"x",', '"time"\t:\n"2026-11-20T12:00:00Z",', '"rating":1,', '"rating" : 1,', '"a":1,']
STYLES: list[dict[str, Any]] = [{"separators": (",", ":")}, {}, {"indent": 1}, {"ensure_ascii": False}]
#: A fact in which little is stated, and one in which much is.
FEW = fields()
MUCH = fields(tenant="acme", subject="s", dataversion=1)
MUCH["data"] |= {"amount": 1, "currency": "EUR", "rating": 3, "text": "good", "traits": {"a": 1}}
MUCH["data"] |= {"occurred_at": "2026-11-20T12:00:00Z"}


def changed(event: dict[str, Any], name: str, value: Any) -> dict[str, Any]:
    """The event with another value of an attribute, or of a member of its data (``data.name``)."""
    part, _, member = name.partition(".")
    return event | ({part: event[part] | {member: value}} if member else {name: value})


CHANGES = ATTRIBUTES | {f"data.{name}": values for name, values in DATA.items()}


def check(events: list[str], mode: str = BATCHED, tenant: str | None = None, *, sealing: bool = False) -> None:
    """The verdicts are those of the codec."""
    body = events[0] if mode == STRUCTURED else f"[{', '.join(events)}]"
    headers = [(b"content-type", mode.encode())]
    headers += [] if tenant is None else [(b"kith-tenant", tenant.encode())]
    found, wanted = (
        kind(Topics("kith"), AHEAD, sealing=sealing, erased=lambda _, consumer: consumer == "bob").judge(
            body.encode(), headers, NOW
        )
        for kind in (Door, ByCodec)
    )
    assert found == wanted


@pytest.mark.parametrize("name", CHANGES)
def test_a_verdict_is_that_of_the_codec(name: str) -> None:
    for event, value, style in product((FEW, MUCH), CHANGES[name], STYLES):
        check([json.dumps(changed(event, name, value), **style)])


@pytest.mark.parametrize("again", AGAIN)
def test_so_is_one_on_repeated_members(again: str) -> None:
    for event, style in product((FEW, MUCH), STYLES):
        for before in ("{", '"data":{', '"data": {'):
            check([json.dumps(event, **style).replace(before, before + again, 1)])


@pytest.mark.parametrize("mode", [BATCHED, PLAIN])
@pytest.mark.parametrize("tenant", [None, "default", "acme"])
def test_so_is_one_on_an_event_that_is_too_large_with_what_is_added(mode: str, tenant: str | None) -> None:
    for size in range(MAX_EVENT_BYTES - 40, MAX_EVENT_BYTES + 2):
        event = changed(FEW, "data.traits", {f"n{n}": "x" * 1_000 for n in range(33)})
        event["data"]["traits"]["n0"] = "x" * (1_000 + size - len(json.dumps(event)))
        assert len(json.dumps(event)) == size
        check([json.dumps(event)], mode, tenant)


@st.composite
def facts(draw: st.DrawFn) -> str:
    """A fact in JSON with anything out of the ordinary."""
    event = draw(st.sampled_from((FEW, MUCH)))
    for name in draw(st.lists(st.sampled_from(sorted(CHANGES)), max_size=3)):
        event = changed(event, name, draw(st.sampled_from(CHANGES[name])))
    return json.dumps(event, **draw(st.sampled_from(STYLES)))


EVENTS = strategies.events().map(lambda event: event.model_dump_json(exclude_none=True))


@given(
    st.lists(facts() | EVENTS, min_size=1, max_size=5),
    st.sampled_from([BATCHED, PLAIN, STRUCTURED]),
    st.sampled_from([None, "acme", "default"]),
    st.booleans(),
)
def test_so_are_those_of_any_request(events: list[str], mode: str, tenant: str | None, sealing: bool) -> None:
    check(events, mode, tenant, sealing=sealing)


@pytest.mark.parametrize("style", [{"separators": (",", ":")}, {}, {"indent": 2}])
def test_the_facts_of_most_senders_are_recognised(style: dict[str, Any]) -> None:
    facts = [json.loads(event.value) for event in generate(200, FRESH)]
    facts += [{**fields(tenant="acme", subject="s", dataversion=1), "source": "https://example.org/shop"}]
    facts[-1]["data"] |= {"occurred_at": "2026-01-01T00:00:00.123+01:00", "consumer_id": "Ann Example"}
    for fact in facts:
        found = certain_fact(json.dumps(fact, **style).encode(), NOW, timedelta(seconds=AHEAD))
        assert found is not None, fact
        assert found.data.consumer_id == fact["data"]["consumer_id"]


@pytest.mark.parametrize("name", ["tenant", "data.kind", "data.currency", "data.traits"])
def test_no_long_text_is_remembered(name: str) -> None:
    count, size = 100, 30_000
    tracemalloc.start()
    try:
        for number in range(count):
            text = f"{number:0{size}}"
            fact = changed(changed(FEW, "data.amount", 1), "data.currency", "EUR")
            fact = changed(fact, name, {text: 1} if name == "data.traits" else text)
            assert certain_fact(json.dumps(fact).encode(), NOW, timedelta(seconds=AHEAD)) is None
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < count * size / 2


def test_it_knows_the_fields_of_the_models() -> None:
    """A new one is left to the codec until it is here. Sequences need a schema revision."""
    assert set(FactData.__struct_fields__) == set(RelationData.model_fields)
    assert set(Fact.__struct_fields__) == set(RelationRecorded.model_fields) - {"sequence", "sequencetype"}
