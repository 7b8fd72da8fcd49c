"""Change capture of a real Postgres' log: a logical slot, written as Debezium would, and the lag that it shows."""

import random
import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.support.builders import MemoryKith
from tests.support.capture import MemoryChanges, captured, decoded
from tests.support.documents import of
from tests.support.importer import Recorder
from tests.support.paths import ROOT

#: The tests' clocks are behind that of Postgres.
YEARS = timedelta(days=730)
MAPPING = """
[[source]]
format = "debezium"
table = "public.orders"
type = "relation.recorded"
time = {column = "ordered_at", format = "unix_us"}

[source.fields]
relation_id = "id"
kind = {const = "purchase"}
consumer_id = "customer"
provider_id = "shop"
amount = {column = "total", scale = 100}
currency = {const = "EUR", when = "total"}
"""


class Shop:
    """A table of orders and a slot that keeps its log."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self.connection, self.slot = connection, f"kith_{uuid.uuid4().hex[:12]}"
        self.run("DROP TABLE IF EXISTS public.orders")
        self.run(
            "CREATE TABLE public.orders (id integer PRIMARY KEY, customer text NOT NULL, shop text NOT NULL,"
            " total numeric(10, 2), ordered_at timestamp NOT NULL)"
        )
        self.run("ALTER TABLE public.orders REPLICA IDENTITY FULL")
        self.run("SELECT pg_create_logical_replication_slot(%s, 'test_decoding')", self.slot)

    def run(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        found = self.connection.execute(statement, values)
        return [] if found.description is None else list(found.fetchall())

    def live(self, chance: random.Random, transactions: int) -> None:
        """Orders that come, change, change hands and go, several in one transaction."""
        for number in range(transactions):
            with self.connection.transaction():
                for _ in range(chance.randrange(1, 5)):
                    id, customer = chance.randrange(12), chance.choice(["ada", "o'neil", "bob"])
                    total = None if chance.random() < 0.2 else chance.randrange(100, 9_999)
                    match chance.choice(["put", "put", "put", "give", "delete"]):
                        case "put":
                            self.run(
                                "INSERT INTO orders VALUES (%s, %s, 'cafe', %s / 100.0,"
                                " '2024-05-01'::timestamp + %s * interval '1.5 hours')"
                                " ON CONFLICT (id) DO UPDATE SET total = excluded.total",
                                id,
                                customer,
                                total,
                                number,
                            )
                        case "give":
                            self.run("UPDATE orders SET customer = %s WHERE id = %s", customer, id)
                        case "delete":
                            self.run("DELETE FROM orders WHERE id = %s", id)

    def changes(self) -> list[tuple[str, str]]:
        """What the slot has kept, which is then read for good."""
        found = self.run(
            "SELECT lsn::text, data FROM pg_logical_slot_get_changes(%s, NULL, NULL, 'include-timestamp', 'on')",
            self.slot,
        )
        return [(lsn, data) for lsn, data in found]

    def lag(self) -> int:
        """Bytes of the log that the slot has not read, as the guide shows it."""
        [query] = of(ROOT / "docs/how-to/capture.md", "sql")
        shown = f"SELECT pg_size_bytes(not_read) FROM ({query.rstrip().rstrip(';')}) AS found WHERE slot_name = %s"
        [(lag,)] = self.run(shown, self.slot)
        return int(lag)

    def close(self) -> None:
        self.run("SELECT pg_drop_replication_slot(%s)", self.slot)
        self.run("DROP TABLE public.orders")


@pytest.fixture
def shop(postgres_dsn: str) -> Iterator[Shop]:
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        if connection.execute("SHOW wal_level").fetchone() != ("logical",):
            pytest.skip("the Postgres of KITH_POSTGRES has no logical log")
        found = Shop(connection)
        yield found
        found.close()


def test_facts_are_the_rows_whatever_order_their_events_come_in(shop: Shop, tmp_path: Path) -> None:
    chance = random.Random(11)
    (tmp_path / "shop.toml").write_text(MAPPING)
    shop.live(chance, 40)
    recorder = Recorder()
    log = MemoryChanges(decoded(shop.changes(), "id", YEARS))
    report = captured(log, recorder, tmp_path / "rejects.jsonl", mapping=tmp_path / "shop.toml")
    assert report.total("rejected") == 0
    assert report.total("accepted") == len(recorder.messages) > 50
    chance.shuffle(recorder.messages)
    kith = MemoryKith()
    kith.publisher.send(recorder.messages)
    kith.drain()
    assert not kith.documents()["dead_letters"]
    facts = {
        int(each["relation_id"]): (each["consumer_id"], each.get("amount"))
        for each in kith.documents()["relations"].values()
        if not each["retracted"]
    }
    rows = shop.run("SELECT id, customer, (100 * total)::integer FROM orders")
    assert facts == {id: (customer, total) for id, customer, total in rows}
    assert len(rows) > 3


def test_the_guide_shows_what_a_reader_leaves_in_the_log(shop: Shop) -> None:
    shop.live(random.Random(5), 30)
    left = shop.lag()
    assert left > 1_000
    assert shop.changes()
    assert shop.lag() < left / 2
