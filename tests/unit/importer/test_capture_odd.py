"""Odd records and tables: each becomes events or is rejected by name, and none of them ends the capture."""

import hashlib
import json
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.importer.changes import Translator
from services.importer.envelope import read_change
from services.importer.mapping import MappingError, load
from shared.contracts.errors import InvalidEvent
from shared.runtime.protocols import Partition, Record
from tests.support.capture import MAPPING, MemoryChanges, captured, envelope
from tests.support.importer import Recorder, write_mapping

ORDERS = Partition("shop.public.orders", 0)
ROW: dict[str, Any] = {
    "id": 1,
    "customer": "c",
    "shop": "s",
    "total": "5.00",
    "ordered_at": "2026-03-02T10:00:00Z",
    "note": None,
}
CUSTOMER: dict[str, Any] = {"id": "c", "name": "n", "email": "e", "tier": "gold", "bio": "b"}
MARK = "__debezium_unavailable_value"
VIEWS = """
[[source]]
{table}
type = "relation.recorded"
time = 2024-05-01T00:00:00Z

[source.fields]
relation_id = "id"
kind = {{ const = "view" }}
consumer_id = "customer"
provider_id = "shop"
"""
PEOPLE = """
[[source]]
format = "debezium"
table = "public.people"
type = "consumer.upserted"

[source.fields]
consumer_id = "id"
"""


def of(*values: bytes, key: bytes = b'{"id":1}') -> MemoryChanges:
    return MemoryChanges([Record(ORDERS, n, 0, key, value) for n, value in enumerate(values)])


def in_schema(schema: str | None, table: str, row: Mapping[str, Any] = ROW, op: str = "c") -> bytes:
    part = {"before": row} if op == "d" else {"after": row}
    value = json.loads(envelope(op, 5, 7, **part, table=table))
    value["source"]["schema"] = schema
    return json.dumps(value).encode()


def translated(mapping: Path, *values: bytes, key: bytes = b'{"id":1}') -> tuple[list[dict[str, Any]], list[Any]]:
    """The events, and the rejected changes."""
    rejects = mapping.with_name("rejects.jsonl")
    captured(of(*values, key=key), recorder := Recorder(), rejects, translate=Translator(load(mapping)))
    bad = [json.loads(line) for line in rejects.read_text().splitlines()] if rejects.exists() else []
    return recorder.events(), bad


def test_a_table_named_with_its_schema_is_that_table_only(tmp_path: Path) -> None:
    mapping = write_mapping(tmp_path, VIEWS.format(table='format = "debezium"\ntable = "public.orders"'))
    events, bad = translated(mapping, in_schema("archive", "orders"), in_schema("public", "orders"))
    assert [event["source"] for event in events] == ["cdc/shop/public.orders"]
    assert [(one["number"], one["field"]) for one in bad] == [(0, "source.table")]


def test_two_schemas_with_one_table_each_are_two_sources(tmp_path: Path) -> None:
    table = 'format = "debezium"\ntable = "{}.orders"\nname = "{}"'
    text = "".join(
        VIEWS.format(table=table.format(*names)) for names in [("public", "orders"), ("archive", "old")]
    )
    events, bad = translated(
        write_mapping(tmp_path, text), in_schema("archive", "orders"), in_schema("public", "orders")
    )
    assert bad == []
    assert [event["id"].partition("-")[2] for event in events] == ["old/1", "orders/1"]


@pytest.mark.parametrize("table", ['format = "debezium"\ntable = "orders"', 'path = "orders.csv"'])
@pytest.mark.parametrize("schema", ["public", "archive", None])
def test_a_source_without_a_schema_is_about_the_table_of_its_name(
    tmp_path: Path, table: str, schema: str | None
) -> None:
    mapping = write_mapping(tmp_path, VIEWS.format(table=table))
    events, bad = translated(mapping, in_schema(schema, "orders"))
    assert (len(events), bad) == (1, [])


