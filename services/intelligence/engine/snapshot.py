"""What is computed on the whole graph every few minutes: PageRank and communities. Pure.

Nodes and edges are sorted by id first, so that the result is a function of the set of relationships.
"""

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.intelligence.engine.graph import Graph
from services.intelligence.engine.question import Side
from services.intelligence.engine.rows import Floats, summed

_SEED = 1
_DAMPING = 0.85
_ROUNDS = 100
_PRECISION = 1e-12


@dataclass(frozen=True, slots=True)
class NodeFigures:
    """``community`` is the number of one in ``SnapshotFigures.communities``; ``pagerank`` adds up to 1 over all
    nodes."""

    side: Side
    id: str
    degree: int
    pagerank: float
    community: int


@dataclass(frozen=True, slots=True)
class Community:
    """Numbers count from 0, the largest first. ``inside`` is the number of relationships within it, ``outside``
    of those that leave it. Its first providers have the most relationships within it; that number is beside each.
    All members are found by ``NodeFigures.community``."""

    number: int
    consumers: int
    providers: int
    inside: int
    outside: int
    first_providers: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class SnapshotFigures:
    nodes: tuple[NodeFigures, ...]
    communities: tuple[Community, ...]
    modularity: float


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The graph at one moment, sorted: consumers first, then providers, each by id; ``consumers[k]`` and
    ``providers[k]`` are the places in these of edge k. Taking it is quick, and what follows may run beside
    changes, in another thread or process."""

    consumer_ids: tuple[str, ...]
    provider_ids: tuple[str, ...]
    consumers: NDArray[np.int32]
    providers: NDArray[np.int32]

    @classmethod
    def of(cls, graph: Graph) -> "Snapshot":
        order = {side: names.numbers() for side, names in graph.names.items()}
        places = np.zeros(graph.names["provider"].room, np.int64)
        places[order["provider"]] = np.arange(len(order["provider"]))
        neighbours, lengths = graph.rows["consumer"].gather(order["consumer"])
        consumers = np.repeat(np.arange(len(lengths)), lengths)
        keys = np.sort(consumers << 32 | places[neighbours])
        consumer_ids, provider_ids = (
            tuple(names.ids[each] for each in order[side].tolist()) for side, names in graph.names.items()
        )
        return cls(
            consumer_ids,
            provider_ids,
            (keys >> 32).astype(np.int32),
            (keys & 0xFFFFFFFF).astype(np.int32),
        )

    def figures(self, shown: int = 10) -> SnapshotFigures:
        """PageRank, degree and community of every node. ``shown`` providers stand first in a community.
        Needs networkit."""
        ranks = self.pagerank()
        communities, modularity = self._communities()
        count = len(self.consumer_ids)
        degrees = np.concatenate(
            (
                np.bincount(self.consumers, minlength=count),
                np.bincount(self.providers, minlength=len(self.provider_ids)),
            )
        )
        ids = (*self.consumer_ids, *self.provider_ids)
        rows = zip(ids, degrees.tolist(), ranks.tolist(), communities.tolist(), strict=True)
        nodes = tuple(
            NodeFigures("consumer" if at < count else "provider", id, degree, rank, community)
            for at, (id, degree, rank, community) in enumerate(rows)
        )
        return SnapshotFigures(nodes, self._described(communities, shown), modularity)

    def pagerank(self) -> Floats:
        """The rank of consumers, then of providers (Page, Brin, Motwani, Winograd 1999), over relationships as
        undirected."""
        count, total = len(self.consumer_ids), len(self.consumer_ids) + len(self.provider_ids)
        if not total:
            return np.zeros(0)
        heads, tails = self.consumers.astype(np.int64), self.providers.astype(np.int64) + count
        degrees = np.bincount(np.concatenate((heads, tails)), minlength=total)
        ranks: Floats = np.full(total, 1 / total)
        for _ in range(_ROUNDS):
            sent = ranks / degrees
            arrived = summed(heads, sent[tails], total) + summed(tails, sent[heads], total)
            new: Floats = (1 - _DAMPING) / total + _DAMPING * arrived
            if float(np.abs(new - ranks).sum()) < _PRECISION:
                return new
            ranks = new
        return ranks

    def _communities(self) -> tuple[NDArray[np.int64], float]:
        """The community of each node, numbered by size, then by the first member; and the modularity."""
        import networkit  # slow to import

        count, total = len(self.consumer_ids), len(self.consumer_ids) + len(self.provider_ids)
        if not total:
            return np.zeros(0, np.int64), 0.0
        networkit.setNumberOfThreads(1)
        networkit.setSeed(_SEED, False)
        graph = networkit.GraphFromCoo((self.consumers, self.providers + count), n=total)
        leiden = networkit.community.ParallelLeiden(graph, randomize=False)
        leiden.run()
        partition = leiden.getPartition()
        modularity = float(networkit.community.Modularity().getQuality(partition, graph))
        found = np.array(partition.getVector(), np.int64)
        _, first, numbers, sizes = np.unique(found, return_index=True, return_inverse=True, return_counts=True)
        order = np.lexsort((first, -sizes))
        renumbered = np.empty(len(order), np.int64)
        renumbered[order] = np.arange(len(order))
        return renumbered[numbers], modularity

    def _described(self, communities: NDArray[np.int64], shown: int) -> tuple[Community, ...]:
        count = len(self.consumer_ids)
        many = int(communities.max(initial=-1)) + 1
        of_consumer, of_provider = communities[:count], communities[count:]
        inside = of_consumer[self.consumers] == of_provider[self.providers]
        within = np.bincount(of_consumer[self.consumers[inside]], minlength=many)
        leaving = np.bincount(of_consumer[self.consumers[~inside]], minlength=many) + np.bincount(
            of_provider[self.providers[~inside]], minlength=many
        )
        numbers = np.bincount(self.providers[inside], minlength=len(self.provider_ids))
        firsts = _first(self.provider_ids, of_provider, numbers, shown)
        consumers, providers = Counter(of_consumer.tolist()), Counter(of_provider.tolist())
        return tuple(
            Community(
                number,
                consumers[number],
                providers[number],
                int(within[number]),
                int(leaving[number]),
                firsts.get(number, ()),
            )
            for number in range(many)
        )


def _first(
    ids: tuple[str, ...], communities: NDArray[np.int64], inside: NDArray[np.int64], shown: int
) -> dict[int, tuple[tuple[str, int], ...]]:
    """The members of each community with the most relationships inside; equal ones by id."""
    order = np.lexsort((np.arange(len(ids)), -inside, communities))
    bounds = np.flatnonzero(np.diff(communities[order], prepend=-1))
    ends = np.append(bounds[1:], len(order))[: len(bounds)]
    return {
        int(communities[order[at]]): tuple(
            (ids[each], int(inside[each])) for each in order[at : min(at + shown, end)].tolist()
        )
        for at, end in zip(bounds.tolist(), ends.tolist(), strict=True)
    }
