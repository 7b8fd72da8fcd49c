"""Learning a model from relations, and whether it is worth using. Pure."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from services.intelligence.engine import Question
from services.intelligence.evaluation.methods import Indexed, Scores, WalkParameters, cosine, popularity, walk
from services.intelligence.evaluation.metrics import Difference, Summary, difference
from services.intelligence.evaluation.protocol import Measured, measure, tune, unknown
from services.intelligence.evaluation.relations import Floats, Relations
from services.intelligence.evaluation.splits import Split, leave_last_out
from services.intelligence.learning.features import Features
from services.intelligence.learning.logit import Choice, Stacked, fit
from services.intelligence.learning.model import Model
from services.intelligence.learning.profiles import Profiles

PENALTIES = (0.3, 0.1, 0.03, 0.01, 0.003)
#: The most consumers that are learned from or asked about, and the most alternatives of all of them.
MOST_CHOICES = 2_000
MOST_ALTERNATIVES = 2_000_000
_FOLDS = 3
# Relations without times are held out by chance, so this is repeated.
_DRAWS = 10
_INNER_DRAWS = 3
#: Fewer are too few to learn from.
LEAST_CHOICES = 30


class TooFew(ValueError):
    """Not enough consumers with three providers."""


@dataclass(frozen=True, slots=True)
class Lesson:
    """A model of all relations, and how one that was learned in the same way from the training part alone does on
    those held out: ``accepted`` if it beats the walk by more than chance. ``over_walk`` is the difference of
    NDCG@10."""

    model: Model
    consumers: int
    draws: int
    learned: Summary
    walk: Summary
    popularity: Summary
    cosine: Summary
    over_walk: Difference

    @property
    def accepted(self) -> bool:
        return self.over_walk.certain

    def document(self) -> dict[str, Any]:
        """What is stored in MongoDB or written as JSON: the model, and its evaluation."""
        return {
            "model": self.model.document(),
            "evaluation": {
                "consumers": self.consumers,
                "draws": self.draws,
                **{name: asdict(getattr(self, name)) for name in ("learned", "walk", "popularity", "cosine")},
                "over_walk": asdict(self.over_walk),
                "accepted": self.accepted,
            },
        }


def learn(
    relations: Relations,
    profiles: Profiles,
    weights: Mapping[str, float] | None = None,
    draws: int | None = None,
) -> Lesson:
    """Fits β, half-life, penalty and the features' weights on an inner split of all relations, with the walk's
    ``weights`` per kind; and evaluates the same on an outer one, whose inner split knows nothing of what is held
    out. Raises TooFew."""
    draws = draws or (1 if relations.timed else _DRAWS)
    figures: dict[str, list[Measured]] = {}
    for draw in range(draws):
        split = leave_last_out(relations, draw).some(most(relations))
        if len(split.consumers) < LEAST_CHOICES:
            raise TooFew(
                f"{len(split.consumers)} consumers have at least three providers; learning needs {LEAST_CHOICES}"
            )
        parameters = tune(split.train, draw, weights)
        model = fit_model(split.train, profiles, parameters, weights or {}, draw)
        indexed = Indexed(split.train)
        methods = {
            "learned": learned(indexed, model, profiles),
            "walk": walk(indexed, parameters, weights),
            "popularity": popularity(indexed),
            "cosine": cosine(indexed),
        }
        for name, scores in methods.items():
            figures.setdefault(name, []).append(measure(split, indexed, scores))
    means = {name: _mean(each) for name, each in figures.items()}
    return Lesson(
        fit_model(relations, profiles, tune(relations, weights=weights), weights or {}, 0),
        len(figures["walk"][0].ndcgs),
        draws,
        means["learned"].summary,
        means["walk"].summary,
        means["popularity"].summary,
        means["cosine"].summary,
        difference(means["learned"].ndcgs, means["walk"].ndcgs),
    )


def most(relations: Relations) -> int:
    """The most consumers that are learned from."""
    return min(MOST_CHOICES, max(LEAST_CHOICES, MOST_ALTERNATIVES // max(1, len(relations.provider_ids))))


def learned(indexed: Indexed, model: Model, profiles: Profiles) -> Scores:
    """A model, as a method to compare."""
    question = model.question(indexed.relations.latest_month())
    features = Features(indexed.graph, profiles, question)

    def scores(consumer: int) -> Floats:
        found = features.of(indexed.relations.consumer_ids[consumer])
        if found is None:
            return np.zeros(len(indexed.relations.provider_ids))
        made = model.points(features.names, found.rows).sum(axis=1)
        # A provider that nobody in the training part knows has no number in the graph: last.
        out = np.full(len(indexed.relations.provider_ids), made.min() - 1)
        out[indexed.positions] = made
        return out

    return scores


def fit_model(
    relations: Relations, profiles: Profiles, parameters: WalkParameters, weights: Mapping[str, float], draw: int
) -> Model:
    """The model of some relations, by an inner split. Raises TooFew."""
    names: tuple[str, ...] = ()
    rows: list[Floats] = []
    chosen: list[int] = []
    for inner in range(1 if relations.timed else _INNER_DRAWS):
        split = leave_last_out(relations, draw + 1_000 * (1 + inner)).some(most(relations))
        names, more, which = _alternatives(split, profiles, parameters, weights)
        rows += more
        chosen += which
    if len(rows) < 2:
        raise TooFew(
            "after what is held out, hardly a consumer has three providers; learning needs more relations"
        )
    stacked = np.concatenate(rows)
    known = np.isfinite(stacked)
    counts = np.maximum(known.sum(axis=0), 1)
    means = np.where(known, stacked, 0).sum(axis=0) / counts
    spreads = np.sqrt(np.where(known, (stacked - means) ** 2, 0).sum(axis=0) / counts)
    spreads[spreads < 1e-9] = 1.0
    choices = [Choice(np.nan_to_num((each - means) / spreads), at) for each, at in zip(rows, chosen, strict=True)]
    penalty = _penalty(choices)
    return Model(
        names,
        tuple(fit(Stacked.of(choices), penalty).tolist()),
        tuple(means.tolist()),
        tuple(spreads.tolist()),
        parameters.beta,
        parameters.half_life,
        penalty,
        relations.digest(),
        len(choices),
        dict(weights),
    )


def _alternatives(
    split: Split, profiles: Profiles, parameters: WalkParameters, weights: Mapping[str, float]
) -> tuple[tuple[str, ...], list[Floats], list[int]]:
    """The features of all that a consumer does not know, and which was chosen."""
    indexed = Indexed(split.train)
    question = Question(split.train.latest_month(), weights, parameters.half_life, parameters.beta)
    features = Features(indexed.graph, profiles, question)
    rows, chosen = [], []
    count = len(split.train.provider_ids)
    numbers = np.full(count, -1)
    numbers[indexed.positions] = np.arange(len(indexed.positions))
    for consumer, (right,) in zip(split.consumers.tolist(), split.answers, strict=True):
        unseen = numbers[unknown(indexed, consumer, count)]
        unseen = unseen[unseen >= 0]
        # Who chose what nobody else knows teaches nothing: it has no features.
        if numbers[right] >= 0 and (found := features.of(split.train.consumer_ids[consumer])) is not None:
            rows.append(found.rows[unseen])
            chosen.append(int(np.flatnonzero(unseen == numbers[right])[0]))
    return features.names, rows, chosen


def _penalty(choices: list[Choice]) -> float:
    """The one under which choices that were not learned from are likeliest."""
    losses = dict.fromkeys(PENALTIES, 0.0)
    folds = min(_FOLDS, len(choices))
    for fold in range(folds):
        rest = [choice for at, choice in enumerate(choices) if at % folds != fold]
        data, weights = Stacked.of(rest), None
        for penalty in PENALTIES:
            weights = fit(data, penalty, weights)
            for choice in choices[fold::folds]:
                utilities = choice.features @ weights
                losses[penalty] -= utilities[choice.chosen] - np.logaddexp.reduce(utilities)
    return min(PENALTIES, key=lambda penalty: (losses[penalty], -penalty))


def _mean(draws: list[Measured]) -> Measured:
    """Over draws, consumer by consumer (the consumers are the same in all)."""
    ndcgs, hits = (np.mean([getattr(draw, name) for draw in draws], axis=0) for name in ("ndcgs", "hits"))
    summaries = [draw.summary for draw in draws]
    error = float(ndcgs.std(ddof=1) / np.sqrt(len(ndcgs))) if len(ndcgs) > 1 else 0.0
    averages = {
        name: float(np.mean([getattr(each, name) for each in summaries]))
        for name in ("ndcg", "hits", "coverage", "gini")
    }
    return Measured(ndcgs, hits, Summary(error=error, **averages))
