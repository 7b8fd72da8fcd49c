"""The view `daily` has the sums of analytics: it is computed of the same facts, in the database that has them."""

import random
from collections import Counter
from collections.abc import Iterator

import pytest
from psycopg import sql
from psycopg.rows import dict_row

from services.postgres.rows import write
from shared.sinks.target import Row
from tests.support.analytics_driver import PARTITIONS, History, fact, stored, summed
from tests.support.postgres import PostgresWorld

FACTS, CHANGES = 60, 200


@pytest.fixture
def world(postgres_dsn: str) -> Iterator[PostgresWorld]:
    found = PostgresWorld(postgres_dsn, "test_daily")
    yield found
    found.close()


def history() -> History:
    """Facts that come, change and go, of several currencies and none, around midnight."""
    chance, found = random.Random(17), History()
    for _ in range(CHANGES):
        number = chance.randrange(FACTS)
        consumer = f"c{number % 7}"
        after = None
        if chance.random() < 0.8:
            currency = chance.choice([None, "EUR", "JPY"])
            after = fact(
                provider=f"p{chance.randrange(3)}",
                kind=chance.choice(["view", "purchase"]),
                time=f"2026-11-{chance.randrange(20, 23)}T{chance.choice(['00:00:00', '23:59:59'])}Z",
                amount=None if currency is None else chance.randrange(-50, 10**10),
                currency=currency,
                rating=chance.choice([None, 5, 80]),
            )
        if after is not None or ("default", consumer, f"r{number}") in found.live:
            found.state(f"r{number}", after, consumer, partition=number % 7 % PARTITIONS)
    return found


def by_sql(world: PostgresWorld) -> dict[tuple[str, ...], int]:
    """The sums of the view by total, kind, provider, and provider and kind: in the form of ``summed``."""
    sums: Counter[tuple[str, ...]] = Counter()
    with world.connections.lent() as connection:
        view = sql.SQL("SELECT * FROM {}").format(sql.Identifier(world.schema, "daily"))
        found = connection.cursor(row_factory=dict_row).execute(view).fetchall()
    for row in found:
        provider, kind, currency = row["provider_id"], row["kind"], row["currency"]
        keys = {"total": "", "kind": kind, "provider": provider, "provider_kind": f"{provider}:{kind}"}
        for by, key in keys.items():
            place = (row["tenant"], by, key, row["day"].isoformat(), "")
            sums[*place, "count"] += row["count"]
            if currency is not None:
                sums[*place, currency] += row["amount"]
                sums[*place, currency, "facts"] += row["count"]
            sums[*place, "rating_count"] += row["rating_count"]
            sums[*place, "rating_sum"] += row["rating_sum"] or 0
    return {place: value for place, value in sums.items() if value}


def test_the_daily_sums_are_those_of_analytics(world: PostgresWorld) -> None:
    made = history()
    columns = ("provider_id", "kind", "time", "amount", "currency", "rating", "traits")
    rows = [
        Row("relations", place, {name: after.get(name) for name in columns}) for place, after in made.live.items()
    ]
    with world.connections.lent() as connection:
        write(connection, world.schema, rows)
    found = by_sql(world)
    assert len(found) > FACTS
    counted = {
        place: value
        for place, value in summed(stored(made)).items()
        if place[1] != "consumer" and place[4] == "" and place[5] != "consumers"
    }
    assert found == counted
