"""One method on one split. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from services.intelligence.engine import Question
from services.intelligence.engine.walk import popularity_factors
from services.intelligence.evaluation.methods import Indexed, Scores, WalkParameters, walk_sums
from services.intelligence.evaluation.metrics import Summary, hit, ndcg, ranks, summary, top
from services.intelligence.evaluation.relations import Floats, Ints, Relations
from services.intelligence.evaluation.splits import Split, leave_last_out

BETAS = (0.0, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8)
HALF_LIVES = (1.0, 3.0, 6.0, 12.0, 24.0, float("inf"))
#: The consumers by whom parameters are chosen.
TUNED_ON = 1_000


@dataclass(frozen=True, slots=True)
class Measured:
    """NDCG@10 and hits of each consumer, and the summary."""

    ndcgs: Floats
    hits: Floats
    summary: Summary


def measure(split: Split, indexed: Indexed, scores: Scores) -> Measured:
    """Ranks, for each consumer that is asked about, all providers that it does not know."""
    count = len(split.train.provider_ids)
    ndcgs, hits, lists = [], [], []
    for consumer, answers in zip(split.consumers.tolist(), split.answers, strict=True):
        unseen = unknown(indexed, consumer, count)
        found = scores(consumer)
        places = ranks(found, unseen, answers)
        ndcgs.append(ndcg(places))
        hits.append(hit(places))
        lists.append(top(found, unseen))
    return Measured(np.array(ndcgs), np.array(hits), summary(np.array(ndcgs), np.array(hits), lists, count))


def unknown(indexed: Indexed, consumer: int, count: int) -> Ints:
    """The positions of the providers that a consumer does not know, of ``count``."""
    unseen = np.ones(count, np.bool_)
    unseen[indexed.known(consumer)] = False
    return np.flatnonzero(unseen)


def tune(relations: Relations, draw: int = 0, weights: Mapping[str, float] | None = None) -> WalkParameters:
    """β and half-life that are best on an inner split: of the training data once more, by leaving the last out."""
    split = leave_last_out(relations, draw).some(TUNED_ON)
    if not len(split.consumers):
        return WalkParameters()
    indexed = Indexed(split.train)
    factors = {beta: popularity_factors(indexed.graph, "provider", beta) for beta in BETAS}
    totals: dict[WalkParameters, float] = {}
    month, count = split.train.latest_month(), len(relations.provider_ids)
    for half_life in HALF_LIVES if relations.timed else HALF_LIVES[-1:]:
        question = Question(month, weights or {}, half_life, reasons=0)
        for consumer, answers in zip(split.consumers.tolist(), split.answers, strict=True):
            sums = walk_sums(indexed, consumer, question)
            unseen = unknown(indexed, consumer, count)
            for beta, factor in factors.items():
                gained = ndcg(ranks(indexed.by_position(sums * factor), unseen, answers))
                key = WalkParameters(beta, half_life)
                totals[key] = totals.get(key, 0.0) + gained
    return max(totals, key=lambda key: (totals[key], key.beta, key.half_life))
