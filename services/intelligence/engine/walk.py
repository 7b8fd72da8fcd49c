"""The random walk on the graph, in whole numbers. Pure.

RP3β: from the node that is asked about to its neighbours, by the strengths of its relationships; on to their
neighbours, back to the first side, and across once more, each time to any neighbour alike; at the end
popularity is taken out (Paudel, Christoffel, Newell, Bernstein, "Updatable, Accurate, Diverse, and Scalable
Recommendations for Interactive Applications", ACM TiiS 7(1), 2016; Cooper, Lee, Radzik, Siantos, "Random Walks
in Recommender Systems", WWW 2014). With the start u, its neighbours i, and v, who are on u's side:

    b(v)  = Σ_i rint(2^50 · w(u, i) / (|rows of i| · |row of v|))      w adds up to 1
    S(j)  = Σ_v b(v)                                                   over the neighbours v of j
    score = S(j) · |row of j|^−β / 2^50

Each term is a whole number in a double, and all of them together are at most 2^50 and a half for each term:
sums stay below 2^53, so they are exact, in any order. At β = 0 a score is the probability that the walk ends
there.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import fsum

import numpy as np
from numpy.typing import NDArray

from services.intelligence.engine.graph import Graph
from services.intelligence.engine.names import Names
from services.intelligence.engine.question import Question, Side, other
from services.intelligence.engine.rows import Floats, Ints, summed

SCALE = 2.0**50


@dataclass(frozen=True, slots=True)
class First:
    """The first step: the neighbours of the start, and the probability of each. They add up to 1."""

    nodes: Ints
    chances: Floats
    sampled: bool


class Walk:
    """One walk, with what is needed to explain it. ``graph`` must not change meanwhile.

    ``first`` are the neighbours of the start, ``met`` those on its own side that they lead to, one row of
    ``lengths[k]`` for each of ``first``, ``parts`` what the walk adds to them. ``sums`` is S, by number, of the
    side opposite the start.
    """

    def __init__(self, graph: Graph, side: Side, start: int, first: First) -> None:
        self.graph, self.side, self.start = graph, side, start
        self.first = first.nodes
        far, near = graph.rows[other(side)], graph.rows[side]
        most = min(graph.sample, max(32, graph.budget // len(self.first)))
        self.met, self.lengths = far.gather(self.first, most, graph.names[side])
        room = graph.names[side].room
        degrees = near.length[:room].astype(np.float64)
        self.parts = np.rint(np.repeat(first.chances * SCALE / self.lengths, self.lengths) / degrees[self.met])
        # The start itself leads only to what it knows.
        self.parts[self.met == start] = 0
        carried = summed(self.met, self.parts, room)
        carriers = np.flatnonzero(carried)
        self.sampled = first.sampled or bool((far.length[self.first] > most).any())
        total = int(near.length[carriers].sum(dtype=np.int64))
        if total > 2 * graph.budget:
            carriers = self._fewer(carriers, 2 * graph.budget / total)
        onward, lengths = near.gather(carriers)
        self.sums = summed(onward, np.repeat(carried[carriers], lengths), graph.names[other(side)].room)

    def _fewer(self, carriers: Ints, share: float) -> Ints:
        """Only some carriers (``low_hashes``)."""
        low = low_hashes(self.graph.names[self.side], share)
        self.parts[~low[self.met]] = 0
        self.sampled = True
        return carriers[low[carriers]]

    def own(self) -> Floats:
        """The part of the sum of each of ``first`` that its own relationship with the start makes."""
        starts = np.cumsum(self.lengths) - self.lengths
        return np.add.reduceat(self.parts, starts)

    def by_first(self, targets: Sequence[int]) -> Iterator[tuple[Floats, NDArray[np.bool_]]]:
        """States for each target what each of ``first`` adds to its sum, and through which of ``met``. For a walk
        from a consumer."""
        far = self.graph.rows[other(self.side)]
        starts = np.cumsum(self.lengths) - self.lengths
        for block in range(0, len(targets), 16):
            # Who knows which of sixteen targets, looked up once for all of them.
            known = np.zeros(self.graph.names[self.side].room, np.uint16)
            for bit, target in enumerate(targets[block : block + 16]):
                known[far.row(target)] |= np.uint16(1 << bit)
            bits = known[self.met]
            bits[self.parts == 0] = 0
            for bit in range(len(targets[block : block + 16])):
                knows = (bits & np.uint16(1 << bit)) > 0
                yield np.add.reduceat(self.parts * knows, starts), knows


def low_hashes(names: Names, share: float) -> NDArray[np.bool_]:
    """Which ids have a low hash: about ``share`` of them, chosen by the set of ids."""
    low: NDArray[np.bool_] = names.hashes < np.uint64(min(int(share * 2.0**64), 2**64 - 1))
    return low


def first_step(graph: Graph, side: Side, start: int, question: Question) -> First | None:
    """Where a walk goes first, by strength; None if nothing weighs anything."""
    near = graph.rows[side]
    sampled = int(near.length[start]) > graph.sample
    nodes = near.gather(np.array([start]), graph.sample, graph.names[other(side)])[0]
    weights = graph.relative(words_of(graph, side, start, nodes), question)
    counted = weights > 0
    nodes, weights = nodes[counted], weights[counted]
    if not len(nodes):
        return None
    # Relative to the strongest, so that the sum does not run over; fsum is exact, so in any order the same.
    weights = weights / weights.max()
    return First(nodes, weights / fsum(weights.tolist()), sampled)


def words_of(graph: Graph, side: Side, start: int, nodes: Ints) -> NDArray[np.uint64]:
    """The words of the relationships of ``start`` with ``nodes``, which are the first of its row."""
    consumers = graph.rows["consumer"]
    assert consumers.words is not None
    if side == "consumer":
        return consumers.row_words(start)[: len(nodes)]
    at, _ = consumers.positions(nodes)
    words: NDArray[np.uint64] = consumers.words[at[consumers.to[at] == start]]
    return words


def known_strengths(graph: Graph, side: Side, start: int, nodes: Sequence[int], question: Question) -> Floats:
    """The strength, as of the question's month, of the relationships of ``start`` with some nodes that it has one
    with."""
    ids, mine = graph.names[other(side)].ids, graph.names[side].ids[start]
    pairs = [(mine, ids[node]) if side == "consumer" else (ids[node], mine) for node in nodes]
    return np.array([graph.strength(consumer, provider, question) or 0.0 for consumer, provider in pairs])


def popularity_factors(graph: Graph, side: Side, beta: float) -> Floats:
    """|row|^−β of each node of a side."""
    degrees = graph.rows[side].length[: graph.names[side].room]
    most = int(degrees.max(initial=1))
    return _powers(beta, 1 << most.bit_length())[degrees]


@lru_cache(32)
def _powers(beta: float, room: int) -> Floats:
    """Computes powers by Python, one by one: the last bit of a vector's power may depend on its place."""
    return np.array([1.0, *(degree**-beta for degree in range(1, room))])
