"""The methods that are compared: each scores all providers for one consumer. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from services.intelligence.engine import Question
from services.intelligence.engine.recommend import start
from services.intelligence.engine.walk import Walk, popularity_factors
from services.intelligence.evaluation.relations import Floats, Ints, Relations

#: Of a consumer's position, a score for each provider, by position.
Scores = Callable[[int], Floats]


class Indexed:
    """The graph of relations, with numbers and positions of providers."""

    def __init__(self, relations: Relations) -> None:
        self.relations = relations
        self.graph = relations.graph()
        names = self.graph.names["provider"]
        places = {id: at for at, id in enumerate(relations.provider_ids)}
        #: The position of each number of the graph.
        self.positions: Ints = np.array([places[id] for id in names.ids], np.int64)

    def by_position(self, by_number: Floats) -> Floats:
        scores = np.zeros(len(self.relations.provider_ids))
        scores[self.positions] = by_number
        return scores

    def known(self, consumer: int) -> Ints:
        """The positions of the providers that a consumer knows."""
        number = self.graph.names["consumer"].find(self.relations.consumer_ids[consumer])
        return self.positions[self.graph.rows["consumer"].row(number)] if number is not None else np.zeros(0, int)


def popularity(indexed: Indexed) -> Scores:
    """The number of consumers."""
    rows, names = indexed.graph.rows["provider"], indexed.graph.names["provider"]
    scores = indexed.by_position(rows.length[: names.room].astype(np.float64))
    return lambda consumer: scores  # noqa: ARG005


def cosine(indexed: Indexed) -> Scores:
    """Item-based nearest neighbours: the sum of the cosines of a provider with those known (Sarwar, Karypis,
    Konstan, Riedl, WWW 2001)."""
    graph = indexed.graph
    consumers, providers = graph.rows["consumer"], graph.rows["provider"]
    room = {side: names.room for side, names in graph.names.items()}
    roots = np.sqrt(providers.length[: room["provider"]].astype(np.float64))

    def scores(consumer: int) -> Floats:
        number = graph.names["consumer"].find(indexed.relations.consumer_ids[consumer])
        if number is None:
            return np.zeros(len(indexed.relations.provider_ids))
        first = consumers.row(number).astype(np.int64)
        met, lengths = providers.gather(first)
        weights = np.bincount(met, np.repeat(1 / roots[first], lengths), room["consumer"])
        carriers = np.flatnonzero(weights)
        onward, lengths = consumers.gather(carriers)
        sums = np.bincount(onward, np.repeat(weights[carriers], lengths), room["provider"])
        # What should be equal must be: these are sums of fractions in some order.
        return indexed.by_position(_rounded(sums / roots))

    return scores


@dataclass(frozen=True, slots=True)
class WalkParameters:
    beta: float = 0.4
    half_life: float = 6.0


def walk(indexed: Indexed, parameters: WalkParameters, weights: Mapping[str, float] | None = None) -> Scores:
    """The engine's walk."""
    question = Question(
        indexed.relations.latest_month(), weights or {}, parameters.half_life, parameters.beta, reasons=0
    )
    factors = popularity_factors(indexed.graph, "provider", question.beta)

    def scores(consumer: int) -> Floats:
        sums = walk_sums(indexed, consumer, question)
        return indexed.by_position(sums * factors)

    return scores


def walk_sums(indexed: Indexed, consumer: int, question: Question) -> Floats:
    """The engine's sums, by number."""
    made = start(indexed.graph, "consumer", indexed.relations.consumer_ids[consumer], question)
    return made.sums if isinstance(made, Walk) else np.zeros(indexed.graph.names["provider"].room)


def _rounded(values: Floats) -> Floats:
    top = float(values.max(initial=0.0))
    return np.rint(values / top * 2.0**40) if top else values
