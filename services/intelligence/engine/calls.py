"""Whom of its consumers a provider calls first: risk × value × affinity. Pure; needs scipy.

For a consumer with relations with the provider in x + 1 months, the first of them t months and the last of them
t − t_x months ago (all of positive weight, none after the question's month):

    risk     = 1 − P(alive)                                   BG/NBD (``shared.measures.bgnbd``) in months
    value    = E[months with a relation in the next h] · w    w: mean weight of the relations of such a month
    affinity = the score of the walk from the provider, without the consumer's own relationship with it
    worth    = risk · value · affinity

With the money of each consumer, w is the mean of it per such month, at least 0.

E contains P(alive), as in the measure of lifetime values: worth is highest where it is open whether the consumer
comes back, and a call may decide it.

The model is fitted to the relationships of all providers, because one provider's are too few for most, and to the
months before the question's, which are complete: so it stays the same while a month goes on. It gives no risk
before a second month: consumers with one month only are counted, not listed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from services.intelligence.engine.answers import Answer, Lack
from services.intelligence.engine.cells import month_number
from services.intelligence.engine.graph import Graph
from services.intelligence.engine.question import Question
from services.intelligence.engine.ranking import best
from services.intelligence.engine.recommend import answers, candidates, start
from services.intelligence.engine.rows import Floats, Ints, summed
from services.intelligence.engine.walk import SCALE, Walk, popularity_factors
from shared.measures import bgnbd

#: The minimum number of relationships with a second month for a model, as for the measure of lifetime values.
FEWEST = 10
#: About how many relationships a model is fitted to.
FITTED = 1 << 14
_MONTHS = 17

CallLack = Lack | Literal["too_few", "no_repeaters", "no_model", "no_money"]


@dataclass(frozen=True, slots=True)
class Population:
    """The distinct histories of relationships, sorted, and how many have each. What a model is fitted to."""

    x: Floats
    t_x: Floats
    t: Floats
    n: Floats

    @property
    def key(self) -> bytes:
        """Equal for equal populations only."""
        return b"".join(each.tobytes() for each in (self.x, self.t_x, self.t, self.n))

    @property
    def repeaters(self) -> int:
        return int(self.n[self.x > 0].sum())


@dataclass(frozen=True, slots=True)
class Histories:
    """Relationships with any month, in parallel columns: ``which`` of those asked about, months with a relation,
    the first and last of them (from year 0), and the mean weight of the relations of such a month."""

    which: Ints
    months: Ints
    first: Ints
    last: Ints
    worths: Floats


@dataclass(frozen=True, slots=True)
class Known:
    """The consumers of a provider that have a history, and the walk from the provider."""

    walk: Walk
    numbers: Ints
    histories: Histories

    @property
    def repeaters(self) -> int:
        return int((self.histories.months > 1).sum())


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
    #: The same in money, in minor units, where that is what the worth is made of.
    money_per_month: float | None = None

    @property
    def value(self) -> float:
        """In weights of relations."""
        return self.expected * self.per_month

    @property
    def money(self) -> float | None:
        return None if self.money_per_month is None else self.expected * self.money_per_month

    @property
    def worth(self) -> float:
        return self.risk * (self.value if self.money is None else self.money) * self.answer.score


def known(graph: Graph, provider_id: str, question: Question) -> Known | Lack:
    """A provider's consumers and their histories: all of them, or the sample that the walk follows."""
    graph = graph.of_kind(question.kind)
    walk = start(graph, "provider", provider_id, question)
    if not isinstance(walk, Walk):
        return walk
    consumers = graph.rows["consumer"]
    assert consumers.words is not None
    at, _ = consumers.positions(walk.first)
    words = consumers.words[at[consumers.to[at] == walk.start]]
    histories = _histories(graph, words, question, month_number(question.month) + 1)
    return Known(walk, walk.first[histories.which], histories)


def population(graph: Graph, question: Question) -> Population:
    """What the model is fitted to: the complete months of the relationships of all consumers, or of some, chosen
    by the hashes of their ids, with about FITTED relationships."""
    graph = graph.of_kind(question.kind)
    consumers, names = graph.rows["consumer"], graph.names["consumer"]
    assert consumers.words is not None
    nodes = np.flatnonzero(consumers.length[: names.room])
    if graph.edges > FITTED:
        nodes = nodes[np.argsort(names.hashes[nodes], kind="stable")]
        nodes = nodes[: 1 + int(np.searchsorted(np.cumsum(consumers.length[nodes]), FITTED))]
    at, _ = consumers.positions(nodes)
    end = month_number(question.month)
    found = _histories(graph, consumers.words[at], question, end)
    codes, n = np.unique(_codes(found, end - 1), return_counts=True)
    return Population(*_decoded(codes), n.astype(np.float64))


