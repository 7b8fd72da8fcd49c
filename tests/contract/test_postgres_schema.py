"""What the Postgres sink says of a schema that is not as it needs it."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from services.postgres.connections import Connections, prepare
from services.postgres.schema import MIGRATIONS
from shared.contracts.errors import ConfigurationError, Unavailable
from shared.runtime.protocols import Claim, Progress
from shared.sinks.target import Row, Target
from tests.support.postgres import PostgresWorld
from tests.support.waiting import PATIENCE_SECONDS

CLAIM = Claim("postgres@1/kith.relation-changes/0", 1)
VALUES = {"provider_id": "p", "kind": "view", "time": "2026-05-01T10:00:00Z", "traits": {"a": 1}}
FACT = Row("relations", ("default", "c", "r"), {**VALUES, **dict.fromkeys(("amount", "currency", "rating"))})


@pytest.fixture
def world(postgres_dsn: str) -> Iterator[PostgresWorld]:
    found = PostgresWorld(postgres_dsn, "test_schema")
    yield found
    found.close()


def run(world: PostgresWorld, statement: str) -> None:
    with psycopg.connect(world.dsn, autocommit=True, options=f"-c search_path={world.schema}") as connection:
        connection.execute(statement.encode())


def applied(target: Target[Row]) -> Progress | None:
    target.apply(CLAIM, Progress(1), [FACT])
    return target.claimed(CLAIM)


@pytest.mark.parametrize(
    ("made", "why"),
    [
        ("CREATE TABLE relations (id integer)", "already exists"),
        ("CREATE TABLE version (v text)", "its table version is another one"),
        ("CREATE TABLE version (version text)", "its table version is another one"),
    ],
)
def test_tables_of_somebody_else_are_left_alone_and_named(world: PostgresWorld, made: str, why: str) -> None:
    world.drop()
    run(world, f"CREATE SCHEMA {world.schema}")
    run(world, made)
    with pytest.raises(ConfigurationError, match=rf"the schema test_schema .*{why}.*KITH_POSTGRES_SCHEMA"):
        prepare(world.connections)


def test_a_schema_of_a_newer_version_is_refused(world: PostgresWorld) -> None:
    run(world, f"UPDATE version SET version = {len(MIGRATIONS) + 1}")
    with pytest.raises(ConfigurationError, match="made by a newer Kith"):
        prepare(world.connections)


@pytest.mark.parametrize(
    ("changed", "named", "mended"),
    [
        ("ALTER TABLE relations RENAME COLUMN rating TO stars", "rating", "RENAME COLUMN stars TO rating"),
        (
            "ALTER TABLE relations ALTER traits TYPE integer USING NULL",
            "traits",
            "ALTER traits TYPE jsonb USING NULL",
        ),
        ("ALTER TABLE relations ADD mine text NOT NULL", "mine", "DROP mine"),
        ("ALTER TABLE relations ADD CONSTRAINT late CHECK (kind <> 'view')", "late", "DROP CONSTRAINT late"),
    ],
)
def test_a_table_that_was_changed_is_waited_for(
    world: PostgresWorld, changed: str, named: str, mended: str
) -> None:
    """The error names what is in the way, and no value. Once it is gone the sink goes on."""
    target = world.target()
    assert target.claimed(CLAIM) == Progress()
    run(world, changed)
    with pytest.raises(Unavailable, match=f"somebody has to change that: .*{named}") as refused:
        applied(target)
    assert "2026" not in str(refused.value)
    run(world, f"ALTER TABLE relations {mended}")
    assert applied(target) == Progress(1)
    assert list(world.rows("relations")) == [("default", "c", "r")]


def test_a_role_without_rights_is_waited_for(world: PostgresWorld) -> None:
    run(world, "DROP ROLE IF EXISTS test_schema_reader")
    run(world, "CREATE ROLE test_schema_reader LOGIN PASSWORD 'x'")
    try:
        dsn = psycopg.conninfo.make_conninfo(world.dsn, user="test_schema_reader", password="x")
        reader = Connections(dsn, world.schema)
        with pytest.raises(Unavailable, match="permission denied for schema test_schema"):
            prepare(reader)
        run(world, f"GRANT USAGE ON SCHEMA {world.schema} TO test_schema_reader")
        run(world, "GRANT SELECT ON version TO test_schema_reader")
        prepare(reader)
        reader.close()
    finally:
        run(world, "DROP OWNED BY test_schema_reader; DROP ROLE test_schema_reader")


def test_sinks_that_start_at_once_make_the_schema_once(world: PostgresWorld) -> None:
    world.drop()
    together = threading.Barrier(4)

    def start(_: int) -> None:
        connections = world.connect()
        together.wait(PATIENCE_SECONDS)
        prepare(connections)

    with ThreadPoolExecutor(4) as processes:
        list(processes.map(start, range(4)))
    with world.connections.lent() as connection:
        versions = connection.execute("SELECT version FROM test_schema.version").fetchall()
    assert versions == [(len(MIGRATIONS),)]