def test_the_name_of_a_captured_table_is_a_label_and_no_table(tmp_path: Path) -> None:
    text = VIEWS.format(table='format = "debezium"\ntable = "public.orders"\nname = "refunds"')
    events, bad = translated(write_mapping(tmp_path, text), in_schema("public", "refunds"))
    assert (events, [one["field"] for one in bad]) == ([], ["source.table"])


@pytest.mark.parametrize(
    "left",
    [
        MARK,
        "X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ==",
        [MARK],
        ["X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ=="],
        list(MARK.encode()),
        {MARK: MARK},
        json.dumps({MARK: MARK}),
        [str(uuid.UUID(bytes=hashlib.md5(MARK.encode()).digest(), version=3))],
    ],
    ids=["text", "bytes", "texts", "list of bytes", "numbers", "hstore", "hstore as text", "uuids"],
)
def test_what_an_update_left_as_it_was_keeps_its_value(tmp_path: Path, left: Any) -> None:
    mapping = write_mapping(
        tmp_path, PEOPLE + 'traits.tags = "tags"\ntraits.tier = "tier"\ntraits.deep = "tags.deep"'
    )
    before = {"id": 1, "tags": ["a"], "tier": "gold"}
    events, bad = translated(
        mapping, envelope("u", 5, 7, table="people", before=before, after={"id": 1, "tags": left, "tier": "basic"})
    )
    assert bad == []
    assert events[0]["data"]["traits"] == {"tier": "basic"}


@pytest.mark.parametrize("kept", [[], [MARK, "a"], {MARK: "a"}, {}, [95, 95], "__debezium"])
def test_what_only_resembles_the_mark_is_a_value(tmp_path: Path, kept: Any) -> None:
    mapping = write_mapping(tmp_path, MAPPING.read_text())
    change = read_change(b'{"id":1}', envelope("c", 5, 7, after={**ROW, "note": kept}), ())
    assert change is not None
    assert change.row["note"] == kept
    assert list(Translator(load(mapping))(change))


@pytest.mark.parametrize("name", ["traits", "personal", "location", "consent"])
def test_a_profile_names_the_fields_of_a_container_one_by_one(tmp_path: Path, name: str) -> None:
    text = PEOPLE.replace("consumer", "provider") if name == "location" else PEOPLE
    with pytest.raises(MappingError, match=f"fields.{name}: .*one by one"):
        Translator(load(write_mapping(tmp_path, f'{text}{name} = "attrs"')))


@pytest.mark.parametrize("written", [json.dumps, dict])
def test_fields_within_json_are_read_and_removed(tmp_path: Path, written: Any) -> None:
    mapping = write_mapping(tmp_path, PEOPLE + 'traits.a = "attrs.a"\ntraits.b = "attrs.b"')
    rows = [{"id": 1, "attrs": value} for value in (written({"a": 1, "b": "x"}), written({"a": 2}), None)]
    events, bad = translated(
        mapping, *(envelope("c", 5 + n, 7, table="people", after=row) for n, row in enumerate(rows))
    )
    assert bad == []
    assert [event["data"]["traits"] for event in events] == [
        {"a": 1, "b": "x"},
        {"a": 2, "b": None},
        {"a": None, "b": None},
    ]


@pytest.mark.parametrize("attrs", ["{", "[1]", '"a"', "N/A", 7])
def test_fields_within_what_is_no_json_object_are_rejected(tmp_path: Path, attrs: Any) -> None:
    mapping = write_mapping(tmp_path, PEOPLE + 'traits.a = "attrs.a"')
    events, bad = translated(mapping, envelope("c", 5, 7, table="people", after={"id": 1, "attrs": attrs}))
    assert (events, [one["field"] for one in bad]) == ([], ["data.traits.a"])


@pytest.mark.parametrize("attrs", ["", " ", "N/A", " n/a"])
def test_a_text_that_means_a_missing_value_is_one_where_an_object_is_looked_for(
    tmp_path: Path, attrs: str
) -> None:
    text = PEOPLE.replace("type =", 'missing = ["", "N/A", "n/a"]\ntype =') + 'traits.a = "attrs.a"'
    events, bad = translated(
        write_mapping(tmp_path, text), envelope("c", 5, 7, table="people", after={"id": 1, "attrs": attrs})
    )
    assert (bad, events[0]["data"]["traits"]) == ([], {"a": None})


