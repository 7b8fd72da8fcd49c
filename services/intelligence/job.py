"""The job that finds communities and PageRank every few minutes, on a snapshot of each tenant's graph."""

import logging
import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from services.intelligence.engine.snapshot import Community, NodeFigures, Snapshot, SnapshotFigures
from services.intelligence.follower import Follower
from services.intelligence.nodes import Nodes
from services.intelligence.state import Provider
from shared.contracts.errors import Unavailable
from shared.runtime.protocols import Document

log = logging.getLogger(__name__)

#: Communities that are described; smaller ones are counted.
DESCRIBED = 200
#: Categories and places of each, and members of each side.
SHOWN = 5
_LOOK_SECONDS = 2.0


class Job:
    """Runs on its own thread. Several processes take turns by a lease per tenant (``Nodes.lease``). ``clock``
    returns aware times."""

    def __init__(self, follower: Follower, nodes: Nodes, seconds: float, clock: Any) -> None:
        self._follower, self._nodes, self._seconds, self._clock = follower, nodes, seconds, clock
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="graph-job", daemon=True)
        self.runs = 0
        #: Of all runs together.
        self.seconds = 0.0

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(10.0)

    def _work(self) -> None:
        while not self._stop.wait(_LOOK_SECONDS):
            try:
                self.look()
            except Unavailable as error:
                log.warning("communities are not found now, trying again: %s", error)
            except Exception:
                log.exception("communities cannot be found; correct the cause, no restart is needed")
                self._stop.wait(30.0)

    def look(self) -> None:
        """Run for every tenant whose turn it is. Raises Unavailable."""
        if self._follower.problems():
            return
        tenants = self._follower.tenants
        # One that has lost its last relationship has figures of before.
        for tenant in sorted(tenants | self._nodes.tenants()):
            if self._stop.is_set():
                return
            if self._is_held(tenant) and self._nodes.lease(tenant):
                self.run(tenant)

    def _is_held(self, tenant: str) -> bool:
        """Whether this process has the relationships of a tenant: its figures are not those of none."""
        with self._follower.reading(tenant) as state:
            return not state.known(tenant).outgrown

    def run(self, tenant: str) -> None:
        """Find and store the figures of a tenant. Raises Unavailable."""
        began = time.monotonic()
        at: datetime = self._clock()
        with self._follower.reading(tenant) as state:
            known = state.known(tenant)
            snapshot, seen, edges = Snapshot.of(known.graph), dict(state.seen), known.graph.edges
            providers = dict(known.providers)
        # It may take minutes, in which erasures of all tenants go on: who has left meanwhile is left out below.
        figures = snapshot.figures(SHOWN)
        # Until everything is stored, no erasure may rely on this process having forgotten somebody.
        with self._follower.writing():
            gone = self._gone(tenant, figures.nodes)
            nodes = [each for each in figures.nodes if each.side == "provider" or each.id not in gone]
            try:
                self._nodes.store(tenant, nodes, lambda: not self._stop.is_set())
            finally:
                # What was deleted about them when they withdrew their consent has been stored again.
                if gone := self._gone(tenant, nodes):
                    self._nodes.delete(tenant, sorted(gone))
            took = time.monotonic() - began
            job = {
                "at": at,
                "positions": [{"origin": origin, "number": number} for origin, number in sorted(seen.items())],
                "seconds": took,
                "nodes": len(nodes),
                "edges": edges,
                "modularity": figures.modularity,
                "communities": described(figures, providers),
            }
            self._nodes.finish(tenant, job, self._seconds)
        self.runs += 1
        self.seconds += took

    def _gone(self, tenant: str, nodes: Sequence[NodeFigures]) -> set[str]:
        """The consumers who have left the graph since the snapshot."""
        with self._follower.reading(tenant) as state:
            names = state.known(tenant).graph.names["consumer"]
            return {each.id for each in nodes if each.side == "consumer" and names.find(each.id) is None}


def described(figures: SnapshotFigures, providers: Mapping[str, Provider]) -> list[Document]:
    """The largest communities as they are stored: without consumers, whom an erasure would have to find."""
    members: dict[int, list[str]] = {}
    for node in figures.nodes:
        if node.side == "provider" and node.community < DESCRIBED:
            members.setdefault(node.community, []).append(node.id)
    return [_one(each, members.get(each.number, []), providers) for each in figures.communities[:DESCRIBED]]


def _one(community: Community, members: Iterable[str], providers: Mapping[str, Provider]) -> Document:
    known = [providers[id] for id in members if id in providers]
    categories = Counter(category for provider in known for category in provider.categories)
    places = Counter(provider.city for provider in known if provider.city is not None)
    return {
        "id": str(community.number),
        "consumers": community.consumers,
        "providers": community.providers,
        "inside": community.inside,
        "outside": community.outside,
        "categories": _shares(categories),
        "places": _shares(places),
        "strongest": [{"id": id, "inside": inside} for id, inside in community.first_providers],
    }


def _shares(counted: Counter[str]) -> list[Document]:
    first = sorted(counted.items(), key=lambda each: (-each[1], each[0]))[:SHOWN]
    return [{"name": name, "providers": count} for name, count in first]
