"""Which relations are held out. Pure."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.intelligence.engine.names import hash_of
from services.intelligence.evaluation.relations import Ints, Relations

_LEAST_PROVIDERS = 3


@dataclass(frozen=True, slots=True)
class Split:
    """What may be known, and, in order of consumers, who is asked about and the providers that are right."""

    train: Relations
    consumers: Ints
    answers: tuple[tuple[int, ...], ...]

    def some(self, most: int) -> "Split":
        """At most so many of the consumers, chosen by a hash of their ids."""
        if len(self.consumers) <= most:
            return self
        hashes = np.array([hash_of(self.train.consumer_ids[each]) for each in self.consumers.tolist()], np.uint64)
        kept = np.sort(np.argsort(hashes, kind="stable")[:most])
        return Split(self.train, self.consumers[kept], tuple(self.answers[at] for at in kept.tolist()))


def leave_last_out(relations: Relations, draw: int = 0) -> Split:
    """Holds out the latest new provider of each consumer with at least three, and leaves out what it did from then
    on.

    Relations of one time are put in an order that depends on ``draw``. What other consumers did later is known: so
    this measures who suits whom, not how well the future is foreseen.
    """
    order = _order(relations, draw)
    keys = (relations.consumers * len(relations.provider_ids) + relations.providers)[order]
    # The first relation of each pair, in that order.
    firsts = np.sort(np.unique(keys, return_index=True)[1])
    owners = relations.consumers[order][firsts]
    counts = np.bincount(owners, minlength=len(relations.consumer_ids))
    cuts = np.full(len(relations.consumer_ids), len(order))
    np.maximum.at(last := np.full(len(cuts), -1), owners, firsts)
    asked = np.flatnonzero(counts >= _LEAST_PROVIDERS)
    cuts[asked] = last[asked]
    places = np.empty(len(order), np.int64)
    places[order] = np.arange(len(order))
    train = relations.only(places < cuts[relations.consumers])
    answers = relations.providers[order][last[asked]]
    return Split(train, asked, tuple((each,) for each in answers.tolist()))


def one_day(relations: Relations, share: float = 0.1) -> Split:
    """One moment for all: the last tenth of new pairs is asked for, and nothing after that moment is known.

    Who had no relation before it cannot be asked about. Raises ValueError for relations without times.
    """
    if not relations.timed:
        raise ValueError("relations without times cannot be split at a moment")
    consumers, providers, firsts = relations.pairs()
    # Whole days are kept together, as what happens in one must not tell of the rest of it.
    day = 86_400_000_000
    moment = int(np.sort(firsts)[int(len(firsts) * (1 - share))]) // day * day
    train = relations.only(relations.times < moment)
    held = firsts >= moment
    known = np.zeros(len(relations.consumer_ids), np.bool_)
    known[train.consumers] = True
    held &= known[consumers]
    asked, bounds = np.unique(consumers[held], return_index=True)
    answers = np.split(providers[held], bounds[1:])
    return Split(train, asked, tuple(tuple(each.tolist()) for each in answers) if len(asked) else ())


def _order(relations: Relations, draw: int) -> NDArray[np.int64]:
    """Rows by consumer and time; those of one time by chance."""
    chance = np.random.default_rng(draw).permutation(len(relations))
    return np.lexsort((chance, relations.times, relations.consumers))
