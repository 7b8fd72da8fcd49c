"""Any order and repetition of a table's changes ends in what the table holds."""

import itertools
import json
import random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from services.importer.changes import Translator
from services.importer.envelope import read_change
from services.importer.mapping import load
from shared.contracts.errors import InvalidEvent
from shared.runtime.protocols import Headers
from tests.support.builders import MemoryKith
from tests.support.capture import MAPPING, envelope

Row = dict[str, Any]
UNCHANGED = "__debezium_unavailable_value"
FIRST_MS, FIRST_LSN = 1_772_445_600_000, 9_999_990
_LOADED = load(MAPPING)
#: A deleted customer is not erased: that cannot be taken back, and rows of the drawn histories come back.
KEEPING = _LOADED.model_copy(
    update={"source": [source.model_copy(update={"deleted": None}) for source in _LOADED.source]}
)

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["orders", "customers"]),
        st.integers(1, 3),
        st.sampled_from(["delete", "change", "change", "rename", "rekey"]),
        st.integers(0, 3),
        # Most changes are of the millisecond of the one before; places in the log differ in their digits.
        st.sampled_from([0, 0, 0, 1, 1_000]),
        st.integers(1, 12),
    ),
    max_size=14,
)


def row_of(table: str, key: int, value: int) -> Row:
    if table == "orders":
        note = None if value == 0 else f"note {value}"
        return {
            "id": key,
            "customer": f"c-{value % 2}",
            "shop": "s",
            "total": value,
            "ordered_at": "2026-01-01",
            "note": note,
        }
    return {
        "id": f"c-{key}",
        "name": None,
        "email": None,
        "tier": [None, "gold", "basic", "x"][value],
        "bio": f"b{value}",
    }


class Table:
    """Two tables of Postgres with REPLICA IDENTITY FULL, and what Debezium writes about them. With ``apart`` their
    primary keys are not what names a row to Kith."""

    def __init__(self, apart: bool) -> None:
        self.rows: dict[str, dict[int, Row]] = {"orders": {}, "customers": {}}
        self.log: list[tuple[bytes, bytes, Headers]] = []
        self.ms, self.lsn = FIRST_MS, FIRST_LSN
        self._apart = apart
        self._keys: dict[int | str, int] = {}
        # Neither the former nor the later key is always the larger text.
        self._fresh = itertools.cycle([5, 3, 17, 9, 1, 12])

    def step(self, table: str, key: int, action: str, value: int, later: int, further: int) -> None:
        self.ms, self.lsn = self.ms + later, self.lsn + further
        rows = self.rows[table]
        before = rows.get(key)
        if action == "delete":
            if before is not None:
                self._write(table, "d", before, None)
                del rows[key]
            return
        to = key
        if before is not None and (action == "rename" or (action == "rekey" and self._apart)):
            if action == "rename":
                to = key % 3 + 1
            if to != key and (other := rows.pop(to, None)) is not None:
                self._write(table, "d", other, None)
            rows[to] = row_of(table, to, value)
            if to != key:
                del rows[key]
            self._rekey(table, before, rows[to])
            return
        rows[key] = row_of(table, key, value)
        self._write(table, "c" if before is None else "u", before, rows[key])

    def _rekey(self, table: str, before: Row, after: Row) -> None:
        """Another primary key: Debezium writes a deletion and an insert, of one place in the log."""
        self._write(table, "d", before, None, (("__debezium.newkey", b"{}"),))
        self.lsn -= 1
        self._keys.pop(after["id"], None)
        self._write(table, "c", None, after, (("__debezium.oldkey", b"{}"),))

    def _write(self, table: str, op: str, before: Row | None, after: Row | None, headers: Headers = ()) -> None:
        self.lsn += 1
        if table == "customers" and before and after and before["bio"] == after["bio"]:
            after = {**after, "bio": UNCHANGED}
        self._add(
            (after or before or {})["id"],
            envelope(op, self.ms, self.lsn, before=before, after=after, table=table),
            headers,
        )

    def snapshot(self, lsn: int | None, snapshot: str) -> None:
        """A snapshot's rows carry the time of their reading, which may be after changes that follow."""
        for table, rows in self.rows.items():
            for row in rows.values():
                self._add(row["id"], envelope("r", self.ms + 500, lsn, after=row, table=table, snapshot=snapshot))

    def _add(self, id: int | str, value: bytes, headers: Headers = ()) -> None:
        key = {"id": id}
        if self._apart:
            if id not in self._keys:
                self._keys[id] = next(self._fresh)
            key = {"no": self._keys[id]}
        self.log.append((json.dumps(key).encode(), value, headers))


def state(table: Table) -> tuple[dict[Any, Any], dict[str, Any]]:
    orders = {
        (row["customer"], str(row["id"])): (row["total"] * 100, row["note"])
        for row in table.rows["orders"].values()
    }
    customers = {
        row["id"]: {name: row[name] for name in ("tier", "bio") if row[name] is not None}
        for row in table.rows["customers"].values()
    }
    return orders, customers


@settings(max_examples=150)
@given(STEPS, STEPS, STEPS, st.integers(), st.booleans(), st.booleans())
def test_any_order_and_repetition_ends_in_the_table(
    unseen: list[Any], first: list[Any], second: list[Any], seed: int, again: bool, apart: bool
) -> None:
    table = Table(apart)
    for step in unseen:
        table.step(*step)
    table.log.clear()
    table.snapshot(table.lsn, "true")
    for step in first:
        table.step(*step)
    if again:
        table.snapshot(None, "incremental")
    for step in second:
        table.step(*step)

    chance = random.Random(seed)
    sent = table.log + [one for one in table.log if chance.random() < 0.3]
    chance.shuffle(sent)
    translate = Translator(KEEPING)
    kith = MemoryKith()
    for key, value, headers in sent:
        change = read_change(key, value, headers)
        assert change is not None
        for made in translate(change):
            assert not isinstance(made.event, InvalidEvent), made.event
            kith.publish([made.event])
    kith.drain()

    documents = kith.documents()
    found = {
        (one["consumer_id"], one["relation_id"]): (one["amount"], one.get("text"))
        for one in documents["relations"].values()
        if not one["retracted"]
    }
    orders, customers = state(table)
    assert found == orders
    traits = {id: documents["consumers"][f"default:{id}"].get("traits", {}) for id in customers}
    assert traits == customers
    assert not documents["dead_letters"]
