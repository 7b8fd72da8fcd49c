"""Why: the terms of a score, largest first. Pure."""

from collections.abc import Sequence

import numpy as np

from services.intelligence.engine.answers import Via
from services.intelligence.engine.graph import Graph
from services.intelligence.engine.question import Question
from services.intelligence.engine.ranking import best
from services.intelligence.engine.rows import Floats, Ints, counted, summed
from services.intelligence.engine.walk import Walk

#: The terms that are listed, the number of the others, and their sum.
Reasons = tuple[tuple[Via, ...], int, int]


def explain(walk: Walk, targets: Sequence[int], question: Question) -> list[Reasons]:
    """The largest ``question.reasons`` terms of the sum of each of ``targets``.

    A term is a provider that the consumer knows, whichever of both was asked about: of those that lead from the
    consumer to the provider, or, from a provider, of those of the consumer that the walk came through.
    """
    by_consumer = walk.side == "consumer"
    return (_of_consumer if by_consumer else _of_provider)(walk, targets, question)


def _of_consumer(walk: Walk, targets: Sequence[int], question: Question) -> list[Reasons]:
    ends = np.cumsum(walk.lengths)
    starts = ends - walk.lengths
    terms = Terms(walk.graph, walk.graph.names["consumer"].ids[walk.start], walk.first, question)
    found = []
    for target, (sums, knows) in zip(targets, walk.by_first(targets), strict=True):
        if question.known:  # its own relationship is no reason
            sums[walk.first == target] = 0
        chosen = terms.largest(sums)
        shared = [int(np.count_nonzero(knows[starts[at] : ends[at]])) for at in chosen]
        found.append(terms.reasons(sums, chosen, shared, walk.lengths[chosen].tolist()))
    return found


def _of_provider(walk: Walk, targets: Sequence[int], question: Question) -> list[Reasons]:
    room, ids = walk.graph.names["provider"].room, walk.graph.names["consumer"].ids
    rows = walk.graph.rows
    everyone = summed(walk.met, walk.parts, room), counted(walk.met[walk.parts > 0], room)
    found = []
    for target in targets:
        sums, shared = everyone
        if question.known:  # its own relationship is no reason
            others = np.repeat(walk.first != target, walk.lengths)
            met, parts = walk.met[others], walk.parts[others]
            sums, shared = summed(met, parts, room), counted(met[parts > 0], room)
        providers = rows["consumer"].row(target).astype(np.int64)
        terms, wholes = Terms(walk.graph, ids[target], providers, question), sums[providers]
        chosen = terms.largest(wholes)
        which = providers[chosen]
        of = rows["provider"].length[which]
        found.append(terms.reasons(wholes, chosen, shared[which].tolist(), of.tolist()))
    return found


class Terms:
    """The providers that a consumer knows, as terms of scores."""

    def __init__(self, graph: Graph, consumer_id: str, providers: Ints, question: Question) -> None:
        self._graph, self._question, self._consumer_id = graph, question, consumer_id
        ids = graph.names["provider"].ids
        self._ids = [ids[provider] for provider in providers.tolist()]
        #: The same few lead to most answers.
        self._strengths: dict[int, float] = {}

    def largest(self, wholes: Floats) -> list[int]:
        """Which of the providers have the largest terms."""
        return best(wholes, self._ids, self._question.reasons)

    def reasons(
        self, wholes: Floats, chosen: Sequence[int], shared: Sequence[int | None], of: Sequence[int]
    ) -> Reasons:
        """The terms that were chosen, with how many consumers share each of them, and of how many."""
        via = tuple(
            Via(self._ids[at], self._strength(at), count, of_count, int(wholes[at]))
            for at, count, of_count in zip(chosen, shared, of, strict=True)
        )
        listed = sum(each.whole for each in via)
        return via, int(np.count_nonzero(wholes)) - len(via), int(wholes.sum()) - listed

    def _strength(self, at: int) -> float:
        found = self._strengths.get(at)
        if found is None:
            strength = self._graph.strength(self._consumer_id, self._ids[at], self._question)
            found = self._strengths[at] = strength or 0.0
        return found