def fitted(found: Population) -> bgnbd.BgNbd:
    """The model of a population, which must not be empty. Takes some hundred milliseconds."""
    return bgnbd.fit(bgnbd.History(found.x, found.t_x, found.t, found.n))


def calls(
    found: Known,
    model: bgnbd.BgNbd,
    question: Question,
    horizon: int,
    money: Mapping[str, int] | None = None,
) -> tuple[list[Call], int] | CallLack:
    """Finds those worth most in the next ``horizon`` months, equal ones by id, and how many are worth anything,
    whether or not they are ``among`` those that are asked for. Call it while the graph of ``found`` has not
    changed. ``money`` is the net amount of each consumer in minor units of one currency; then that is what they
    are worth."""
    graph, numbers, histories = found.walk.graph, found.numbers, found.histories
    risk, expected = _estimates(model, histories, month_number(question.month), horizon)
    if not (np.isfinite(risk).all() and np.isfinite(expected).all()):
        return "no_model"
    question = replace(question, known=True)
    wholes = candidates(found.walk, replace(question, among=None))
    affinity = wholes * popularity_factors(graph, "consumer", question.beta) / SCALE
    worth = np.zeros(len(wholes))
    ids = graph.names["consumer"].ids
    per_month = histories.worths
    if money is not None:
        net = np.array([max(0, money.get(ids[number], 0)) for number in numbers.tolist()], np.float64)
        per_month = net / histories.months
    worth[numbers] = risk * (expected * per_month) * affinity[numbers]
    count = int((worth > 0).sum())
    worth[graph.not_allowed("consumer", question)] = 0
    chosen = best(worth, ids, question.limit)
    place = {number: at for at, number in enumerate(numbers.tolist())}
    made = [
        Call(
            answer,
            float(risk[at]),
            float(expected[at]),
            float(histories.worths[at]),
            int(histories.months[at]),
            int(histories.first[at]),
            int(histories.last[at]),
            None if money is None else float(per_month[at]),
        )
        for answer, at in zip(
            answers(found.walk, chosen, wholes, question), (place[number] for number in chosen), strict=True
        )
    ]
    return made, count


def _histories(graph: Graph, words: NDArray[np.uint64], question: Question, end: int) -> Histories:
    """The histories of some relationships before the month ``end``; those without any are left out."""
    edges, kinds, months, amounts = graph.cells.amounts(words)
    amounts = amounts * graph.cells.weights(question.weights)[kinds]
    counted = (amounts > 0) & (months < end)
    edges, months, amounts = edges[counted], months[counted], amounts[counted]
    cells = np.unique((edges << _MONTHS) | months)  # several kinds of a month are one
    which, begun = np.unique(cells >> _MONTHS, return_index=True)
    lengths = np.diff(np.append(begun, len(cells)))
    of_month = cells & ((1 << _MONTHS) - 1)
    worths = summed(edges, amounts, len(words))[which] / lengths
    return Histories(which, lengths, of_month[begun], of_month[begun + lengths - 1], worths)


def _estimates(model: bgnbd.BgNbd, histories: Histories, now: int, horizon: int) -> tuple[Floats, Floats]:
    """The risk of each (0 before a second month), and the expected months."""
    # Sorted: the last bit of a vector's function may depend on the place in it.
    codes, which = np.unique(_codes(histories, now), return_inverse=True)
    x, t_x, t = _decoded(codes)
    risk = np.where(x > 0, 1 - model.alive(x, t_x, t), 0.0)
    return risk[which], model.expected(float(horizon), x, t_x, t)[which]


def _codes(histories: Histories, now: int) -> Ints:
    """x, t_x and t of each history as of a month, in one number: much faster to sort than three."""
    x, t_x, t = histories.months - 1, histories.last - histories.first, now - histories.first
    return (((x << _MONTHS) | t_x) << _MONTHS) | t


def _decoded(codes: Ints) -> tuple[Floats, Floats, Floats]:
    mask = (1 << _MONTHS) - 1
    x, t_x, t = codes >> 2 * _MONTHS, codes >> _MONTHS & mask, codes & mask
    return x.astype(np.float64), t_x.astype(np.float64), t.astype(np.float64)