def test_a_field_may_say_itself_which_text_is_no_object(tmp_path: Path) -> None:
    text = PEOPLE + 'traits.a = { column = "attrs.a", missing = ["none"] }'
    events, bad = translated(
        write_mapping(tmp_path, text), envelope("c", 5, 7, table="people", after={"id": 1, "attrs": "none"})
    )
    assert (bad, events[0]["data"]["traits"]) == ([], {"a": None})


def test_a_relation_takes_the_whole_object_that_debezium_writes_as_text(tmp_path: Path) -> None:
    text = VIEWS.format(table='format = "debezium"\ntable = "public.orders"') + 'traits = "attrs"'
    events, bad = translated(
        write_mapping(tmp_path, text), envelope("c", 5, 7, after={**ROW, "attrs": '{"a": 1, "b": [1.5]}'})
    )
    assert bad == []
    assert events[0]["data"]["traits"] == {"a": 1, "b": [1.5]}


NUMBERS = VIEWS.format(table='format = "debezium"\ntable = "public.orders"')
DELETED = {"id": 1, "customer": 0, "shop": 0, "total": 0}


def in_types(value: bytes, **columns: dict[str, Any]) -> bytes:
    """With Debezium's schema, in which a column may not be null unless ``columns`` says otherwise."""
    row = json.loads(value)["before"]
    types = [{"field": name, "optional": False, **columns.get(name, {})} for name in row]
    schema = {"fields": [{"field": "before", "fields": types}]}
    return json.dumps({"schema": schema, "payload": json.loads(value)}).encode()


def people(deleted: str) -> str:
    text = PEOPLE.replace('consumer_id = "id"', 'consumer_id = "number"')
    return text.replace("type =", f'deleted = "{deleted}"\ntype =')


@pytest.mark.parametrize("row", [{"note": ""}, {"note": 0}, {"note": "x"}, {"note": "x", "shop": "s"}])
def test_a_deleted_row_that_was_logged_may_name_a_consumer_or_a_provider_whose_number_is_0(
    tmp_path: Path, row: Any
) -> None:
    value = in_schema("public", "orders", {**DELETED, **row}, "d")
    events, bad = translated(write_mapping(tmp_path, NUMBERS), in_types(value, note={"optional": True}))
    assert bad == []
    assert (events[0]["type"], events[0]["data"]["relation_id"]) == ("relation.retracted", "1")


@pytest.mark.parametrize(
    "row",
    [
        {},
        {"total": None},
        {"at": "1970-01-01T00:00:00Z", "note": "", "paid": False, "more": "{}", "rate": 0.0},
        {"total": 5, "customer": None},
        # What the table says of a column without a value, and what Debezium does of some types.
        {"status": "new"},
        {"active": True},
        {"at": "00:00:00Z"},
        {"lasts": "P0Y0M0DT0H0M0.0S"},
        {"place": {"x": 0.0, "y": 0.0, "wkb": "AQEAAAAAAAAAAAAAAAAAAAAAAAAA", "srid": None}},
    ],
)
@pytest.mark.parametrize("typed", [True, False])
def test_a_deleted_row_that_names_nobody_is_rejected(tmp_path: Path, row: Any, typed: bool) -> None:
    value = in_schema("public", "orders", {**DELETED, **row}, "d")
    defaults: dict[str, Any] = {"status": {"default": "new"}, "active": {"default": True, "optional": True}}
    value = in_types(value, **defaults) if typed else value
    events, bad = translated(write_mapping(tmp_path, NUMBERS), value)
    assert (events, ["REPLICA IDENTITY FULL" in one["detail"] for one in bad]) == ([], [True])


