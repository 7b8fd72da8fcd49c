"""The Cassandra sink over a real MongoDB, with its log in memory and tables of the test's choice."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from typing import Any

from pymongo.database import Database

from services.analytics.projection import AnalyticsProjection
from services.analytics.schema import COLLECTIONS as ANALYTICS
from services.cassandra.projection import CassandraProjection
from services.cassandra.reader import CurrentDocuments
from services.cassandra.rebuild import SinkRebuild
from services.cassandra.schema import BESIDE, COLLECTIONS
from services.cassandra.store import CurrentStore
from services.cassandra.subjects import Subjects
from services.cassandra.target import CassandraTarget
from shared.cassandra.protocol import Stamped, Tables
from shared.cassandra.rows import Row
from shared.cassandra.tables import BY_SCORE, TABLES
from shared.contracts.events import Event
from shared.mongo.store import MongoStore, prepare
from shared.runtime.protocols import Document, Projection, Store
from shared.runtime.runner import Runner
from shared.sinks.store import SinkStore
from shared.testing.memory import MemoryReader
from shared.versions.mongo_registry import MongoRegistry
from tests.support.builders import TOPICS
from tests.support.relations_driver import MongoKith

CHANGES = TOPICS.name("relation-changes")


class TroubledTables:
    """``tables`` whose writes fail where the next of ``plan`` says so: "before", "half" or "after" (they arrived,
    and the answer is lost). ``late`` keeps writes instead of letting them arrive, and the writer believes."""

    def __init__(self, tables: Tables, plan: Iterable[str] = (), *, late: bool = False) -> None:
        self._tables = tables
        self._plan = iter(plan)
        self._late = late
        self.kept: list[Sequence[Stamped]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tables, name)

    def write(self, groups: Sequence[Sequence[Stamped]]) -> None:
        from shared.contracts.errors import Unavailable

        if self._late:
            self.kept += groups
            return
        when = next(self._plan, "")
        if when == "before":
            raise Unavailable("Cassandra is away")
        self._tables.write(groups[: len(groups) // 2] if when == "half" else groups)
        if when:
            raise Unavailable("no answer in time")

    def arrive(self) -> None:
        self._tables.write(self.kept)
        self.kept = []


class SinkKith:
    """Relations and analytics of one database, and workers of the sink behind them."""

    def __init__(self, database: Database[Document], slice_events: int = 20, *, sealed: bool = False) -> None:
        self.kith = MongoKith(database, slice_events, sealed=sealed)
        prepare(database, {**ANALYTICS, **COLLECTIONS, **BESIDE})
        self.database = database
        self.now = 0.0
        self.log = self.kith.memory.log
        self.places = [place for place in self.log.records if place.topic == CHANGES]
        self._analytics = self._runner(AnalyticsProjection(TOPICS), MongoStore(database, ANALYTICS), 50)
        relations, analytics = MongoRegistry(database, "relations"), MongoRegistry(database, "analytics")
        self.current = CurrentDocuments(database, relations, analytics, lambda _: self.count())

    def emit(self, events: Iterable[Event]) -> None:
        """Relations and analytics have stored these events."""
        self.kith.store(events)
        self.count()

    def count(self) -> None:
        self._until_done(self._analytics, "analytics")

    def worker(
        self, tables: Tables, slice_events: int = 20, committer: Executor | None = None, owner: str = "test"
    ) -> Runner:
        """Another process of the sink, with all partitions."""
        store = SinkStore(
            CurrentStore(MongoStore(self.database, {**COLLECTIONS, **BESIDE}), self.current),
            CassandraTarget(tables),
        )
        return self._runner(CassandraProjection(TOPICS), store, slice_events, committer, owner)

    def drain(self, runner: Runner) -> None:
        self._until_done(runner, "cassandra")

    def step(self, runner: Runner, count: int = 1) -> None:
        for _ in range(count):
            self.now += 10.0
            runner.step(0)

    def rebuild(self, tables: Tables, between: Callable[[], None] = lambda: None) -> tuple[int, int] | None:
        names = dict.fromkeys(("relations", "relationships", "aggregates"), str)
        return SinkRebuild(
            self.database, names, self.current, tables, lambda *_: between(), lambda: False, lambda _: None
        ).run()

    def expected(self) -> dict[str, list[Row]]:
        return expected_rows(self.database)

    def _runner(
        self,
        projection: Projection[Any],
        store: Store,
        slice_events: int,
        committer: Executor | None = None,
        owner: str = "test",
    ) -> Runner:
        reader = MemoryReader(self.log)
        reader.assign(self.places)
        return Runner(
            reader,
            store,
            self.kith.memory.publisher,
            projection,
            owner=owner,
            dead_letters=TOPICS.name("dead-letters"),
            slice_events=slice_events,
            clock=lambda: self.now,
            committer=committer,
        )

    def _until_done(self, runner: Runner, name: str) -> None:
        wanted = {f"{name}@1/{place}": self.log.end(place) for place in self.places if self.log.end(place)}
        for _ in range(2_000):
            found = {each["_id"]: each.get("next") for each in self.database["positions"].find()}
            if all(found.get(id) == end for id, end in wanted.items()):
                return
            self.step(runner)
        raise AssertionError(f"{name} does not get to the end")


def expected_rows(database: Database[Document]) -> dict[str, list[Row]]:
    """The rows that MongoDB's documents make, by table and key."""
    subjects = Subjects()
    documents: dict[str, dict[str, Document]] = {}
    for name in ("relations", "relationships", "aggregates"):
        documents[name] = {each["_id"]: each for each in database[name].find()}
    for fact in documents["relations"].values():
        subjects.add_fact(fact["tenant"], fact["consumer_id"], fact["relation_id"])
    for pair in documents["relationships"].values():
        subjects.add_pair((pair["tenant"], pair["consumer_id"], pair["provider_id"]))
    for sums in documents["aggregates"].values():
        subjects.add_place((sums["tenant"], sums["by"], sums["key"], sums["day"], sums["partition"]))
    found: dict[str, list[Row]] = {name: [] for name in TABLES if name != BY_SCORE}
    for row in subjects.rows(documents):
        if row.values is not None:
            found[row.table].append(row)
    return {name: sorted(rows, key=lambda row: row.key) for name, rows in found.items()}


def stored(tables: Tables, tenants: Iterable[str] | None = None) -> dict[str, list[Row]]:
    """The rows of every table but the order, by key."""
    found: dict[str, list[Row]] = {}
    for name, table in TABLES.items():
        if name == BY_SCORE:
            continue
        partitions = {key[: len(table.partition)] for key in tables.keys(name)}
        rows = [row for partition in partitions for row in tables.rows(name, partition)]
        found[name] = sorted(
            (
                Row(
                    name,
                    tuple(row[column] for column in table.key),
                    {column: _plain(row[column]) for column in table.columns if column not in table.key},
                )
                for row in rows
                if tenants is None or row["tenant"] in tenants
            ),
            key=lambda row: row.key,
        )
    return found


def _plain(value: Any) -> Any:
    """The driver's maps as dictionaries."""
    return dict(value) if hasattr(value, "items") else value
