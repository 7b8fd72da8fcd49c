"""The features of a provider for a consumer. Pure.

Each is a number that grows with what its name says; a model decides how much it matters. What cannot be known (the
distance of a provider without a place) is not a number here and counts as average in a model.
"""

from typing import NamedTuple

import numpy as np

from services.intelligence.engine import Graph, Question
from services.intelligence.engine.names import Names
from services.intelligence.engine.recommend import start
from services.intelligence.engine.rows import Floats, Ints, summed
from services.intelligence.engine.walk import SCALE, Walk, low_hashes, popularity_factors
from services.intelligence.learning.profiles import Categories, Profiles, coordinates, kilometres

#: What needs nothing but relationships.
OF_RELATIONS = ("walk", "alike", "popularity")
#: What needs places.
OF_PLACES = ("distance", "nearness", "known_within_1_km", "known_within_4_km", "neighbours_choice", "usual_way")
#: What needs categories.
OF_CATEGORIES = ("category",)

#: What each means, for people.
MEANINGS = {
    "walk": "how likely the random walk from the consumer's providers ends there",
    "alike": "how many consumers with the same providers know it",
    "popularity": "how many consumers know it",
    "distance": "how far it is (a large distance counts against it)",
    "nearness": "how near it is, within a few kilometres",
    "known_within_1_km": "how many providers that the consumer knows are within about 1 km of it",
    "known_within_4_km": "how many providers that the consumer knows are within about 4 km of it",
    "neighbours_choice": "how many of the consumers who live near by know it",
    "usual_way": "whether the way there is as long as the consumer's ways usually are",
    "category": "how much it has the categories of the providers that the consumer knows",
}

# Below this fraction of a consumer's best, differences of a score do not matter.
_FLOOR = 0.1
_NEIGHBOUR_KM = 2.0
_NEAR_KM = 2.0
_WAY_WIDTH = 0.35
# Ways below this are one and the same.
_LEAST_KM = 0.1
#: The most places of known providers that others are compared with, and the most comparisons of one consumer,
#: about. Those with the lowest hashes are chosen.
KNOWN_PLACES = 256
COMPARISONS = 1 << 20
_LEAST_PLACES = 16
# Providers whose distances are computed at a time.
_AT_A_TIME = 4_096


class Found(NamedTuple):
    """A row for each number of a provider, a column for each name, and the walk. ``sampled``: not all
    relationships were followed, to bound the time."""

    rows: Floats
    walk: Walk
    sampled: bool


