"""The intelligence service over the relations service in memory, and how its graph is compared with documents."""

import copy
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from pymongo.database import Database

from services.intelligence.advisers import Advisers
from services.intelligence.follower import Follower
from services.intelligence.job import Job
from services.intelligence.models import Models
from services.intelligence.nodes import Nodes
from services.intelligence.outcomes.recorder import Recorder
from services.intelligence.outcomes.shown import Recording
from services.intelligence.outcomes.store import OutcomeStore
from services.intelligence.outcomes.touched import Touched
from services.intelligence.parameters import Defaults
from services.intelligence.questions import Questions
from services.intelligence.rows import Money, joined, kinds_of
from services.intelligence.scan import MongoSource
from services.intelligence.schema import COLLECTIONS
from services.intelligence.state import UNBOUNDED, Provider, State
from shared.contracts.errors import Unavailable
from shared.contracts.events import document_id
from shared.contracts.topic_names import CHANGES
from shared.erasure.derived import forget
from shared.mongo.store import prepare
from shared.runtime.protocols import Document
from shared.testing.memory import MemoryLog, MemoryTail
from shared.versions.live import LiveNames
from shared.versions.mongo_registry import MongoRegistry
from tests.support.builders import STRENGTH, TOPICS, MemoryKith
from tests.support.measures_world import NOW

Triple = tuple[str, str, str]
#: Every list is recorded.
EVERYTHING = Recording(1.0, timedelta(days=30), timedelta(days=180))


class MemorySource:
    """What the follower reads of a MemoryKith."""

    def __init__(self, kith: MemoryKith, purposes: Mapping[str, str] | None = None) -> None:
        self._kith = kith
        self._purposes = purposes or {}
        self.version = 1
        self.available = True
        #: Called in the middle of a scan, after the numbers were read.
        self.during_scan: Callable[[], object] = lambda: None

    def _check(self) -> None:
        if not self.available:
            raise Unavailable("the store is unavailable")

    def numbers(self) -> dict[str, int]:
        self._check()
        return {
            position: entry.progress.emitted
            for position, entry in self._kith.store.positions.items()
            if entry.progress.emitted
        }

    def scan(self, going_on: Callable[[], bool], most: int = UNBOUNDED) -> State:
        assert going_on()
        self._check()
        # As of one moment, as MongoDB's snapshot is.
        state, documents = State(self.numbers(), self._purposes, most), copy.deepcopy(self._kith.documents())
        self.during_scan()
        for each in documents["consumers"].values():
            purpose = state.purpose_of(each["tenant"])
            if purpose is not None and each.get("consent", {}).get(purpose):
                state.tenant(each["tenant"]).grant(each["consumer_id"], True)
        for each in documents["providers"].values():
            state.tenant(each["tenant"]).describe(each["provider_id"], Provider.of(each))
        state.load(whole(documents))
        return state

    def providers(self, tenant: str, ids: list[str]) -> dict[str, Provider]:
        found = self._kith.documents()["providers"]
        return {id: Provider.of(found[key]) for id in ids if (key := document_id(tenant, id)) in found}

    def money(self, tenant: str, pairs: list[tuple[str, str]], asked: Money) -> dict[str, int]:
        wanted = {document_id(tenant, *pair) for pair in pairs}
        found = {
            e["consumer_id"]: asked.of(e["kinds"]) for e in whole(self._kith.documents()) if e["_id"] in wanted
        }
        return {consumer: net for consumer, net in found.items() if net is not None}

    def granted(self, tenant: str, ids: list[str], purpose: str) -> set[str]:
        self._check()
        found = self._kith.documents()["consumers"]
        return {id for id in ids if found.get(document_id(tenant, id), {}).get("consent", {}).get(purpose)}


class MemoryIntelligence:
    """One process: ``follow`` scans and takes everything that is in the log."""

    def __init__(self, kith: MemoryKith, purposes: Mapping[str, str] | None = None) -> None:
        self.kith, self.source = kith, MemorySource(kith, purposes)
        self.now = 0.0
        self.letters: list[Any] = []
        self.erased: list[tuple[str, str]] = []
        self.follower = Follower(
            lambda: MemoryTail(kith.log, [TOPICS.name(short) for short in CHANGES.values()]),
            self.source,
            TOPICS,
            unreadable=lambda record, error: self.letters.append((record, error)),
            erased=lambda tenant, id: self.erased.append((tenant, id)),
            clock=lambda: self.now,
        )
        self.questions = Questions(self.follower, self.source, Defaults(STRENGTH.weights, 6.0, lambda: NOW))

    def follow(self, during: Callable[[], object] = lambda: None) -> None:
        """Scan, and take what the log has then. ``during`` happens in the middle of the scan."""
        self.source.during_scan = during
        self.follower.once(rounds=2)


def over(
    database: Database[Document], purposes: Mapping[str, str] | None = None
) -> tuple[Questions, Nodes, Models, Recorder]:
    """Questions about what a database holds at the moment, after the job has run. Every list is recorded."""
    log = MemoryLog(dict.fromkeys([TOPICS.name(short) for short in CHANGES.values()], 1))
    source = MongoSource(database, purposes or {})
    touched = Touched()
    follower = Follower(lambda: MemoryTail(log, log.partitions), source, TOPICS, listener=touched)
    follower.once(rounds=2)
    nodes = Nodes(database, "test")
    prepare(database, COLLECTIONS)
    Job(follower, nodes, 300.0, lambda: NOW).look()
    models = Models(database)
    advisers = Advisers(models, lambda: float("inf"))
    recorder = Recorder(
        OutcomeStore(database, LiveNames(MongoRegistry(database, "relations"))),
        follower,
        touched,
        EVERYTHING,
        source.granted,
        lambda tenant, ids: forget(database, tenant, ids),
        lambda: NOW,
    )
    questions = Questions(follower, source, Defaults(STRENGTH.weights, 6.0, lambda: NOW), list, advisers)
    return questions, nodes, models, recorder


def relationships_of(documents: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> dict[Triple, Any]:
    """Stored relationships as (tenant, consumer, provider) → kind → month → count."""
    return {
        (each["tenant"], each["consumer_id"], each["provider_id"]): {
            kind: {month: cell["count"] for month, cell in months.items()}
            for kind, months in each["kinds"].items()
        }
        for each in whole(documents)
    }


def whole(documents: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """Stored relationships with their kinds, also those that have them in documents of their own."""
    cells: dict[Triple, list[Mapping[str, Any]]] = {}
    for each in documents["relationship_cells"].values():
        cells.setdefault((each["tenant"], each["consumer_id"], each["provider_id"]), []).append(each)
    return [
        {"kinds": joined(cells.get((each["tenant"], each["consumer_id"], each["provider_id"]), ())), **each}
        for each in documents["relationships"].values()
    ]


def graph_of(state: State, *, withheld: bool = False) -> dict[Triple, Any]:
    """The graphs of a state in the same form, with what is withheld or without."""
    found: dict[Triple, Any] = {}
    for name, tenant in state.tenants.items():
        graphs = [tenant.graph, tenant.withheld] if withheld else [tenant.graph]
        rows = {
            (consumer, provider): kinds_of(graph, consumer, provider)
            for graph in graphs
            for consumer, provider, _ in graph.all_cells()
        }
        for (consumer, provider), kinds in rows.items():
            found[name, consumer, provider] = {
                kind: {month: cell["count"] for month, cell in months.items()} for kind, months in kinds.items()
            }
    return found
