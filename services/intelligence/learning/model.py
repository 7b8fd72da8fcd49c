"""A learned model: what is kept of it, and what it says of a consumer. Pure."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from services.intelligence.engine import Answer, Graph, Question, Ranking
from services.intelligence.engine.ranking import best
from services.intelligence.engine.recommend import answers as with_reasons
from services.intelligence.engine.recommend import recommend
from services.intelligence.engine.rows import Floats
from services.intelligence.learning.features import MEANINGS, Features
from services.intelligence.learning.profiles import Profiles


@dataclass(frozen=True, slots=True)
class Model:
    """A conditional logit: a weight for each feature, which is standardised by the mean and spread of the
    training data.

    ``beta``, ``half_life`` and ``kind_weights`` are the walk's. ``digest`` names the training data, of
    ``choices`` choices. It has no value of anybody. ``evaluation`` is the report of ``learn``.
    """

    features: tuple[str, ...]
    weights: tuple[float, ...]
    means: tuple[float, ...]
    spreads: tuple[float, ...]
    beta: float
    half_life: float
    penalty: float
    digest: str
    choices: int
    #: Of a model that was stored without them, none: by these it was learned, and all kinds weigh 1.
    kind_weights: Mapping[str, float] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """The model as MongoDB and JSON hold it; ``of`` reads it. An infinite half-life is null."""
        document = asdict(self)
        for name in ("features", "weights", "means", "spreads"):
            document[name] = list(document[name])
        document["half_life"] = self.half_life if np.isfinite(self.half_life) else None
        return document

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> "Model":
        """Raises KeyError or ValueError for what is no model of features that are known here."""
        values = {name: document[name] for name in cls.__dataclass_fields__ if name != "kind_weights"}
        values["kind_weights"] = dict(document.get("kind_weights", {}))
        for name in ("features", "weights", "means", "spreads"):
            values[name] = tuple(values[name])
        if not set(values["features"]) <= set(MEANINGS):
            raise ValueError(f"unknown features: {sorted(set(values['features']) - set(MEANINGS))}")
        if len({len(values[name]) for name in ("features", "weights", "means", "spreads")}) != 1:
            raise ValueError("weights, means and spreads must be as many as features")
        half_life = values["half_life"]
        values["half_life"] = float("inf") if half_life is None else half_life
        return cls(**values)

    def question(self, month: str) -> Question:
        """The question that gives the walk of this model."""
        return Question(month, self.kind_weights, self.half_life, self.beta)

    def points(self, names: tuple[str, ...], rows: Floats) -> Floats:
        """What each feature adds to the score: a row for each of ``rows``, a column for each of this model's
        features. What is not known counts as average, and adds nothing."""
        columns = [names.index(name) if name in names else -1 for name in self.features]
        values = np.column_stack([rows[:, at] if at >= 0 else np.full(len(rows), np.nan) for at in columns])
        points: Floats = np.nan_to_num((values - self.means) / self.spreads) * self.weights
        return points


@dataclass(frozen=True, slots=True)
class Term:
    """What a feature adds to a score; see ``MEANINGS``."""

    name: str
    points: float


@dataclass(frozen=True, slots=True)
class LearnedAnswer:
    """A provider, by a model. ``score`` is the sum of ``terms`` in their order, largest first. ``chance`` is the
    model's probability that of all providers that the consumer does not know, this one is next. ``walk`` is the
    walk's answer, with its reasons."""

    id: str
    score: float
    chance: float
    terms: tuple[Term, ...]
    walk: Answer


@dataclass(frozen=True, slots=True)
class LearnedRanking:
    answers: tuple[LearnedAnswer, ...]
    candidates: int
    sampled: bool


class Recommender:
    """A model on a graph: keeps what depends on ids and profiles."""

    def __init__(self, model: Model, graph: Graph, profiles: Profiles) -> None:
        self.model, self.graph, self._profiles = model, graph, profiles
        self._features: Features | None = None
        self._month = ""

    def recommend(self, consumer_id: str, question: Question) -> LearnedRanking | Ranking:
        """Providers that a consumer does not know, by the model; β, half-life and weights are the model's.

        The walk answers where the model cannot: for consumers without relationships, and for known providers.
        """
        by_walk = question.known or question.kind is not None
        found = None if by_walk else self._features_of(question.month).of(consumer_id)
        if found is None:
            return recommend(self.graph, "consumer", consumer_id, question)
        rows, walk = found.rows, found.walk
        graph, ids = self.graph, self.graph.names["provider"].ids
        allowed = graph.rows["provider"].length[: len(ids)] > 0
        allowed[graph.rows["consumer"].row(walk.start)] = False
        points = self.model.points(self._features_of(question.month).names, rows)
        scores = points.sum(axis=1)
        chances = np.exp(scores - scores[allowed].max(initial=-np.inf)) * allowed if allowed.any() else scores * 0
        total = float(chances.sum()) or 1.0
        allowed &= ~graph.not_allowed("provider", question)
        # Positive, as ``best`` wants them, and in the same order.
        chosen = best(np.where(allowed, scores - scores.min() + 1, 0), ids, question.limit)
        asked = replace(self.model.question(question.month), reasons=question.reasons)
        answers = []
        for number, made in zip(chosen, with_reasons(walk, chosen, walk.sums, asked), strict=True):
            terms = sorted(
                (
                    Term(name, float(value))
                    for name, value in zip(self.model.features, points[number], strict=True)
                ),
                key=lambda term: (-abs(term.points), term.name),
            )
            score = sum(term.points for term in terms)
            answers.append(LearnedAnswer(ids[number], score, float(chances[number]) / total, tuple(terms), made))
        answers.sort(key=lambda each: (-each.score, each.id))
        return LearnedRanking(tuple(answers), int(allowed.sum()), found.sampled)

    def _features_of(self, month: str) -> Features:
        if self._features is None or not self._features.fits or self._month != month:
            self._features = Features(self.graph, self._profiles, self.model.question(month))
            self._month = month
        return self._features
