"""Figures of a ranking. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from services.intelligence.engine.campaign import exposure, gini
from services.intelligence.evaluation.relations import Floats, Ints

#: The length of the lists that are looked at.
TOP = 10


@dataclass(frozen=True, slots=True)
class Summary:
    """Means over consumers: NDCG@10 with its standard error, and HR@10; over providers: which share of them is in
    anyone's ten, and the Gini coefficient of how often."""

    ndcg: float
    error: float
    hits: float
    coverage: float
    gini: float


@dataclass(frozen=True, slots=True)
class Difference:
    """The difference of NDCG@10, consumer by consumer: the mean and its standard error."""

    mean: float
    error: float

    @property
    def certain(self) -> bool:
        """Whether it is more than chance: two standard errors above 0."""
        return self.mean > 2 * self.error and self.mean > 0


def ranks(scores: Floats, unseen: Ints, answers: Sequence[int]) -> list[float]:
    """The place of each of ``answers`` among all ``unseen`` (which has them), from 1. Ties count half."""
    among = scores[unseen]
    return [
        1 + float((among > scores[each]).sum()) + float((among == scores[each]).sum() - 1) / 2 for each in answers
    ]


def ndcg(places: Sequence[float]) -> float:
    """Normalised discounted cumulative gain of the first ten (Järvelin, Kekäläinen, ACM TOIS 20(4), 2002)."""
    gained = sum(1 / np.log2(1 + place) for place in places if place <= TOP)
    ideal = sum(1 / np.log2(1 + place) for place in range(1, min(len(places), TOP) + 1))
    return float(gained / ideal)


def hit(places: Sequence[float]) -> float:
    """1 if one of the answers is among the first ten."""
    return float(min(places) <= TOP)


def top(scores: Floats, unseen: Ints) -> list[int]:
    """The first ten; of equal ones the first by id, as positions are in the order of ids."""
    first: Ints = unseen[np.lexsort((unseen, -scores[unseen]))[:TOP]]
    return [int(each) for each in first]


def summary(ndcgs: Floats, hits: Floats, lists: Sequence[Sequence[int]], providers: int) -> Summary:
    shown = exposure(lists, providers)
    return Summary(
        ndcg=_mean(ndcgs),
        error=standard_error(ndcgs),
        hits=_mean(hits),
        coverage=float((shown > 0).mean()) if providers else 0.0,
        gini=gini(shown),
    )


def difference(ndcgs: Floats, others: Floats) -> Difference:
    return Difference(_mean(ndcgs - others), standard_error(ndcgs - others))


def standard_error(values: Floats) -> float:
    """The standard error of the mean."""
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0


def _mean(values: Floats) -> float:
    return float(values.mean()) if len(values) else 0.0
