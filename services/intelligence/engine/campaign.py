"""Lists for many consumers at once, with a guaranteed exposure for each provider. Pure.

FairRec (Patro, Biswas, Ganguly, Gummadi, Chakraborty, "FairRec: Two-Sided Fairness for Personalized
Recommendations in Two-Sided Platforms", WWW 2020): each provider is guaranteed ``share`` of an equal part of
all places in the lists. First the consumers take turns: each chooses, of the providers with guaranteed places
left, the best one that is not in its list yet. Then the lists are filled up by score. In the first part no
consumer envies another by more than one place.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from services.intelligence.engine.answers import Answer
from services.intelligence.engine.graph import Graph
from services.intelligence.engine.question import Question
from services.intelligence.engine.recommend import answers, candidates, start
from services.intelligence.engine.walk import SCALE, Walk, popularity_factors

#: The most consumers times providers of one campaign. It takes some 15 bytes for each.
LARGEST = 20_000_000


class TooLarge(ValueError):
    """A campaign of more cells than LARGEST."""


@dataclass(frozen=True, slots=True)
class CampaignReport:
    """What the guarantee did: ``guaranteed`` places for each of ``providers``; how many of these are shown, and
    the Gini coefficient of their exposure (0: all alike), before and after; and what it cost: the mean over
    consumers of the score of their list, as a fraction of that of their best list (1: nothing), and the lowest
    one.

    ``below`` is the number of providers that have fewer places than guaranteed: those that nearly all consumers
    know, where ``share`` is near 1. ``short`` is the number of places that are missing: of consumers who know
    nearly all providers. ``unreached`` is the number of consumers without any score: their lists are by
    popularity.
    """

    consumers: int
    providers: int
    guaranteed: int
    shown_before: int
    shown: int
    gini_before: float
    gini: float
    kept_mean: float
    kept_least: float
    below: int
    short: int
    unreached: int


@dataclass(frozen=True, slots=True)
class Campaign:
    """``lists`` has for each consumer provider ids and scores, highest score first."""

    lists: dict[str, tuple[tuple[str, float], ...]]
    report: CampaignReport


def campaign(graph: Graph, consumer_ids: Sequence[str], question: Question, share: float) -> Campaign:
    """Lists of ``question.limit`` providers that a consumer does not know, for each of ``consumer_ids``.

    Consumers take turns in the order of their ids. ``question.among`` are the providers of the campaign; all
    without it. A score of 0 means that the walk does not reach the provider; of these, popular ones are chosen
    first. Raises TooLarge.
    """
    if not 0 <= share <= 1:
        raise ValueError("share must be from 0 to 1")
    graph = graph.of_kind(question.kind)
    consumers = sorted(set(consumer_ids))
    names = graph.names["provider"]
    providers = names.numbers()
    providers = providers[~graph.not_allowed("provider", question)[providers]]
    if len(consumers) * len(providers) > LARGEST:
        raise TooLarge(
            f"{len(consumers)} consumers × {len(providers)} providers are more than {LARGEST}; divide the campaign"
        )
    question = _asked(question)
    scores, allowed = _scores(graph, consumers, providers, question)
    popular = np.lexsort((np.arange(len(providers)), -graph.rows["provider"].length[providers]))
    order = _preferences(scores, allowed, popular)
    length = min(question.limit, len(providers))
    guaranteed = int(share * len(consumers) * length / len(providers)) if len(providers) else 0
    free = [row[:length].tolist() for row in order]
    lists = _fair(order, length, len(providers), guaranteed) if guaranteed else free
    ids = [names.ids[number] for number in providers.tolist()]
    shown = {
        consumer: tuple((ids[each], float(scores[at, each])) for each in _by_score(lists[at], scores[at]))
        for at, consumer in enumerate(consumers)
    }
    return Campaign(shown, _report(scores, free, lists, len(providers), guaranteed, length))


def explained(
    graph: Graph, consumer_id: str, provider_ids: Sequence[str], question: Question
) -> dict[str, Answer]:
    """The providers of a list of ``campaign`` that the walk reaches, with ``question.reasons`` terms of each
    score."""
    graph = graph.of_kind(question.kind)
    walk = start(graph, "consumer", consumer_id, question)
    if not isinstance(walk, Walk):
        return {}
    wholes = candidates(walk, _asked(question))
    found = [number for id in provider_ids if (number := graph.names["provider"].find(id)) is not None]
    made = answers(walk, [number for number in found if wholes[number] > 0], wholes, _asked(question))
    return {each.id: each for each in made}


def _asked(question: Question) -> Question:
    """The question for each consumer. Which providers there are is decided once for all."""
    return replace(question, known=False, among=None, without=frozenset())


def _scores(
    graph: Graph, consumers: Sequence[str], providers: NDArray[np.int64], question: Question
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Scores, and which providers the consumer does not know; a row for each consumer."""
    scores = np.zeros((len(consumers), len(providers)))
    allowed = np.ones(scores.shape, np.bool_)
    factors = popularity_factors(graph, "provider", question.beta) / SCALE
    for at, id in enumerate(consumers):
        number = graph.names["consumer"].find(id)
        if number is None:
            continue
        known = np.zeros(graph.names["provider"].room, np.bool_)
        known[graph.rows["consumer"].row(number)] = True
        allowed[at] = ~known[providers]
        walk = start(graph, "consumer", id, question)
        if isinstance(walk, Walk):
            scores[at] = (candidates(walk, question) * factors)[providers]
    return scores, allowed