@pytest.mark.parametrize("deleted", ["anonymise", "delete"])
@pytest.mark.parametrize("typed", [True, False])
def test_nobody_is_erased_whose_number_may_be_one_that_was_not_logged(
    tmp_path: Path, deleted: str, typed: bool
) -> None:
    row = {"id": 1, "number": 0, "name": "", "status": "new", "note": "x"}
    value = envelope("d", 5, 7, before=row, table="people")
    value = in_types(value, note={"optional": True}) if typed else value
    events, bad = translated(write_mapping(tmp_path, people(deleted)), value)
    assert (events, ["REPLICA IDENTITY FULL" in one["detail"] for one in bad]) == ([], [True])


@pytest.mark.parametrize("written", [json.dumps, dict])
def test_a_row_that_names_another_consumer_within_json_leaves_no_relation_behind(
    tmp_path: Path, written: Any
) -> None:
    mapping = write_mapping(tmp_path, NUMBERS.replace('"customer"', '"attrs.c"'))
    rows = [{**ROW, "attrs": written({"c": name, "n": n})} for n, name in enumerate("aab")]
    events, bad = translated(
        mapping, *(envelope("u", 5 + n, 7 + n, before=rows[n], after=rows[n + 1]) for n in range(2))
    )
    assert bad == []
    assert [(event["type"], event["data"]["consumer_id"]) for event in events] == [
        ("relation.recorded", "a"),
        ("relation.recorded", "b"),
        ("relation.retracted", "a"),
    ]


def test_what_an_update_left_as_it_was_names_nobody_else(tmp_path: Path) -> None:
    mapping = write_mapping(tmp_path, NUMBERS.replace('"customer"', '"attrs.c"'))
    before = {**ROW, "attrs": '{"c": "a"}'}
    events, bad = translated(mapping, envelope("u", 5, 7, before=before, after={**before, "attrs": MARK}))
    assert (events, [one["field"] for one in bad]) == ([], ["data.consumer_id"])


def with_schema(row: dict[str, Any], **types: dict[str, Any]) -> bytes:
    columns = [{"field": name, **types.get(name, {})} for name in row]
    schema = {"fields": [{"field": "after", "fields": columns}]}
    return json.dumps({"schema": schema, "payload": json.loads(envelope("c", 5, 7, after=row))}).encode()


@pytest.mark.parametrize(
    ("written", "type", "found"),
    [
        ("2026-03-02T10:00:00Z", "IsoTimestamp", "2026-03-02T09:00:00Z"),
        ("2026-03-02T10:00:00.123456Z", "IsoTimestamp", "2026-03-02T09:00:00.123456Z"),
        ("2026-03-02Z", "IsoDate", "2026-03-02T00:00:00Z"),
        ("2026-03-02T10:00:00Z", "ZonedTimestamp", "2026-03-02T10:00:00Z"),
    ],
)
def test_times_that_debezium_writes_as_text_have_no_offset_where_their_columns_have_none(
    tmp_path: Path, written: str, type: str, found: str
) -> None:
    """With time.precision.mode=isostring, Debezium appends Z to a timestamp of any clock."""
    value = with_schema({**ROW, "ordered_at": written}, ordered_at={"name": f"io.debezium.time.{type}"})
    mapping = write_mapping(tmp_path, MAPPING.read_text().replace('"UTC"', '"Europe/Berlin"'))
    events, bad = translated(mapping, value)
    assert ([one["data"]["occurred_at"] for one in events], bad) == ([found], [])


@pytest.mark.parametrize(
    ("value", "type"),
    [
        ("ME8=", {"name": "org.apache.kafka.connect.data.Decimal", "parameters": {"scale": "0"}}),
        ({"scale": 0, "value": "ME8="}, {"name": "io.debezium.data.VariableScaleDecimal"}),
    ],
)
def test_a_number_without_decimals_is_an_id(tmp_path: Path, value: Any, type: dict[str, Any]) -> None:
    """Databases that came from Oracle have numeric(20) for their keys."""
    mapping = write_mapping(tmp_path, MAPPING.read_text())
    events, bad = translated(mapping, with_schema({**ROW, "id": value}, id=type))
    assert ([one["data"]["relation_id"] for one in events], bad) == (["12367"], [])


