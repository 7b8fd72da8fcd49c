"""Whom of its consumers a provider calls first: risk × value × affinity. Pure; needs scipy.

For a consumer with relations with the provider in x + 1 months, the first of them t months and the last of them
t − t_x months ago (all of positive weight, none after the question's month):

    risk     = 1 − P(alive)                                   BG/NBD (``shared.measures.bgnbd``) in months
    value    = E[months with a relation in the next h] · w    w: mean weight of the relations of such a month
    affinity = the score of the walk from the provider, without the consumer's own relationship with it
    worth    = risk · value · affinity

E contains P(alive), as in the measure of lifetime values: worth is highest where it is open whether the consumer
comes back, and a call may decide it. The model is fitted to all of the provider's consumers. It gives no risk
before a second month, so that consumers with one month only are counted, not listed.
"""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from services.intelligence.engine.answers import Answer, Lack
from services.intelligence.engine.cells import month_number
from services.intelligence.engine.graph import Graph
from services.intelligence.engine.question import Question
from services.intelligence.engine.ranking import best
from services.intelligence.engine.recommend import answers, candidates, start
from services.intelligence.engine.rows import Floats, Ints, summed
from services.intelligence.engine.walk import SCALE, Walk, popularity_factors
from shared.measures import bgnbd

#: The minimum number of consumers with a second month for a model, as for the measure of lifetime values.
FEWEST = 10
_MONTHS = 17

CallLack = Lack | Literal["too_few", "no_model"]


@dataclass(frozen=True, slots=True)
class Population:
    """The distinct histories of a provider's consumers, sorted, and how many consumers have each."""

    x: Floats
    t_x: Floats
    t: Floats
    n: Floats

    @property
    def key(self) -> bytes:
        """Equal for equal populations only."""
        return b"".join(each.tobytes() for each in (self.x, self.t_x, self.t, self.n))


@dataclass(frozen=True, slots=True)
class Estimates:
    """What a fitted model says of each history of a population; ``risk`` is 0 before a second month."""

    model: bgnbd.BgNbd
    risk: Floats
    expected: Floats


@dataclass(frozen=True, slots=True)
class Known:
    """The consumers of a provider that have a history, in parallel columns. ``which`` is the index of each one's
    history in ``population``. ``worths`` is the mean weight of a month's relations. Months count from year 0."""

    walk: Walk
    numbers: Ints
    first: Ints
    last: Ints
    worths: Floats
    which: Ints
    population: Population
    repeaters: int


@dataclass(frozen=True, slots=True)
class Call:
    """A consumer to call. ``answer`` is the walk's, whose score is the affinity. Months count from year 0."""

    answer: Answer
    risk: float
    expected: float
    per_month: float
    months: int
    first: int
    last: int

    @property
    def value(self) -> float:
        return self.expected * self.per_month

    @property
    def worth(self) -> float:
        return self.risk * self.value * self.answer.score


def known(graph: Graph, provider_id: str, question: Question) -> Known | CallLack:
    """A provider's consumers and their histories: all of them, or the sample that the walk follows."""
    graph = graph.of_kind(question.kind)
    walk = start(graph, "provider", provider_id, question)
    if not isinstance(walk, Walk):
        return walk
    consumers = graph.rows["consumer"]
    assert consumers.words is not None
    at, _ = consumers.positions(walk.first)
    words = consumers.words[at[consumers.to[at] == walk.start]]
    edges, kinds, months, amounts = graph.cells.amounts(words)
    weights = np.array([question.weights.get(kind, 1.0) for kind in graph.cells.kinds])
    amounts = amounts * weights[kinds]
    past = (amounts > 0) & (months <= (now := month_number(question.month)))
    edges, months, amounts = edges[past], months[past], amounts[past]
    cells = np.unique((edges << _MONTHS) | months)  # several kinds of a month are one
    owners, begun = np.unique(cells >> _MONTHS, return_index=True)
    if not len(owners):
        return "too_few"
    lengths = np.diff(np.append(begun, len(cells)))
    of_month = cells & ((1 << _MONTHS) - 1)
    first, last = of_month[begun], of_month[begun + lengths - 1]
    rows, which, n = np.unique(
        np.stack([lengths - 1, last - first, now - first], axis=1), axis=0, return_inverse=True, return_counts=True
    )
    repeaters = int((lengths > 1).sum())
    if repeaters < FEWEST:
        return "too_few"
    x, t_x, t = rows.T.astype(np.float64)
    return Known(
        walk,
        walk.first[owners],
        first,
        last,
        summed(edges, amounts, len(words))[owners] / lengths,
        which.reshape(-1),
        Population(x, t_x, t, n.astype(np.float64)),
        repeaters,
    )


def estimates(population: Population, horizon: int) -> Estimates | None:
    """The model of a population and what it says of the next ``horizon`` months; None where its numbers are not
    finite. Takes some ten to some hundred milliseconds."""
    x, t_x, t = population.x, population.t_x, population.t
    model = bgnbd.fit(bgnbd.History(x, t_x, t, population.n))
    risk, expected = 1 - model.alive(x, t_x, t), model.expected(float(horizon), x, t_x, t)
    if not (np.isfinite(risk).all() and np.isfinite(expected).all()):
        return None
    return Estimates(model, np.where(x > 0, risk, 0.0), expected)


def calls(found: Known, estimated: Estimates, question: Question) -> tuple[list[Call], int]:
    """Those worth most, equal ones by id, and how many are worth anything. Call it with the graph of ``found``."""
    graph, numbers = found.walk.graph, found.numbers
    question = replace(question, known=True)
    wholes = candidates(found.walk, question)
    affinity = wholes * popularity_factors(graph, "consumer", question.beta) / SCALE
    risk, expected = estimated.risk[found.which], estimated.expected[found.which]
    worth = np.zeros(len(wholes))
    worth[numbers] = risk * (expected * found.worths) * affinity[numbers]
    chosen = best(worth, graph.names["consumer"].ids, question.limit)
    place = {number: at for at, number in enumerate(numbers.tolist())}
    made = [
        Call(
            answer,
            float(risk[at]),
            float(expected[at]),
            float(found.worths[at]),
            int(found.population.x[found.which[at]]) + 1,
            int(found.first[at]),
            int(found.last[at]),
        )
        for answer, at in zip(
            answers(found.walk, chosen, wholes, question), (place[number] for number in chosen), strict=True
        )
    ]
    return made, int((worth > 0).sum())