def _preferences(
    scores: NDArray[np.float64], allowed: NDArray[np.bool_], popular: NDArray[np.int64]
) -> list[NDArray[np.int32]]:
    """The providers of each consumer, best first: by score, then by popularity, then by id."""
    orders = []
    for row, may in zip(scores, allowed, strict=True):
        order = popular[np.argsort(-row[popular], kind="stable")]
        orders.append(order[may[order]].astype(np.int32))
    return orders


def _fair(order: list[NDArray[np.int32]], length: int, providers: int, guaranteed: int) -> list[list[int]]:
    left = np.full(providers, guaranteed)
    lists: list[list[int]] = [[] for _ in order]
    # Python reads single numbers of these fast, and without an object for each: there are up to LARGEST.
    preferences = [each.data for each in order]
    # What stands before is taken or has no places left for good, so nobody looks at it twice.
    place = [0] * len(order)
    active = list(range(len(order)))
    while active and left.any():
        remaining = []
        for consumer in active:
            row, at = preferences[consumer], place[consumer]
            while at < len(row) and not left[row[at]]:
                at += 1
            place[consumer] = at + 1
            if at < len(row):
                left[row[at]] -= 1
                lists[consumer].append(row[at])
                if len(lists[consumer]) < length:
                    remaining.append(consumer)
        active = remaining
    for row, chosen in zip(preferences, lists, strict=True):
        have = set(chosen)
        chosen.extend([each for each in row[: length + len(have)] if each not in have][: length - len(chosen)])
    return lists


def _by_score(chosen: list[int], scores: NDArray[np.float64]) -> list[int]:
    return sorted(chosen, key=lambda each: (-scores[each], each))


def _report(
    scores: NDArray[np.float64],
    free: list[list[int]],
    lists: list[list[int]],
    providers: int,
    guaranteed: int,
    length: int,
) -> CampaignReport:
    before, after = (exposure(each, providers) for each in (free, lists))
    best = [float(scores[at, row].sum()) for at, row in enumerate(free)]
    kept = [float(scores[at, row].sum()) / best[at] for at, row in enumerate(lists) if best[at] > 0]
    return CampaignReport(
        consumers=len(lists),
        providers=providers,
        guaranteed=guaranteed,
        shown_before=int((before > 0).sum()),
        shown=int((after > 0).sum()),
        gini_before=gini(before),
        gini=gini(after),
        kept_mean=sum(kept) / len(kept) if kept else 1.0,
        kept_least=min(kept, default=1.0),
        below=int((after < guaranteed).sum()),
        short=sum(length - len(row) for row in lists),
        unreached=sum(total == 0 for total in best),
    )


def exposure(lists: Sequence[Sequence[int]], providers: int) -> NDArray[np.int64]:
    """How often each provider is in a list."""
    return np.bincount([each for row in lists for each in row], minlength=providers).astype(np.int64)


def gini(counts: NDArray[np.int64]) -> float:
    """The Gini coefficient of some counts: 0 where all are alike, near 1 where one has everything."""
    total = int(counts.sum())
    if not total:
        return 0.0
    ranks = np.arange(1, len(counts) + 1)
    return float(
        2 * int((ranks * np.sort(counts)).sum()) / (len(counts) * total) - (len(counts) + 1) / len(counts)
    )
