"""The Gamma-Gamma model: the expected value of a consumer's order. Pure; needs scipy.

The orders of a consumer vary as Gamma(p, ν) around their own mean, and ν is Gamma(q, v) over consumers. Source:
P. Fader, B. Hardie, "The Gamma-Gamma model of monetary value", 2013.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import gammaln

from shared.measures.fitting import Array, fitted

_BOUND = 15.0
_STARTS = ((5.0, 3.0, 2.0), (1.0, 1.0, 1.0), (10.0, 10.0, 5.0))


@dataclass(frozen=True, slots=True)
class GammaGamma:
    """The parameters; ``v`` is in the unit of the money. q is above 1, or consumers had no mean. ``settled`` is
    False if the fit found no clear optimum."""

    p: float
    q: float
    v: float
    settled: bool = True

    def expected(self, x: Array, mean: Array) -> Array:
        """The expected worth of an order of a consumer whose ``x`` observed ones had this mean (equation 5): a
        weighted mean of the consumer's mean and the mean of all, p·v/(q − 1). For x = 0 it is the mean of all.

        p (v + x·mean) / (p·x + q − 1)
        """
        return np.asarray(self.p * (self.v + x * mean) / (self.p * x + self.q - 1))


def fit(x: Array, mean: Array) -> GammaGamma:
    """The parameters of highest likelihood, of consumers with ``x`` > 0 orders of mean ``mean`` > 0 (equation 1a).
    At least one is needed."""
    # In units of the mean order, so that the optimum is near 1 whatever the currency.
    unit = float(np.average(mean, weights=x))
    z = mean / unit

    def cost(logs: Array) -> float:
        p, above, v = np.exp(logs)
        q, px = 1 + above, p * x
        likelihood = gammaln(px + q) - gammaln(px) - gammaln(q) + q * logs[2] - np.log(z)
        return -float(np.mean(likelihood + px * np.log(x * z) - (px + q) * np.log(v + x * z)))

    (p, above, v), _, settled = fitted(cost, _STARTS, _BOUND)
    return GammaGamma(p, 1 + above, v * unit, settled)
