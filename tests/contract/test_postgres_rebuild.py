"""`kith rebuild postgres` on a real MongoDB and a real Postgres: rows end as the documents are, whatever became of
them, and whatever is written meanwhile."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from psycopg import sql

from services.postgres.projection import TABLES, rows_of
from services.postgres.rebuild import SinkRebuild
from shared.contracts.errors import Fenced
from shared.contracts.events import document_id
from shared.runtime.protocols import Claim, Progress
from shared.sinks.target import Row
from tests.support.postgres import PostgresWorld, expected_rows
from tests.support.relations_driver import Mongo, MongoKith, history
from tests.support.waiting import PATIENCE_SECONDS, wait_for

EVENTS = 150


@pytest.fixture
def world(postgres_dsn: str) -> Iterator[PostgresWorld]:
    found = PostgresWorld(postgres_dsn, "test_rebuild")
    yield found
    found.close()


def rebuild(database: Mongo, world: PostgresWorld) -> tuple[int, int] | None:
    return SinkRebuild(database, str, world.connections, lambda *_: None, lambda: False, lambda _: None).run()


def rows(world: PostgresWorld) -> dict[str, Any]:
    return {name: world.rows(name) for name in TABLES}


def spoil(world: PostgresWorld, statement: str) -> None:
    with world.connections.lent() as connection:
        assert connection.execute(sql.SQL(statement).format(sql.Identifier(world.schema))).rowcount > 0


def test_rows_that_were_changed_lost_or_invented_are_right_again(
    mongo_database: Mongo, world: PostgresWorld
) -> None:
    MongoKith(mongo_database).store(history(9)[:EVENTS])
    expected = expected_rows(mongo_database)
    done = rebuild(mongo_database, world)
    assert done is not None
    assert done[1] == 0
    assert rows(world) == expected
    assert expected["relations"]
    assert expected["relationships"]
    spoil(world, "UPDATE {}.relations SET amount = 1, provider_id = 'nobody'")
    spoil(world, "DELETE FROM {}.relationships WHERE consumer_id = 'ann'")
    spoil(
        world,
        "INSERT INTO {0}.relations SELECT tenant || '-other', consumer_id, relation_id, 'p', 'k', now()"
        " FROM {0}.relations",
    )
    spoil(world, "INSERT INTO {}.providers (tenant, provider_id, closed) VALUES ('default', 'invented', false)")
    done = rebuild(mongo_database, world)
    assert done is not None
    assert done[1] == len(expected["relations"]) + 1
    assert rows(world) == expected


def test_a_slice_that_was_read_before_is_refused(mongo_database: Mongo, world: PostgresWorld) -> None:
    """Its documents may be of a version that is not live any more."""
    MongoKith(mongo_database).store(history(3)[:EVENTS])
    target, claim = world.target(), Claim("postgres@1/kith.relation-changes/0", 1)
    assert target.claimed(claim) == Progress()
    target.apply(claim, Progress(3, 0, {"a": 3}), [])
    rebuild(mongo_database, world)
    late = Row("relations", ("default", "late", "r"), None)
    with pytest.raises(Fenced):
        target.apply(claim, Progress(4, 0, {"a": 4}), [late])
    # Claimed again, it goes on from where it was.
    assert target.claimed(Claim(claim.position, 2)) == Progress(3, 0, {"a": 3})
    assert rows(world) == expected_rows(mongo_database)


def test_a_slice_that_was_read_later_is_written_later(mongo_database: Mongo, world: PostgresWorld) -> None:
    """Between the documents and the rows of a piece: without a lock the piece would write the older row last."""
    kith = MongoKith(mongo_database)
    kith.store(history(5)[:EVENTS])
    target, claim = world.target(), Claim("postgres@1/kith.relation-changes/0", 1)
    asked = 0

    def apply() -> None:
        target.claimed(claim)
        named = {"relations": {key: document_id(*key) for key in expected_rows(mongo_database)["relations"]}}
        found = {"relations": {each["_id"]: each for each in mongo_database["relations"].find()}}
        target.apply(claim, Progress(1), list(rows_of(named, found)))

    def waits() -> bool:
        with psycopg.connect(world.dsn) as connection:
            query = "SELECT 1 FROM pg_locks WHERE NOT granted AND relation = to_regclass(%s)"
            return connection.execute(query, [f"{world.schema}.positions"]).fetchone() is not None

    with ThreadPoolExecutor(1) as pool:

        def name_of(name: str) -> str:
            """The second time that it is asked for relations: their documents are read, no row is written."""
            nonlocal asked
            asked += name == "relations"
            if asked == 3 and name == "relations":
                kith.store(history(6)[:EVENTS])
                applied.append(pool.submit(apply))
                wait_for("the slice to wait", waits)
            return name

        applied: list[Future[None]] = []
        done = SinkRebuild(
            mongo_database, name_of, world.connections, lambda *_: None, lambda: False, lambda _: None
        ).run()
        applied[0].result(PATIENCE_SECONDS)
    assert done is not None
    found = world.rows("relations")
    assert found == expected_rows(mongo_database)["relations"]


def test_after_a_switch_in_between_it_begins_again(mongo_database: Mongo, world: PostgresWorld) -> None:
    """To a version whose differences nobody has published: what was written before is of the old one."""
    MongoKith(mongo_database).store(history(4)[:EVENTS])
    for name in TABLES:
        more: list[dict[str, Any]] = [{"$set": {"kind": "other"}}] if name == "relations" else []
        mongo_database[name].aggregate([*more, {"$out": f"{name}_2"}])
    live = ""

    def report(what: str, _: int) -> None:
        nonlocal live
        if what == "relationships":
            live = "_2"

    done = SinkRebuild(
        mongo_database, lambda name: name + live, world.connections, report, lambda: False, lambda _: None
    ).run()
    assert done is not None
    facts = expected_rows(mongo_database)["relations"]
    assert facts
    assert world.rows("relations") == {key: {**row, "kind": "other"} for key, row in facts.items()}