def test_a_column_that_a_row_does_not_have_removes_nothing_and_is_said(tmp_path: Path) -> None:
    """As after ALTER TABLE … RENAME COLUMN."""
    after = {name: value for name, value in CUSTOMER.items() if name != "name"} | {"full_name": "n", "email": None}
    row = {name: value for name, value in ROW.items() if name != "total"}
    translate = Translator(load(write_mapping(tmp_path, MAPPING.read_text())))
    changes = [envelope("u", 5, 7, after=after, table="customers"), envelope("c", 5, 8, after=row)]
    captured(of(*changes), recorder := Recorder(), tmp_path / "r.jsonl", translate=translate)
    customer, order = recorder.events()
    assert customer["data"]["personal"] == {"email": None}
    assert "amount" not in order["data"]
    assert translate.notes.lacking == {"public.customers.name": 1, "public.orders.total": 1}


ODD = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(10**15, 10**18)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from(["c", "u", "d", "r", "true", "public", "orders", MARK, "2026-01-01", "0E9", "postgresql"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
TYPES = ["io.debezium.time.Date", "io.debezium.time.Timestamp", "io.debezium.time.NanoTimestamp"]
TYPES += ["io.debezium.time.IsoTimestamp", "io.debezium.time.IsoDate"]
TYPES += ["org.apache.kafka.connect.data.Decimal", "io.debezium.data.VariableScaleDecimal"]


@given(st.data())
def test_any_envelope_becomes_events_or_is_refused(data: st.DataObject) -> None:
    """An envelope in which any part may be anything."""
    op = data.draw(st.sampled_from(["c", "u", "d", "r"]))
    table, row = data.draw(st.sampled_from([("orders", ROW), ("customers", CUSTOMER)]))
    payload = json.loads(envelope(op, 1_772_445_600_000, 7, before=row, after=row, table=table))
    for part in ("before", "after", "source"):
        for name in data.draw(st.sets(st.sampled_from(sorted(payload[part])), max_size=2)):
            payload[part][name] = data.draw(ODD)
    for name in data.draw(st.sets(st.sampled_from(sorted(payload)), max_size=1)):
        payload[name] = data.draw(ODD)
    record: Any = payload
    if data.draw(st.booleans()):
        columns = [
            {"field": name, "name": data.draw(st.sampled_from(TYPES)), "parameters": data.draw(ODD)}
            for name in row
        ]
        schema = {"fields": [{"field": part, "fields": columns} for part in ("before", "after")]}
        record = {"schema": data.draw(st.just(schema) | ODD), "payload": payload}
    key = data.draw(st.none() | st.just({"id": 1}) | ODD)
    try:
        change = read_change(
            None if key is None else json.dumps(key).encode(), data.draw(_damaged(json.dumps(record).encode())), ()
        )
        made = [] if change is None else list(Translator(load(MAPPING))(change))
    except InvalidEvent:
        return
    assert all(one.source for one in made)


def _damaged(raw: bytes) -> st.SearchStrategy[bytes]:
    """As it is, or with a number of any size in place of the first 7."""
    numbers = st.from_regex(rb"-?[1-9][0-9]{0,25}(\.[0-9]{1,5})?([eE][-+]?[0-9]{1,25})?", fullmatch=True)
    return st.just(raw) | numbers.map(lambda number: raw.replace(b"7", number, 1))


@pytest.mark.parametrize(
    "change",
    [
        {"source": {"ts_ms": 1_780_000_000_000_000}, "ts_ms": None},
        {"op": ["c"]},
        {"op": {"c": 1}},
        {"after": {"total": "TOTAL"}},
    ],
)
def test_an_odd_record_is_rejected_and_the_next_is_read(tmp_path: Path, change: dict[str, Any]) -> None:
    value = json.loads(envelope("c", 5, 1, after=ROW))
    for name, part in change.items():
        value[name] = {**value[name], **part} if name in ("source", "after") else part
    raw = json.dumps(value).encode().replace(b'"TOTAL"', b"1e99999999999999999999")
    events, bad = translated(write_mapping(tmp_path, MAPPING.read_text()), raw, envelope("c", 6, 2, after=ROW))
    assert (len(events), [one["number"] for one in bad]) == (1, [0])