class Features:
    """Computes features on a graph. ``question`` gives the walk's β, half-life and weights. Made anew when ids
    that it keeps something about come or go (``fits``).

    The time of each consumer is bounded, as the walk's is, by samples that depend on the set of relationships.
    """

    def __init__(self, graph: Graph, profiles: Profiles, question: Question) -> None:
        self.graph, self.question = graph, question
        self._profiles = profiles
        self.ids = list(graph.names["provider"].ids)
        self._places = coordinates(self.ids, profiles.provider_places)
        self._homes = None
        if profiles.consumer_places:
            self._homes = coordinates(graph.names["consumer"].ids, profiles.consumer_places)
        self._categories = Categories.of(self.ids, profiles.categories)
        self._version = self._now()
        self.names: tuple[str, ...] = OF_RELATIONS
        if np.isfinite(self._places).any():
            self.names += OF_PLACES
        if self._categories:
            self.names += OF_CATEGORIES

    @property
    def fits(self) -> bool:
        """Whether the ids are still those of the graph."""
        return self._version == self._now()

    def _now(self) -> tuple[int, int]:
        names = self.graph.names
        # Where nobody's home is known, nothing is kept about consumers.
        return names["provider"].version, names["consumer"].version if self._homes is not None else 0

    def of(self, consumer_id: str) -> Found | None:
        """The features of all providers for a consumer; None for one with no relationship that weighs
        anything."""
        walk = start(self.graph, "consumer", consumer_id, self.question)
        if not isinstance(walk, Walk):
            return None
        known = self.graph.rows["consumer"].row(walk.start).astype(np.int64)
        alike, sampled = self._alike(walk)
        sampled |= walk.sampled
        made: dict[str, Floats] = {
            "walk": _logarithm(
                walk.sums * popularity_factors(self.graph, "provider", self.question.beta) / SCALE, known
            ),
            "alike": _logarithm(alike, known),
            "popularity": np.log1p(self.graph.rows["provider"].length[: len(self.ids)].astype(np.float64)),
        }
        if "distance" in self.names:
            by_place, fewer = self._by_place(walk.start, known)
            made |= by_place
            sampled |= fewer
        if "category" in self.names:
            made["category"] = self._categories.shared_with(known)
        return Found(np.column_stack([made[name] for name in self.names]), walk, sampled)

    def _alike(self, walk: Walk) -> tuple[Floats, bool]:
        """User-based nearest neighbours, by the cosine of whom they know. As the walk does, it follows a sample of
        very many."""
        near, room = self.graph.rows["consumer"], self.graph.names["consumer"].room
        common = summed(walk.met, np.ones(len(walk.met)), room)
        common[walk.start] = 0
        carriers = np.flatnonzero(common)
        cosines = np.zeros(room)
        cosines[carriers] = common[carriers] / np.sqrt(near.length[carriers].astype(np.float64))
        return self._known_to(carriers, cosines)

    def _known_to(self, carriers: Ints, amounts: Floats) -> tuple[Floats, bool]:
        """The sum, for each provider, of the amounts of those of some consumers who know it."""
        rows, names = self.graph.rows["consumer"], self.graph.names
        most = 2 * self.graph.budget
        total = int(rows.length[carriers].sum(dtype=np.int64))
        if total > most:
            carriers = carriers[low_hashes(names["consumer"], most / total)[carriers]]
        onward, lengths = rows.gather(carriers)
        return summed(onward, np.repeat(amounts[carriers], lengths), names["provider"].room), total > most

    def _by_place(self, consumer: int, known: Ints) -> tuple[dict[str, Floats], bool]:
        known_places, fewer = _some(known[np.isfinite(self._places[known, 0])], self.graph.names["provider"])
        places = self._places[known_places]
        home = np.full(2, np.nan) if self._homes is None else self._homes[consumer]
        if not np.isfinite(home).all():
            home = places.mean(axis=0) if len(places) else home
        ways = np.maximum(kilometres(home, self._places), _LEAST_KM)
        made = {"distance": np.log(ways), "nearness": np.exp(-ways / _NEAR_KM)}
        usual = np.log(np.maximum(kilometres(home, places), _LEAST_KM))
        near, around, usually = (np.zeros(len(self.ids)) for _ in range(3))
        for begin in range(0, len(self.ids), _AT_A_TIME):
            part = slice(begin, begin + _AT_A_TIME)
            between = kilometres(places[:, None, :], self._places[None, part, :])
            near[part] = np.exp(-((between / 1.0) ** 2) / 2).sum(axis=0)
            around[part] = np.exp(-((between / 4.0) ** 2) / 2).sum(axis=0)
            differences = (made["distance"][None, part] - usual[:, None]) / _WAY_WIDTH
            usually[part] = np.exp(-(differences**2) / 2).sum(axis=0)
        made["known_within_1_km"] = _logarithm(near, known)
        made["known_within_4_km"] = _logarithm(around, known)
        choice, some = self._neighbours_choice(consumer, home)
        made["neighbours_choice"] = _logarithm(choice, known)
        made["usual_way"] = _logarithm(usually, known)
        return made, fewer or some

    def _neighbours_choice(self, consumer: int, home: Floats) -> tuple[Floats, bool]:
        """The consumers of each provider, by how near they live to ``home``."""
        if self._homes is None:
            return np.zeros(len(self.ids)), False
        near = np.nan_to_num(np.exp(-((kilometres(home, self._homes) / _NEIGHBOUR_KM) ** 2) / 2))
        near[consumer] = 0
        near *= self.graph.rows["consumer"].length[: len(near)] > 0
        return self._known_to(np.flatnonzero(near > 1e-4), near)


def _some(known: Ints, names: Names) -> tuple[Ints, bool]:
    """The known providers that others are compared with: all, or those with the lowest hashes."""
    most = min(KNOWN_PLACES, max(_LEAST_PLACES, COMPARISONS // max(1, len(names))))
    if len(known) <= most:
        return known, False
    return known[np.argsort(names.hashes[known], kind="stable")[:most]], True


def _logarithm(scores: Floats, known: Ints) -> Floats:
    """The logarithm of a score, relative to the consumer's best among those it does not know."""
    others = scores.copy()
    others[known] = 0
    top = float(np.nan_to_num(others).max(initial=0.0))
    return np.log(scores / top + _FLOOR) if top > 0 else np.full(len(scores), np.log(_FLOOR))
