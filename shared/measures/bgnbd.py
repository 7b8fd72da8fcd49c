"""The BG/NBD model: how often consumers will order again, and whether they are still there. Pure; needs scipy.

While they are there, a consumer orders as a Poisson process of rate λ, and after each order drops out with
probability p; λ is Gamma(r, α) and p is Beta(a, b) over consumers. Source: P. Fader, B. Hardie, K. L. Lee,
"'Counting your customers' the easy way", Marketing Science 24 (2005).
"""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh_tridiagonal
from scipy.special import betaln, gammaln

from shared.measures.fitting import Array, fitted

#: Bounds of the log parameters. Beyond them, the spread that a parameter describes is negligible.
_BOUND = 12.0
_NODES = 96
_STARTS = ((0.5, 1.0, 1.0, 2.0), (1.0, 1.0, 0.5, 5.0), (0.2, 0.5, 1.0, 1.0))


@dataclass(frozen=True, slots=True)
class History:
    """Columns, one row for each distinct history: ``x`` repeat orders, the latest at ``t_x`` and observed until
    ``t``, both since the first order, in one unit of time; ``n`` consumers have this history."""

    x: Array
    t_x: Array
    t: Array
    n: Array


@dataclass(frozen=True, slots=True)
class BgNbd:
    """The parameters; ``alpha`` is in the unit of time of the histories. ``log_likelihood`` is that of the fitted
    histories; ``settled`` is False if the fit found no clear optimum."""

    r: float
    alpha: float
    a: float
    b: float
    log_likelihood: float = float("nan")
    settled: bool = True

    def alive(self, x: Array, t_x: Array, t: Array) -> Array:
        """The probability that a consumer with this history is still there; 1 without a repeat order, for
        consumers drop out only after one.

        1 / (1 + δ(x>0) · a/(b + x − 1) · ((α + T)/(α + t_x))^(r + x))
        """
        with np.errstate(over="ignore"):
            gone = self.a / np.where(x > 0, self.b + x - 1, 1.0)
            gone = gone * np.exp((self.r + x) * (np.log(self.alpha + t) - np.log(self.alpha + t_x)))
        return np.asarray(1 / (1 + np.where(x > 0, gone, 0.0)))

    def expected(self, ahead: float, x: Array, t_x: Array, t: Array) -> Array:
        """Expected orders in the next ``ahead`` units of time of a consumer with this history.

        Of one who is there, λ is Gamma(r + x, α + T) and p is Beta(a, b + x), so that it is

            P(alive) · ∫ (1 − ((α + T)/(α + T + p·ahead))^(r + x)) / p  dBeta(p; a, b + x)

        The paper solves this by a hypergeometric function (equation 10), which loses all digits where consumers
        hardly differ (a and b in the thousands); quadrature does not.
        """
        orders = np.empty_like(x)
        for repeats in np.unique(x):
            those = x == repeats
            p, weight = _beta_rule(self.a, self.b + repeats)
            reach = np.log1p(np.multiply.outer(ahead / (self.alpha + t[those]), p))
            orders[those] = -np.expm1(-(self.r + repeats) * reach) / p @ weight
        return np.asarray(orders * self.alive(x, t_x, t))


def _beta_rule(a: float, b: float) -> tuple[Array, Array]:
    """Nodes and weights that integrate over Beta(a, b): Gauss and Jacobi's, by Golub and Welsch."""
    n = np.arange(1, _NODES)
    s = 2 * n + a + b - 2
    diagonal = np.empty(_NODES)
    diagonal[0] = (a - b) / (a + b)
    diagonal[1:] = (a - b) * (a + b - 2) / (s * (s + 2))
    with np.errstate(divide="ignore", invalid="ignore"):
        squares = 4 * n * (n + b - 1) * (n + a - 1) * (n + a + b - 2) / (s * s * (s + 1) * (s - 1))
    squares[0] = 4 * a * b / ((a + b) ** 2 * (a + b + 1))
    nodes, vectors = eigh_tridiagonal(diagonal, np.sqrt(squares))
    return np.maximum((1 + nodes) / 2, 1e-300), vectors[0] ** 2


def log_likelihood(logs: Array, history: History) -> float:
    """The log-likelihood of r, α, a and b, given as logarithms, over all consumers (equation 6)."""
    r, alpha, a, b = np.exp(logs)
    x, t_x, t = history.x, history.t_x, history.t
    shared = gammaln(r + x) - gammaln(r) + r * logs[1] + betaln(a, b + x) - betaln(a, b)
    stays = -(r + x) * np.log(alpha + t)
    leaves = logs[2] - np.log(np.where(x > 0, b + x - 1, 1.0)) - (r + x) * np.log(alpha + t_x)
    return float(np.sum(history.n * (shared + np.logaddexp(stays, np.where(x > 0, leaves, -np.inf)))))


def fit(history: History) -> BgNbd:
    """The parameters of highest likelihood. At least one consumer is needed; same histories, same parameters."""
    # In units of the longest observation, so that the optimum is near 1 whatever the unit of time.
    unit = float(max(history.t.max(), 1e-9))
    scaled = History(history.x, history.t_x / unit, history.t / unit, history.n)
    size = float(history.n.sum())
    (r, alpha, a, b), cost, settled = fitted(lambda logs: -log_likelihood(logs, scaled) / size, _STARTS, _BOUND)
    # Scaling time by u multiplies the density of each repeat order by u.
    shift = float(np.sum(history.n * history.x)) * np.log(unit)
    return BgNbd(r, alpha * unit, a, b, -cost * size - float(shift), settled)
