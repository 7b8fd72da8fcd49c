"""The features of a provider for a consumer. Pure.

Each is a number that grows with what its name says; a model decides how much it matters. What cannot be known (the
distance of a provider without a place) is not a number here and counts as average in a model.
"""

from collections.abc import Callable

import numpy as np

from services.intelligence.engine import Graph, Question
from services.intelligence.engine.recommend import start
from services.intelligence.engine.rows import Floats, Ints, summed
from services.intelligence.engine.walk import SCALE, Walk, popularity_factors
from services.intelligence.learning.profiles import Profiles, coordinates, kilometres, shared_categories

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


class Features:
    """Computes features on a graph. ``question`` gives the walk's β, half-life and weights. Made anew when ids
    come or go (``fits``)."""

    def __init__(self, graph: Graph, profiles: Profiles, question: Question) -> None:
        self.graph, self.question = graph, question
        self._profiles = profiles
        self._version = (graph.names["consumer"].version, graph.names["provider"].version)
        self.ids = list(graph.names["provider"].ids)
        self._consumer_ids = list(graph.names["consumer"].ids)
        self._places = coordinates(self.ids, profiles.provider_places)
        self._homes = coordinates(self._consumer_ids, profiles.consumer_places)
        self._categories = shared_categories(self.ids, profiles.categories)
        self.names: tuple[str, ...] = OF_RELATIONS
        if np.isfinite(self._places).any():
            self.names += OF_PLACES
        if self._categories.any():
            self.names += OF_CATEGORIES

    @property
    def fits(self) -> bool:
        """Whether the ids are still those of the graph."""
        return self._version == (self.graph.names["consumer"].version, self.graph.names["provider"].version)

    def of(self, consumer_id: str) -> tuple[Floats, Walk] | None:
        """A row for each number of a provider, a column for each of ``names``, and the walk; None for a consumer
        with no relationship that weighs anything."""
        walk = start(self.graph, "consumer", consumer_id, self.question)
        if not isinstance(walk, Walk):
            return None
        known = self.graph.rows["consumer"].row(walk.start).astype(np.int64)
        made: dict[str, Floats] = {
            "walk": _logarithm(
                walk.sums * popularity_factors(self.graph, "provider", self.question.beta) / SCALE, known
            ),
            "alike": _logarithm(self._alike(walk), known),
            "popularity": np.log1p(self.graph.rows["provider"].length[: len(self.ids)].astype(np.float64)),
        }
        if "distance" in self.names:
            made |= self._by_place(walk.start, known)
        if "category" in self.names:
            made["category"] = self._categories @ self._categories[known].mean(axis=0)
        return np.column_stack([made[name] for name in self.names]), walk

    def _alike(self, walk: Walk) -> Floats:
        """User-based nearest neighbours, by the cosine of whom they know."""
        graph = self.graph
        near, room = graph.rows["consumer"], graph.names["consumer"].room
        met, _ = graph.rows["provider"].gather(walk.first)
        common = summed(met, np.ones(len(met)), room)
        common[walk.start] = 0
        carriers = np.flatnonzero(common)
        cosines = common[carriers] / np.sqrt(near.length[carriers].astype(np.float64))
        onward, lengths = near.gather(carriers)
        return summed(onward, np.repeat(cosines, lengths), graph.names["provider"].room)

    def _by_place(self, consumer: int, known: Ints) -> dict[str, Floats]:
        places = self._places[known]
        places = places[np.isfinite(places[:, 0])]
        home = self._homes[consumer]
        if not np.isfinite(home).all():
            home = places.mean(axis=0) if len(places) else home
        ways = np.maximum(kilometres(home, self._places), _LEAST_KM)
        made = {"distance": np.log(ways), "nearness": np.exp(-ways / _NEAR_KM)}
        between = kilometres(places[:, None, :], self._places[None, :, :])
        made["known_within_1_km"] = _logarithm(np.exp(-((between / 1.0) ** 2) / 2).sum(axis=0), known)
        made["known_within_4_km"] = _logarithm(np.exp(-((between / 4.0) ** 2) / 2).sum(axis=0), known)
        made["neighbours_choice"] = _logarithm(self._neighbours_choice(consumer, home), known)
        usual = np.log(np.maximum(kilometres(home, places), _LEAST_KM))
        differences = (made["distance"][None, :] - usual[:, None]) / _WAY_WIDTH
        made["usual_way"] = _logarithm(np.exp(-(differences**2) / 2).sum(axis=0), known)
        return made

    def _neighbours_choice(self, consumer: int, home: Floats) -> Floats:
        """The consumers of each provider, by how near they live to ``home``."""
        near = np.nan_to_num(np.exp(-((kilometres(home, self._homes) / _NEIGHBOUR_KM) ** 2) / 2))
        near[consumer] = 0
        rows = self.graph.rows["consumer"]
        near *= rows.length[: len(near)] > 0
        carriers = np.flatnonzero(near > 1e-4)
        onward, lengths = rows.gather(carriers)
        return summed(onward, np.repeat(near[carriers], lengths), len(self.ids))


Builder = Callable[[Graph, Profiles, Question], Features]


def _logarithm(scores: Floats, known: Ints) -> Floats:
    """Of a score, relative to the consumer's best among those it does not know."""
    others = scores.copy()
    others[known] = 0
    top = float(np.nan_to_num(others).max(initial=0.0))
    return np.log(scores / top + _FLOOR) if top > 0 else np.full(len(scores), np.log(_FLOOR))
