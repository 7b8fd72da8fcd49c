"""The conditional logit: which of many alternatives is chosen, by their features. Pure.

McFadden, "Conditional Logit Analysis of Qualitative Choice Behavior", 1974. The chance of an alternative is its
exp(Σ weight · feature) divided by the sum over all alternatives. All that the consumer does not know are
alternatives: with a sample of hard ones the model learns to rank these, and not the rest.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from services.intelligence.engine.rows import Floats, Ints


@dataclass(frozen=True, slots=True)
class Choice:
    """A row of features for each alternative, standardised, and which one was chosen."""

    features: Floats
    chosen: int


@dataclass(frozen=True, slots=True)
class Stacked:
    """Choices one after the other."""

    features: Floats
    starts: Ints
    lengths: Ints
    chosen: Ints

    @classmethod
    def of(cls, choices: Sequence[Choice]) -> "Stacked":
        lengths = np.array([len(choice.features) for choice in choices])
        starts = np.cumsum(lengths) - lengths
        chosen = starts + np.array([choice.chosen for choice in choices])
        return cls(np.concatenate([choice.features for choice in choices]), starts, lengths, chosen)


def fit(data: Stacked, penalty: float, first: Floats | None = None) -> Floats:
    """The weights that make the choices (at least one) likeliest, less ``penalty`` / 2 · Σ weight² a choice.
    ``first`` is where the search begins."""
    begin = np.zeros(data.features.shape[1]) if first is None else first
    result = minimize(_loss, begin, args=(data, penalty), jac=True, method="L-BFGS-B")
    return np.asarray(result.x, np.float64)


def _loss(weights: Floats, data: Stacked, penalty: float) -> tuple[float, Floats]:
    """The negative logarithm of the likelihood by choice, penalised, and its gradient."""
    utilities = data.features @ weights
    tops = np.maximum.reduceat(utilities, data.starts)
    chances = np.exp(utilities - np.repeat(tops, data.lengths))
    sums = np.add.reduceat(chances, data.starts)
    chances /= np.repeat(sums, data.lengths)
    count = len(data.starts)
    loss = (np.log(sums) + tops).sum() - utilities[data.chosen].sum()
    gradient = chances @ data.features - data.features[data.chosen].sum(axis=0)
    return loss / count + penalty / 2 * float(weights @ weights), gradient / count + penalty * weights
